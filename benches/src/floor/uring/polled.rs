//! Echo with multishot polls: a readable connection borrows the buffer used last, while it is in cache.
//!
//! ```text
//!   Idle --readable--> Ready --a buffer is free--> Receiving --bytes--> Sending --sent--> Idle, or Ready
//! ```
//! A connection that becomes readable while it is receiving or sending is read again afterwards.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use super::Buffers;
use super::ring::{Completion, Kind, Memory, Ring};
use crate::limits;

/// Receives begun in one turn. Their buffers and those of the sends before them are what must stay in
/// cache; an enter for each 32 costs nothing visible.
const TURN_RECEIVES: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Idle,
    Ready,
    Receiving,
    Sending,
}

#[derive(Clone, Copy, Default)]
struct Connection {
    state: State,
    readable_again: bool,
}

pub(super) fn serve(listener: OwnedFd, buffers: Buffers) -> io::Result<()> {
    let mut ring = Ring::new(listener)?;
    let mut echo = Echo {
        memory: Memory::new(buffers)?,
        free: (0..buffers.count).rev().collect(),
        connections: vec![Connection::default(); limits::FLOOR_SLOTS as usize],
        ready: VecDeque::new(),
    };
    loop {
        echo.begin_receives(&mut ring)?;
        ring.turn()?;
        while let Some(completion) = ring.completion() {
            echo.complete(&mut ring, completion)?;
        }
    }
}

struct Echo {
    memory: Memory,
    /// Buffers at rest, the one used last on top.
    free: Vec<u16>,
    connections: Vec<Connection>,
    ready: VecDeque<u32>,
}

impl Echo {
    fn begin_receives(&mut self, ring: &mut Ring) -> io::Result<()> {
        for _ in 0..TURN_RECEIVES.min(self.ready.len()).min(self.free.len()) {
            if let (Some(slot), Some(buffer)) = (self.ready.pop_front(), self.free.pop()) {
                self.connections[slot as usize] =
                    Connection { state: State::Receiving, readable_again: false };
                ring.receive(slot, buffer, &self.memory)?;
            }
        }
        Ok(())
    }

    fn complete(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        match completion.kind {
            // Disarmed, or the connection is gone.
            Kind::Readable if completion.result < 0 => Ok(()),
            Kind::Readable => {
                self.readable(completion.slot);
                if completion.is_armed() { Ok(()) } else { ring.arm_poll(completion.slot) }
            }
            Kind::Receive => self.received(ring, completion),
            Kind::Send => {
                self.free.push(completion.buffer);
                self.rest(completion.slot);
                Ok(())
            }
            Kind::Accept => {
                if completion.result >= 0 {
                    self.connections[completion.result as usize] = Connection::default();
                    ring.arm_poll(completion.result as u32)?;
                }
                if completion.is_armed() { Ok(()) } else { ring.arm_accept() }
            }
            Kind::FanOut | Kind::Close => Ok(()),
        }
    }

    fn readable(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if connection.state == State::Idle {
            connection.state = State::Ready;
            self.ready.push_back(slot);
        } else {
            connection.readable_again = true;
        }
    }

    fn received(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        let (slot, buffer) = (completion.slot, completion.buffer);
        let connection = &mut self.connections[slot as usize];
        match completion.result {
            1.. => {
                connection.state = State::Sending;
                connection.readable_again |= completion.has_more_bytes();
                ring.send(slot, buffer, self.memory.filled(buffer, completion.bytes()))
            }
            result if result == -libc::EAGAIN => {
                self.free.push(buffer);
                self.rest(slot);
                Ok(())
            }
            _ => {
                self.free.push(buffer);
                ring.disarm_and_close(slot)
            }
        }
    }

    fn rest(&mut self, slot: u32) {
        self.connections[slot as usize].state = State::Idle;
        if self.connections[slot as usize].readable_again {
            self.readable(slot);
        }
    }
}
