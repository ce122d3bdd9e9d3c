//! The real shards over a simulated world, by seed.
//!
//! Invariants: no real socket, no sleep, no clock, no chance but the seed's; nothing of the engine is
//! replaced but what it takes as an argument anyway.
//!
//! ```text
//! durable           the log alone, through failures and losses of power
//! one_node, fleet   what happens in a run, and the verdict
//!   guest             clients with characters ──┐
//!   host              a node's shards and       │
//!     node            control, and its lives    ├─> oracle    who said and heard what
//!     back_end        SimIo: roadstead_io::Io   │   links     what passed between nodes
//!   disk              SimDisk: the log's disk, which forgets what was not synced
//!   world ─ network, paths, pipe, datagrams     ┘   saboteur  what an oracle is tested with
//! ```

mod random;

mod conditions;
mod datagrams;
mod network;
mod paths;
mod pipe;
mod world;

mod back_end;
mod disk;
mod guest;
mod node;

mod saboteur;

mod host;
mod links;

mod oracle;

pub mod durable;
pub mod fleet;
pub mod one_node;

pub use back_end::{SimIo, Waited};
pub use conditions::Conditions;
pub use disk::{SimDisk, SimFile};
pub use guest::{Character, Ended, Guest, Invitation};
pub use network::{Status, Way, Wire};
pub use node::{Node, NodeParts, UNIX_MS};
pub use oracle::{Gap, MessageId, Oracle, RunId, Wrong};
pub use random::Random;
pub use saboteur::{Mutant, Saboteur};
pub use world::{Client, World};
