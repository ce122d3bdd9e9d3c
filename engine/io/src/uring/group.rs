//! The rings of one thread: one as a rule, more where the descriptor limit is below the sockets wanted.
//!
//! Invariants: the thread sleeps in ring 0 only; before it sleeps, the others are allowed to ring the bell and looked at
//! once more, so that nothing pending is slept over. A ring polled through its own descriptor would miss wake-ups.
//!
//! ```text
//!   slot = ring * files + file          ring 1 ─┐
//!                                       ring 2 ─┼─ pending: adds one to the bell ──> read by ring 0 ──> ends the sleep
//!                                       ring n ─┘
//! ```

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use io_uring::{opcode, squeue, types};

use super::ring::{Completion, Lacks, Patience, Ring};
use super::tag::{Operation, tag};
use crate::sys;

pub(super) struct Group {
    rings: Vec<Ring>,
    /// Direct descriptors of each ring.
    files: u32,
    bell: Option<Bell>,
}

/// The descriptor that rings 1 and up signal.
struct Bell {
    descriptor: OwnedFd,
    /// Where ring 0 reads the descriptor's counter into.
    count: Box<u64>,
    armed: bool,
}

impl Group {
    /// A group of one ring with room for `files` sockets in each ring.
    pub(super) fn new(files: u32) -> io::Result<(Self, Lacks)> {
        let (ring, lacks) = Ring::new(files)?;
        Ok((Self { rings: vec![ring], files, bell: None }, lacks))
    }

    /// Which ring and which file of it a slot is.
    fn place(&self, slot: u32) -> (usize, u32) {
        if self.rings.len() == 1 { (0, slot) } else { ((slot / self.files) as usize, slot % self.files) }
    }

    /// The direct descriptor of a slot.
    pub(super) fn file(&self, slot: u32) -> types::Fixed {
        types::Fixed(self.place(slot).1)
    }

    /// The ring of a slot.
    pub(super) fn ring(&mut self, slot: u32) -> &mut Ring {
        let (ring, _) = self.place(slot);
        &mut self.rings[ring]
    }

    /// Makes sure that the ring of a slot exists.
    ///
    /// # Errors
    /// The kernel has no room for another ring.
    pub(super) fn reach(&mut self, slot: u32) -> io::Result<()> {
        while (slot / self.files) as usize >= self.rings.len() {
            if self.bell.is_none() {
                // Not non-blocking, or a read of it would end at once instead of waiting.
                let descriptor = sys::event_descriptor(false)?;
                self.bell = Some(Bell { descriptor, count: Box::new(0), armed: false });
            }
            let (mut ring, _) = Ring::new(self.files)?;
            if let Some(bell) = &self.bell {
                ring.set_bell(bell.descriptor.as_fd().as_raw_fd())?;
            }
            self.rings.push(ring);
        }
        Ok(())
    }

    /// Queues an operation on a socket.
    ///
    /// # Safety
    /// As of [`Ring::push`].
    pub(super) unsafe fn push(&mut self, slot: u32, entry: &squeue::Entry) {
        // SAFETY: passed on to the caller.
        unsafe { self.ring(slot).push(entry) }
    }

    /// Queues an operation that is about no socket of the group.
    ///
    /// # Safety
    /// As of [`Ring::push`].
    pub(super) unsafe fn push_first(&mut self, entry: &squeue::Entry) {
        // SAFETY: passed on to the caller.
        unsafe { self.rings[0].push(entry) }
    }

    /// Submits what is queued in every ring, and nothing else.
    pub(super) fn submit(&mut self) {
        for ring in &mut self.rings {
            if ring.has_queued() {
                ring.submit();
            }
        }
    }

    /// Submits what is queued and works off what is pending in every ring, without waiting; whether there was anything.
    pub(super) fn work_off(&mut self) -> bool {
        let mut worked = false;
        for ring in &mut self.rings {
            if ring.has_work() {
                ring.submit_and_wait(Patience::None);
                worked = true;
            }
        }
        worked
    }

    /// Submits what is queued, works off what is pending, and waits for a completion as long as `patience` says.
    pub(super) fn wait(&mut self, patience: Patience) {
        let patience = if self.work_off_others() { Patience::None } else { patience };
        if patience == Patience::None {
            if self.rings[0].has_work() {
                self.rings[0].submit_and_wait(Patience::None);
            }
            return;
        }
        if self.rings.len() == 1 {
            return self.rings[0].submit_and_wait(patience);
        }
        self.arm_bell();
        for ring in &mut self.rings[1..] {
            ring.ring_bell(true);
        }
        // Pairs with the kernel, which marks a ring as pending before it looks whether it may ring the bell.
        fence(Ordering::SeqCst);
        let quiet = !self.rings[1..].iter_mut().any(Ring::has_news);
        self.rings[0].submit_and_wait(if quiet { patience } else { Patience::None });
        for ring in &mut self.rings[1..] {
            ring.ring_bell(false);
        }
        self.work_off_others();
    }

    /// Enters the rings beside the first that have something to do; true if they have completions.
    fn work_off_others(&mut self) -> bool {
        let mut news = false;
        for ring in &mut self.rings[1..] {
            if ring.has_work() {
                ring.submit_and_wait(Patience::None);
            }
            news |= ring.has_news();
        }
        news
    }

    fn arm_bell(&mut self) {
        let Some(bell) = &mut self.bell else { return };
        if bell.armed {
            return;
        }
        bell.armed = true;
        let (descriptor, count) = (types::Fd(bell.descriptor.as_raw_fd()), &raw mut *bell.count);
        let read = opcode::Read::new(descriptor, count.cast(), size_of::<u64>() as u32).build();
        // SAFETY: the counter's box lives as long as the group, which ends its rings first.
        unsafe { self.push_first(&read.user_data(tag(Operation::Bell, 0))) }
    }

    /// The bell was rung, which is all that it says.
    pub(super) fn bell_rang(&mut self) {
        if let Some(bell) = &mut self.bell {
            bell.armed = false;
        }
    }

    /// Moves all completions that there are to `to`.
    pub(super) fn reap(&mut self, to: &mut Vec<Completion>) {
        for ring in &mut self.rings {
            ring.reap(to);
        }
    }

    /// # Errors
    /// A ring is broken.
    pub(super) fn check(&self) -> io::Result<()> {
        self.rings.iter().find_map(Ring::broken).map_or(Ok(()), Err)
    }

    /// Ends all operations; false if the kernel may still touch what was pushed.
    pub(super) fn end(&mut self) -> bool {
        let mut quiet = true;
        for ring in &mut self.rings {
            quiet &= ring.end();
        }
        if !quiet && let Some(bell) = self.bell.take() {
            Box::leak(bell.count);
        }
        quiet
    }
}
