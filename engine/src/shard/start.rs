//! Starts the shards: one thread each, pinned, with its sockets and mailboxes.
//!
//! Invariants: no thread is started before every address could be bound; a shard in an unknown state must not
//! serve, so a panic or a failed back end ends the process.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, io, process, thread};

use crossbeam_channel::{Receiver, Sender, bounded};
use roadstead_io::{Epoll, Io, Kind, ListenOptions, Listener, Options, Uring, Waker, bind};

use super::{Order, Shard, ShardParts, connections_of_shard};
use crate::counters::Counters;
use crate::flow::Now;
use crate::limits::{ORDERS_WAITING, REFUSAL_SLOTS};
use crate::router::Message;
use crate::settings::Settings;
use crate::siblings::{Siblings, Wake};
use crate::token::Verifier;

/// Why the shards could not start; nothing is running.
#[derive(Debug)]
pub enum StartError {
    /// An address could not be listened on.
    Listen(io::Error),
    /// A back end, a wake-up descriptor or a thread could not be made.
    Machine(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) | Self::Machine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A shard that runs.
#[derive(Debug)]
pub struct Running {
    /// What it counts.
    pub counters: Arc<Counters>,
    orders: Sender<Order>,
    waker: Waker,
    thread: JoinHandle<()>,
}

impl Running {
    /// Tells the shard something. A shard that has ended needs to be told nothing.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.waker.wake();
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// All shards, listening.
#[derive(Debug)]
pub struct Started {
    /// The shards in order.
    pub shards: Vec<Running>,
    /// The addresses they listen on, with the ports they really got.
    pub listen: Vec<SocketAddr>,
}

/// What a shard's thread takes with it.
struct Crew {
    parts: ShardParts,
    listeners: Vec<Listener>,
    options: Options,
    core: Option<core_affinity::CoreId>,
    ready: Sender<io::Result<()>>,
}

/// Starts all shards on the back end `kind` and waits until each of them listens.
///
/// # Errors
/// An address that cannot be bound, or a machine that lacks something; the message says what to do.
pub fn start(
    settings: &Arc<Settings>,
    verifier: &Arc<Verifier>,
    kind: Kind,
    node: u32,
) -> Result<Started, StartError> {
    let shards = settings.shards;
    let (listen, listeners) = bind_all(settings).map_err(StartError::Listen)?;
    let wakers = (0..shards).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>().map_err(StartError::Machine)?;
    let mailboxes: Vec<(Sender<Message>, Receiver<Message>)> =
        (0..shards).map(|_| bounded(settings.limits.mailbox_messages as usize)).collect();
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let hash_keys = [random(), random()];
    let (ready, readiness) = bounded(usize::from(shards));

    let mut running = Vec::new();
    for ((index, waker), listeners) in (0..shards).zip(&wakers).zip(listeners) {
        let senders = mailboxes.iter().zip(&wakers).map(|((sender, _), waker)| {
            let waker = waker.clone();
            let wake: Wake = Arc::new(move || waker.wake());
            (sender.clone(), wake)
        });
        let siblings = Siblings::new(mailboxes[usize::from(index)].1.clone(), senders.collect());
        let (orders, obeyed) = bounded(ORDERS_WAITING);
        let counters = Arc::new(Counters::default());
        let parts = ShardParts {
            index,
            shards,
            node,
            settings: Arc::clone(settings),
            verifier: Arc::clone(verifier),
            siblings,
            orders: obeyed,
            counters: Arc::clone(&counters),
            seeds: [hash_keys[0], hash_keys[1], random()],
        };
        let sockets_max = connections_of_shard(settings, shards).saturating_add(REFUSAL_SLOTS);
        let mut options = Options::new(sockets_max);
        options.waker = Some(waker.clone());
        let core = (!cores.is_empty()).then(|| cores[usize::from(index) % cores.len()]);
        let crew = Crew { parts, listeners, options, core, ready: ready.clone() };
        let thread = thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || serve(kind, crew))
            .map_err(StartError::Machine)?;
        running.push(Running { counters, orders, waker: waker.clone(), thread });
    }
    drop(ready);
    for _ in 0..shards {
        let outcome = readiness.recv().unwrap_or_else(|_| Err(io::Error::other("a shard ended while it started")));
        outcome.map_err(StartError::Machine)?;
    }
    Ok(Started { shards: running, listen })
}

/// Binds every address once for each shard. The first bind of an address is made alone, since sockets that share a
/// port would not notice another program on it.
fn bind_all(settings: &Settings) -> io::Result<(Vec<SocketAddr>, Vec<Vec<Listener>>)> {
    let shared = ListenOptions { congestion: settings.net.congestion.clone(), ..ListenOptions::default() };
    let alone = ListenOptions { reuse_port: false, ..shared.clone() };
    let mut listen = Vec::new();
    let mut listeners: Vec<Vec<Listener>> = (0..settings.shards).map(|_| Vec::new()).collect();
    for &address in &settings.listen {
        let address = bind(address, &alone)?.local_addr();
        for of_shard in &mut listeners {
            of_shard.push(bind(address, &shared)?);
        }
        listen.push(address);
    }
    Ok((listen, listeners))
}

/// The whole life of a shard's thread.
fn serve(kind: Kind, crew: Crew) {
    if let Some(core) = crew.core
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(core = core.id, "a shard could not be pinned to its core: it runs wherever the kernel puts it");
    }
    let index = crew.parts.index;
    let outcome = catch_unwind(AssertUnwindSafe(|| match kind {
        Kind::Uring => Uring::new(&crew.options).map(|io| run(io, crew)),
        Kind::Epoll => Epoll::new(&crew.options).map(|io| run(io, crew)),
    }));
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(shard = index, %error, "a shard could not make its io back end"),
        Err(_) => {
            tracing::error!(shard = index, "a shard panicked; its state is unknown, so the process ends");
            process::abort();
        }
    }
}

fn run<I: Io>(mut io: I, crew: Crew) {
    let index = crew.parts.index;
    let listening = crew.listeners.into_iter().try_for_each(|listener| io.listen(listener));
    let is_listening = listening.is_ok();
    let _ = crew.ready.send(listening);
    drop(crew.ready);
    if !is_listening {
        return;
    }
    let begin = Instant::now();
    let clock = move || now(begin);
    let mut shard = Shard::new(io, crew.parts, clock());
    if let Err(error) = shard.run(clock) {
        tracing::error!(shard = index, %error, "the io back end of a shard failed; the process ends");
        process::abort();
    }
}

fn now(begin: Instant) -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { ms: begin.elapsed().as_millis() as u64, unix_ms: unix.as_millis() as u64 }
}

/// Randomness of the process: the keys of the standard library's hash come from the kernel.
fn random() -> u64 {
    RandomState::new().hash_one(process::id())
}
