//! What a decoder tells: one vocabulary for both roles.

use crate::close::CloseFrame;

/// The type of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// Something complete that the peer sent. Payloads are unmasked and lent: from the input where a frame lay in it
/// whole, otherwise from the assembly.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'e> {
    /// A whole message. Text has been checked to be UTF-8 unless it is compressed.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// RSV1 was set: the payload is what an extension made of the message, and text in it is unchecked
        /// (see [`crate::utf8::is_valid`]).
        compressed: bool,
        /// All fragments joined.
        payload: &'e mut [u8],
    },
    /// To be answered by a pong with the same payload (at most 125 bytes).
    Ping(&'e [u8]),
    /// Answers one of our pings, or none.
    Pong(&'e [u8]),
    /// The peer's Close; the last event of a connection.
    Close(Option<CloseFrame<'e>>),
}
