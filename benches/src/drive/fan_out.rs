//! Fan-out: one publisher keeps `window` publications outstanding; one is done when every subscriber has it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::opening::{self, Hear, Step};
use super::rate::{Clocks, Cost};
use super::wire::{self, Opcode};
use super::{Period, Protocol, Rate, Server};
use crate::floor;
use crate::kernel::{self, Epoll, Events, Interest, Received};
use crate::limits;

/// The channel everyone subscribes to.
const CHANNEL: &str = "bench";

/// The load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Subscribers, each on a connection of its own.
    pub subscribers: usize,
    /// Publications outstanding.
    pub window: usize,
    /// Bytes of a publication's data, at least 2: a JSON string with its quotes.
    pub data_bytes: usize,
    /// Bytes of one message of a floor: those of the push frame a server sends for the same data.
    pub floor_message_bytes: usize,
}

/// Deliveries (publications times subscribers) and their cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FanOutRate {
    /// The rate of deliveries.
    #[serde(flatten)]
    pub rate: Rate,
    /// Bytes one delivery took on the wire, from the first one received.
    pub delivery_bytes: usize,
}

/// Measures deliveries.
pub fn drive(server: &Server, load: &Load, period: &Period) -> io::Result<FanOutRate> {
    let clocks = Clocks::of_server(server.pid)?;
    let mut fan_out = FanOut::open(server, load)?;
    // The first publication goes alone: its size is that of all later ones.
    fan_out.publish(1)?;
    fan_out.settle()?;
    fan_out.window = load.window as u64;
    fan_out.run(period.warm_up)?;
    let (before, counted) = (clocks.mark()?, fan_out.deliveries);
    fan_out.run(period.measured)?;
    let (after, delivered) = (clocks.mark()?, fan_out.deliveries);
    fan_out.settle()?;
    let mut cost = Cost::default();
    cost.add(&before, &after);
    Ok(FanOutRate { rate: cost.rate(delivered - counted), delivery_bytes: fan_out.delivery_bytes })
}

struct Subscriber {
    socket: OwnedFd,
    /// Publications received.
    received: u64,
    /// The beginning of a message that has arrived in part.
    part: Vec<u8>,
}

struct FanOut {
    epoll: Epoll,
    protocol: Protocol,
    subscribers: Vec<Subscriber>,
    publisher: OwnedFd,
    /// Encoded publications, `load.window` of them in one piece.
    publications: Vec<u8>,
    publication_bytes: usize,
    /// Subscribers that still miss publication `n`, at `n % missing.len()`.
    missing: Vec<u32>,
    window: u64,
    published: u64,
    done: u64,
    deliveries: u64,
    delivery_bytes: usize,
    buffer: Vec<u8>,
}

impl FanOut {
    fn open(server: &Server, load: &Load) -> io::Result<Self> {
        let raw = server.protocol == Protocol::Raw;
        let role = |role: u8| vec![Step { say: vec![role], hear: Hear::Exactly(vec![role]) }];
        let subscribe = |_| {
            if raw { role(floor::SUBSCRIBER) } else { server.session("", Some(CHANNEL)) }
        };
        let publish = |_| if raw { role(floor::PUBLISHER) } else { server.session("", None) };
        let source = opening::source_address(0);
        let sockets = opening::open(server.address, source, load.subscribers, &subscribe)?;
        let mut publisher = opening::open(server.address, source, 1, &publish)?;
        let publisher = publisher.remove(0);
        let epoll = Epoll::new()?;
        for (index, socket) in sockets.iter().chain([&publisher]).enumerate() {
            epoll.add(socket.as_raw_fd(), Interest::Read, index as u64)?;
        }
        let publication = if raw {
            wire::letters(load.floor_message_bytes)
        } else {
            let data = String::from_utf8_lossy(&wire::letters(load.data_bytes - 2)).into_owned();
            let command = format!(r#"{{"id":9,"publish":{{"channel":"{CHANNEL}","data":"{data}"}}}}"#);
            wire::client_frame(Opcode::Text, command.as_bytes())
        };
        let subscriber = |socket| Subscriber { socket, received: 0, part: Vec::new() };
        Ok(Self {
            epoll,
            protocol: server.protocol,
            subscribers: sockets.into_iter().map(subscriber).collect(),
            publisher,
            publications: publication.repeat(load.window),
            publication_bytes: publication.len(),
            missing: vec![0; load.window.next_power_of_two()],
            window: 1,
            published: 0,
            done: 0,
            deliveries: 0,
            delivery_bytes: if raw { load.floor_message_bytes } else { 0 },
            buffer: vec![0; limits::DRIVE_RECEIVE_BYTES],
        })
    }

    fn run(&mut self, time: Duration) -> io::Result<()> {
        let mut events = Events::new();
        let end = Instant::now() + time;
        let mut seen = (self.deliveries, Instant::now());
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.publish(self.window - (self.published - self.done))?;
            self.turn(&mut events)?;
            if self.deliveries > seen.0 {
                seen = (self.deliveries, now);
            } else if now - seen.1 > Duration::from_secs(limits::STALL_S) {
                return Err(self.stalled());
            }
        }
    }

    /// Waits until everything published has reached everyone.
    fn settle(&mut self) -> io::Result<()> {
        let mut events = Events::new();
        let end = Instant::now() + Duration::from_secs(limits::STALL_S);
        while self.done < self.published {
            if Instant::now() >= end {
                return Err(self.stalled());
            }
            self.turn(&mut events)?;
        }
        Ok(())
    }

    fn stalled(&self) -> io::Error {
        let expected = self.published * self.subscribers.len() as u64;
        io::Error::other(format!("{} of {expected} deliveries arrived, then none", self.deliveries))
    }

    fn publish(&mut self, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        for publication in self.published..self.published + count {
            let at = publication as usize % self.missing.len();
            self.missing[at] = self.subscribers.len() as u32;
        }
        self.published += count;
        let bytes = &self.publications[..count as usize * self.publication_bytes];
        if kernel::send(self.publisher.as_raw_fd(), bytes)? < bytes.len() {
            return Err(io::Error::other("the publisher's socket is full or closed"));
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        for event in self.epoll.wait(events, Some(Duration::from_millis(100)))? {
            let index = event.token() as usize;
            let fd = self.subscribers.get(index).map_or(&self.publisher, |s| &s.socket).as_raw_fd();
            match kernel::receive(fd, &mut self.buffer)? {
                Received::Bytes(_) if index == self.subscribers.len() => {}
                Received::Bytes(count) => self.take(index, count)?,
                Received::Later => {}
                Received::Closed => {
                    return Err(io::Error::other("the server closed a connection under load"));
                }
            }
        }
        while self.done < self.published && self.missing[self.done as usize % self.missing.len()] == 0 {
            self.done += 1;
        }
        Ok(())
    }

    fn take(&mut self, index: usize, count: usize) -> io::Result<()> {
        let subscriber = &mut self.subscribers[index];
        let bytes = if subscriber.part.is_empty() {
            &self.buffer[..count]
        } else {
            subscriber.part.extend_from_slice(&self.buffer[..count]);
            &subscriber.part[..]
        };
        let (publications, taken) = match self.protocol {
            Protocol::Raw => {
                let whole = bytes.len() / self.delivery_bytes;
                (whole as u64, whole * self.delivery_bytes)
            }
            Protocol::WebSocket => {
                let counted = count_publications(bytes);
                if self.delivery_bytes == 0 && counted.publications == 1 {
                    self.delivery_bytes = counted.bytes;
                }
                if counted.pings > 0 {
                    kernel::send(subscriber.socket.as_raw_fd(), &wire::client_frame(Opcode::Text, b"{}"))?;
                }
                (counted.publications, counted.bytes)
            }
        };
        if taken < bytes.len() || !subscriber.part.is_empty() {
            subscriber.part = bytes[taken..].to_vec();
        }
        if subscriber.received + publications > self.published {
            return Err(io::Error::other("a subscriber received more than was published"));
        }
        for publication in subscriber.received..subscriber.received + publications {
            let at = publication as usize % self.missing.len();
            self.missing[at] -= 1;
        }
        subscriber.received += publications;
        self.deliveries += publications;
        Ok(())
    }
}

/// What whole frames held.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    publications: u64,
    pings: u64,
    bytes: usize,
}

/// Counts the messages in the whole frames at the front of `bytes`; a frame may carry several, one a line.
fn count_publications(bytes: &[u8]) -> Counted {
    let mut counted = Counted::default();
    let mut rest = bytes;
    while let Some((frame, behind)) = wire::split_frame(rest) {
        if frame.payload == b"{}" {
            counted.pings += 1;
        } else if frame.payload.starts_with(b"{\"push\":") {
            counted.publications += 1 + frame.payload.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        rest = behind;
    }
    counted.bytes = bytes.len() - rest.len();
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::wire::server_frame;

    #[test]
    fn publications_are_counted_by_message() {
        let push = br#"{"push":{"channel":"bench","pub":{"data":1}}}"#;
        let one = server_frame(Opcode::Text, push);
        let two = server_frame(Opcode::Text, &[&push[..], b"\n", push].concat());
        let ping = server_frame(Opcode::Text, b"{}");
        let table: [(Vec<u8>, u64, u64, usize); 5] = [
            (one.clone(), 1, 0, one.len()),
            (two.clone(), 2, 0, two.len()),
            ([&one[..], &ping, &two].concat(), 3, 1, one.len() + ping.len() + two.len()),
            ([&one[..], &one[..5]].concat(), 1, 0, one.len()),
            (one[..1].to_vec(), 0, 0, 0),
        ];
        for (bytes, publications, pings, whole) in table {
            assert_eq!(count_publications(&bytes), Counted { publications, pings, bytes: whole });
        }
    }
}
