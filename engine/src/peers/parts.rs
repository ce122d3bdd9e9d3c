//! What the links of a shard are made of.

use std::sync::Arc;

use roadstead_control::{ClusterKeys, Incarnation, NodeName};

/// What a shard's links are made of.
#[derive(Debug)]
pub struct PeersParts {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// This node.
    pub own: NodeName,
    /// This life of it, until a roster shows a later one.
    pub incarnation: Incarnation,
    /// This shard.
    pub shard: u16,
    /// Shards of this node.
    pub shards: u16,
    /// The cluster's secrets.
    pub keys: Arc<ClusterKeys>,
    /// Links to each node that this one dials; at most one for each shard are made.
    pub links_per_peer: u8,
    /// Bytes that may wait on one link.
    pub link_queue_bytes: usize,
    /// Random, and secret: nonces and jitter follow from it.
    pub seed: u64,
}
