//! Why a frame between nodes could not be read or written.

use std::fmt;

/// Bytes that are no frame of a peer node; always the peer's fault. Nothing after them can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// A frame is announced that is longer than allowed.
    Long {
        /// Bytes announced.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// A frame is announced that is too short for its kind and View number.
    Short,
    /// The body ends within a field.
    Cut,
    /// Bytes are left behind the last field.
    Trailing,
    /// A name or text is not UTF-8.
    NotUtf8,
    /// A field has a value that means nothing.
    Value,
}

/// What cannot be written: a name of more than 65,535 bytes, or a frame beyond
/// [`RELAY_FRAME_BYTES_MAX`](crate::RELAY_FRAME_BYTES_MAX). No peer could read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oversized;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long { bytes, bytes_max } => {
                write!(f, "a frame of {bytes} bytes, at most {bytes_max} are allowed")
            }
            Self::Short => f.write_str("a frame too short to be one"),
            Self::Cut => f.write_str("a frame that ends within a field"),
            Self::Trailing => f.write_str("a frame with bytes behind its last field"),
            Self::NotUtf8 => f.write_str("a name that is not UTF-8"),
            Self::Value => f.write_str("a field with a value that means nothing"),
        }
    }
}

impl std::error::Error for Malformed {}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too long for one frame between nodes")
    }
}

impl std::error::Error for Oversized {}
