//! What nodes say to each other, and which shard of the receiver it is for.

use std::sync::Arc;

use roadstead_control::{Digest, hub_shard};
use roadstead_protocol::ErrorCode;

use super::{Errand, Found, LocatedEntry, Outcome, Position, Publication, Reading, Report, personal_channel};
use crate::revocations::{Revocation, Subject};

/// What nodes say to each other about channels and users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Relayed {
    /// The sender's hub wants the channel's publications; what it saw last. Answered by `Top` or `NotOwner`.
    Announce {
        /// Channel name.
        channel: Arc<str>,
        /// Numbers the question, from 1; its answer repeats it.
        ask: u32,
        /// Last position seen.
        position: Position,
    },
    /// The owner has added the asking node: publications above `position` follow.
    Top {
        /// Channel name.
        channel: Arc<str>,
        /// The number of the `Announce`.
        ask: u32,
        /// Last position given.
        position: Position,
    },
    /// The sender wants the channel no more.
    Withdraw {
        /// Channel name.
        channel: Arc<str>,
    },
    /// The sender does not own the channel, or not any more.
    NotOwner {
        /// Channel name.
        channel: Arc<str>,
        /// The number of the `Announce`; 0: said unasked.
        ask: u32,
    },
    /// A publication for the owner to order.
    Publish {
        /// Names the request at the asking node; its upper 16 bits are the asking hub.
        request: u64,
        /// Channel name.
        channel: Arc<str>,
        /// What.
        publication: Arc<Publication>,
    },
    /// The owner's answer to `Publish`.
    Published {
        /// The request.
        request: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// An ordered publication, once to each interested node.
    Deliver {
        /// Channel name.
        channel: Arc<str>,
        /// Its position.
        position: Position,
        /// What.
        publication: Arc<Publication>,
    },
    /// The sender's hub wants something of a channel's stream; answered by `Found`.
    Read {
        /// As in `Publish`.
        request: u64,
        /// Channel name.
        channel: Arc<str>,
        /// What.
        reading: Reading,
    },
    /// The owner's answer to `Read`, behind every publication that it sent before it read.
    Found {
        /// The request.
        request: u64,
        /// Channel name.
        channel: Arc<str>,
        /// What was found, or what the client is told.
        found: Result<Found, ErrorCode>,
    },
    /// A connection of a user exists on the sender's node.
    Enter {
        /// Counts the statements of one hub to another in a link session, from 1.
        sequence: u64,
        /// User.
        user: Arc<str>,
        /// [`Key::number`].
        connection: u64,
        /// Shard that holds it.
        shard: u16,
        /// Seconds since it began.
        age_s: u32,
    },
    /// A connection of a user is gone.
    Leave {
        /// As in `Enter`.
        sequence: u64,
        /// User.
        user: Arc<str>,
        /// [`Key::number`].
        connection: u64,
    },
    /// Everything that hub `from_hub` has to announce to hub `to_hub` was announced in this session.
    Complete {
        /// The sender's hub.
        from_hub: u16,
        /// The receiver's hub.
        to_hub: u16,
        /// As in `Enter`.
        sequence: u64,
    },
    /// What `from_hub` believes `to_hub` to know of it: number and sum of interests and of connections.
    Digest {
        /// The sender's hub.
        from_hub: u16,
        /// The receiver's hub.
        to_hub: u16,
        /// Interests: count, sum of hashes.
        interests: (u64, u64),
        /// Connections: count, sum of hashes.
        entries: (u64, u64),
    },
    /// Asks the owner of `#user` where the user is.
    Locate {
        /// As in `Publish`.
        request: u64,
        /// User.
        user: Arc<str>,
    },
    /// About tokens that were taken back; for shard 0.
    Revoking(Revoking),
    /// An errand of the server API; answered by `ErrandDone`.
    Errand {
        /// As in `Publish`.
        request: u64,
        /// The receiver's shard, but for errands about users.
        shard: u16,
        /// What.
        errand: Arc<Errand>,
    },
    /// The answer to `Errand`.
    ErrandDone {
        /// The request.
        request: u64,
        /// What was found, or why it was not done.
        report: Result<Report, ErrorCode>,
    },
    /// The answer to `Locate`.
    Located {
        /// The request.
        request: u64,
        /// Whether the owner could answer.
        outcome: Outcome,
        /// The user's connections.
        entries: Vec<LocatedEntry>,
    },
}

/// What nodes say to each other about revocations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revoking {
    /// What the sender knows, in short.
    Digest(Digest),
    /// A revocation.
    Entry(Revocation),
    /// Asks for those behind a subject, in their order; answered by `Entry` ... `Sent`.
    After(Option<Subject>),
    /// A part of an answer is complete.
    Sent {
        /// Whether there are others behind it.
        more: bool,
    },
}

impl Relayed {
    /// The shard, of the receiver's `shards`, that this is for.
    #[must_use]
    pub fn hub(&self, shards: u16) -> u16 {
        match self {
            Self::Announce { channel, .. }
            | Self::Top { channel, .. }
            | Self::Withdraw { channel }
            | Self::NotOwner { channel, .. }
            | Self::Publish { channel, .. }
            | Self::Read { channel, .. }
            | Self::Found { channel, .. }
            | Self::Deliver { channel, .. } => hub_shard(channel.as_bytes(), shards),
            Self::Enter { user, .. } | Self::Leave { user, .. } | Self::Locate { user, .. } => {
                hub_shard(personal_channel(user).as_bytes(), shards)
            }
            Self::Revoking(_) => 0,
            Self::Errand { shard, errand, .. } => match &**errand {
                Errand::User(of) => hub_shard(personal_channel(&of.user).as_bytes(), shards),
                _ => *shard % shards,
            },
            Self::Complete { to_hub, .. } | Self::Digest { to_hub, .. } => *to_hub % shards,
            Self::Published { request, .. }
            | Self::Located { request, .. }
            | Self::ErrandDone { request, .. } => (request >> 48) as u16 % shards,
        }
    }
}
