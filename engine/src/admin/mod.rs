//! What operators, probes and Prometheus see of a node, over HTTP on TCP and on a Unix socket.
//!
//! Invariants: it runs on a thread of its own and only reads and asks; no shard waits for it; no tokio type leaves this
//! folder and `node`; nothing but the page and the probes is answered to strangers ([`access`]).

mod access;
mod api;
mod bans;
mod connections;
mod drain;
mod fleet;
mod fleet_metrics;
mod key_sets;
mod metrics;
mod page;
mod process;
mod revocations;
mod shard_metrics;
pub mod socket;
mod status;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use roadstead_control::{NodeName, Region};
use serde_json::json;

use crate::admission::Admission;
use crate::counters::Counters;
use crate::guards::Guards;
use crate::health::Health;
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_MS, API_CONNECTIONS_MAX};
use crate::settings::Secret;
use api::{Api, Way};

pub use revocations::{RevocationDesk, Revoked, RevokedAnswer};

pub use api::{ApiKeys, ApiParts};
pub use drain::{Granted, Wish, Wishes};
pub use fleet::{Finder, FleetSubject, Found, Picture, Pictures, Shares};
pub use key_sets::{KeySetDesk, KeySetStatus};

/// Descriptors that the admin interface uses at most: two doors with their connections, its runtime's own, and the way of shards to the
/// server API.
pub const DESCRIPTORS_MAX: u32 = 2 * (ADMIN_CONNECTIONS_MAX as u32 + 1) + 8 + 2;

/// And that the server API does, where it has a door of its own.
pub const API_DESCRIPTORS_MAX: u32 = API_CONNECTIONS_MAX as u32 + 1 + 8;

/// The version that the build gave this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is shown of a running node.
#[derive(Debug)]
pub struct Subject {
    /// Name of the node.
    pub name: String,
    /// Name of the io back end.
    pub io: String,
    /// Where clients connect, with real ports.
    pub listen: Vec<SocketAddr>,
    /// Whether clients must speak TLS.
    pub tls: bool,
    /// Development mode.
    pub insecure: bool,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// The numbers of each shard.
    pub counters: Vec<Arc<Counters>>,
    /// The node's health.
    pub health: Arc<Health>,
    /// What lets connections in.
    pub admission: Arc<Admission>,
    /// Who of the strangers is let in.
    pub guards: Arc<Guards>,
    /// When it started.
    pub started: Instant,
    /// The way to the supervisor.
    pub wishes: Wishes,
    /// What is revoked.
    pub revocations: RevocationDesk,
    /// Keys of tokens that somebody else keeps.
    pub key_sets: KeySetDesk,
    /// The node in its fleet.
    pub node: NodeName,
    /// Where it stands.
    pub region: Region,
    /// Finds users.
    pub finder: Finder,
    /// The node's fleet, if it has one.
    pub fleet: Option<FleetSubject>,
}

/// Where the admin interface is served.
#[derive(Debug, Default)]
pub struct Doors {
    /// For probes, Prometheus and browsers.
    pub tcp: Option<TcpListener>,
    /// What TCP requests must show.
    pub key: Option<Secret>,
    /// For the command line; the file's mode decides who may.
    pub unix: Option<UnixListener>,
    /// For back ends: the server API and nothing else.
    pub api: Option<TcpListener>,
}

/// Serves until the process ends. The server API has a thread of its own where it has an address of its own, so that probes do not wait
/// behind back ends.
///
/// # Errors
/// A thread or its runtime could not be started.
pub fn start(mut doors: Doors, subject: Subject, parts: ApiParts) -> io::Result<()> {
    let subject = Arc::new(subject);
    let (api, hearing) = Api::new(parts, Arc::clone(&subject));
    if let Some(listener) = doors.api.take() {
        let api = Arc::clone(&api);
        run("api", async move { serve_api(listener, api).await })?;
    }
    run("admin", async move {
        tokio::spawn(async move {
            if let Err(error) = hearing.await {
                tracing::error!(%error, "the server API hears no shard any more");
            }
        });
        serve(doors, subject, api).await
    })
}

/// Runs what serves on a thread of its own.
fn run(name: &str, serving: impl Future<Output = io::Result<()>> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let of = name.to_owned();
    thread::Builder::new().name(name.into()).spawn(move || {
        if let Err(error) = runtime.block_on(serving) {
            tracing::error!(%error, "the {of} interface ended; clients are still served");
        }
    })?;
    Ok(())
}

async fn serve_api(listener: TcpListener, api: Arc<Api>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let head_time = Duration::from_millis(ADMIN_HEAD_MS);
    connections::serve(listener, api::routes(api, Way::Tcp), head_time, API_CONNECTIONS_MAX).await
}

async fn serve(doors: Doors, subject: Arc<Subject>, api: Arc<Api>) -> io::Result<()> {
    let head_time = Duration::from_millis(ADMIN_HEAD_MS);
    let mut tasks = Vec::new();
    if let Some(unix) = doors.unix {
        unix.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(unix)?;
        let routes = routes(Arc::clone(&subject)).merge(api::routes(Arc::clone(&api), Way::Unix));
        tasks.push(tokio::spawn(connections::serve(listener, routes, head_time, ADMIN_CONNECTIONS_MAX)));
    }
    if let Some(tcp) = doors.tcp {
        tcp.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(tcp)?;
        let guard = Arc::new(access::Guard::new(doors.key));
        let routes = routes(subject).layer(middleware::from_fn_with_state(guard, access::check));
        // Back ends have keys of their own.
        let routes = routes.merge(api::routes(api, Way::Tcp));
        tasks.push(tokio::spawn(connections::serve(listener, routes, head_time, ADMIN_CONNECTIONS_MAX)));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    // Whoever hears shards does so even where nobody is served here.
    std::future::pending().await
}

fn routes(subject: Arc<Subject>) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::js))
        .route("/health", get(health))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/shards", get(shards))
        .route("/nodes", get(fleet::nodes))
        .route("/connections", get(fleet::connections))
        .route("/bans", get(bans::list).delete(bans::lift))
        .route("/sources", get(bans::sources))
        .route("/drain", get(drain::show).post(drain::begin).delete(drain::cancel))
        .route("/revocations", get(revocations::show).post(revocations::revoke))
        .layer(middleware::from_fn(access::demand_host))
        .with_state(subject)
}

/// 200 while the process can answer at all: the name that probes of this protocol expect.
async fn health() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

async fn live(Shared(subject): Shared<Arc<Subject>>) -> Response {
    match subject.health.stalled() {
        None => Json(json!({ "live": true })).into_response(),
        Some(shard) => {
            let body = json!({ "live": false, "reason": format!("shard {shard} has stalled") });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn ready(Shared(subject): Shared<Arc<Subject>>) -> Response {
    let ready = subject.health.is_ready();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": ready, "state": subject.health.word() }))).into_response()
}

async fn metrics(Shared(subject): Shared<Arc<Subject>>) -> impl IntoResponse {
    let text = metrics::render(&subject, &process::read());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn status(Shared(subject): Shared<Arc<Subject>>) -> impl IntoResponse {
    Json(status::node(&subject, &process::read()))
}

async fn shards(Shared(subject): Shared<Arc<Subject>>) -> impl IntoResponse {
    Json(status::shards(&subject))
}

#[cfg(test)]
mod tests;
