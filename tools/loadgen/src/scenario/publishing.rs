//! When publications of a flow are due, and how they leave.
//!
//! Invariants: a publication's latency counts from its intended time; a publisher that takes no bytes delays its
//! publications, never drops them, up to a bound.

use roadstead_protocol::{Command, PublishRequest, Request, push_command};
use wsproto::Opcode;

use super::audience::Audience;
use super::flow::{FIRST_PUBLISH_ID, Flow};
use crate::client::Client;
use crate::limits::{OUTSTANDING_MAX, STALL_MS, TURN_BYTES_MAX, TURN_MESSAGES_MAX, WINDOW_POLL_US};
use crate::plan::Pace;
use crate::schedule::{Nanos, Schedule};
use crate::stamp::Stamp;
use crate::turn::Turn;

impl Flow {
    /// A publisher's socket takes bytes again.
    pub(super) fn drained(&mut self, client: &mut Client, audience: &Audience, turn: &mut Turn) {
        if let Some(index) = self.publisher_index(client) {
            self.send_unsent(index, client, audience, turn);
        }
    }

    /// Follows the schedule, or fills the window of the closed loop. True: more is due at once.
    pub(super) fn send_due(&mut self, clients: &mut [Client], audience: &Audience, turn: &mut Turn) -> bool {
        if !turn.follows_schedule() || self.publishers.is_empty() {
            return false;
        }
        match self.load.pace {
            Pace::Open(_) => self.send_scheduled(clients, audience, turn),
            Pace::Closed(depth) => {
                turn.is_sending() && self.send_window(u64::from(depth), clients, audience, turn)
            }
        }
    }

    /// The next publication of the schedule; in closed loop, the next look at the other threads' deliveries.
    #[must_use]
    pub(super) fn next_due(&self, turn: &Turn) -> Option<Nanos> {
        if self.publishers.is_empty() || turn.window.start == 0 {
            return None;
        }
        match (&self.schedule, self.load.pace) {
            (Some(schedule), _) => schedule.next_due(),
            (None, Pace::Closed(_)) if turn.is_sending() && self.threads > 1 => {
                Some(turn.now + WINDOW_POLL_US * 1_000)
            }
            (None, _) => (turn.now < turn.window.start).then_some(turn.window.start),
        }
    }

    fn send_scheduled(&mut self, clients: &mut [Client], audience: &Audience, turn: &mut Turn) -> bool {
        let window = turn.window;
        let (thread, threads) = (self.thread, self.threads);
        let rate = self.rate;
        let mut due = self
            .schedule
            .take()
            .unwrap_or_else(|| Schedule::new(rate, window.start, window.end, thread, threads));
        let mut is_more = true;
        for _ in 0..TURN_MESSAGES_MAX {
            if turn.outbound.len() >= TURN_BYTES_MAX {
                break;
            }
            let Some((number, intended)) = due.pop(turn.now) else {
                is_more = false;
                break;
            };
            turn.record_lag(intended);
            let index = (number % self.publishers.len() as u64) as usize;
            self.publish(index, intended, clients, audience, turn);
        }
        self.schedule = Some(due);
        is_more
    }

    /// Publishes while fewer than `depth` publications of each publisher are under way to their subscribers.
    fn send_window(
        &mut self,
        depth: u64,
        clients: &mut [Client],
        audience: &Audience,
        turn: &mut Turn,
    ) -> bool {
        let readers = audience.total();
        let (publishers, channels) = (self.load.streams.publishers, self.load.streams.channels);
        // One publication is under way until its last delivery; with several channels, their mean audience counts.
        let allowed = (depth * u64::from(publishers) - 1) * readers / u64::from(channels);
        self.give_up_stalled(audience, turn.now);
        for _ in 0..TURN_MESSAGES_MAX {
            let outstanding = audience.outstanding().saturating_sub(self.stall.given_up);
            if readers == 0 || outstanding > allowed {
                return false;
            }
            if turn.outbound.len() >= TURN_BYTES_MAX {
                return true;
            }
            let index = self.turn_of % self.publishers.len();
            self.turn_of = index + 1;
            let publisher = &self.publishers[index];
            if !publisher.is_open || clients[publisher.socket.0 as usize].is_blocked {
                return false;
            }
            self.publish(index, turn.now, clients, audience, turn);
        }
        true
    }

    /// After a second without any delivery, what is outstanding is lost: the window must not stay shut.
    fn give_up_stalled(&mut self, audience: &Audience, now: Nanos) {
        let delivered = audience.settled();
        if delivered != self.stall.delivered || audience.outstanding() == self.stall.given_up {
            self.stall.delivered = delivered;
            self.stall.since = now;
        } else if now.saturating_sub(self.stall.since) > STALL_MS * 1_000_000 {
            self.stall.given_up = audience.outstanding();
            self.stall.since = now;
        }
    }

    /// Makes one publication due and sends it if the socket takes bytes.
    fn publish(
        &mut self,
        index: usize,
        intended: Nanos,
        clients: &mut [Client],
        audience: &Audience,
        turn: &mut Turn,
    ) {
        let publisher = &mut self.publishers[index];
        if !publisher.is_open || publisher.times.len() >= OUTSTANDING_MAX {
            // Who is away on purpose has nothing to say; anything else is a message that should have left.
            if self.is_restless {
                turn.ledger.counters.skipped += 1;
            } else {
                turn.ledger.counters.unsent += 1;
            }
            return;
        }
        publisher.times.push(intended);
        let socket = publisher.socket;
        self.send_unsent(index, &mut clients[socket.0 as usize], audience, turn);
    }

    fn send_unsent(&mut self, index: usize, client: &mut Client, audience: &Audience, turn: &mut Turn) {
        let publisher = &mut self.publishers[index];
        if !Self::takes(client) {
            return;
        }
        let opcode = if self.encoding.is_text() { Opcode::Text } else { Opcode::Binary };
        while let Some(intended) = publisher.times.get(publisher.sent) {
            let place = self.load.streams.place(publisher.number, publisher.sent);
            let stream = self.load.first_stream + place.stream;
            let (sequence, readers) = audience.publish(stream);
            Stamp { run: self.run, stream, sequence, intended }.write(&mut self.publication);
            let request = PublishRequest {
                channel: self.channels.name(place.channel).into(),
                data: self.publication.as_slice().into(),
                ..PublishRequest::default()
            };
            let id = FIRST_PUBLISH_ID + publisher.sent;
            self.command.clear();
            let command = Command { id, request: Request::Publish(request) };
            push_command(&mut self.command, self.encoding, &command);
            client.send(publisher.socket, opcode, &self.command, &mut turn.outbound, &mut turn.random);
            publisher.sent += 1;
            for (readers, of_url) in audience.by_url(stream, readers).zip(&mut turn.ledger.urls) {
                of_url.expected += readers;
            }
            turn.ledger.urls[publisher.url].sent += 1;
            turn.ledger.counters.sent += 1;
            turn.ledger.counters.expected += readers;
            if turn.is_measured(intended) {
                turn.ledger.counters.measured_sent += 1;
            }
        }
    }
}
