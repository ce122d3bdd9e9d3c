//! The values that the turn carries from room to room: commands forward, answers on.
//!
//! Invariants: plain data; no room, no socket, no reference into a buffer of the turn.

mod asking;
mod relayed;
mod streams;

use std::sync::Arc;

use roadstead_control::{Incarnation, NodeId};
use roadstead_protocol::{Encoding, ErrorCode, UnsubscribeCode};

pub use asking::{Action, Ask, Asked, Census, Errand, Report, Told, UserErrand};
pub use relayed::{Relayed, Revoking};
pub use streams::{Claim, Found, Position, Reading, Standing, Stored, Wish};

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

impl Key {
    /// The connection as one number, unique on its node: how other nodes know it. Slots are below 2^24.
    #[must_use]
    pub fn number(self, shard: u16) -> u64 {
        u64::from(shard) << 56 | u64::from(self.slot) << 32 | u64::from(self.generation)
    }

    /// Shard and key of a number.
    #[must_use]
    pub fn of_number(number: u64) -> (u16, Self) {
        let slot = (number >> 32) as u32 & 0xff_ffff;
        ((number >> 56) as u16, Self { slot, generation: number as u32 })
    }
}

/// The DNS names in a certificate that was verified, in lower case; one may begin with `*.`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CertifiedNames(pub Vec<String>);

impl CertifiedNames {
    /// Whether one of them is `name`, in any case, or a wildcard for its first label.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.0.iter().any(|dns| match dns.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => *dns == name,
        })
    }
}

/// What is kept of a token, so that it is found if it is taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenMark {
    /// Both halves of the keyed hash of its id, so that who keeps it grows by 12 bytes and not by 16; 0: it has none.
    pub id: [u32; 2],
    /// When it was issued, seconds since the epoch; 0: nobody knows.
    pub issued_at_s: u32,
}

/// How long a subscription may last that was opened by a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term {
    /// When its time is over, before any grace, seconds since the epoch; 0: never.
    pub ends_at_s: u32,
    /// The token.
    pub mark: TokenMark,
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
        /// The verdict of the permission check, applied after the checks that only the router can make. With a term if a token
        /// that ends, or can be taken back by its id, was needed for it.
        verdict: Result<Option<Term>, ErrorCode>,
        /// What it is to be, if it is to know where in the channel's stream it is.
        wish: Option<Wish>,
    },
    /// Let a subscription last as long as another token says.
    Refresh {
        /// Who.
        by: Key,
        /// The request's id.
        id: u32,
        /// Channel name.
        channel: Arc<str>,
        /// As in `Subscribe`.
        verdict: Result<Option<Term>, ErrorCode>,
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
    /// A connection of a user began.
    Enter {
        /// The connection.
        by: Key,
        /// The user; not anonymous.
        user: Arc<str>,
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
    /// Read a channel's stream.
    Read {
        /// Who.
        by: Key,
        /// The request's id.
        id: u32,
        /// Channel name.
        channel: Arc<str>,
        /// What of it.
        reading: Reading,
        /// Allowed to subscribers only.
        must_subscribe: bool,
    },
}

impl Command {
    /// The connection that asks.
    #[must_use]
    pub fn by(&self) -> Key {
        match self {
            Self::Subscribe { by, .. }
            | Self::Refresh { by, .. }
            | Self::Unsubscribe { by, .. }
            | Self::Enter { by, .. }
            | Self::Publish { by, .. }
            | Self::Read { by, .. } => *by,
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
    /// Client id of the publishing client; empty: the server published.
    pub client: String,
    /// Its connection info, raw JSON.
    pub conn_info: Option<Arc<[u8]>>,
}

/// A publication with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Its position.
    pub position: Position,
    /// What.
    pub publication: Arc<Publication>,
}

/// How a request ended, or what became of what was asked for earlier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Subscribed; where in the stream, if the client is to know.
    Subscribed(Option<Box<Standing>>),
    /// A server-side subscription that a connect waits for has begun, or cannot.
    Begun {
        /// Channel name.
        channel: Arc<str>,
        /// Where in the stream, if there is one.
        begun: Result<Option<Box<Standing>>, ErrorCode>,
    },
    /// What was read.
    Read(Box<Found>),
    /// The subscription goes on.
    Refreshed,
    /// A subscription was taken away, and nobody has asked for that.
    Ended {
        /// Channel name.
        channel: Arc<str>,
        /// The channel's tag, as in `Unsubscribed`.
        tag: u32,
        /// Why.
        code: UnsubscribeCode,
    },
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The connection.
    pub to: Key,
    /// The request's id; 0: there was none.
    pub id: u32,
    /// The answer.
    pub answer: Answer,
}

/// How another node ended a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Accepted,
    /// Refused with an error code of the client protocol.
    Refused(ErrorCode),
    /// Not done, because that node does not own the channel in its View.
    NotOwner,
}

/// A connection of a user, as the owner of `#user` knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocatedEntry {
    /// Node that holds it.
    pub node: NodeId,
    /// Shard there.
    pub shard: u16,
    /// [`Key::number`] there.
    pub connection: u64,
    /// Seconds since it began.
    pub age_s: u32,
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

/// A connection's client id, as its client and every other node know it.
#[must_use]
pub fn client_id(node: NodeId, connection: u64) -> String {
    let (shard, Key { slot, generation }) = Key::of_number(connection);
    let (high, low) = (generation >> 16, generation & 0xffff);
    format!("{node}-{shard:04x}-{high:04x}-{low:04x}-{slot:012x}")
}

/// The channel of a user.
#[must_use]
pub fn personal_channel(user: &str) -> String {
    format!("#{user}")
}

/// Something said on a link, on its way to the shard that carries it or from there to its hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// The node at the other end.
    pub node: NodeId,
    /// Which of the links to it.
    pub index: u8,
    /// The session of the link in which it is valid; in any other it is void.
    pub session: u64,
    /// The sender's View number.
    pub view: u64,
    /// The shard of this node that carries the link.
    pub carrier: u16,
    /// What.
    pub relayed: Relayed,
}

/// A link has come up or gone down; every shard is told by the one that carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkChange {
    /// The node at the other end.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Which of the links to it.
    pub index: u8,
    /// Links to it in all.
    pub links: u8,
    /// Shards of that node.
    pub shards: u16,
    /// Number of the session; rises with each.
    pub session: u64,
    /// The shard that carries it; `None`: the session is over.
    pub carrier: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_in_rfc_6125() {
        let names = CertifiedNames(vec!["a.example".into(), "*.b.example".into()]);
        for (name, expected) in [
            ("a.example", true),
            ("A.Example", true),
            ("x.a.example", false),
            ("x.b.example", true),
            ("y.x.b.example", false),
            ("b.example", false),
            ("example", false),
        ] {
            assert_eq!(names.names(name), expected, "{name}");
        }
    }
}
