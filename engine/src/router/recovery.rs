//! Subscriptions that know their position, and the reading of streams: asked at the client's shard, passed on by its hub,
//! answered by the owner's.
//!
//! Invariants: the owner reads, and adds whoever asks to those it sends to, before it orders anything else, and its answer takes
//! the same way as what it sends; so a subscription that begins with an answer misses nothing behind it, and gets nothing
//! twice. Whatever shows that a publication is missing at a shard ends the subscriptions there that know their position.
//!
//! ```text
//! leaf                       hub                          owner's hub
//! Reads ── Message::Read ──> (gateway) ── Relay Read ───> stream
//!   <───── Message::Found ──────┴ <────── Relay Found ──────┘     behind all that was sent before
//! check: is this all? ── Interest ──> (gateway) ── Announce ──> top
//! ```

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_protocol::ErrorCode;

use super::Router;
use super::channel::{Interest, NO_STREAM, Role};
use super::links::Route;
use super::message::{Message, Outlet, Post};
use super::reads::{Purpose, Read};
use super::subscriptions::{Seat, State};
use crate::flow::{Answer, Delivery, Found, Key, Position, Reading, Relayed, Standing, Wish};
use crate::limits::{CHECK_EVERY_MS, CHECK_LOOKS_PER_TURN, CHECKS_PER_TURN, OWNER_WAIT_MS};

/// What subscriptions to streams count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryTally {
    /// Who came back and lacks nothing now.
    pub recovered: u64,
    /// Who came back and could not be given what it lacks.
    pub failed: u64,
    /// Publications that came with recoveries.
    pub publications: u64,
    /// Subscriptions ended since they would have missed something.
    pub insufficient: u64,
    /// Reads for clients' history commands.
    pub pages: u64,
    /// Looks further up whether something was missed.
    pub checks: u64,
}

impl<S: BuildHasher, W> Router<S, W> {
    /// A client reads a stream. `None`: the answer comes later.
    pub(super) fn ask_history(
        &mut self,
        by: Key,
        id: u32,
        channel: Arc<str>,
        reading: Reading,
        now_ms: u64,
    ) -> Option<Answer> {
        let due_ms = now_ms + OWNER_WAIT_MS;
        let read = self.reads.add(by, Some(id), channel, Purpose::History(reading), due_ms);
        read.is_none().then_some(Answer::Refused(ErrorCode::TooManyRequests))
    }

    /// A held subscription asks the owner where it begins. Returns whether there is room for that.
    pub(super) fn ask_beginning(
        &mut self,
        by: Key,
        id: Option<u32>,
        name: &Arc<str>,
        subscription: u32,
        wish: Wish,
        now_ms: u64,
    ) -> bool {
        let purpose = Purpose::Subscribe { subscription, wish };
        let Some(read) = self.reads.add(by, id, Arc::clone(name), purpose, now_ms + OWNER_WAIT_MS) else {
            return false;
        };
        self.subscriptions.set_reading(subscription, read);
        true
    }

    /// Puts waiting reads to their owners, and gives up late ones.
    pub(super) fn tick_reads(&mut self, out: &mut Outlet<'_, impl Post>) {
        while let Some(read) = self.reads.poll_expired(out.now_ms) {
            self.tally.unanswered += 1;
            self.refuse_read(&read, ErrorCode::Internal, out);
        }
        self.open_reads(out);
        self.reads.end_turn();
    }

    pub(super) fn open_reads(&mut self, out: &mut Outlet<'_, impl Post>) {
        while let Some((ticket, read)) = self.reads.poll_open() {
            let (hub, from) = (self.hub_of(&read.channel), self.settings.shard);
            let (channel, reading) = (Arc::clone(&read.channel), read.reading());
            if hub == from {
                self.hear_read(channel, reading, from, ticket, out);
            } else if out.post.post(hub, Message::Read { channel, reading, from, ticket }).is_err() {
                self.hear_found(ticket, Err(ErrorCode::TooManyRequests), out);
            }
        }
    }

    /// A shard of this node wants something of a stream.
    pub(super) fn hear_read(
        &mut self,
        channel: Arc<str>,
        reading: Reading,
        from: u16,
        ticket: u64,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let found = match self.role(&channel, out) {
            Role::Owner => self.read_stream(&channel, &reading, out),
            Role::Gateway(owner) => match self.links.announcing(owner) {
                Some(route) => {
                    let request = self.request(from, ticket);
                    return self.relay(route, Relayed::Read { request, channel, reading }, out);
                }
                None => Err(ErrorCode::Internal),
            },
            Role::Orphan | Role::Leaf => Err(ErrorCode::Internal),
        };
        self.answer_read(from, ticket, found, out);
    }

    /// hub (16 bits) · shard (8) · ticket (40)
    fn request(&self, from: u16, ticket: u64) -> u64 {
        u64::from(self.settings.shard) << 48 | u64::from(from) << 40 | ticket
    }

    fn answer_read(
        &mut self,
        shard: u16,
        ticket: u64,
        found: Result<Found, ErrorCode>,
        out: &mut Outlet<'_, impl Post>,
    ) {
        if shard == self.settings.shard {
            return self.hear_found(ticket, found, out);
        }
        let _ = out.post.post(shard, Message::Found { ticket, found: found.map(Box::new) });
    }

    /// Reads a stream that this node owns.
    fn read_stream(
        &mut self,
        name: &Arc<str>,
        reading: &Reading,
        out: &mut Outlet<'_, impl Post>,
    ) -> Result<Found, ErrorCode> {
        let keeping = self.keeping.of(name).ok_or(ErrorCode::NotAvailable)?;
        let place = self.open_kept(name, out);
        let stream = self.channels[place as usize].stream;
        self.streams.read(stream, keeping, reading, out.now_ms)
    }

    /// The record of a channel whose stream is used, with or without subscribers.
    pub(super) fn open_kept(&mut self, name: &Arc<str>, out: &mut Outlet<'_, impl Post>) -> u32 {
        let place = self.find(name).unwrap_or_else(|| {
            let place = self.open(name, out.now_ms);
            self.vacate(place, out.now_ms);
            place
        });
        if self.channels[place as usize].stream == NO_STREAM {
            // Its history was switched on while it was in use.
            self.renew(place, out);
        }
        place
    }

    /// Another node reads a stream.
    pub(super) fn hear_node_read(
        &mut self,
        route: Route,
        request: u64,
        channel: Arc<str>,
        reading: Reading,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let found = match self.role(&channel, out) {
            Role::Owner => self.read_stream(&channel, &reading, out),
            _ => {
                self.tally.misplaced += 1;
                Err(ErrorCode::Internal)
            }
        };
        self.relay(route, Relayed::Found { request, channel, found }, out);
    }

    /// The owner has read. What it found counts only beside the interest that it has confirmed.
    pub(super) fn hear_node_found(
        &mut self,
        route: Route,
        request: u64,
        name: &str,
        found: Result<Found, ErrorCode>,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let (shard, ticket) = ((request >> 40 & 0xff) as u16, request & 0xff_ffff_ffff);
        if shard >= self.settings.shards {
            self.tally.void += 1;
            return;
        }
        if let Ok(found) = &found
            && let Some(place) = self.find(name)
        {
            let channel = &self.channels[place as usize];
            let is_ours = channel.role == Role::Gateway(route.node)
                && channel.announced == route.session as u32
                && channel.interest == Interest::Confirmed
                && channel.position.epoch == found.position.epoch;
            if is_ours && channel.position.sequence < found.position.sequence {
                self.catch_up(place, found.position);
            }
        }
        self.answer_read(shard, ticket, found, out);
    }

    /// A read of this shard is answered.
    pub(super) fn hear_found(
        &mut self,
        ticket: u64,
        found: Result<Found, ErrorCode>,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let Some(read) = self.reads.take(ticket) else { return };
        match (read.purpose, found) {
            (Purpose::History(_), Ok(found)) => {
                self.recoveries.pages += 1;
                if let Some(id) = read.id {
                    let answer = Answer::Read(Box::new(found));
                    out.deliveries.push(Delivery { to: read.by, id, answer });
                }
            }
            (Purpose::Subscribe { subscription, .. }, Err(ErrorCode::NotAvailable)) => {
                // The owner keeps nothing: a subscription like any other.
                self.subscriptions.set_held(subscription, read.id);
                if read.id.is_none() {
                    out.deliveries.push(begun(&read, Ok(None)));
                }
                let place = self.subscriptions.channel(subscription);
                self.release_held(place, out);
            }
            (Purpose::Subscribe { subscription, wish }, Ok(found)) => {
                if let Err(code) = self.begin_at(&read, subscription, wish, found, out) {
                    self.refuse_read(&read, code, out);
                }
            }
            (_, Err(code)) => self.refuse_read(&read, code, out),
        }
    }

    /// A subscription begins at the position that the owner has named.
    fn begin_at(
        &mut self,
        read: &Read,
        subscription: u32,
        wish: Wish,
        found: Found,
        out: &mut Outlet<'_, impl Post>,
    ) -> Result<(), ErrorCode> {
        let place = self.subscriptions.channel(subscription);
        let channel = &self.channels[place as usize];
        let known = channel.position;
        // What the owner sends behind its answer must come here, and nothing behind it can have come before.
        if !channel.is_live()
            || known.epoch != found.position.epoch
            || known.sequence > found.position.sequence
        {
            return Err(ErrorCode::Internal);
        }
        self.catch_up(place, found.position);
        if wish.since.is_some() {
            *(if found.recovered { &mut self.recoveries.recovered } else { &mut self.recoveries.failed }) +=
                1;
            if wish.refuses_unrecovered && !found.recovered {
                return Err(ErrorCode::UnrecoverablePosition);
            }
        }
        self.recoveries.publications += found.publications.len() as u64;
        let channel = &mut self.channels[place as usize];
        self.subscriptions.set_live(subscription, &mut channel.subscribers, true);
        if let Some(walk) = &mut channel.walk {
            walk.admit(subscription);
        }
        let standing = Some(Box::new(Standing { wish, found }));
        out.deliveries.push(match read.id {
            Some(id) => Delivery { to: read.by, id, answer: Answer::Subscribed(standing) },
            None => begun(read, Ok(standing)),
        });
        Ok(())
    }

    fn refuse_read(&mut self, read: &Read, code: ErrorCode, out: &mut Outlet<'_, impl Post>) {
        match read.purpose {
            Purpose::History(_) => {
                if let Some(id) = read.id {
                    out.deliveries.push(Delivery { to: read.by, id, answer: Answer::Refused(code) });
                }
            }
            Purpose::Subscribe { subscription, .. } => {
                // It ends where its connection is at hand.
                self.subscriptions.set_refused(subscription, read.id);
                self.ends.push_back((read.by, self.subscriptions.channel(subscription), code));
            }
        }
    }

    /// The next subscription that was refused, with its channel and the answer; for [`Self::give_up`].
    pub fn poll_refused(&mut self) -> Option<(Key, u32, ErrorCode)> {
        self.ends.pop_front()
    }

    /// Ends a positioned subscription that would miss something. Returns its channel's name, and whether the server had begun it.
    pub fn end_insufficient(&mut self, seat: &mut Seat, place: u32, now_ms: u64) -> Option<(Arc<str>, bool)> {
        let subscription = self.subscriptions.find(seat, place)?;
        if self.subscriptions.state(subscription) != State::Live {
            return None;
        }
        let is_of_server = self.subscriptions.is_of_server(subscription);
        let name = Arc::clone(&self.channels[place as usize].name);
        self.recoveries.insufficient += 1;
        self.leave(seat, subscription, now_ms);
        Some((name, is_of_server))
    }

    /// The channel stands at `position` further up: what lies between that and what came is missing here.
    pub(super) fn catch_up(&mut self, place: u32, position: Position) {
        if self.channels[place as usize].position != position {
            self.break_off(place);
            self.channels[place as usize].position = position;
        }
    }

    // Position checks.

    /// Asks further up, for the next few channels with a stream, whether what came here is all there is.
    pub(super) fn check_positions(&mut self, out: &mut Outlet<'_, impl Post>) {
        if out.now_ms < self.check.due_ms {
            return;
        }
        let places = self.channels.capacity().min(self.review.places() as usize) as u64;
        let passed_ms = (out.now_ms - self.check.looked_ms).min(self.check.delay_ms);
        let looks = (places * passed_ms / self.check.delay_ms.max(1) + 1).min(places);
        let mut asked = 0;
        for looked in 0..looks.min(u64::from(CHECK_LOOKS_PER_TURN)) {
            let place = self.check.hand;
            self.check.hand = if u64::from(place) + 1 >= places { 0 } else { place + 1 };
            asked += u32::from(self.check_one(place, out));
            if asked == CHECKS_PER_TURN {
                // The rest of what is due by now comes in the next turn.
                let rest_ms = (looks - looked - 1) * self.check.delay_ms / places.max(1);
                self.check.looked_ms = out.now_ms - rest_ms.min(passed_ms);
                self.check.due_ms = out.now_ms + 1;
                return;
            }
        }
        (self.check.looked_ms, self.check.due_ms) = (out.now_ms, out.now_ms + CHECK_EVERY_MS);
    }

    fn check_one(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) -> bool {
        let Some(channel) = self.channels.get(place as usize) else { return false };
        if !channel.position.is_stream() || channel.interest != Interest::Confirmed {
            return false;
        }
        let name = Arc::clone(&channel.name);
        match channel.role {
            Role::Leaf if channel.subscribers.iter().any(|subscriber| subscriber.is_positioned()) => {
                let (hub, from) = (self.hub_of(&name), self.settings.shard);
                let _ = out.post.post(hub, Message::Interest { channel: name, from });
            }
            Role::Gateway(owner) if channel.interested != 0 => {
                let position = channel.position;
                let route = self.links.announcing(owner);
                let Some(route) = route.filter(|route| route.session as u32 == channel.announced) else {
                    return false;
                };
                let ask = self.next_ask();
                self.channels[place as usize].ask = ask;
                self.relay(route, Relayed::Announce { channel: name, ask, position }, out);
            }
            _ => return false,
        }
        self.recoveries.checks += 1;
        true
    }
}

/// The answer to a session that waits for a subscription of its own.
fn begun(read: &Read, begun: Result<Option<Box<Standing>>, ErrorCode>) -> Delivery {
    Delivery { to: read.by, id: 0, answer: Answer::Begun { channel: Arc::clone(&read.channel), begun } }
}

/// How far the checks of positions have come.
#[derive(Debug)]
pub(super) struct Check {
    /// All channels are looked at within this time, milliseconds.
    pub(super) delay_ms: u64,
    hand: u32,
    looked_ms: u64,
    pub(super) due_ms: u64,
}

impl Default for Check {
    fn default() -> Self {
        Self { delay_ms: 40_000, hand: 0, looked_ms: 0, due_ms: 0 }
    }
}
