//! Why a message could not be read; always the peer's fault.

use std::fmt;

use crate::DisconnectCode;

/// A message that is not one of this protocol. Nothing after it in the same WebSocket message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The WebSocket message, or a line of it, is empty.
    Empty,
    /// Text that is not UTF-8.
    NotUtf8,
    /// Not one JSON object of the expected shape, or a number out of its range.
    Json,
    /// A Protobuf length, key or field that is cut short, of the wrong wire type, or out of its range.
    Protobuf,
    /// More entries than [`CONNECT_SUBS_MAX`](crate::CONNECT_SUBS_MAX) or
    /// [`CONNECT_HEADERS_MAX`](crate::CONNECT_HEADERS_MAX). In JSON such a command is reported as [`Self::Json`].
    TooMany,
}

impl Malformed {
    /// The close a server answers with: 3501.
    pub const fn disconnect(self) -> DisconnectCode {
        DisconnectCode::BadRequest
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty message",
            Self::NotUtf8 => "text is not UTF-8",
            Self::Json => "not a JSON message of this protocol",
            Self::Protobuf => "not a Protobuf message of this protocol",
            Self::TooMany => "too many entries in a map",
        })
    }
}

impl std::error::Error for Malformed {}
