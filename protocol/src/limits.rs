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

/// Most bytes of a frame between nodes behind its length: the largest message that an operator may allow a client (64 MiB),
/// and 64 KiB for names and numbers around it. A longer one is not written, and ends the link when it is announced.
pub const RELAY_FRAME_BYTES_MAX: usize = (64 << 20) + (64 << 10);

/// Most bytes of a greeting behind its length. Two names and a few numbers take less than 300; whoever dials is not yet
/// known, and makes nobody keep more than this.
pub const GREETING_BYTES_MAX: usize = 1024;

const _: () =
    assert!(GREETING_BYTES_MAX < RELAY_FRAME_BYTES_MAX && RELAY_FRAME_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(CONNECT_HEADERS_MAX <= CONNECT_SUBS_MAX);
