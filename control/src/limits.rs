//! The limits of the fleet's shared knowledge, each with the reason for its number.

use std::time::Duration;

/// Nodes in one View. Links, interest sets and ownership look at every node; 1,024 is the size that their
/// costs were thought through for. A larger View cannot be built.
pub const VIEW_NODES_MAX: usize = 1_024;

/// Bytes of a node's name: what a DNS label holds, so that a host name serves as one.
pub const NODE_NAME_BYTES_MAX: usize = 63;

/// Bytes of a region's name, by the same rule.
pub const REGION_BYTES_MAX: usize = 63;

/// The largest weight of a node. Four digits tell any two machines apart well enough, and keep the products
/// that compare scores inside 64 bits.
pub const WEIGHT_MAX: u16 = 10_000;

/// The weight of a node that was not told one: room to be half or double without changing the others.
pub const WEIGHT_DEFAULT: u16 = 100;

/// How long a join, a weight or an undrained node must have stayed as it is before ownership moves for it.
/// Longer than a process that fails at start takes to fail again, and than suspicion takes to find a death in
/// a small fleet (5 s).
pub const STABILITY_WINDOW: Duration = Duration::from_secs(10);

/// Changes that would mature within this time of a View that is published anyway are taken along: nodes that start
/// together move ownership once.
pub const STABILITY_BATCH: Duration = Duration::from_millis(2_500);

/// How long a user without any connection is still held as present-until-proven-gone. A client that loses its
/// network reconnects within seconds; announcing its absence and return would cost more than the wait.
pub const VACANCY: Duration = Duration::from_secs(10);

/// Shards of one node. A node's interested shards are one 64-bit set; an announcer beyond it is refused.
pub const NODE_SHARDS_MAX: u16 = 64;

/// Connections of one user on one node in the registry. A lookup lists them all and an addition scans them; one that has
/// more devices than this is a shared account or an attack, and further connections of it are not found by
/// the registry. Counted for each node, so that a node knows by itself what its owner keeps, and their digests agree.
pub const USER_CONNECTIONS_MAX: usize = 1_024;

/// Keys in a cluster's key file. A change of key needs two; more are for fleets that change faster than they are
/// deployed. A longer file is refused at start.
pub const CLUSTER_KEYS_MAX: usize = 8;

/// Bytes of a member's encoded record. Today's largest has 176; what is left is room for later versions, whose
/// unknown end is carried along. A longer record is refused.
pub const MEMBER_BYTES_MAX: usize = 384;

const _: () = {
    assert!(WEIGHT_DEFAULT <= WEIGHT_MAX);
    assert!(STABILITY_BATCH.as_millis() < STABILITY_WINDOW.as_millis());
};
