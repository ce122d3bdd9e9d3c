//! What one link still has to say: frames in order, in one buffer that leaves as a whole.
//!
//! Invariants: the order of saying is the order of frames; nothing is taken out again; publications never make it
//! longer than its limit, control frames never longer than twice that, one frame beyond the limit apart that is taken
//! when nothing else waits.
//!
//! ```text
//! what        beyond the limit
//! Publish     refused: given back to its source
//! Deliver     dropped: a counted gap
//! Found       its publications are dropped, and whoever asked is told so
//! others      kept up to twice the limit; beyond, the link is reset
//! ```

use std::sync::Arc;

use roadstead_protocol::ErrorCode;
use roadstead_protocol::relay::{Greeting, Relay, push_greeting, push_relay};

use super::wire;
use crate::flow::Relayed;

/// What became of something to be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queued {
    /// It is the last frame now.
    Taken,
    /// No room for a publication: give it back.
    Refused,
    /// No room for a delivery, or nothing could ever carry it.
    Dropped,
    /// No room for what must not be lost: the link is of no use any more.
    Overflow,
}

/// The frames that wait on one link.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batch: Vec<u8>,
    frames: u64,
    /// Bytes of `batch` that are publications.
    publication_bytes: usize,
    /// The socket has not taken all of the last batch.
    blocked: bool,
    has_ping: bool,
    has_pong: bool,
}

impl Queue {
    /// Queues `relayed`, or does what its policy says.
    pub(super) fn push(&mut self, view: u64, relayed: &Relayed, bytes_max: usize) -> Queued {
        let start = self.batch.len();
        let (when_full, frame_bytes_max) = match relayed {
            Relayed::Publish { channel, publication, .. } => {
                (Queued::Refused, wire::publication_bytes_max(channel, publication))
            }
            Relayed::Deliver { channel, publication, .. } => {
                (Queued::Dropped, wire::publication_bytes_max(channel, publication))
            }
            Relayed::Found { request, channel, found: Ok(found) }
                if start > 0 && start + wire::found_bytes_max(channel, found) > bytes_max =>
            {
                // Whoever waits for it is told that there is no room.
                let found = Err(ErrorCode::TooManyRequests);
                let refused = Relayed::Found { request: *request, channel: Arc::clone(channel), found };
                return self.push_kept(view, &refused, bytes_max);
            }
            _ => return self.push_kept(view, relayed, bytes_max),
        };
        if start > 0 && start + frame_bytes_max > bytes_max {
            return when_full;
        }
        if wire::push(&mut self.batch, view, relayed).is_err() {
            return when_full;
        }
        self.publication_bytes += self.batch.len() - start;
        self.frames += 1;
        Queued::Taken
    }

    fn push_kept(&mut self, view: u64, relayed: &Relayed, bytes_max: usize) -> Queued {
        if wire::push(&mut self.batch, view, relayed).is_err() {
            return Queued::Dropped;
        }
        // A publication of any size does not use up the room of what must not be lost.
        let kept_bytes = self.batch.len() - self.publication_bytes;
        if kept_bytes + self.publication_bytes.min(bytes_max) > 2 * bytes_max {
            return Queued::Overflow;
        }
        self.frames += 1;
        Queued::Taken
    }

    /// Asks whether the peer is there, unless that is about to be asked anyway.
    pub(super) fn ping(&mut self, view: u64) {
        if !std::mem::replace(&mut self.has_ping, true) {
            push_relay(&mut self.batch, view, &Relay::Ping).expect("an empty body fits");
            self.frames += 1;
        }
    }

    /// Answers any number of pings with one answer.
    pub(super) fn pong(&mut self, view: u64) {
        if !std::mem::replace(&mut self.has_pong, true) {
            push_relay(&mut self.batch, view, &Relay::Pong).expect("an empty body fits");
            self.frames += 1;
        }
    }

    /// Queues a greeting of our own: at most [`GREETING_BYTES_MAX`](roadstead_protocol::GREETING_BYTES_MAX).
    pub(super) fn greet(&mut self, greeting: &Greeting<'_>) {
        push_greeting(&mut self.batch, greeting).expect("our own names are short");
        self.frames += 1;
    }

    /// Lends a buffer to write into, if there is none.
    pub(super) fn lend(&mut self, buffer: impl FnOnce() -> Vec<u8>) {
        if self.batch.capacity() == 0 {
            self.batch = buffer();
        }
    }

    /// Everything that waits, and how many frames that is, if the socket takes anything.
    pub(super) fn take(&mut self) -> Option<(Vec<u8>, u64)> {
        if self.blocked || self.batch.is_empty() {
            return None;
        }
        self.publication_bytes = 0;
        (self.has_ping, self.has_pong) = (false, false);
        Some((std::mem::take(&mut self.batch), std::mem::take(&mut self.frames)))
    }

    /// Says whether the socket is full.
    pub(super) fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.batch.len()
    }
}
