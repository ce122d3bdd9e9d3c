//! Idle: what an open, silent connection costs the server in process memory.
//!
//! Memory is read before the first connection, at half and at all of them, each time after a pause. What
//! the kernel holds for a socket is not in these figures; it is the same for every server.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Server;
use super::opening;
use super::token::Mint;
use super::wire::{self, Opcode};
use crate::kernel::{self, Epoll, Events, Interest, Received};
use crate::limits;

/// What each connection is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Upgraded, nothing more.
    Upgraded,
    /// Connected in the client protocol as a user of its own, subscribed to one channel.
    Session {
        /// The secret the server verifies tokens with.
        token_secret: String,
        /// A channel of its own for each session instead of one for all.
        own_channel: bool,
        /// Subscriptions of each session, if not one: neighbours of a thousand channels.
        subscriptions: usize,
    },
}

/// Process memory in bytes, from `/proc/PID/smaps_rollup` (proc(5)).
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Resident, pages of files included.
    pub rss: u64,
    /// Resident, shared pages divided among their sharers.
    pub pss: u64,
    /// Written and not shared.
    pub private_dirty: u64,
}

/// Growth for each connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Footprint {
    /// Open connections at the end.
    pub connections: usize,
    /// Growth of RSS from before the first connection, divided by all connections.
    pub rss_bytes_each: f64,
    /// The same of PSS.
    pub pss_bytes_each: f64,
    /// The same of private dirty memory.
    pub private_dirty_bytes_each: f64,
    /// Growth of RSS over the second half, divided by its connections: without what the first
    /// connections bring along once.
    pub rss_bytes_each_marginal: f64,
    /// Before the first connection.
    pub before: Memory,
    /// At half of the connections.
    pub half: Memory,
    /// At all connections.
    pub after: Memory,
}

/// Opens `count` connections of one kind, lets them rest for `settle`, and measures.
pub fn drive(server: &Server, kind: &Kind, count: usize, settle: Duration) -> io::Result<Footprint> {
    let mut resting = Resting { epoll: Epoll::new()?, sockets: Vec::with_capacity(count) };
    let before = Memory::of(server.pid)?;
    resting.open(server, kind, count / 2)?;
    resting.rest(settle)?;
    let half = Memory::of(server.pid)?;
    resting.open(server, kind, count - count / 2)?;
    resting.rest(settle)?;
    let after = Memory::of(server.pid)?;
    Ok(Footprint::between(count, before, half, after))
}

impl Footprint {
    /// From what was used before the first of `count` connections, at half and at all of them.
    pub(super) fn between(count: usize, before: Memory, half: Memory, after: Memory) -> Self {
        let each = |of: fn(&Memory) -> u64, from: &Memory, count: usize| {
            (of(&after) as f64 - of(from) as f64) / count.max(1) as f64
        };
        Self {
            connections: count,
            rss_bytes_each: each(|m| m.rss, &before, count),
            pss_bytes_each: each(|m| m.pss, &before, count),
            private_dirty_bytes_each: each(|m| m.private_dirty, &before, count),
            rss_bytes_each_marginal: each(|m| m.rss, &half, count - count / 2),
            before,
            half,
            after,
        }
    }
}

impl Memory {
    /// What a process uses now.
    pub fn of(pid: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(|e| io::Error::other(format!("{path}: {e}")))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        };
        Self { rss: bytes("Rss"), pss: bytes("Pss"), private_dirty: bytes("Private_Dirty") }
    }
}

struct Resting {
    epoll: Epoll,
    sockets: Vec<OwnedFd>,
}

impl Resting {
    fn open(&mut self, server: &Server, kind: &Kind, count: usize) -> io::Result<()> {
        let first = self.sockets.len();
        let source = opening::source_address(usize::from(first > 0));
        let opened = match kind {
            Kind::Upgraded => opening::open(server.address(), source, count, &|_| vec![server.upgrade()])?,
            Kind::Session { token_secret, own_channel, subscriptions } => {
                let mint = Mint::new(token_secret);
                opening::open(server.address(), source, count, &|index| {
                    let user = first + index;
                    let channels: Vec<String> = match (own_channel, subscriptions) {
                        (true, _) => vec![format!("bench-{user}")],
                        (false, 1) => vec!["bench".to_owned()],
                        (false, many) => (0..*many)
                            .map(|at| format!("bench-{}", (user + at) % limits::IDLE_CHANNELS))
                            .collect(),
                    };
                    let mut steps = server.connected(&mint.token(&format!("user-{user}")));
                    steps.push(server.subscribed(channels.iter().map(String::as_str)));
                    steps
                })?
            }
        };
        for (index, socket) in opened.iter().enumerate() {
            self.epoll.add(socket.as_raw_fd(), Interest::Read, (first + index) as u64)?;
        }
        self.sockets.extend(opened);
        Ok(())
    }

    /// Waits, answering the pings of the client protocol; a close is an error.
    fn rest(&mut self, time: Duration) -> io::Result<()> {
        let mut events = Events::new();
        let mut buffer = [0; 4096];
        let pong = wire::client_frame(Opcode::Text, b"{}");
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            for event in self.epoll.wait(&mut events, Some(left))? {
                let fd = self.sockets[event.token() as usize].as_raw_fd();
                match kernel::receive(fd, &mut buffer)? {
                    Received::Bytes(count) => {
                        if wire::split_frame(&buffer[..count])
                            .is_some_and(|(frame, _)| frame.payload == b"{}")
                        {
                            kernel::send(fd, &pong)?;
                        }
                    }
                    Received::Later => {}
                    Received::Closed => {
                        return Err(io::Error::other("the server closed a connection that was idle"));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:     884 kB\nPss:     385 kB\n\
                    Pss_Dirty:   68 kB\nPrivate_Dirty:   68 kB\n";
        let memory = Memory::parse(text);
        assert_eq!([memory.rss, memory.pss, memory.private_dirty], [884, 385, 68].map(|kib| kib * 1024));
    }
}
