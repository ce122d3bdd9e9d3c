//! What is said inside the frames: the Centrifuge client protocol (v2), in JSON and in Protobuf; and what nodes say to
//! each other ([`relay`]).
//!
//! Invariants: no socket, no clock, no randomness; nothing of the wire (masking, frames, close handshakes);
//! no permission is decided here. What a peer sends is read in place and borrowed; it can make a read fail, never
//! panic, recurse, or allocate more than a bounded multiple of what was sent.
//!
//! A connection picks its [`Encoding`] once ([`negotiate`]). Then the server reads [`commands()`] and writes
//! [`push_reply`], [`push_push`] and [`push_ping`]; a client writes [`push_command`] and reads [`replies()`].
//! Messages that share one WebSocket message are joined by [`Encoding::separator`].
//!
//! Every message writes its fields once, in `fields`, for both encodings; `json` and `protobuf` know how a field
//! looks, and no message. Reading is told apart, because there the encodings fail differently.

mod encoding;
mod limits;

mod command;
mod commands;
mod malformed;
mod method;

mod codes;
mod publication;
mod push;
mod reply;

mod replies;

mod fields;
mod json;
mod protobuf;

pub mod relay;

pub use codes::{DisconnectCode, ErrorCode, UnsubscribeCode};
pub use command::{
    Command, ConnectRequest, Headers, HistoryRequest, PublishRequest, Request, RpcRequest, StreamPosition,
    SubRefreshRequest, SubscribeRequest, push_command,
};
pub use commands::{Commands, commands};
pub use encoding::{Encoding, Negotiated, negotiate};
pub use json::{NotJson, json_data, push_json_string};
pub use limits::{
    CLOSE_REASON_BYTES_MAX, CONNECT_HEADERS_MAX, CONNECT_SUBS_MAX, GREETING_BYTES_MAX, RELAY_FRAME_BYTES_MAX,
};
pub use malformed::Malformed;
pub use method::Method;
pub use publication::{ClientInfo, Publication};
pub use push::{Push, SubscribePush, push_ping, push_push};
pub use replies::{Recovered, Replies, ServerMessage, Subscribed, replies, subscribed};
pub use reply::{
    ConnectResult, HistoryResult, PresenceResult, PresenceStatsResult, RefreshResult, Reply,
    SubRefreshResult, SubscribeResult, push_reply,
};
