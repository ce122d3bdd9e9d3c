//! The one hash that all nodes must agree on, and the placements that follow from it alone.
//!
//! Invariants: depends on its input only: not on the process, the platform, the build or a dependency's
//! version (the table in `tests/placement.rs` holds it to that); not used for maps of keys that clients choose.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// Version of everything that is placed by hash: the function, its seed, and the arithmetic of
/// [`crate::ownership`]. Nodes that differ in it must not share a View.
pub const HASH_VERSION: u16 = 1;

/// The seed of version 1: the bytes of "roadstd1". The secrets are those of the reference implementation, so
/// that any other implementation of rapidhash v3 gives the same values.
const SECRETS: RapidSecrets = RapidSecrets::seed_cpp(0x726f_6164_7374_6431);

/// The hash of a channel's name (the bytes of its UTF-8), the same on every node.
#[must_use]
pub fn channel_hash(channel: &[u8]) -> u64 {
    rapidhash_v3_seeded(channel, &SECRETS)
}

/// The shard, of a node with `shards` shards, that is the channel's hub there: `channel_hash mod shards`.
///
/// # Panics
/// If `shards` is 0: a node without shards hosts nothing.
#[must_use]
pub fn hub_shard(channel: &[u8], shards: u16) -> u16 {
    assert!(shards > 0, "a node has at least one shard");
    (channel_hash(channel) % u64::from(shards)) as u16
}

/// The hash of a channel seen from a node: independent draws for different nodes, from two words that are
/// computed once each.
pub(crate) fn pair_hash(channel_hash: u64, node_hash: u64) -> u64 {
    let mut pair = [0; 16];
    pair[..8].copy_from_slice(&channel_hash.to_le_bytes());
    pair[8..].copy_from_slice(&node_hash.to_le_bytes());
    rapidhash_v3_seeded(&pair, &SECRETS)
}
