//! What the server API asks of a shard, and what it is told.
//!
//! Invariants: a ticket is one ask, and is told of once; a ticket is a [`Key`] that no connection has, and a request's id.

use std::sync::Arc;

use roadstead_control::NodeId;
use roadstead_protocol::ErrorCode;
use serde::{Deserialize, Serialize};

use super::{Key, Publication, client_id};

/// Something that the server API wants.
#[derive(Debug)]
pub struct Asked {
    /// Names it.
    pub ticket: u64,
    /// What.
    pub ask: Ask,
}

/// What the server API can want of a shard.
#[derive(Debug)]
pub enum Ask {
    /// Publish. Given to the channel's hub.
    Publish {
        /// Channel name.
        channel: Arc<str>,
        /// What.
        publication: Arc<Publication>,
    },
    /// Run an errand: about a user at the hub of the user's channel, any other at each shard.
    Errand {
        /// What.
        errand: Errand,
        /// On all other nodes as well.
        everywhere: bool,
    },
}

/// Something that concerns many shards, or nodes. Nodes say it to each other as JSON: fields and kinds can be added, and one that is not
/// known is answered by error 108.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Errand {
    /// About connections of a user.
    User(UserErrand),
    /// How much there is.
    Census,
    /// Which channels there are.
    Channels {
        /// What their names are like; empty: all.
        pattern: Box<str>,
    },
    /// Of a later version.
    #[serde(skip)]
    Unknown,
}

/// What is to be done with connections of a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserErrand {
    /// The user; not anonymous.
    pub user: Box<str>,
    /// Only this client; empty: all.
    #[serde(default)]
    pub client: Box<str>,
    /// Not these clients.
    #[serde(default)]
    pub spared: Vec<Box<str>>,
    /// What.
    pub action: Action,
}

/// What is to be done with a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Close it.
    Disconnect {
        /// Close code.
        code: u16,
        /// Close reason.
        reason: Box<str>,
    },
    /// Subscribe it.
    Subscribe {
        /// Channel name.
        channel: Box<str>,
        /// For the client.
        data: Vec<u8>,
        /// When the subscription is over, seconds since the epoch; 0: never.
        ends_at_s: u32,
    },
    /// Unsubscribe it.
    Unsubscribe {
        /// Channel name.
        channel: Box<str>,
    },
    /// Let it go on, or not.
    Refresh {
        /// It is over at once.
        is_over: bool,
        /// When it is over, seconds since the epoch; 0: never.
        ends_at_s: u32,
        /// Other connection info, raw JSON.
        info: Option<Vec<u8>>,
    },
}

impl Action {
    /// The channel that it names.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Subscribe { channel, .. } | Self::Unsubscribe { channel } => Some(channel),
            Self::Disconnect { .. } | Self::Refresh { .. } => None,
        }
    }
}

impl UserErrand {
    /// Whether a connection of the user is meant.
    #[must_use]
    pub fn means(&self, node: NodeId, connection: u64) -> bool {
        if self.client.is_empty() && self.spared.is_empty() {
            return true;
        }
        let client = client_id(node, connection);
        (self.client.is_empty() || *self.client == *client)
            && !self.spared.iter().any(|spared| **spared == *client)
    }
}

/// How an ask ended.
#[derive(Debug)]
pub struct Told {
    /// Which.
    pub ticket: u64,
    /// How.
    pub outcome: Result<Report, ErrorCode>,
}

/// What an ask came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It is done.
    Done,
    /// How much there is, by shard.
    Census(Vec<Census>),
    /// Channels with their subscribers, by shard.
    Channels(Vec<(Box<str>, u32)>),
}

/// What a shard holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Census {
    /// Its node.
    pub node: u32,
    /// Clients that have connected.
    pub clients: u64,
    /// Users of these.
    pub users: u64,
    /// Channels that are known.
    pub channels: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Seconds since the node has started.
    pub uptime_s: u64,
}

impl Report {
    /// Adds what another shard or node has reported.
    pub fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::Done) => {}
            (Self::Census(all), Self::Census(more)) => all.extend(more),
            (Self::Channels(all), Self::Channels(more)) => all.extend(more),
            (_, other) => *self = other,
        }
    }
}

impl Key {
    /// The slot of no connection.
    const SERVER: u32 = u32::MAX;

    /// Who asks by this ticket: a key for the places in which a connection asks, and the request's id.
    #[must_use]
    pub fn of_ticket(ticket: u64) -> (Self, u32) {
        (Self { slot: Self::SERVER, generation: (ticket >> 32) as u32 }, ticket as u32)
    }

    /// The ticket, if that is who asked.
    #[must_use]
    pub fn ticket(self, id: u32) -> Option<u64> {
        (self.slot == Self::SERVER).then(|| u64::from(self.generation) << 32 | u64::from(id))
    }
}
