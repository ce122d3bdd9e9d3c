//! What Roadstead costs, measured beside what the kernel alone costs.
//!
//! The floors and the driver import no package of ours: they are written apart from what they measure, so that they share
//! none of its faults. Only `codec` and `durable` call what they measure. One core serves, one core drives.
//! `hop` compares Roadstead with itself, one node with three, and takes `loadgen` for its load.

pub mod codec;
pub mod comeback;
pub mod drive;
pub mod durable;
pub mod floor;
pub mod hop;
pub mod hostile;
pub mod kernel;
pub mod limits;
pub mod million;
pub mod run;
