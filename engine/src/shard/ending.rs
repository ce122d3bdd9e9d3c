//! The way out of service: listeners that close and open again, clients that are told to go, the end of the shard.
//!
//! Invariants: whoever waits to be accepted is, before a listener closes; links to other nodes stay until the very end.

use roadstead_io::Io;
use roadstead_protocol::DisconnectCode;

use super::leaving::Leaving;
use super::{Course, Shard};
use crate::flow::Now;

impl<I: Io> Shard<I> {
    pub(super) fn stop(&mut self, now: Now) {
        if self.course != Course::Serving {
            return;
        }
        self.course = Course::Stopping { deadline_ms: now.ms + u64::from(self.settings.shutdown.close_ms) };
        self.listeners.clear();
        for listener in 0..self.io.listeners() {
            self.io.stop_listening(listener);
        }
        for slot in 0..self.connections.slots() {
            self.say_goodbye(slot, now);
        }
    }

    pub(super) fn stop_listening(&mut self) {
        for listener in self.listeners.drain(..) {
            self.io.stop_listening(listener);
        }
    }

    pub(super) fn listen_again(&mut self) {
        if self.listeners.is_empty()
            && let Some(relisten) = &mut self.relisten
        {
            match (relisten.0)(&mut self.io) {
                Ok(listeners) => {
                    self.introductions.learn(&listeners, self.settings.proxy.listen.len());
                    self.listeners = listeners;
                }
                Err(error) => tracing::error!("cannot listen for clients again: {error}"),
            }
        }
    }

    pub(super) fn leave(&mut self, window_ms: u64, now: Now) {
        let seed = self.connections.seed() ^ now.unix_ms;
        self.leaving = Some(Leaving::new(now.ms, window_ms, self.admitted, seed));
    }

    /// Closes the clients whose turn it is while this shard leaves.
    pub(super) fn close_leaving(&mut self, now: Now) {
        while let Some(slot) = self.next_to_leave(now) {
            self.say_goodbye(slot, now);
        }
    }

    fn next_to_leave(&mut self, now: Now) -> Option<u32> {
        let connections = &mut self.connections;
        let slots = connections.slots();
        self.leaving.as_mut()?.poll(now.ms, slots, |slot| {
            connections.open_at(slot).is_some_and(|(_, connection)| connection.wire.is_closable())
        })
    }

    /// Closes one client with 3001: it comes back, elsewhere.
    fn say_goodbye(&mut self, slot: u32, now: Now) {
        if let Some((key, connection)) = self.connections.open_at(slot) {
            self.sessions.close(key, &mut connection.wire, DisconnectCode::Shutdown, now, &mut self.heard);
        }
    }
}
