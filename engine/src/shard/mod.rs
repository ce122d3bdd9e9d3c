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

pub mod connection;
pub mod timers;
mod turn;
pub mod written;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use roadstead_control::{ClusterKeys, Incarnation, NodeId, NodeName, Roster};
use roadstead_io::{Arena, Event, Io};

use crate::counters::{Counters, Metric};
use crate::flow::{Delivery, Key, LocatedEntry, Now};
use crate::limits::{ARENA_BYTES, IDLE_WAIT_MS, REFUSAL_SLOTS};
use crate::names::NameHasher;
use crate::outbox::Outboxes;
use crate::router::{Message, Router, RouterSettings};
use crate::session::{Heard, Identity, Sessions, Span};
use crate::settings::Settings;
use crate::siblings::{Envelope, Siblings, WhenFull};
use crate::tls::Identity as TlsIdentity;
use crate::token::Verifier;
use connection::Connections;
use timers::Wheel;
use written::Written;

impl Envelope for Message {
    fn when_full(&self) -> WhenFull {
        match self {
            Self::Publish { .. } => WhenFull::Refuse,
            Self::Deliver { .. } => WhenFull::Drop,
            Self::Interest { .. }
            | Self::Interested { .. }
            | Self::Disinterest { .. }
            | Self::Published { .. } => WhenFull::Keep,
        }
    }
}

/// What the process tells a shard.
#[derive(Debug)]
pub enum Order {
    /// Stop accepting, say goodbye to everybody, and end within `shutdown.close_ms`.
    Stop,
    /// Use these settings (those that may change while running) and tokens' keys from now on.
    Reload(Arc<Settings>, Arc<Verifier>),
    /// The fleet has changed.
    View(Arc<Roster>),
    /// Find a user's connections. Given to the hub shard of the user's channel.
    Locate {
        /// The user.
        user: Arc<str>,
        /// Where the answer goes; there is always one, within 3 s.
        answer: Sender<Result<Vec<LocatedEntry>, Unlocated>>,
    },
    /// Take what waits to be accepted, then close the clients' listeners.
    StopListening,
    /// Listen for clients again.
    Listen,
    /// Close all clients with 3001, spread evenly over this time.
    Leave {
        /// Milliseconds.
        window_ms: u64,
    },
    /// Close no more clients: the leave is off.
    Stay,
}

/// Why a user could not be looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unlocated {
    /// No node owns the user's channel at present.
    NoOwner,
    /// No link to the owner is up.
    Unreachable,
    /// The owner did not answer in time, or the link to it was lost meanwhile.
    NoAnswer,
    /// Too many such questions are open.
    Busy,
}

/// What a shard tells the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// A link to a node was lost that had been up.
    LinkLost {
        /// The node.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
    },
}

/// Takes a shard's reports, at once and from any thread.
#[derive(Clone)]
pub struct Reporter(pub Arc<dyn Fn(Report) + Send + Sync>);

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporter")
    }
}

/// What a shard of a fleet's node must know to open links to other nodes.
#[derive(Clone, Debug)]
pub struct FleetParts {
    /// Name of the cluster.
    pub cluster: Arc<str>,
    /// Name of this node.
    pub own: NodeName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// The cluster's keys.
    pub keys: Arc<ClusterKeys>,
    /// Links to each node that this one dials.
    pub links_per_peer: u8,
    /// Bytes that may wait for one link.
    pub link_queue_bytes: usize,
    /// Number of the back end's listener for other nodes.
    pub listener: u16,
    /// Takes reports.
    pub reporter: Reporter,
}

/// Whether the shard wants another turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// Yes.
    Continue,
    /// It was told to stop and all its sockets are closed, or the time was up.
    Finished,
}

/// What a shard is made from, besides its sockets.
#[derive(Debug)]
pub struct ShardParts {
    /// Its number, from 0.
    pub index: u16,
    /// Shards of the node.
    pub shards: u16,
    /// The node's id, part of client ids.
    pub node: NodeId,
    /// Who the fleet is, if that is known already: a node without a fleet is alone for ever.
    pub roster: Option<Arc<Roster>>,
    /// If the node belongs to a fleet.
    pub fleet: Option<FleetParts>,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// Certificate and key, if connections are encrypted.
    pub tls: Option<TlsIdentity>,
    /// Mailboxes.
    pub siblings: Siblings<Message>,
    /// What the process wants.
    pub orders: Receiver<Order>,
    /// Where it counts.
    pub counters: Arc<Counters>,
    /// Secret randomness, different in each shard: hash keys and jitter come from it.
    pub seeds: [u64; 3],
}

/// How far the end has come.
///
/// ```text
/// Serving ── Order::Stop ──> Stopping ── no socket left, or deadline ──> Finished
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
    connections: Connections,
    connections_max: u32,
    admitted: u32,
    timers: Wheel,
    sessions: Sessions,
    heard: Heard,
    router: Router<NameHasher, Written>,
    siblings: Siblings<Message>,
    deliveries: Vec<Delivery>,
    spans: Vec<Span>,
    outboxes: Outboxes,
    orders: Receiver<Order>,
    counters: Arc<Counters>,
    settings: Arc<Settings>,
    course: Course,
    /// Time of the last turn, milliseconds.
    turned_ms: u64,
    /// Messages wait in the mailbox, or may.
    has_mail: bool,
    due: Vec<u32>,
    slow: Vec<u32>,
    /// Sockets that did not take what they were given: until when they must have drained, and which stop it was.
    stops: VecDeque<(u64, Key, u32)>,
    /// Connections that cannot carry a payload of their channel.
    unfit: Vec<u32>,
    tls: Option<TlsIdentity>,
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
            shard: parts.index,
            shards: parts.shards,
            connections_max,
            channels_per_client: u16::try_from(settings.limits.channels_per_client).unwrap_or(u16::MAX),
        };
        let counters = parts.counters;
        counters.set(Metric::ConnectionsMax, u64::from(connections_max));
        counters.set(Metric::InboundBytesMax, u64::from(settings.limits.inbound_bytes_per_shard));
        counters.set(Metric::MailboxMessagesMax, u64::from(settings.limits.mailbox_messages));
        Self {
            io,
            arena: Arena::new(ARENA_BYTES),
            events: Vec::new(),
            connections: Connections::new((connections_max + REFUSAL_SLOTS) as usize, parts.seeds[2] as u32),
            connections_max,
            admitted: 0,
            timers: Wheel::new(now.ms),
            sessions: Sessions::new(Arc::clone(&settings), parts.verifier, identity),
            heard: Heard::default(),
            router: Router::new(router, hasher),
            siblings: parts.siblings,
            deliveries: Vec::new(),
            spans: Vec::new(),
            outboxes: Outboxes::new(settings.limits.outbox_messages as usize, settings.limits.outbox_bytes),
            orders: parts.orders,
            counters,
            settings,
            course: Course::Serving,
            turned_ms: now.ms,
            has_mail: false,
            due: Vec::new(),
            slow: Vec::new(),
            stops: VecDeque::new(),
            unfit: Vec::new(),
            tls: parts.tls,
            tls_held_bytes: 0,
            plain: Vec::new(),
            tls_speakers: Vec::new(),
            tls_broken: Vec::new(),
            sent_bytes: 0,
        }
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
            || self.router.has_walks()
            || self.outboxes.has_speakers()
            || !self.heard.endings.is_empty()
            || !self.tls_speakers.is_empty()
            || self.heard.replies.bytes() > 0
            || self.siblings.has_backlog();
        if busy {
            return 0;
        }
        let mut limit_ms = IDLE_WAIT_MS;
        if let Some(due_ms) = self.router.next_expiry_ms() {
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
            && !self.outboxes.has_speakers()
    }
}
