//! Publications to channels, and their arrival at every subscriber.
//!
//! Invariants: a publication is expected once at each subscriber that its channel has when it is sent; every stream
//! (publisher and channel) is checked for order, loss and duplicates at every subscriber.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use roadstead_io::Socket;
use roadstead_protocol::{Command, Encoding, PublishRequest, Request, push_command};
use wsproto::Opcode;

use crate::client::{Client, State};
use crate::failure::Failure;
use crate::limits::{OUTSTANDING_MAX, STALL_MS, TURN_BYTES_MAX, TURN_MESSAGES_MAX, WINDOW_POLL_US};
use crate::outstanding::Outstanding;
use crate::plan::{Channels, FanoutLoad, Pace, Plan};
use crate::schedule::{Nanos, Schedule};
use crate::sequence::{Checker, Tally};
use crate::spread::Spread;
use crate::stamp::{self, Stamp};
use crate::turn::Turn;

/// Command ids below this belong to `connect` and `subscribe`.
const FIRST_PUBLISH_ID: u32 = 3;

/// What the threads know of each other: who reads which channel, and how many deliveries are under way.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// Subscribers by channel, and among those of one by URL.
    subscribers: Vec<AtomicU32>,
    /// Publications sent, by stream.
    sent: Vec<AtomicU32>,
    urls: usize,
    /// Subscribers in all.
    total: AtomicU32,
    /// Deliveries to expect.
    expected: AtomicU64,
    /// Deliveries that happened.
    delivered: AtomicU64,
}

impl Audience {
    /// Of `channels` channels with `per_channel` streams each, nobody yet; readers are counted for each of `urls` URLs.
    #[must_use]
    pub(crate) fn new(channels: u32, per_channel: u32, urls: usize) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU32::new(0)).collect();
        Self {
            subscribers: zeros(channels as usize * urls),
            sent: zeros(channels as usize * per_channel as usize),
            urls,
            ..Self::default()
        }
    }

    /// The number of the next publication of `stream`, which only the thread of its publisher asks for.
    fn number(&self, stream: u32) -> u32 {
        self.sent[stream as usize].fetch_add(1, Ordering::Relaxed)
    }

    /// The readers of a channel, for each URL.
    fn of(&self, channel: u32) -> impl Iterator<Item = u64> {
        let first = channel as usize * self.urls;
        let places = &self.subscribers[first..first + self.urls];
        places.iter().map(|readers| u64::from(readers.load(Ordering::Relaxed)))
    }

    fn join(&self, channel: u32, url: usize) {
        self.subscribers[channel as usize * self.urls + url].fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self, channel: u32, url: usize) {
        self.subscribers[channel as usize * self.urls + url].fetch_sub(1, Ordering::Relaxed);
        self.total.fetch_sub(1, Ordering::Relaxed);
    }

    /// Deliveries expected and not made.
    fn outstanding(&self) -> u64 {
        let delivered = self.delivered.load(Ordering::Acquire);
        self.expected.load(Ordering::Acquire).saturating_sub(delivered)
    }
}

/// A connection that publishes.
#[derive(Debug)]
struct Publisher {
    /// Which one of all.
    number: u32,
    /// Number of its URL.
    url: usize,
    socket: Socket,
    is_open: bool,
    /// Publications sent.
    sent: u32,
    /// Intended times of those without a reply, and of those that are due.
    times: Outstanding,
    /// Replies.
    answered: u32,
}

/// In closed loop: when deliveries were last seen to advance, and how many are given up.
#[derive(Debug, Default)]
struct Stall {
    delivered: u64,
    since: Nanos,
    given_up: u64,
}

/// All publishers and subscribers of one thread.
#[derive(Debug)]
pub(crate) struct Fanout {
    load: FanoutLoad,
    encoding: Encoding,
    channels: Channels,
    spread: Arc<Spread>,
    run: u32,
    threads: u32,
    thread: u32,
    audience: Arc<Audience>,
    /// Of each subscriber on this thread, one for each stream of its channel.
    checkers: Vec<Checker>,
    publishers: Vec<Publisher>,
    /// Publications per second of this thread, in open loop.
    rate: f64,
    schedule: Option<Schedule>,
    stall: Stall,
    /// In closed loop: whose turn it is.
    turn_of: usize,
    publication: Vec<u8>,
    command: Vec<u8>,
    /// Deliveries not yet added to the audience's.
    delivered: u64,
}

impl Fanout {
    /// The part of thread `thread`.
    #[must_use]
    pub(crate) fn new(load: FanoutLoad, plan: &Plan, thread: u32, audience: Arc<Audience>) -> Self {
        let streams = load.streams.clone();
        let login = plan.login.as_ref();
        let channels = login.and_then(|login| login.channels.clone());
        let none = || Channels { count: 1, prefix: String::new(), spread: Arc::clone(&plan.spread) };
        let publishers: Vec<_> = (streams.subscribers..plan.clients)
            .filter(|client| client % plan.threads == thread)
            .map(|client| Publisher {
                number: client - streams.subscribers,
                url: plan.spread.target_of(client),
                socket: Socket(0),
                is_open: false,
                sent: 0,
                times: Outstanding::default(),
                answered: 0,
            })
            .collect();
        let share = publishers.len() as f64 / f64::from(streams.publishers);
        let checkers = plan.clients_of(thread) as usize * streams.per_channel() as usize;
        Self {
            publication: stamp::publication(load.size),
            rate: if let Pace::Open(rate) = load.pace { rate * share } else { 0.0 },
            load,
            encoding: login.map_or(Encoding::Json, |login| login.encoding),
            channels: channels.unwrap_or_else(none),
            spread: Arc::clone(&plan.spread),
            run: plan.run,
            threads: plan.threads,
            thread,
            audience,
            checkers: vec![Checker::default(); checkers],
            publishers,
            schedule: None,
            stall: Stall::default(),
            turn_of: 0,
            command: Vec::new(),
            delivered: 0,
        }
    }

    /// A subscriber or publisher is usable.
    pub(crate) fn opened(&mut self, client: &Client, socket: Socket) {
        match self.channels.of_client(client.number) {
            Some(channel) => self.audience.join(channel, self.spread.target_of(client.number)),
            None => {
                if let Some(publisher) = self.publisher(client) {
                    (publisher.socket, publisher.is_open) = (socket, true);
                }
            }
        }
    }

    /// A subscriber or publisher is gone.
    pub(crate) fn lost(&mut self, client: &Client) {
        match self.channels.of_client(client.number) {
            Some(channel) => self.audience.leave(channel, self.spread.target_of(client.number)),
            None => {
                if let Some(publisher) = self.publisher(client) {
                    publisher.is_open = false;
                }
            }
        }
    }

    /// A publisher's socket takes bytes again.
    pub(crate) fn drained(&mut self, client: &mut Client, _socket: Socket, turn: &mut Turn) {
        if let Some(index) = self.publisher_index(client) {
            self.send_unsent(index, client, turn);
        }
    }

    /// A publication arrived at a client of this thread.
    pub(crate) fn publication(&mut self, client: &Client, data: &[u8], turn: &mut Turn) {
        let counters = &mut turn.ledger.counters;
        counters.received += 1;
        let Some(stamp) = Stamp::read(data, self.load.size).filter(|stamp| stamp.run == self.run) else {
            counters.foreign += 1;
            return;
        };
        let streams = &self.load.streams;
        let (channel, index) = (stamp.stream / streams.per_channel(), stamp.stream % streams.per_channel());
        if self.channels.of_client(client.number) != Some(channel) {
            counters.corrupt += 1;
            return;
        }
        let url = self.spread.target_of(client.number);
        let place = (client.number / self.threads) as usize * streams.per_channel() as usize + index as usize;
        let mut tally = Tally::default();
        tally.add(self.checkers[place].check(stamp.sequence));
        turn.ledger.tally(url, tally);
        self.delivered += tally.distinct;
        if tally.distinct > 0 && turn.is_measured(stamp.intended) {
            let latency = turn.now.saturating_sub(stamp.intended);
            turn.ledger.counters.measured_received += 1;
            turn.ledger.latencies.message.record(latency);
            if self.audience.urls > 1 {
                let publisher = streams.subscribers + streams.publisher_of(stamp.stream);
                let latencies = &mut turn.ledger.latencies;
                let is_same = self.spread.target_of(publisher) == url;
                if is_same { &mut latencies.same_url } else { &mut latencies.other_url }.record(latency);
            }
        }
    }

    /// A publish command was answered, with an error code or without.
    pub(crate) fn reply(&mut self, client: &Client, id: u32, error: Option<u32>, turn: &mut Turn) {
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
                let mut audience = 0;
                for (readers, of_url) in self.audience.of(place.channel).zip(&mut turn.ledger.urls) {
                    of_url.expected = of_url.expected.saturating_sub(readers);
                    audience += readers;
                }
                turn.ledger.counters.refused += 1;
                turn.ledger.counters.expected = turn.ledger.counters.expected.saturating_sub(audience);
                self.audience.delivered.fetch_add(audience, Ordering::AcqRel);
                turn.ledger.fail(client.number, Failure::PublishError(code), || {
                    format!("channel {}", place.channel)
                });
            }
        }
    }

    /// Follows the schedule, or fills the window of the closed loop.
    pub(crate) fn send_due(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
        if self.delivered > 0 {
            self.audience.delivered.fetch_add(std::mem::take(&mut self.delivered), Ordering::AcqRel);
        }
        if !turn.follows_schedule() || self.publishers.is_empty() {
            return false;
        }
        match self.load.pace {
            Pace::Open(_) => self.send_scheduled(clients, turn),
            Pace::Closed(depth) => turn.is_sending() && self.send_window(u64::from(depth), clients, turn),
        }
    }

    /// The next publication of the schedule; in closed loop, the next look at the other threads' deliveries.
    #[must_use]
    pub(crate) fn next_due(&self, turn: &Turn) -> Option<Nanos> {
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

    /// Counts what was due and never sent, and what was sent and never answered.
    pub(crate) fn finish(&mut self, is_interrupted: bool, turn: &mut Turn) {
        if let Some(schedule) = self.schedule.as_ref().filter(|_| !is_interrupted) {
            turn.ledger.counters.unsent += schedule.rest();
        }
        for publisher in &self.publishers {
            turn.ledger.counters.unsent += u64::from(publisher.times.next() - publisher.sent);
            turn.ledger
                .fail_times(Failure::PublishUnanswered, u64::from(publisher.sent - publisher.answered));
        }
    }

    fn publisher_index(&self, client: &Client) -> Option<usize> {
        let number = client.number.checked_sub(self.load.streams.subscribers)?;
        self.publishers.binary_search_by_key(&number, |publisher| publisher.number).ok()
    }

    fn publisher(&mut self, client: &Client) -> Option<&mut Publisher> {
        self.publisher_index(client).map(|index| &mut self.publishers[index])
    }

    fn send_scheduled(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
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
            self.publish(index, intended, clients, turn);
        }
        self.schedule = Some(due);
        is_more
    }

    /// Publishes while fewer than `depth` publications of each publisher are under way to their subscribers.
    fn send_window(&mut self, depth: u64, clients: &mut [Client], turn: &mut Turn) -> bool {
        let audience = u64::from(self.audience.total.load(Ordering::Relaxed));
        let (publishers, channels) = (self.load.streams.publishers, self.load.streams.channels);
        // One publication is under way until its last delivery; with several channels, their mean audience counts.
        let allowed = (depth * u64::from(publishers) - 1) * audience / u64::from(channels);
        self.give_up_stalled(turn.now);
        for _ in 0..TURN_MESSAGES_MAX {
            let outstanding = self.audience.outstanding().saturating_sub(self.stall.given_up);
            if audience == 0 || outstanding > allowed {
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
            self.publish(index, turn.now, clients, turn);
        }
        true
    }

    /// After a second without any delivery, what is outstanding is lost: the window must not stay shut.
    fn give_up_stalled(&mut self, now: Nanos) {
        let delivered = self.audience.delivered.load(Ordering::Acquire);
        if delivered != self.stall.delivered || self.audience.outstanding() == self.stall.given_up {
            self.stall.delivered = delivered;
            self.stall.since = now;
        } else if now.saturating_sub(self.stall.since) > STALL_MS * 1_000_000 {
            self.stall.given_up = self.audience.outstanding();
            self.stall.since = now;
        }
    }

    /// Makes one publication due and sends it if the socket takes bytes.
    fn publish(&mut self, index: usize, intended: Nanos, clients: &mut [Client], turn: &mut Turn) {
        let publisher = &mut self.publishers[index];
        if !publisher.is_open || publisher.times.len() >= OUTSTANDING_MAX {
            turn.ledger.counters.unsent += 1;
            return;
        }
        publisher.times.push(intended);
        let socket = publisher.socket;
        self.send_unsent(index, &mut clients[socket.0 as usize], turn);
    }

    fn send_unsent(&mut self, index: usize, client: &mut Client, turn: &mut Turn) {
        let publisher = &mut self.publishers[index];
        if client.is_blocked || client.state != State::Open {
            return;
        }
        let opcode = if self.encoding.is_text() { Opcode::Text } else { Opcode::Binary };
        while let Some(intended) = publisher.times.get(publisher.sent) {
            let place = self.load.streams.place(publisher.number, publisher.sent);
            let sequence = self.audience.number(place.stream);
            Stamp { run: self.run, stream: place.stream, sequence, intended }.write(&mut self.publication);
            let request = PublishRequest {
                channel: self.channels.name(place.channel).into(),
                data: self.publication.as_slice().into(),
                ..PublishRequest::default()
            };
            let id = FIRST_PUBLISH_ID + publisher.sent;
            self.command.clear();
            push_command(
                &mut self.command,
                self.encoding,
                &Command { id, request: Request::Publish(request) },
            );
            client.send(publisher.socket, opcode, &self.command, &mut turn.outbound, &mut turn.random);
            publisher.sent += 1;
            let mut audience = 0;
            for (readers, of_url) in self.audience.of(place.channel).zip(&mut turn.ledger.urls) {
                of_url.expected += readers;
                audience += readers;
            }
            turn.ledger.urls[publisher.url].sent += 1;
            self.audience.expected.fetch_add(audience, Ordering::AcqRel);
            turn.ledger.counters.sent += 1;
            turn.ledger.counters.expected += audience;
            if turn.is_measured(intended) {
                turn.ledger.counters.measured_sent += 1;
            }
        }
    }
}
