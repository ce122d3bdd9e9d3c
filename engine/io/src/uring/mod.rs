//! The io_uring back end: direct descriptors, one armed poll per idle socket, receives and sends in batches.
//!
//! Invariants: no buffer belongs to an idle socket. Whatever is received is received within one wait: a receive never
//! waits in the kernel, so the arena is ours again when the wait returns. The same holds of a payload's first attempt;
//! what does not fit is copied, and only the copy stays with the kernel.
//!
//! ```text
//!   wait:  enter   sends, re-arms, accepts;   wait for the first completion
//!          reap    polls -> ready queue
//!          enter   one receive per ready socket, as far as the arena goes;  again while slices left room
//!          reap    received bytes -> events
//! ```

#![allow(unsafe_code)]

mod accept;
mod completions;
mod group;
mod probe;
mod receives;
mod ring;
mod slots;
mod tag;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use io_uring::{opcode, squeue, types};
use slab::Slab;

use self::accept::Seats;
use self::group::Group;
use self::receives::Receives;
use self::ring::{Completion, Patience};
use self::slots::Slots;
use self::tag::{Operation, tag};
use crate::readiness::{Flags, ReadyQueue, Rest};
use crate::sys::Address;
use crate::{
    Arena, Event, Io, Lack, Listener, Options, Payload, Socket, Waker, descriptors, limits, listener,
};

/// Sockets of one thread, by io_uring.
pub struct Uring {
    group: Group,
    slots: Slots,
    ready: ReadyQueue,
    seats: Seats,
    waker: Waker,
    /// First attempts that are queued; the kernel reads the payloads until the next enter has returned.
    attempts: Vec<(u32, Payload)>,
    /// Rests of blocked sends, each with the kernel until its completion.
    rests: Slab<Rest>,
    /// Addresses of queued connection attempts, which the kernel copies when they are submitted.
    #[allow(clippy::vec_box)]
    targets: Vec<Box<Address>>,
    receives: Receives,
    /// Taken from the rings, not handled yet.
    completions: Vec<Completion>,
    /// Events that happened outside of a wait.
    early: Vec<Event>,
    notes: Vec<String>,
}

impl Uring {
    /// A back end for the calling thread.
    ///
    /// # Errors
    /// The kernel forbids io_uring or lacks what it needs, see [`crate::select`].
    pub fn new(options: &Options) -> io::Result<Self> {
        let sockets_max = options.sockets_max.clamp(1, limits::SOCKETS_MAX);
        let allowed = descriptors::descriptor_limit()?.min(u64::from(sockets_max)) as u32;
        let files = options.ring_sockets.unwrap_or(allowed).clamp(1, allowed.max(1));
        let waker = options.waker.clone().map_or_else(Waker::new, Ok)?;
        let (group, lacks) = Group::new(files)?;
        let mut uring = Self {
            group,
            slots: Slots::new(sockets_max),
            ready: ReadyQueue::default(),
            seats: Seats::new(!lacks.accept_poll_first),
            waker,
            attempts: Vec::new(),
            rests: Slab::new(),
            targets: Vec::new(),
            receives: Receives::default(),
            completions: Vec::new(),
            early: Vec::new(),
            notes: lacks.notes(),
        };
        uring.watch_waker();
        Ok(uring)
    }

    /// Sentences on what the kernel lacks without harm.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a back end could be made here.
    ///
    /// # Errors
    /// Why not, as the first part of a sentence.
    pub(crate) fn probe() -> Result<Vec<String>, String> {
        probe::probe()
    }

    /// Polls the waker's descriptor for edges; it is never read.
    fn watch_waker(&mut self) {
        let descriptor = types::Fd(self.waker.descriptor().as_raw_fd());
        let poll = opcode::PollAdd::new(descriptor, libc::POLLIN as u32).multi(true).build();
        // SAFETY: points to nothing.
        unsafe { self.group.push_first(&poll.user_data(tag(Operation::Waker, 0))) }
    }

    fn waker_polled(&mut self, more: bool) {
        if !more {
            self.watch_waker();
        }
    }

    /// A free slot whose ring exists.
    fn take_slot(&mut self) -> Result<u32, Lack> {
        let next = self.slots.next().ok_or(Lack::Slots)?;
        self.group.reach(next).map_err(|error| Lack::of(&error))?;
        self.slots.take().ok_or(Lack::Slots)
    }

    /// Lets go of what the kernel has read: after an enter no attempt is under way.
    fn drop_attempts(&mut self) {
        self.targets.clear();
        let mut attempts = std::mem::take(&mut self.attempts);
        for (slot, payload) in attempts.drain(..) {
            drop(payload);
            let flags = &mut self.slots.get(slot).flags;
            if flags.any(Flags::SENDING) {
                flags.clear(Flags::SENDING);
                if flags.any(Flags::FIN_WANTED) && !flags.any(Flags::CLOSING) {
                    self.half_close(slot);
                }
            }
        }
        self.attempts = attempts;
    }

    /// Closes the file of a slot. The slot is free after the last completion that the kernel owes for it.
    fn release(&mut self, slot: u32) {
        let file = self.group.file(slot);
        let state = self.slots.get(slot);
        state.flags.set(Flags::CLOSING);
        state.flags.clear(Flags::READABLE);
        state.owed += 1;
        let flags = state.flags;
        // Whatever is armed holds the file open: without cancelling it first no FIN would be sent.
        if flags.any(Flags::ARMED) {
            self.cancel(slot, Operation::Poll, Operation::Silent);
        }
        if flags.any(Flags::BLOCKED) {
            self.cancel(slot, Operation::Rest, Operation::CancelRest);
        }
        if flags.any(Flags::CONNECTING) {
            self.cancel(slot, Operation::Connect, Operation::Silent);
        }
        let close = opcode::Close::new(file).build().user_data(tag(Operation::Close, slot));
        // SAFETY: points to nothing.
        unsafe { self.group.push(slot, &close) }
    }

    /// How long this wait may sleep.
    fn patience(&self, timeout: Option<Duration>) -> Patience {
        let timeout = match (timeout, self.seats.pause()) {
            (Some(timeout), Some(pause)) => Some(timeout.min(pause)),
            (timeout, pause) => timeout.or(pause),
        };
        match timeout {
            None => Patience::Forever,
            Some(Duration::ZERO) => Patience::None,
            Some(timeout) => Patience::AtMost(timeout.min(limits::SLEEP_MAX)),
        }
    }
}

impl Io for Uring {
    fn listen(&mut self, listener: Listener) -> io::Result<()> {
        self.seats.listen(listener.into_descriptor())
    }

    fn listeners(&self) -> u16 {
        self.seats.listeners()
    }

    fn stop_listening(&mut self, listener: u16) {
        self.stop_accepting(listener);
    }

    fn connect(&mut self, source: Option<SocketAddr>, peer: SocketAddr) -> io::Result<Socket> {
        let descriptor = listener::client_socket(source, peer, false)?;
        let slot = self.take_slot()?;
        let file = self.group.file(slot);
        if let Err(error) = self.group.ring(slot).install(file.0, descriptor.as_fd()) {
            self.slots.free(slot);
            return Err(error);
        }
        let target = Box::new(Address::from(peer));
        let connect = opcode::Connect::new(file, target.as_ptr(), target.len).build();
        self.targets.push(target);
        let state = self.slots.get(slot);
        state.flags.set(Flags::CONNECTING);
        state.owed += 1;
        // SAFETY: the address lives in a box until the enter that submits this has returned (`drop_attempts`).
        unsafe { self.group.push(slot, &connect.user_data(tag(Operation::Connect, slot))) };
        Ok(Socket(slot))
    }

    fn send(&mut self, socket: Socket, payload: Payload) {
        let slot = socket.0;
        let file = self.group.file(slot);
        let state = self.slots.get(slot);
        debug_assert!(!state.flags.any(Flags::BLOCKED), "a send to a blocked socket");
        debug_assert!(!state.flags.any(Flags::SENDING), "a second send in one turn");
        debug_assert!(!state.flags.any(Flags::FIN_WANTED | Flags::CONNECTING), "a send out of time");
        if state.flags.any(Flags::FAILED | Flags::CLOSING) || payload.is_empty() {
            return;
        }
        state.flags.set(Flags::SENDING);
        state.link = self.attempts.len() as u32;
        // All or an answer: without WAITALL a short send would count as a success, which is not answered.
        let send = opcode::Send::new(file, payload.as_ptr(), payload.len() as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.attempts.push((slot, payload));
        // SAFETY: the payload's buffer is shared, thus unchanged, and kept in `attempts` until the enter that submits
        // this has returned. A send that must not wait completes while it is submitted.
        unsafe { self.group.push(slot, &send.user_data(tag(Operation::Attempt, slot))) }
    }

    fn pause(&mut self, socket: Socket) {
        self.slots.get(socket.0).flags.set(Flags::PAUSED);
    }

    fn resume(&mut self, socket: Socket) {
        let flags = &mut self.slots.get(socket.0).flags;
        flags.clear(Flags::PAUSED);
        self.ready.offer(socket.0, flags);
    }

    fn shutdown(&mut self, socket: Socket) {
        let flags = &mut self.slots.get(socket.0).flags;
        flags.set(Flags::FIN_WANTED);
        if !flags.any(Flags::SENDING | Flags::BLOCKED) {
            self.half_close(socket.0);
        }
    }

    fn close(&mut self, socket: Socket) {
        let flags = self.slots.get(socket.0).flags;
        debug_assert!(!flags.any(Flags::CLOSING), "closed twice");
        if !flags.any(Flags::CLOSING) {
            self.release(socket.0);
        }
    }

    fn wait(
        &mut self,
        arena: &mut Arena,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.group.check()?;
        let before = events.len();
        self.receives.begin(arena.len());
        events.append(&mut self.early);
        self.seat_accepts(events);
        let busy = !self.ready.is_empty() || !self.completions.is_empty() || events.len() > before;
        let mut patience = if busy { Patience::None } else { self.patience(timeout) };
        if patience != Patience::None && !self.waker.doze() {
            patience = Patience::None;
        }
        self.group.wait(patience);
        if self.waker.rouse() {
            events.push(Event::Woken);
        }
        self.handle_completions(events);
        self.drop_attempts();
        self.receive_ready(arena, events);
        self.group.check()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn sockets(&self) -> usize {
        self.slots.taken() - self.seats.in_flight()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if !self.group.end() {
            // The kernel may still write there.
            self.seats.abandon();
            std::mem::take(&mut self.rests).into_iter().for_each(|(_, rest)| std::mem::forget(rest));
        }
    }
}
