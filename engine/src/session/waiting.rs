//! Clients that wait until a token of theirs is judged, and what they have said meanwhile.
//!
//! Invariants: a client waits for one verdict at a time, and nothing that it says behind its token is heard before; what is kept
//! is bounded for each client and for all of a shard; a verdict finds only the connection that asked for it.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::judging::Asked;
use crate::flow::Key;
use crate::limits::{SAID_WAITING_BYTES_MAX, SAID_WAITING_OVERHEAD_BYTES};

/// More was said than is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
struct Waiter {
    by: Key,
    asked: Asked,
    said: Vec<Box<[u8]>>,
    bytes: usize,
}

/// All of a shard that wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// By slot.
    all: HashMap<u32, Waiter, FixedState>,
    bytes: usize,
}

impl Waiters {
    /// Who asked waits from now on.
    pub(super) fn enter(&mut self, by: Key, asked: Asked) {
        self.leave(by.slot);
        self.all.insert(by.slot, Waiter { by, asked, said: Vec::new(), bytes: 0 });
    }

    /// Keeps what a client says while it waits: one message, or what is left of one. One is always kept, and further ones up to
    /// `bytes_max`, as long as the shard has room.
    pub(super) fn keep(&mut self, slot: u32, message: &[u8], bytes_max: usize) -> Result<(), Full> {
        let Some(waiter) = self.all.get_mut(&slot) else { return Ok(()) };
        let bytes = message.len() + SAID_WAITING_OVERHEAD_BYTES;
        let is_too_much = !waiter.said.is_empty() && waiter.bytes + bytes > bytes_max;
        if is_too_much || self.bytes + bytes > SAID_WAITING_BYTES_MAX {
            return Err(Full);
        }
        waiter.said.push(message.into());
        waiter.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// What `by` waits for.
    pub(super) fn asked_mut(&mut self, by: Key) -> Option<&mut Asked> {
        self.all.get_mut(&by.slot).filter(|waiter| waiter.by == by).map(|waiter| &mut waiter.asked)
    }

    /// What `by` waited for, and what it said meanwhile.
    pub(super) fn take(&mut self, by: Key) -> Option<(Asked, Vec<Box<[u8]>>)> {
        self.all.get(&by.slot).filter(|waiter| waiter.by == by)?;
        let waiter = self.all.remove(&by.slot)?;
        self.bytes -= waiter.bytes;
        Some((waiter.asked, waiter.said))
    }

    /// The connection in `slot` is gone.
    pub(super) fn leave(&mut self, slot: u32) {
        if let Some(waiter) = self.all.remove(&slot) {
            self.bytes -= waiter.bytes;
        }
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32, generation: u32) -> Key {
        Key { slot, generation }
    }

    #[test]
    fn a_verdict_finds_only_who_asked() {
        let mut waiters = Waiters::default();
        waiters.enter(key(7, 1), Asked::Connect { id: 1, remembered: Vec::new() });
        waiters.keep(7, b"said", 100).expect("room");
        assert!(waiters.take(key(7, 2)).is_none(), "another connection of the slot");
        assert!(waiters.take(key(8, 1)).is_none());
        let (asked, said) = waiters.take(key(7, 1)).expect("it waits");
        assert!(matches!(asked, Asked::Connect { id: 1, .. }));
        assert_eq!(said, [Box::from(&b"said"[..])]);
        assert_eq!((waiters.bytes(), waiters.take(key(7, 1)).is_none()), (0, true));
        // The slot is used again while the first one's verdict is on its way.
        waiters.enter(key(7, 1), Asked::Connect { id: 1, remembered: Vec::new() });
        waiters.leave(7);
        waiters.enter(key(7, 2), Asked::Connect { id: 5, remembered: Vec::new() });
        assert!(waiters.take(key(7, 1)).is_none());
        assert!(waiters.take(key(7, 2)).is_some());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut waiters = Waiters::default();
        let large = vec![b'x'; 1_000];
        for slot in 0..2 {
            waiters.enter(key(slot, 1), Asked::Connect { id: 1, remembered: Vec::new() });
            assert_eq!(waiters.keep(slot, &large, 500), Ok(()), "one is always kept");
            assert_eq!(waiters.keep(slot, b"", 500), Err(Full));
            assert_eq!(waiters.keep(slot, b"", 2_000), Ok(()));
        }
        let kept = waiters.bytes();
        assert_eq!(waiters.keep(0, &vec![0; SAID_WAITING_BYTES_MAX], usize::MAX), Err(Full));
        assert_eq!(waiters.bytes(), kept);
        waiters.leave(0);
        waiters.leave(1);
        assert_eq!(waiters.bytes(), 0);
    }
}
