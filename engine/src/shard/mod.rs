//! A shard: one thread, its sockets, its channels, and the turn that carries values from room to room.
//!
//! Invariants: nothing is shared with another shard but values in mailboxes and counters that others read; the clock
//! is read by the caller, once a turn; a turn is bounded in bytes read, messages taken and deliveries made.
//!
//! ```text
//! wait      io          -> events
//! listen    events      -> commands           (sessions)
//! decide    commands    -> deliveries         (router, siblings)
//! deliver   deliveries  -> outboxes
//! speak     outboxes    -> io, at most one send a socket
//! ```

mod asking;
pub mod connection;
mod counting;
mod decide;
mod encrypted;
mod ending;
mod errands;
mod fan_out;
mod handshakes;
mod introductions;
pub mod leaving;
mod link_tls;
mod links;
pub mod mail;
mod parts;
mod postponed;
mod revoking;
mod terms;
pub mod timers;
mod turn;
mod verdicts;
pub mod written;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use roadstead_control::NodeId;
use roadstead_io::{Arena, Event, Io};

use crate::admission::Admission;
use crate::bucket::Rate;
use crate::counters::{Counters, Metric};
pub use crate::flow::Unlocated;
use crate::flow::{Delivery, Key, Now, Parcel};
use crate::guards::Gate;
use crate::limits::{ARENA_BYTES, IDLE_WAIT_MS, REFUSAL_SLOTS};
use crate::names::NameHasher;
use crate::outbox::Outboxes;
use crate::peers::{Peers, PeersParts};
use crate::revocations::spreading::Spreading;
use crate::router::{Router, RouterSettings};
use crate::session::{Heard, Identity, Sessions, Span};
use crate::settings::{Guard, Settings};
use crate::siblings::Siblings;
use crate::tls::Identity as TlsIdentity;
use asking::Asking;
pub use asking::Teller;
use connection::Connections;
use handshakes::Handshakes;
use introductions::Introductions;
use leaving::Leaving;
use link_tls::LinkStreams;
use links::{Brought, Questions};
use mail::Mail;
pub use parts::{FleetParts, Order, Report, Reporter, ShardParts};
pub use revoking::Revoker;
use revoking::Revoking;
use timers::Wheel;
use written::Written;

/// Whether the shard wants another turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// Yes.
    Continue,
    /// It was told to stop and all its clients' sockets are closed, or the time was up.
    Finished,
}

/// How far the end has come.
///
/// ```text
/// Serving ── Order::Stop ──> Stopping ── no socket of a client left, or deadline ──> Finished
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Course {
    Serving,
    Stopping { deadline_ms: u64 },
}

/// One shard over one io back end.
#[derive(Debug)]
pub struct Shard<I> {
    io: I,
    arena: Arena,
    events: Vec<Event>,
    index: u16,
    shards: u16,
    identity: NodeId,
    connections: Connections,
    connections_max: u32,
    admitted: u32,
    /// Sockets that are open only until they were told no.
    refusing: u32,
    introductions: Introductions,
    admission: Arc<Admission>,
    timers: Wheel,
    sessions: Sessions,
    heard: Heard,
    router: Router<NameHasher, Written>,
    siblings: Siblings<Mail>,
    /// `None`: the node has no fleet.
    peers: Option<Peers>,
    reporter: Option<Reporter>,
    link_streams: LinkStreams,
    /// Said by links in this turn, not yet in order.
    parcels: Vec<Parcel>,
    brought: Vec<Brought>,
    /// Links are not read: a mailbox is over its bound.
    holds_links: bool,
    questions: Questions,
    revoking: Revoking,
    asking: Asking,
    deliveries: Vec<Delivery>,
    spans: Vec<Span>,
    outboxes: Outboxes,
    orders: Receiver<Order>,
    counters: Arc<Counters>,
    settings: Arc<Settings>,
    course: Course,
    /// Clients are being closed one after the other.
    leaving: Option<Leaving>,
    /// Numbers of the listeners for clients that are open.
    listeners: Vec<u16>,
    /// Number of the listener for other nodes.
    cluster_listener: Option<u16>,
    relisten: Option<Relisten<I>>,
    /// Time of the last turn, milliseconds.
    turned_ms: u64,
    /// Messages wait in the mailbox, or may.
    has_mail: bool,
    /// More subscriptions have ended than one turn takes.
    has_ended_more: bool,
    due: Vec<u32>,
    slow: Vec<u32>,
    /// Sockets that did not take what they were given: until when they must have drained, and which stop it was.
    stops: VecDeque<(u64, Key, u32)>,
    /// Connections that cannot carry a payload of their channel.
    unfit: Vec<u32>,
    /// Subscriptions that would miss something: whose, and of which channel.
    insufficient: Vec<(u32, u32)>,
    /// Connections with a server-side subscription among them.
    lost: Vec<u32>,
    tls: Option<TlsIdentity>,
    handshakes: Handshakes,
    /// Memory of incomplete records, bytes.
    tls_held_bytes: usize,
    /// Plain bytes of the connection that is heard.
    plain: Vec<u8>,
    /// Connections whose TLS has something to say of its own.
    tls_speakers: Vec<u32>,
    /// Connections whose TLS failed.
    tls_broken: Vec<u32>,
    sent_bytes: u64,
}

/// Connections of one shard out of a node's limit.
#[must_use]
pub fn connections_of_shard(settings: &Settings, shards: u16) -> u32 {
    settings.limits.connections.div_ceil(u32::from(shards)).max(1)
}

/// Opens the listeners for clients once more and gives their numbers.
pub struct Relisten<I>(pub Box<Reopen<I>>);

/// Opens listeners and gives their numbers.
type Reopen<I> = dyn FnMut(&mut I) -> io::Result<Vec<u16>>;

impl<I> std::fmt::Debug for Relisten<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relisten")
    }
}

impl<I: Io> Shard<I> {
    /// A shard over `io`, which listens already or will be given its listeners by the caller.
    #[must_use]
    pub fn new(io: I, parts: ShardParts, now: Now) -> Self {
        let settings = parts.settings;
        let connections_max = connections_of_shard(&settings, parts.shards);
        let hasher = NameHasher::new((parts.seeds[0], parts.seeds[1]));
        let identity =
            Identity { node: parts.node, shard: parts.index, connections_max, hasher, seed: parts.seeds[2] };
        let router = RouterSettings {
            node: parts.node,
            shard: parts.index,
            shards: parts.shards,
            alone: parts.fleet.is_none(),
            seed: parts.seeds[0].rotate_left(32) ^ parts.seeds[2],
            connections_max,
            channels_per_client: u16::try_from(settings.limits.channels_per_client).unwrap_or(u16::MAX),
        };
        let counters = parts.counters;
        counters.set(Metric::ConnectionsMax, u64::from(connections_max));
        counters.set(Metric::InboundBytesMax, u64::from(settings.limits.inbound_bytes_per_shard));
        counters.set(Metric::MailboxMessagesMax, u64::from(settings.limits.mailbox_messages));
        let link_streams = LinkStreams::new(parts.fleet.as_ref().and_then(|fleet| fleet.tls.clone()));
        let fleet =
            parts.fleet.map(|fleet| Fleet::new(fleet, parts.index, parts.shards, parts.seeds[2], now));
        let (peers, reporter, cluster_listener) = match fleet {
            Some(Fleet { peers, reporter, listener }) => (Some(peers), Some(reporter), Some(listener)),
            None => (None, None, None),
        };
        let is_speaker = parts.index == 0 && peers.is_some();
        let spreads = parts.revoker.filter(|_| is_speaker);
        let spreads =
            spreads.map(|revoker| (Spreading::new(Arc::clone(&parts.revocations), now.ms), revoker));
        let patience_ms = u64::from(settings.client.handshake_timeout_s) * 1_000 / 2;
        let handshakes = Handshakes::new(settings.tls.handshakes_per_s, patience_ms, now.ms);
        let mut introductions = Introductions::default();
        introductions.learn(&parts.listeners, settings.proxy.listen.len());
        let gate = Gate::new(parts.guards);
        let mut shard = Self {
            io,
            arena: Arena::new(ARENA_BYTES),
            events: Vec::new(),
            index: parts.index,
            shards: parts.shards,
            identity: parts.node,
            connections: Connections::new((connections_max + REFUSAL_SLOTS) as usize, parts.seeds[2] as u32),
            connections_max,
            admitted: 0,
            refusing: 0,
            introductions,
            admission: parts.admission,
            timers: Wheel::new(now.ms),
            sessions: Sessions::new(Arc::clone(&settings), parts.verifier, parts.desk, identity, gate),
            heard: Heard::default(),
            router: Router::new(router, hasher),
            siblings: parts.siblings,
            peers,
            reporter,
            link_streams,
            parcels: Vec::new(),
            brought: Vec::new(),
            holds_links: false,
            questions: Questions::default(),
            revoking: Revoking::new(spreads),
            asking: Asking::nobody(),
            deliveries: Vec::new(),
            spans: Vec::new(),
            outboxes: Outboxes::new(settings.limits.outbox_messages as usize, settings.limits.outbox_bytes),
            orders: parts.orders,
            counters,
            settings,
            course: Course::Serving,
            leaving: None,
            listeners: parts.listeners,
            cluster_listener,
            relisten: None,
            turned_ms: now.ms,
            has_mail: false,
            has_ended_more: false,
            due: Vec::new(),
            slow: Vec::new(),
            stops: VecDeque::new(),
            unfit: Vec::new(),
            insufficient: Vec::new(),
            lost: Vec::new(),
            tls: parts.tls,
            handshakes,
            tls_held_bytes: 0,
            plain: Vec::new(),
            tls_speakers: Vec::new(),
            tls_broken: Vec::new(),
            sent_bytes: 0,
        };
        let guard = shard.settings.guard.clone();
        shard.pace_channels(&guard);
        let settings = Arc::clone(&shard.settings);
        shard.router.keep(&settings);
        shard.sessions.revoke(&parts.revocations);
        if let Some(roster) = &parts.roster {
            shard.take_roster(roster, now);
        }
        shard
    }

    fn pace_channels(&mut self, rules: &Guard) {
        let rate = |per_s| Rate::new(per_s, rules.burst_s);
        self.router.pace(rate(rules.channel_messages_per_s), rate(rules.channel_bytes_per_s));
    }

    /// Makes the shard able to listen again after [`Order::StopListening`].
    pub fn set_relisten(&mut self, relisten: Relisten<I>) {
        self.relisten = Some(relisten);
    }

    /// Submits what the last turn said and waits for something to do.
    ///
    /// # Errors
    /// The back end failed as a whole.
    pub fn wait(&mut self) -> io::Result<()> {
        let timeout = Duration::from_millis(self.wait_ms());
        self.events.clear();
        self.io.wait(&mut self.arena, &mut self.events, Some(timeout))
    }

    fn wait_ms(&self) -> u64 {
        let busy = self.has_mail
            || self.has_ended_more
            || self.router.has_walks()
            || self.outboxes.has_speakers()
            || !self.heard.endings.is_empty()
            || !self.heard.commands.is_empty()
            || !self.tls_speakers.is_empty()
            || self.link_streams.has_speakers()
            || !self.heard.replies.is_empty()
            || self.siblings.has_backlog()
            || self.sessions.has_postponed()
            || self.sessions.has_verdicts()
            || self.revoking.is_looking()
            || self.asking.has_more;
        if busy {
            return 0;
        }
        let mut limit_ms = IDLE_WAIT_MS;
        let dues = [
            self.router.next_tick_ms(),
            self.peers.as_ref().and_then(Peers::poll_timeout_ms),
            self.leaving.as_ref().map(Leaving::due_ms),
            self.handshakes.due_ms(),
            self.revoking.poll_timeout_ms(),
        ];
        for due_ms in dues.into_iter().flatten() {
            limit_ms = limit_ms.min(due_ms.saturating_sub(self.turned_ms));
        }
        if let Some(&(due_ms, ..)) = self.stops.front() {
            limit_ms = limit_ms.min(due_ms.saturating_sub(self.turned_ms));
        }
        if let Course::Stopping { deadline_ms } = self.course {
            limit_ms = limit_ms.min(deadline_ms.saturating_sub(self.turned_ms));
        }
        self.timers.wait_ms(self.turned_ms, limit_ms)
    }

    /// The sockets, for a caller that adds listeners or drives a simulated world.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Nothing is left: no socket, no session, no channel, no queued byte. For tests of what remains behind.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.io.sockets() == 0
            && self.admitted == 0
            && self.sessions.is_empty()
            && self.sessions.users() == 0
            && self.sessions.inbound_bytes() == 0
            && self.router.subscriptions() == 0
            && self.router.terms() == 0
            && !self.outboxes.has_speakers()
    }
}

/// What a shard has because its node belongs to a fleet.
struct Fleet {
    peers: Peers,
    reporter: Reporter,
    listener: u16,
}

impl Fleet {
    fn new(parts: FleetParts, shard: u16, shards: u16, seed: u64, now: Now) -> Self {
        let peers = PeersParts {
            cluster: parts.cluster,
            own: parts.own,
            incarnation: parts.incarnation,
            shard,
            shards,
            keys: parts.keys,
            links_per_peer: parts.links_per_peer,
            link_queue_bytes: parts.link_queue_bytes,
            seed,
        };
        Self { peers: Peers::new(peers, now.ms), reporter: parts.reporter, listener: parts.listener }
    }
}
