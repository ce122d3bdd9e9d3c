//! The real shards over a simulated world, by seed.
//!
//! Invariants: no real socket, no sleep, no clock, no chance but the seed's; nothing of the engine is
//! replaced but what it takes as an argument anyway.
//!
//! ```text
//! one_node   what happens in a run, and the verdict
//!   guest      clients with characters ──┐
//!   node       the engine's shards       ├─> oracle    who said and heard what
//!     back_end   SimIo: roadstead_io::Io │
//!   world ──── network, pipe, conditions ┘  random     the seed's numbers
//! ```

mod random;

mod conditions;
mod datagrams;
mod network;
mod paths;
mod pipe;
mod world;

mod back_end;
mod guest;
mod node;

mod oracle;

pub mod one_node;

pub use back_end::{SimIo, Waited};
pub use conditions::Conditions;
pub use guest::{Character, Ended, Guest, Invitation};
pub use network::{Status, Way, Wire};
pub use node::Node;
pub use oracle::{Gap, MessageId, Oracle, RunId, Wrong};
pub use random::Random;
pub use world::{Client, World};
