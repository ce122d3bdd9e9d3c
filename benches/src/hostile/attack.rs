//! The attackers: each has an address of its own and goes on whatever it is answered.
//!
//! Invariants: what is said when is settled by the clock alone, so that a listener which only swallows meets the same; all
//! attackers share one thread.
//!
//! ```text
//!   away ── due ──> step 0: connects ──> step 1, 2, ... ── closed by the server ──> away for a while
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::drive::attacking;
use crate::kernel::{self, Epoll, Events, Interest, Received};
use crate::limits;

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An upgrade request, an octet a second.
    SlowHead,
    /// Connected with a token: a frame of 60,000 octets, one a second.
    SlowFrame,
    /// Upgrades and resets, five times a second.
    Connects,
    /// Connected with a token: 500 subscribe commands a second.
    Subscribes,
    /// 16 KiB four times a second that would inflate to 2.6 MB.
    Bombs,
    /// 4 KiB of noise behind the upgrade.
    Garbage,
    /// Connect commands with tokens that somebody else has signed.
    BadTokens,
    /// The beginning of a TLS record, and noise.
    Hellos,
}

/// How many of each there are.
pub const CROWD: [(Kind, usize); 8] = [
    (Kind::SlowHead, 400),
    (Kind::SlowFrame, 300),
    (Kind::Connects, 300),
    (Kind::Subscribes, 200),
    (Kind::Bombs, 200),
    (Kind::Garbage, 200),
    (Kind::BadTokens, 200),
    (Kind::Hellos, 200),
];

/// What the attackers did.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Connections begun.
    pub connects: u64,
    /// Connections that the other side ended.
    pub ended: u64,
    /// Octets said.
    pub bytes: u64,
    /// Octets heard.
    pub heard_bytes: u64,
    /// The longest delay of what was due, milliseconds: how far the generator itself fell behind.
    pub late_ms: u64,
}

/// Attacks `to` until `is_over`.
///
/// # Errors
/// Of the machine; nothing that the other side does is one.
pub fn attack(to: SocketAddrV4, token_secret: &str, is_over: &AtomicBool) -> io::Result<Tally> {
    Crowd::new(to, token_secret)?.run(is_over)
}

struct Attacker {
    kind: Kind,
    from: Ipv4Addr,
    /// Its connect command, as a user of its own.
    connect: Vec<u8>,
    socket: Option<OwnedFd>,
    step: usize,
    /// Goes with what it said for this connection, so that what is due of an earlier one is nothing any more.
    life: u32,
}

struct Crowd {
    to: SocketAddrV4,
    epoll: Epoll,
    attackers: Vec<Attacker>,
    due: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    lines: Lines,
    tally: Tally,
}

/// What is said, made before the clock starts.
struct Lines {
    upgrade: Vec<u8>,
    deflating: Vec<u8>,
    forged: Vec<u8>,
    long_frame: Vec<u8>,
    subscribes: Vec<u8>,
    bomb: Vec<u8>,
    noise: Vec<u8>,
    hello: Vec<u8>,
}

impl Lines {
    fn new(to: SocketAddrV4) -> Self {
        let noise = attacking::noise(limits::HOSTILE_NOISE_BYTES);
        let subscribes: Vec<String> = (0..limits::HOSTILE_SUBSCRIBES)
            .map(|at| format!(r#"{{"id":{},"subscribe":{{"channel":"flood-{at}"}}}}"#, at + 2))
            .collect();
        let mut long_frame = attacking::frame(&[b'x'; 60_000]);
        long_frame.truncate(60_000);
        Self {
            upgrade: attacking::upgrade(to, ""),
            deflating: attacking::upgrade(to, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            forged: attacking::connect("the secret of somebody else", "attacker"),
            long_frame,
            subscribes: attacking::frame(subscribes.join("\n").as_bytes()),
            bomb: attacking::bomb(limits::HOSTILE_BOMB_BYTES),
            hello: [&[0x16, 3, 1, 2, 0, 1][..], &noise[..512]].concat(),
            noise,
        }
    }

    /// What an attacker says in its step, and when its next one is due; `None`: it resets its connection.
    fn of<'l>(&'l self, kind: Kind, step: usize, connect: &'l [u8]) -> (Option<&'l [u8]>, Duration) {
        let ms = Duration::from_millis;
        let (second, answered) = (ms(1_000), ms(200));
        match (kind, step) {
            (Kind::SlowHead, _) => (Some(octet_of(&self.upgrade, step)), second),
            (Kind::Hellos, 0) => (Some(&self.hello), second),
            (Kind::Bombs, 0) => (Some(&self.deflating), answered),
            (_, 0) => (Some(&self.upgrade), answered),
            (Kind::Connects, _) => (None, Duration::ZERO),
            (Kind::SlowFrame | Kind::Subscribes | Kind::Bombs, 1) => (Some(connect), answered),
            (Kind::SlowFrame, 2) => (Some(&self.long_frame[..8]), second),
            (Kind::SlowFrame, _) => (Some(octet_of(&self.long_frame, step + 5)), second),
            (Kind::Subscribes, _) => (Some(&self.subscribes), ms(100)),
            (Kind::Bombs, _) => (Some(&self.bomb), ms(250)),
            (Kind::BadTokens, _) => (Some(&self.forged), second),
            (Kind::Garbage | Kind::Hellos, _) => (Some(&self.noise), second),
        }
    }
}

fn octet_of(line: &[u8], at: usize) -> &[u8] {
    let at = at % line.len();
    &line[at..=at]
}

impl Crowd {
    fn new(to: SocketAddrV4, token_secret: &str) -> io::Result<Self> {
        let mut crowd = Self {
            to,
            epoll: Epoll::new()?,
            attackers: Vec::new(),
            due: BinaryHeap::new(),
            lines: Lines::new(to),
            tally: Tally::default(),
        };
        let (begin, total) = (Instant::now(), CROWD.iter().map(|(_, count)| count).sum::<usize>());
        for kind in CROWD.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count)) {
            let index = crowd.attackers.len();
            let from = Ipv4Addr::new(127, 2, (index / 250) as u8, 1 + (index % 250) as u8);
            let connect = attacking::connect(token_secret, &format!("attacker-{index}"));
            crowd.attackers.push(Attacker { kind, from, connect, socket: None, step: 0, life: 0 });
            // The first of them spread over a second, the kinds among each other.
            let place = index * limits::HOSTILE_STRIDE % total;
            let at = begin + Duration::from_micros((place * 1_000_000 / total) as u64);
            crowd.due.push(Reverse((at, index, 0)));
        }
        Ok(crowd)
    }

    fn run(mut self, is_over: &AtomicBool) -> io::Result<Tally> {
        let mut events = Events::new();
        let mut ready = Vec::new();
        let mut buffer = vec![0; limits::HOSTILE_NOISE_BYTES];
        while !is_over.load(Ordering::Relaxed) {
            let now = Instant::now();
            while let Some(&Reverse((at, index, life))) = self.due.peek()
                && at <= now
            {
                self.due.pop();
                if self.attackers[index].life == life {
                    self.tally.late_ms = self.tally.late_ms.max((now - at).as_millis() as u64);
                    self.act(index, at)?;
                }
            }
            let until = self.due.peek().map_or(Duration::ZERO, |Reverse((at, ..))| *at - now.min(*at));
            ready.clear();
            ready.extend_from_slice(self.epoll.wait(&mut events, Some(until))?);
            for event in &ready {
                let index = event.token() as usize;
                let Some(socket) = &self.attackers[index].socket else { continue };
                match kernel::receive(socket.as_raw_fd(), &mut buffer) {
                    Ok(Received::Bytes(count)) => self.tally.heard_bytes += count as u64,
                    Ok(Received::Later) => {}
                    Ok(Received::Closed) | Err(_) => {
                        self.tally.ended += 1;
                        self.leave(index, Instant::now() + Duration::from_millis(limits::HOSTILE_AWAY_MS));
                    }
                }
            }
        }
        Ok(self.tally)
    }

    /// Does what is due; the next step is due so long after this one was, not after it was done.
    fn act(&mut self, index: usize, at: Instant) -> io::Result<()> {
        let attacker = &mut self.attackers[index];
        let (said, pause) = self.lines.of(attacker.kind, attacker.step, &attacker.connect);
        let Some(said) = said else {
            self.leave(index, at + pause);
            return Ok(());
        };
        if attacker.socket.is_none() {
            let socket = kernel::connect(attacker.from, self.to)?;
            self.epoll.add(socket.as_raw_fd(), Interest::Read, index as u64)?;
            attacker.socket = Some(socket);
            self.tally.connects += 1;
        }
        if let Some(socket) = &attacker.socket {
            // A socket that is full or gone takes nothing: a receive tells which.
            self.tally.bytes += kernel::send(socket.as_raw_fd(), said).unwrap_or(0) as u64;
        }
        attacker.step += 1;
        self.due.push(Reverse((at + pause, index, attacker.life)));
        Ok(())
    }

    fn leave(&mut self, index: usize, back: Instant) {
        let attacker = &mut self.attackers[index];
        attacker.socket = None;
        attacker.step = 0;
        attacker.life = attacker.life.wrapping_add(1);
        self.due.push(Reverse((back, index, attacker.life)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_were_promised_and_they_take_turns() {
        let total: usize = CROWD.iter().map(|(_, count)| count).sum();
        assert_eq!(total, 2_000);
        let mut places: Vec<usize> = (0..total).map(|at| at * limits::HOSTILE_STRIDE % total).collect();
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..total), "each has a place of its own");
    }

    #[test]
    fn slow_ones_say_their_lines_octet_by_octet() {
        let lines = Lines::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80));
        let said = |kind, steps: std::ops::Range<usize>| -> Vec<u8> {
            steps.flat_map(|step| lines.of(kind, step, b"").0.unwrap().to_vec()).collect()
        };
        assert_eq!(said(Kind::SlowHead, 0..9), lines.upgrade[..9]);
        assert_eq!(said(Kind::SlowFrame, 2..12), lines.long_frame[..17]);
        assert_eq!(lines.of(Kind::Connects, 1, b"").0, None);
    }
}
