//! The part of every shard: its subscribers, its interest in what the hub sends, its publishers' requests.

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_protocol::{Encoding, ErrorCode};

use super::Router;
use super::channel::{Interest, Role};
use super::message::{Message, Outlet, Post};
use super::publishes::Asked;
use super::subscriptions::{Seat, State};
use crate::flow::{Answer, Delivery, Key, Position, Publication, Term};
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
        let place = known.unwrap_or_else(|| self.open(name));
        self.touch(place, out);
        let channel = &mut self.channels[place as usize];
        if hub == here {
            channel.interested |= 1 << here;
        }
        let state = if channel.is_live() { State::Live } else { State::Held { id } };
        let subscription = self.subscriptions.add(seat, by, place, encoding, state, &mut channel.subscribers);
        self.terms.set(subscription, term);
        if state == State::Live {
            return Some(Answer::Subscribed);
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
        channel.position = position;
        self.subscriptions.release_held(&channel.subscribers, out.deliveries);
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
    pub fn poll_overdue(&mut self, now_ms: u64) -> Option<(Key, u32)> {
        while let Some(&(due_ms, key, place)) = self.held.front() {
            if due_ms > now_ms {
                return None;
            }
            self.held.pop_front();
            if self.channels.get(place as usize).is_some_and(|channel| !channel.is_live()) {
                return Some((key, place));
            }
        }
        None
    }

    /// Gives up a held subscription of the connection `key` with `seat`, with a temporary error.
    pub fn give_up(&mut self, key: Key, seat: &mut Seat, place: u32, out: &mut Outlet<'_, impl Post>) {
        let Some(subscription) = self.subscriptions.find(seat, place) else { return };
        if let State::Held { id: Some(id) } = self.subscriptions.state(subscription) {
            self.tally.unanswered += 1;
            self.leave(seat, subscription, out.now_ms);
            let answer = Answer::Refused(ErrorCode::Internal);
            out.deliveries.push(Delivery { to: key, id, answer });
        }
    }

    /// Ends one subscription; returns its channel's tag.
    pub(super) fn leave(&mut self, seat: &mut Seat, subscription: u32, now_ms: u64) -> u32 {
        self.terms.remove(subscription);
        let place = self.subscriptions.channel(subscription);
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
        channel.position = position;
        self.deliver_here(place, publication);
    }

    /// Queues an ordered publication for the subscribers here, if there are any.
    pub(super) fn deliver_here(&mut self, place: u32, publication: Arc<Publication>) {
        if self.channels[place as usize].subscribers.is_empty() {
            return;
        }
        if self.enqueue(place, publication).is_err() {
            self.tally.gaps += 1;
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
