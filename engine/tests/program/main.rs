//! The program as it is run: real processes, sockets and signals.

mod commands;
mod fleet;
mod guards;
mod key_files;
mod many_shards;
mod node;
mod rates;
mod refusals;
mod revocations;
mod shortages;
#[path = "../surroundings/mod.rs"]
mod surroundings;
mod tokens;
