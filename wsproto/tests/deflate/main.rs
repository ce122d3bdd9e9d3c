//! permessage-deflate through the public interface: what is agreed to, and messages there and back.

#![allow(clippy::unwrap_used)]

mod agreement;
mod messages;
