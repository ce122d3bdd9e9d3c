//! The payload of a Close frame: which status codes may be on the wire, and how they are read.

use crate::violation::Violation;

/// Status codes of RFC 6455 section 7.4.1 and the IANA registry that an endpoint sends itself.
pub mod code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// A server goes down, a browser leaves the page.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// The peer sent a kind of data that cannot be accepted.
    pub const UNSUPPORTED_DATA: u16 = 1003;
    /// The content does not fit its type: text that is not UTF-8.
    pub const INVALID_PAYLOAD: u16 = 1007;
    /// A message broke a policy; for when nothing else fits.
    pub const POLICY_VIOLATION: u16 = 1008;
    /// A message is too big.
    pub const MESSAGE_TOO_BIG: u16 = 1009;
    /// The server failed.
    pub const INTERNAL_ERROR: u16 = 1011;
    /// The server restarts.
    pub const SERVICE_RESTART: u16 = 1012;
    /// The server is overloaded.
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// What a peer's Close frame said, if it said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The status code; one that [`is_peer_code`] allows.
    pub code: u16,
    /// The reason, at most 123 bytes.
    pub reason: &'a str,
}

/// Whether a status code may be on the wire.
///
/// 1004 is reserved; 1005, 1006 and 1015 are only ever reported locally (section 7.4.1); what is below 1000, not
/// assigned below 3000, or above 4999 is not to be used (section 7.4.2). 1012 to 1014 were registered later.
pub const fn is_peer_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads an unmasked Close payload (section 5.5.1).
pub(crate) fn read(payload: &[u8]) -> Result<Option<CloseFrame<'_>>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::CloseTooShort),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_peer_code(code) {
                return Err(Violation::CloseCode(code));
            }
            match std::str::from_utf8(reason) {
                Ok(reason) => Ok(Some(CloseFrame { code, reason })),
                Err(_) => Err(Violation::CloseReasonUtf8),
            }
        }
    }
}
