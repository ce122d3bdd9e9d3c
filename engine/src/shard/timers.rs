//! The timer wheel: one timer a connection, linked through the connection records themselves.
//!
//! Invariants: allocates nothing after start; arming, moving and cancelling are O(1); knows no clock.
//!
//! ```text
//! heads[due_tick % slots] -> node <-> node <-> node     (next/previous are slots of the connection table)
//! ```

use crate::limits::{TICK_MS, WHEEL_SLOTS};

const NONE: u32 = u32::MAX;

/// A connection's place in the wheel.
#[derive(Clone, Copy, Debug)]
pub struct TimerNode {
    next: u32,
    previous: u32,
    due_tick: u32,
}

impl TimerNode {
    /// A timer that is not armed.
    pub const IDLE: Self = Self { next: NONE, previous: NONE, due_tick: NONE };

    /// Whether it will fire.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.due_tick != NONE
    }
}

/// Records that carry a [`TimerNode`].
pub trait Timed {
    /// The node of record `slot`.
    fn timer(&mut self, slot: u32) -> &mut TimerNode;
}

/// A single-level wheel of [`WHEEL_SLOTS`] ticks of [`TICK_MS`].
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32; WHEEL_SLOTS]>,
    occupied: [u64; WHEEL_SLOTS / 64],
    tick: u32,
}

impl Wheel {
    /// A wheel that starts at `now_ms`.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self {
            heads: Box::new([NONE; WHEEL_SLOTS]),
            occupied: [0; WHEEL_SLOTS / 64],
            tick: (now_ms / TICK_MS) as u32,
        }
    }

    /// (Re-)arms the timer of `slot` for `due_ms`; not before the next tick.
    pub fn arm(&mut self, records: &mut impl Timed, slot: u32, due_ms: u64) {
        let due_tick = (due_ms.div_ceil(TICK_MS) as u32).max(self.tick + 1);
        if records.timer(slot).due_tick == due_tick {
            return;
        }
        self.cancel(records, slot);
        let place = due_tick as usize % WHEEL_SLOTS;
        let head = self.heads[place];
        *records.timer(slot) = TimerNode { next: head, previous: NONE, due_tick };
        if head != NONE {
            records.timer(head).previous = slot;
        }
        self.heads[place] = slot;
        self.occupied[place / 64] |= 1 << (place % 64);
    }

    /// Takes the timer of `slot` out of the wheel, if it is in.
    pub fn cancel(&mut self, records: &mut impl Timed, slot: u32) {
        let node = std::mem::replace(records.timer(slot), TimerNode::IDLE);
        if !node.is_armed() {
            return;
        }
        let place = node.due_tick as usize % WHEEL_SLOTS;
        if node.next != NONE {
            records.timer(node.next).previous = node.previous;
        }
        if node.previous != NONE {
            records.timer(node.previous).next = node.next;
        } else {
            self.heads[place] = node.next;
            if node.next == NONE {
                self.occupied[place / 64] &= !(1 << (place % 64));
            }
        }
    }

    /// Moves to `now_ms` and appends the slots whose time has come to `due`, each disarmed, until it has `due_max`: the
    /// rest is due at once in the next call, and [`Self::wait_ms`] says so.
    pub fn advance(&mut self, records: &mut impl Timed, now_ms: u64, due_max: usize, due: &mut Vec<u32>) {
        let target = (now_ms / TICK_MS) as u32;
        // After a long pause every place is visited once, not once a tick.
        let steps = target.saturating_sub(self.tick).min(WHEEL_SLOTS as u32);
        let first = target - steps + 1;
        for tick in (first..=target).take(steps as usize) {
            let place = tick as usize % WHEEL_SLOTS;
            if self.occupied[place / 64] & (1 << (place % 64)) == 0 {
                continue;
            }
            let mut slot = self.heads[place];
            while slot != NONE {
                let node = *records.timer(slot);
                if node.due_tick <= target {
                    if due.len() >= due_max {
                        self.tick = tick - 1;
                        return;
                    }
                    self.cancel(records, slot);
                    due.push(slot);
                }
                slot = node.next;
            }
        }
        self.tick = self.tick.max(target);
    }

    /// Milliseconds from `now_ms` to the next tick at which something may be due, at most `limit_ms`.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64, limit_ms: u64) -> u64 {
        let ticks = limit_ms.div_ceil(TICK_MS).min(WHEEL_SLOTS as u64);
        let mut ahead = 1;
        while ahead <= ticks {
            let place = (self.tick as usize + ahead as usize) % WHEEL_SLOTS;
            let in_word = self.occupied[place / 64] >> (place % 64);
            if in_word != 0 {
                let ahead = ahead + u64::from(in_word.trailing_zeros());
                let due_ms = (u64::from(self.tick) + ahead) * TICK_MS;
                return due_ms.saturating_sub(now_ms).min(limit_ms);
            }
            ahead += 64 - place as u64 % 64;
        }
        limit_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Records(Vec<TimerNode>);

    impl Timed for Records {
        fn timer(&mut self, slot: u32) -> &mut TimerNode {
            &mut self.0[slot as usize]
        }
    }

    fn fired(wheel: &mut Wheel, records: &mut Records, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(records, now_ms, usize::MAX, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn fires_once_not_early_and_survives_the_horizon() {
        let mut records = Records(vec![TimerNode::IDLE; 4]);
        let mut wheel = Wheel::new(10_000);
        wheel.arm(&mut records, 0, 10_100);
        wheel.arm(&mut records, 1, 10_100);
        wheel.arm(&mut records, 2, 10_000 + WHEEL_SLOTS as u64 * TICK_MS * 2 + 100);
        assert_eq!(fired(&mut wheel, &mut records, 10_099), [0; 0]);
        assert_eq!(fired(&mut wheel, &mut records, 10_100), [0, 1]);
        assert_eq!(fired(&mut wheel, &mut records, 10_200), [0; 0]);
        let round = WHEEL_SLOTS as u64 * TICK_MS;
        assert_eq!(fired(&mut wheel, &mut records, 10_100 + round), [0; 0]);
        assert_eq!(fired(&mut wheel, &mut records, 10_100 + 2 * round), [2]);
    }

    #[test]
    fn cancel_and_rearm_keep_the_lists_whole() {
        let mut records = Records(vec![TimerNode::IDLE; 5]);
        let mut wheel = Wheel::new(0);
        for slot in 0..5 {
            wheel.arm(&mut records, slot, 500);
        }
        wheel.cancel(&mut records, 2);
        wheel.cancel(&mut records, 4);
        wheel.cancel(&mut records, 0);
        wheel.arm(&mut records, 1, 900);
        assert_eq!(fired(&mut wheel, &mut records, 500), [3]);
        assert_eq!(fired(&mut wheel, &mut records, 900), [1]);
        assert!(!records.0.iter().any(TimerNode::is_armed));
    }

    #[test]
    fn a_long_pause_fires_everything_that_is_due() {
        let mut records = Records(vec![TimerNode::IDLE; 3]);
        let mut wheel = Wheel::new(0);
        wheel.arm(&mut records, 0, 100);
        wheel.arm(&mut records, 1, 30_000);
        wheel.arm(&mut records, 2, 10_000_000);
        assert_eq!(fired(&mut wheel, &mut records, 5_000_000), [0, 1]);
    }

    #[test]
    fn what_one_call_leaves_is_due_in_the_next() {
        let mut records = Records(vec![TimerNode::IDLE; 7]);
        let mut wheel = Wheel::new(0);
        for slot in 0..7 {
            wheel.arm(&mut records, slot, if slot < 5 { 300 } else { 400 });
        }
        let mut all = Vec::new();
        for left in [5, 3, 1, 0] {
            let mut due = Vec::new();
            wheel.advance(&mut records, 500, 2, &mut due);
            all.append(&mut due);
            assert_eq!(7 - all.len(), left);
            assert_eq!(wheel.wait_ms(500, 1_000), if left == 0 { 1_000 } else { 0 });
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn waits_until_the_next_timer_or_the_limit() {
        let mut records = Records(vec![TimerNode::IDLE; 1]);
        let mut wheel = Wheel::new(0);
        assert_eq!(wheel.wait_ms(0, 1_000), 1_000);
        wheel.arm(&mut records, 0, 300);
        assert_eq!(wheel.wait_ms(10, 1_000), 290);
        assert_eq!(wheel.wait_ms(10, 100), 100);
        // Around the end of the wheel.
        let round_ms = WHEEL_SLOTS as u64 * TICK_MS;
        let _ = fired(&mut wheel, &mut records, round_ms - TICK_MS);
        wheel.arm(&mut records, 0, round_ms + 2 * TICK_MS);
        assert_eq!(wheel.wait_ms(round_ms - TICK_MS, 1_000), 3 * TICK_MS);
    }
}
