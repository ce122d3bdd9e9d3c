//! Echo with multishot receives: a received buffer is sent as it is and given back when sent.
//!
//! One send of a connection is in flight at a time: a second would overtake what the first could not
//! place. What arrives meanwhile waits in its buffers.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use super::Buffers;
use super::ring::{Completion, Kind, Provided, Ring};
use crate::limits;

#[derive(Default)]
struct Connection {
    sending: bool,
    /// Received buffers behind the one in flight: buffer and bytes.
    waiting: VecDeque<(u16, usize)>,
}

pub(super) fn serve(listener: OwnedFd, buffers: Buffers) -> io::Result<()> {
    let mut ring = Ring::new(listener)?;
    let provided = Provided::new(&ring, buffers)?;
    let connections = (0..limits::FLOOR_SLOTS).map(|_| Connection::default()).collect();
    let mut echo = Echo { provided, connections, starved: Vec::new() };
    loop {
        ring.turn()?;
        while let Some(completion) = ring.completion() {
            echo.complete(&mut ring, completion)?;
        }
        echo.provided.publish();
        for slot in echo.starved.drain(..) {
            ring.arm_receive(slot)?;
        }
    }
}

struct Echo {
    provided: Provided,
    connections: Vec<Connection>,
    /// Connections whose receive ended for lack of buffers.
    starved: Vec<u32>,
}

impl Echo {
    fn complete(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        match completion.kind {
            Kind::Receive => self.received(ring, completion),
            Kind::Send => self.sent(ring, completion),
            Kind::Accept => {
                if completion.result >= 0 {
                    ring.arm_receive(completion.result as u32)?;
                }
                if completion.is_armed() { Ok(()) } else { ring.arm_accept() }
            }
            Kind::Readable | Kind::FanOut | Kind::Close => Ok(()),
        }
    }

    fn received(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        let slot = completion.slot;
        if let Some(buffer) = completion.chosen() {
            let connection = &mut self.connections[slot as usize];
            match completion.bytes() {
                0 => self.provided.give(buffer),
                count if connection.sending => connection.waiting.push_back((buffer, count)),
                count => {
                    connection.sending = true;
                    ring.send(slot, buffer, self.provided.memory.filled(buffer, count))?;
                }
            }
        }
        match completion.result {
            _ if completion.is_armed() => Ok(()),
            1.. => ring.arm_receive(slot),
            result if result == -libc::ENOBUFS => {
                self.starved.push(slot);
                Ok(())
            }
            _ => self.close(ring, slot),
        }
    }

    fn sent(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        self.provided.give(completion.buffer);
        let connection = &mut self.connections[completion.slot as usize];
        match connection.waiting.pop_front() {
            Some((buffer, count)) => {
                ring.send(completion.slot, buffer, self.provided.memory.filled(buffer, count))
            }
            None => {
                connection.sending = false;
                Ok(())
            }
        }
    }

    fn close(&mut self, ring: &mut Ring, slot: u32) -> io::Result<()> {
        for (buffer, _) in self.connections[slot as usize].waiting.drain(..) {
            self.provided.give(buffer);
        }
        ring.close(slot)
    }
}
