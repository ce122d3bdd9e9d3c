//! Every number of this crate that bounds a peer, and the limits that a caller sets.

/// What a peer may send on one connection. One value serves all connections; it is passed to each call.
///
/// Memory retained for a connection is the payload received of its incomplete message plus at most one control
/// payload: fragments are joined as they arrive and cost nothing beyond their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most payload bytes in one data frame. Beyond: [`crate::Violation::FrameTooLong`], from the header alone.
    pub frame_bytes: u32,
    /// Most payload bytes in one message, all fragments together, as received (before any inflation). Beyond:
    /// [`crate::Violation::MessageTooLong`], from the header that exceeds it.
    pub message_bytes: u32,
    /// Most frames in one message, so that empty fragments cannot keep a message open for ever. Beyond:
    /// [`crate::Violation::TooManyFragments`]. A message of a single frame is always allowed.
    pub fragments: u32,
}

/// Most payload bytes of a control frame (RFC 6455 section 5.5). Beyond: a protocol violation.
pub const CONTROL_BYTES_MAX: usize = 125;

/// Most bytes of the reason in a Close frame: a control payload less the status code. Longer ones are cut.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Largest frame header: two bytes, a 64-bit length, a masking key (RFC 6455 section 5.2).
pub const HEADER_BYTES_MAX: usize = 2 + 8 + 4;

/// Largest HTTP head of an upgrade. Browsers send cookies, so one page is not enough; two are what most servers
/// allow. Beyond: 431 for a request, a failed handshake for a response.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most header lines in an upgrade. Browsers behind two proxies send about thirty. Beyond: 431 or a failed
/// handshake. It also bounds the stack that parsing takes (32 bytes each).
pub const HEADERS_MAX: usize = 64;

/// Bytes that a message grows by while it is inflated: after each its size and its text are looked at, so that a bomb costs
/// no more than one of them beyond the limit. Small enough for the first-level cache.
pub const INFLATE_PIECE_BYTES: usize = 16 * 1024;

/// The same for messages that look small, so that room is not made for nothing.
pub const INFLATE_PIECE_BYTES_MIN: usize = 512;

/// Room that a compressor keeps from one message to the next. A larger one is made and given back for each message that
/// needs it.
pub const DEFLATE_KEPT_BYTES: usize = 256 * 1024;

const _: () = assert!(INFLATE_PIECE_BYTES_MIN < INFLATE_PIECE_BYTES);
const _: () = assert!(CLOSE_REASON_BYTES_MAX + 2 == CONTROL_BYTES_MAX);
const _: () = assert!(CONTROL_BYTES_MAX < 126, "a control length fits the seven bits of the second byte");
const _: () =
    assert!(HEADERS_MAX * 4 < HEAD_BYTES_MAX, "the shortest header lines reach the count limit first");
