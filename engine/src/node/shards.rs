//! The shards' threads: makes each with its sockets and mailboxes, and passes on what the process wants of them.
//!
//! Invariants: a shard's back end and listeners are made on its own thread, because its descriptors may be its own; all
//! wakers are made before the first of them; shards start one after the other, and the first failure ends the start.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};
use roadstead_control::NodeName;
use roadstead_io::{Epoll, Io, Kind, ListenOptions, Options, Uring, Waker, bind};

use super::Failure;
use super::certificates::Certificates;
use super::descriptors::Room;
use super::failure::SHARD_THREAD;
use super::happenings::Happening;
use super::revoking::Revoking;
use super::supervisor::milliseconds;
use crate::admission::Admission;
use crate::counters::Counters;
use crate::flow::{Asked, Now};
use crate::guards::Guards;
use crate::limits::{API_ASKS_MAX, KEEPALIVE_S, LINK_SLOTS, REFUSAL_SLOTS};
use crate::settings::{Net, Settings};
use crate::shard::mail::Mail;
use crate::shard::{FleetParts, Order, Relisten, Shard, ShardParts, Teller, Turned, connections_of_shard};
use crate::siblings::{Siblings, Wake};
use crate::tls::Identity as TlsIdentity;
use crate::token::{Verifier, open_desks};

/// Orders are rare; a shard that has not read this many is stalled, and the watchdog deals with it.
const ORDERS_WAITING_MAX: usize = 16;

/// The way of orders to the shards. Clones are the same way.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    orders: Vec<Sender<Order>>,
    wakers: Vec<Waker>,
}

impl Voice {
    /// Gives an order to every shard.
    pub(super) fn order(&self, order: impl Fn() -> Order) {
        for shard in 0..self.orders.len() {
            if !self.order_one(shard, order()) {
                tracing::error!("shard {shard} takes no orders");
            }
        }
    }

    /// Gives an order to one shard; false if it takes none.
    pub(super) fn order_one(&self, shard: usize, order: Order) -> bool {
        let taken = self.orders[shard].try_send(order).is_ok();
        self.wakers[shard].wake();
        taken
    }

    /// Ends a shard's sleep.
    pub(super) fn wake(&self, shard: u16) {
        self.wakers[usize::from(shard)].wake();
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> u16 {
        self.orders.len() as u16
    }
}

/// The running shards, seen from outside.
#[derive(Debug)]
pub(super) struct Shards {
    voice: Voice,
    asks: Vec<Sender<Asked>>,
    counters: Vec<Arc<Counters>>,
    addresses: Vec<SocketAddr>,
}

/// What a shard's thread takes with it.
struct Luggage {
    kind: Kind,
    options: Options,
    listen: Vec<SocketAddr>,
    /// Where other nodes connect.
    cluster: Option<SocketAddr>,
    net: Net,
    parts: ShardParts,
    asks: Receiver<Asked>,
    teller: Teller,
    core: Option<core_affinity::CoreId>,
    started: Instant,
}

/// Starts all shards. When this returns, each of them listens.
#[allow(clippy::too_many_arguments, reason = "what a node is made of, once")]
pub(super) fn start(
    settings: &Arc<Settings>,
    verifier: &Arc<Verifier>,
    tls: Option<&TlsIdentity>,
    kind: Kind,
    room: &Room,
    started: Instant,
    told: &Sender<Happening>,
    node: &NodeName,
    fleet: Option<(SocketAddr, FleetParts)>,
    admission: &Arc<Admission>,
    guards: &Arc<Guards>,
    revoking: &Revoking,
    teller: &Teller,
) -> Result<Shards, Failure> {
    let count = settings.shards;
    let failed = |error: io::Error| Failure::start("cannot start the shards", &error);
    let wakers = (0..count).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let (mail, inboxes): (Vec<_>, Vec<_>) =
        (0..count).map(|_| bounded::<Mail>(settings.limits.mailbox_messages as usize)).unzip();
    let seeds = seeds(usize::from(count)).map_err(failed)?;
    let cores = cores(count);

    let voice = Voice { orders: Vec::new(), wakers };
    let mut shards = Shards { voice, asks: Vec::new(), counters: Vec::new(), addresses: settings.clients() };
    for address in shards.addresses.iter().chain(fleet.iter().map(|(address, _)| address)) {
        refuse_shared_port(*address, settings)?;
    }
    let desks = open_desks(verifiers(count), shards.wakes().collect())
        .map_err(|error| Failure::start("cannot start the verifiers of tokens", &error))?;
    for (index, ((inbox, seeds), desk)) in (0..count).zip(inboxes.into_iter().zip(seeds).zip(desks)) {
        let (orders, wanted) = bounded(ORDERS_WAITING_MAX);
        let (asks, asked) = bounded(API_ASKS_MAX);
        let counters = Arc::new(Counters::default());
        let link_slots = if fleet.is_some() { LINK_SLOTS } else { 0 };
        let slots = connections_of_shard(settings, count) + REFUSAL_SLOTS + link_slots;
        let mut options = Options::new(slots);
        options.waker = Some(shards.voice.wakers[usize::from(index)].clone());
        options.own_descriptor_table = room.own_tables;
        let parts = ShardParts {
            index,
            shards: count,
            node: node.id(),
            roster: None,
            fleet: fleet.as_ref().map(|(_, parts)| parts.clone()),
            settings: Arc::clone(settings),
            verifier: Arc::clone(verifier),
            desk: Some(desk),
            revocations: revoking.shown().0,
            revoker: Some(revoking.revoker()),
            tls: tls.cloned(),
            siblings: Siblings::new(inbox, mail.iter().cloned().zip(shards.wakes()).collect()),
            orders: wanted,
            listeners: (0..shards.addresses.len() as u16).collect(),
            counters: Arc::clone(&counters),
            admission: Arc::clone(admission),
            guards: Arc::clone(guards),
            seeds,
        };
        let luggage = Luggage {
            kind,
            options,
            listen: shards.addresses.clone(),
            cluster: fleet.as_ref().map(|(address, _)| *address),
            net: settings.net.clone(),
            parts,
            asks: asked,
            teller: teller.clone(),
            core: cores.get(usize::from(index)).copied(),
            started,
        };
        shards.addresses = spawn(luggage, told.clone())?;
        shards.voice.orders.push(orders);
        shards.asks.push(asks);
        shards.counters.push(counters);
    }
    Ok(shards)
}

impl Shards {
    pub(super) fn len(&self) -> usize {
        self.counters.len()
    }

    pub(super) fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Where they listen, with real ports.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends every shard's sleep, so that each turns once.
    pub(super) fn wake(&self) {
        self.voice.wakers.iter().for_each(Waker::wake);
    }

    pub(super) fn stop(&self) {
        self.order(|| Order::Stop);
    }

    pub(super) fn reload(&self, settings: &Arc<Settings>, verifier: &Arc<Verifier>) {
        self.order(|| Order::Reload(Arc::clone(settings), Arc::clone(verifier)));
    }

    /// Show these certificates on streams that begin from now on.
    pub(super) fn certify(&self, certificates: &Certificates) {
        let clients = || certificates.identity().cloned().map(Box::new);
        let links = || certificates.links().cloned().map(Box::new);
        self.order(|| Order::Certificates(clients(), links()));
    }

    /// Take what waits to be accepted and nothing after it.
    pub(super) fn stop_listening(&self) {
        self.order(|| Order::StopListening);
    }

    /// Close all clients, spread over `window`.
    pub(super) fn leave(&self, window: Duration) {
        self.order(|| Order::Leave { window_ms: window.as_millis() as u64 });
    }

    /// Close no more clients and accept new ones.
    pub(super) fn stay(&self) {
        self.order(|| Order::Stay);
        self.order(|| Order::Listen);
    }

    /// The mailboxes for what the server API asks.
    pub(super) fn asks(&self) -> Vec<Sender<Asked>> {
        self.asks.clone()
    }

    /// The way of orders.
    pub(super) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    fn order(&self, order: impl Fn() -> Order) {
        self.voice.order(order);
    }

    fn wakes(&self) -> impl Iterator<Item = Wake> {
        self.voice.wakers.iter().map(|waker| {
            let waker = waker.clone();
            Arc::new(move || waker.wake()) as Wake
        })
    }
}

/// Runs a shard on a thread of its own; returns its addresses when it listens.
fn spawn(luggage: Luggage, told: Sender<Happening>) -> Result<Vec<SocketAddr>, Failure> {
    let (listening, listens) = bounded(1);
    let shard = usize::from(luggage.parts.index);
    thread::Builder::new()
        .name(format!("{SHARD_THREAD}{shard}"))
        .spawn(move || {
            let error = run(luggage, &listening).err();
            // The supervisor outlives all shards, unless the start has failed and the process ends anyway.
            let _ = told.send(Happening::ShardEnded { shard, error });
        })
        .map_err(|error| Failure::start("cannot start a shard's thread", &error))?;
    match listens.recv() {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(Failure::Start(error.to_string())),
        Err(_) => Err(Failure::Start(format!("shard {shard} ended before it listened"))),
    }
}

type Listening = Sender<io::Result<Vec<SocketAddr>>>;

fn run(luggage: Luggage, listening: &Listening) -> io::Result<()> {
    if let Some(core) = luggage.core
        && !core_affinity::set_for_current(core)
    {
        tracing::debug!("shard {} is not pinned: core {} is not to be had", luggage.parts.index, core.id);
    }
    let ran = match luggage.kind {
        Kind::Uring => Uring::new(&luggage.options).map(|io| run_on(io, luggage, listening)),
        Kind::Epoll => Epoll::new(&luggage.options).map(|io| run_on(io, luggage, listening)),
    };
    ran.unwrap_or_else(|error| {
        let _ = listening.send(Err(error));
        Ok(())
    })
}

fn run_on<I: Io + 'static>(mut io: I, luggage: Luggage, listening: &Listening) -> io::Result<()> {
    let Luggage { listen, cluster, net, parts, asks, teller, started, .. } = luggage;
    let addresses = match open_listeners(&mut io, &listen, &net) {
        Ok(addresses) => addresses,
        Err(error) => {
            let _ = listening.send(Err(error));
            return Ok(());
        }
    };
    if let Some(cluster) = cluster
        && let Err(error) = open_listeners(&mut io, &[cluster], &net)
    {
        let _ = listening.send(Err(error));
        return Ok(());
    }
    let again = addresses.clone();
    let mut shard = Shard::new(io, parts, now(started));
    shard.set_server(asks, teller);
    shard.set_relisten(Relisten(Box::new(move |io: &mut I| {
        let first = io.listeners();
        open_listeners(io, &again, &net)?;
        Ok((first..io.listeners()).collect())
    })));
    let _ = listening.send(Ok(addresses));
    loop {
        shard.wait()?;
        let begun = Instant::now();
        let turned = shard.turn(now(started));
        shard.measure(begun.elapsed());
        if turned == Turned::Finished {
            return Ok(());
        }
    }
}

/// Listens on each address; returns the real ones.
fn open_listeners<I: Io>(io: &mut I, addresses: &[SocketAddr], net: &Net) -> io::Result<Vec<SocketAddr>> {
    let options = ListenOptions {
        backlog: net.backlog,
        congestion: net.congestion.clone(),
        keepalive: Some(Duration::from_secs(KEEPALIVE_S)),
        ..ListenOptions::default()
    };
    let mut real = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = bind(*address, &options)?;
        real.push(listener.local_addr());
        io.listen(listener)?;
    }
    Ok(real)
}

/// Shards share a port on purpose, so the kernel would let another node of the same user share it too and take half of
/// the clients. A listener that does not share finds out.
fn refuse_shared_port(address: SocketAddr, settings: &Settings) -> Result<(), Failure> {
    if address.port() == 0 {
        return Ok(());
    }
    let alone = ListenOptions {
        reuse_port: false,
        congestion: settings.net.congestion.clone(),
        ..ListenOptions::default()
    };
    bind(address, &alone).map(drop).map_err(|error| Failure::Start(error.to_string()))
}

/// Verifiers of tokens for so many shards: they have the cores that shards leave, and must not take more than a part of what
/// shards need when everybody comes back at once.
fn verifiers(shards: u16) -> usize {
    usize::from(shards / 4).clamp(1, 8)
}

fn now(started: Instant) -> Now {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Now { ms: milliseconds(started), unix_ms }
}

/// A core for each shard, or none where shards would have to share: then the scheduler knows better.
fn cores(shards: u16) -> Vec<core_affinity::CoreId> {
    core_affinity::get_core_ids().filter(|cores| cores.len() >= usize::from(shards)).unwrap_or_default()
}

/// Secret randomness for each shard, from the kernel.
pub(super) fn seeds(shards: usize) -> io::Result<Vec<[u64; 3]>> {
    let mut source = File::open("/dev/urandom")?;
    let mut number = || {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes).map(|()| u64::from_ne_bytes(bytes))
    };
    (0..shards).map(|_| Ok([number()?, number()?, number()?])).collect()
}
