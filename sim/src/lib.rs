//! The real shards over a simulated world, by seed.
//!
//! Invariants: no real socket, no sleep, no clock, no chance but the seed's; nothing of the engine is replaced but what it
//! takes as an argument anyway.

mod back_end;
mod conditions;
mod network;
mod pipe;
mod random;
mod world;

pub use back_end::SimIo;
pub use conditions::Conditions;
pub use network::Status;
pub use random::Random;
pub use world::{Client, World};
