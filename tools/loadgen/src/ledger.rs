//! What a thread has counted, and the hand-over of it to the conductor from time to time.
//!
//! Invariant: a latency or failure is in exactly one place: here, or in a snapshot that was handed over.

use crossbeam_channel::{Sender, TrySendError};

use crate::counters::{Counters, LatencySet, Snapshot, UrlCounters};
use crate::cpu::CpuTime;
use crate::failure::{Failure, Failures};
use crate::limits::{HISTOGRAM_MS, SNAPSHOT_MS};
use crate::schedule::Nanos;
use crate::sequence::Tally;
use crate::stage::Stage;

const MILLISECOND: Nanos = 1_000_000;

/// The books of one thread.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Counts since the start.
    pub(crate) counters: Counters,
    /// The same by URL.
    pub(crate) urls: Vec<UrlCounters>,
    /// Latencies not yet handed over.
    pub(crate) latencies: Box<LatencySet>,
    failures: Failures,
    setbacks: Failures,
    thread: u32,
    conductor: Sender<Snapshot>,
    settled_at: Nanos,
    snapshot_at: Nanos,
    latencies_at: Nanos,
}

impl Ledger {
    /// Books of thread `thread` of a run with `urls` URLs, handed over to `conductor`.
    #[must_use]
    pub(crate) fn new(thread: u32, urls: usize, conductor: Sender<Snapshot>) -> Self {
        Self {
            counters: Counters::default(),
            urls: vec![UrlCounters::default(); urls],
            latencies: Box::default(),
            failures: Failures::default(),
            setbacks: Failures::default(),
            thread,
            conductor,
            settled_at: 0,
            snapshot_at: 0,
            latencies_at: 0,
        }
    }

    /// Counts what checkers found on a connection to URL number `url`.
    pub(crate) fn tally(&mut self, url: usize, tally: Tally) {
        let Tally { distinct, duplicated, reordered, early } = tally;
        let (all, of_url) = (&mut self.counters, &mut self.urls[url]);
        all.distinct += distinct;
        all.duplicated += duplicated;
        all.reordered += reordered;
        all.unchecked += early;
        of_url.distinct += distinct;
        of_url.duplicated += duplicated;
        of_url.reordered += reordered;
    }

    /// Counts a failure of client `number`; `detail` is asked for only while examples are wanted.
    pub(crate) fn fail(&mut self, number: u32, failure: Failure, detail: impl FnOnce() -> String) {
        self.failures.add(failure, || {
            let detail = detail();
            let separator = if detail.is_empty() { "" } else { ": " };
            format!("client {number}: {failure}{separator}{detail}")
        });
    }

    /// Counts what made a connection try again.
    pub(crate) fn set_back(&mut self, failure: Failure) {
        self.setbacks.add_times(failure, 1);
    }

    /// Counts a failure that many operations share.
    pub(crate) fn fail_times(&mut self, failure: Failure, times: u64) {
        self.failures.add_times(failure, times);
    }

    /// Notes that all connections of this thread are open or failed, and says so at once.
    pub(crate) fn settle(&mut self, now: Nanos) {
        if self.counters.threads_settled == 0 {
            self.counters.threads_settled = 1;
            self.settled_at = now;
            self.report(Stage::Opening, now, true);
        }
    }

    /// Notes that this thread has sent all that was due, and says so at once.
    pub(crate) fn complete(&mut self, now: Nanos) {
        if self.counters.threads_complete == 0 {
            self.counters.threads_complete = 1;
            self.report(Stage::Running, now, true);
        }
    }

    /// When the next snapshot is due.
    #[must_use]
    pub(crate) fn next_due(&self) -> Nanos {
        self.snapshot_at
    }

    /// Hands a snapshot over if one is due, or `at_once`. If the conductor is behind, the next one holds all.
    pub(crate) fn report(&mut self, stage: Stage, now: Nanos, at_once: bool) {
        if now < self.snapshot_at && !at_once {
            return;
        }
        self.snapshot_at = now + SNAPSHOT_MS * MILLISECOND;
        let with_latencies = at_once || now >= self.latencies_at;
        let snapshot = self.snapshot(stage, with_latencies);
        match self.conductor.try_send(snapshot) {
            Ok(()) if with_latencies => self.latencies_at = now + HISTOGRAM_MS * MILLISECOND,
            Ok(()) => {}
            Err(TrySendError::Full(snapshot) | TrySendError::Disconnected(snapshot)) => {
                self.take_back(snapshot)
            }
        }
    }

    /// Hands the last snapshot over, waiting for room.
    pub(crate) fn finish(&mut self, stage: Stage, fatal: Option<String>) {
        self.counters.threads_done = 1;
        let mut snapshot = self.snapshot(stage, true);
        snapshot.fatal = fatal;
        // Nobody listens any more only if the process is ending.
        drop(self.conductor.send(snapshot));
    }

    fn snapshot(&mut self, stage: Stage, with_latencies: bool) -> Snapshot {
        let latencies =
            (with_latencies && !self.latencies.is_empty()).then(|| std::mem::take(&mut self.latencies));
        Snapshot {
            thread: self.thread,
            stage,
            counters: self.counters,
            urls: self.urls.clone(),
            settled_at: self.settled_at,
            latencies,
            failures: std::mem::take(&mut self.failures),
            setbacks: std::mem::take(&mut self.setbacks),
            cpu: CpuTime::of_this_thread(),
            fatal: None,
        }
    }

    fn take_back(&mut self, snapshot: Snapshot) {
        self.failures = snapshot.failures;
        self.setbacks = snapshot.setbacks;
        if let Some(latencies) = snapshot.latencies {
            self.latencies = latencies;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_while_the_conductor_is_behind() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut ledger = Ledger::new(3, 1, sender);
        for turn in 0..10 {
            ledger.counters.sent += 1;
            ledger.latencies.message.record(1_000);
            ledger.fail(turn, Failure::Cut, String::new);
            ledger.report(Stage::Running, u64::from(turn) * 1_000 * MILLISECOND, false);
        }
        let first = receiver.recv().unwrap();
        ledger.report(Stage::Draining, 0, true);
        let second = receiver.recv().unwrap();
        let count = |snapshot: &Snapshot| snapshot.latencies.as_ref().unwrap().message.count();
        assert_eq!((count(&first), count(&second)), (1, 9));
        assert_eq!((first.counters.sent, second.counters.sent), (1, 10));
        assert_eq!(first.failures.by_count()[0].1 + second.failures.by_count()[0].1, 10);
        assert_eq!((second.thread, second.stage), (3, Stage::Draining));
    }

    #[test]
    fn snapshots_keep_their_distance() {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let mut ledger = Ledger::new(0, 1, sender);
        ledger.report(Stage::Opening, 1, false);
        ledger.report(Stage::Opening, 2, false);
        assert_eq!(receiver.len(), 1);
        ledger.report(Stage::Opening, 1 + SNAPSHOT_MS * MILLISECOND, false);
        assert_eq!(receiver.len(), 2);
    }
}
