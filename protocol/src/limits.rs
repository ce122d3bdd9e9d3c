//! Every limit of this crate, with the reason for its number.
//!
//! The size of a whole message is bounded by whoever received it; these bound what one message turns into.

/// Most entries read from `connect.subs`; one more makes the command malformed.
///
/// A client lists there only server-side subscriptions that a server gave it, and servers grant 128 channels at
/// most by default. Without a limit two bytes of Protobuf would cost one whole `SubscribeRequest` of memory.
pub const CONNECT_SUBS_MAX: usize = 1024;

/// Most entries read from `connect.headers`; one more makes the command malformed.
///
/// They stand for HTTP headers, of which servers accept about a hundred in a real request.
pub const CONNECT_HEADERS_MAX: usize = 128;

/// Most bytes of a close reason: a control frame holds 125, of which two are the code (RFC 6455 section 5.5).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

const _: () = assert!(CONNECT_HEADERS_MAX <= CONNECT_SUBS_MAX);
