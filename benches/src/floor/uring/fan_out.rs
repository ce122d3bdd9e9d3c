//! Fan-out with one send per subscriber for everything that arrived together, in batches.
//!
//! A send that finds room completes within its submission and reports nothing. A subscriber whose socket
//! is full gets the rest from a buffer of its own, and until then its later messages are put behind it.

use std::io;
use std::os::fd::OwnedFd;

use super::Buffers;
use super::ring::{Completion, Kind, Provided, Ring};
use crate::floor::{PUBLISHER, SUBSCRIBER};
use crate::limits;

#[derive(Default)]
struct Behind {
    /// Bytes in flight; empty when the subscriber is not behind.
    sending: Vec<u8>,
    waiting: Vec<u8>,
}

pub(super) fn serve(listener: OwnedFd, message_bytes: usize, buffers: Buffers) -> io::Result<()> {
    let mut ring = Ring::new(listener)?;
    let mut fan_out = FanOut {
        provided: Provided::new(&ring, buffers)?,
        message_bytes,
        publisher: None,
        subscribers: Vec::new(),
        behind: (0..limits::FLOOR_SLOTS).map(|_| Behind::default()).collect(),
        behind_count: 0,
        inbox: Vec::new(),
        outgoing: Vec::new(),
        starved: Vec::new(),
    };
    loop {
        ring.turn()?;
        while let Some(completion) = ring.completion() {
            fan_out.complete(&mut ring, completion)?;
        }
        fan_out.provided.publish();
        for slot in fan_out.starved.drain(..) {
            ring.arm_receive(slot)?;
        }
        fan_out.publish(&mut ring)?;
    }
}

struct FanOut {
    provided: Provided,
    message_bytes: usize,
    publisher: Option<u32>,
    subscribers: Vec<u32>,
    behind: Vec<Behind>,
    behind_count: usize,
    inbox: Vec<u8>,
    /// What the sends of the last turn point to. Replaced only after their failures were taken.
    outgoing: Vec<u8>,
    starved: Vec<u32>,
}

impl FanOut {
    fn complete(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        match completion.kind {
            Kind::Receive => self.received(ring, completion),
            Kind::FanOut => self.fall_behind(ring, completion),
            Kind::Send => self.catch_up(ring, completion),
            Kind::Accept => {
                if completion.result >= 0 {
                    ring.arm_receive(completion.result as u32)?;
                }
                if completion.is_armed() { Ok(()) } else { ring.arm_accept() }
            }
            Kind::Readable | Kind::Close => Ok(()),
        }
    }

    fn received(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        let slot = completion.slot;
        if let Some(buffer) = completion.chosen() {
            let bytes = self.provided.memory.filled(buffer, completion.bytes());
            if self.publisher == Some(slot) {
                self.inbox.extend_from_slice(bytes);
            } else if let Some(&role) = bytes.first() {
                self.take_role(ring, slot, role)?;
            }
            self.provided.give(buffer);
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

    /// A publisher sends its first message only after this answer, so nothing follows the role yet.
    fn take_role(&mut self, ring: &mut Ring, slot: u32, role: u8) -> io::Result<()> {
        match role {
            SUBSCRIBER => {
                self.subscribers.push(slot);
                ring.send(slot, 0, &[SUBSCRIBER])
            }
            PUBLISHER => {
                self.publisher = Some(slot);
                ring.send(slot, 0, &[PUBLISHER])
            }
            _ => Ok(()),
        }
    }

    fn publish(&mut self, ring: &mut Ring) -> io::Result<()> {
        let whole = self.inbox.len() - self.inbox.len() % self.message_bytes;
        if whole == 0 {
            return Ok(());
        }
        self.outgoing.clear();
        self.outgoing.extend(self.inbox.drain(..whole));
        for batch in self.subscribers.chunks(limits::FAN_OUT_BATCH) {
            for slot in batch {
                if self.behind_count > 0 && !self.behind[*slot as usize].sending.is_empty() {
                    self.behind[*slot as usize].waiting.extend_from_slice(&self.outgoing);
                } else {
                    ring.send_now(*slot, &self.outgoing)?;
                }
            }
            ring.submit()?;
        }
        Ok(())
    }

    fn fall_behind(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        let rest = &self.outgoing[completion.bytes().min(self.outgoing.len())..];
        if (completion.result < 0 && completion.result != -libc::EAGAIN) || rest.is_empty() {
            return Ok(());
        }
        let behind = &mut self.behind[completion.slot as usize];
        self.behind_count += 1;
        behind.sending.extend_from_slice(rest);
        ring.send(completion.slot, 0, &behind.sending)
    }

    fn catch_up(&mut self, ring: &mut Ring, completion: Completion) -> io::Result<()> {
        let behind = &mut self.behind[completion.slot as usize];
        if behind.sending.is_empty() {
            // The answer to a role.
            return Ok(());
        }
        behind.sending.clear();
        if completion.result < 0 {
            behind.waiting.clear();
        }
        if behind.waiting.is_empty() {
            self.behind_count -= 1;
            return Ok(());
        }
        std::mem::swap(&mut behind.sending, &mut behind.waiting);
        ring.send(completion.slot, 0, &behind.sending)
    }

    fn close(&mut self, ring: &mut Ring, slot: u32) -> io::Result<()> {
        if self.publisher == Some(slot) {
            self.publisher = None;
            self.inbox.clear();
        }
        self.subscribers.retain(|subscriber| *subscriber != slot);
        ring.close(slot)
    }
}
