//! What the links of a shard have done since it was last asked.
//!
//! Invariant: every drop, refusal and loss has a reason.

use super::events::{Loss, Refusal};
use crate::counters::{Counters, Metric};

/// Plain counts; [`PeersTally::add_to`] names their metrics.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PeersTally {
    /// Links that are up: not a count, how it is now.
    pub up: usize,
    /// Bytes that wait in the links' queues, now.
    pub queued_bytes: usize,
    /// Bytes held for frames whose end has not come, now.
    pub held_bytes: usize,
    /// Sessions that came up.
    pub sessions: u64,
    /// Dialled nodes that could not be connected to.
    pub unreachable: u64,
    /// Frames written, greetings included.
    pub sent_frames: u64,
    /// Bytes handed to sockets.
    pub sent_bytes: u64,
    /// Frames read, greetings included.
    pub received_frames: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Frames of an unknown kind.
    pub skipped_frames: u64,
    /// Deliveries dropped because the link's queue was full.
    pub dropped: u64,
    /// Parcels for a session that is not any more.
    pub void: u64,
    /// Publications given back because the link's queue was full.
    pub publish_refused: u64,
    /// Links refused, by [`Refusal`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Links lost, by [`Loss`].
    pub lost: [u64; Loss::ALL.len()],
}

impl PeersTally {
    /// Adds everything to a shard's counters.
    pub fn add_to(&self, counters: &Counters) {
        counters.set(Metric::PeerLinks, self.up as u64);
        counters.set(Metric::PeerQueueBytes, self.queued_bytes as u64);
        counters.set(Metric::PeerHeldBytes, self.held_bytes as u64);
        for (metric, amount) in [
            (Metric::PeerSessions, self.sessions),
            (Metric::PeerUnreachable, self.unreachable),
            (Metric::PeerSentFrames, self.sent_frames),
            (Metric::PeerSentBytes, self.sent_bytes),
            (Metric::PeerReceivedFrames, self.received_frames),
            (Metric::PeerReceivedBytes, self.received_bytes),
            (Metric::PeerSkippedFrames, self.skipped_frames),
            (Metric::PeerDroppedFull, self.dropped),
            (Metric::PeerDroppedVoid, self.void),
            (Metric::PeerPublishRefused, self.publish_refused),
        ] {
            counters.add(metric, amount);
        }
        for why in Refusal::ALL {
            counters.add(refused(why), self.refused[why as usize]);
        }
        for why in Loss::ALL {
            counters.add(lost(why), self.lost[why as usize]);
        }
    }
}

fn refused(why: Refusal) -> Metric {
    match why {
        Refusal::Key => Metric::PeerRefusedKey,
        Refusal::Cluster => Metric::PeerRefusedCluster,
        Refusal::Version => Metric::PeerRefusedVersion,
        Refusal::NotInView => Metric::PeerRefusedNotInView,
        Refusal::Duplicate => Metric::PeerRefusedDuplicate,
        Refusal::Stale => Metric::PeerRefusedStale,
        Refusal::Limit => Metric::PeerRefusedLimit,
        Refusal::Malformed => Metric::PeerRefusedMalformed,
        Refusal::Oversized => Metric::PeerRefusedOversized,
        Refusal::Timeout => Metric::PeerRefusedTimeout,
        Refusal::Tls => Metric::PeerRefusedTls,
        Refusal::Unknown => Metric::PeerRefusedUnknown,
    }
}

fn lost(why: Loss) -> Metric {
    match why {
        Loss::Ended => Metric::PeerLostEnded,
        Loss::Silent => Metric::PeerLostSilent,
        Loss::Overflow => Metric::PeerLostOverflow,
        Loss::Malformed => Metric::PeerLostMalformed,
        Loss::Oversized => Metric::PeerLostOversized,
        Loss::Superseded => Metric::PeerLostSuperseded,
        Loss::Departed => Metric::PeerLostDeparted,
        Loss::Renewed => Metric::PeerLostRenewed,
        Loss::Differing => Metric::PeerLostDiffering,
    }
}
