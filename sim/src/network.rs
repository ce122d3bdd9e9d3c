//! Connections between ends, and the listeners that connections go to.
//!
//! Invariants: knows no socket numbers and no events: a back end or a test asks about an end, by connection
//! and side; what one end does is seen by the other only after a delay; an end that has learned of a reset
//! stays reset.
//!
//! One end of a connection:
//!
//! ```text
//!   Connecting ── answered ──> Open ── shut ──> Open, finished ──┐
//!       │                        │  both ways: reset arrives ────┼──> Reset
//! └─ nobody listens ─> Refused                close ───────┴──> Gone: what still arrives resets the other
//! end
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::conditions::Conditions;
use crate::pipe::Pipe;
use crate::random::Random;

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
    /// The other end, or the network, has reset it.
    Reset,
    /// Closed by this end.
    Gone,
}

/// A place to which connections go: a back end's listener.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
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
        }
    }

    /// A new backlog at `address`, beside those that are already there.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> usize {
        self.backlogs.push(Some(Backlog::default()));
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

    /// A connection from `from` to `to`; the end that connects is side 0.
    pub(crate) fn connect(&mut self, from: SocketAddr, to: SocketAddr) -> EndId {
        let number = self.connection_next;
        self.connection_next += 1;
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
    }

    /// When something happens next by itself.
    pub(crate) fn due(&self) -> Option<Duration> {
        let uncut = self.connections.values().filter(|connection| !connection.cut);
        uncut.filter_map(Connection::due).min()
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
        let Self { connections, conditions, .. } = self;
        let Some(connection) = connections.get_mut(&end.connection) else { return 0 };
        let written = connection.pipes[usize::from(end.side)].write(bytes, conditions);
        self.step(end.connection);
        written
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
        let Self { connections, conditions, random, now, .. } = self;
        let Some(connection) = connections.get_mut(&end.connection) else { return };
        let (here, there) = (usize::from(end.side), usize::from(1 - end.side));
        connection.status[here] = Status::Gone;
        connection.pipes[here].abandon();
        connection.pipes[there].abandon();
        if connection.reset_at[there].is_none() {
            let due = connection.pipes[here].arrival(*now, random, conditions);
            connection.reset_at[there] = Some(due);
        }
        self.step(end.connection);
    }

    /// Cuts the path: neither end hears from the other again.
    pub(crate) fn cut(&mut self, end: EndId) {
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.cut = true;
        }
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
        let Self { connections, conditions, random, now, .. } = self;
        let Some(connection) = connections.get_mut(&number) else { return };
        if !connection.cut {
            connection.flow(*now, random, conditions);
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
    fn due(&self) -> Option<Duration> {
        let pipes = self.pipes.iter().filter_map(Pipe::due);
        pipes.chain(self.reset_at.into_iter().flatten()).chain(self.knock_at).min()
    }

    /// Transmits, delivers and lets resets arrive.
    fn flow(&mut self, now: Duration, random: &mut Random, conditions: &Conditions) {
        for side in 0..2 {
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
