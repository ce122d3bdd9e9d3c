//! The table of sockets of an io_uring back end: eight bytes each, low slots first, freed ones reused at once.
//!
//! Invariants: a slot is freed only when the kernel owes no completion for it; which file of which ring a slot is, is
//! arithmetic and not kept.

use crate::readiness::Flags;

const NONE: u32 = u32::MAX;

/// What is kept of a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) flags: Flags,
    /// Size class of its next receive.
    pub(super) class: u8,
    /// Completions that the kernel still owes: poll, rest, connect, close.
    pub(super) owed: u8,
    /// `SENDING`: index among this turn's attempts. `BLOCKED`: index of the rest. Free: the next free slot.
    pub(super) link: u32,
}

const _: () = assert!(size_of::<Slot>() == 8);

/// All slots that were ever used.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: u32,
    taken: u32,
    max: u32,
}

impl Slots {
    pub(super) fn new(max: u32) -> Self {
        Self { slots: Vec::with_capacity(max as usize), free: NONE, taken: 0, max }
    }

    /// The slot that [`Slots::take`] would give.
    pub(super) fn next(&self) -> Option<u32> {
        if self.free != NONE {
            return Some(self.free);
        }
        let fresh = self.slots.len() as u32;
        (fresh < self.max).then_some(fresh)
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        let index = self.next()?;
        if self.free == index {
            self.free = self.slots[index as usize].link;
        } else {
            self.slots.push(Slot::default());
        }
        // A stale entry in the ready queue may still carry this number: its flag stays.
        let slot = &mut self.slots[index as usize];
        let queued = slot.flags.any(Flags::QUEUED);
        *slot = Slot::default();
        if queued {
            slot.flags.set(Flags::QUEUED);
        }
        self.taken += 1;
        Some(index)
    }

    pub(super) fn free(&mut self, index: u32) {
        self.slots[index as usize].link = self.free;
        self.free = index;
        self.taken -= 1;
    }

    pub(super) fn taken(&self) -> usize {
        self.taken as usize
    }

    pub(super) fn get(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_slots_come_first_and_full_is_full() {
        let mut slots = Slots::new(3);
        assert_eq!(
            [slots.take(), slots.take(), slots.take(), slots.take()],
            [Some(0), Some(1), Some(2), None]
        );
        slots.free(1);
        assert_eq!((slots.taken(), slots.next()), (2, Some(1)));
        assert_eq!((slots.take(), slots.take()), (Some(1), None));
        assert_eq!(slots.taken(), 3);
    }

    #[test]
    fn a_used_slot_is_clean_but_for_its_place_in_the_queue() {
        let mut slots = Slots::new(1);
        slots.take();
        slots.get(0).flags.set(Flags::QUEUED | Flags::FAILED | Flags::CLOSING);
        slots.get(0).class = 3;
        slots.free(0);
        slots.take();
        assert!(slots.get(0).flags.any(Flags::QUEUED));
        assert!(!slots.get(0).flags.any(Flags::FAILED | Flags::CLOSING));
        assert_eq!(slots.get(0).class, 0);
    }
}
