//! The part of a hub whose node does not own the channel: asks the owner for it, and passes on what comes from there.
//!
//! Invariants: accepts publications only from the owner that confirmed the interest, in the session and the epoch in
//! which it did; an interest that is not confirmed is asked for again, by the review after a change and by a retry
//! after a refusal.

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_control::{NodeId, channel_hash};
use roadstead_protocol::ErrorCode;

use super::Router;
use super::channel::{Interest, Role};
use super::links::Route;
use super::message::{Message, Outlet, Post};
use super::publishes::Asked;
use crate::flow::{Answer, Delivery, Ordered, Position, Publication, Relayed};
use crate::limits::OWNER_PAUSE_MS;

impl<S: BuildHasher, W> Router<S, W> {
    /// A shard of this node has subscribers.
    pub(super) fn hear_interest(&mut self, name: Arc<str>, from: u16, out: &mut Outlet<'_, impl Post>) {
        let place = self.find(&name).unwrap_or_else(|| self.open(&name, out.now_ms));
        self.touch(place, out);
        let channel = &mut self.channels[place as usize];
        channel.interested |= 1 << from;
        if channel.is_live() {
            let position = channel.position;
            let _ = out.post.post(from, Message::Interested { channel: name, position });
        } else {
            self.ask(place, out);
        }
    }

    /// A shard of this node has had no subscriber for a while.
    pub(super) fn hear_disinterest(&mut self, name: &str, from: u16, now_ms: u64) {
        let Some(place) = self.find(name) else { return };
        self.channels[place as usize].interested &= !(1 << from);
        self.vacate(place, now_ms);
    }

    /// Tells the owner that this node wants the channel, if a link is up and that was not done in its session.
    pub(super) fn announce(&mut self, place: u32, owner: NodeId, out: &mut Outlet<'_, impl Post>) {
        let route = self.links.announcing(owner);
        let session = route.map_or(0, |route| route.session as u32);
        if route.is_some() && self.channels[place as usize].announced == session {
            return;
        }
        self.doubt(place, out);
        let channel = &mut self.channels[place as usize];
        let Some(route) = route else {
            (channel.announced, channel.interest) = (0, Interest::None);
            return;
        };
        (channel.announced, channel.interest) = (session, Interest::Asked);
        let ask = self.next_ask();
        let channel = &mut self.channels[place as usize];
        channel.ask = ask;
        let announce = Relayed::Announce {
            channel: Arc::clone(&channel.name),
            ask: channel.ask,
            position: channel.position,
        };
        self.tell_interest(place, owner, true);
        self.relay(route, announce, out);
    }

    /// The number of the next announcement.
    pub(super) fn next_ask(&mut self) -> u32 {
        self.asks = self.asks.wrapping_add(1).max(1);
        self.asks
    }

    /// Tells the owner that nobody here wants the channel any more, if it knows otherwise.
    pub(super) fn withdraw(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        let Role::Gateway(owner) = self.channels[place as usize].role else { return };
        self.doubt(place, out);
        let channel = &mut self.channels[place as usize];
        let announced = std::mem::take(&mut channel.announced);
        channel.interest = Interest::None;
        let name = Arc::clone(&channel.name);
        if let Some(route) = self.links.announcing(owner)
            && route.session as u32 == announced
        {
            self.tell_interest(place, owner, false);
            self.relay(route, Relayed::Withdraw { channel: name }, out);
        }
    }

    /// Publications may not reach this hub any more: every interested shard is told, so that nobody new there is taken for live.
    pub(super) fn doubt(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        let channel = &self.channels[place as usize];
        if channel.is_live() {
            let name = &channel.name;
            self.tell_others(place, |shard| {
                let _ = out.post.post(shard, Message::Doubted { channel: Arc::clone(name) });
            });
        }
    }

    /// Each other shard of this node that has subscribers.
    pub(super) fn tell_others(&self, place: u32, mut tell: impl FnMut(u16)) {
        let mut others = self.channels[place as usize].interested & !(1 << self.settings.shard);
        while others != 0 {
            tell(others.trailing_zeros() as u16);
            others &= others - 1;
        }
    }

    /// Notes for the digest what the owner was told.
    fn tell_interest(&mut self, place: u32, owner: NodeId, added: bool) {
        let hash = channel_hash(self.channels[place as usize].name.as_bytes());
        if let Some(peer) = self.links.peer_mut(owner) {
            let hub = hash % peer.told.len() as u64;
            let interests = &mut peer.told[hub as usize].interests;
            if added { interests.add(hash) } else { interests.remove(hash) }
        }
    }

    /// The channel's place, if `route` leads to the owner and it was asked in this very session.
    fn asked_of(&self, route: Route, name: &str) -> Option<u32> {
        let place = self.find(name)?;
        let channel = &self.channels[place as usize];
        let is_asked = channel.role == Role::Gateway(route.node) && channel.announced == route.session as u32;
        is_asked.then_some(place)
    }

    /// The owner has added this node: whoever was held is let in.
    pub(super) fn hear_top(
        &mut self,
        route: Route,
        name: &str,
        ask: u32,
        position: Position,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let asked = self.asked_of(route, name).filter(|&place| self.channels[place as usize].ask == ask);
        let Some(place) = asked else {
            self.tally.void += 1;
            return;
        };
        let channel = &mut self.channels[place as usize];
        let known = channel.position;
        if std::mem::replace(&mut channel.interest, Interest::Confirmed) == Interest::Confirmed
            && known == position
        {
            // Nothing was missed.
            return;
        }
        self.catch_up(place, position);
        if known.epoch == position.epoch {
            self.tally.missed += position.sequence.saturating_sub(known.sequence);
        } else if known.epoch != 0 {
            self.tally.epochs += 1;
        }
        self.let_in(place, out);
    }

    /// Publications reach this hub: every interested shard is told where they begin, and the held are released.
    pub(super) fn let_in(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        let channel = &self.channels[place as usize];
        self.tell_others(place, |shard| {
            let (channel, position) = (Arc::clone(&channel.name), channel.position);
            let _ = out.post.post(shard, Message::Interested { channel, position });
        });
        self.release_held(place, out);
    }

    /// The node that was asked does not own the channel, or not any more.
    pub(super) fn hear_not_owner(
        &mut self,
        route: Route,
        name: &str,
        ask: u32,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let Some(place) = self.asked_of(route, name) else { return };
        let channel = &self.channels[place as usize];
        // Said unasked it is about an interest that was confirmed; a question that is open has an answer of its own.
        let is_meant = if ask == 0 { channel.interest == Interest::Confirmed } else { channel.ask == ask };
        if !is_meant {
            return;
        }
        self.tally.misplaced += 1;
        self.doubt(place, out);
        let channel = &mut self.channels[place as usize];
        (channel.announced, channel.interest) = (0, Interest::None);
        self.tell_interest(place, route.node, false);
        self.refused.push_back((out.now_ms + OWNER_PAUSE_MS, place));
    }

    /// Asks again for channels whose interest was refused.
    pub(super) fn ask_again(&mut self, out: &mut Outlet<'_, impl Post>) {
        while let Some(&(due_ms, place)) = self.refused.front()
            && due_ms <= out.now_ms
        {
            self.refused.pop_front();
            if self.channels.get(place as usize).is_some_and(|channel| channel.interested != 0) {
                self.touch(place, out);
                self.ask(place, out);
            }
        }
    }

    /// The owner sends a publication.
    pub(super) fn hear_deliver(
        &mut self,
        route: Route,
        name: &str,
        position: Position,
        publication: Arc<Publication>,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let asked = self.asked_of(route, name).filter(|&place| {
            let channel = &self.channels[place as usize];
            let follows =
                channel.position.epoch == position.epoch && channel.position.sequence < position.sequence;
            channel.interest == Interest::Confirmed && follows
        });
        let Some(place) = asked else {
            self.tally.void += 1;
            return;
        };
        let ordered = Ordered { position, publication };
        self.send_to_shards(place, &ordered, out);
        self.deliver_here(place, ordered);
    }

    /// Orders a publication, or sends it to the owner. `None`: the answer comes later.
    pub(super) fn place(
        &mut self,
        channel: Arc<str>,
        publication: Arc<Publication>,
        asked: Asked,
        out: &mut Outlet<'_, impl Post>,
    ) -> Option<Answer> {
        if self.publishes.is_disputed(&channel) {
            let held = self.publishes.add(asked, &channel, &publication, None, out.now_ms);
            return held.err().map(|code| self.refuse(code));
        }
        match self.role(&channel, out) {
            Role::Owner => Some(self.order(&channel, publication, out)),
            Role::Gateway(owner) => self.send_publish(owner, channel, publication, asked, out),
            Role::Orphan | Role::Leaf => Some(self.refuse(ErrorCode::Internal)),
        }
    }

    fn refuse(&mut self, code: ErrorCode) -> Answer {
        match code {
            ErrorCode::TooManyRequests => self.tally.refused += 1,
            _ => self.tally.unanswered += 1,
        }
        Answer::Refused(code)
    }

    fn send_publish(
        &mut self,
        owner: NodeId,
        channel: Arc<str>,
        publication: Arc<Publication>,
        asked: Asked,
        out: &mut Outlet<'_, impl Post>,
    ) -> Option<Answer> {
        let Some(route) = self.links.announcing(owner) else {
            return Some(self.refuse(ErrorCode::Internal));
        };
        let (place, request) =
            match self.publishes.add(asked, &channel, &publication, Some(route), out.now_ms) {
                Ok(taken) => taken,
                Err(code) => return Some(self.refuse(code)),
            };
        let publish = Relayed::Publish { request, channel, publication };
        if out.post.relay(self.parcel(route, publish)).is_err() {
            self.publishes.withdraw(place);
            return Some(self.refuse(ErrorCode::TooManyRequests));
        }
        None
    }

    /// Publications that were refused by a node that is not the owner go to the one that is now.
    pub(super) fn publish_again(&mut self, out: &mut Outlet<'_, impl Post>) {
        while let Some(retries) = self.publishes.poll_retry(out.now_ms) {
            for retry in retries {
                let answer = match self.role(&retry.channel, out) {
                    Role::Owner => Some(self.order(&retry.channel, retry.publication, out)),
                    Role::Gateway(owner) if self.publishes.may_try(retry.place) => {
                        let publish = Relayed::Publish {
                            request: retry.request,
                            channel: retry.channel,
                            publication: retry.publication,
                        };
                        match self.links.announcing(owner) {
                            None => Some(self.refuse(ErrorCode::Internal)),
                            Some(route) if out.post.relay(self.parcel(route, publish)).is_ok() => {
                                self.publishes.sent(retry.place, route);
                                None
                            }
                            Some(_) => Some(self.refuse(ErrorCode::TooManyRequests)),
                        }
                    }
                    _ => Some(self.refuse(ErrorCode::Internal)),
                };
                if let Some(answer) = answer {
                    self.publishes.settle(retry.place, answer, out.now_ms);
                }
            }
            self.answer_publishers(out);
        }
    }

    /// Passes on what has become of publications at their owners.
    pub(super) fn answer_publishers(&mut self, out: &mut Outlet<'_, impl Post>) {
        let mut answers = self.publishes.take_answers();
        for (asked, answer) in answers.drain(..) {
            self.answer_publisher(asked, answer, out);
        }
        self.publishes.give_back(answers);
    }

    pub(super) fn answer_publisher(&mut self, asked: Asked, answer: Answer, out: &mut Outlet<'_, impl Post>) {
        let Asked { from, by, id } = asked;
        if from == self.settings.shard {
            out.deliveries.push(Delivery { to: by, id, answer });
        } else {
            let _ = out.post.post(from, Message::Published { by, id, answer });
        }
    }
}
