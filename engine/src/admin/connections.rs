//! Serves HTTP on one admin listener, with bounds on how many connections there are and how long a request may take to come.
//!
//! Admin descriptors come out of the same limit as those of clients. Strangers who only hold connections open must not
//! use it up, nor keep anybody out: a newcomer is always accepted.
//!
//! Invariants: bytes that trickle in give nobody more time; who waits for an answer is the last to make room.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::Instant;

/// What a connection does, and since when. Those that are less make room first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Standing {
    /// It has not asked, or has its answer.
    Idle(Instant),
    /// It asked and waits.
    Asking(Instant),
}

/// A connection, seen from the listener.
struct Held {
    task: AbortHandle,
    standing: Arc<Mutex<Standing>>,
}

/// Serves for ever, `connections_max` at a time. Each head must be complete within `head_time` from when it is awaited.
pub(super) async fn serve<L: Listener>(
    mut listener: L,
    routes: Router,
    head_time: Duration,
    connections_max: usize,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_time);
    let mut held: Vec<Held> = Vec::with_capacity(connections_max);
    loop {
        let (io, _) = listener.accept().await;
        make_room(&mut held, connections_max).await;
        let standing = Arc::new(Mutex::new(Standing::Idle(Instant::now())));
        let service = TowerToHyperService::new(routes.clone());
        let stands = Arc::clone(&standing);
        let answered = service_fn(move |request: Request<Incoming>| {
            set(&stands, Standing::Asking(Instant::now()));
            let (answer, stands) = (service.call(request), Arc::clone(&stands));
            async move {
                let answer = answer.await;
                set(&stands, Standing::Idle(Instant::now()));
                answer
            }
        });
        let connection = http.serve_connection(TokioIo::new(io), answered);
        // How a connection ends is its peer's business.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        held.push(Held { task, standing });
    }
}

/// Ends the connection that has been idle longest, if there are too many.
async fn make_room(held: &mut Vec<Held>, connections_max: usize) {
    held.retain(|held| !held.task.is_finished());
    while held.len() >= connections_max {
        let standing = |place: &usize| get(&held[*place].standing);
        let Some(idlest) = (0..held.len()).min_by_key(standing) else { break };
        held.swap_remove(idlest).task.abort();
        // The runtime closes its descriptor before it comes back here.
        yield_now().await;
    }
}

fn set(standing: &Mutex<Standing>, now: Standing) {
    *standing.lock().unwrap_or_else(PoisonError::into_inner) = now;
}

fn get(standing: &Mutex<Standing>) -> Standing {
    *standing.lock().unwrap_or_else(PoisonError::into_inner)
}
