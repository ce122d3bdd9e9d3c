//! What the log has done since it was last asked.
//!
//! Invariant: every failure has a reason.

use super::values::Failure;

/// Bounds by which the time of a group is sorted, microseconds; a last place is for whatever takes longer.
pub const LATENCIES_US: [u64; 6] = [500, 2_000, 10_000, 50_000, 250_000, 1_000_000];

/// Plain counts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LogTally {
    /// Publications that became durable.
    pub publications: u64,
    /// Groups that did, with one sync each.
    pub groups: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Groups of appends by the time from their first job's being taken to their being durable: up to each of [`LATENCIES_US`],
    /// and longer.
    pub took: [u64; LATENCIES_US.len() + 1],
    /// Appends that failed, by [`Failure`].
    pub failed: [u64; Failure::ALL.len()],
    /// Publications read.
    pub read: u64,
    /// Publications that retention gave up.
    pub trimmed: u64,
    /// Places where a record was damaged.
    pub damaged: u64,
    /// Segments whose room was won back.
    pub cleaned: u64,
    /// Attempts at that which failed.
    pub cleaning_failed: u64,
    /// Bytes of all segments: not a count, how it is now.
    pub disk_bytes: u64,
    /// Bytes of the records among them that are alive, now.
    pub live_bytes: u64,
    /// Channels that are known, now.
    pub channels: u64,
    /// Publications that are kept, now.
    pub entries: u64,
    /// Jobs that wait, now.
    pub waiting: u64,
}

impl LogTally {
    /// Counts a group that took so long.
    pub(super) fn count_group(&mut self, took_us: u64) {
        let place = LATENCIES_US.iter().position(|bound| took_us <= *bound);
        self.took[place.unwrap_or(LATENCIES_US.len())] += 1;
    }
}
