//! The Roadstead node: shards that hold connections, and the process around them.
//!
//! Invariants: rooms (`session`, `router`, `outbox`, `siblings`, `admin`, `config`, ...) do not import each other;
//! the turn (`shard::turn`) carries the values of `flow` from one to the next; no `unsafe` here; no tokio type in
//! a shard.
//!
//! ```text
//! io ─> session ─> router ─> outbox ─> io        one shard, one thread (shard)
//!                    │  siblings: mailboxes to the other shards
//! config ─> settings ─> node ─> shards            one process (node, admin)
//! ```

// What the turn carries, and what everything may know.
pub mod admission;
pub mod bucket;
pub mod counters;
pub mod flow;
pub mod limits;
pub mod names;
pub mod prefix;
pub mod revocations;
pub mod settings;

// The rooms of a shard, in the order in which data flows.
pub mod guards;

pub mod tls;

pub mod session;

pub mod peers;
pub mod router;

pub mod siblings;

pub mod buffers;
pub mod outbox;

pub mod shard;

// The process around the shards.
pub mod config;
pub mod log;
pub mod logging;
pub mod token;

pub mod health;

pub mod admin;

pub mod node;

// What an operator wants to know before a node serves.
pub mod tuning;

pub mod cli;
