//! A million connections on one machine, both ends on it: one server process on one core, one load generator on the other.
//!
//! Everything happens in a network namespace that the program makes for itself and that ends with it: kernel settings,
//! addresses and a million sockets leave nothing behind, also when it is killed.

pub mod curve;
pub mod load;
pub mod network;
pub mod report;
pub mod stand;
pub mod watch;
