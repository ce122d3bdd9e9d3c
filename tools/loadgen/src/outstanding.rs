//! When the messages that are still under way were meant to be sent.
//!
//! Invariant: bounded by what is under way; a message that is lost is forgotten once 64 later ones have come.

use std::collections::VecDeque;

use crate::schedule::Nanos;

/// Marks the place of a message that has come out of order.
const TAKEN: Nanos = Nanos::MAX;

/// Messages this far behind the newest arrival are given up, like in [`crate::sequence`].
const WINDOW: i32 = 64;

/// Intended times of consecutive messages of one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outstanding {
    /// Number of the message at the front.
    first: u32,
    times: VecDeque<Nanos>,
}

impl Outstanding {
    /// The next message was sent, and meant to be sent at `intended`.
    pub(crate) fn push(&mut self, intended: Nanos) {
        self.times.push_back(intended);
    }

    /// Message `number` has come: its intended time, unless it came before or is not known any more.
    pub(crate) fn take(&mut self, number: u32) -> Option<Nanos> {
        let index = number.checked_sub(self.first)? as usize;
        let place = self.times.get_mut(index)?;
        let intended = std::mem::replace(place, TAKEN);
        while let Some(front) = self.times.front() {
            // Wraps below zero, and so becomes negative, once the front is past `number`.
            let is_old = number.wrapping_sub(self.first) as i32 >= WINDOW;
            if *front != TAKEN && !is_old {
                break;
            }
            self.times.pop_front();
            self.first += 1;
        }
        (intended != TAKEN).then_some(intended)
    }

    /// The intended time of message `number`, if it is under way or has yet to be sent.
    #[must_use]
    pub(crate) fn get(&self, number: u32) -> Option<Nanos> {
        let index = number.checked_sub(self.first)? as usize;
        self.times.get(index).copied().filter(|intended| *intended != TAKEN)
    }

    /// The number that the next [`Outstanding::push`] gives.
    #[must_use]
    pub(crate) fn next(&self) -> u32 {
        self.first + self.times.len() as u32
    }

    /// How many are kept.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_once() {
        let mut outstanding = Outstanding::default();
        (0..5).for_each(|number| outstanding.push(number * 10));
        for (number, expected) in
            [(0, Some(0)), (0, None), (2, Some(20)), (1, Some(10)), (2, None), (7, None), (4, Some(40))]
        {
            assert_eq!(outstanding.take(number), expected, "{number}");
        }
        assert_eq!(outstanding.len(), 2, "3 is missing, 4 waits behind it");
        assert_eq!(outstanding.take(3), Some(30));
        assert_eq!(outstanding.len(), 0);
    }

    #[test]
    fn lost_messages_are_forgotten() {
        let mut outstanding = Outstanding::default();
        for number in 0..10_000_u32 {
            outstanding.push(u64::from(number));
            if number % 100 != 0 {
                assert_eq!(outstanding.take(number), Some(u64::from(number)));
            }
            assert!(outstanding.len() <= WINDOW as usize + 1);
        }
    }
}
