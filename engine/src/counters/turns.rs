//! How long a shard's turns are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the classes that turns are counted in. A quick turn is some microseconds; from 10 ms on clients notice, at
/// 10 s the supervisor ends the process.
pub const TURN_MS_BOUNDS: [u64; 5] = [1, 10, 100, 1_000, 10_000];

/// Turns by their length. One writer.
#[derive(Debug, Default)]
pub struct TurnLengths {
    /// One more than there are bounds: the last has none.
    classes: [AtomicU64; TURN_MS_BOUNDS.len() + 1],
    total_ns: AtomicU64,
}

impl TurnLengths {
    /// Counts a turn. Only the owning shard's thread calls this.
    pub fn add(&self, length: Duration) {
        let is_longer = |bound_ms: &&u64| length > Duration::from_millis(**bound_ms);
        let class = &self.classes[TURN_MS_BOUNDS.iter().take_while(is_longer).count()];
        class.store(class.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        let ns = self.total_ns.load(Ordering::Relaxed).wrapping_add(length.as_nanos() as u64);
        self.total_ns.store(ns, Ordering::Relaxed);
    }

    /// Turns no longer than each bound, the last without one, and the length of all in seconds.
    #[must_use]
    pub fn read(&self) -> ([u64; TURN_MS_BOUNDS.len() + 1], f64) {
        let mut sum = 0;
        let up_to = self.classes.each_ref().map(|class| {
            sum += class.load(Ordering::Relaxed);
            sum
        });
        (up_to, self.total_ns.load(Ordering::Relaxed) as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_up_to_each_bound() {
        let turns = TurnLengths::default();
        for us in [5, 1_000, 1_001, 50_000, 20_000_000] {
            turns.add(Duration::from_micros(us));
        }
        assert_eq!(turns.read(), ([2, 3, 4, 4, 4, 5], 20.052_006));
    }
}
