//! Who may begin a TLS handshake when: a token bucket, and those who wait for a token.
//!
//! Invariants: a handshake begins after everybody else was heard in the turn, and only so many do in one; who waits is bounded
//! in number, is not read from beyond its first bytes, and waits no longer than its handshake may take.
//!
//! ```text
//! first bytes ──> waiting ── token ──> begun
//!     └── too many wait ──> closed
//! ```

use std::collections::VecDeque;

use crate::flow::Key;
use crate::limits::{HANDSHAKES_PER_TURN, HANDSHAKES_WAITING_MAX};

/// A thousandth of a handshake is what is counted.
const MILLI: u64 = 1_000;

/// Handshakes that have not begun.
#[derive(Debug)]
pub(super) struct Handshakes {
    waiting: VecDeque<Key>,
    /// Of those, the first so many are not read from.
    paused: usize,
    waiting_max: usize,
    /// 0: as many as fit into the turns.
    per_s: u64,
    /// Thousandths of handshakes that may begin.
    tokens_milli: u64,
    filled_ms: u64,
    begun_in_turn: usize,
}

impl Handshakes {
    /// `per_s` may begin in a second (0: no limit); who could not within `patience_ms` is turned away.
    pub(super) fn new(per_s: u32, patience_ms: u64, now_ms: u64) -> Self {
        let per_s = u64::from(per_s);
        let in_time = usize::try_from(per_s * patience_ms / 1_000).unwrap_or(usize::MAX);
        let waiting_max =
            if per_s == 0 { HANDSHAKES_WAITING_MAX } else { in_time.min(HANDSHAKES_WAITING_MAX) };
        Self {
            waiting: VecDeque::new(),
            paused: 0,
            waiting_max: waiting_max.max(1),
            per_s,
            tokens_milli: Self::full_milli(per_s),
            filled_ms: now_ms,
            begun_in_turn: 0,
        }
    }

    /// A tenth of a second's handshakes may begin at once.
    fn full_milli(per_s: u64) -> u64 {
        (per_s * MILLI / 10).max(MILLI)
    }

    /// Who said its first word waits for a token. False: too many do.
    pub(super) fn wait(&mut self, key: Key) -> bool {
        let has_room = self.waiting.len() < self.waiting_max;
        if has_room {
            self.waiting.push_back(key);
        }
        has_room
    }

    /// The next one that may begin now, and whether it is not read from.
    pub(super) fn poll(&mut self, now_ms: u64) -> Option<(Key, bool)> {
        if self.begun_in_turn == HANDSHAKES_PER_TURN || self.waiting.is_empty() {
            return None;
        }
        if self.per_s > 0 {
            let grown_milli = now_ms.saturating_sub(self.filled_ms).saturating_mul(self.per_s);
            self.tokens_milli = (self.tokens_milli + grown_milli).min(Self::full_milli(self.per_s));
            self.filled_ms = now_ms;
            self.tokens_milli = self.tokens_milli.checked_sub(MILLI)?;
        }
        let key = self.waiting.pop_front()?;
        self.begun_in_turn += 1;
        let is_paused = self.paused > 0;
        self.paused = self.paused.saturating_sub(1);
        Some((key, is_paused))
    }

    /// The one that was given by [`Handshakes::poll`] is gone: its token is another's.
    pub(super) fn give_back(&mut self) {
        self.begun_in_turn -= 1;
        if self.per_s > 0 {
            self.tokens_milli += MILLI;
        }
    }

    /// The turn's handshakes have begun: the next one that is to be read from no more, until its own begins.
    pub(super) fn poll_pause(&mut self) -> Option<Key> {
        self.begun_in_turn = 0;
        let key = self.waiting.get(self.paused).copied()?;
        self.paused += 1;
        Some(key)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the next one may begin; `None`: nobody waits.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.waiting.front()?;
        let missing_milli = MILLI.saturating_sub(self.tokens_milli);
        Some(if self.per_s == 0 { 0 } else { self.filled_ms + missing_milli.div_ceil(self.per_s) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 1 }
    }

    /// Handshakes begun at `now_ms` in one turn.
    fn begin(handshakes: &mut Handshakes, now_ms: u64) -> usize {
        let begun = std::iter::from_fn(|| handshakes.poll(now_ms)).count();
        while handshakes.poll_pause().is_some() {}
        begun
    }

    #[test]
    fn no_more_begin_than_the_bucket_gives() {
        let mut handshakes = Handshakes::new(40, 10_000, 1_000);
        for slot in 0..200 {
            assert!(handshakes.wait(key(slot)));
        }
        assert_eq!(begin(&mut handshakes, 1_000), 4, "a tenth of a second's");
        assert_eq!((begin(&mut handshakes, 1_000), handshakes.due_ms()), (0, Some(1_025)));
        let begun: usize = (1_001..=2_000).map(|now_ms| begin(&mut handshakes, now_ms)).sum();
        assert_eq!((begun, handshakes.len()), (40, 156));
        assert_eq!(begin(&mut handshakes, 60_000), 4, "what was not used is not saved up");
    }

    #[test]
    fn a_turn_begins_few_and_the_rest_is_not_read_from() {
        let mut handshakes = Handshakes::new(0, 10_000, 0);
        for slot in 0..(HANDSHAKES_PER_TURN as u32 + 2) {
            assert!(handshakes.wait(key(slot)));
        }
        let begun: Vec<bool> = std::iter::from_fn(|| handshakes.poll(0)).map(|(_, paused)| paused).collect();
        assert_eq!(begun, vec![false; HANDSHAKES_PER_TURN]);
        let paused: Vec<Key> = std::iter::from_fn(|| handshakes.poll_pause()).collect();
        let last = HANDSHAKES_PER_TURN as u32;
        assert_eq!((paused, handshakes.due_ms()), (vec![key(last), key(last + 1)], Some(0)));
        assert!(handshakes.wait(key(99)));
        let begun: Vec<_> = std::iter::from_fn(|| handshakes.poll(0)).collect();
        assert_eq!(begun, vec![(key(last), true), (key(last + 1), true), (key(99), false)]);
        assert_eq!(handshakes.due_ms(), None);
    }

    #[test]
    fn who_could_not_begin_in_time_is_turned_away() {
        let mut handshakes = Handshakes::new(10, 500, 0);
        let waits: Vec<bool> = (0..7).map(|slot| handshakes.wait(key(slot))).collect();
        assert_eq!(waits, [true, true, true, true, true, false, false]);
        assert!(handshakes.poll(0).is_some() && handshakes.poll(0).is_none());
        assert!(handshakes.wait(key(9)), "there is room again");
        assert!(handshakes.poll(100).is_some());
        handshakes.give_back();
        assert!(handshakes.poll(100).is_some(), "who is gone takes no token");
    }
}
