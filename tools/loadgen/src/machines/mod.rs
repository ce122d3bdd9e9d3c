//! Several machines steered from one: an agent on each plays a part of the load, and the results are added up.
//!
//! ```text
//!  controller (--agents)                                agent (loadgen agent), one of several
//!      │ ── nonce ──────────────────────────────────────> │
//!      │ <── nonce, proof of the key ───────────────────  │    channel: mutual proof, then sealed messages; entrance: many at once
//!      │ ── proof of the key ───────────────────────────> │
//!      │ ══ Start: the command line, which part of it ══> │
//!      │ <══ Settled: all connections are open ═════════  │
//!      │ ══ Go, once all agents have settled ═══════════> │
//!      │ <══ Second, each second from the start on ═════  │
//!      │ ══ Here, each second as well ══════════════════> │    silence of either is the end
//!      │ <══ Done: counters, histograms, failures ══════  │
//! ```
//!
//! Invariants: each part has channels and users of its own, so that what it publishes is read and timed by one clock; before
//! both sides have proved the key, only a few bytes of fixed length are read; neither side waits for the other without an end.

mod agent;
mod channel;
mod entrance;
mod message;
mod part;
mod steering;

pub(crate) use agent::serve;
pub(crate) use channel::Key;
pub(crate) use message::Gate;
pub(crate) use steering::Division;
