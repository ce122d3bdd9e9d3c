//! Draining over HTTP: `POST /drain` begins one, `GET /drain` tells how far it is, `DELETE /drain` takes it back.
//!
//! Invariant: nothing is done here; the supervisor is asked and answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Subject;
use crate::health::DrainStatus;

/// The supervisor answers at once, unless a reload of the configuration is running.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an operator can want of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Leave; with `exits` the process ends then.
    Drain {
        /// Whether it ends.
        exits: bool,
    },
    /// Stay after all.
    Cancel,
}

/// Takes the answer to a wish: how the drain stands now; `None` if it is too late for that.
pub type Granted = oneshot::Sender<Option<DrainStatus>>;

/// The way to the supervisor; false if it takes no more.
#[derive(Clone)]
pub struct Wishes(pub Arc<dyn Fn(Wish, Granted) -> bool + Send + Sync>);

impl fmt::Debug for Wishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wishes")
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Begin {
    /// Whether the process ends when it is drained.
    #[serde(default = "yes")]
    exit: bool,
}

fn yes() -> bool {
    true
}

pub(super) async fn begin(
    Shared(subject): Shared<Arc<Subject>>,
    begin: Result<Query<Begin>, QueryRejection>,
) -> Response {
    match begin {
        Ok(Query(begin)) => wish(&subject, Wish::Drain { exits: begin.exit }).await,
        Err(rejection) => failed(rejection.status(), &rejection.body_text()),
    }
}

pub(super) async fn cancel(Shared(subject): Shared<Arc<Subject>>) -> Response {
    wish(&subject, Wish::Cancel).await
}

pub(super) async fn show(Shared(subject): Shared<Arc<Subject>>) -> Json<Value> {
    Json(shown(&subject, &subject.health.drain()))
}

async fn wish(subject: &Subject, wish: Wish) -> Response {
    let (granted, answer) = oneshot::channel();
    if !(subject.wishes.0)(wish, granted) {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "the process is busy or ends");
    }
    match timeout(PATIENCE, answer).await {
        Ok(Ok(Some(status))) => Json(shown(subject, &status)).into_response(),
        Ok(Ok(None)) => failed(StatusCode::CONFLICT, "too late: the process has said goodbye and ends"),
        Ok(Err(_)) | Err(_) => failed(StatusCode::SERVICE_UNAVAILABLE, "the process did not answer in time"),
    }
}

fn failed(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

fn shown(subject: &Subject, status: &DrainStatus) -> Value {
    json!({
        "node": subject.name,
        "phase": status.phase.word(),
        "exit": status.exits,
        "connections": status.connections,
        "left_ms": status.left_ms,
    })
}
