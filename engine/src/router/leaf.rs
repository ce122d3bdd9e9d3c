//! The part of every shard: its subscribers, its interest in what the hub sends, its publishers' requests.

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_protocol::{Encoding, ErrorCode};

use super::Router;
use super::channel::{Interest, Role};
use super::message::{Message, Outlet, Post};
use super::publishes::Asked;
use super::subscriptions::{Seat, State};
use crate::flow::{Answer, Delivery, Key, Ordered, Position, Publication, Term, Wish};
use crate::limits::{CHANNELS_VACANT_MAX, OWNER_WAIT_MS, VACANCY_MS};

impl<S: BuildHasher, W> Router<S, W> {
    /// The connection of `seat` is gone; all its subscriptions end.
    pub fn leave_all(&mut self, seat: &mut Seat, now_ms: u64) {
        while let Some(subscription) = seat.first() {
            self.leave(seat, subscription, now_ms);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one command")]
    pub(super) fn subscribe(
        &mut self,
        by: Key,
        id: Option<u32>,
        name: &Arc<str>,
        encoding: Encoding,
        verdict: Result<Option<Term>, ErrorCode>,
        wish: Option<Wish>,
        seat: &mut Seat,
        out: &mut Outlet<'_, impl Post>,
    ) -> Option<Answer> {
        let known = self.find(name);
        if known.is_some_and(|place| self.subscriptions.find(seat, place).is_some()) {
            return Some(Answer::Refused(ErrorCode::AlreadySubscribed));
        }
        if seat.count() >= self.settings.channels_per_client {
            return Some(Answer::Refused(ErrorCode::LimitExceeded));
        }
        let term = match verdict {
            Ok(term) => term,
            Err(code) => return Some(Answer::Refused(code)),
        };
        let hub = self.hub_of(name);
        let here = self.settings.shard;
        if known.is_none() && hub != here && !out.post.has_room(hub) {
            return Some(Answer::Refused(ErrorCode::TooManyRequests));
        }
        let place = known.unwrap_or_else(|| self.open(name, out.now_ms));
        self.touch(place, out);
        let channel = &mut self.channels[place as usize];
        if hub == here {
            channel.interested |= 1 << here;
        }
        let subscription = self.subscriptions.add(seat, by, place, encoding, id, &mut channel.subscribers);
        self.terms.set(subscription, term);
        let is_live = channel.is_live();
        if let Some(wish) = wish {
            if !self.ask_beginning(by, id, name, subscription, wish, out.now_ms) {
                self.leave(seat, subscription, out.now_ms);
                return Some(Answer::Refused(ErrorCode::TooManyRequests));
            }
            if !is_live {
                self.ask(place, out);
            }
            return None;
        }
        if is_live {
            self.subscriptions.set_live(subscription, &mut channel.subscribers, false);
            return Some(Answer::Subscribed(None));
        }
        if id.is_some() {
            self.held.push_back((out.now_ms + OWNER_WAIT_MS, by, place));
        }
        self.ask(place, out);
        None
    }

    /// Asks further up for a channel, unless that was done.
    pub(super) fn ask(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        let channel = &mut self.channels[place as usize];
        match channel.role {
            Role::Leaf if channel.interest == Interest::None => {
                channel.interest = Interest::Asked;
                let name = Arc::clone(&channel.name);
                let (hub, from) = (self.hub_of(&name), self.settings.shard);
                // Kept by the mailbox if it is full: interest is never lost.
                let _ = out.post.post(hub, Message::Interest { channel: name, from });
            }
            Role::Gateway(node) => self.announce(place, node, out),
            Role::Leaf | Role::Owner | Role::Orphan => {}
        }
    }

    /// The hub has answered: held subscribers become live.
    pub(super) fn hear_interested(
        &mut self,
        name: &str,
        position: Position,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let Some(place) = self.find(name) else { return };
        let channel = &mut self.channels[place as usize];
        if channel.interest == Interest::None {
            // Withdrawn meanwhile.
            return;
        }
        channel.interest = Interest::Confirmed;
        self.catch_up(place, position);
        self.release_held(place, out);
    }

    /// Who was held for want of a confirmed interest is let in, if there is one.
    pub(super) fn release_held(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        let channel = &mut self.channels[place as usize];
        if channel.is_live() {
            self.subscriptions.release_held(&mut channel.subscribers, out.deliveries);
        }
    }

    /// Publications may not reach the hub: who subscribes now is held. Who did before stays; what is missed is counted.
    pub(super) fn hear_doubted(&mut self, name: &str) {
        let Some(place) = self.find(name) else { return };
        let channel = &mut self.channels[place as usize];
        if channel.interest == Interest::Confirmed {
            channel.interest = Interest::Asked;
        }
    }

    /// The next subscription that was held for too long; it is to be given up.
    pub fn poll_overdue(&mut self, now_ms: u64) -> Option<(Key, u32, ErrorCode)> {
        while let Some(&(due_ms, key, place)) = self.held.front() {
            if due_ms > now_ms {
                return None;
            }
            self.held.pop_front();
            if self.channels.get(place as usize).is_some_and(|channel| !channel.is_live()) {
                self.tally.unanswered += 1;
                return Some((key, place, ErrorCode::Internal));
            }
        }
        None
    }

    /// Gives up a held subscription of the connection `key` with `seat`, with an error.
    pub fn give_up(
        &mut self,
        key: Key,
        seat: &mut Seat,
        place: u32,
        code: ErrorCode,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let Some(subscription) = self.subscriptions.find(seat, place) else { return };
        let delivery = match self.subscriptions.state(subscription) {
            State::Held { id: Some(id) } | State::Refused { id: Some(id) } => {
                Delivery { to: key, id, answer: Answer::Refused(code) }
            }
            State::Refused { id: None } => {
                let channel = Arc::clone(&self.channels[place as usize].name);
                Delivery { to: key, id: 0, answer: Answer::Begun { channel, begun: Err(code) } }
            }
            State::Held { id: None } | State::Reading { .. } | State::Live => return,
        };
        self.leave(seat, subscription, out.now_ms);
        out.deliveries.push(delivery);
    }

    /// The request that a subscription is still to be the answer to.
    pub(super) fn waits_for(&self, subscription: u32) -> Option<u32> {
        match self.subscriptions.state(subscription) {
            State::Held { id } | State::Refused { id } => id,
            State::Reading { read } => self.reads.id(read),
            State::Live => None,
        }
    }

    /// Ends one subscription; returns its channel's tag.
    pub(super) fn leave(&mut self, seat: &mut Seat, subscription: u32, now_ms: u64) -> u32 {
        self.terms.remove(subscription);
        let place = self.subscriptions.channel(subscription);
        if let State::Reading { read } = self.subscriptions.state(subscription) {
            self.reads.remove(read);
        }
        let channel = &mut self.channels[place as usize];
        let cursor = channel.walk.as_mut().map(|walk| &mut walk.unvisited);
        self.subscriptions.remove(seat, subscription, &mut channel.subscribers, cursor);
        if channel.subscribers.is_empty() {
            self.vacate(place, now_ms);
        }
        place
    }

    /// Looks at the channel again after the vacancy period.
    pub(super) fn vacate(&mut self, place: u32, now_ms: u64) {
        if !std::mem::replace(&mut self.channels[place as usize].vacating, true) {
            self.vacant.push_back((now_ms + VACANCY_MS, place));
        }
    }

    /// Takes a client's publication to its hub. `None`: the answer comes later.
    pub(super) fn publish(
        &mut self,
        by: Key,
        id: u32,
        channel: Arc<str>,
        publication: Arc<Publication>,
        out: &mut Outlet<'_, impl Post>,
    ) -> Option<Answer> {
        let hub = self.hub_of(&channel);
        let asked = Asked { from: self.settings.shard, by, id };
        if hub == asked.from {
            return self.place(channel, publication, asked, out);
        }
        match out.post.post(hub, Message::Publish { channel, publication, asked }) {
            Ok(()) => None,
            Err(_) => {
                self.tally.refused += 1;
                Some(Answer::Refused(ErrorCode::TooManyRequests))
            }
        }
    }

    /// An ordered publication from the hub.
    pub(super) fn deliver(&mut self, name: &str, position: Position, publication: Arc<Publication>) {
        let Some(place) = self.find(name) else { return };
        let channel = &mut self.channels[place as usize];
        if channel.interest != Interest::Confirmed {
            // Sent on an interest that was withdrawn meanwhile; the answer to the new one names where it begins.
            return;
        }
        self.deliver_here(place, Ordered { position, publication });
    }

    /// Queues the next ordered publication for the subscribers here, if there are any.
    pub(super) fn deliver_here(&mut self, place: u32, ordered: Ordered) {
        let position = ordered.position;
        if !position.follows(self.channels[place as usize].position) {
            self.break_off(place);
        }
        let channel = &mut self.channels[place as usize];
        channel.position = position;
        if !channel.subscribers.is_empty() && self.enqueue(place, ordered).is_err() {
            self.tally.gaps += 1;
            self.break_off(place);
        }
    }

    /// Looks at channels whose vacancy period has passed: withdraws interest, forgets what nobody uses.
    pub(super) fn expire_vacant(&mut self, out: &mut Outlet<'_, impl Post>) {
        let mut surplus = self.vacant.len().saturating_sub(CHANNELS_VACANT_MAX);
        while let Some(&(due_ms, place)) = self.vacant.front()
            && (due_ms <= out.now_ms || surplus > 0)
        {
            self.vacant.pop_front();
            surplus = surplus.saturating_sub(1);
            self.channels[place as usize].vacating = false;
            self.expire_one(place, out);
        }
    }

    fn expire_one(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        self.touch(place, out);
        let here = self.settings.shard;
        let channel = &mut self.channels[place as usize];
        if !channel.subscribers.is_empty() {
            return;
        }
        if channel.interest == Interest::Asked || channel.walk.is_some() {
            return self.vacate(place, out.now_ms);
        }
        channel.interested &= !(1 << here);
        if channel.role == Role::Leaf {
            if std::mem::replace(&mut channel.interest, Interest::None) == Interest::Confirmed {
                let channel = Arc::clone(&channel.name);
                let hub = self.hub_of(&channel);
                let _ = out.post.post(hub, Message::Disinterest { channel, from: here });
            }
            return self.close(place);
        }
        let is_wanted = channel.interested != 0 || channel.nodes().next().is_some();
        if !is_wanted {
            self.withdraw(place, out);
            self.close(place);
        }
    }
}
