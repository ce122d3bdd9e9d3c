//! Where the users are: connections go to the hub of `#user`, from there to its owner, and questions the same way.
//!
//! Invariants: the hub of the node that holds a connection is the only one that announces it; statements to one hub of
//! another node are counted without gaps in each session, and a gap ends the session; a question is answered once, within
//! its time.
//!
//! ```text
//! session ──> Enter, Leave ──> hub of #user: registry ──> Enter, Leave ──> owner's hub: registry
//!                               ^ question: locate ─────> Locate ────────────┘
//! ```

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use roadstead_control::{
    Announcement, Announcer, Digest, Home, NodeId, Refusal, Registry, SessionKey, View, hub_shard,
};
use slab::Slab;

use super::Router;
use super::announcing::{announced_on, move_home, say_enter, say_leave};
use super::channel::Role;
use super::links::Route;
use super::message::{Message, Outlet, Post};
use crate::flow::{Key, LocatedEntry, Outcome, Relayed, Unlocated, personal_channel};
use crate::limits::{DIGEST_EVERY_MS, LOCATES_MAX, OWNER_WAIT_MS, REVIEWED_PER_TURN};

/// What a hub of another node has announced here.
#[derive(Debug)]
struct Heard {
    session: u64,
    /// In the registry.
    key: Option<SessionKey>,
    interests: Digest,
    /// Digests in a row that differed.
    differences: u8,
    /// Something was dropped on this side since the last digest.
    is_disturbed: bool,
}

/// A question to another node.
#[derive(Debug)]
struct Question {
    ticket: u64,
    number: u64,
    route: Route,
    due_ms: u64,
}

/// The registry of a hub, and what goes on around it.
#[derive(Debug)]
pub struct Users<S> {
    hub: u16,
    registry: Registry<S>,
    /// Connections that are gone, to be told to their hubs.
    departures: Vec<(Key, Arc<str>)>,
    /// By node and its hub.
    heard: BTreeMap<(NodeId, u16), Heard>,
    questions: Slab<Question>,
    number: u64,
    answers: Vec<(u64, Result<Vec<LocatedEntry>, Unlocated>)>,
    sweeps: bool,
    /// When digests are sent next, and to which hub of each node.
    digest_due_ms: u64,
    digest_round: u16,
    /// What a step has to say.
    said: Vec<(Route, Relayed)>,
}

impl<S: BuildHasher> Users<S> {
    /// Nobody yet.
    #[must_use]
    pub fn new(own: NodeId, hub: u16, users_expected: usize, hasher: S) -> Self {
        let nobody = View::new(0, []).expect("no node is neither too many nor twice");
        Self {
            hub,
            registry: Registry::new(own, nobody, users_expected, hasher),
            departures: Vec::new(),
            heard: BTreeMap::new(),
            questions: Slab::new(),
            number: 0,
            answers: Vec::new(),
            sweeps: false,
            digest_due_ms: 0,
            digest_round: 0,
            said: Vec::new(),
        }
    }

    /// A new View: lives that are not in it have no users here any more.
    pub fn handle_view(&mut self, view: &View) {
        self.registry.handle_view(view.clone());
        self.sweeps = true;
        for heard in self.heard.values_mut() {
            heard.is_disturbed = true;
        }
    }

    /// Users known here, those who have just left included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.registry.users()
    }

    /// A session of a link is over: questions in it stay unanswered.
    pub fn lose(&mut self, is_lost: impl Fn(&Route) -> bool) {
        let Self { questions, answers, .. } = self;
        questions.retain(|_, question| {
            let lost = is_lost(&question.route);
            if lost {
                answers.push((question.ticket, Err(Unlocated::NoAnswer)));
            }
            !lost
        });
    }

    /// When there is something to do next.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        if self.sweeps || !self.departures.is_empty() {
            return Some(0);
        }
        let vacant = self.registry.poll_timeout().map(|at| at.as_millis() as u64 + 1);
        let digest = (!self.heard.is_empty()).then_some(self.digest_due_ms);
        let question = self.questions.iter().map(|(_, question)| question.due_ms).min();
        vacant.into_iter().chain(digest).chain(question).min()
    }

    /// Keeps the digest of what a hub of another node has announced here.
    pub fn note_interest(&mut self, route: Route, hub: u16, hash: u64, added: bool) {
        let heard = self.heard(route, hub);
        if heard.session != route.session {
            return;
        }
        if added {
            heard.interests.add(hash);
        } else {
            heard.interests.remove(hash);
            heard.is_disturbed = true;
        }
    }

    fn heard(&mut self, route: Route, hub: u16) -> &mut Heard {
        let fresh = || Heard {
            session: route.session,
            key: None,
            interests: Digest::default(),
            differences: 0,
            is_disturbed: false,
        };
        let heard = self.heard.entry((route.node, hub)).or_insert_with(fresh);
        if heard.session < route.session {
            *heard = fresh();
        }
        heard
    }

    /// The registry's name for the session in which a hub of another node speaks.
    fn session(&mut self, route: Route, announcer: Announcer) -> Result<SessionKey, Refusal> {
        if let Some(key) = self.heard(route, announcer.shard).key {
            return Ok(key);
        }
        let key = self.registry.handle_session(announcer, route.session)?;
        self.heard(route, announcer.shard).key = Some(key);
        Ok(key)
    }

    /// The user's connections on this node: their numbers and shards.
    pub(super) fn own_connections(&mut self, now_ms: u64, user: &str) -> Vec<(u64, u16)> {
        let own = self.registry.own(time(now_ms), user);
        own.map(|own| own.connections().map(|one| (one.connection, one.shard)).collect()).unwrap_or_default()
    }

    fn locate(&self, now_ms: u64, user: &str) -> Vec<LocatedEntry> {
        let entries = self.registry.locate(time(now_ms), user);
        entries
            .map(|found| LocatedEntry {
                node: found.node,
                shard: found.shard,
                connection: found.connection,
                age_s: found.age_s,
            })
            .collect()
    }
}

impl<S: BuildHasher, W> Router<S, W> {
    /// Users known here, those who have just left included.
    #[must_use]
    pub fn users_known(&self) -> usize {
        self.users.count()
    }

    /// A connection of a user began here.
    pub(super) fn enter(&mut self, by: Key, user: Arc<str>, out: &mut Outlet<'_, impl Post>) {
        let (hub, from) = (self.hub_of(&personal_channel(&user)), self.settings.shard);
        let connection = by.number(from);
        if hub == from {
            self.enter_hub(&user, connection, from, out);
        } else {
            let _ = out.post.post(hub, Message::Enter { user, connection, from });
        }
    }

    /// A connection of a user is gone; its hub is told with the next tick.
    pub fn depart(&mut self, key: Key, user: Arc<str>) {
        self.users.departures.push((key, user));
    }

    pub(super) fn enter_hub(
        &mut self,
        user: &Arc<str>,
        connection: u64,
        shard: u16,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let now = time(out.now_ms);
        let Some(home) = self.users.registry.handle_own(now, user, connection, shard, 0) else { return };
        let Role::Gateway(owner) = role_of_user(&self.settings, self.view.as_ref(), user) else { return };
        let Some(route) = self.links.announcing(owner) else { return };
        let here = Home { node: Some(owner), session: route.session };
        if *home == here {
            // The others of this user were announced before.
            let enter = say_enter(&mut self.links, route, user, connection, shard, 0);
            return self.relay(route, enter, out);
        }
        let mut said = std::mem::take(&mut self.users.said);
        if let Some(own) = self.users.registry.own(now, user) {
            move_home(&mut self.links, own, Some(route), &mut said);
        }
        self.say(said, out);
    }

    pub(super) fn leave_hub(&mut self, user: &Arc<str>, connection: u64, out: &mut Outlet<'_, impl Post>) {
        let Some(home) = self.users.registry.handle_own_gone(time(out.now_ms), user, connection) else {
            return;
        };
        if let Some(route) = announced_on(&self.links, home) {
            let leave = say_leave(&mut self.links, route, user, connection);
            self.relay(route, leave, out);
        }
    }

    /// Announces users to their present owners, in part; returns where to go on.
    pub(super) fn review_users(&mut self, from: u32, out: &mut Outlet<'_, impl Post>) -> Option<u32> {
        let mut said = std::mem::take(&mut self.users.said);
        let (settings, view, links) = (&self.settings, self.view.as_ref(), &mut self.links);
        let next = self.users.registry.review(time(out.now_ms), from, REVIEWED_PER_TURN as u32, |own| {
            let route = match role_of_user(settings, view, own.name) {
                Role::Gateway(owner) => links.announcing(owner),
                _ => None,
            };
            move_home(links, own, route, &mut said);
            true
        });
        self.say(said, out);
        next
    }

    fn say(&mut self, mut said: Vec<(Route, Relayed)>, out: &mut Outlet<'_, impl Post>) {
        for (route, relayed) in said.drain(..) {
            self.relay(route, relayed, out);
        }
        self.users.said = said;
    }

    /// Looks for a user; the answer to `ticket` comes by [`Self::take_located`].
    pub fn locate(&mut self, ticket: u64, user: &Arc<str>, out: &mut Outlet<'_, impl Post>) {
        let owner = match role_of_user(&self.settings, self.view.as_ref(), user) {
            Role::Owner => {
                let found = self.users.locate(out.now_ms, user);
                return self.users.answers.push((ticket, Ok(found)));
            }
            Role::Gateway(owner) => owner,
            Role::Orphan | Role::Leaf => return self.users.answers.push((ticket, Err(Unlocated::NoOwner))),
        };
        let Some(route) = self.links.announcing(owner) else {
            return self.users.answers.push((ticket, Err(Unlocated::Unreachable)));
        };
        if self.users.questions.len() >= LOCATES_MAX {
            return self.users.answers.push((ticket, Err(Unlocated::Busy)));
        }
        self.users.number += 1;
        let number = self.users.number;
        let question = Question { ticket, number, route, due_ms: out.now_ms + OWNER_WAIT_MS };
        let place = self.users.questions.insert(question) as u64;
        let request = self.users.request(place, number);
        self.relay(route, Relayed::Locate { request, user: Arc::clone(user) }, out);
    }

    /// Answers to [`Self::locate`].
    pub fn take_located(&mut self) -> Vec<(u64, Result<Vec<LocatedEntry>, Unlocated>)> {
        std::mem::take(&mut self.users.answers)
    }

    pub(super) fn hear_about_users(&mut self, route: Route, said: Relayed, out: &mut Outlet<'_, impl Post>) {
        let heard = match said {
            Relayed::Enter { sequence, user, connection, shard, age_s } => {
                let add = Announcement::Add { user: &user, connection, shard, age_s };
                self.hear_statement(route, None, &user, sequence, add, out.now_ms)
            }
            Relayed::Leave { sequence, user, connection } => {
                let remove = Announcement::Remove { user: &user, connection };
                self.hear_statement(route, None, &user, sequence, remove, out.now_ms)
            }
            Relayed::Complete { from_hub, sequence, .. } => {
                self.users.sweeps = true;
                self.hear_statement(route, Some(from_hub), "", sequence, Announcement::Complete, out.now_ms)
            }
            Relayed::Digest { from_hub, interests, entries, .. } => {
                self.hear_digest(route, from_hub, interests, entries)
            }
            Relayed::Locate { request, user } => {
                let is_owner = role_of_user(&self.settings, self.view.as_ref(), &user) == Role::Owner;
                let outcome = if is_owner { Outcome::Accepted } else { Outcome::NotOwner };
                let entries = if is_owner { self.users.locate(out.now_ms, &user) } else { Vec::new() };
                self.relay(route, Relayed::Located { request, outcome, entries }, out);
                Ok(())
            }
            Relayed::Located { request, outcome, entries } => {
                self.users.hear_located(request, outcome, entries);
                Ok(())
            }
            _ => Ok(()),
        };
        match heard {
            Ok(()) | Err(Refusal::Repeated | Refusal::UserFull) => {}
            // What was said before is missing here: the node says everything again in its next session.
            Err(_) => {
                self.tally.differences += 1;
                out.post.reset(route);
            }
        }
    }

    fn hear_statement(
        &mut self,
        route: Route,
        from_hub: Option<u16>,
        user: &str,
        sequence: u64,
        statement: Announcement<'_>,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.links.peer(route.node) else { return Ok(()) };
        let shard = from_hub.unwrap_or_else(|| hub_shard(personal_channel(user).as_bytes(), peer.shards));
        let announcer = Announcer { node: route.node, incarnation: peer.incarnation, shard };
        let key = self.users.session(route, announcer)?;
        self.users.registry.handle_announcement(time(now_ms), key, sequence, statement)
    }

    fn hear_digest(
        &mut self,
        route: Route,
        from_hub: u16,
        interests: (u64, u64),
        entries: (u64, u64),
    ) -> Result<(), Refusal> {
        const DIFFERENCES_MAX: u8 = 2;
        let heard = self.users.heard(route, from_hub);
        let is_disturbed = std::mem::take(&mut heard.is_disturbed);
        let (key, mine) = (heard.key, heard.interests);
        let known = key.and_then(|key| self.users.registry.digest(key)).unwrap_or_default();
        let differs = (mine.count, mine.sum) != interests || (known.count, known.sum) != entries;
        let heard = self.users.heard(route, from_hub);
        heard.differences = if differs && !is_disturbed { heard.differences + 1 } else { 0 };
        if heard.differences < DIFFERENCES_MAX {
            return Ok(());
        }
        heard.differences = 0;
        Err(Refusal::StaleSession)
    }

    /// What the users' part has to do as time passes.
    pub(super) fn tick_users(&mut self, out: &mut Outlet<'_, impl Post>) {
        for (key, user) in std::mem::take(&mut self.users.departures) {
            let (hub, from) = (self.hub_of(&personal_channel(&user)), self.settings.shard);
            let connection = key.number(from);
            if hub == from {
                self.leave_hub(&user, connection, out);
            } else {
                let _ = out.post.post(hub, Message::Leave { user, connection });
            }
        }
        self.users.expire(out.now_ms);
        if self.users.digest_due_ms <= out.now_ms {
            self.send_digests(out);
        }
    }

    /// Tells every node what it should know, one of its hubs at a time.
    fn send_digests(&mut self, out: &mut Outlet<'_, impl Post>) {
        self.users.digest_due_ms = out.now_ms + DIGEST_EVERY_MS;
        let round = self.users.digest_round;
        self.users.digest_round = round.wrapping_add(1);
        let nodes: Vec<NodeId> = self.links.nodes().collect();
        for node in nodes {
            let (Some(route), Some(peer)) = (self.links.announcing(node), self.links.peer(node)) else {
                continue;
            };
            if !peer.complete {
                continue;
            }
            let to_hub = round % peer.told.len() as u16;
            let told = peer.told[usize::from(to_hub)];
            let digest = Relayed::Digest {
                from_hub: self.settings.shard,
                to_hub,
                interests: (told.interests.count, told.interests.sum),
                entries: (told.entries.count, told.entries.sum),
            };
            self.relay(route, digest, out);
        }
    }
}

impl<S: BuildHasher> Users<S> {
    fn expire(&mut self, now_ms: u64) {
        let now = time(now_ms);
        if self.sweeps {
            self.sweeps = self.registry.poll_sweep(now, REVIEWED_PER_TURN as u32);
        }
        while self.registry.poll_vacant(now).is_some() {}
        let Self { questions, answers, .. } = self;
        questions.retain(|_, question| {
            let waits = question.due_ms > now_ms;
            if !waits {
                answers.push((question.ticket, Err(Unlocated::NoAnswer)));
            }
            waits
        });
    }

    fn hear_located(&mut self, request: u64, outcome: Outcome, entries: Vec<LocatedEntry>) {
        let place = (request & 0xff_ffff) as usize;
        let is_it = self
            .questions
            .get(place)
            .is_some_and(|question| self.request(place as u64, question.number) == request);
        if is_it {
            let question = self.questions.remove(place);
            let answer = if outcome == Outcome::Accepted { Ok(entries) } else { Err(Unlocated::NoOwner) };
            self.answers.push((question.ticket, answer));
        }
    }

    /// hub (16 bits) · number (24) · place (24)
    fn request(&self, place: u64, number: u64) -> u64 {
        u64::from(self.hub) << 48 | (number & 0xff_ffff) << 24 | place
    }
}

fn time(now_ms: u64) -> Duration {
    Duration::from_millis(now_ms)
}

fn role_of_user(settings: &super::RouterSettings, view: Option<&View>, user: &str) -> Role {
    super::role_of(settings, view, &personal_channel(user))
}
