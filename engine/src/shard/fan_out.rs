//! deliver: the steps of walks, from the router to the outboxes, and the ends of subscriptions that would miss something.

use roadstead_io::{Io, Payload};
use roadstead_protocol::{Encoding, UnsubscribeCode};

use super::Shard;
use super::connection::Connections;
use super::written::{self, Written};
use crate::counters::{Counters, Metric};
use crate::flow::{Answer, Delivery, Now};
use crate::limits::DELIVERIES_PER_TURN;
use crate::outbox::{Full, Lane, Outboxes};
use crate::router::{Subscriber, Walk};
use crate::session::{Compressor, Deflates};

impl<I: Io> Shard<I> {
    pub(super) fn deliver_publications(&mut self, now: Now) {
        let mut budget = DELIVERIES_PER_TURN;
        while budget > 0 {
            let mut round = Round {
                connections: &mut self.connections,
                outboxes: &mut self.outboxes,
                counters: &self.counters,
                slow: &mut self.slow,
                unfit: &mut self.unfit,
                insufficient: &mut self.insufficient,
                compressor: self.sessions.compressor(),
            };
            let visit = |tag: u32, name: &str, walk: &mut Walk<Written>, subscribers: &[Subscriber]| {
                round.visit(tag, name, walk, subscribers);
            };
            match self.router.step(budget, visit) {
                Some(visited) => budget -= visited.min(budget),
                None => break,
            }
            self.end_insufficient(now);
        }
    }

    /// Ends subscriptions that would miss something: those of clients, who subscribe again, with 2500; where the server had begun
    /// one, the connection is closed with 3010.
    fn end_insufficient(&mut self, now: Now) {
        for (slot, tag) in self.insufficient.drain(..) {
            let Some((key, connection)) = self.connections.open_at(slot) else { continue };
            let ended = self.router.end_insufficient(&mut connection.seat, tag, now.ms);
            let Some((channel, is_of_server)) = ended else { continue };
            let removed = self.outboxes.purge(&mut connection.outbox, tag);
            self.counters.add(Metric::DroppedInsufficient, u64::from(removed));
            if is_of_server {
                self.lost.push(slot);
                continue;
            }
            let answer = Answer::Ended { channel, tag, code: UnsubscribeCode::InsufficientState };
            let delivery = Delivery { to: key, id: 0, answer };
            self.sessions.answer(&delivery, &mut connection.wire, now, &mut self.heard);
        }
    }
}

/// What a walk touches.
struct Round<'t> {
    connections: &'t mut Connections,
    outboxes: &'t mut Outboxes,
    counters: &'t Counters,
    slow: &'t mut Vec<u32>,
    unfit: &'t mut Vec<u32>,
    insufficient: &'t mut Vec<(u32, u32)>,
    compressor: &'t mut Compressor,
}

impl Round<'_> {
    fn visit(&mut self, tag: u32, name: &str, walk: &mut Walk<Written>, subscribers: &[Subscriber]) {
        let batch = walk.publications.len() as u64;
        let (mut delivered, mut dropped, mut overflowed) = (0, 0, 0);
        for &subscriber in subscribers.iter().rev() {
            let slot = subscriber.slot();
            let Some((_, connection)) = self.connections.open_at(slot) else { continue };
            let skipped = walk.skipped(subscriber);
            if walk.is_gap() {
                if skipped == 0 && subscriber.is_positioned() {
                    self.insufficient.push((slot, tag));
                }
                continue;
            }
            let wanted = batch - skipped as u64;
            if wanted == 0 {
                continue;
            }
            if !connection.wire.is_open() {
                dropped += wanted;
                continue;
            }
            let deflates = connection.wire.deflates();
            let (frames, is_cut) = if skipped > 0 {
                // It began in the middle of the batch.
                let rest = &walk.publications[skipped..];
                let written = written::write(subscriber.encoding(), name, rest, None);
                (written.frames, written.is_cut)
            } else {
                frames(name, walk, subscriber.encoding(), deflates, self.compressor)
            };
            if is_cut {
                self.unfit.push(slot);
            }
            if connection.wire.is_opening() {
                // The connect reply goes first.
                connection.outbox.cork();
            }
            match self.outboxes.push(&mut connection.outbox, slot, Lane::Normal, tag, frames) {
                Ok(()) => delivered += wanted,
                Err(Full) => {
                    overflowed += wanted;
                    if subscriber.is_positioned() {
                        self.insufficient.push((slot, tag));
                    } else {
                        self.slow.push(slot);
                    }
                }
            }
        }
        self.counters.add(Metric::DroppedOutboxFull, overflowed);
        self.counters.add(Metric::Deliveries, delivered);
        self.counters.add(Metric::DroppedClosing, dropped);
    }
}

/// The batch as a connection gets it, and whether it cannot carry all of it.
fn frames(
    name: &str,
    walk: &mut Walk<Written>,
    encoding: Encoding,
    deflates: Deflates,
    compressor: &mut Compressor,
) -> (Payload, bool) {
    let (plain, deflated) = match encoding {
        Encoding::Json => (&mut walk.json, &mut walk.json_deflated),
        Encoding::Protobuf => (&mut walk.protobuf, &mut walk.protobuf_deflated),
    };
    let publications = &walk.publications;
    let mut written = None;
    if deflates.any() {
        let deflated =
            deflated.get_or_insert_with(|| written::write(encoding, name, publications, Some(compressor)));
        // A peer may have too small a window for the largest message.
        written = deflates.fits(deflated.deflated_bytes_max).then_some(&*deflated);
    }
    let written = written
        .unwrap_or_else(|| plain.get_or_insert_with(|| written::write(encoding, name, publications, None)));
    (written.frames.clone(), written.is_cut)
}
