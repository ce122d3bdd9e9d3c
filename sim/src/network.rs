//! Connections between ends, and the listeners that connections go to.
//!
//! Invariants: knows no socket numbers and no events: a back end or a test asks about an end, by connection
//! and side; what one end does is seen by the other only after a delay; an end that has learned of a reset
//! stays reset. Where a path is closed nothing passes and nobody is told: bytes wait and are sent again when it
//! opens, a reset on its way is lost, a request to connect knocks again; who waits too long gives up.
//!
//! One end of a connection:
//!
//! ```text
//!   Connecting ── answered ──> Open ── shut ──> Open, finished ──┐
//!       │                        │  both ways: reset arrives ────┼──> Reset
//! └─ nobody listens ─> Refused                close ───────┴──> Gone: what still arrives resets the other
//! end
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::conditions::Conditions;
use crate::datagrams::Datagrams;
use crate::paths::Paths;
use crate::pipe::Pipe;
use crate::random::Random;

/// How long an end keeps bytes that nobody confirms, or waits for an answer to its request, before its kernel
/// gives the connection up. Real ones take 2 to 15 minutes, which a run does not last; a shorter time makes the same things
/// happen.
const GIVE_UP: Duration = Duration::from_secs(40);
/// A request that is not heard is sent again after this, then after twice the time, and so on.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);
/// At the longest, bytes that were lost on a closed path are sent again this much after it opened.
const RESENT_WITHIN_US: usize = 2_000_000;
/// Below the ports that are given to ends which ask for none.
const PORT_FIRST: u16 = 10_000;

/// An end of a connection: its number, and side 0 (who connected) or 1 (who accepted).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct EndId {
    pub(crate) connection: u32,
    pub(crate) side: u8,
}

/// What an end knows about its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Not answered yet.
    Connecting,
    /// Bytes flow. The other end may have finished its side.
    Open,
    /// Nobody listens there.
    Refused,
    /// The other end has reset it.
    Reset,
    /// Nobody answered for too long.
    TimedOut,
    /// Closed by this end.
    Gone,
}

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Way {
    /// The connection's number, never used again.
    pub connection: u32,
    /// Whether it is the direction of who connected.
    pub is_forward: bool,
    /// Who sends.
    pub from: SocketAddr,
    /// Who receives.
    pub to: SocketAddr,
}

/// Somebody on the wire: sees what connections carry, and may change it.
pub trait Wire: fmt::Debug {
    /// Whether it wants to see a connection between these.
    fn taps(&self, from: SocketAddr, to: SocketAddr) -> bool;

    /// Bytes leave one end; returns what goes on instead.
    fn carry(&mut self, now: Duration, way: Way, bytes: &[u8]) -> Vec<u8>;

    /// An end of the connection is gone.
    fn close(&mut self, now: Duration, connection: u32);
}

/// A place to which connections go: a back end's listener.
#[derive(Debug)]
pub(crate) struct Backlog {
    host: IpAddr,
    waiting: VecDeque<u32>,
}

/// Everything that is connected.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) now: Duration,
    pub(crate) random: Random,
    pub(crate) conditions: Conditions,
    connections: BTreeMap<u32, Connection>,
    connection_next: u32,
    /// The backlogs that share an address, by their number in `backlogs`.
    listening: BTreeMap<SocketAddr, Vec<usize>>,
    backlogs: Vec<Option<Backlog>>,
    paths: Paths,
    pub(crate) datagrams: Datagrams,
    wire: Option<Rc<RefCell<dyn Wire>>>,
    /// The last port that was given to an end that asked for none.
    port_last: u16,
}

#[derive(Debug)]
struct Connection {
    from: SocketAddr,
    to: SocketAddr,
    /// When the request reaches the listener; `None` once it has.
    knock_at: Option<Duration>,
    /// `pipes[side]` carries what that side writes.
    pipes: [Pipe; 2],
    status: [Status; 2],
    /// When a side learns that the other has reset the connection.
    reset_at: [Option<Duration>; 2],
    /// The path is cut: nothing leaves any more, and nobody is told.
    cut: bool,
    /// How often the request was sent.
    knocks: u32,
    /// Since when the path has been closed.
    closed_since: Option<Duration>,
    /// Since when a side has waited on a closed path for what it wrote to be confirmed.
    unheard_since: [Option<Duration>; 2],
    /// After a closed path: when what waits is sent again.
    stalled_until: Duration,
    /// When it was moved last.
    seen_at: Duration,
    tap: Tap,
}

/// Whether the wire sees the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tap {
    None,
    Open,
    Closed,
}

impl Network {
    pub(crate) fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            now: Duration::ZERO,
            random: Random::new(seed),
            conditions,
            connections: BTreeMap::new(),
            connection_next: 0,
            listening: BTreeMap::new(),
            backlogs: Vec::new(),
            paths: Paths::default(),
            datagrams: Datagrams::default(),
            wire: None,
            port_last: PORT_FIRST,
        }
    }

    /// Puts somebody on the wire, for connections that begin from now on.
    pub(crate) fn tap(&mut self, wire: Rc<RefCell<dyn Wire>>) {
        self.wire = Some(wire);
    }

    /// A new backlog at `address`, beside those that are already there.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> usize {
        self.backlogs.push(Some(Backlog { host: address.ip(), waiting: VecDeque::new() }));
        let number = self.backlogs.len() - 1;
        self.listening.entry(address).or_default().push(number);
        number
    }

    /// Closes a backlog; connections that wait in it are reset.
    pub(crate) fn stop_listening(&mut self, number: usize) {
        for numbers in self.listening.values_mut() {
            numbers.retain(|&other| other != number);
        }
        let backlog = self.backlogs[number].take();
        for connection in backlog.into_iter().flat_map(|backlog| backlog.waiting) {
            self.reset(EndId { connection, side: 1 });
        }
    }

    /// A connection from `from` (with port 0: any) to `to`; the end that connects is side 0.
    pub(crate) fn connect(&mut self, mut from: SocketAddr, to: SocketAddr) -> EndId {
        let number = self.connection_next;
        self.connection_next += 1;
        if from.port() == 0 {
            self.port_last = self.port_last.checked_add(1).unwrap_or(PORT_FIRST);
            from.set_port(self.port_last);
        }
        let is_tapped = self.wire.as_ref().is_some_and(|wire| wire.borrow().taps(from, to));
        let knock_at = Some(self.now + self.conditions.delay(&mut self.random));
        self.connections.insert(
            number,
            Connection {
                from,
                to,
                knock_at,
                pipes: Default::default(),
                status: [Status::Connecting; 2],
                reset_at: [None; 2],
                cut: false,
                knocks: 0,
                closed_since: (!self.paths.joins(from.ip(), to.ip())).then_some(self.now),
                unheard_since: [None; 2],
                stalled_until: Duration::ZERO,
                seen_at: self.now,
                tap: if is_tapped { Tap::Open } else { Tap::None },
            },
        );
        EndId { connection: number, side: 0 }
    }

    /// The next connection of a backlog, with the address it comes from.
    pub(crate) fn accept(&mut self, backlog: usize) -> Option<(EndId, SocketAddr)> {
        let connection = self.backlogs[backlog].as_mut()?.waiting.pop_front()?;
        let from = self.connections.get(&connection)?.from;
        Some((EndId { connection, side: 1 }, from))
    }

    /// Lets everything happen that is due by `now`.
    pub(crate) fn run_until(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let numbers: Vec<u32> = self.connections.keys().copied().collect();
        for number in numbers {
            self.step(number);
        }
        self.datagrams.deliver(self.now, &self.paths);
    }

    /// When something happens next by itself.
    pub(crate) fn due(&self) -> Option<Duration> {
        let uncut = self.connections.values().filter(|connection| !connection.cut);
        uncut.filter_map(Connection::due).chain(self.datagrams.due()).min()
    }

    pub(crate) fn status(&self, end: EndId) -> Status {
        self.connections
            .get(&end.connection)
            .map_or(Status::Gone, |connection| connection.status[usize::from(end.side)])
    }

    /// Writes what fits; returns how much that was.
    pub(crate) fn write(&mut self, end: EndId, bytes: &[u8]) -> usize {
        if self.status(end) != Status::Open {
            return 0;
        }
        let Self { connections, conditions, wire, now, .. } = self;
        let Some(connection) = connections.get_mut(&end.connection) else { return 0 };
        let way = connection.way(end);
        let pipe = &mut connection.pipes[usize::from(end.side)];
        let taken = bytes.len().min(pipe.room(conditions));
        match wire {
            Some(wire) if connection.tap == Tap::Open => {
                pipe.write(&wire.borrow_mut().carry(*now, way, &bytes[..taken]));
            }
            _ => pipe.write(&bytes[..taken]),
        }
        self.step(end.connection);
        taken
    }

    /// Reads what has arrived; returns how much that was.
    pub(crate) fn read(&mut self, end: EndId, to: &mut [u8]) -> usize {
        let Some(connection) = self.connections.get_mut(&end.connection) else { return 0 };
        let read = connection.pipes[usize::from(1 - end.side)].read(to);
        self.step(end.connection);
        read
    }

    pub(crate) fn readable(&self, end: EndId) -> usize {
        self.incoming(end).map_or(0, Pipe::readable)
    }

    /// Whether the other end has finished and everything was read.
    pub(crate) fn is_at_end(&self, end: EndId) -> bool {
        self.incoming(end).is_some_and(Pipe::is_at_end)
    }

    /// Ends what this end writes, behind what it has written.
    pub(crate) fn finish(&mut self, end: EndId) {
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.pipes[usize::from(end.side)].finish();
        }
        self.step(end.connection);
    }

    /// Closes this end: what was written still goes, but nothing is read any more. With bytes left unread it
    /// is a reset (RFC 2525 section 2.17), as kernels do.
    pub(crate) fn close(&mut self, end: EndId) {
        if self.readable(end) > 0 || self.status(end) != Status::Open {
            self.reset(end);
            return;
        }
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.status[usize::from(end.side)] = Status::Gone;
        }
        self.finish(end);
    }

    /// Resets the connection: this end is gone at once, the other is told after a delay.
    pub(crate) fn reset(&mut self, end: EndId) {
        let Self { connections, conditions, random, now, paths, .. } = self;
        let Some(connection) = connections.get_mut(&end.connection) else { return };
        let (here, there) = (usize::from(end.side), usize::from(1 - end.side));
        connection.status[here] = Status::Gone;
        connection.pipes[here].abandon();
        // What the other end writes meets a reset in any case; it is told now if there is a way to it.
        if paths.joins(connection.from.ip(), connection.to.ip()) {
            connection.pipes[there].abandon();
            if connection.reset_at[there].is_none() {
                let due = connection.pipes[here].arrival(*now, random, conditions);
                connection.reset_at[there] = Some(due);
            }
        }
        self.step(end.connection);
    }

    /// Cuts the path: neither end hears from the other again.
    pub(crate) fn cut(&mut self, end: EndId) {
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.cut = true;
        }
    }

    /// Closes the ways from each of `from` to each of `to`.
    pub(crate) fn close_paths(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        self.paths.close(from, to);
        self.see_paths();
    }

    /// Opens all ways; bytes that waited are sent again within a while.
    pub(crate) fn open_paths(&mut self) {
        self.paths.open_all();
        self.see_paths();
    }

    /// All sockets of the host are closed at once, as when its process is killed.
    pub(crate) fn kill(&mut self, host: IpAddr) {
        self.datagrams.unbind(|address| address.ip() == host);
        let backlogs: Vec<usize> =
            (0..self.backlogs.len()).filter(|&number| self.is_at(number, host)).collect();
        backlogs.into_iter().for_each(|number| self.stop_listening(number));
        for end in self.ends_at(host) {
            self.close(end);
        }
    }

    /// The host falls silent; what its kernel knew is gone.
    pub(crate) fn power_off(&mut self, host: IpAddr) {
        self.datagrams.unbind(|address| address.ip() == host);
        self.paths.power_off(host);
        for number in 0..self.backlogs.len() {
            if self.is_at(number, host) {
                self.backlogs[number] = None;
                self.listening.values_mut().for_each(|numbers| numbers.retain(|&other| other != number));
            }
        }
        for end in self.ends_at(host) {
            if let Some(connection) = self.connections.get_mut(&end.connection) {
                connection.status[usize::from(end.side)] = Status::Gone;
                connection.pipes[usize::from(end.side)].silence();
            }
        }
        self.see_paths();
    }

    /// The host is there again, without a socket: what others still send to its earlier life is answered with a reset.
    pub(crate) fn power_on(&mut self, host: IpAddr) {
        self.paths.power_on(host);
        self.see_paths();
    }

    /// Resets every connection between the two hosts, as a middlebox that has forgotten them.
    pub(crate) fn reset_between(&mut self, one: IpAddr, other: IpAddr) {
        let between: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, it)| [(one, other), (other, one)].contains(&(it.from.ip(), it.to.ip())))
            .map(|(&number, _)| number)
            .collect();
        for number in between {
            let Some(connection) = self.connections.get_mut(&number) else { continue };
            for status in connection.status.iter_mut().filter(|status| **status == Status::Open) {
                *status = Status::Reset;
            }
            self.step(number);
        }
    }

    /// Sends a datagram.
    pub(crate) fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Self { datagrams, paths, random, conditions, now, .. } = self;
        datagrams.send(*now, [from, to], bytes, paths, random, conditions);
    }

    fn is_at(&self, backlog: usize, host: IpAddr) -> bool {
        self.backlogs[backlog].as_ref().is_some_and(|backlog| backlog.host == host)
    }

    /// The open ends at a host.
    fn ends_at(&self, host: IpAddr) -> Vec<EndId> {
        let sides = self.connections.iter().flat_map(|(&connection, it)| {
            let hosts = [(0, it.from.ip()), (1, it.to.ip())];
            hosts.map(|(side, ip)| (EndId { connection, side }, ip, it.status[usize::from(side)]))
        });
        let is_there = |end: &EndId, status: &Status| match status {
            // A request on its way has no end where it goes to.
            Status::Connecting => end.side == 0,
            status => *status != Status::Gone,
        };
        let here = sides.filter(|(end, ip, status)| *ip == host && is_there(end, status));
        here.map(|(end, ..)| end).collect()
    }

    /// Lets every connection notice that paths have closed or opened.
    fn see_paths(&mut self) {
        let Self { connections, paths, random, now, .. } = self;
        for connection in connections.values_mut() {
            let is_open = paths.joins(connection.from.ip(), connection.to.ip());
            if is_open && connection.closed_since.take().is_some() {
                connection.stalled_until =
                    *now + Duration::from_micros(random.within(0..=RESENT_WITHIN_US) as u64);
            } else if !is_open && connection.closed_since.is_none() {
                connection.closed_since = Some(*now);
                connection.wait(*now);
            }
        }
        self.run_until(self.now);
    }

    /// Connections of which an end is still held, and the bytes on their way.
    pub(crate) fn held(&self) -> (usize, usize) {
        let bytes = self.connections.values().flat_map(|connection| &connection.pipes).map(Pipe::held).sum();
        (self.connections.len(), bytes)
    }

    fn incoming(&self, end: EndId) -> Option<&Pipe> {
        self.connections.get(&end.connection).map(|connection| &connection.pipes[usize::from(1 - end.side)])
    }

    /// Moves one connection to the present, and forgets it when both ends are gone.
    fn step(&mut self, number: u32) {
        self.knock(number);
        let Self { connections, conditions, random, now, wire, .. } = self;
        let Some(connection) = connections.get_mut(&number) else { return };
        if connection.closed_since.is_some() {
            connection.wait(*now);
        } else if !connection.cut {
            connection.flow(*now, random, conditions);
        }
        let is_whole = |status: &Status| matches!(status, Status::Connecting | Status::Open);
        if connection.tap == Tap::Open && !connection.status.iter().all(is_whole) {
            connection.tap = Tap::Closed;
            if let Some(wire) = wire {
                wire.borrow_mut().close(*now, number);
            }
        }
        if connection.status == [Status::Gone; 2] {
            connections.remove(&number);
        }
    }

    /// Brings a connection's request to a listener, when it is due.
    fn knock(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.cut || connection.knock_at.is_none_or(|at| at > self.now) {
            return;
        }
        connection.knock_at = None;
        if connection.status[0] != Status::Connecting {
            connection.status[1] = Status::Gone;
            return;
        }
        if connection.closed_since.is_some() {
            let pause = KNOCK_AGAIN * 2_u32.saturating_pow(connection.knocks);
            connection.knocks += 1;
            match self.now + pause {
                at if pause < GIVE_UP => connection.knock_at = Some(at),
                _ => connection.status = [Status::TimedOut, Status::Gone],
            }
            return;
        }
        let sharing = self.listening.get(&connection.to).map_or(&[][..], Vec::as_slice);
        if sharing.is_empty() {
            connection.status = [Status::Refused, Status::Gone];
            return;
        }
        connection.status = [Status::Open; 2];
        if let Some(backlog) = &mut self.backlogs[sharing[self.random.below(sharing.len())]] {
            backlog.waiting.push_back(number);
        }
    }
}

impl Connection {
    fn way(&self, end: EndId) -> Way {
        let is_forward = end.side == 0;
        let (from, to) = if is_forward { (self.from, self.to) } else { (self.to, self.from) };
        Way { connection: end.connection, is_forward, from, to }
    }

    fn due(&self) -> Option<Duration> {
        if self.closed_since.is_some() {
            let unheard = self.unheard_since.into_iter().flatten().map(|since| since + GIVE_UP);
            return unheard.chain(self.knock_at).min();
        }
        let pipes = self.pipes.iter().filter_map(Pipe::due).map(|due| due.max(self.stalled_until));
        let stalled = self.pipes.iter().any(Pipe::is_unconfirmed).then_some(self.stalled_until);
        let stalled = stalled.filter(|until| *until > self.seen_at);
        pipes.chain(stalled).chain(self.reset_at.into_iter().flatten()).chain(self.knock_at).min()
    }

    /// The path is closed: what is on its way is lost, and an end that is not heard for too long gives up.
    fn wait(&mut self, now: Duration) {
        for side in 0..2 {
            self.reset_at[side].take_if(|at| *at <= now);
            let unheard = &mut self.unheard_since[side];
            if self.status[side] != Status::Open || !self.pipes[side].is_unconfirmed() {
                *unheard = None;
            } else if *unheard.get_or_insert(now) + GIVE_UP <= now {
                *unheard = None;
                self.status[side] = Status::TimedOut;
            }
        }
    }

    /// Transmits, delivers and lets resets arrive.
    fn flow(&mut self, now: Duration, random: &mut Random, conditions: &Conditions) {
        self.seen_at = now;
        self.unheard_since = [None; 2];
        for side in (0..2).filter(|_| self.stalled_until <= now) {
            self.pipes[side].transmit(now, random, conditions);
            self.pipes[side].deliver(now);
        }
        for side in 0..2 {
            let other = 1 - side;
            // Bytes that reach an end which is gone are answered with a reset.
            let unwanted = self.status[side] == Status::Gone && self.pipes[other].readable() > 0;
            if unwanted && self.status[other] == Status::Open && self.reset_at[other].is_none() {
                self.reset_at[other] = Some(self.pipes[side].arrival(now, random, conditions));
            }
            if self.reset_at[side].is_some_and(|at| at <= now) {
                self.reset_at[side] = None;
                if matches!(self.status[side], Status::Open | Status::Connecting) {
                    self.status[side] = Status::Reset;
                }
            }
        }
    }
}
