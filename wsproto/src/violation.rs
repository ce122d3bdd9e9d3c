//! Everything by which a peer breaks the protocol or a limit, and the close code that says so.

use std::fmt;

use crate::close::code;

/// Why the connection must be failed (RFC 6455 section 7.1.7). The peer is to blame for all of these but
/// [`Violation::NoRoom`]. The decoder that returned one delivers nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// RSV2 or RSV3 is set, or RSV1 where no extension gives it a meaning (section 5.2).
    ReservedBits,
    /// An opcode that is not assigned.
    ReservedOpcode,
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A control frame without FIN (section 5.5).
    FragmentedControl,
    /// A control frame above 125 bytes (section 5.5).
    LongControl,
    /// A continuation where no message is open (section 5.4).
    UnexpectedContinuation,
    /// A new message while another is open (section 5.4).
    InterruptedMessage,
    /// A length encoded in more bytes than it needs (section 5.2).
    NonMinimalLength,
    /// A 64-bit length with its top bit set (section 5.2).
    LengthTopBit,
    /// A frame above [`crate::Limits::frame_bytes`].
    FrameTooLong,
    /// A message above [`crate::Limits::message_bytes`].
    MessageTooLong,
    /// A message of more frames than [`crate::Limits::fragments`].
    TooManyFragments,
    /// The [`crate::Assembly`] was full: our memory, not the peer's fault.
    NoRoom,
    /// A message that RSV1 calls deflated and that is not (RFC 7692 section 7.2.2).
    NotDeflated,
    /// A text message that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A Close payload of one byte (section 5.5.1).
    CloseTooShort,
    /// A Close code that must not be on the wire (section 7.4).
    CloseCode(u16),
    /// A Close reason that is not UTF-8 (section 5.5.1).
    CloseReasonUtf8,
}

impl Violation {
    /// The status code to close with: 1002, 1007, 1009, or 1013 where it is ours.
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::NotDeflated | Self::InvalidUtf8 | Self::CloseReasonUtf8 => code::INVALID_PAYLOAD,
            Self::FrameTooLong | Self::MessageTooLong | Self::TooManyFragments => code::MESSAGE_TOO_BIG,
            // The peer did nothing wrong, and clients give up for good after 1009.
            Self::NoRoom => code::TRY_AGAIN_LATER,
            _ => code::PROTOCOL_ERROR,
        }
    }

    /// A reason for the Close frame and the log: a few words of ASCII, nothing of the peer's in it.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::Unmasked => "frame without mask",
            Self::Masked => "frame with mask",
            Self::FragmentedControl => "fragmented control frame",
            Self::LongControl => "control frame too long",
            Self::UnexpectedContinuation => "continuation without message",
            Self::InterruptedMessage => "message interrupted by another",
            Self::NonMinimalLength => "length not minimal",
            Self::LengthTopBit => "length out of range",
            Self::FrameTooLong => "frame too long",
            Self::MessageTooLong => "message too long",
            Self::TooManyFragments => "too many fragments",
            Self::NoRoom => "no room for the message",
            Self::NotDeflated => "message is not deflated",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::CloseTooShort => "close payload of one byte",
            Self::CloseCode(_) => "close code not allowed",
            Self::CloseReasonUtf8 => "close reason is not UTF-8",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloseCode(code) => write!(f, "{} ({code})", self.reason()),
            _ => f.write_str(self.reason()),
        }
    }
}

impl std::error::Error for Violation {}
