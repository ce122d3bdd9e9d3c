//! Receives straight into the arena: slices sized by what their sockets received before, the room that they leave used
//! again within the same wait.
//!
//! Invariants: slices that the kernel or an event refers to never overlap; a receive never waits in the kernel, so none
//! is under way when the wait returns; a socket is served once a wait.
//!
//! ```text
//!   arena   | bytes ···· | bytes ········ | bytes | free                 |
//!             slice        slice            slice
//!                   └─────────┴── gaps: free for the receives of the next enter
//! ```

#![allow(unsafe_code)]

use io_uring::opcode;

use super::Uring;
use super::slots::Slot;
use super::tag::{Operation, tag};
use crate::readiness::{Flags, ReadyQueue};
use crate::{Arena, Event, Socket, limits};

/// The receives of one wait.
#[derive(Debug, Default)]
pub(super) struct Receives {
    slices: Vec<Slice>,
    /// How many of the slices are of receives whose gaps were collected.
    settled: usize,
    /// Free parts of the arena, the next to be used last.
    gaps: Vec<Gap>,
    /// Room below which a gap is not worth a receive.
    room_min: u32,
}

/// The part of the arena that a receive was given.
#[derive(Clone, Copy, Debug)]
struct Slice {
    slot: u32,
    start: u32,
    len: u32,
    received: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    start: u32,
    len: u32,
}

impl Receives {
    /// A new wait with a whole arena.
    pub(super) fn begin(&mut self, arena_len: usize) {
        let len = u32::try_from(arena_len).unwrap_or(u32::MAX - limits::RECEIVE_ALIGN as u32);
        self.slices.clear();
        self.settled = 0;
        self.gaps.clear();
        self.gaps.push(Gap { start: 0, len });
        self.room_min = len.min(limits::RECEIVE_ROOM_MIN as u32).max(1);
    }

    /// Whether there are receives whose completions were not handled.
    fn are_queued(&self) -> bool {
        self.slices.len() > self.settled
    }

    /// Takes up to `wanted` bytes; less only if it is still worth it.
    fn take(&mut self, wanted: u32) -> Option<Gap> {
        while let Some(gap) = self.gaps.last_mut() {
            if gap.len > wanted {
                let taken = Gap { start: gap.start, len: wanted };
                gap.start += wanted;
                gap.len -= wanted;
                return Some(taken);
            }
            let whole = *gap;
            self.gaps.pop();
            if whole.len >= wanted.min(self.room_min) {
                return Some(whole);
            }
        }
        None
    }

    /// Collects what the completed receives left free.
    fn settle(&mut self) {
        for slice in self.slices[self.settled..].iter().rev() {
            let used = slice.received.next_multiple_of(limits::RECEIVE_ALIGN as u32);
            if used < slice.len {
                self.gaps.push(Gap { start: slice.start + used, len: slice.len - used });
            }
        }
        self.settled = self.slices.len();
    }
}

impl Uring {
    /// Receives once from each socket that is ready now, as far as the arena goes; the others keep their place.
    pub(super) fn receive_ready(&mut self, arena: &mut Arena, events: &mut Vec<Event>) {
        let mut due = self.ready.len();
        while due > 0 {
            let before = self.ready.len();
            self.queue_receives(arena, due);
            due -= before - self.ready.len();
            if !self.receives.are_queued() {
                return;
            }
            self.group.submit();
            self.handle_completions(events);
            self.receives.settle();
        }
    }

    /// Queues a receive for each of the first `due` ready sockets while there is room.
    fn queue_receives(&mut self, arena: &mut Arena, due: usize) {
        for _ in 0..self.ready.len().min(due) {
            let Some(slot) = self.ready.front() else { return };
            let state = self.slots.get(slot);
            if !ReadyQueue::is_due(state.flags) {
                self.ready.take(&mut state.flags);
                continue;
            }
            let Some(Gap { start, len }) = self.receives.take(limits::SLICE_BYTES[usize::from(state.class)])
            else {
                return;
            };
            self.ready.take(&mut state.flags);
            let room = arena.room(start as usize..(start + len) as usize).as_mut_ptr();
            let number = self.receives.slices.len() as u32;
            self.receives.slices.push(Slice { slot, start, len, received: 0 });
            let receive =
                opcode::Recv::new(self.group.file(slot), room, len).flags(libc::MSG_DONTWAIT).build();
            // SAFETY: slices do not overlap, and the arena is lent until `wait` returns. A receive that must not wait
            // completes while it is submitted, which `wait` does before it returns or the ring is broken for good.
            unsafe { self.group.push(slot, &receive.user_data(tag(Operation::Receive, number))) }
        }
    }

    pub(super) fn received(&mut self, number: u32, result: i32, more: bool, events: &mut Vec<Event>) {
        let slice = &mut self.receives.slices[number as usize];
        let Slice { slot, start, len: room, .. } = *slice;
        let socket = Socket(slot);
        let state = self.slots.get(slot);
        match result {
            1.. => {
                let len = result as u32;
                slice.received = len;
                events.push(Event::Received { socket, start, len });
                resize(state, len);
                // The kernel says whether more is there, but not whether an end or an error is that it has announced.
                if !more && len < room && !state.flags.any(Flags::END_SEEN) {
                    state.flags.clear(Flags::READABLE);
                }
                self.ready.offer(slot, &mut state.flags);
            }
            0 => {
                state.flags.set(Flags::ENDED);
                state.flags.clear(Flags::READABLE);
                events.push(Event::PeerClosed { socket });
            }
            _ => match -result {
                libc::EAGAIN => state.flags.clear(Flags::READABLE),
                libc::EINTR => self.ready.offer(slot, &mut state.flags),
                errno => self.fail(slot, errno, events),
            },
        }
    }
}

/// Sizes the next slice by what the last one received. The remainder of a message that was cut by the end of a slice
/// says nothing about the size of messages.
fn resize(state: &mut Slot, len: u32) {
    let class = usize::from(state.class);
    let remainder = state.flags.any(Flags::FILLED);
    state.flags.clear(Flags::FILLED);
    if len >= limits::SLICE_BYTES[class] {
        state.flags.set(Flags::FILLED);
        state.class = (class + 1).min(limits::SLICE_BYTES.len() - 1) as u8;
    } else if class > 0 && len <= limits::SLICE_BYTES[class] / 4 && !remainder {
        state.class -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(receives: &mut Receives, wanted: u32, received: u32) -> Option<Gap> {
        let gap = receives.take(wanted)?;
        receives.slices.push(Slice { slot: 0, start: gap.start, len: gap.len, received });
        Some(gap)
    }

    #[test]
    fn the_room_that_slices_leave_is_used_again() {
        let mut receives = Receives::default();
        receives.begin(128 * 1024);
        let wanted = 64 * 1024;
        assert_eq!(receive(&mut receives, wanted, 100), Some(Gap { start: 0, len: wanted }));
        assert_eq!(receive(&mut receives, wanted, 0), Some(Gap { start: wanted, len: wanted }));
        assert_eq!(receive(&mut receives, wanted, 0), None, "the arena is used up");
        assert!(receives.are_queued());
        receives.settle();
        assert!(!receives.are_queued());
        // First what the first left, smaller than wanted but worth a receive; then the untouched one.
        assert_eq!(receive(&mut receives, wanted, wanted - 104), Some(Gap { start: 104, len: wanted - 104 }));
        assert_eq!(receive(&mut receives, 2_048, 2_048), Some(Gap { start: wanted, len: 2_048 }));
        receives.settle();
        assert_eq!(receives.take(wanted), Some(Gap { start: wanted + 2_048, len: wanted - 2_048 }));
        assert_eq!(receives.take(1), None);
    }

    #[test]
    fn slices_settle_at_the_size_of_messages() {
        for message in [1, 100, 1_500, 2_100, 16_384, 16_392, 40_000, 200_000] {
            let mut state = Slot { class: 2, ..Slot::default() };
            let turn = |state: &mut Slot| {
                let mut left: u32 = message;
                let mut receives = 0;
                while left > 0 {
                    let len = left.min(limits::SLICE_BYTES[usize::from(state.class)]);
                    resize(state, len);
                    left -= len;
                    receives += 1;
                }
                receives
            };
            for _ in 0..20 {
                turn(&mut state);
            }
            let (class, slice) = (state.class, limits::SLICE_BYTES[usize::from(state.class)]);
            let receives = turn(&mut state);
            assert_eq!(state.class, class, "{message} bytes: it is settled");
            assert_eq!(receives, message.div_ceil(slice), "{message} bytes: no more receives than it takes");
            assert!(slice / 4 < message || class == 0, "{message} bytes: no larger than it takes");
        }
    }

    #[test]
    fn a_tiny_arena_is_used_whole_and_a_sliver_not_at_all() {
        let mut receives = Receives::default();
        receives.begin(100);
        assert_eq!(receive(&mut receives, 2_048, 9), Some(Gap { start: 0, len: 100 }));
        receives.settle();
        assert_eq!(receives.take(2_048), None);
        receives.begin(0);
        assert_eq!(receives.take(2_048), None);
    }
}
