//! What a fleet tells its operator: events for the log, counts, and who is there.
//!
//! Invariants: the queue of events is bounded; what anybody can cause by sending datagrams is logged so many times in a
//! while and counted beyond; nothing here decides anything.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::hash::HASH_VERSION;
use crate::limits::EVENTS_MAX;
use crate::member::{Member, Region};
use crate::node::{Incarnation, NodeName};
use crate::seal::GOSSIP_VERSION;

/// Refusals on the same grounds that are logged in a row, before one each [`REFUSAL_PAUSE`].
const REFUSALS_IN_A_ROW: u32 = 3;
const REFUSAL_PAUSE: Duration = Duration::from_secs(5);

/// How far a node is with its fleet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// It knows nobody yet and has not started the fleet.
    Joining,
    /// It knows the others, but not for long enough to act upon it; or it has begun a new life that no roster has yet.
    Settling,
    /// There is a roster with this life of the node.
    Serving,
}

/// Something worth a line in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FleetEvent {
    /// The node has joined through the node at this address.
    Joined {
        /// Who answered.
        through: SocketAddr,
    },
    /// Nobody was there: the node is the first of its fleet.
    StartedFleet,
    /// No seed has answered for a while. The node keeps asking.
    NoSeedAnswers {
        /// Seeds that are asked.
        seeds: usize,
    },
    /// A node is in the fleet.
    MemberUp(Member),
    /// A life of a node is over.
    MemberDown {
        /// Which node.
        name: NodeName,
        /// Which life.
        incarnation: Incarnation,
        /// It had said goodbye or was draining.
        left: bool,
    },
    /// A datagram or node was refused by this one.
    Refused {
        /// Where it came from.
        from: SocketAddr,
        /// On which grounds.
        grounds: Grounds,
    },
    /// This node was refused by another, which it keeps asking.
    RefusedBy {
        /// By whom.
        from: SocketAddr,
        /// On which grounds.
        grounds: Grounds,
    },
    /// Somebody at the address of a seed or a node says that it refuses this one, in a datagram that this one cannot open: of
    /// another version, cluster or key. Anybody could send it from there.
    RefusedUnproven {
        /// Who says so.
        from: SocketAddr,
        /// Why it does not open.
        grounds: Grounds,
    },
    /// The fleet had taken this node for dead; it goes on under a new incarnation.
    Rejoining {
        /// The new one.
        incarnation: Incarnation,
    },
    /// The fleet has as many nodes as a View can hold, and one more was not taken up.
    FleetFull,
}

/// On which grounds a datagram or node is refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grounds {
    /// It is no datagram of a fleet, or its content is none.
    Malformed,
    /// It is longer than any datagram of a fleet.
    Oversized,
    /// Its gossip has another version.
    Version {
        /// The other's.
        theirs: u8,
    },
    /// The other places channels by another hash.
    HashVersion {
        /// The other's.
        theirs: u16,
    },
    /// It belongs to another cluster.
    Cluster,
    /// It is sealed with a key that is not in the key file.
    Key,
    /// Its seal is broken.
    Forged,
    /// It has been seen.
    Replayed,
    /// The other stands in another region.
    Region {
        /// The other's.
        theirs: Region,
    },
    /// The other has the name, or by mischance the id, of a node that is there already.
    Duplicate {
        /// The name or id.
        name: Box<str>,
    },
    /// The other's life is over, or earlier than one that is known.
    Ended,
}

/// What was counted since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FleetTally {
    /// Datagrams that came in, good or bad.
    pub datagrams_received: u64,
    /// Datagrams that went out.
    pub datagrams_sent: u64,
    /// Datagrams that found no room in the queue and were not sent.
    pub datagrams_dropped: u64,
    /// Refused: malformed.
    pub rejected_malformed: u64,
    /// Refused: too long.
    pub rejected_oversized: u64,
    /// Refused: another gossip version.
    pub rejected_version: u64,
    /// Refused: another hash version.
    pub rejected_hash_version: u64,
    /// Refused: another cluster.
    pub rejected_cluster: u64,
    /// Refused: an unknown key.
    pub rejected_key: u64,
    /// Refused: a broken seal.
    pub rejected_forged: u64,
    /// Refused: seen before.
    pub rejected_replayed: u64,
    /// Refused: another region.
    pub rejected_region: u64,
    /// Refused: a name or id that is taken.
    pub rejected_duplicate: u64,
    /// Refused: of a life that is over.
    pub rejected_ended: u64,
    /// Datagrams of ours that came back.
    pub reflected: u64,
    /// Datagrams of a kind that a later version may have.
    pub unknown: u64,
    /// Refusals of this node by others.
    pub refused_by_others: u64,
    /// Refusals of this node that do not open, from addresses of seeds and nodes.
    pub refused_unproven: u64,
    /// Nodes that were not taken up since there is no room.
    pub full: u64,
    /// Nodes asked at once because their link broke.
    pub hints: u64,
    /// Suspicions raised by this node.
    pub suspicions: u64,
    /// Deaths of lives of other nodes.
    pub deaths: u64,
    /// New incarnations of this node.
    pub rejoins: u64,
    /// Times that this node was away for longer than [`crate::limits::STALL`].
    pub stalls: u64,
    /// Messages that the membership protocol could not use.
    pub membership_errors: u64,
    /// Events that found no room in the queue or came too often.
    pub events_dropped: u64,
}

/// How a node is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer and may object.
    Suspect,
    /// It is taken for dead.
    Down,
    /// It has left.
    Left,
}

/// A node as others list it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    /// Its last record.
    pub member: Member,
    /// How it is seen.
    pub state: MemberState,
}

/// Events that wait to be polled.
#[derive(Default)]
pub(crate) struct Events {
    queue: VecDeque<FleetEvent>,
    refusals: BTreeMap<(u8, u8), Allowance>,
}

/// How many refusals of a sort may still be logged.
struct Allowance {
    left: u32,
    next_at: Duration,
}

impl Events {
    /// Queues an event, if there is room.
    pub(crate) fn push(&mut self, tally: &mut FleetTally, event: FleetEvent) {
        if self.queue.len() < EVENTS_MAX {
            self.queue.push_back(event);
        } else {
            tally.events_dropped += 1;
        }
    }

    /// Queues a refusal, if there were not too many of its sort lately.
    pub(crate) fn push_refusal(&mut self, now: Duration, tally: &mut FleetTally, event: FleetEvent) {
        let sort = match &event {
            FleetEvent::Refused { grounds, .. } => (0, grounds.code()),
            FleetEvent::RefusedBy { grounds, .. } => (1, grounds.code()),
            FleetEvent::RefusedUnproven { grounds, .. } => (2, grounds.code()),
            _ => return self.push(tally, event),
        };
        let allowance =
            self.refusals.entry(sort).or_insert(Allowance { left: REFUSALS_IN_A_ROW, next_at: now });
        if now >= allowance.next_at + REFUSAL_PAUSE * REFUSALS_IN_A_ROW {
            allowance.left = REFUSALS_IN_A_ROW;
        } else if allowance.left == 0 && now >= allowance.next_at + REFUSAL_PAUSE {
            allowance.left = 1;
        }
        if allowance.left == 0 {
            tally.events_dropped += 1;
            return;
        }
        allowance.left -= 1;
        allowance.next_at = now;
        self.push(tally, event);
    }

    pub(crate) fn pop(&mut self) -> Option<FleetEvent> {
        self.queue.pop_front()
    }
}

impl FleetTally {
    /// Counts a refusal.
    pub(crate) fn reject(&mut self, grounds: &Grounds) {
        *match grounds {
            Grounds::Malformed => &mut self.rejected_malformed,
            Grounds::Oversized => &mut self.rejected_oversized,
            Grounds::Version { .. } => &mut self.rejected_version,
            Grounds::HashVersion { .. } => &mut self.rejected_hash_version,
            Grounds::Cluster => &mut self.rejected_cluster,
            Grounds::Key => &mut self.rejected_key,
            Grounds::Forged => &mut self.rejected_forged,
            Grounds::Replayed => &mut self.rejected_replayed,
            Grounds::Region { .. } => &mut self.rejected_region,
            Grounds::Duplicate { .. } => &mut self.rejected_duplicate,
            Grounds::Ended => &mut self.rejected_ended,
        } += 1;
    }

    /// All refusals, on whatever grounds.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected_malformed
            + self.rejected_oversized
            + self.rejected_version
            + self.rejected_hash_version
            + self.rejected_cluster
            + self.rejected_key
            + self.rejected_forged
            + self.rejected_replayed
            + self.rejected_region
            + self.rejected_duplicate
            + self.rejected_ended
    }
}

impl Grounds {
    /// What names the grounds in a refusal.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Oversized => 2,
            Self::Version { .. } => 3,
            Self::HashVersion { .. } => 4,
            Self::Cluster => 5,
            Self::Key => 6,
            Self::Forged => 7,
            Self::Replayed => 8,
            Self::Region { .. } => 9,
            Self::Duplicate { .. } => 10,
            Self::Ended => 11,
        }
    }
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("is no datagram of a fleet"),
            Self::Oversized => f.write_str("is too long"),
            Self::Version { theirs } => {
                write!(f, "speaks gossip version {theirs}, this node {GOSSIP_VERSION}")
            }
            Self::HashVersion { theirs } => {
                write!(f, "places channels by hash version {theirs}, this node by {HASH_VERSION}")
            }
            Self::Cluster => f.write_str("belongs to a cluster of another name"),
            Self::Key => f.write_str("uses a key that is not in the key file"),
            Self::Forged => f.write_str("has a broken seal"),
            Self::Replayed => f.write_str("was received before"),
            Self::Region { theirs } => {
                write!(f, "stands in region {}; one fleet is one region", theirs.as_str())
            }
            Self::Duplicate { name } => write!(f, "has the name or id of another living node, {name}"),
            Self::Ended => f.write_str("speaks for a life that is over"),
        }
    }
}

impl fmt::Display for FleetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { through } => write!(f, "joined the fleet through {through}"),
            Self::StartedFleet => f.write_str("nobody answers: started the fleet"),
            Self::NoSeedAnswers { seeds: 0 } => f.write_str("no seeds are given, and nobody asks to join"),
            Self::NoSeedAnswers { seeds } => write!(f, "none of {seeds} seeds answers, asking on"),
            Self::MemberUp(member) => write!(
                f,
                "node {} is up at {}, incarnation {}",
                member.name, member.address, member.incarnation.0
            ),
            Self::MemberDown { name, incarnation, left } => {
                write!(
                    f,
                    "node {name} {}, incarnation {}",
                    if *left { "left" } else { "is down" },
                    incarnation.0
                )
            }
            Self::Refused { from, grounds } => write!(f, "refused {from}: it {grounds}"),
            Self::RefusedBy { from, grounds } => {
                write!(f, "refused by {from}: this node {grounds}; asking on")
            }
            Self::RefusedUnproven { from, grounds } => {
                write!(f, "{from} {grounds} (it refuses this node, unproven); asking on")
            }
            Self::Rejoining { incarnation } => {
                write!(f, "was taken for dead, rejoining as incarnation {}", incarnation.0)
            }
            Self::FleetFull => f.write_str("the fleet is full, a further node was not taken up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_are_logged_now_and_then() {
        let (mut events, mut tally) = (Events::default(), FleetTally::default());
        let refused = |grounds| FleetEvent::Refused { from: SocketAddr::from(([127, 0, 0, 1], 9)), grounds };
        for millis in 0..60_000 {
            events.push_refusal(Duration::from_millis(millis), &mut tally, refused(Grounds::Key));
        }
        events.push_refusal(Duration::from_secs(60), &mut tally, refused(Grounds::Cluster));
        let logged: Vec<_> = std::iter::from_fn(|| events.pop()).collect();
        assert_eq!(logged.len(), 3 + 11 + 1, "three, one each 5 s, and one of another sort");
        assert_eq!(tally.events_dropped, 60_000 - 14);
    }

    #[test]
    fn who_differs_in_what_is_told_as_it_is() {
        let from = SocketAddr::from(([10, 0, 0, 5], 7800));
        let grounds = Grounds::Version { theirs: 9 };
        let refused = FleetEvent::Refused { from, grounds: grounds.clone() }.to_string();
        assert_eq!(
            refused,
            format!("refused {from}: it speaks gossip version 9, this node {GOSSIP_VERSION}")
        );
        let unproven = FleetEvent::RefusedUnproven { from, grounds }.to_string();
        let expected = format!(
            "{from} speaks gossip version 9, this node {GOSSIP_VERSION} (it refuses this node, unproven)"
        );
        assert!(unproven.starts_with(&expected), "{unproven}");
    }

    #[test]
    fn the_queue_is_bounded() {
        let (mut events, mut tally) = (Events::default(), FleetTally::default());
        (0..EVENTS_MAX + 5).for_each(|_| events.push(&mut tally, FleetEvent::StartedFleet));
        assert_eq!(std::iter::from_fn(|| events.pop()).count(), EVENTS_MAX);
        assert_eq!(tally.events_dropped, 5);
    }
}
