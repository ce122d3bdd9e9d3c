//! Pings and pongs at a steady rate over many connections: the least that keeping them alive costs.
//!
//! WebSocket clients are upgraded, then each is sent a ping of two bytes in every period, as many bytes as a ping of the
//! client protocol. A table of direct descriptors may not be larger than RLIMIT_NOFILE, so one thread has several rings
//! and goes round them every few milliseconds: with work in every round no sleep in the kernel would be worth its bell.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;

use super::Buffers;
use super::ring::{Completion, Kind, Memory, Ring};
use crate::limits;

/// A ping frame with two bytes of payload (RFC 6455 section 5.5.2).
const PING: &[u8] = &[0x89, 2, b'{', b'}'];

/// Appended to a client's key before it is hashed (RFC 6455 section 4.2.2).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A connection: its ring and its slot there.
type Place = (u16, u32);

pub(super) fn serve(
    listener: OwnedFd,
    connections: u32,
    period: Duration,
    buffers: Buffers,
) -> io::Result<()> {
    let rings = connections.div_ceil(limits::FLOOR_SLOTS).max(1);
    let mut exchange = Exchange {
        rings: (0..rings)
            .map(|_| listener.try_clone().and_then(Ring::quiet))
            .collect::<io::Result<Vec<_>>>()?,
        memory: Memory::new(buffers)?,
        free: (0..buffers.count).rev().collect(),
        ready: VecDeque::new(),
        upgraded: vec![false; rings as usize * limits::FLOOR_SLOTS as usize],
        live: Vec::with_capacity(connections as usize),
        next: 0,
        owed: 0.0,
        accepting: 0,
        taken: 0,
    };
    let mut paid = Instant::now();
    loop {
        let worked = exchange.go_round()?;
        let now = Instant::now();
        exchange.ping((now - paid).as_secs_f64() / period.as_secs_f64())?;
        paid = now;
        if !worked {
            thread::sleep(Duration::from_millis(limits::EXCHANGE_REST_MS));
        }
    }
}

struct Exchange {
    rings: Vec<Ring>,
    memory: Memory,
    free: Vec<u16>,
    /// Readable, and waiting for a buffer.
    ready: VecDeque<Place>,
    upgraded: Vec<bool>,
    /// Upgraded connections in the order of their pings.
    live: Vec<Place>,
    next: usize,
    /// Pings that are due, with a fraction.
    owed: f64,
    /// Accepts in flight; all belong to the ring that is being filled.
    accepting: u32,
    /// Connections accepted so far.
    taken: u32,
}

impl Exchange {
    /// Serves every ring once; whether connections are still being opened, which should not wait.
    fn go_round(&mut self) -> io::Result<bool> {
        let mut opening = false;
        self.accept()?;
        for ring in 0..self.rings.len() as u16 {
            self.rings[usize::from(ring)].turn_now()?;
            while let Some(completion) = self.rings[usize::from(ring)].completion() {
                opening |= self.complete(ring, completion)?;
            }
        }
        self.receive()?;
        Ok(opening)
    }

    fn accept(&mut self) -> io::Result<()> {
        let filling = (self.taken / limits::FLOOR_SLOTS) as usize;
        let left = limits::FLOOR_SLOTS - self.taken % limits::FLOOR_SLOTS;
        let Some(ring) = self.rings.get_mut(filling) else { return Ok(()) };
        while self.accepting < left.min(limits::EXCHANGE_ACCEPTS) {
            ring.accept_one()?;
            self.accepting += 1;
        }
        Ok(())
    }

    fn complete(&mut self, ring: u16, completion: Completion) -> io::Result<bool> {
        let slot = completion.slot;
        match completion.kind {
            Kind::Accept => {
                self.accepting -= 1;
                if completion.result >= 0 {
                    self.taken += 1;
                    self.rings[usize::from(ring)].arm_poll(completion.result as u32)?;
                }
                return Ok(true);
            }
            Kind::Readable if completion.result < 0 => {}
            Kind::Readable => {
                self.ready.push_back((ring, slot));
                if !completion.is_armed() {
                    self.rings[usize::from(ring)].arm_poll(slot)?;
                }
            }
            Kind::Receive => return self.received(ring, completion),
            Kind::Send => self.free.push(completion.buffer),
            Kind::FanOut | Kind::Close => {}
        }
        Ok(false)
    }

    fn received(&mut self, ring: u16, completion: Completion) -> io::Result<bool> {
        let (slot, buffer) = (completion.slot, completion.buffer);
        let upgraded =
            &mut self.upgraded[usize::from(ring) * limits::FLOOR_SLOTS as usize + completion.slot as usize];
        if completion.result > 0 && !*upgraded {
            if let Some(answer) = upgrade(self.memory.filled(buffer, completion.bytes())) {
                *upgraded = true;
                self.live.push((ring, slot));
                self.memory.fill(buffer, answer.as_bytes());
                let answer = self.memory.filled(buffer, answer.len());
                self.rings[usize::from(ring)].send(slot, buffer, answer)?;
                return Ok(true);
            }
        } else if completion.result <= 0 && completion.result != -libc::EAGAIN {
            self.rings[usize::from(ring)].disarm_and_close(slot)?;
        }
        self.free.push(buffer);
        Ok(false)
    }

    fn receive(&mut self) -> io::Result<()> {
        for _ in 0..self.ready.len().min(self.free.len()) {
            if let (Some((ring, slot)), Some(buffer)) = (self.ready.pop_front(), self.free.pop()) {
                self.rings[usize::from(ring)].receive(slot, buffer, &self.memory)?;
            }
        }
        Ok(())
    }

    /// Sends the pings of a part of a period.
    fn ping(&mut self, part: f64) -> io::Result<()> {
        self.owed += part * self.live.len() as f64;
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            let (ring, slot) = self.live[self.next % self.live.len()];
            self.next = (self.next + 1) % self.live.len();
            self.rings[usize::from(ring)].send_now(slot, PING)?;
        }
        Ok(())
    }
}

/// The answer to an upgrade request that is there as a whole.
fn upgrade(request: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(request).ok().filter(|text| text.ends_with("\r\n\r\n"))?;
    let key = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    })?;
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(KEY_SUFFIX);
    let accept = base64::engine::general_purpose::STANDARD.encode(hash.finish());
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_key_of_the_standards_example() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let answer = upgrade(request).expect("a whole request");
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert_eq!(upgrade(&request[..request.len() - 1]), None);
    }
}
