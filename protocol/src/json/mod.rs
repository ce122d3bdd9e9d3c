//! JSON as this protocol uses it: one object a line, opaque fields as raw values, zero fields left out.
//!
//! Nothing here knows a message.

mod data;
mod read;
mod string;
mod write;

pub use data::{NotJson, json_data};
pub use string::push_json_string;

pub(crate) use read::{
    Lines, Object, Text, Tolerant, bytes, entries, object, optional_bytes, text, tolerant,
};
pub(crate) use write::push_object;
