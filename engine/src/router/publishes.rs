//! Publications on their way to an owner on another node: each is answered exactly once.
//!
//! Invariants: bounded in number and bytes; none waits longer than its deadline; only an explicit refusal by a node that
//! is not the owner is retried, and later publications of that channel wait behind it; what has an unknown outcome
//! is never sent again.
//!
//! One publication:
//!
//! ```text
//! Sent ── Accepted, Refused ──────────────────────────> answered
//!  │ └── link lost, deadline ── outcome unknown ──────> answered with a temporary error
//!  └── NotOwner ──> Waiting ── all sent before are answered ──> Sent again, or ordered here
//!                     │  a later one was accepted meanwhile, or may have been: too late, refused
//!                     └── tries or time used up: refused
//! ```
//!
//! A channel is *disputed* while something of it was refused by a node that is not the owner, or is on its way to a node
//! that is not the owner any more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roadstead_control::NodeId;
use roadstead_protocol::ErrorCode;
use slab::Slab;

use super::links::Route;
use crate::flow::{Answer, Key, Outcome, Publication};
use crate::limits::{OWNER_PAUSE_MS, OWNER_TRIES_MAX, OWNER_WAIT_MS, PUBLISHES_BYTES_MAX, PUBLISHES_MAX};

/// Who published, and how to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The publisher's shard.
    pub from: u16,
    /// The publisher.
    pub by: Key,
    /// The request's id.
    pub id: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// On its way in this session.
    Sent(Route),
    /// Refused by a node that is not the owner, or held behind another one of its channel.
    Waiting,
}

#[derive(Debug)]
struct Pending {
    channel: Arc<str>,
    publication: Arc<Publication>,
    asked: Asked,
    stage: Stage,
    tries: u8,
    due_ms: u64,
    number: u64,
}

/// A request's place, and its number to tell it from an earlier one there.
type Ticket = (u32, u64);

/// All publications that wait for other nodes.
#[derive(Debug)]
pub struct Publishes {
    hub: u16,
    pending: Slab<Pending>,
    bytes: usize,
    number: u64,
    /// In the order of their deadlines, which is that of their numbers.
    deadlines: VecDeque<Ticket>,
    disputes: BTreeMap<Arc<str>, Dispute>,
    /// Disputes to look at again: when, and which.
    retries: VecDeque<(u64, Arc<str>)>,
    /// Ready answers.
    answers: Vec<(Asked, Answer)>,
}

/// A disputed channel.
#[derive(Debug)]
struct Dispute {
    /// Everything of it that is not answered, in order.
    places: VecDeque<u32>,
    /// Views get this long to meet.
    not_before_ms: u64,
}

/// A waiting publication that may be tried again.
#[derive(Debug)]
pub struct Retry {
    /// Its place, for [`Publishes::sent`] or [`Publishes::settle`].
    pub place: u32,
    /// Names the request to the next owner.
    pub request: u64,
    /// Its channel.
    pub channel: Arc<str>,
    /// What.
    pub publication: Arc<Publication>,
}

impl Publishes {
    /// None yet. `hub` marks the requests of this shard.
    #[must_use]
    pub fn new(hub: u16) -> Self {
        Self {
            hub,
            pending: Slab::new(),
            bytes: 0,
            number: 0,
            deadlines: VecDeque::new(),
            disputes: BTreeMap::new(),
            retries: VecDeque::new(),
            answers: Vec::new(),
        }
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pending.len()
    }

    /// Whether later publications of the channel must wait.
    #[must_use]
    pub fn is_disputed(&self, channel: &str) -> bool {
        self.disputes.contains_key(channel)
    }

    /// Takes a publication that is about to be sent on `route`, or (`None`) waits behind another one. Returns the
    /// request's name.
    ///
    /// # Errors
    /// Too many wait; nothing was taken.
    pub fn add(
        &mut self,
        asked: Asked,
        channel: &Arc<str>,
        publication: &Arc<Publication>,
        route: Option<Route>,
        now_ms: u64,
    ) -> Result<(u32, u64), ErrorCode> {
        let bytes = publication.data.len();
        if self.pending.len() >= PUBLISHES_MAX || self.bytes + bytes > PUBLISHES_BYTES_MAX {
            return Err(ErrorCode::TooManyRequests);
        }
        self.bytes += bytes;
        self.number += 1;
        let pending = Pending {
            channel: Arc::clone(channel),
            publication: Arc::clone(publication),
            asked,
            stage: route.map_or(Stage::Waiting, Stage::Sent),
            tries: u8::from(route.is_some()),
            due_ms: now_ms + OWNER_WAIT_MS,
            number: self.number,
        };
        let place = self.pending.insert(pending) as u32;
        self.deadlines.push_back((place, self.number));
        if let Some(dispute) = self.disputes.get_mut(channel) {
            dispute.places.push_back(place);
        }
        Ok((place, self.request(place, self.number)))
    }

    /// Takes back a publication that could not be sent after all: its caller answers it.
    pub fn withdraw(&mut self, place: u32) {
        self.remove(place);
    }

    /// The owner's answer to a request, in `session`. An answer to nothing is ignored.
    pub fn answer(&mut self, request: u64, outcome: Outcome, now_ms: u64) {
        let Some(place) = self.find(request) else { return };
        if outcome == Outcome::NotOwner {
            let channel = Arc::clone(&self.pending[place as usize].channel);
            self.pending[place as usize].stage = Stage::Waiting;
            self.dispute(&channel, now_ms + OWNER_PAUSE_MS);
            return self.look_again(&channel, now_ms);
        }
        let answer = match outcome {
            Outcome::Refused(code) => Answer::Refused(code),
            Outcome::Accepted | Outcome::NotOwner => Answer::Published,
        };
        if outcome == Outcome::Accepted {
            self.give_up_before(place, now_ms);
        }
        self.finish(place, answer, now_ms);
    }

    /// The View has changed. What is on its way to a node that `is_owner` denies makes its channel a disputed one: a later
    /// publication must not overtake it at the new owner.
    pub fn handle_view(&mut self, is_owner: impl Fn(&str, NodeId) -> bool) {
        let misplaced = self.pending.iter().filter_map(|(_, pending)| match pending.stage {
            Stage::Sent(route) if !is_owner(&pending.channel, route.node) => Some(&pending.channel),
            _ => None,
        });
        let channels: Vec<Arc<str>> = misplaced.cloned().collect();
        for channel in channels {
            self.dispute(&channel, 0);
        }
    }

    /// A session of a link is over: what was sent in it has an unknown outcome. Returns how many that were.
    pub fn lose(&mut self, is_lost: impl Fn(&Route) -> bool, now_ms: u64) -> u64 {
        let lost: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| matches!(&pending.stage, Stage::Sent(route) if is_lost(route)))
            .map(|(place, _)| place as u32)
            .collect();
        for &place in &lost {
            self.give_up_before(place, now_ms);
            self.finish(place, Answer::Refused(ErrorCode::Internal), now_ms);
        }
        lost.len() as u64
    }

    /// Answers what has waited too long. Returns how many that were.
    pub fn expire(&mut self, now_ms: u64) -> u64 {
        let mut expired = 0;
        while let Some(&(place, number)) = self.deadlines.front() {
            match self.pending.get(place as usize) {
                Some(pending) if pending.number == number && pending.due_ms > now_ms => break,
                Some(pending) if pending.number == number => {
                    self.give_up_before(place, now_ms);
                    self.finish(place, Answer::Refused(ErrorCode::Internal), now_ms);
                    expired += 1;
                }
                _ => {}
            }
            self.deadlines.pop_front();
        }
        expired
    }

    /// When [`Self::expire`] or [`Self::poll_retry`] has something to do next.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        let deadline =
            self.deadlines.front().map(|&(place, number)| match self.pending.get(place as usize) {
                Some(pending) if pending.number == number => pending.due_ms,
                _ => 0,
            });
        let retry = self.retries.front().map(|&(due_ms, _)| due_ms);
        deadline.into_iter().chain(retry).min()
    }

    /// The waiting publications of the next channel whose time has come, in order: each is to be sent
    /// ([`Self::sent`]) or settled.
    pub fn poll_retry(&mut self, now_ms: u64) -> Option<Vec<Retry>> {
        loop {
            let &(due_ms, _) = self.retries.front()?;
            if due_ms > now_ms {
                return None;
            }
            let (_, channel) = self.retries.pop_front()?;
            let Some(dispute) = self.disputes.get(&channel) else { continue };
            if dispute.places.iter().any(|&place| self.pending[place as usize].stage != Stage::Waiting) {
                // Something is on its way still; its answer comes back to this.
                continue;
            }
            let retry = |&place: &u32| {
                let pending = &self.pending[place as usize];
                Retry {
                    place,
                    request: self.request(place, pending.number),
                    channel: Arc::clone(&channel),
                    publication: Arc::clone(&pending.publication),
                }
            };
            return Some(dispute.places.iter().map(retry).collect());
        }
    }

    /// Whether a waiting publication may be sent once more.
    #[must_use]
    pub fn may_try(&self, place: u32) -> bool {
        self.pending[place as usize].tries < OWNER_TRIES_MAX
    }

    /// A waiting publication is on its way again.
    pub fn sent(&mut self, place: u32, route: Route) {
        let pending = &mut self.pending[place as usize];
        pending.stage = Stage::Sent(route);
        pending.tries += 1;
    }

    /// A waiting publication was ordered here, or is given up.
    pub fn settle(&mut self, place: u32, answer: Answer, now_ms: u64) {
        self.finish(place, answer, now_ms);
    }

    /// Answers that are ready. Their vector comes back by [`Self::give_back`].
    pub fn take_answers(&mut self) -> Vec<(Asked, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// Keeps the memory of answers that were passed on.
    pub fn give_back(&mut self, answers: Vec<(Asked, Answer)>) {
        if self.answers.is_empty() {
            self.answers = answers;
        }
    }

    fn dispute(&mut self, channel: &Arc<str>, not_before_ms: u64) {
        if let Some(dispute) = self.disputes.get_mut(channel) {
            dispute.not_before_ms = dispute.not_before_ms.max(not_before_ms);
            return;
        }
        // Rare: an owner has just changed. Everything of the channel that is not answered belongs to the dispute.
        let of_channel = self.pending.iter().filter(|(_, pending)| pending.channel == *channel);
        let mut places: Vec<(u64, u32)> =
            of_channel.map(|(place, pending)| (pending.number, place as u32)).collect();
        places.sort_unstable();
        let places = places.into_iter().map(|(_, place)| place).collect();
        self.disputes.insert(Arc::clone(channel), Dispute { places, not_before_ms });
    }

    /// Once nothing of a disputed channel is on its way, it can be tried again.
    fn look_again(&mut self, channel: &Arc<str>, now_ms: u64) {
        let Some(dispute) = self.disputes.get(channel) else { return };
        if dispute.places.iter().all(|&place| self.pending[place as usize].stage == Stage::Waiting) {
            let due_ms = dispute.not_before_ms.max(now_ms);
            let later = self.retries.iter().rev().take_while(|(other_ms, _)| *other_ms > due_ms).count();
            self.retries.insert(self.retries.len() - later, (due_ms, Arc::clone(channel)));
        }
    }

    /// A later publication was accepted, or may have been: the waiting ones before it would come out of order.
    fn give_up_before(&mut self, place: u32, now_ms: u64) {
        let Some(dispute) = self.disputes.get(&self.pending[place as usize].channel) else { return };
        let before = dispute.places.iter().copied().take_while(|&other| other != place);
        let waiting = |&place: &u32| self.pending[place as usize].stage == Stage::Waiting;
        for place in before.filter(waiting).collect::<Vec<_>>() {
            self.finish(place, Answer::Refused(ErrorCode::TooManyRequests), now_ms);
        }
    }

    fn finish(&mut self, place: u32, answer: Answer, now_ms: u64) {
        let pending = self.remove(place);
        self.answers.push((pending.asked, answer));
        // The last one on its way may have been this.
        self.look_again(&pending.channel, now_ms);
    }

    fn remove(&mut self, place: u32) -> Pending {
        let pending = self.pending.remove(place as usize);
        self.bytes -= pending.publication.data.len();
        if let Some(dispute) = self.disputes.get_mut(&pending.channel) {
            dispute.places.retain(|&other| other != place);
            if dispute.places.is_empty() {
                self.disputes.remove(&pending.channel);
            }
        }
        pending
    }

    /// hub (16 bits) · number (24) · place (24)
    fn request(&self, place: u32, number: u64) -> u64 {
        u64::from(self.hub) << 48 | (number & 0xff_ffff) << 24 | u64::from(place)
    }

    fn find(&self, request: u64) -> Option<u32> {
        let place = (request & 0xff_ffff) as u32;
        let pending = self.pending.get(place as usize)?;
        let is_it = self.request(place, pending.number) == request && matches!(pending.stage, Stage::Sent(_));
        is_it.then_some(place)
    }
}
