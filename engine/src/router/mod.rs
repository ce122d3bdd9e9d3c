//! Channels: who subscribes here, who orders them, and what is to be delivered to whom.
//!
//! Invariants: knows no socket, no frame, no session; everything leaves as a value ([`Delivery`], [`Message`], or a
//! step of a walk); a subscriber is its connection's slot and generation; a publication is sent to a shard once.
//!
//! ```text
//! command ──> decide ──┬─ hub is here ──> order ──┬──> Delivery (answer)
//!                      └─ hub elsewhere ─> Message └──> walk of the channel ──> subscribers, downward
//! ```

pub mod channel;
pub mod subscriptions;
pub mod walk;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use roadstead_control::hub_shard;
use roadstead_protocol::{Encoding, ErrorCode};
use slab::Slab;

use crate::flow::{Answer, Command, Delivery, Key, Publication};
use crate::limits::{CHANNELS_VACANT_MAX, VACANCY_MS};
use channel::{Channel, Interest};
pub use subscriptions::{Seat, Subscriber};
use subscriptions::{State, Subscriptions};
pub use walk::Walk;

/// What routers of sibling shards say to each other.
#[derive(Debug)]
pub enum Message {
    /// Shard `from` has subscribers; the hub adds it and answers [`Message::Interested`].
    Interest {
        /// Channel name.
        channel: Arc<str>,
        /// The asking shard.
        from: u16,
    },
    /// The hub has added the shard: publications after `top` will come.
    Interested {
        /// Channel name.
        channel: Arc<str>,
        /// Last sequence given at the hub.
        top: u64,
    },
    /// Shard `from` has had no subscriber for the vacancy period.
    Disinterest {
        /// Channel name.
        channel: Arc<str>,
        /// The shard.
        from: u16,
    },
    /// A client of shard `from` publishes; the hub orders it.
    Publish {
        /// Channel name.
        channel: Arc<str>,
        /// What.
        publication: Arc<Publication>,
        /// The publisher's shard.
        from: u16,
        /// The publisher.
        by: Key,
        /// The request's id.
        id: u32,
    },
    /// The hub's answer to [`Message::Publish`].
    Published {
        /// The publisher.
        by: Key,
        /// The request's id.
        id: u32,
        /// `Published` or `Refused`.
        answer: Answer,
    },
    /// An ordered publication, once to each interested shard.
    Deliver {
        /// Channel name.
        channel: Arc<str>,
        /// Its sequence in the channel.
        sequence: u64,
        /// What.
        publication: Arc<Publication>,
    },
}

/// Where the router's messages go. Returns the message if it was refused.
pub trait Post {
    /// Sends `message` to `shard`.
    fn post(&mut self, shard: u16, message: Message) -> Result<(), Message>;

    /// Whether `shard` keeps up with what is kept for it.
    fn has_room(&self, shard: u16) -> bool;
}

/// What the router counts; the turn moves it to the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Publications ordered at this hub.
    pub published: u64,
    /// Publications refused because a queue was full.
    pub refused: u64,
    /// Publications lost because a channel's running walk has too many behind it.
    pub gaps: u64,
}

/// Limits and place of a router.
#[derive(Debug, Clone, Copy)]
pub struct RouterSettings {
    /// This shard.
    pub shard: u16,
    /// Shards of this node.
    pub shards: u16,
    /// Connections the shard may have; tables reserve address space for a subscription and a channel of each, and grow
    /// beyond if there are more.
    pub connections_max: u32,
    /// Subscriptions a connection may have.
    pub channels_per_client: u16,
}

/// The channels of one shard.
#[derive(Debug)]
pub struct Router<S, W> {
    settings: RouterSettings,
    channels: Slab<Channel<W>>,
    names: HashTable<u32>,
    /// Clients choose channel names, so the hash is keyed.
    hasher: S,
    subscriptions: Subscriptions,
    /// Channels with something to walk, in the order in which they got it.
    walks: VecDeque<u32>,
    /// Channels that became empty: when to look again, milliseconds. A channel stands here at most once.
    vacant: VecDeque<(u64, u32)>,
    tally: Tally,
}

impl<S: BuildHasher, W> Router<S, W> {
    /// A router without channels. `hasher` must be keyed with secret randomness.
    #[must_use]
    pub fn new(settings: RouterSettings, hasher: S) -> Self {
        Self {
            settings,
            channels: Slab::with_capacity(settings.connections_max as usize),
            names: HashTable::new(),
            hasher,
            subscriptions: Subscriptions::new(settings.connections_max as usize),
            walks: VecDeque::new(),
            vacant: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Channels known on this shard.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Subscriptions on this shard.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.count()
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Carries out a session's command. `seat` is the commanding connection's part; `now_ms` the turn's time.
    pub fn decide(
        &mut self,
        command: Command,
        seat: &mut Seat,
        now_ms: u64,
        post: &mut impl Post,
        deliveries: &mut Vec<Delivery>,
    ) {
        match command {
            Command::Subscribe { by, id, channel, encoding, verdict } => {
                if let Some(answer) = self.subscribe(by, id, &channel, encoding, verdict, seat, post)
                    && let Some(id) = id
                {
                    deliveries.push(Delivery { to: by, id, answer });
                }
            }
            Command::Unsubscribe { by, id, channel } => {
                let place = self.find(&channel);
                let mine = place.and_then(|place| self.subscriptions.find(seat, place));
                let tag = mine.map(|subscription| {
                    if let State::Held { id: Some(id) } = self.subscriptions.state(subscription) {
                        // A subscribe in flight is finished first.
                        deliveries.push(Delivery { to: by, id, answer: Answer::Subscribed });
                    }
                    self.leave(seat, subscription, now_ms)
                });
                deliveries.push(Delivery { to: by, id, answer: Answer::Unsubscribed { tag } });
            }
            Command::Publish { by, id, channel, publication, must_subscribe } => {
                let subscribed = || {
                    self.find(&channel).is_some_and(|place| self.subscriptions.find(seat, place).is_some())
                };
                if must_subscribe && !subscribed() {
                    let answer = Answer::Refused(ErrorCode::PermissionDenied);
                    deliveries.push(Delivery { to: by, id, answer });
                } else if let Some(answer) = self.publish(by, id, channel, publication, post) {
                    deliveries.push(Delivery { to: by, id, answer });
                }
            }
        }
    }

    /// The connection of `seat` is gone; all its subscriptions end.
    pub fn leave_all(&mut self, seat: &mut Seat, now_ms: u64) {
        while let Some(subscription) = seat.first() {
            self.leave(seat, subscription, now_ms);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one command")]
    fn subscribe(
        &mut self,
        by: Key,
        id: Option<u32>,
        name: &Arc<str>,
        encoding: Encoding,
        verdict: Result<(), ErrorCode>,
        seat: &mut Seat,
        post: &mut impl Post,
    ) -> Option<Answer> {
        let known = self.find(name);
        if known.is_some_and(|place| self.subscriptions.find(seat, place).is_some()) {
            return Some(Answer::Refused(ErrorCode::AlreadySubscribed));
        }
        if seat.count() >= self.settings.channels_per_client {
            return Some(Answer::Refused(ErrorCode::LimitExceeded));
        }
        if let Err(code) = verdict {
            return Some(Answer::Refused(code));
        }
        let hub = self.hub_of(name);
        let here = self.settings.shard;
        if known.is_none() && hub != here && !post.has_room(hub) {
            return Some(Answer::Refused(ErrorCode::TooManyRequests));
        }
        let place = known.unwrap_or_else(|| self.open(name));
        let channel = &mut self.channels[place as usize];
        let state = if hub == here {
            channel.interested |= 1 << here;
            channel.interest = Interest::Confirmed;
            State::Live
        } else if channel.interest == Interest::Confirmed {
            State::Live
        } else {
            if channel.interest == Interest::None {
                channel.interest = Interest::Asked;
                // Kept by the mailbox if it is full: interest is never lost.
                let _ = post.post(hub, Message::Interest { channel: Arc::clone(name), from: here });
            }
            State::Held { id }
        };
        self.subscriptions.add(seat, by, place, encoding, state, &mut channel.subscribers);
        (state == State::Live).then_some(Answer::Subscribed)
    }

    /// Ends one subscription; returns its channel's tag.
    fn leave(&mut self, seat: &mut Seat, subscription: u32, now_ms: u64) -> u32 {
        let place = self.subscriptions.channel(subscription);
        let channel = &mut self.channels[place as usize];
        let cursor = channel.walk.as_mut().map(|walk| &mut walk.unvisited);
        self.subscriptions.remove(seat, subscription, &mut channel.subscribers, cursor);
        if channel.subscribers.is_empty() {
            self.vacate(place, now_ms);
        }
        place
    }

    fn vacate(&mut self, place: u32, now_ms: u64) {
        if !std::mem::replace(&mut self.channels[place as usize].vacating, true) {
            self.vacant.push_back((now_ms + VACANCY_MS, place));
        }
    }

    /// Orders a publication here, or sends it to its hub. `None`: the answer comes later.
    fn publish(
        &mut self,
        by: Key,
        id: u32,
        channel: Arc<str>,
        publication: Arc<Publication>,
        post: &mut impl Post,
    ) -> Option<Answer> {
        let hub = self.hub_of(&channel);
        let from = self.settings.shard;
        if hub == from {
            return Some(self.order(&channel, publication, post));
        }
        match post.post(hub, Message::Publish { channel, publication, from, by, id }) {
            Ok(()) => None,
            Err(_) => {
                self.tally.refused += 1;
                Some(Answer::Refused(ErrorCode::TooManyRequests))
            }
        }
    }

    /// The hub's work: gives the publication its sequence and sends it once to each interested shard.
    fn order(&mut self, name: &Arc<str>, publication: Arc<Publication>, post: &mut impl Post) -> Answer {
        let here = self.settings.shard;
        let Some(place) = self.find(name) else {
            // Nobody listens, and a plain channel keeps nothing.
            self.tally.published += 1;
            return Answer::Published;
        };
        let has_subscribers = !self.channels[place as usize].subscribers.is_empty();
        if has_subscribers && self.enqueue(place, Arc::clone(&publication)).is_err() {
            self.tally.refused += 1;
            return Answer::Refused(ErrorCode::TooManyRequests);
        }
        self.tally.published += 1;
        let channel = &mut self.channels[place as usize];
        channel.sequence += 1;
        let sequence = channel.sequence;
        let mut others = channel.interested & !(1 << here);
        while others != 0 {
            let shard = others.trailing_zeros() as u16;
            others &= others - 1;
            let message = Message::Deliver {
                channel: Arc::clone(name),
                sequence,
                publication: Arc::clone(&publication),
            };
            // A full mailbox drops it, which its way there counts.
            let _ = post.post(shard, message);
        }
        Answer::Published
    }

    /// Takes a sibling's message.
    pub fn hear(
        &mut self,
        message: Message,
        now_ms: u64,
        post: &mut impl Post,
        deliveries: &mut Vec<Delivery>,
    ) {
        match message {
            Message::Interest { channel, from } => {
                let place = self.find(&channel).unwrap_or_else(|| self.open(&channel));
                let record = &mut self.channels[place as usize];
                record.interested |= 1 << from;
                let top = record.sequence;
                let _ = post.post(from, Message::Interested { channel, top });
            }
            Message::Interested { channel, top } => {
                let Some(place) = self.find(&channel) else { return };
                let record = &mut self.channels[place as usize];
                record.interest = Interest::Confirmed;
                record.sequence = top;
                self.subscriptions.release_held(&record.subscribers, deliveries);
            }
            Message::Disinterest { channel, from } => {
                let Some(place) = self.find(&channel) else { return };
                self.channels[place as usize].interested &= !(1 << from);
                self.vacate(place, now_ms);
            }
            Message::Publish { channel, publication, from, by, id } => {
                let answer = self.order(&channel, publication, post);
                let _ = post.post(from, Message::Published { by, id, answer });
            }
            Message::Published { by, id, answer } => deliveries.push(Delivery { to: by, id, answer }),
            Message::Deliver { channel, sequence, publication } => {
                self.deliver(&channel, sequence, publication)
            }
        }
    }

    fn deliver(&mut self, name: &str, sequence: u64, publication: Arc<Publication>) {
        let Some(place) = self.find(name) else { return };
        let channel = &mut self.channels[place as usize];
        if channel.interest != Interest::Confirmed {
            // Sent on an interest that was withdrawn meanwhile; the answer to the new one names where it begins.
            return;
        }
        channel.sequence = sequence;
        if channel.subscribers.is_empty() {
            return;
        }
        if self.enqueue(place, publication).is_err() {
            self.tally.gaps += 1;
        }
    }

    /// Looks at channels whose vacancy period has passed: withdraws interest, forgets what nobody uses.
    pub fn expire(&mut self, now_ms: u64, post: &mut impl Post) {
        let here = self.settings.shard;
        let mut surplus = self.vacant.len().saturating_sub(CHANNELS_VACANT_MAX);
        while let Some(&(due_ms, place)) = self.vacant.front()
            && (due_ms <= now_ms || surplus > 0)
        {
            self.vacant.pop_front();
            surplus = surplus.saturating_sub(1);
            let channel = &mut self.channels[place as usize];
            channel.vacating = false;
            if !channel.subscribers.is_empty() {
                continue;
            }
            if channel.interest == Interest::Asked || channel.walk.is_some() {
                self.vacate(place, now_ms);
                continue;
            }
            let hub = hub_shard(channel.name.as_bytes(), self.settings.shards);
            channel.interested &= !(1 << here);
            if std::mem::replace(&mut channel.interest, Interest::None) == Interest::Confirmed && hub != here
            {
                let _ =
                    post.post(hub, Message::Disinterest { channel: Arc::clone(&channel.name), from: here });
            }
            if channel.interested == 0 {
                self.close(place);
            }
        }
    }

    /// When [`Self::expire`] has something to do, if ever.
    #[must_use]
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.vacant.front().map(|&(due_ms, _)| due_ms)
    }

    fn hub_of(&self, name: &str) -> u16 {
        hub_shard(name.as_bytes(), self.settings.shards)
    }

    fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.names.find(hash, |&place| &*self.channels[place as usize].name == name).copied()
    }

    fn open(&mut self, name: &Arc<str>) -> u32 {
        let place = self.channels.insert(Channel::new(Arc::clone(name))) as u32;
        let (channels, hasher) = (&self.channels, &self.hasher);
        let hash = hasher.hash_one(&**name);
        self.names.insert_unique(hash, place, |&place| hasher.hash_one(&*channels[place as usize].name));
        place
    }

    fn close(&mut self, place: u32) {
        let channel = self.channels.remove(place as usize);
        let hash = self.hasher.hash_one(&*channel.name);
        if let Ok(entry) = self.names.find_entry(hash, |&other| other == place) {
            entry.remove();
        }
    }
}
