//! How outcomes are said: as HTTP 200 with a result or an error in it, or, where that is asked for, by the status.

use std::fmt::Display;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roadstead_protocol::ErrorCode;
use serde_json::{Value, json};

use super::Outcome;

/// How a request wants its errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ErrorMode {
    /// In the body of a 200.
    Body,
    /// By the status.
    Transport,
}

impl ErrorMode {
    /// What the request's head says.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get("x-centrifugo-error-mode").map(|value| value.as_bytes()) {
            Some(b"transport") => Self::Transport,
            _ => Self::Body,
        }
    }
}

/// What an outcome looks like, in an answer of its own or among others.
pub(super) fn value(outcome: &Outcome) -> Value {
    match outcome {
        Ok(result) => json!({ "result": result }),
        Err(code) => json!({ "error": error(*code) }),
    }
}

/// Code and message.
pub(super) fn error(code: ErrorCode) -> Value {
    json!({ "code": code.code(), "message": code.message() })
}

/// The answer to one call.
pub(super) fn of(outcome: &Outcome, mode: ErrorMode) -> Response {
    let status = match (mode, outcome) {
        (ErrorMode::Transport, Err(code)) => status_of(*code),
        _ => StatusCode::OK,
    };
    json(status, value(outcome).to_string())
}

/// Text that is JSON, or lines of it.
pub(super) fn json(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A body that cannot be understood.
pub(super) fn undecodable(why: &impl Display) -> Response {
    (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response()
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UnknownChannel | ErrorCode::MethodNotFound => StatusCode::NOT_FOUND,
        ErrorCode::BadRequest | ErrorCode::NotAvailable | ErrorCode::LimitExceeded => StatusCode::BAD_REQUEST,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::UnrecoverablePosition => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::ConcurrentPagination => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
