//! What a client asks for: commands, their fields, and how they are written.
//!
//! Strings and payloads are borrowed from the message where they can be. Fields of map subscriptions, shared polls,
//! dictionaries and channel compaction ids are not read: they are never granted.

use std::borrow::Cow;

use serde::Deserialize;

use crate::fields::{Empty, Field, Fields, Message, OnePayload, OneText, field};
use crate::{Encoding, Method, commands, json};

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// Counts from 1 in a client; 0 marks a pong, or a `send`.
    pub id: u32,
    /// The first request present, in tag order.
    pub request: Request<'a>,
}

impl Command<'_> {
    /// Whether this answers a ping: without an id everything does, whatever it holds, except `send`.
    pub const fn is_pong(&self) -> bool {
        self.id == 0 && !matches!(self.request, Request::Send(_))
    }
}

/// What a command holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// No known request: a pong without an id, misuse with one.
    Empty,
    /// Open the session; must come first.
    Connect(ConnectRequest<'a>),
    /// Receive a channel.
    Subscribe(SubscribeRequest<'a>),
    /// Stop receiving this channel.
    Unsubscribe(Cow<'a, str>),
    /// Send to a channel.
    Publish(PublishRequest<'a>),
    /// Who is in this channel.
    Presence(Cow<'a, str>),
    /// How many are in this channel.
    PresenceStats(Cow<'a, str>),
    /// What was published to a channel.
    History(HistoryRequest<'a>),
    /// In the schema only; misuse.
    Ping,
    /// This payload, to the server; no answer, no id.
    Send(Cow<'a, [u8]>),
    /// A call.
    Rpc(RpcRequest<'a>),
    /// A new connection token.
    Refresh(Cow<'a, str>),
    /// A new subscription token.
    SubRefresh(SubRefreshRequest<'a>),
}

/// Appends a command, as a client sends it: without a line feed in JSON, behind its length in Protobuf.
///
/// A payload must be fit for the encoding: one JSON value without line feeds, for JSON.
pub fn push_command(out: &mut Vec<u8>, encoding: Encoding, command: &Command<'_>) {
    encoding.push(out, command);
}

impl Request<'_> {
    /// The method called; `None` for [`Request::Empty`].
    pub const fn method(&self) -> Option<Method> {
        Some(match self {
            Self::Empty => return None,
            Self::Connect(_) => Method::Connect,
            Self::Subscribe(_) => Method::Subscribe,
            Self::Unsubscribe(_) => Method::Unsubscribe,
            Self::Publish(_) => Method::Publish,
            Self::Presence(_) => Method::Presence,
            Self::PresenceStats(_) => Method::PresenceStats,
            Self::History(_) => Method::History,
            Self::Ping => Method::Ping,
            Self::Send(_) => Method::Send,
            Self::Rpc(_) => Method::Rpc,
            Self::Refresh(_) => Method::Refresh,
            Self::SubRefresh(_) => Method::SubRefresh,
        })
    }
}

/// Names and values, in the order of the message.
pub type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Opens a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ConnectRequest<'a> {
    /// A JWT; empty when there is none.
    #[serde(borrow, deserialize_with = "json::text")]
    pub token: Cow<'a, str>,
    /// Opaque, for a connect hook; empty when there is none.
    #[serde(borrow, deserialize_with = "json::bytes")]
    pub data: Cow<'a, [u8]>,
    /// The server-side subscriptions the client remembers, with the positions to recover from; channel first.
    #[serde(borrow, deserialize_with = "commands::sub_map")]
    pub subs: Vec<(Cow<'a, str>, SubscribeRequest<'a>)>,
    /// The client library, such as `js`.
    #[serde(borrow, deserialize_with = "json::text")]
    pub name: Cow<'a, str>,
    /// The version of the client's application.
    #[serde(borrow, deserialize_with = "json::text")]
    pub version: Cow<'a, str>,
    /// HTTP headers a browser could not set; never to be trusted beyond an allow-list.
    #[serde(borrow, deserialize_with = "commands::header_map")]
    pub headers: Headers<'a>,
}

/// Subscribes to a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SubscribeRequest<'a> {
    /// The channel; empty is misuse. Unused inside [`ConnectRequest::subs`].
    #[serde(borrow, deserialize_with = "json::text")]
    pub channel: Cow<'a, str>,
    /// A subscription JWT; empty when there is none.
    #[serde(borrow, deserialize_with = "json::text")]
    pub token: Cow<'a, str>,
    /// The client was here before, at `epoch` and `offset`, and wants what it missed.
    #[serde(deserialize_with = "json::tolerant")]
    pub recover: bool,
    /// The epoch of the position to recover from; empty fits every epoch.
    #[serde(borrow, deserialize_with = "json::text")]
    pub epoch: Cow<'a, str>,
    /// The last offset the client saw.
    #[serde(deserialize_with = "json::tolerant")]
    pub offset: u64,
    /// Opaque, for a subscribe hook; empty when there is none.
    #[serde(borrow, deserialize_with = "json::bytes")]
    pub data: Cow<'a, [u8]>,
    /// A wish: tell of lost publications.
    #[serde(deserialize_with = "json::tolerant")]
    pub positioned: bool,
    /// A wish: allow recovery.
    #[serde(deserialize_with = "json::tolerant")]
    pub recoverable: bool,
    /// A wish: receive joins and leaves.
    #[serde(deserialize_with = "json::tolerant")]
    pub join_leave: bool,
    /// The delta format wished for; empty when there is none.
    #[serde(borrow, deserialize_with = "json::text")]
    pub delta: Cow<'a, str>,
    /// The tags filter (`tf`), unread: its JSON text or its Protobuf message.
    #[serde(borrow, deserialize_with = "json::optional_bytes", rename = "tf")]
    pub filter: Option<Cow<'a, [u8]>>,
    /// Bit 1: channel compaction accepted; bit 2: refuse the subscription when recovery fails.
    #[serde(deserialize_with = "json::tolerant")]
    pub flag: i64,
    /// The subscription's type; 0 is a stream, the only one here.
    #[serde(deserialize_with = "json::tolerant", rename = "type")]
    pub kind: i32,
}

impl SubscribeRequest<'_> {
    /// Whether failed recovery refuses the subscription (112) in place of starting it at the top.
    pub const fn refuses_unrecovered(&self) -> bool {
        self.flag & 2 != 0
    }
}

/// Publishes to a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PublishRequest<'a> {
    /// The channel; empty is misuse.
    #[serde(borrow, deserialize_with = "json::text")]
    pub channel: Cow<'a, str>,
    /// The payload; empty is a bad request (107).
    #[serde(borrow, deserialize_with = "json::bytes")]
    pub data: Cow<'a, [u8]>,
    /// The type of the subscription published to; 0 is a stream, the only one here.
    #[serde(deserialize_with = "json::tolerant", rename = "type")]
    pub kind: i32,
}

/// A place in a channel's stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StreamPosition<'a> {
    /// The last offset seen.
    #[serde(deserialize_with = "json::tolerant")]
    pub offset: u64,
    /// The stream's epoch; empty fits every epoch.
    #[serde(borrow, deserialize_with = "json::text")]
    pub epoch: Cow<'a, str>,
}

/// Reads a channel's stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HistoryRequest<'a> {
    /// The channel; empty is misuse.
    #[serde(borrow, deserialize_with = "json::text")]
    pub channel: Cow<'a, str>,
    /// Most publications to return; 0: the position only; negative: as many as allowed.
    #[serde(deserialize_with = "json::tolerant")]
    pub limit: i32,
    /// Where to start; absent: at the oldest, or at the newest if `reverse`.
    #[serde(borrow, deserialize_with = "json::object")]
    pub since: Option<StreamPosition<'a>>,
    /// Newest first.
    #[serde(deserialize_with = "json::tolerant")]
    pub reverse: bool,
}

/// Calls a method of the server's application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RpcRequest<'a> {
    /// The argument; may be empty.
    #[serde(borrow, deserialize_with = "json::bytes")]
    pub data: Cow<'a, [u8]>,
    /// The method's name; may be empty.
    #[serde(borrow, deserialize_with = "json::text")]
    pub method: Cow<'a, str>,
}

/// Renews a subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SubRefreshRequest<'a> {
    /// The channel; some clients leave it out, the token names it too.
    #[serde(borrow, deserialize_with = "json::text")]
    pub channel: Cow<'a, str>,
    /// The new subscription JWT.
    #[serde(borrow, deserialize_with = "json::text")]
    pub token: Cow<'a, str>,
    /// The subscription's type; 0 is a stream, the only one here.
    #[serde(deserialize_with = "json::tolerant", rename = "type")]
    pub kind: i32,
}

pub(crate) const CHANNEL: Field = field(1, "channel");

impl Message for Command<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.uint(field(1, "id"), u64::from(self.id));
        let Some(method) = self.request.method() else { return };
        let request = field(method.command_tag(), method.name());
        match &self.request {
            Request::Empty => {}
            Request::Connect(connect) => to.message(request, connect),
            Request::Subscribe(subscribe) => to.message(request, subscribe),
            Request::Unsubscribe(channel) | Request::Presence(channel) | Request::PresenceStats(channel) => {
                to.message(request, &OneText(CHANNEL, channel));
            }
            Request::Publish(publish) => to.message(request, publish),
            Request::History(history) => to.message(request, history),
            Request::Ping => to.message(request, &Empty),
            Request::Send(data) => to.message(request, &OnePayload(field(1, "data"), data)),
            Request::Rpc(rpc) => to.message(request, rpc),
            Request::Refresh(token) => to.message(request, &OneText(field(1, "token"), token)),
            Request::SubRefresh(refresh) => to.message(request, refresh),
        }
    }
}

impl Message for ConnectRequest<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(field(1, "token"), &self.token);
        to.bytes(field(2, "data"), &self.data);
        to.message_map(field(3, "subs"), &self.subs);
        to.text(field(4, "name"), &self.name);
        to.text(field(5, "version"), &self.version);
        to.text_map(field(6, "headers"), &self.headers);
    }
}

impl Message for SubscribeRequest<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(CHANNEL, &self.channel);
        to.text(field(2, "token"), &self.token);
        to.flag(field(3, "recover"), self.recover);
        to.text(field(6, "epoch"), &self.epoch);
        to.uint(field(7, "offset"), self.offset);
        to.bytes(field(8, "data"), &self.data);
        to.flag(field(9, "positioned"), self.positioned);
        to.flag(field(10, "recoverable"), self.recoverable);
        to.flag(field(11, "join_leave"), self.join_leave);
        to.text(field(12, "delta"), &self.delta);
        to.bytes(field(13, "tf"), self.filter.as_deref().unwrap_or_default());
        to.int(field(14, "flag"), self.flag);
        to.int(field(15, "type"), i64::from(self.kind));
    }
}

impl Message for PublishRequest<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(CHANNEL, &self.channel);
        to.bytes(field(2, "data"), &self.data);
        to.int(field(3, "type"), i64::from(self.kind));
    }
}

impl Message for StreamPosition<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.uint(field(1, "offset"), self.offset);
        to.text(field(2, "epoch"), &self.epoch);
    }
}

impl Message for HistoryRequest<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(CHANNEL, &self.channel);
        to.int(field(7, "limit"), i64::from(self.limit));
        if let Some(since) = &self.since {
            to.message(field(8, "since"), since);
        }
        to.flag(field(9, "reverse"), self.reverse);
    }
}

impl Message for RpcRequest<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.bytes(field(1, "data"), &self.data);
        to.text(field(2, "method"), &self.method);
    }
}

impl Message for SubRefreshRequest<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(CHANNEL, &self.channel);
        to.text(field(2, "token"), &self.token);
        to.int(field(3, "type"), i64::from(self.kind));
    }
}
