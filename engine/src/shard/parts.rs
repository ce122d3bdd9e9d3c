//! What a shard is made from, what the process tells it, and what it tells the process.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use roadstead_control::{ClusterKeys, Incarnation, NodeId, NodeName, Roster};

use super::mail::Mail;
use super::revoking::Revoker;
use crate::admission::Admission;
use crate::counters::Counters;
use crate::flow::{LocatedEntry, Unlocated};
use crate::guards::Guards;
use crate::revocations::{Revocation, Revocations};
use crate::settings::Settings;
use crate::siblings::Siblings;
use crate::tls::{Identity as TlsIdentity, LinkIdentity};
use crate::token::{Desk, Verifier};

/// What the process tells a shard.
#[derive(Debug)]
pub enum Order {
    /// Stop accepting, say goodbye to everybody, and end within `shutdown.close_ms`.
    Stop,
    /// Use these settings (those that may change while running) and tokens' keys from now on.
    Reload(Arc<Settings>, Arc<Verifier>),
    /// Show these certificates to clients, and this one to other nodes, on streams that begin from now on.
    Certificates(Option<Box<TlsIdentity>>, Option<Box<LinkIdentity>>),
    /// Other revocations are in force.
    Revoke {
        /// All of them.
        set: Arc<Revocations>,
        /// Those that were made on this node, and no other one knows.
        news: Arc<[Revocation]>,
    },
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
    /// What other nodes are shown; `None`: links are clear text.
    pub tls: Option<LinkIdentity>,
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
    /// Where tokens are checked that take long; `None`: here as well.
    pub desk: Option<Desk>,
    /// What was taken back.
    pub revocations: Arc<Revocations>,
    /// Takes what other nodes take back; needed in a fleet.
    pub revoker: Option<Revoker>,
    /// Certificate and key, if connections are encrypted.
    pub tls: Option<TlsIdentity>,
    /// Mailboxes.
    pub siblings: Siblings<Mail>,
    /// What the process wants.
    pub orders: Receiver<Order>,
    /// Numbers of the back end's listeners for clients; the last ones are those of `proxy.listen`.
    pub listeners: Vec<u16>,
    /// Where it counts.
    pub counters: Arc<Counters>,
    /// What lets connections in, for all shards of the node.
    pub admission: Arc<Admission>,
    /// Who of the strangers is let in, likewise.
    pub guards: Arc<Guards>,
    /// Secret randomness, different in each shard: hash keys and jitter come from it.
    pub seeds: [u64; 3],
}
