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

/// How long a node must have been heard of before ownership moves for it if it says itself that it has stayed as it is for the
/// window. Longer than a dead one that is played back takes to be found dead.
pub const SETTLED_WAIT: Duration = Duration::from_secs(5);

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

/// Bytes of a gossip datagram, sealed: what passes every usual path in one piece. Larger ones are neither sent nor
/// opened.
pub const DATAGRAM_BYTES_MAX: usize = 1_400;

/// Bytes of what the membership protocol itself puts into a datagram. The rest is for the seal, the sender's record and
/// records of others.
pub const MEMBERSHIP_BYTES_MAX: usize = 1_150;

/// Bytes of the record that this version writes: names of 63 bytes and an IPv6 address.
pub const OWN_RECORD_BYTES_MAX: usize = 176;

/// Senders whose counters are remembered: two lives of every node of a full View. When it is reached, the one heard least
/// recently is forgotten.
pub const SENDERS_MAX: usize = 2 * VIEW_NODES_MAX;

/// Nodes that membership remembers, dead ones included. Further ones are not taken up.
pub const PEERS_MAX: usize = 2 * VIEW_NODES_MAX;

/// Records that are kept, of whatever life. Further ones are not taken up until old ones have been dropped.
pub const RECORDS_MAX: usize = 2 * PEERS_MAX;

/// Seeds that a node asks. Further ones are not asked; eight are already more than a fleet needs.
pub const SEEDS_MAX: usize = 64;

/// Datagrams that wait to be sent. A burst to a full View fits twice; what is beyond is dropped and counted, as the network
/// might drop it.
pub const OUTGOING_MAX: usize = 2 * VIEW_NODES_MAX;

/// Events that wait to be logged. What is beyond is dropped and counted.
pub const EVENTS_MAX: usize = 256;

/// How often a node probes another one. Every node of a small fleet is probed by someone within a few of these, which
/// leaves the rest of 5 s to suspicion; a probe is two small datagrams.
pub const PROBE_PERIOD: Duration = Duration::from_millis(300);

/// How long a probe may take before others are asked to try: far above the round trip within a region.
pub const PROBE_REPLY: Duration = Duration::from_millis(100);

/// How long a suspected node of a fleet of up to 20 may take to object. Longer than any pause of a healthy process, short
/// enough to find a death within 5 s.
pub const SUSPICION: Duration = Duration::from_secs(2);

/// How long a node whose link broke may take to answer when it is asked at once.
pub const HINT_REPLY: Duration = Duration::from_millis(1_000);

/// How long such a node may take to object when it has not answered: less than [`SUSPICION`], since a broken link and silence
/// are two signs.
pub const HINT_SUSPICION: Duration = Duration::from_millis(1_300);

/// How long a dead node is remembered, and its address tried for a sign of life.
pub const DEAD_REMEMBERED: Duration = Duration::from_secs(600);

/// How long a node that is its own seed waits for another to answer before it starts the fleet.
pub const START_AFTER: Duration = Duration::from_secs(3);

/// A timer that is served later than this tells that the node itself was away: the time does not count against others.
pub const STALL: Duration = Duration::from_millis(500);

/// Incarnations stay below this (the year 2255 in milliseconds), so that there is always a later one.
pub const INCARNATION_MAX: u64 = 9_000_000_000_000;

const _: () = {
    assert!(OWN_RECORD_BYTES_MAX <= MEMBER_BYTES_MAX);
    assert!(PROBE_REPLY.as_millis() * 2 <= PROBE_PERIOD.as_millis());
    assert!(STALL.as_millis() < SUSPICION.as_millis());
    assert!(WEIGHT_DEFAULT <= WEIGHT_MAX);
    assert!(STABILITY_BATCH.as_millis() < SETTLED_WAIT.as_millis());
    assert!(SETTLED_WAIT.as_millis() < STABILITY_WINDOW.as_millis());
};
