//! Bodies of requests: bounded in bytes, in time, and in the sum of all that are read or being carried out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::{API_BODIES_BYTES_MAX, API_BODY_BYTES_MAX, API_BODY_MS};

/// A body, and its part of the memory for bodies.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// What is left of the memory for bodies.
#[derive(Debug)]
pub(super) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(API_BODIES_BYTES_MAX)))
    }
}

impl Bodies {
    /// The whole body, or what is answered in its place.
    pub(super) async fn read(&self, request: Request) -> Result<Held, Response> {
        let declared = request.headers().get(header::CONTENT_LENGTH).map(length);
        let bytes = match declared {
            Some(Some(bytes)) if bytes > API_BODY_BYTES_MAX => return Err(too_large()),
            Some(Some(bytes)) => bytes,
            // In chunks: how much it is shows at its end.
            _ => API_BODY_BYTES_MAX,
        };
        let Ok(room) = Arc::clone(&self.0).try_acquire_many_owned(bytes as u32) else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response());
        };
        let body = Body::new(request.into_body());
        let read = timeout(Duration::from_millis(API_BODY_MS), to_bytes(body, API_BODY_BYTES_MAX)).await;
        match read {
            Ok(Ok(bytes)) => Ok(Held { bytes: bytes.into(), _room: room }),
            Ok(Err(error)) if declared.is_none() && is_length(&error) => Err(too_large()),
            Ok(Err(_)) => Err(StatusCode::BAD_REQUEST.into_response()),
            Err(_) => Err((StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response()),
        }
    }
}

fn length(value: &HeaderValue) -> Option<usize> {
    value.to_str().ok()?.parse().ok()
}

fn too_large() -> Response {
    (StatusCode::PAYLOAD_TOO_LARGE, [(header::CONNECTION, "close")]).into_response()
}

/// Whether it is the bound that made it fail: the only error whose source says "length".
fn is_length(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string().contains("length"))
}
