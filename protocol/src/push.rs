//! What a server sends unasked: pushes and pings.

use crate::Encoding;
use crate::fields::{Field, Fields, Message, OnePayload, field};
use crate::publication::{ClientInfo, Publication};

/// Room for the names and small fields around a payload, so that most pushes grow their buffer once.
const PUSH_OVERHEAD_BYTES: usize = 160;

/// An asynchronous message of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push<'a> {
    /// A publication of the channel.
    Publication(&'a Publication<'a>),
    /// A client came to the channel.
    Join(&'a ClientInfo<'a>),
    /// A client left the channel.
    Leave(&'a ClientInfo<'a>),
    /// The subscription to the channel is gone already.
    Unsubscribe {
        /// An [`UnsubscribeCode`](crate::UnsubscribeCode), or one of an application (2100-2499, 2600-2999).
        code: u32,
        /// Never empty.
        reason: &'a str,
    },
    /// A server-side subscription to the channel began.
    Subscribe(&'a SubscribePush<'a>),
    /// A payload for the connection; has no channel.
    Message(&'a [u8]),
    /// The connection's time was prolonged; has no channel.
    Refresh {
        /// Whether it ends at all.
        expires: bool,
        /// Seconds until it ends.
        ttl: u32,
    },
    /// The connection ends; has no channel. A bidirectional WebSocket says this with its close frame instead.
    Disconnect {
        /// A [`DisconnectCode`](crate::DisconnectCode), or one of an application (4000-4999).
        code: u32,
        /// Never empty.
        reason: &'a str,
    },
}

/// A server-side subscription that began after connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscribePush<'a> {
    /// Recovery is granted.
    pub recoverable: bool,
    /// The stream's epoch.
    pub epoch: &'a str,
    /// The stream's top.
    pub offset: u64,
    /// Lost publications are told of.
    pub positioned: bool,
    /// Custom payload; empty when there is none.
    pub data: &'a [u8],
}

/// Appends a push: one JSON object without a line feed, or a Protobuf message behind its length.
///
/// `channel` is empty for pushes that have none. Payloads must be fit for the encoding, as [`Publication`] says.
#[inline]
pub fn push_push(out: &mut Vec<u8>, encoding: Encoding, channel: &str, push: &Push<'_>) {
    if let Push::Publication(publication) = push {
        out.reserve(PUSH_OVERHEAD_BYTES + channel.len() + publication.data.len());
    }
    encoding.push(out, &PushReply(PushMessage { channel, push }));
}

/// Appends a ping, which a client told `pong: true` answers with the same bytes.
pub fn push_ping(out: &mut Vec<u8>, encoding: Encoding) {
    out.extend_from_slice(match encoding {
        Encoding::Json => b"{}",
        Encoding::Protobuf => b"\0",
    });
}

struct PushReply<'a>(PushMessage<'a>);

struct PushMessage<'a> {
    channel: &'a str,
    push: &'a Push<'a>,
}

struct Info<'a>(&'a ClientInfo<'a>);

/// The shape of `Unsubscribe` and `Disconnect`, whose tags differ.
struct Ending<'a> {
    code: (Field, u32),
    reason: (Field, &'a str),
}

struct Refresh {
    expires: bool,
    ttl: u32,
}

impl Message for PushReply<'_> {
    #[inline]
    fn fields(&self, to: &mut impl Fields) {
        to.message(field(4, "push"), &self.0);
    }
}

impl Message for PushMessage<'_> {
    #[inline]
    fn fields(&self, to: &mut impl Fields) {
        to.text(field(2, "channel"), self.channel);
        match *self.push {
            Push::Publication(publication) => to.message(field(4, "pub"), publication),
            Push::Join(info) => to.message(field(5, "join"), &Info(info)),
            Push::Leave(info) => to.message(field(6, "leave"), &Info(info)),
            Push::Unsubscribe { code, reason } => {
                let ending = Ending { code: (field(2, "code"), code), reason: (field(3, "reason"), reason) };
                to.message(field(7, "unsubscribe"), &ending);
            }
            Push::Message(data) => to.message(field(8, "message"), &OnePayload(field(1, "data"), data)),
            Push::Subscribe(subscribe) => to.message(field(9, "subscribe"), subscribe),
            Push::Disconnect { code, reason } => {
                let ending = Ending { code: (field(1, "code"), code), reason: (field(2, "reason"), reason) };
                to.message(field(11, "disconnect"), &ending);
            }
            Push::Refresh { expires, ttl } => to.message(field(12, "refresh"), &Refresh { expires, ttl }),
        }
    }
}

impl Message for Info<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.message(field(1, "info"), self.0);
    }
}

impl Message for Ending<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.uint(self.code.0, u64::from(self.code.1));
        to.text(self.reason.0, self.reason.1);
    }
}

impl Message for Refresh {
    fn fields(&self, to: &mut impl Fields) {
        to.flag(field(1, "expires"), self.expires);
        to.uint(field(2, "ttl"), u64::from(self.ttl));
    }
}

impl Message for SubscribePush<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.flag(field(1, "recoverable"), self.recoverable);
        to.text(field(4, "epoch"), self.epoch);
        to.uint(field(5, "offset"), self.offset);
        to.flag(field(6, "positioned"), self.positioned);
        to.bytes(field(7, "data"), self.data);
    }
}
