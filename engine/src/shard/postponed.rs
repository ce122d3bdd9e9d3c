//! The turn's part in what sessions postpone: it is heard before anything new, and its sockets are not read from meanwhile.

use roadstead_io::{Io, Socket};

use super::Shard;
use crate::flow::Now;

impl<I: Io> Shard<I> {
    /// Hears what earlier turns have postponed, as far as this one may.
    pub(super) fn hear_postponed(&mut self, now: Now) {
        while let Some(key) = self.sessions.poll_postponed() {
            let Some(connection) = self.connections.find(key) else { continue };
            // Who does not read is not heard either, and goes on when it has.
            if !connection.outbox.is_blocked()
                && self.sessions.hear_postponed(key, &mut connection.wire, now, &mut self.heard)
            {
                self.io.resume(Socket(key.slot));
            }
        }
    }

    /// Stops reading from whoever has postponed input.
    pub(super) fn pause_postponed(&mut self) {
        for slot in self.heard.postponed.drain(..) {
            if self.connections.open_at(slot).is_some() {
                self.io.pause(Socket(slot));
            }
        }
    }
}
