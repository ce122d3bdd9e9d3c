//! The turn's part for proxies that speak the PROXY protocol: before anything else they say whom they speak for.
//!
//! Invariants: where a listener asks for the header, nobody but a trusted proxy is heard, and nothing of it before the header; what is
//! kept of an incomplete one is bounded, and so is the time for it, with that of the handshake.

use std::collections::HashMap;
use std::net::SocketAddr;

use roadstead_io::{Io, Socket};

use super::Shard;
use crate::counters::{Counters, Metric};
use crate::flow::Now;
use crate::guards::{GuardTally, Introduced, Malformed, Signal, read_header};
use crate::limits::{PROXY_HEADER_BYTES_MAX, REFUSALS_POLITE_MAX};

/// Who is to be introduced, and what has come of it.
#[derive(Debug, Default)]
pub(super) struct Introductions {
    /// Numbers of the listeners that ask for the header, closed ones included.
    listeners: Vec<u16>,
    /// Incomplete headers, by slot.
    begun: HashMap<u32, Vec<u8>>,
}

impl Introductions {
    /// The clients' listeners are these now; the last `proxied` of them ask for the header.
    pub(super) fn learn(&mut self, listeners: &[u16], proxied: usize) {
        self.listeners.extend_from_slice(&listeners[listeners.len().saturating_sub(proxied)..]);
    }

    fn asks(&self, listener: u16) -> bool {
        self.listeners.contains(&listener)
    }

    /// Takes what came on a connection; returns whom it introduces, and how many of `bytes` were the header's.
    fn read(&mut self, slot: u32, bytes: &[u8]) -> Result<Option<(Introduced, usize)>, Malformed> {
        let Some(kept) = self.begun.get_mut(&slot) else {
            let found = read_header(bytes)?;
            if found.is_none() {
                self.begun.insert(slot, bytes.to_vec());
            }
            return Ok(found);
        };
        let before = kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(PROXY_HEADER_BYTES_MAX - before)]);
        let found = read_header(kept)?;
        if found.is_some() {
            self.begun.remove(&slot);
        }
        Ok(found.map(|(introduced, end)| (introduced, end - before)))
    }

    /// The connection in `slot` is over.
    pub(super) fn forget(&mut self, slot: u32) {
        if !self.begun.is_empty() {
            self.begun.remove(&slot);
        }
    }
}

/// Adds what the guards counted in a turn.
pub(super) fn count(counters: &Counters, tally: &GuardTally) {
    const REFUSED: [Metric; 4] = [
        Metric::GuardRefusedDenied,
        Metric::GuardRefusedBanned,
        Metric::GuardRefusedConnections,
        Metric::GuardRefusedRate,
    ];
    for (metric, amount) in REFUSED.into_iter().zip(tally.refused) {
        counters.add(metric, amount);
    }
    for (metric, signal) in [
        (Metric::GuardFaultHandshake, Signal::Handshake),
        (Metric::GuardFaultToken, Signal::Token),
        (Metric::GuardFaultFrame, Signal::Frame),
        (Metric::GuardFaultRate, Signal::Rate),
    ] {
        counters.add(metric, tally.signals[signal as usize]);
    }
    counters.add(Metric::GuardBans, tally.bans);
    counters.add(Metric::GuardUnremembered, tally.unremembered);
}

impl<I: Io> Shard<I> {
    /// A client's connection, or a proxy's, was accepted.
    pub(super) fn admit(&mut self, socket: Socket, peer: SocketAddr, listener: u16, now: Now) {
        self.counters.add(Metric::Accepted, 1);
        let awaits_header = self.introductions.asks(listener);
        let is_stranger = awaits_header && !self.settings.proxy.trusted.holds(peer.ip());
        let is_welcome = if is_stranger {
            self.counters.add(Metric::GuardRefusedProxy, 1);
            false
        } else {
            self.sessions.gate().enter(socket.0, peer.ip(), &self.settings, now.ms).is_ok()
        };
        let refusal = self.admission.refusal(self.index, self.admitted, self.connections_max);
        if is_welcome && let Some(refusal) = refusal {
            self.counters.add(Metric::of_refusal(refusal), 1);
        }
        let is_admitted = is_welcome && refusal.is_none();
        // A handshake for somebody who is to be told no would cost more than the no.
        let is_told =
            is_welcome || (!is_stranger && self.tls.is_none() && self.refusing < REFUSALS_POLITE_MAX);
        let key = self.connections.open(socket, is_admitted);
        if is_admitted {
            self.admitted += 1
        } else {
            self.refusing += 1
        }
        self.connections.at(key.slot).awaits_header = awaits_header;
        if is_told && self.is_serving() && self.encrypt(key.slot) {
            let due_ms = self.sessions.upgrade_due_ms(&self.connections.at(key.slot).wire, now);
            self.timers.arm(&mut self.connections, key.slot, due_ms);
        } else {
            self.abandon(key.slot, now);
        }
    }

    /// Hears the header; returns where what follows it begins and how long it is. `None`: nothing follows, or the connection was
    /// given up.
    pub(super) fn hear_header(&mut self, slot: u32, start: u32, len: u32, now: Now) -> Option<(u32, u32)> {
        let bytes = self.arena.received(start, len);
        let (introduced, used) = match self.introductions.read(slot, bytes) {
            Ok(found) => found?,
            Err(Malformed) => {
                self.counters.add(Metric::GuardRefusedHeader, 1);
                self.abandon(slot, now);
                return None;
            }
        };
        let connection = self.connections.at(slot);
        connection.awaits_header = false;
        if let Introduced::Client(client) = introduced
            && self.sessions.gate().enter(slot, client.ip(), &self.settings, now.ms).is_err()
        {
            if connection.tls.is_some() {
                self.abandon(slot, now);
                return None;
            }
            connection.wire.turn_away();
            let due_ms = self.sessions.upgrade_due_ms(&connection.wire, now);
            self.timers.arm(&mut self.connections, slot, due_ms);
        }
        let used = used as u32;
        (used < len).then_some((start + used, len - used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_in_pieces_is_the_same() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
        let sent = [&line[..], b"\x16\x03\x01"].concat();
        let client = Introduced::Client("192.0.2.1:56324".parse().expect("an address"));
        for piece in 1..sent.len() {
            let mut introductions = Introductions::default();
            let mut at = 0;
            let found = sent.chunks(piece).find_map(|bytes| {
                let found = introductions.read(7, bytes).expect("no fault");
                at += found.map_or(bytes.len(), |(_, used)| used);
                found
            });
            assert_eq!((found.map(|(introduced, _)| introduced), at), (Some(client), line.len()), "{piece}");
            assert!(introductions.begun.is_empty());
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut introductions = Introductions::default();
        let head = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0"[..], &4_080_u16.to_be_bytes()].concat();
        assert_eq!(introductions.read(7, &head), Ok(None));
        assert_eq!(introductions.read(7, &[0; 4_000]), Ok(None));
        assert_eq!(introductions.read(7, &[0; 100_000]), Ok(Some((Introduced::Nobody, 80))));
        assert_eq!(introductions.read(8, b"PROXY "), Ok(None));
        assert_eq!(introductions.read(8, &[b'x'; 100_000]), Err(Malformed));
        introductions.forget(8);
        assert!(introductions.begun.is_empty());
    }

    #[test]
    fn listeners_that_were_opened_again_still_ask() {
        let mut introductions = Introductions::default();
        introductions.learn(&[0, 1], 1);
        introductions.learn(&[3, 4], 1);
        introductions.learn(&[5], 0);
        assert_eq!(
            (0..6).map(|number| introductions.asks(number)).collect::<Vec<_>>(),
            [false, true, false, false, true, false]
        );
    }
}
