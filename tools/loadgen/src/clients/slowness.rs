//! Subscribers that do not keep up: they stall while messages are sent, or read so many bytes per second.
//!
//! Invariant: what is done here is to stop receiving, so that the kernel's buffers fill and the server feels it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use roadstead_io::Socket;

use super::Clients;
use crate::client::State;
use crate::schedule::{Nanos, SECOND};
use crate::turn::Turn;

/// Who receives again, and when.
#[derive(Debug, Default)]
pub(super) struct Slowness(BinaryHeap<Reverse<(Nanos, Socket, u32)>>);

impl Slowness {
    /// When the first is due.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<Nanos> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }
}

impl Clients {
    /// Sockets that the owner must stop receiving from, and those that it must receive from again.
    pub(crate) fn take_pauses(&mut self, pauses: &mut Vec<Socket>, resumes: &mut Vec<Socket>) {
        pauses.append(&mut self.pauses);
        resumes.append(&mut self.resumes);
    }

    /// Messages begin: the slow ones stop reading, for a second at first if they read at all.
    pub(crate) fn slow_down(&mut self, turn: &Turn) {
        if self.plan.unrest.slow_share == 0.0 {
            return;
        }
        for slot in 0..self.records.len() {
            let client = &self.records[slot];
            if client.state == State::Open && self.plan.is_slow(client.number) {
                self.pauses.push(Socket(slot as u32));
                if self.plan.unrest.slow_read > 0 {
                    self.slowness.0.push(Reverse((turn.now + SECOND, Socket(slot as u32), client.number)));
                }
            }
        }
    }

    /// Messages have ended: everybody reads again.
    pub(crate) fn speed_up(&mut self) {
        self.slowness.0.clear();
        self.pauses.clear();
        for slot in 0..self.records.len() {
            let client = &self.records[slot];
            if self.plan.is_slow(client.number) && !matches!(client.state, State::Free | State::Ended) {
                self.resumes.push(Socket(slot as u32));
            }
        }
    }

    /// A slow client has received `len` bytes: it rests as long as they take it.
    pub(super) fn heard_slowly(&mut self, socket: Socket, len: usize, now: Nanos) {
        let client = &self.records[socket.0 as usize];
        if client.state != State::Open {
            return;
        }
        self.pauses.push(socket);
        if let Some(rest) = (len as u64 * SECOND).checked_div(self.plan.unrest.slow_read) {
            self.slowness.0.push(Reverse((now + rest, socket, client.number)));
        }
    }

    /// Lets those read whose rest is over.
    pub(crate) fn read_slowly(&mut self, turn: &Turn) {
        while let Some(Reverse((at, socket, number))) = self.slowness.0.peek().copied() {
            if at > turn.now {
                break;
            }
            self.slowness.0.pop();
            let client = &self.records[socket.0 as usize];
            if client.number == number && client.state == State::Open {
                self.resumes.push(socket);
            }
        }
    }
}
