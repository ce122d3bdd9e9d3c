//! When messages are due: an open-loop schedule that never looks at what the server does.
//!
//! Invariant: message number `n` has one intended time, fixed by rate and start alone. A late generator or a slow
//! server changes when a message is sent, never when it was meant to be; latencies count from the latter, so that
//! a stall is seen by every message that it delayed (no coordinated omission).

/// Times are nanoseconds since the run's epoch.
pub(crate) type Nanos = u64;

/// One second in [`Nanos`].
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// A steady rate, of which this thread has every message of its lane.
///
/// With `lanes` threads, thread `lane` sends the messages `lane`, `lane + lanes`, ... of the whole: together they
/// are evenly spaced.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: Nanos,
    end: Nanos,
    interval_ns: f64,
    offset_ns: f64,
    next: u64,
}

impl Schedule {
    /// `rate` messages per second (> 0) from `start` until before `end` on this thread, shifted by `lane / lanes` of
    /// an interval.
    #[must_use]
    pub(crate) fn new(rate: f64, start: Nanos, end: Nanos, lane: u32, lanes: u32) -> Self {
        debug_assert!(rate > 0.0);
        let interval_ns = 1e9 / rate;
        let offset_ns = interval_ns * f64::from(lane) / f64::from(lanes.max(1));
        Self { start, end, interval_ns, offset_ns, next: 0 }
    }

    /// The intended time of message `number`.
    fn intended(&self, number: u64) -> Nanos {
        self.start + (self.offset_ns + self.interval_ns * number as f64) as Nanos
    }

    /// The next message that is due at `now`: its number on this thread and its intended time. Consumes it.
    pub(crate) fn pop(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let due = self.next_due()?;
        if due > now {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, due))
    }

    /// Messages that are not consumed yet, those of the future included.
    pub(crate) fn rest(&self) -> u64 {
        let span = self.end.saturating_sub(self.start) as f64 - self.offset_ns;
        let mut count = (span / self.interval_ns).ceil().max(0.0) as u64;
        // Rounding may be off by one either way: what `pop` gives is what counts.
        while count > 0 && self.intended(count - 1) >= self.end {
            count -= 1;
        }
        while self.intended(count) < self.end {
            count += 1;
        }
        count.saturating_sub(self.next)
    }

    /// When the next message is due; `None` after the end.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        let due = self.intended(self.next);
        (due < self.end).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(schedule: &mut Schedule, now: Nanos) -> Vec<Nanos> {
        std::iter::from_fn(|| schedule.pop(now)).map(|(_, due)| due).collect()
    }

    #[test]
    fn messages_are_due_at_their_intended_times() {
        let mut schedule = Schedule::new(10.0, 5 * SECOND, 6 * SECOND, 0, 1);
        assert_eq!(schedule.next_due(), Some(5 * SECOND));
        assert_eq!(schedule.pop(5 * SECOND - 1), None);
        assert_eq!(schedule.pop(5 * SECOND), Some((0, 5 * SECOND)));
        assert_eq!(schedule.pop(5 * SECOND), None);
        assert_eq!(schedule.pop(9 * SECOND), Some((1, 5 * SECOND + SECOND / 10)));
    }

    #[test]
    fn a_late_caller_gets_every_message_with_its_own_time() {
        let mut schedule = Schedule::new(4.0, 0, 2 * SECOND, 0, 1);
        let due = all(&mut schedule, 60 * SECOND);
        assert_eq!(due, (0..8).map(|n| n * SECOND / 4).collect::<Vec<_>>());
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn rate_times_duration_messages_are_sent() {
        for rate in [1.0, 3.0, 7.5, 1_000.0, 333_333.0] {
            let mut schedule = Schedule::new(rate, 7, 7 + 2 * SECOND, 0, 1);
            let count = all(&mut schedule, u64::MAX).len() as f64;
            assert!((count - 2.0 * rate).abs() <= 1.0, "{rate}: {count}");
        }
    }

    #[test]
    fn the_rest_is_what_would_still_come() {
        for (rate, lane) in [(10.0, 0), (10.0, 3), (7.3, 1), (0.1, 0), (333_333.0, 2)] {
            let mut schedule = Schedule::new(rate, 9, 9 + 2 * SECOND, lane, 4);
            let total = schedule.rest();
            let early = std::iter::from_fn(|| schedule.pop(9 + SECOND)).count() as u64;
            assert_eq!(schedule.rest(), total - early);
            assert_eq!(all(&mut schedule, u64::MAX).len() as u64, total - early);
            assert_eq!(schedule.rest(), 0);
        }
    }

    #[test]
    fn lanes_interleave_evenly() {
        let mut due: Vec<Nanos> =
            (0..4).flat_map(|lane| all(&mut Schedule::new(25.0, 0, SECOND, lane, 4), SECOND)).collect();
        due.sort_unstable();
        assert_eq!(due, (0..100).map(|n| n * SECOND / 100).collect::<Vec<_>>());
    }
}
