//! What routers say to each other, and through whom.

use std::sync::Arc;

use roadstead_protocol::ErrorCode;

use super::publishes::Asked;
use crate::flow::{Answer, Delivery, Found, Key, Parcel, Position, Publication, Reading, UserErrand};

/// What routers of sibling shards say to each other.
#[derive(Debug)]
pub enum Message {
    /// Shard `from` has subscribers; the hub adds it and answers [`Message::Interested`].
    Interest {
        /// Channel name.
        channel: Arc<str>,
        /// The asking shard.
        from: u16,
    },
    /// The hub has added the shard: publications after `position` will come. Also said when the channel has a new owner.
    Interested {
        /// Channel name.
        channel: Arc<str>,
        /// Last position given.
        position: Position,
    },
    /// Publications may not reach the hub at present: until the next [`Message::Interested`], new subscribers are held.
    Doubted {
        /// Channel name.
        channel: Arc<str>,
    },
    /// Shard `from` has had no subscriber for the vacancy period.
    Disinterest {
        /// Channel name.
        channel: Arc<str>,
        /// The shard.
        from: u16,
    },
    /// A client publishes; the hub orders it or sends it to the owner.
    Publish {
        /// Channel name.
        channel: Arc<str>,
        /// What.
        publication: Arc<Publication>,
        /// Who.
        asked: Asked,
    },
    /// The answer to [`Message::Publish`].
    Published {
        /// The publisher.
        by: Key,
        /// The request's id.
        id: u32,
        /// `Published` or `Refused`.
        answer: Answer,
    },
    /// An ordered publication, once to each interested shard.
    Deliver {
        /// Channel name.
        channel: Arc<str>,
        /// Its position in the channel.
        position: Position,
        /// What.
        publication: Arc<Publication>,
    },
    /// Shard `from` wants something of a channel's stream; answered by [`Message::Found`].
    Read {
        /// Channel name.
        channel: Arc<str>,
        /// What.
        reading: Reading,
        /// The asking shard.
        from: u16,
        /// Its name for the question.
        ticket: u64,
    },
    /// The answer to [`Message::Read`], behind every publication that was sent before it was read.
    Found {
        /// Of which question.
        ticket: u64,
        /// What was found, or what the client is told.
        found: Result<Box<Found>, ErrorCode>,
    },
    /// A connection of a user began on shard `from`.
    Enter {
        /// The user.
        user: Arc<str>,
        /// [`Key::number`] of the connection.
        connection: u64,
        /// Its shard.
        from: u16,
    },
    /// A connection of a user is gone.
    Leave {
        /// The user.
        user: Arc<str>,
        /// [`Key::number`] of the connection.
        connection: u64,
    },
    /// The server API wants something of a connection of the receiver.
    Errand {
        /// The connection.
        by: Key,
        /// What.
        errand: Arc<UserErrand>,
    },
}

/// Where the router's messages go.
pub trait Post {
    /// Sends `message` to a shard of this node.
    ///
    /// # Errors
    /// Gives it back: it was refused. Only [`Message::Publish`] and [`Message::Read`] can be.
    fn post(&mut self, shard: u16, message: Message) -> Result<(), Message>;

    /// Whether `shard` keeps up with what is kept for it.
    fn has_room(&self, shard: u16) -> bool;

    /// Sends `parcel` to another node.
    ///
    /// # Errors
    /// Gives it back: it was refused. Only [`crate::flow::Relayed::Publish`] can be.
    fn relay(&mut self, parcel: Parcel) -> Result<(), Parcel>;

    /// Ends a session of a link: what was said in it does not fit what is known here.
    fn reset(&mut self, link: super::links::Route);
}

/// Where a decision goes: the time it is made at, the way to other shards and nodes, and to the connections here.
#[derive(Debug)]
pub struct Outlet<'t, P> {
    /// The turn's time, milliseconds.
    pub now_ms: u64,
    /// To other shards and nodes.
    pub post: &'t mut P,
    /// To connections of this shard.
    pub deliveries: &'t mut Vec<Delivery>,
}
