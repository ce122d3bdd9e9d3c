//! Who is in the fleet, who owns which channel, and where a user's connections are: rules as plain state machines.
//!
//! Invariants: knows no socket, no clock, no thread and no randomness of its own: time and events are arguments,
//! results are return values.

pub mod hash;

pub use hash::{HASH_VERSION, channel_hash, hub_shard};
