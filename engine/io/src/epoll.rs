//! The epoll back end: edge-triggered readiness, receives packed tightly into the arena, sends done at once.
//!
//! Invariants: no buffer belongs to an idle socket; a socket with data left is served again before the thread sleeps;
//! what a blocked send still holds is a copy of its own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::readiness::{Flags, ReadyQueue, Rest};
use crate::{
    Arena, Event, Io, Lack, Listener, Options, Payload, Socket, Waker, backlog, limits, listener, sys,
};

const INTEREST: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
const HUNG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const LISTENER_TAG: u64 = 1 << 32;
const WAKER_TAG: u64 = 1 << 33;

/// Sockets of one thread, by epoll.
pub struct Epoll {
    epoll: OwnedFd,
    waker: Waker,
    sockets_max: usize,
    slots: Slab<Slot>,
    rests: Slab<Rest>,
    ready: ReadyQueue,
    /// Events that happened outside of a wait.
    early: Vec<Event>,
    /// Closed by the owner; their slots are freed by the next wait.
    closing: Vec<u32>,
    /// By number; None once it is closed.
    listeners: Vec<Option<OwnedFd>>,
    accepting: Accepting,
    notices: Box<[libc::epoll_event]>,
}

/// What is kept of a socket.
struct Slot {
    /// None once it is closed, until its `Closed` is emitted.
    descriptor: Option<OwnedFd>,
    flags: Flags,
    /// Index of the rest of a blocked send; holds while `BLOCKED` does.
    rest: u32,
}

const _: () = assert!(size_of::<Slot>() <= 12);

/// ```text
///          table full                    slot freed
///   On ─────────────────> Full ───────────────────────> On
///    └── out of descriptors ──> Starved ── pause over or socket closed ──> On
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    On,
    Full,
    Starved { until: Instant },
}

impl Epoll {
    /// A back end for the calling thread.
    ///
    /// # Errors
    /// Out of descriptors, or the thread may not have a descriptor table of its own.
    pub fn new(options: &Options) -> io::Result<Self> {
        let waker = options.waker.clone().map_or_else(Waker::new, Ok)?;
        if options.own_descriptor_table {
            sys::unshare_descriptors()?;
        }
        let epoll = sys::epoll()?;
        let edges = libc::EPOLLIN | libc::EPOLLET;
        sys::epoll_control(epoll.as_fd(), libc::EPOLL_CTL_ADD, waker.descriptor(), edges, WAKER_TAG)?;
        Ok(Self {
            epoll,
            waker,
            sockets_max: options.sockets_max as usize,
            slots: Slab::with_capacity(options.sockets_max as usize),
            rests: Slab::new(),
            ready: ReadyQueue::default(),
            early: Vec::new(),
            closing: Vec::new(),
            listeners: Vec::new(),
            accepting: Accepting::On,
            notices: vec![libc::epoll_event { events: 0, u64: 0 }; limits::EPOLL_EVENTS].into_boxed_slice(),
        })
    }

    fn slot(&mut self, socket: Socket) -> &mut Slot {
        &mut self.slots[socket.0 as usize]
    }

    fn insert(&mut self, descriptor: OwnedFd, flags: u16) -> io::Result<Socket> {
        let entry = self.slots.vacant_entry();
        let index = entry.key() as u64;
        sys::epoll_control(self.epoll.as_fd(), libc::EPOLL_CTL_ADD, descriptor.as_fd(), INTEREST, index)?;
        let mut slot = Slot { descriptor: Some(descriptor), flags: Flags::default(), rest: 0 };
        slot.flags.set(flags);
        entry.insert(slot);
        Ok(Socket(index as u32))
    }

    /// Emits what happened since the last wait and frees the slots of closed sockets.
    fn settle(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.early);
        let freed = !self.closing.is_empty();
        for slot in self.closing.drain(..) {
            self.slots.remove(slot as usize);
            events.push(Event::Closed { socket: Socket(slot) });
        }
        let again = match self.accepting {
            Accepting::On => false,
            Accepting::Full => freed,
            Accepting::Starved { until } => freed || Instant::now() >= until,
        };
        if again {
            self.accept_when(Accepting::On);
        }
    }

    /// Listeners are level-triggered: while they cannot be served they are not watched, or the thread would spin.
    fn accept_when(&mut self, accepting: Accepting) {
        let interest = if accepting == Accepting::On { libc::EPOLLIN } else { 0 };
        for (index, listener) in self.listeners.iter().enumerate() {
            let Some(listener) = listener else { continue };
            // Changing the interest of a registered descriptor needs no memory and cannot fail.
            let tag = LISTENER_TAG | index as u64;
            let _ =
                sys::epoll_control(self.epoll.as_fd(), libc::EPOLL_CTL_MOD, listener.as_fd(), interest, tag);
        }
        self.accepting = accepting;
    }

    fn accept(&mut self, index: usize, events: &mut Vec<Event>) {
        if self.accepting != Accepting::On {
            return;
        }
        if self.slots.len() >= self.sockets_max {
            events.push(Event::AcceptFailed { lack: Lack::Slots });
            self.accept_when(Accepting::Full);
            return;
        }
        for _ in 0..limits::ACCEPTS_PER_TURN.min(self.sockets_max - self.slots.len()) {
            let Some(Some(listener)) = self.listeners.get(index) else { return };
            let accepted = sys::accept_nonblocking(listener.as_fd())
                .and_then(|(descriptor, peer)| Ok((self.insert(descriptor, 0)?, peer)));
            match accepted {
                Ok((socket, peer)) => events.push(Event::Accepted { socket, peer, listener: index as u16 }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if sys::is_shortage(&error) => {
                    events.push(Event::AcceptFailed { lack: Lack::of(&error) });
                    self.accept_when(Accepting::Starved { until: Instant::now() + limits::ACCEPT_PAUSE });
                    return;
                }
                // accept(2): errors of the connection that was about to be accepted; there may be others.
                Err(_) => {}
            }
        }
    }

    /// Handles one edge of a socket.
    fn notice(&mut self, index: u32, bits: u32, events: &mut Vec<Event>) {
        let socket = Socket(index);
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        if slot.flags.any(Flags::CONNECTING) {
            if bits & (libc::EPOLLOUT as u32 | HUNG_UP) == 0 {
                return;
            }
            let Some(descriptor) = &slot.descriptor else { return };
            match sys::take_error(descriptor.as_fd()) {
                0 => {
                    slot.flags.clear(Flags::CONNECTING);
                    events.push(Event::Connected { socket });
                }
                errno => return self.fail(socket, errno, events),
            }
        }
        let slot = &mut self.slots[index as usize];
        if slot.flags.any(Flags::BLOCKED) && bits & (libc::EPOLLOUT as u32 | HUNG_UP) != 0 {
            self.send_rest(socket, events);
        }
        let slot = &mut self.slots[index as usize];
        if bits & (libc::EPOLLIN as u32 | HUNG_UP) != 0 {
            if bits & HUNG_UP != 0 {
                slot.flags.set(Flags::END_SEEN);
            }
            if slot.flags.any(Flags::ENDED) && bits & libc::EPOLLERR as u32 != 0 {
                return self.fail(socket, libc::ECONNRESET, events);
            }
            slot.flags.set(Flags::READABLE);
            self.ready.offer(index, &mut slot.flags);
        }
    }

    fn send_rest(&mut self, socket: Socket, events: &mut Vec<Event>) {
        let slot = &mut self.slots[socket.0 as usize];
        let (Some(descriptor), Some(rest)) = (&slot.descriptor, self.rests.get_mut(slot.rest as usize))
        else {
            return;
        };
        while !rest.is_done() {
            match sys::send(descriptor.as_fd(), rest.unsent()) {
                Ok(sent) => rest.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.fail(socket, errno_of(&error), events),
            }
        }
        self.rests.remove(slot.rest as usize);
        slot.flags.clear(Flags::BLOCKED);
        events.push(Event::Drained { socket });
        if slot.flags.any(Flags::FIN_WANTED) {
            half_close(slot);
        }
    }

    /// Receives once from each ready socket while there is room; the others keep their place.
    fn receive(&mut self, arena: &mut Arena, events: &mut Vec<Event>) {
        let room_min = limits::RECEIVE_ROOM_MIN.min(arena.len());
        let mut start = 0;
        for _ in 0..self.ready.len() {
            if arena.len().saturating_sub(start) < room_min {
                return;
            }
            let Some(index) = self.ready.front() else { return };
            let Some(slot) = self.slots.get_mut(index as usize) else {
                self.ready.skip();
                continue;
            };
            let due = ReadyQueue::is_due(slot.flags);
            self.ready.take(&mut slot.flags);
            if !due {
                continue;
            }
            let Some(descriptor) = &slot.descriptor else { continue };
            let socket = Socket(index);
            let room = start..arena.len().min(start + limits::RECEIVE_BYTES_MAX);
            let asked = room.len();
            match sys::receive(descriptor.as_fd(), arena.room(room)) {
                Ok(0) => {
                    slot.flags.set(Flags::ENDED);
                    slot.flags.clear(Flags::READABLE);
                    events.push(Event::PeerClosed { socket });
                }
                Ok(len) => {
                    events.push(Event::Received { socket, start: start as u32, len: len as u32 });
                    start += len.next_multiple_of(limits::RECEIVE_ALIGN);
                    // Less than asked for is all that was there: what comes later is a new edge. An end that was
                    // already announced gets none.
                    if len < asked && !slot.flags.any(Flags::END_SEEN) {
                        slot.flags.clear(Flags::READABLE);
                    }
                    self.ready.offer(index, &mut slot.flags);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => slot.flags.clear(Flags::READABLE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.ready.offer(index, &mut slot.flags);
                }
                Err(error) => self.fail(socket, errno_of(&error), events),
            }
        }
    }

    fn fail(&mut self, socket: Socket, errno: i32, events: &mut Vec<Event>) {
        let slot = &mut self.slots[socket.0 as usize];
        if slot.flags.any(Flags::BLOCKED) {
            self.rests.remove(slot.rest as usize);
            slot.flags.clear(Flags::BLOCKED);
        }
        if !slot.flags.any(Flags::FAILED | Flags::CLOSING) {
            slot.flags.set(Flags::FAILED);
            events.push(Event::Failed { socket, errno });
        }
    }

    /// How long this wait may sleep.
    fn patience(&self, timeout: Option<Duration>, idle: bool) -> Option<Duration> {
        if !idle || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        match self.accepting {
            Accepting::Starved { until } => {
                let pause = until.saturating_duration_since(Instant::now());
                Some(timeout.map_or(pause, |timeout| timeout.min(pause)))
            }
            _ => timeout,
        }
    }
}

impl Io for Epoll {
    fn listen(&mut self, listener: Listener) -> io::Result<()> {
        if self.listeners.len() >= limits::LISTENERS_MAX {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let descriptor = listener.into_descriptor();
        let tag = LISTENER_TAG | self.listeners.len() as u64;
        let interest = if self.accepting == Accepting::On { libc::EPOLLIN } else { 0 };
        sys::epoll_control(self.epoll.as_fd(), libc::EPOLL_CTL_ADD, descriptor.as_fd(), interest, tag)?;
        self.listeners.push(Some(descriptor));
        Ok(())
    }

    fn listeners(&self) -> u16 {
        self.listeners.len() as u16
    }

    fn stop_listening(&mut self, listener: u16) {
        let Some(descriptor) = self.listeners.get_mut(usize::from(listener)).and_then(Option::take) else {
            return;
        };
        let closed = backlog::close(descriptor, sys::accept_nonblocking, |accepted, peer| {
            if self.slots.len() >= self.sockets_max {
                return Err(Lack::Slots);
            }
            let socket = self.insert(accepted, 0).map_err(|error| Lack::of(&error))?;
            self.early.push(Event::Accepted { socket, peer, listener });
            Ok(())
        });
        if let Err(lack) = closed {
            self.early.push(Event::AcceptFailed { lack });
        }
    }

    fn connect(&mut self, source: Option<SocketAddr>, peer: SocketAddr) -> io::Result<Socket> {
        if self.slots.len() >= self.sockets_max {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        let descriptor = listener::client_socket(source, peer, true)?;
        let started = sys::connect(descriptor.as_fd(), &peer.into());
        // Registered after the attempt: a socket that never tried to connect counts as hung up.
        let socket = self.insert(descriptor, Flags::CONNECTING)?;
        if let Err(error) = started
            && error.raw_os_error() != Some(libc::EINPROGRESS)
        {
            let mut early = std::mem::take(&mut self.early);
            self.fail(socket, errno_of(&error), &mut early);
            self.early = early;
        }
        Ok(socket)
    }

    fn send(&mut self, socket: Socket, payload: Payload) {
        let slot = &mut self.slots[socket.0 as usize];
        debug_assert!(!slot.flags.any(Flags::BLOCKED), "a send to a blocked socket");
        debug_assert!(!slot.flags.any(Flags::FIN_WANTED | Flags::CONNECTING), "a send out of time");
        let Some(descriptor) = &slot.descriptor else { return };
        if slot.flags.any(Flags::FAILED) || payload.is_empty() {
            return;
        }
        let sent = loop {
            match sys::send(descriptor.as_fd(), &payload) {
                Ok(sent) => break sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(error) => {
                    let mut early = std::mem::take(&mut self.early);
                    self.fail(socket, errno_of(&error), &mut early);
                    self.early = early;
                    return;
                }
            }
        };
        if sent < payload.len() {
            // The kernel noted that the socket wants room, so an edge will come.
            let rest = (payload.len() - sent) as u32;
            slot.rest = self.rests.insert(Rest::new(&payload[sent..])) as u32;
            slot.flags.set(Flags::BLOCKED);
            self.early.push(Event::Blocked { socket, rest });
        }
    }

    fn pause(&mut self, socket: Socket) {
        self.slot(socket).flags.set(Flags::PAUSED);
    }

    fn resume(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0 as usize];
        slot.flags.clear(Flags::PAUSED);
        self.ready.offer(socket.0, &mut slot.flags);
    }

    fn shutdown(&mut self, socket: Socket) {
        let slot = self.slot(socket);
        slot.flags.set(Flags::FIN_WANTED);
        if !slot.flags.any(Flags::BLOCKED) {
            half_close(slot);
        }
    }

    fn close(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0 as usize];
        debug_assert!(!slot.flags.any(Flags::CLOSING), "closed twice");
        if slot.flags.any(Flags::CLOSING) {
            return;
        }
        if slot.flags.any(Flags::BLOCKED) {
            self.rests.remove(slot.rest as usize);
        }
        slot.flags.clear(Flags::BLOCKED | Flags::READABLE);
        slot.flags.set(Flags::CLOSING);
        slot.descriptor = None;
        self.closing.push(socket.0);
    }

    fn wait(
        &mut self,
        arena: &mut Arena,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let before = events.len();
        self.settle(events);
        let mut patience = self.patience(timeout, events.len() == before);
        if patience != Some(Duration::ZERO) && !self.waker.doze() {
            patience = Some(Duration::ZERO);
        }
        let waited = sys::epoll_wait(self.epoll.as_fd(), &mut self.notices, patience);
        if self.waker.rouse() {
            events.push(Event::Woken);
        }
        for at in 0..waited? {
            let (tag, bits) = (self.notices[at].u64, self.notices[at].events);
            match tag {
                WAKER_TAG => {}
                LISTENER_TAG.. => self.accept((tag - LISTENER_TAG) as usize, events),
                _ => self.notice(tag as u32, bits, events),
            }
        }
        self.receive(arena, events);
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn sockets(&self) -> usize {
        self.slots.len()
    }
}

fn half_close(slot: &Slot) {
    if let Some(descriptor) = &slot.descriptor {
        // It fails only where the connection is already gone, which a receive reports.
        let _ = sys::shutdown(descriptor.as_fd());
    }
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
