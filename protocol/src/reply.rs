//! What a server answers: replies and their results.
//!
//! A success always carries its result, also an empty one: SDKs read a field of it without looking.

use crate::codes::ErrorCode;
use crate::fields::{Empty, Fields, Message, OnePayload, field, kept};
use crate::publication::{ClientInfo, Publication};
use crate::{Encoding, Method};

/// The answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The command failed.
    Error(ErrorCode),
    /// The session is open.
    Connect(&'a ConnectResult<'a>),
    /// The subscription is active.
    Subscribe(&'a SubscribeResult<'a>),
    /// The subscription is gone.
    Unsubscribe,
    /// The publication was accepted.
    Publish,
    /// Who is in the channel.
    Presence(&'a PresenceResult<'a>),
    /// How many are in the channel.
    PresenceStats(&'a PresenceStatsResult),
    /// A part of the channel's stream.
    History(&'a HistoryResult<'a>),
    /// What the call returned; may be empty.
    Rpc(&'a [u8]),
    /// The connection goes on.
    Refresh(&'a RefreshResult<'a>),
    /// The subscription goes on.
    SubRefresh(&'a SubRefreshResult),
}

/// What a client learns when its session opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectResult<'a> {
    /// The connection's id; never empty.
    pub client: &'a str,
    /// The server's version; never empty.
    pub version: &'a str,
    /// The client must refresh its token; then `ttl` is not 0.
    pub expires: bool,
    /// Seconds until it must.
    pub ttl: u32,
    /// Custom payload; empty when there is none.
    pub data: &'a [u8],
    /// Every server-side subscription now active, channel first: a remembered one that is missing here counts as
    /// unsubscribed, and an empty result is as good as any.
    pub subs: &'a [(&'a str, SubscribeResult<'a>)],
    /// Seconds between pings; 0: none are sent.
    pub ping: u32,
    /// Whether the client must answer pings.
    pub pong: bool,
    /// The session's secret; only on emulated and unidirectional transports.
    pub session: &'a str,
    /// The node; only on emulated transports.
    pub node: &'a str,
    /// The server's time in milliseconds since 1970; 0: not told.
    pub time: i64,
}

/// What a client learns when a subscription starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscribeResult<'a> {
    /// The client must refresh its subscription token; then `ttl` is not 0.
    pub expires: bool,
    /// Seconds until it must.
    pub ttl: u32,
    /// Recovery is granted; clients store a position only then.
    pub recoverable: bool,
    /// The stream's epoch; empty when there is no stream.
    pub epoch: &'a str,
    /// What the client missed, ascending; only when recovery succeeded.
    pub publications: &'a [Publication<'a>],
    /// Recovery succeeded entirely.
    pub recovered: bool,
    /// The offset the client sent, when recovery succeeded; the stream's top otherwise.
    pub offset: u64,
    /// Lost publications are told of.
    pub positioned: bool,
    /// Custom payload; empty when there is none.
    pub data: &'a [u8],
    /// Recovery was attempted.
    pub was_recovering: bool,
    /// Deltas are granted.
    pub delta: bool,
}

/// Who is in a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceResult<'a> {
    /// The client's id first.
    pub presence: &'a [(&'a str, ClientInfo<'a>)],
}

/// How many are in a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceStatsResult {
    /// Connections.
    pub num_clients: u32,
    /// Distinct users; the anonymous one counts once.
    pub num_users: u32,
}

/// A part of a channel's stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryResult<'a> {
    /// In the order asked for.
    pub publications: &'a [Publication<'a>],
    /// The stream's epoch.
    pub epoch: &'a str,
    /// The stream's top.
    pub offset: u64,
}

/// How long the connection goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefreshResult<'a> {
    /// The connection's id; centrifuge-js takes it over when `expires` is set.
    pub client: &'a str,
    /// The server's version.
    pub version: &'a str,
    /// The client must refresh again; then `ttl` is not 0.
    pub expires: bool,
    /// Seconds until it must.
    pub ttl: u32,
}

/// How long a subscription goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubRefreshResult {
    /// The client must refresh again; then `ttl` is not 0.
    pub expires: bool,
    /// Seconds until it must.
    pub ttl: u32,
}

/// Appends a reply to command `id`: one JSON object without a line feed, or a Protobuf message behind its length.
///
/// Payloads must be fit for the encoding, as [`Publication`] says.
pub fn push_reply(out: &mut Vec<u8>, encoding: Encoding, id: u32, reply: &Reply<'_>) {
    encoding.push(out, &ReplyMessage { id, reply });
}

struct ReplyMessage<'a> {
    id: u32,
    reply: &'a Reply<'a>,
}

impl ReplyMessage<'_> {
    #[inline]
    fn result(to: &mut impl Fields, method: Method, result: &impl Message) {
        if let Some(tag) = method.reply_tag() {
            to.message(field(tag, method.name()), result);
        }
    }
}

impl Message for ReplyMessage<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.uint(field(1, "id"), u64::from(self.id));
        match *self.reply {
            Reply::Error(code) => to.message(field(2, "error"), &code),
            Reply::Connect(result) => Self::result(to, Method::Connect, result),
            Reply::Subscribe(result) => Self::result(to, Method::Subscribe, result),
            Reply::Unsubscribe => Self::result(to, Method::Unsubscribe, &Empty),
            Reply::Publish => Self::result(to, Method::Publish, &Empty),
            Reply::Presence(result) => Self::result(to, Method::Presence, result),
            Reply::PresenceStats(result) => Self::result(to, Method::PresenceStats, result),
            Reply::History(result) => Self::result(to, Method::History, result),
            Reply::Rpc(data) => Self::result(to, Method::Rpc, &OnePayload(field(1, "data"), data)),
            Reply::Refresh(result) => Self::result(to, Method::Refresh, result),
            Reply::SubRefresh(result) => Self::result(to, Method::SubRefresh, result),
        }
    }
}

impl Message for ErrorCode {
    fn fields(&self, to: &mut impl Fields) {
        to.uint(field(1, "code"), u64::from(self.code()));
        to.text(field(2, "message"), self.message());
        to.flag(field(3, "temporary"), self.temporary());
    }
}

impl Message for ConnectResult<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(field(1, "client"), self.client);
        to.text(field(2, "version"), self.version);
        to.flag(field(3, "expires"), self.expires);
        to.uint(field(4, "ttl"), u64::from(self.ttl));
        to.bytes(field(5, "data"), self.data);
        to.message_map(field(6, "subs"), self.subs);
        to.uint(field(7, "ping"), u64::from(self.ping));
        to.flag(field(8, "pong"), self.pong);
        to.text(field(9, "session"), self.session);
        to.text(field(10, "node"), self.node);
        to.int(field(11, "time"), self.time);
    }
}

impl Message for SubscribeResult<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.flag(field(1, "expires"), self.expires);
        to.uint(field(2, "ttl"), u64::from(self.ttl));
        to.flag(field(3, "recoverable"), self.recoverable);
        to.text(field(6, "epoch"), self.epoch);
        to.list(field(7, "publications"), self.publications);
        to.flag(field(8, "recovered"), self.recovered);
        to.uint(field(9, "offset"), self.offset);
        to.flag(field(10, "positioned"), self.positioned);
        to.bytes(field(11, "data"), self.data);
        to.flag(field(12, "was_recovering"), self.was_recovering);
        to.flag(field(13, "delta"), self.delta);
    }
}

impl Message for PresenceResult<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.message_map(kept(1, "presence"), self.presence);
    }
}

impl Message for PresenceStatsResult {
    fn fields(&self, to: &mut impl Fields) {
        to.uint(kept(1, "num_clients"), u64::from(self.num_clients));
        to.uint(kept(2, "num_users"), u64::from(self.num_users));
    }
}

impl Message for HistoryResult<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.list(kept(1, "publications"), self.publications);
        to.text(kept(2, "epoch"), self.epoch);
        to.uint(kept(3, "offset"), self.offset);
    }
}

impl Message for RefreshResult<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(field(1, "client"), self.client);
        to.text(field(2, "version"), self.version);
        to.flag(field(3, "expires"), self.expires);
        to.uint(field(4, "ttl"), u64::from(self.ttl));
    }
}

impl Message for SubRefreshResult {
    fn fields(&self, to: &mut impl Fields) {
        to.flag(field(1, "expires"), self.expires);
        to.uint(field(2, "ttl"), u64::from(self.ttl));
    }
}
