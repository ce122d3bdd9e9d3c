//! The third back end of `roadstead-io`: sockets of the simulated network behind the real trait.
//!
//! Invariants: never sleeps, whatever the timeout; the order of sockets within a turn is drawn anew each
//! time; an owner that breaks the contract of [`Io`] panics here, also in release builds: a second send in a
//! turn, a send to a blocked, finished or closed socket, a socket number that is not in use.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roadstead_io::{Arena, Event, Io, Lack, Listener, Payload, Socket, Waker};

use crate::network::{EndId, Network, Status};

/// Sockets of one shard in the simulated world. Made by [`crate::World::back_end`].
#[derive(Debug)]
pub struct SimIo {
    network: Rc<RefCell<Network>>,
    slots: Vec<Option<Slot>>,
    slots_free: BTreeSet<u32>,
    /// By number of the listener; None once it is closed.
    backlogs: Vec<Option<usize>>,
    /// Events of the time between two waits.
    pending: Vec<Event>,
    waker: Waker,
    woken: Arc<AtomicBool>,
    last: Waited,
    /// Where outgoing connections come from that were given no source.
    host: IpAddr,
}

/// What an owner's last wait asked for and got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waited {
    /// How long it would have slept had nothing happened; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Whether something happened.
    pub has_events: bool,
}

#[derive(Debug)]
struct Slot {
    end: EndId,
    stage: Stage,
    paused: bool,
    sent_in_turn: bool,
    finished: bool,
    end_seen: bool,
    /// What the socket's buffer has not taken yet.
    rest: Rest,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Connecting,
    Open,
    /// `Failed` was reported; only a close may follow.
    Failed,
    Closing,
}

#[derive(Debug)]
enum Rest {
    None,
    /// Queued by `send`, not tried yet.
    Late(Payload),
    /// These bytes are blocked from `from` on. They are a copy, as real back ends make one.
    Blocked {
        bytes: Box<[u8]>,
        from: usize,
    },
}

impl SimIo {
    pub(crate) fn new(network: Rc<RefCell<Network>>, host: IpAddr, slots_max: u32) -> Self {
        Self {
            network,
            slots: (0..slots_max).map(|_| None).collect(),
            slots_free: (0..slots_max).collect(),
            backlogs: Vec::new(),
            pending: Vec::new(),
            waker: Waker::new().expect("a descriptor for the waker"),
            woken: Arc::default(),
            last: Waited::default(),
            host,
        }
    }

    /// [`Io::listen`] without a real listener: accepts connections to `address`, shared with other back ends
    /// that do the same. Returns the listener's number.
    pub fn listen_at(&mut self, address: SocketAddr) -> u16 {
        self.backlogs.push(Some(self.network.borrow_mut().listen(address)));
        (self.backlogs.len() - 1) as u16
    }

    /// What [`Io::waker`] is for real back ends: ends the owner's present or next wait.
    #[must_use]
    pub fn wake(&self) -> Arc<dyn Fn() + Send + Sync> {
        let woken = Arc::clone(&self.woken);
        Arc::new(move || woken.store(true, Ordering::Release))
    }

    /// The last wait: with it, a test knows whether a real thread would still sleep in it.
    #[must_use]
    pub fn waited(&self) -> Waited {
        self.last
    }

    fn occupy(&mut self, end: EndId, stage: Stage) -> Option<Socket> {
        let number = self.slots_free.pop_first()?;
        self.slots[number as usize] = Some(Slot {
            end,
            stage,
            paused: false,
            sent_in_turn: false,
            finished: false,
            end_seen: false,
            rest: Rest::None,
        });
        Some(Socket(number))
    }

    fn slot(&mut self, socket: Socket) -> &mut Slot {
        self.slots[socket.0 as usize].as_mut().expect("the socket is in use")
    }

    fn accept(&mut self, events: &mut Vec<Event>) {
        for listener in 0..self.listeners() {
            self.accept_at(listener, events);
        }
    }

    fn accept_at(&mut self, listener: u16, events: &mut Vec<Event>) {
        let Some(backlog) = self.backlogs[usize::from(listener)] else { return };
        while !self.slots_free.is_empty() {
            let accepted = self.network.borrow_mut().accept(backlog);
            let Some((end, peer)) = accepted else { break };
            if let Some(socket) = self.occupy(end, Stage::Open) {
                events.push(Event::Accepted { socket, peer, listener });
            }
        }
    }

    /// One socket's part of a wait.
    fn turn(&mut self, socket: Socket, arena: &mut Arena, filled: &mut usize, events: &mut Vec<Event>) {
        let Some(slot) = &mut self.slots[socket.0 as usize] else { return };
        let network = &mut *self.network.borrow_mut();
        slot.sent_in_turn = false;
        match slot.stage {
            Stage::Failed => {}
            Stage::Closing => {
                network.close(slot.end);
                self.slots[socket.0 as usize] = None;
                self.slots_free.insert(socket.0);
                events.push(Event::Closed { socket });
            }
            Stage::Connecting => match network.status(slot.end) {
                Status::Connecting => {}
                Status::Refused => slot.fail(socket, libc::ECONNREFUSED, events),
                Status::TimedOut => slot.fail(socket, libc::ETIMEDOUT, events),
                Status::Reset | Status::Gone => slot.fail(socket, libc::ECONNRESET, events),
                Status::Open => {
                    slot.stage = Stage::Open;
                    events.push(Event::Connected { socket });
                }
            },
            Stage::Open => slot.flow(socket, network, arena, filled, events),
        }
    }
}

impl Slot {
    fn fail(&mut self, socket: Socket, errno: i32, events: &mut Vec<Event>) {
        self.stage = Stage::Failed;
        self.rest = Rest::None;
        events.push(Event::Failed { socket, errno });
    }

    fn flow(
        &mut self,
        socket: Socket,
        network: &mut Network,
        arena: &mut Arena,
        filled: &mut usize,
        events: &mut Vec<Event>,
    ) {
        let status = network.status(self.end);
        if status == Status::TimedOut {
            self.fail(socket, libc::ETIMEDOUT, events);
            return;
        }
        let is_reset = status == Status::Reset;
        let is_hasty = is_reset && network.random.chance(network.conditions.hasty_resets);
        if is_hasty || (is_reset && network.readable(self.end) == 0) {
            self.fail(socket, libc::ECONNRESET, events);
            return;
        }
        self.drain(socket, network, events);
        if self.paused {
            return;
        }
        let room = (arena.len() - *filled).min(network.readable(self.end));
        if room > 0 {
            let len = room.min(network.random.within(network.conditions.receive_bytes.clone()));
            let read = network.read(self.end, arena.room(*filled..*filled + len));
            events.push(Event::Received { socket, start: *filled as u32, len: read as u32 });
            *filled += read;
        }
        if network.is_at_end(self.end) && !self.end_seen {
            self.end_seen = true;
            events.push(Event::PeerClosed { socket });
        }
    }

    /// Goes on with what was not sent yet.
    fn drain(&mut self, socket: Socket, network: &mut Network, events: &mut Vec<Event>) {
        match std::mem::replace(&mut self.rest, Rest::None) {
            Rest::None => {}
            Rest::Late(payload) => self.write(socket, network, payload, events),
            Rest::Blocked { bytes, from } => {
                let from = from + network.write(self.end, &bytes[from..]);
                if from < bytes.len() {
                    self.rest = Rest::Blocked { bytes, from };
                } else {
                    events.push(Event::Drained { socket });
                }
            }
        }
        if self.finished && matches!(self.rest, Rest::None) {
            network.finish(self.end);
        }
    }

    /// Writes a payload for the first time.
    fn write(&mut self, socket: Socket, network: &mut Network, payload: Payload, events: &mut Vec<Event>) {
        let written = network.write(self.end, &payload);
        if written < payload.len() {
            events.push(Event::Blocked { socket, rest: (payload.len() - written) as u32 });
            self.rest = Rest::Blocked { bytes: payload[written..].into(), from: 0 };
        }
    }
}

impl Io for SimIo {
    /// Accepts connections to the listener's address in the simulated world; its real socket is closed.
    fn listen(&mut self, listener: Listener) -> io::Result<()> {
        let _number = self.listen_at(listener.local_addr());
        Ok(())
    }

    fn listeners(&self) -> u16 {
        self.backlogs.len() as u16
    }

    fn stop_listening(&mut self, listener: u16) {
        let Some(Some(backlog)) = self.backlogs.get(usize::from(listener)).copied() else { return };
        let mut events = std::mem::take(&mut self.pending);
        self.accept_at(listener, &mut events);
        let network = &mut *self.network.borrow_mut();
        if let Some((lost, _)) = network.accept(backlog) {
            network.reset(lost);
            events.push(Event::AcceptFailed { lack: Lack::Slots });
        }
        network.stop_listening(backlog);
        self.pending = events;
        self.backlogs[usize::from(listener)] = None;
    }

    fn connect(&mut self, source: Option<SocketAddr>, peer: SocketAddr) -> io::Result<Socket> {
        if self.slots_free.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        let source = source.unwrap_or(SocketAddr::new(self.host, 0));
        let end = self.network.borrow_mut().connect(source, peer);
        self.occupy(end, Stage::Connecting).ok_or_else(|| io::Error::from_raw_os_error(libc::ENFILE))
    }

    fn send(&mut self, socket: Socket, payload: Payload) {
        let network = Rc::clone(&self.network);
        let network = &mut *network.borrow_mut();
        let mut events = std::mem::take(&mut self.pending);
        let slot = self.slot(socket);
        assert!(
            matches!(slot.stage, Stage::Open | Stage::Failed),
            "send to {socket:?}, which is {:?}",
            slot.stage
        );
        assert!(!slot.sent_in_turn, "a second send to {socket:?} in one turn");
        assert!(matches!(slot.rest, Rest::None), "send to {socket:?}, which is blocked");
        assert!(!slot.finished, "send to {socket:?} after its end");
        assert!(!payload.is_empty(), "nothing to send to {socket:?}");
        slot.sent_in_turn = true;
        if slot.stage == Stage::Open {
            if network.random.chance(network.conditions.late_sends) {
                slot.rest = Rest::Late(payload);
            } else {
                slot.write(socket, network, payload, &mut events);
            }
        }
        self.pending = events;
    }

    fn pause(&mut self, socket: Socket) {
        self.slot(socket).paused = true;
    }

    fn resume(&mut self, socket: Socket) {
        self.slot(socket).paused = false;
    }

    fn shutdown(&mut self, socket: Socket) {
        let network = Rc::clone(&self.network);
        let slot = self.slot(socket);
        slot.finished = true;
        if matches!(slot.rest, Rest::None) {
            network.borrow_mut().finish(slot.end);
        }
    }

    fn close(&mut self, socket: Socket) {
        let network = Rc::clone(&self.network);
        let slot = self.slot(socket);
        assert!(slot.stage != Stage::Closing, "{socket:?} is closed a second time");
        // What was sent before the close still goes; what is blocked does not.
        if let Rest::Late(payload) = std::mem::replace(&mut slot.rest, Rest::None) {
            network.borrow_mut().write(slot.end, &payload);
        }
        slot.stage = Stage::Closing;
        self.pending
            .retain(|event| !matches!(event, Event::Blocked { socket: blocked, .. } if *blocked == socket));
    }

    fn wait(
        &mut self,
        arena: &mut Arena,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let before = events.len();
        if self.woken.swap(false, Ordering::Acquire) {
            events.push(Event::Woken);
        }
        events.append(&mut self.pending);
        let mut filled = 0;
        let mut sockets: Vec<Socket> = (0_u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.is_some())
            .map(|(number, _)| Socket(number))
            .collect();
        self.network.borrow_mut().random.shuffle(&mut sockets);
        for socket in sockets {
            self.turn(socket, arena, &mut filled, events);
        }
        self.accept(events);
        self.last = Waited { timeout, has_events: events.len() > before };
        Ok(())
    }

    /// A waker of no effect: its state is private to `roadstead-io`. [`SimIo::wake`] is the one that works.
    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn sockets(&self) -> usize {
        self.slots.len() - self.slots_free.len()
    }
}
