//! The values that the turn carries from room to room: commands forward, answers on.
//!
//! Invariants: plain data; no room, no socket, no reference into a buffer of the turn.

use std::sync::Arc;

use roadstead_protocol::{Encoding, ErrorCode};

/// The turn's time, read once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Milliseconds of the monotonic clock.
    pub ms: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// A connection's name within its shard. The generation tells it from an earlier one in the same slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Key {
    /// Slot in the connection table.
    pub slot: u32,
    /// Counts the connections that have had this slot.
    pub generation: u32,
}

/// What a session asks of the router.
#[derive(Debug)]
pub enum Command {
    /// Subscribe, and answer with the request's id (`None`: server-side, no answer).
    Subscribe {
        /// Who.
        by: Key,
        /// The request's id.
        id: Option<u32>,
        /// Channel name.
        channel: Arc<str>,
        /// Encoding of the subscriber's connection.
        encoding: Encoding,
        /// The verdict of the permission check, applied after the checks that only the router can make.
        verdict: Result<(), ErrorCode>,
    },
    /// Unsubscribe; always succeeds.
    Unsubscribe {
        /// Who.
        by: Key,
        /// The request's id.
        id: u32,
        /// Channel name.
        channel: Arc<str>,
    },
    /// Publish.
    Publish {
        /// Who.
        by: Key,
        /// The request's id.
        id: u32,
        /// Channel name.
        channel: Arc<str>,
        /// What.
        publication: Arc<Publication>,
        /// Allowed to subscribers only.
        must_subscribe: bool,
    },
}

impl Command {
    /// The connection that asks.
    #[must_use]
    pub fn by(&self) -> Key {
        match self {
            Self::Subscribe { by, .. } | Self::Unsubscribe { by, .. } | Self::Publish { by, .. } => *by,
        }
    }
}

/// A message to a channel, as its publisher gave it.
#[derive(Debug, PartialEq, Eq)]
pub struct Publication {
    /// The payload, as received.
    pub data: Vec<u8>,
    /// User of the publishing client.
    pub user: Arc<str>,
    /// Client id of the publishing client.
    pub client: String,
    /// Its connection info, raw JSON.
    pub conn_info: Option<Arc<[u8]>>,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Subscribed.
    Subscribed,
    /// Unsubscribed, or was not subscribed. `tag` names the channel whose queued pushes must not be written.
    Unsubscribed {
        /// The channel's tag, if there was a subscription.
        tag: Option<u32>,
    },
    /// Published.
    Published,
    /// Refused.
    Refused(ErrorCode),
}

/// An answer on its way to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The connection.
    pub to: Key,
    /// The request's id.
    pub id: u32,
    /// The answer.
    pub answer: Answer,
}
