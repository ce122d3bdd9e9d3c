//! Protobuf as this protocol uses it: each message behind its length as a varint.
//!
//! Built on prost's wire primitives, without its owned messages: fields are borrowed in both directions. Nothing
//! here knows a message.

mod read;
mod write;

pub(crate) use read::{Frames, Value, entry, fields};
pub(crate) use write::push_delimited;
