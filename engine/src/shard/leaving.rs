//! The pace of a drain: which connection is closed when, so that all are gone evenly over the window.
//!
//! Invariants: closes begin at once and end with the window; gaps between them are random within half and one and a half
//! of the mean, so that clients of many shards do not come back in step; knows no socket.

/// A shard that closes its clients one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    until_ms: u64,
    next_ms: u64,
    /// Microseconds of a gap that are not yet a whole millisecond.
    rest_us: u64,
    /// Where to look for the next connection.
    slot: u32,
    left: u32,
    random: u64,
}

impl Leaving {
    /// Begins at `now_ms` with `connections` to be closed within `window_ms`.
    #[must_use]
    pub fn new(now_ms: u64, window_ms: u64, connections: u32, seed: u64) -> Self {
        let until_ms = now_ms + window_ms;
        Self { until_ms, next_ms: now_ms, rest_us: 0, slot: 0, left: connections, random: seed | 1 }
    }

    /// When the next close is due.
    #[must_use]
    pub fn due_ms(&self) -> u64 {
        self.next_ms
    }

    /// The slot to close at `now_ms`, if it is time: the next of `slots` that `is_open` accepts. With the window over,
    /// every call gives one.
    pub fn poll(&mut self, now_ms: u64, slots: u32, mut is_open: impl FnMut(u32) -> bool) -> Option<u32> {
        const PAUSE_MS: u64 = 100;
        if self.next_ms > now_ms {
            return None;
        }
        let found = (0..slots).map(|step| (self.slot + step) % slots).find(|&slot| is_open(slot));
        let Some(slot) = found else {
            self.next_ms = now_ms + PAUSE_MS;
            return None;
        };
        self.slot = slot + 1;
        self.left = self.left.saturating_sub(1);
        let mean_us = self.until_ms.saturating_sub(self.next_ms) * 1_000 / u64::from(self.left.max(1));
        let gap_us = self.rest_us + mean_us / 2 + self.draw() % (mean_us + 1);
        self.next_ms += gap_us / 1_000;
        self.rest_us = gap_us % 1_000;
        Some(slot)
    }

    /// The next number (xorshift64).
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times at which `connections` are closed in a window, looked at every millisecond.
    fn closes(connections: u32, window_ms: u64, seed: u64) -> Vec<u64> {
        let mut open = vec![true; connections as usize];
        let mut leaving = Leaving::new(1_000, window_ms, connections, seed);
        let mut times = Vec::new();
        for now_ms in 1_000..=1_000 + window_ms + 10 {
            while let Some(slot) = leaving.poll(now_ms, connections, |slot| open[slot as usize]) {
                assert!(std::mem::replace(&mut open[slot as usize], false), "closed once");
                times.push(now_ms - 1_000);
            }
        }
        assert!(open.iter().all(|open| !open), "all are closed with the window");
        times
    }

    #[test]
    fn closes_are_spread_over_the_window() {
        for (connections, window_ms) in [(1, 1_000), (10, 1_000), (1_000, 3_000), (20_000, 2_000)] {
            let times = closes(connections, window_ms, 7);
            let half = times.iter().filter(|&&time| time < window_ms / 2).count();
            let expected = connections as usize / 2;
            assert!(
                half.abs_diff(expected) <= 2 + connections as usize / 10,
                "{connections}: {half} in the first half"
            );
        }
    }

    #[test]
    fn without_a_window_all_are_closed_at_once() {
        assert_eq!(closes(50, 0, 3), vec![0; 50]);
    }

    #[test]
    fn two_shards_do_not_close_in_step() {
        assert_ne!(closes(100, 1_000, 1), closes(100, 1_000, 2));
    }

    #[test]
    fn who_comes_late_is_closed_too() {
        let mut leaving = Leaving::new(0, 0, 0, 9);
        assert_eq!(leaving.poll(0, 4, |_| false), None);
        assert_eq!(leaving.poll(50, 4, |slot| slot == 2), None, "not looked for all the time");
        assert_eq!(leaving.poll(100, 4, |slot| slot == 2), Some(2));
    }
}
