//! The turn's part in TLS: records become plain bytes before sessions hear them, and handshakes begin when they may.
//!
//! Invariant: whoever is served already is heard before anybody's handshake begins.

use roadstead_io::{Io, Payload, Socket};

use super::Shard;
use crate::counters::Metric;
use crate::flow::Now;
use crate::guards::Signal;
use crate::session::Ending;
use crate::tls::{Broken, Established, Identity, LinkIdentity, Stream};

impl<I: Io> Shard<I> {
    /// Shows these certificates from now on.
    pub(super) fn certify(&mut self, clients: Option<Box<Identity>>, links: Option<Box<LinkIdentity>>) {
        if let Some(identity) = clients {
            self.tls = Some(*identity);
        }
        if let Some(identity) = links {
            self.link_streams.certify(*identity);
        }
    }

    // listen

    /// Gives a client that was just accepted its stream, if the listeners are encrypted. False: it cannot be had.
    pub(super) fn encrypt(&mut self, slot: u32) -> bool {
        let Some(identity) = &self.tls else { return true };
        let stream = Stream::new(identity);
        if let Ok(stream) = stream {
            self.connections.at(slot).tls = Some(Box::new(stream));
            return true;
        }
        false
    }

    pub(super) fn hear_encrypted(&mut self, slot: u32, start: u32, len: u32, now: Now) {
        let Some((key, connection)) = self.connections.open_at(slot) else { return };
        let Some(stream) = &mut connection.tls else { return };
        let held_bytes = stream.held_bytes();
        let waits = !stream.has_begun() && !stream.is_closed();
        if waits && held_bytes == 0 && !self.handshakes.wait(key) {
            self.counters.add(Metric::TlsHandshakesRefused, 1);
            return self.abandon(slot, now);
        }
        let records = self.arena.received(start, len);
        self.plain.clear();
        let opened = if waits { stream.keep(records) } else { stream.open(records, &mut self.plain) };
        self.hear_opened(slot, held_bytes, opened, now);
    }

    /// Begins the handshakes that may begin in this turn.
    pub(super) fn begin_handshakes(&mut self, now: Now) {
        while let Some((key, is_paused)) = self.handshakes.poll(now.ms) {
            let connection = self.connections.find(key);
            let connection = connection.filter(|connection| connection.wire.ending() == Ending::None);
            let Some(stream) = connection.and_then(|connection| connection.tls.as_mut()) else {
                self.handshakes.give_back();
                continue;
            };
            let held_bytes = stream.held_bytes();
            self.plain.clear();
            let opened = stream.begin(&mut self.plain);
            if is_paused {
                self.io.resume(Socket(key.slot));
            }
            self.hear_opened(key.slot, held_bytes, opened, now);
        }
        while let Some(key) = self.handshakes.poll_pause() {
            if self.connections.find(key).is_some() {
                self.io.pause(Socket(key.slot));
            }
        }
    }

    /// Takes what a stream has made of records; it held `held_bytes` before.
    fn hear_opened(&mut self, slot: u32, held_bytes: usize, mut opened: Result<(), Broken>, now: Now) {
        let Some((key, connection)) = self.connections.open_at(slot) else { return };
        let Some(stream) = &mut connection.tls else { return };
        self.tls_held_bytes = self.tls_held_bytes + stream.held_bytes() - held_bytes;
        let budget_bytes = self.settings.limits.inbound_bytes_per_shard as usize;
        if self.tls_held_bytes > budget_bytes && stream.held_bytes() > 0 {
            opened = Err(Broken);
        }
        if opened == Err(Broken) && stream.is_handshaking() {
            self.counters.add(Metric::TlsHandshakesFailed, 1);
            self.sessions.gate().blame(slot, Signal::Handshake, &self.settings.guard, now.ms);
        }
        if let Some(Established { is_resumed, client }) = stream.take_established() {
            let kind = if is_resumed { Metric::TlsHandshakesResumed } else { Metric::TlsHandshakesFull };
            self.counters.add(kind, 1);
            let rule = self.settings.tls.client_user;
            if let Some(user) = client.as_ref().and_then(|client| client.user(rule)) {
                connection.wire.certify(user);
            }
        }
        if stream.has_outgoing() {
            self.tls_speakers.push(slot);
        }
        // Whose handshake waits to begin has sent what it could.
        let is_incomplete = stream.has_begun() && (stream.held_bytes() > 0 || stream.is_handshaking());
        let has_ended = stream.is_closed() || opened == Err(Broken);
        if opened == Ok(()) && !self.plain.is_empty() {
            let opened = (&mut self.plain[..], None);
            self.sessions.hear(key, &mut connection.wire, opened, now, &mut self.heard);
        }
        self.sessions.hear_record(key, &mut connection.wire, is_incomplete, now, &mut self.heard);
        if has_ended {
            self.sessions.hear_end(key, &mut connection.wire, now, &mut self.heard);
        }
    }

    // speak

    /// Sends what TLS has to say of its own, on sockets that did not speak in this turn: then it went along.
    pub(super) fn speak_tls(&mut self, now: Now) {
        for slot in self.tls_speakers.drain(..) {
            let Some((_, connection)) = self.connections.open_at(slot) else { continue };
            let Some(stream) = &mut connection.tls else { continue };
            if connection.outbox.is_blocked() || !stream.has_outgoing() {
                continue;
            }
            match stream.seal(&[]) {
                Ok(records) => {
                    self.sent_bytes += records.len() as u64;
                    self.io.send(Socket(slot), Payload::from(records));
                }
                Err(Broken) => self.tls_broken.push(slot),
            }
        }
        while let Some(slot) = self.tls_broken.pop() {
            self.abandon(slot, now);
        }
    }
}
