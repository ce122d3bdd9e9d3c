//! What each completion means: it changes its socket's slot and becomes at most a few events.
//!
//! Invariant: a socket's slot is freed exactly when it is closing and the kernel owes nothing more for it.

#![allow(unsafe_code)]

use io_uring::{cqueue, opcode, squeue};

use super::Uring;
use super::ring::Completion;
use super::tag::{Operation, tag, untag};
use crate::readiness::{Flags, Rest};
use crate::{Event, Socket};

const POLL_MASK: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;
const HUNG_UP: i32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as i32;

impl Uring {
    /// Handles all completions that there are.
    pub(super) fn handle_completions(&mut self, events: &mut Vec<Event>) {
        let mut completions = std::mem::take(&mut self.completions);
        self.group.reap(&mut completions);
        for completion in completions.drain(..) {
            self.handle(completion, events);
        }
        self.completions = completions;
    }

    fn handle(&mut self, completion: Completion, events: &mut Vec<Event>) {
        let Completion { tag, result, flags } = completion;
        match untag(tag) {
            (Operation::Poll, slot) => self.polled(slot, result, cqueue::more(flags), events),
            (Operation::Receive, slice) => self.received(slice, result, cqueue::sock_nonempty(flags), events),
            (Operation::Attempt, slot) => self.attempted(slot, result, events),
            (Operation::Rest, slot) => self.rest_sent(slot, result, events),
            (Operation::CancelRest, slot) => self.rest_not_cancelled(slot),
            (Operation::Connect, slot) => self.connected(slot, result, events),
            (Operation::Close, slot) => self.settle(slot, events),
            (Operation::Accept, seat) => self.accepted(seat, result, events),
            (Operation::Listener, number) => self.connection_waits(number, result, events),
            (Operation::Waker, _) => self.waker_polled(cqueue::more(flags)),
            (Operation::Bell, _) => self.group.bell_rang(),
            (Operation::Silent, _) => {}
        }
    }

    /// Arms the poll that an idle socket has instead of a buffer. It reports edges, as long as it lives.
    pub(super) fn arm(&mut self, slot: u32) {
        let poll = opcode::PollAdd::new(self.group.file(slot), POLL_MASK).multi(true).build();
        let state = self.slots.get(slot);
        state.flags.set(Flags::ARMED);
        state.owed += 1;
        // SAFETY: points to nothing.
        unsafe { self.group.push(slot, &poll.user_data(tag(Operation::Poll, slot))) }
    }

    fn polled(&mut self, slot: u32, result: i32, more: bool, events: &mut Vec<Event>) {
        let state = self.slots.get(slot);
        if !more {
            state.flags.clear(Flags::ARMED);
            if state.flags.any(Flags::CLOSING) {
                return self.settle(slot, events);
            }
            state.owed -= 1;
        }
        if state.flags.any(Flags::CLOSING) {
            return;
        }
        if result < 0 {
            return self.fail(slot, -result, events);
        }
        if result & HUNG_UP != 0 {
            state.flags.set(Flags::END_SEEN);
        }
        if state.flags.any(Flags::ENDED) && result & i32::from(libc::POLLERR) != 0 {
            return self.fail(slot, libc::ECONNRESET, events);
        }
        state.flags.set(Flags::READABLE);
        self.ready.offer(slot, &mut state.flags);
        if !more && !state.flags.any(Flags::FAILED) {
            self.arm(slot);
        }
    }

    /// A first attempt answers only if it did not send all.
    fn attempted(&mut self, slot: u32, result: i32, events: &mut Vec<Event>) {
        let state = self.slots.get(slot);
        if !state.flags.any(Flags::SENDING) {
            return;
        }
        if result < 0 && result != -libc::EAGAIN {
            return self.fail(slot, -result, events);
        }
        let (_, payload) = &self.attempts[state.link as usize];
        let sent = result.max(0) as usize;
        if sent >= payload.len() {
            return;
        }
        state.flags.clear(Flags::SENDING);
        if state.flags.any(Flags::CLOSING | Flags::FAILED) {
            return;
        }
        events.push(Event::Blocked { socket: Socket(slot), rest: (payload.len() - sent) as u32 });
        state.link = self.rests.insert(Rest::new(&payload[sent..])) as u32;
        state.flags.set(Flags::BLOCKED);
        self.send_rest(slot);
    }

    /// Lets the kernel send the rest as room comes up; it answers once, when all is sent or nothing more can be.
    fn send_rest(&mut self, slot: u32) {
        let file = self.group.file(slot);
        let state = self.slots.get(slot);
        let Some(rest) = self.rests.get(state.link as usize) else { return };
        state.owed += 1;
        let unsent = rest.unsent();
        let send = opcode::Send::new(file, unsent.as_ptr(), unsent.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        // SAFETY: the rest is neither changed nor dropped before this completion is seen (see `rest_sent`).
        unsafe { self.group.push(slot, &send.user_data(tag(Operation::Rest, slot))) }
    }

    fn rest_sent(&mut self, slot: u32, result: i32, events: &mut Vec<Event>) {
        let state = self.slots.get(slot);
        let at = state.link as usize;
        if state.flags.any(Flags::CLOSING | Flags::FAILED) || result < 0 {
            state.flags.clear(Flags::BLOCKED);
            self.rests.remove(at);
            if state.flags.any(Flags::CLOSING) {
                return self.settle(slot, events);
            }
            state.owed -= 1;
            return self.fail(slot, -result, events);
        }
        state.owed -= 1;
        let Some(rest) = self.rests.get_mut(at) else { return };
        rest.advance(result as usize);
        if !rest.is_done() {
            return self.send_rest(slot);
        }
        self.rests.remove(at);
        state.flags.clear(Flags::BLOCKED);
        events.push(Event::Drained { socket: Socket(slot) });
        if state.flags.any(Flags::FIN_WANTED) {
            self.half_close(slot);
        }
    }

    /// The cancellation of a closed socket's send came while the kernel was just at it; if it goes on it is cancelled
    /// again.
    fn rest_not_cancelled(&mut self, slot: u32) {
        if self.slots.get(slot).flags.any(Flags::BLOCKED) {
            self.cancel(slot, Operation::Rest, Operation::CancelRest);
        }
    }

    fn connected(&mut self, slot: u32, result: i32, events: &mut Vec<Event>) {
        let state = self.slots.get(slot);
        state.flags.clear(Flags::CONNECTING);
        if state.flags.any(Flags::CLOSING) {
            return self.settle(slot, events);
        }
        state.owed -= 1;
        if result < 0 {
            return self.fail(slot, -result, events);
        }
        events.push(Event::Connected { socket: Socket(slot) });
        self.arm(slot);
    }

    pub(super) fn fail(&mut self, slot: u32, errno: i32, events: &mut Vec<Event>) {
        let flags = &mut self.slots.get(slot).flags;
        if !flags.any(Flags::FAILED | Flags::CLOSING) {
            flags.set(Flags::FAILED);
            events.push(Event::Failed { socket: Socket(slot), errno });
        }
    }

    /// One thing less is owed to a closing socket; after the last its slot is free.
    fn settle(&mut self, slot: u32, events: &mut Vec<Event>) {
        let state = self.slots.get(slot);
        state.owed -= 1;
        if state.owed > 0 {
            return;
        }
        self.slots.free(slot);
        self.seats.slot_freed();
        events.push(Event::Closed { socket: Socket(slot) });
    }

    /// Cancels `operation` of a slot; only a failure to do so is answered, as `answer`.
    pub(super) fn cancel(&mut self, slot: u32, operation: Operation, answer: Operation) {
        let cancel = opcode::AsyncCancel::new(tag(operation, slot)).build();
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag(answer, slot));
        // SAFETY: points to nothing.
        unsafe { self.group.push(slot, &cancel) }
    }

    pub(super) fn half_close(&mut self, slot: u32) {
        let shutdown = opcode::Shutdown::new(self.group.file(slot), libc::SHUT_WR).build();
        let shutdown = shutdown.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag(Operation::Silent, slot));
        // SAFETY: points to nothing.
        unsafe { self.group.push(slot, &shutdown) }
    }
}
