//! The server API: what back ends ask over HTTP, `POST /api/METHOD` with a JSON body, `/api/batch`, and `/api` in the form of old libraries.
//!
//! Invariants: nothing is read of a request before its key was looked at; bodies are bounded in bytes, in time and in sum; keys are
//! compared in the same time wherever they differ, and are never logged; what a request asks is done by shards, who are asked with
//! owned values and never waited for by each other.
//!
//! ```text
//! POST ──> keys ──> body ──> methods ──> asks ──> shards
//!   ^ answer <───────────────────────────── told <──┘
//! ```

mod answer;
mod asks;
mod batch;
mod body;
mod idempotency;
mod keys;
mod methods;
mod nodes;
mod openapi;
mod publishing;
mod table;
mod users;

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use crossbeam_channel::{Receiver, Sender};
use roadstead_protocol::ErrorCode;

use super::{Subject, access};
use crate::flow::{Asked, Told};
use answer::ErrorMode;
use asks::Asks;
use body::{Bodies, Held};
use idempotency::Idempotency;
pub use keys::ApiKeys;
use keys::Refusal;

/// The way to the shards and back.
pub struct ApiParts {
    /// A mailbox of each shard, with room for [`API_ASKS_MAX`](crate::limits::API_ASKS_MAX).
    pub asks: Vec<Sender<Asked>>,
    /// Ends the sleep of a shard.
    pub wake: Arc<dyn Fn(u16) + Send + Sync>,
    /// What shards tell.
    pub told: Receiver<Told>,
    /// Readable when something was told.
    pub woken: UnixStream,
    /// What requests show.
    pub keys: ApiKeys,
}

impl std::fmt::Debug for ApiParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiParts")
    }
}

/// The server API of a node.
#[derive(Debug)]
pub(super) struct Api {
    keys: ApiKeys,
    asks: Asks,
    bodies: Bodies,
    idempotency: Arc<Idempotency>,
    subject: Arc<Subject>,
}

/// Which way requests come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Over TCP: with a key.
    Tcp,
    /// Over the Unix socket, whose file mode decides who may.
    Unix,
}

#[derive(Clone, Debug)]
struct Door {
    api: Arc<Api>,
    way: Way,
}

impl Api {
    /// The API, and what must run for its answers to come.
    pub(super) fn new(
        parts: ApiParts,
        subject: Arc<Subject>,
    ) -> (Arc<Self>, impl Future<Output = std::io::Result<()>> + Send) {
        let ApiParts { asks, wake, told, woken, keys } = parts;
        let api = Arc::new(Self {
            keys,
            asks: Asks::new(asks, wake),
            bodies: Bodies::default(),
            idempotency: Arc::default(),
            subject,
        });
        let hears = Arc::clone(&api);
        (api, async move { hears.asks.hear(&told, woken).await })
    }
}

/// The routes of the server API on one listener.
pub(super) fn routes(api: Arc<Api>, way: Way) -> Router {
    Router::new()
        .route("/api", post(lines))
        .route("/api/openapi.json", get(openapi))
        .route("/api/{method}", post(call))
        .layer(middleware::from_fn(access::demand_host))
        .with_state(Door { api, way })
}

impl Door {
    /// Judges a request by its head and reads its body.
    async fn read(&self, request: Request) -> Result<Held, Response> {
        if self.way == Way::Tcp {
            self.api.keys.judge(request.uri(), request.headers()).map_err(Refusal::answer)?;
        }
        self.api.bodies.read(request).await
    }
}

/// `POST /api/METHOD`: parameters in, a result or an error out.
async fn call(State(door): State<Door>, Path(method): Path<String>, request: Request) -> Response {
    let mode = ErrorMode::of(request.headers());
    let body = match door.read(request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    if method == batch::METHOD {
        return match door.api.batch(&body.bytes).await {
            Ok(replies) => answer::json(StatusCode::OK, replies),
            Err(error) => answer::undecodable(&error),
        };
    }
    let Some(method) = methods::find(&method) else { return StatusCode::NOT_FOUND.into_response() };
    let outcome = match std::str::from_utf8(&body.bytes) {
        Ok(params) => door.api.execute(method, params).await,
        Err(error) => return answer::undecodable(&error),
    };
    match outcome {
        Ok(outcome) => answer::of(&outcome, mode),
        Err(error) => answer::undecodable(&error),
    }
}

/// `POST /api`: commands with their methods, one a line; as many answers, one a line.
async fn lines(State(door): State<Door>, request: Request) -> Response {
    let body = match door.read(request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    match door.api.lines(&body.bytes).await {
        Ok(answers) => answer::json(StatusCode::OK, answers),
        Err(error) => answer::undecodable(&error),
    }
}

/// `GET /api/openapi.json`: the same for everybody, and so for everybody.
async fn openapi() -> Json<serde_json::Value> {
    Json(openapi::document())
}

/// What a request came to.
type Outcome = Result<serde_json::Value, ErrorCode>;
