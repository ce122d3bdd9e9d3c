//! One flow of publications on one thread: who reads it here, and what arrives.
//!
//! Invariants: a publication is expected once at each reader that its stream has when it is sent, slow ones apart; every
//! stream is checked for order, loss and duplicates at every reader.

use std::sync::Arc;

use roadstead_io::Socket;
use roadstead_protocol::Encoding;

use super::audience::Audience;
use crate::client::{Client, State};
use crate::failure::Failure;
use crate::outstanding::Outstanding;
use crate::plan::{self, Channels, FlowKind, Pace, Plan};
use crate::schedule::{Nanos, Schedule};
use crate::sequence::{Checker, Tally};
use crate::spread::Spread;
use crate::stamp::{self, Stamp};
use crate::turn::Turn;

/// Command ids below this belong to `connect` and `subscribe`.
pub(super) const FIRST_PUBLISH_ID: u32 = 1_000;

/// A connection that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Which one of all.
    pub(super) number: u32,
    /// Number of its URL.
    pub(super) url: usize,
    pub(super) socket: Socket,
    pub(super) is_open: bool,
    /// Publications sent.
    pub(super) sent: u32,
    /// Intended times of those without a reply, and of those that are due.
    pub(super) times: Outstanding,
    /// Replies.
    pub(super) answered: u32,
}

/// In closed loop: when deliveries were last seen to advance, and how many are given up.
#[derive(Debug, Default)]
pub(super) struct Stall {
    pub(super) delivered: u64,
    pub(super) since: Nanos,
    pub(super) given_up: u64,
}

/// The readers and publishers of one flow on this thread.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) load: plan::Flow,
    pub(super) encoding: Encoding,
    pub(super) channels: Channels,
    spread: Arc<Spread>,
    pub(super) run: u32,
    pub(super) threads: u32,
    pub(super) thread: u32,
    /// Of each client on this thread, one for each stream of its channels.
    checkers: Vec<Checker>,
    pub(super) publishers: Vec<Publisher>,
    /// Publications per second of this thread, in open loop.
    pub(super) rate: f64,
    pub(super) schedule: Option<Schedule>,
    pub(super) stall: Stall,
    /// In closed loop: whose turn it is.
    pub(super) turn_of: usize,
    /// Publishers may be away on purpose.
    pub(super) is_restless: bool,
    pub(super) publication: Vec<u8>,
    pub(super) command: Vec<u8>,
}

impl Flow {
    /// The part of thread `thread` in `load`, whose channels are `channels`.
    #[must_use]
    pub(super) fn new(load: &plan::Flow, channels: &Channels, plan: &Plan, thread: u32) -> Self {
        let streams = &load.streams;
        let publishers: Vec<_> = (0..streams.publishers)
            .map(|number| (number, streams.client_of(number)))
            .filter(|(_, client)| client % plan.threads == thread && !plan.is_slow(*client))
            .map(|(number, client)| Publisher {
                number,
                url: plan.spread.target_of(client),
                socket: Socket(0),
                is_open: false,
                sent: 0,
                times: Outstanding::default(),
                answered: 0,
            })
            .collect();
        let share = publishers.len() as f64 / f64::from(streams.publishers);
        let places = channels.subscriptions as usize * streams.per_channel() as usize;
        Self {
            publication: stamp::publication(load.size),
            rate: if let Pace::Open(rate) = load.pace { rate * share } else { 0.0 },
            encoding: plan.login.as_ref().map_or(Encoding::Json, |login| login.encoding),
            channels: channels.clone(),
            spread: Arc::clone(&plan.spread),
            run: plan.run,
            threads: plan.threads,
            thread,
            checkers: vec![Checker::default(); plan.clients_of(thread) as usize * places],
            publishers,
            schedule: None,
            stall: Stall::default(),
            turn_of: 0,
            is_restless: load.kind == FlowKind::Direct && !plan.unrest.is_calm(),
            command: Vec::new(),
            load: load.clone(),
        }
    }

    /// A client is usable: it publishes, and reads unless it `is_slow`.
    pub(super) fn opened(&mut self, client: &Client, socket: Socket, is_slow: bool, audience: &Audience) {
        if let Some(publisher) = self.publisher(client) {
            (publisher.socket, publisher.is_open) = (socket, true);
        }
        if is_slow {
            return;
        }
        let url = self.spread.target_of(client.number);
        for (channel, place) in self.channels.all_of_client(client.number).zip(0..) {
            audience.count(true);
            for index in 0..self.load.streams.per_channel() {
                let first = audience.join(self.stream(channel, index), url);
                let checker = self.checker(client.number, place, index);
                self.checkers[checker] = Checker::starting_at(first);
            }
        }
    }

    /// A usable client is gone. Returns how many publications were under way to it: unless they are excused, they will be missing.
    pub(super) fn lost(&mut self, client: &Client, is_slow: bool, audience: &Audience) -> u64 {
        if let Some(publisher) = self.publisher(client) {
            publisher.is_open = false;
        }
        if is_slow {
            return 0;
        }
        let url = self.spread.target_of(client.number);
        let mut under_way = 0;
        for (channel, place) in self.channels.all_of_client(client.number).zip(0..) {
            audience.count(false);
            for index in 0..self.load.streams.per_channel() {
                let end = audience.leave(self.stream(channel, index), url);
                let next = self.checkers[self.checker(client.number, place, index)].next();
                under_way += u64::from(end.saturating_sub(next));
            }
        }
        under_way
    }

    /// Whether all that a client has published was answered, so that it can leave without a loss.
    #[must_use]
    pub(super) fn is_at_rest(&self, client: &Client) -> bool {
        let publisher = self.publisher_index(client).map(|index| &self.publishers[index]);
        publisher.is_none_or(|publisher| publisher.times.next() == publisher.answered)
    }

    /// Whether publications of stream `stream` belong to this flow.
    #[must_use]
    pub(super) fn owns(&self, stream: u32) -> bool {
        let first = self.load.first_stream;
        (first..first + self.load.streams.count()).contains(&stream)
    }

    /// A publication of this flow arrived. Returns whether it was a delivery that was awaited.
    pub(super) fn publication(
        &mut self,
        client: &Client,
        stamp: &Stamp,
        urls: usize,
        turn: &mut Turn,
    ) -> bool {
        let streams = &self.load.streams;
        let stream = stamp.stream - self.load.first_stream;
        let (channel, index) = (stream / streams.per_channel(), stream % streams.per_channel());
        let Some(place) = self.channels.place_of(client.number, channel) else {
            turn.ledger.counters.corrupt += 1;
            return false;
        };
        let url = self.spread.target_of(client.number);
        let publisher = streams.client_of(streams.publisher_of(stream));
        let checker = self.checker(client.number, place, index);
        let mut tally = Tally::default();
        tally.add(self.checkers[checker].check(stamp.sequence));
        turn.ledger.tally(url, tally);
        if tally.distinct == 0 {
            return false;
        }
        if turn.is_measured(stamp.intended) {
            let latency = turn.now.saturating_sub(stamp.intended);
            let latencies = &mut turn.ledger.latencies;
            turn.ledger.counters.measured_received += 1;
            match self.load.kind {
                FlowKind::Fanout => latencies.message.record(latency),
                FlowKind::Direct => latencies.direct.record(latency),
            }
            if urls > 1 {
                let is_same = self.spread.target_of(publisher) == url;
                if is_same { &mut latencies.same_url } else { &mut latencies.other_url }.record(latency);
            }
        }
        true
    }

    /// A publish command was answered, with an error code or without.
    pub(super) fn reply(
        &mut self,
        client: &Client,
        id: u32,
        error: Option<u32>,
        audience: &Audience,
        turn: &mut Turn,
    ) {
        let Some(index) = self.publisher_index(client) else { return };
        let publisher = &mut self.publishers[index];
        let Some(count) = id.checked_sub(FIRST_PUBLISH_ID).filter(|count| *count < publisher.sent) else {
            return;
        };
        let Some(intended) = publisher.times.take(count) else { return };
        publisher.answered += 1;
        turn.ledger.counters.answered += 1;
        match error {
            None if turn.is_measured(intended) => {
                turn.ledger.latencies.publish.record(turn.now.saturating_sub(intended));
            }
            None => {}
            Some(code) => {
                let place = self.load.streams.place(publisher.number, count);
                let readers = audience.readers(self.load.first_stream + place.stream);
                let by_url = audience.by_url(self.load.first_stream + place.stream, readers);
                for (readers, of_url) in by_url.zip(&mut turn.ledger.urls) {
                    of_url.excused += readers;
                }
                turn.ledger.counters.refused += 1;
                turn.ledger.counters.excused += readers;
                audience.settle(readers);
                turn.ledger.fail(client.number, Failure::PublishError(code), || {
                    format!("channel {}", self.channels.name(place.channel))
                });
            }
        }
    }

    /// Counts what was due and never sent, and what was sent and never answered.
    pub(super) fn finish(&mut self, is_interrupted: bool, turn: &mut Turn) {
        if let Some(schedule) = self.schedule.as_ref().filter(|_| !is_interrupted) {
            turn.ledger.counters.unsent += schedule.rest();
        }
        for publisher in &self.publishers {
            turn.ledger.counters.unsent += u64::from(publisher.times.next() - publisher.sent);
            turn.ledger
                .fail_times(Failure::PublishUnanswered, u64::from(publisher.sent - publisher.answered));
        }
    }

    /// Whether client `client` can publish now.
    pub(super) fn takes(client: &Client) -> bool {
        !client.is_blocked && client.state == State::Open
    }

    pub(super) fn publisher_index(&self, client: &Client) -> Option<usize> {
        let number = self.load.streams.publisher_at(client.number)?;
        self.publishers.binary_search_by_key(&number, |publisher| publisher.number).ok()
    }

    fn publisher(&mut self, client: &Client) -> Option<&mut Publisher> {
        self.publisher_index(client).map(|index| &mut self.publishers[index])
    }

    fn stream(&self, channel: u32, index: u32) -> u32 {
        self.load.first_stream + channel * self.load.streams.per_channel() + index
    }

    /// Where the checker is of stream `index` of the channel at `place` among those of a client.
    fn checker(&self, number: u32, place: u32, index: u32) -> usize {
        let per_channel = self.load.streams.per_channel() as usize;
        let channel =
            (number / self.threads) as usize * self.channels.subscriptions as usize + place as usize;
        channel * per_channel + index as usize
    }
}
