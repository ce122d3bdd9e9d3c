//! Channels: who subscribes here, who orders them, and what is to be delivered to whom.
//!
//! Invariants: knows no socket, no frame, no session; everything leaves as a value ([`Delivery`], [`Message`],
//! [`Parcel`], or a step of a walk); a subscriber is its connection's slot and generation; a publication is sent to a
//! shard once, and to a node once.
//!
//! ```text
//!            leaf                      hub                                owner's hub (the same, if this node owns)
//! subscribe ──> held ── Interest ────> interested ── Announce ──────────> nodes
//!                 └ live <─ Interested ──┘  <─────────────── Top ───────────┘
//! publish ──────────── Publish ──────> publishes ── Publish ────────────> order ──┬─> walk of the channel here
//!               <───── Published ───────┘  <──────── Published ─────────────┘     ├─> Message::Deliver, shards
//!                 held <── Doubted ──┘ the link or the owner is lost
//! walk <────────────── Deliver ──────────── <─────── Deliver ─────────────────────┴─> Parcel, nodes
//! ```
//!
//! An owner keeps what its channels' streams are to keep ([`streams`]); how it is read, and how subscriptions know that they miss
//! nothing, is in [`recovery`].

mod announcing;
pub mod channel;
mod ending;
mod errands;
pub mod gateway;
pub mod leaf;
pub mod links;
pub mod message;
pub mod owner;
mod pace;
pub mod publishes;
mod reads;
mod records;
pub mod recovery;
pub mod review;
pub mod streams;
pub mod subscriptions;
mod terms;
pub mod users;
pub mod walk;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::HashTable;
use roadstead_control::{NodeId, Roster, View, hub_shard};
use roadstead_protocol::ErrorCode;
use slab::Slab;

use crate::bucket::Rate;
use crate::flow::{Answer, Command, Delivery, Key, LinkChange, Outcome, Parcel, Relayed};
use crate::limits::VIEWS_PASSED_MAX;
use crate::settings::Settings;
use channel::{Channel, Role};
use errands::Errands;
use links::{Links, Route};
pub use message::{Message, Outlet, Post};
use pace::Paces;
use publishes::Publishes;
use reads::Reads;
use recovery::{Check, RecoveryTally};
use review::Review;
use streams::{Keeping, StreamTally, Streams};
use subscriptions::Subscriptions;
pub use subscriptions::{Seat, Subscriber};
use terms::Terms;
use users::Users;
pub use walk::Walk;

/// What the router counts; the turn moves it to the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Publications ordered at this hub.
    pub published: u64,
    /// Publications refused because a queue was full.
    pub refused: u64,
    /// Publications refused because they came too fast.
    pub paced: u64,
    /// Publications that are for subscribers only, by clients that are none.
    pub not_subscribed: u64,
    /// Publications lost because a channel's running walk has too many behind it.
    pub gaps: u64,
    /// Publications that a new session of a link, or a new subscription at the same owner, found missing.
    pub missed: u64,
    /// Channels whose counting began anew under subscribers here: a new owner, or the old one with a new memory.
    pub epochs: u64,
    /// Things said by other nodes that no longer applied: of an older link session, or by a node that is not the owner.
    pub void: u64,
    /// Publications and interests refused by a node that was not the owner.
    pub misplaced: u64,
    /// Publications and subscriptions that waited in vain for an owner.
    pub unanswered: u64,
    /// Differences between what a node has announced and what is known here.
    pub differences: u64,
    /// What became of kept publications.
    pub streams: StreamTally,
    /// What became of positions.
    pub recoveries: RecoveryTally,
}

/// Limits and place of a router.
#[derive(Debug, Clone, Copy)]
pub struct RouterSettings {
    /// This node.
    pub node: NodeId,
    /// This shard.
    pub shard: u16,
    /// Shards of this node.
    pub shards: u16,
    /// Whether there are no other nodes, ever.
    pub alone: bool,
    /// Connections the shard may have; tables reserve address space for a subscription and a channel of each, and grow
    /// beyond if there are more.
    pub connections_max: u32,
    /// Subscriptions a connection may have.
    pub channels_per_client: u16,
    /// Secret randomness; epochs are drawn from it.
    pub seed: u64,
}

/// The channels of one shard.
#[derive(Debug)]
pub struct Router<S, W> {
    settings: RouterSettings,
    channels: Slab<Channel<W>>,
    paces: Paces,
    names: HashTable<u32>,
    /// Clients choose channel names, so the hash is keyed.
    hasher: S,
    subscriptions: Subscriptions,
    terms: Terms,
    /// Channels with something to walk, in the order in which they got it.
    walks: VecDeque<u32>,
    /// Channels that became empty: when to look again, milliseconds. A channel stands here at most once.
    vacant: VecDeque<(u64, u32)>,
    /// Held subscriptions: until when, whose, of which channel.
    held: VecDeque<(u64, Key, u32)>,
    /// Channels whose interest was refused by a node that is not the owner: when to ask again.
    refused: VecDeque<(u64, u32)>,
    /// Who owns what; `None`: not known yet.
    view: Option<View>,
    links: Links,
    publishes: Publishes,
    review: Review,
    users: Users<S>,
    errands: Errands,
    random: u64,
    /// Number of the last announcement.
    asks: u32,
    /// Nodes that the publication in hand goes to.
    routes: Vec<Route>,
    keeping: Keeping<S>,
    streams: Streams<S>,
    /// Views since the one under which all streams were last reviewed, the present one apart; `None`: there were too many.
    passed: Option<Vec<View>>,
    reads: Reads,
    /// Subscriptions that are refused: whose, of which channel, and why.
    ends: VecDeque<(Key, u32, ErrorCode)>,
    check: Check,
    recoveries: RecoveryTally,
    tally: Tally,
}

impl<S: BuildHasher + Clone, W> Router<S, W> {
    /// A router without channels. `hasher` must be keyed with secret randomness.
    #[must_use]
    pub fn new(settings: RouterSettings, hasher: S) -> Self {
        Self {
            settings,
            channels: Slab::with_capacity(settings.connections_max as usize),
            paces: Paces::default(),
            names: HashTable::new(),
            users: Users::new(
                settings.node,
                settings.shard,
                settings.connections_max as usize,
                hasher.clone(),
            ),
            keeping: Keeping::nothing(hasher.clone()),
            streams: Streams::new(hasher.clone()),
            passed: Some(Vec::new()),
            reads: Reads::default(),
            ends: VecDeque::new(),
            check: Check::default(),
            recoveries: RecoveryTally::default(),
            hasher,
            subscriptions: Subscriptions::new(settings.connections_max as usize),
            terms: Terms::default(),
            walks: VecDeque::new(),
            vacant: VecDeque::new(),
            held: VecDeque::new(),
            refused: VecDeque::new(),
            view: None,
            links: Links::new(settings.shard),
            publishes: Publishes::new(settings.shard),
            review: Review::default(),
            errands: Errands::new(settings.shard),
            random: settings.seed,
            asks: 0,
            routes: Vec::new(),
            tally: Tally::default(),
        }
    }
}

impl<S: BuildHasher, W> Router<S, W> {
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

    /// Subscriptions that end with a token, or with its revocation.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.terms.count()
    }

    /// Publications that wait for other nodes.
    #[must_use]
    pub fn publishes_waiting(&self) -> usize {
        self.publishes.count()
    }

    /// Bounds how fast each channel that this node owns may be published to: publications, and their bytes.
    pub fn pace(&mut self, messages: Option<Rate>, bytes: Option<Rate>) {
        self.paces.bound(messages, bytes);
    }

    /// Keeps of publications what these settings say, from now on.
    pub fn keep(&mut self, settings: &Settings) {
        self.keeping.learn(settings);
        self.streams.bound(settings.limits.history_bytes_per_shard as usize);
        self.check.delay_ms = settings.client.channel_position_check_delay_ms;
    }

    /// Streams kept here, publications in them, and the memory that is reckoned for both, bytes.
    #[must_use]
    pub fn kept(&self) -> (usize, usize, usize) {
        (self.streams.count(), self.streams.publications(), self.streams.bytes())
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> Tally {
        let (streams, recoveries) = (self.streams.take_tally(), std::mem::take(&mut self.recoveries));
        Tally { streams, recoveries, ..std::mem::take(&mut self.tally) }
    }

    /// The fleet has changed. Channels move to their new owners as they are used, and all of them within the review.
    pub fn handle_roster(&mut self, roster: &Roster) {
        if self.review.has_streams_ahead()
            && let Some(passed) = &mut self.passed
        {
            passed.extend(self.view.take());
            if passed.len() > VIEWS_PASSED_MAX {
                self.passed = None;
            }
        }
        self.view = Some(roster.view.clone());
        self.users.handle_view(&roster.view);
        let Self { publishes, settings, view, .. } = self;
        publishes
            .handle_view(|channel, node| role_of(settings, view.as_ref(), channel) == Role::Gateway(node));
        self.review.begin_for_view();
    }

    /// A link came up or went down.
    pub fn handle_link(&mut self, change: &LinkChange, out: &mut Outlet<'_, impl Post>) {
        if !self.links.change(change) {
            return;
        }
        let LinkChange { node, index, session, carrier, .. } = *change;
        let is_lost = |route: &Route| {
            let is_over = if carrier.is_some() { route.session < session } else { route.session == session };
            route.node == node && route.index == index && is_over
        };
        self.tally.unanswered += self.publishes.lose(is_lost, out.now_ms);
        self.users.lose(is_lost);
        self.errands.lose(is_lost);
        self.answer_publishers(out);
        self.review.begin();
    }

    /// Carries out a session's command. `seat` is the commanding connection's part.
    pub fn decide(&mut self, command: Command, seat: &mut Seat, out: &mut Outlet<'_, impl Post>) {
        match command {
            Command::Subscribe { by, id, channel, encoding, verdict, wish } => {
                let awaits = wish.is_some();
                let answer = self.subscribe(by, id, &channel, encoding, verdict, wish, seat, out);
                match (answer, id) {
                    (Some(answer), Some(id)) => out.deliveries.push(Delivery { to: by, id, answer }),
                    (Some(Answer::Refused(code)), None) if awaits => {
                        let answer = Answer::Begun { channel, begun: Err(code) };
                        out.deliveries.push(Delivery { to: by, id: 0, answer });
                    }
                    _ => {}
                }
                self.open_reads(out);
            }
            Command::Refresh { by, id, channel, verdict } => {
                let answer = self.refresh(&channel, verdict, seat);
                out.deliveries.push(Delivery { to: by, id, answer });
            }
            Command::Unsubscribe { by, id, channel } => {
                let place = self.find(&channel);
                let mine = place.and_then(|place| self.subscriptions.find(seat, place));
                let tag = mine.map(|mine| self.finish_and_leave(by, seat, mine, out.now_ms, out.deliveries));
                out.deliveries.push(Delivery { to: by, id, answer: Answer::Unsubscribed { tag } });
            }
            Command::Publish { by, id, channel, publication, must_subscribe } => {
                let answer = if must_subscribe && !self.is_subscribed(seat, &channel) {
                    self.tally.not_subscribed += 1;
                    Some(Answer::Refused(ErrorCode::PermissionDenied))
                } else {
                    self.publish(by, id, channel, publication, out)
                };
                out.deliveries.extend(answer.map(|answer| Delivery { to: by, id, answer }));
            }
            Command::Read { by, id, channel, reading, must_subscribe } => {
                let answer = if must_subscribe && !self.is_subscribed(seat, &channel) {
                    Some(Answer::Refused(ErrorCode::PermissionDenied))
                } else {
                    self.ask_history(by, id, channel, reading, out.now_ms)
                };
                out.deliveries.extend(answer.map(|answer| Delivery { to: by, id, answer }));
                self.open_reads(out);
            }
            Command::Enter { by, user } => self.enter(by, user, out),
        }
    }

    /// Takes a sibling's message.
    pub fn hear(&mut self, message: Message, out: &mut Outlet<'_, impl Post>) {
        match message {
            Message::Interest { channel, from } => self.hear_interest(channel, from, out),
            Message::Interested { channel, position } => self.hear_interested(&channel, position, out),
            Message::Doubted { channel } => self.hear_doubted(&channel),
            Message::Disinterest { channel, from } => self.hear_disinterest(&channel, from, out.now_ms),
            Message::Publish { channel, publication, asked } => {
                if let Some(answer) = self.place(channel, publication, asked, out) {
                    self.answer_publisher(asked, answer, out);
                }
            }
            Message::Published { by, id, answer } => out.deliveries.push(Delivery { to: by, id, answer }),
            Message::Deliver { channel, position, publication } => {
                self.deliver(&channel, position, publication);
            }
            Message::Read { channel, reading, from, ticket } => {
                self.hear_read(channel, reading, from, ticket, out);
            }
            Message::Found { ticket, found } => self.hear_found(ticket, found.map(|found| *found), out),
            Message::Enter { user, connection, from } => self.enter_hub(&user, connection, from, out),
            Message::Leave { user, connection } => self.leave_hub(&user, connection, out),
            Message::Errand { by, errand } => self.errands.add_work(by, errand),
        }
    }

    /// Takes what another node says.
    pub fn hear_node(&mut self, parcel: Parcel, out: &mut Outlet<'_, impl Post>) {
        let Some(route) = self.links.answering(parcel.node, parcel.index, parcel.session) else {
            self.tally.void += 1;
            return;
        };
        match parcel.relayed {
            Relayed::Announce { channel, ask, .. } => self.hear_announce(route, channel, ask, out),
            Relayed::Top { channel, ask, position } => self.hear_top(route, &channel, ask, position, out),
            Relayed::Withdraw { channel } => self.hear_withdraw(route, &channel, out.now_ms),
            Relayed::NotOwner { channel, ask } => self.hear_not_owner(route, &channel, ask, out),
            Relayed::Publish { request, channel, publication } => {
                let outcome = match self.role(&channel, out) {
                    Role::Owner => match self.order(&channel, publication, out) {
                        Answer::Refused(code) => Outcome::Refused(code),
                        _ => Outcome::Accepted,
                    },
                    _ => Outcome::NotOwner,
                };
                self.relay(route, Relayed::Published { request, outcome }, out);
            }
            Relayed::Published { request, outcome } => {
                self.tally.misplaced += u64::from(outcome == Outcome::NotOwner);
                self.publishes.answer(request, outcome, out.now_ms);
                self.answer_publishers(out);
            }
            Relayed::Deliver { channel, position, publication } => {
                self.hear_deliver(route, &channel, position, publication, out);
            }
            Relayed::Read { request, channel, reading } => {
                self.hear_node_read(route, request, channel, reading, out);
            }
            Relayed::Found { request, channel, found } => {
                self.hear_node_found(route, request, &channel, found, out);
            }
            Relayed::Errand { request, errand, .. } => self.hear_errand(route, request, errand, out),
            Relayed::ErrandDone { request, report } => self.hear_errand_done(route, request, report),
            about_users => self.hear_about_users(route, about_users, out),
        }
    }

    /// Does what the time has come for: vacancies, deadlines, retries, the next part of a review.
    pub fn tick(&mut self, out: &mut Outlet<'_, impl Post>) {
        self.expire_vacant(out);
        self.ask_again(out);
        self.tally.unanswered += self.publishes.expire(out.now_ms);
        self.answer_publishers(out);
        self.publish_again(out);
        self.tick_users(out);
        self.errands.expire(out.now_ms);
        self.review(out);
        self.tick_reads(out);
        self.check_positions(out);
        self.streams.sweep(&self.keeping, out.now_ms);
    }

    /// When [`Self::tick`] has something to do, if ever.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        if self.review.is_running() || self.reads.can_open() || !self.ends.is_empty() {
            return Some(0);
        }
        let fronts = [
            self.vacant.front().map(|&(due_ms, _)| due_ms),
            self.held.front().map(|&(due_ms, ..)| due_ms),
            self.refused.front().map(|&(due_ms, _)| due_ms),
            self.publishes.next_due_ms(),
            self.users.next_due_ms(),
            self.reads.next_due_ms(),
            self.streams.next_sweep_ms(),
            (!self.channels.is_empty()).then_some(self.check.due_ms),
            self.errands.next_due_ms(),
        ];
        fronts.into_iter().flatten().min()
    }

    fn hub_of(&self, name: &str) -> u16 {
        hub_shard(name.as_bytes(), self.settings.shards)
    }

    /// What this shard is for a channel, as of the present View.
    fn role_of(&self, name: &str) -> Role {
        role_of(&self.settings, self.view.as_ref(), name)
    }

    /// The same, of a channel that may have a record here, which then is brought up to date.
    fn role(&mut self, name: &str, out: &mut Outlet<'_, impl Post>) -> Role {
        match self.find(name) {
            Some(place) => {
                self.touch(place, out);
                self.channels[place as usize].role
            }
            None => self.role_of(name),
        }
    }

    fn relay(&mut self, route: Route, relayed: Relayed, out: &mut Outlet<'_, impl Post>) {
        // Only a publish can be refused; `send_publish` is the one place that sends it.
        let _ = out.post.relay(self.parcel(route, relayed));
    }

    /// The number of the present View; 0: there is none.
    #[must_use]
    pub fn view_number(&self) -> u64 {
        self.view.as_ref().map_or(0, View::number)
    }

    fn parcel(&self, route: Route, relayed: Relayed) -> Parcel {
        let Route { node, index, session, carrier } = route;
        Parcel { node, index, session, view: self.view_number(), carrier, relayed }
    }

    /// A number that nobody can foresee, never 0 (splitmix64).
    fn draw(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) as u32).max(1)
    }
}

fn role_of(settings: &RouterSettings, view: Option<&View>, name: &str) -> Role {
    if hub_shard(name.as_bytes(), settings.shards) != settings.shard {
        return Role::Leaf;
    }
    if settings.alone {
        return Role::Owner;
    }
    match view.and_then(|view| roadstead_control::owner(view, name.as_bytes())) {
        Some(node) if node == settings.node => Role::Owner,
        Some(node) => Role::Gateway(node),
        None => Role::Orphan,
    }
}
