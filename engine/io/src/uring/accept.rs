//! Accepts in flight: each has a seat, that is a slot reserved for its socket and room for its peer's address.
//!
//! Invariants: the kernel writes into a seat only while its accept is in flight, and a seat neither moves nor dies then;
//! accepts in flight never exceed free slots, so that no connection is accepted into a full table and lost.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::types::DestinationSlot;
use io_uring::{opcode, squeue, types};

use super::Uring;
use super::tag::{Operation, tag, untag};
use crate::sys::Address;
use crate::{Event, Lack, Socket, backlog, limits, sys};

/// All seats, and the listeners that they are at.
pub(super) struct Seats {
    /// Boxed: the kernel holds pointers into them.
    #[allow(clippy::vec_box)]
    seats: Vec<Box<Seat>>,
    vacant: Vec<u32>,
    listeners: Vec<Listening>,
    accepting: Accepting,
    /// Accepts wait before they try: an attempt makes a socket first, and with nobody there throws it away.
    waits_first: bool,
}

struct Seat {
    peer: Address,
    slot: u32,
    listener: u16,
    taken: bool,
}

struct Listening {
    /// None once it is closed.
    descriptor: Option<OwnedFd>,
    in_flight: usize,
    watch: Watch,
}

impl Listening {
    /// Whether the kernel owes no completion for it.
    fn is_quiet(&self) -> bool {
        self.in_flight == 0 && self.watch != Watch::Armed
    }
}

/// Whether a poll tells when a connection comes that no slot is free for.
///
/// ```text
///   None ── full, no accept in flight ──> Armed ── somebody waits ──> Told ── slot freed ──> None
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    None,
    Armed,
    Told,
}

/// ```text
///          no slot left                slot freed
///   On ──────────────────> Full ──────────────────> On
///    └── out of files, memory, or room for another ring ──> Starved ── pause over or socket closed ──> On
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    On,
    Full,
    Starved { until: Instant },
}

impl Seats {
    pub(super) fn new(waits_first: bool) -> Self {
        Self {
            seats: Vec::new(),
            vacant: Vec::new(),
            listeners: Vec::new(),
            accepting: Accepting::On,
            waits_first,
        }
    }

    /// Listens on `descriptor` from the next wait on.
    pub(super) fn listen(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        if self.listeners.len() >= limits::LISTENERS_MAX {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        // An accept on a non-blocking listener would end at once instead of waiting for a connection.
        sys::set_blocking(descriptor.as_fd(), true)?;
        self.listeners.push(Listening { descriptor: Some(descriptor), in_flight: 0, watch: Watch::None });
        Ok(())
    }

    /// Listeners that there were, closed ones included.
    pub(super) fn listeners(&self) -> u16 {
        self.listeners.len() as u16
    }

    /// A slot was freed.
    pub(super) fn slot_freed(&mut self) {
        self.accepting = Accepting::On;
        for listening in self.listeners.iter_mut().filter(|listening| listening.watch == Watch::Told) {
            listening.watch = Watch::None;
        }
    }

    /// The kernel lacks something: accepting pauses.
    fn starve(&mut self) {
        self.accepting = Accepting::Starved { until: Instant::now() + limits::ACCEPT_PAUSE };
    }

    /// How long a wait may last at most because of a pause of accepting.
    pub(super) fn pause(&self) -> Option<Duration> {
        match self.accepting {
            Accepting::Starved { until } => Some(until.saturating_duration_since(Instant::now())),
            _ => None,
        }
    }

    /// Slots that are reserved, not in use.
    pub(super) fn in_flight(&self) -> usize {
        self.listeners.iter().map(|listening| listening.in_flight).sum()
    }

    /// The listener with the fewest accepts in flight, if it should have more.
    fn neediest(&self) -> Option<usize> {
        let open = self.listeners.iter().enumerate().filter(|(_, listening)| listening.descriptor.is_some());
        let (index, listening) = open.min_by_key(|(_, listening)| listening.in_flight)?;
        (listening.in_flight < limits::ACCEPTS_IN_FLIGHT).then_some(index)
    }

    /// Takes a seat and gives the operation that is to be submitted for it.
    fn sit(&mut self, listener: usize, slot: u32, file: types::Fixed) -> Option<squeue::Entry> {
        let descriptor = types::Fd(self.listeners[listener].descriptor.as_ref()?.as_raw_fd());
        let target = DestinationSlot::try_from_slot_target(file.0).ok()?;
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.seats.push(Box::new(Seat { peer: Address::empty(), slot: 0, listener: 0, taken: false }));
            self.seats.len() as u32 - 1
        });
        self.listeners[listener].in_flight += 1;
        let seat = &mut self.seats[number as usize];
        **seat = Seat { peer: Address::empty(), slot, listener: listener as u16, taken: true };
        let (address, len) = (seat.peer.as_mut_ptr(), &raw mut seat.peer.len);
        let accept = opcode::Accept::new(descriptor, address, len).file_index(Some(target));
        let mut accept = accept.build().user_data(tag(Operation::Accept, number));
        if self.waits_first {
            poll_first(&mut accept);
        }
        Some(accept)
    }

    /// Gives a seat back; what it was for.
    fn rise(&mut self, number: u32) -> (u32, u16, Option<std::net::SocketAddr>) {
        let seat = &mut self.seats[number as usize];
        seat.taken = false;
        let was = (seat.slot, seat.listener, seat.peer.decode());
        self.vacant.push(number);
        self.listeners[usize::from(was.1)].in_flight -= 1;
        was
    }

    /// Leaves the seats to the kernel for good.
    pub(super) fn abandon(&mut self) {
        for seat in self.seats.drain(..) {
            Box::leak(seat);
        }
    }
}

/// Sets a flag of accepts that the library has no name for.
fn poll_first(accept: &mut squeue::Entry) {
    /// `linux/io_uring.h`: in `ioprio`, which are the third and fourth byte of `struct io_uring_sqe`.
    const IORING_ACCEPT_POLL_FIRST: u16 = 1 << 2;
    // SAFETY: an entry is `struct io_uring_sqe`, `repr(C)` and aligned to 8.
    unsafe { (&raw mut *accept).cast::<u16>().add(1).write(IORING_ACCEPT_POLL_FIRST) };
}

impl Uring {
    /// Keeps enough accepts in flight at every listener.
    pub(super) fn seat_accepts(&mut self, events: &mut Vec<Event>) {
        match self.seats.accepting {
            Accepting::On => {}
            Accepting::Full => return self.watch_listeners(),
            Accepting::Starved { until } if Instant::now() < until => return,
            Accepting::Starved { .. } => self.seats.accepting = Accepting::On,
        }
        while let Some(listener) = self.seats.neediest() {
            let slot = match self.take_slot() {
                Ok(slot) => slot,
                Err(Lack::Slots) => {
                    self.seats.accepting = Accepting::Full;
                    return self.watch_listeners();
                }
                Err(lack) => {
                    events.push(Event::AcceptFailed { lack });
                    return self.seats.starve();
                }
            };
            match self.seats.sit(listener, slot, self.group.file(slot)) {
                // SAFETY: the seat that the entry points to stays where it is until its completion (see the top).
                Some(accept) => unsafe { self.group.push(slot, &accept) },
                None => return self.slots.free(slot),
            }
        }
    }

    /// With no accept in flight, a poll tells that somebody is turned away.
    fn watch_listeners(&mut self) {
        for (number, listening) in self.seats.listeners.iter_mut().enumerate() {
            let Some(descriptor) = &listening.descriptor else { continue };
            if listening.in_flight > 0 || listening.watch != Watch::None {
                continue;
            }
            listening.watch = Watch::Armed;
            let poll = opcode::PollAdd::new(types::Fd(descriptor.as_raw_fd()), libc::POLLIN as u32).build();
            // SAFETY: points to nothing.
            unsafe { self.group.push_first(&poll.user_data(tag(Operation::Listener, number as u32))) }
        }
    }

    pub(super) fn connection_waits(&mut self, number: u32, result: i32, events: &mut Vec<Event>) {
        let told = result > 0 && self.seats.accepting == Accepting::Full;
        self.seats.listeners[number as usize].watch = if told { Watch::Told } else { Watch::None };
        if told {
            events.push(Event::AcceptFailed { lack: Lack::Slots });
        }
    }

    pub(super) fn accepted(&mut self, number: u32, result: i32, events: &mut Vec<Event>) {
        let (slot, listener, peer) = self.seats.rise(number);
        if result >= 0 {
            let socket = Socket(slot);
            match peer {
                Some(peer) => {
                    events.push(Event::Accepted { socket, peer, listener });
                    self.arm(slot);
                }
                // Of no family that anybody could have bound.
                None => self.release(slot),
            }
            return;
        }
        self.slots.free(slot);
        match -result {
            // Listening was stopped, or the connection was gone before it was accepted: there may be others.
            libc::ECANCELED | libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EAGAIN => {
                self.seats.slot_freed();
            }
            errno => {
                let lack = Lack::of(&io::Error::from_raw_os_error(errno));
                events.push(Event::AcceptFailed { lack });
                self.seats.starve();
            }
        }
    }

    /// Closes a listener, after its accepts were cancelled and its backlog was taken.
    pub(super) fn stop_accepting(&mut self, listener: u16) {
        let number = usize::from(listener);
        let Some(listening) = self.seats.listeners.get_mut(number) else { return };
        // Without a descriptor there are no further accepts, whatever becomes of slots meanwhile.
        let Some(descriptor) = listening.descriptor.take() else { return };
        self.cancel_accepts(listener);
        // A cancelled accept gives its slot back and lets go of the listener when it completes. One that was quicker
        // has a connection.
        for _ in 0..limits::CANCEL_ENTERS {
            self.handle_accepts();
            if self.seats.listeners[number].is_quiet() || !self.group.work_off() {
                break;
            }
        }
        self.take_backlog(listener, descriptor);
    }

    fn cancel_accepts(&mut self, listener: u16) {
        let seats = self.seats.seats.iter().enumerate();
        for (number, seat) in seats.filter(|(_, seat)| seat.taken && seat.listener == listener) {
            let cancel = opcode::AsyncCancel::new(tag(Operation::Accept, number as u32)).build();
            let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag(Operation::Silent, 0));
            // SAFETY: points to nothing.
            unsafe { self.group.push(seat.slot, &cancel) };
        }
        if self.seats.listeners[usize::from(listener)].watch == Watch::Armed {
            let cancel = opcode::AsyncCancel::new(tag(Operation::Listener, u32::from(listener))).build();
            let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag(Operation::Silent, 0));
            // SAFETY: points to nothing.
            unsafe { self.group.push_first(&cancel) };
        }
        self.group.submit();
    }

    /// Handles completions that are about listeners; the others keep their order and wait for the next wait.
    fn handle_accepts(&mut self) {
        let (mut completions, mut early) =
            (std::mem::take(&mut self.completions), std::mem::take(&mut self.early));
        self.group.reap(&mut completions);
        completions.retain(|completion| match untag(completion.tag) {
            (Operation::Accept, seat) => {
                self.accepted(seat, completion.result, &mut early);
                false
            }
            (Operation::Listener, number) => {
                self.connection_waits(number, completion.result, &mut early);
                false
            }
            _ => true,
        });
        (self.completions, self.early) = (completions, early);
    }

    fn take_backlog(&mut self, listener: u16, descriptor: OwnedFd) {
        let mut early = std::mem::take(&mut self.early);
        let unblocked = sys::set_blocking(descriptor.as_fd(), false);
        let closed = unblocked.map_err(|error| Lack::of(&error)).and_then(|()| {
            backlog::close(descriptor, sys::accept_blocking, |accepted, peer| {
                let slot = self.take_slot()?;
                let file = self.group.file(slot);
                if let Err(error) = self.group.ring(slot).install(file.0, accepted.as_fd()) {
                    self.slots.free(slot);
                    return Err(Lack::of(&error));
                }
                early.push(Event::Accepted { socket: Socket(slot), peer, listener });
                self.arm(slot);
                Ok(())
            })
        });
        if let Err(lack) = closed {
            early.push(Event::AcceptFailed { lack });
        }
        self.early = early;
    }
}
