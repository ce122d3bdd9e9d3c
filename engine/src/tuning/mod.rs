//! What of this machine stands in the way of so many connections, and what cures it, before a node serves.
//!
//! Invariants: changes nothing; the settings, with their values and reasons, stand in `kernel-tuning/settings.table` alone,
//! which the scripts beside it read as well; the file system is reached below one folder, so that tests own it.
//!
//! ```text
//! settings.table ─> table ─┐
//!            formula ──────┼─> judge ─> findings
//! /proc, /sys ─> machine ──┘             ports, holders: what no table can say of the listen addresses
//! ```

mod formula;
mod holders;
mod judge;
mod machine;
mod ports;
mod table;

pub use formula::Quantities;
pub use holders::{Transport, Wanted, taken};
pub use judge::{Finding, Verdict, judge};
pub use machine::Machine;
pub use ports::ports;
pub use table::{Setting, Table};
