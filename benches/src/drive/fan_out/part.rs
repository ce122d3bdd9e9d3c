//! The subscribers of one descriptor table, and what all parts know of each other.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{CHANNEL, Load, role};
use crate::drive::opening;
use crate::drive::{Protocol, Server};
use crate::floor;
use crate::kernel::{self, Bell, Epoll, Events, Interest, Received};
use crate::limits;

/// How far publishing and receiving are.
pub(super) struct Progress {
    published: AtomicU64,
    deliveries: AtomicU64,
    /// Publications that all subscribers of a part have.
    done: Vec<AtomicU64>,
    delivery_bytes: AtomicUsize,
    opened: AtomicUsize,
    stopped: AtomicBool,
    /// Wakes the part that publishes.
    bell: Bell,
}

impl Progress {
    pub(super) fn new(parts: usize) -> io::Result<Self> {
        Ok(Self {
            published: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            done: (0..parts).map(|_| AtomicU64::new(0)).collect(),
            delivery_bytes: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            bell: Bell::new()?,
        })
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    pub(super) fn publish(&self, count: u64) {
        self.published.fetch_add(count, Ordering::Release);
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Acquire)
    }

    /// Publications that every subscriber has.
    pub(super) fn done(&self) -> u64 {
        self.done.iter().map(|done| done.load(Ordering::Acquire)).min().unwrap_or(0)
    }

    pub(super) fn delivery_bytes(&self) -> usize {
        self.delivery_bytes.load(Ordering::Relaxed)
    }

    /// Waits until every part is open.
    pub(super) fn await_opened(&self) -> io::Result<()> {
        while self.opened.load(Ordering::Acquire) < self.done.len() {
            self.check()?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// An error once any part has ended.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(io::Error::other("a part of the subscribers failed"));
        }
        Ok(())
    }
}

/// Whatever is watched beside the subscribers: what comes from there is not looked at.
const ASIDE: u64 = u64::MAX - 1;

/// The bell.
const BELL: u64 = u64::MAX;

struct Subscriber {
    socket: OwnedFd,
    /// Publications received.
    received: u64,
    /// The beginning of a message that has arrived in part.
    part: Vec<u8>,
}

pub(super) struct Part<'p> {
    progress: &'p Progress,
    table: usize,
    epoll: Epoll,
    server: &'p Server,
    aside: Vec<i32>,
    subscribers: Vec<Subscriber>,
    /// Subscribers that still miss publication `n`, at `n % missing.len()`.
    missing: Vec<u32>,
    /// Publications that `missing` knows of.
    expected: u64,
    done: u64,
    delivery_bytes: usize,
    buffer: Vec<u8>,
}

impl<'p> Part<'p> {
    /// Opens the subscribers of one table.
    pub(super) fn open(
        server: &'p Server,
        load: &Load,
        table: usize,
        progress: &'p Progress,
    ) -> io::Result<Self> {
        let count = (load.subscribers + table) / load.tables;
        let source = opening::source_address(table);
        let sockets = match server.protocol {
            Protocol::Raw => {
                let to = server.addresses[table % server.addresses.len()];
                opening::open(to, source, count, &|_| vec![role(floor::SUBSCRIBER)])?
            }
            Protocol::WebSocket => {
                let connect = |_| server.connected("");
                let connected =
                    opening::open_on(server, source, count, load.placement.subscribers, &connect)?;
                opening::lead(connected, &|_| vec![server.subscribed([CHANNEL])])?
            }
        };
        let epoll = Epoll::new()?;
        for (index, socket) in sockets.iter().enumerate() {
            epoll.add(socket.as_raw_fd(), Interest::Read, index as u64)?;
        }
        if table == 0 {
            epoll.add(progress.bell.as_raw_fd(), Interest::Read, BELL)?;
        }
        let subscriber = |socket| Subscriber { socket, received: 0, part: Vec::new() };
        progress.opened.fetch_add(1, Ordering::Release);
        Ok(Self {
            progress,
            table,
            epoll,
            server,
            aside: Vec::new(),
            subscribers: sockets.into_iter().map(subscriber).collect(),
            missing: vec![0; load.window.next_power_of_two()],
            expected: 0,
            done: 0,
            delivery_bytes: if server.protocol == Protocol::Raw { load.floor_message_bytes } else { 0 },
            buffer: vec![0; limits::DRIVE_RECEIVE_BYTES],
        })
    }

    /// Reads a socket beside the subscribers, so that it never fills.
    pub(super) fn watch(&mut self, socket: &OwnedFd) -> io::Result<()> {
        self.aside.push(socket.as_raw_fd());
        self.epoll.add(socket.as_raw_fd(), Interest::Read, ASIDE)
    }

    /// Receives until all is over.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::new();
        while !self.progress.stopped.load(Ordering::Acquire) {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    /// Receives what is there, or waits for it.
    pub(super) fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let ready = self.epoll.wait(events, Some(Duration::from_millis(100)))?;
        let published = self.progress.published();
        for publication in self.expected..published {
            let at = publication as usize % self.missing.len();
            self.missing[at] = self.subscribers.len() as u32;
        }
        self.expected = published;
        let mut deliveries = 0;
        for event in ready {
            match event.token() {
                BELL => self.progress.bell.silence()?,
                ASIDE => self.read_aside()?,
                index => deliveries += self.receive(index as usize)?,
            }
        }
        let before = self.done;
        while self.done < self.expected && self.missing[self.done as usize % self.missing.len()] == 0 {
            self.done += 1;
        }
        self.progress.deliveries.fetch_add(deliveries, Ordering::Release);
        if self.done > before {
            self.progress.done[self.table].store(self.done, Ordering::Release);
            if self.table > 0 {
                self.progress.bell.ring()?;
            }
        }
        Ok(())
    }

    fn read_aside(&mut self) -> io::Result<()> {
        for fd in &self.aside {
            if kernel::receive(*fd, &mut self.buffer)? == Received::Closed {
                return Err(closed());
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> io::Result<u64> {
        let fd = self.subscribers[index].socket.as_raw_fd();
        match kernel::receive(fd, &mut self.buffer)? {
            Received::Bytes(count) => self.take(index, count),
            Received::Later => Ok(0),
            Received::Closed => Err(closed()),
        }
    }

    fn take(&mut self, index: usize, count: usize) -> io::Result<u64> {
        let subscriber = &mut self.subscribers[index];
        let bytes = if subscriber.part.is_empty() {
            &self.buffer[..count]
        } else {
            subscriber.part.extend_from_slice(&self.buffer[..count]);
            &subscriber.part[..]
        };
        let (publications, taken) = match self.server.protocol {
            Protocol::Raw => {
                let whole = bytes.len() / self.delivery_bytes;
                (whole as u64, whole * self.delivery_bytes)
            }
            Protocol::WebSocket => {
                let counted = self.server.encoding.count(bytes);
                if self.delivery_bytes == 0 && counted.publications == 1 {
                    self.delivery_bytes = counted.bytes;
                    self.progress.delivery_bytes.store(counted.bytes, Ordering::Relaxed);
                }
                if counted.pings > 0 {
                    kernel::send(subscriber.socket.as_raw_fd(), &self.server.encoding.pong())?;
                }
                (counted.publications, counted.bytes)
            }
        };
        if taken < bytes.len() || !subscriber.part.is_empty() {
            subscriber.part = bytes[taken..].to_vec();
        }
        if subscriber.received + publications > self.expected {
            return Err(io::Error::other("a subscriber received more than was published"));
        }
        for publication in subscriber.received..subscriber.received + publications {
            let at = publication as usize % self.missing.len();
            self.missing[at] -= 1;
        }
        subscriber.received += publications;
        Ok(publications)
    }
}

fn closed() -> io::Error {
    io::Error::other("the server closed a connection under load")
}
