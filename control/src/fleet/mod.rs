//! The fleet as one node sees it: what datagrams and time make of membership, Views and rosters.
//!
//! Invariants: knows no socket and no clock; nothing that does not open under the cluster's key changes anything; nobody is
//! in the fleet who was refused, and a node that is refused disturbs nobody; no roster before the node has found or started
//! its fleet and the first window of [`Stability`] has passed; every queue is bounded.
//!
//! ```text
//!            seal        judge: region, name, life        foca           stability
//! datagram ───────> said ─────────────────────────> message ───> notices ────────> View ─┐
//!                     └───────────────────────────> record ──────────────────────────────┴──> roster
//! ```

mod datagram;
mod handling;
mod health;
mod hints;
mod joining;
mod life;
mod membership;
mod peers;
mod records;
mod report;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use foca::{Member as Known, State};

use crate::chance::Chance;
use crate::keys::ClusterKeys;
use crate::limits::{HINT_SUSPICION, INCARNATION_MAX, OUTGOING_MAX};
use crate::member::Member;
use crate::node::{ClusterName, Incarnation, NodeId};
use crate::roster::Roster;
use crate::seal::{BODY_BYTES_MAX, Opener, Sealer};
use crate::stability::Stability;

use datagram::{Greeting, Ping, Said};
use hints::{Hints, Step};
use joining::{Joining, Task};
use life::Life;
use membership::{Membership, Notice, transmissions_for};
use peers::Peers;
use records::Records;

pub(crate) use report::Events;
pub use report::{FleetEvent, FleetTally, Grounds, MemberState, MemberStatus, Standing};

/// How often news are told and the schedule is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How often the number of connections is gossiped at most; in larger fleets less often, so that all of it stays the same.
const CONNECTIONS_PAUSE: Duration = Duration::from_secs(10);

/// Nodes that are told of a drain or a goodbye at once; the others hear it from them.
const TOLD_AT_ONCE: usize = 64;

/// Refusals that are answered in a tick. More come from a flood only.
const REFUSALS_PER_TICK: u32 = 4;

/// Ticks between two looks at what can be dropped.
const PRUNE_TICKS: u64 = 50;

/// With what a fleet begins.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// The cluster.
    pub cluster: ClusterName,
    /// This node; its incarnation is the time in milliseconds at which it starts.
    pub own: Member,
    /// Addresses at which others may be; this node's own among them lets it start the fleet.
    pub seeds: Vec<SocketAddr>,
    /// The cluster's secrets.
    pub keys: ClusterKeys,
    /// Start the fleet at once, without waiting for a seed.
    pub alone: bool,
}

/// The state machine.
pub struct Fleet {
    cluster: ClusterName,
    keys: ClusterKeys,
    own: Member,
    own_record: Vec<u8>,
    /// Incarnation and time of the start, from which later incarnations follow.
    born: (Incarnation, Duration),
    chance: Chance,
    sealer: Sealer,
    opener: Opener,
    membership: Membership,
    peers: Peers,
    records: Records,
    hints: Hints,
    joining: Joining,
    /// `None` until the node has found or started its fleet.
    stability: Option<Stability>,
    has_roster: bool,
    has_left: bool,
    /// Set when this node must go on as a life later than that one, and whom it then turns to.
    outlived: Option<(Incarnation, Option<Life>)>,
    connections: u32,
    connections_at: Duration,
    tick_at: Duration,
    ticks: u64,
    refusals_left: u32,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    events: Events,
    tally: FleetTally,
}

impl Fleet {
    /// A node that begins to look for its fleet at `now`. All chance comes from `random_seed`, which must differ between
    /// starts.
    #[must_use]
    pub fn new(settings: FleetSettings, random_seed: u64, now: Duration) -> Self {
        let FleetSettings { cluster, mut own, seeds, keys, alone } = settings;
        own.address = SocketAddr::new(own.address.ip(), own.address.port());
        own.incarnation = own.incarnation.min(Incarnation(INCARNATION_MAX / 2));
        let mut chance = Chance::new(random_seed);
        let sealer = Sealer::new(&keys, &cluster, own.id(), own.incarnation, chance.next());
        let mut fleet = Self {
            opener: Opener::new(keys.clone(), cluster.clone()),
            membership: Membership::new(life_of(&own), chance.branch(), now),
            joining: Joining::new(now, own.address, seeds, alone),
            born: (own.incarnation, now),
            connections: own.connections,
            own_record: Vec::new(),
            peers: Peers::default(),
            records: Records::default(),
            hints: Hints::default(),
            stability: None,
            has_roster: false,
            has_left: false,
            outlived: None,
            connections_at: now,
            tick_at: now,
            ticks: 0,
            refusals_left: REFUSALS_PER_TICK,
            outgoing: VecDeque::new(),
            events: Events::default(),
            tally: FleetTally::default(),
            cluster,
            keys,
            own,
            chance,
            sealer,
        };
        fleet.write_own_record();
        fleet
    }

    /// Takes a datagram, whatever it is.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        if self.has_left {
            return;
        }
        self.tally.datagrams_received += 1;
        self.notice_stall(now);
        match self.opener.open(bytes) {
            Ok(opened) => self.handle_opened(now, from, &opened),
            Err(unopened) => self.handle_unopened(now, from, unopened),
        }
        self.settle(now);
    }

    /// Lets time pass. To be called when [`Fleet::poll_timeout`] says so.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.has_left {
            return;
        }
        self.notice_stall(now);
        self.membership.handle_timeout(now);
        self.take_hints(now);
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.tick(now);
        }
        self.settle(now);
    }

    /// The link to a life of a node broke: asks it at once whether it is there.
    pub fn handle_link_lost(&mut self, now: Duration, node: NodeId, incarnation: Incarnation) {
        let peer = self.peers.get(node).filter(|peer| peer.is_up && peer.life.incarnation == incarnation);
        let Some(life) = peer.filter(|_| !self.has_left).map(|peer| peer.life) else { return };
        if self.hints.ask(now, life, self.chance.next()) {
            self.tally.hints += 1;
            self.take_hints(now);
            self.settle(now);
        }
    }

    /// Tells the fleet that this node owns nothing from now on, or may own again.
    pub fn set_draining(&mut self, now: Duration, draining: bool) {
        if self.has_left || self.own.draining == draining {
            return;
        }
        self.own.draining = draining;
        self.revise(now);
        for life in self.some_living(TOLD_AT_ONCE) {
            self.say(life.address, &Said::News { records: datagram::Records::NONE });
        }
        self.settle(now);
    }

    /// Notes how many connections this node holds. Told to the fleet now and then.
    pub fn set_connections(&mut self, _now: Duration, connections: u32) {
        self.connections = connections;
    }

    /// Says goodbye. What [`Fleet::poll_datagram`] then gives is the last of this node.
    pub fn leave(&mut self, now: Duration) {
        if self.has_left {
            return;
        }
        if !self.own.draining {
            self.own.draining = true;
            self.revise(now);
        }
        let told = self.some_living(TOLD_AT_ONCE);
        // There is no later chance to repeat what was lost.
        for life in told.iter().chain(&told) {
            self.say(life.address, &Said::Bye);
        }
        self.membership.leave(now);
        self.send_membership();
        self.has_left = true;
    }

    /// A datagram to be sent, and where to.
    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let datagram = self.outgoing.pop_front()?;
        self.tally.datagrams_sent += 1;
        Some(datagram)
    }

    /// A new roster, when there is one.
    pub fn poll_roster(&mut self, now: Duration) -> Option<Arc<Roster>> {
        if self.has_left {
            return None;
        }
        let view = self.stability.as_mut()?.poll_view(now)?;
        let record = |node: &crate::view::ViewNode| {
            let record = self.records.get((node.id, node.incarnation));
            record.cloned().expect("a life is reported with its record, which stays while it is in the View")
        };
        let members = view.nodes().iter().map(record).collect();
        self.has_roster = true;
        Some(Arc::new(Roster { view, members }))
    }

    /// Something to be logged.
    pub fn poll_event(&mut self) -> Option<FleetEvent> {
        self.events.pop()
    }

    /// When [`Fleet::handle_timeout`] or [`Fleet::poll_roster`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.has_left {
            return None;
        }
        let view = self.stability.as_ref().and_then(Stability::poll_timeout);
        let timers = [self.membership.poll_timeout(), self.hints.poll_timeout(), view, Some(self.tick_at)];
        timers.into_iter().flatten().min()
    }

    /// How far this node is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (&self.stability, self.has_roster) {
            (None, _) => Standing::Joining,
            (Some(_), false) => Standing::Settling,
            (Some(_), true) => Standing::Serving,
        }
    }

    /// This node's own record: its incarnation is a later one after it was taken for dead.
    #[must_use]
    pub fn own(&self) -> &Member {
        &self.own
    }

    /// Everybody whose record is known, this node among them, by rising id.
    #[must_use]
    pub fn members(&self) -> Vec<MemberStatus> {
        let suspects: Vec<Life> = self
            .membership
            .states()
            .filter(|known| known.state() == State::Suspect)
            .map(|known| *known.id())
            .collect();
        let mut members = vec![MemberStatus {
            member: self.own.clone(),
            state: if self.has_left { MemberState::Left } else { MemberState::Alive },
        }];
        for peer in self.peers.iter() {
            let state = match (peer.is_up, peer.has_left) {
                (true, _) if suspects.contains(&peer.life) => MemberState::Suspect,
                (true, _) => MemberState::Alive,
                (false, true) => MemberState::Left,
                (false, false) => MemberState::Down,
            };
            let member = self.records.get((peer.life.id, peer.life.incarnation)).cloned();
            members.extend(member.map(|member| MemberStatus { member, state }));
        }
        members.sort_by_key(|status| status.member.id());
        members
    }

    /// What was counted since the start.
    #[must_use]
    pub fn tally(&self) -> FleetTally {
        self.tally
    }

    /// Whatever the protocol found out and wants sent, until it is content.
    fn settle(&mut self, now: Duration) {
        loop {
            let notices = self.membership.take_notices();
            let is_content = notices.is_empty() && self.outlived.is_none();
            for notice in notices {
                self.take_notice(now, notice);
            }
            if let Some((incarnation, through)) = self.outlived.take() {
                self.rejoin(now, incarnation, through);
            }
            self.send_membership();
            if is_content {
                break;
            }
        }
        self.tally.membership_errors += self.membership.take_errors();
    }

    fn take_notice(&mut self, now: Duration, notice: Notice) {
        match notice {
            Notice::Up(life) => {
                self.peers.set_up(now, life);
                if self.stability.is_none() {
                    self.enter(now, FleetEvent::Joined { through: life.address });
                }
                self.introduce(now, life);
            }
            Notice::Replaced(old, new) => {
                if self.peers.is_up(&old) {
                    self.take_death(now, old);
                    self.peers.replace(now, new);
                    self.peers.set_up(now, new);
                    self.introduce(now, new);
                } else {
                    self.peers.replace(now, new);
                }
            }
            Notice::Down(life) => self.take_death(now, life),
            Notice::Suspected(life, objections) => {
                self.tally.suspicions += 1;
                let patience = self.membership.patience(HINT_SUSPICION);
                self.hints.doubt(now, life, objections, self.chance.next(), patience);
                self.take_hints(now);
            }
            Notice::Condemned => self.outlive(self.own.incarnation, None),
        }
    }

    fn take_death(&mut self, now: Duration, life: Life) {
        let Some(peer) = self.peers.set_down(now, life) else { return };
        self.tally.deaths += 1;
        if let Some(stability) = &mut self.stability {
            stability.handle_dead(life.id, life.incarnation);
        }
        let record = self.records.get((life.id, life.incarnation));
        let is_draining = record.is_some_and(|member| member.draining);
        if is_draining && let Some(peer) = self.peers.get_mut(life.id) {
            peer.has_left = true;
        }
        if let Some(member) = record.filter(|_| peer.is_reported) {
            let event = FleetEvent::MemberDown {
                name: member.name.clone(),
                incarnation: life.incarnation,
                left: peer.has_left || is_draining,
            };
            self.events.push(&mut self.tally, event);
        }
    }

    /// The node has found or started its fleet.
    fn enter(&mut self, now: Duration, event: FleetEvent) {
        self.events.push(&mut self.tally, event);
        self.stability = Some(Stability::new(now, self.own.in_view()));
        self.joining.sync_soon(now);
        let living: Vec<Life> = self.peers.living().collect();
        living.into_iter().for_each(|life| self.report(now, life));
    }

    /// A life has come up: reports it if its record is known, and tells others of the record.
    fn introduce(&mut self, now: Duration, life: Life) {
        let key = (life.id, life.incarnation);
        if self.records.get(key).is_some() {
            self.records.spread(key, transmissions_for(self.peers.living_count() + 1));
        }
        self.report(now, life);
    }

    /// Takes a living node into account for Views, once its record is known.
    fn report(&mut self, now: Duration, life: Life) {
        let record = self.records.get((life.id, life.incarnation));
        let Some(member) = record.filter(|member| member.address == life.address) else { return };
        let Some(stability) = &mut self.stability else { return };
        let has_room = stability.handle_alive(now, member.in_view()).is_ok();
        let Some(peer) = self.peers.get_mut(life.id).filter(|peer| !peer.is_reported) else { return };
        peer.is_reported = true;
        if !has_room {
            self.tally.full += 1;
            self.events.push(&mut self.tally, FleetEvent::FleetFull);
        }
        let event = FleetEvent::MemberUp(member.clone());
        self.events.push(&mut self.tally, event);
    }

    /// This node must go on as a later life than `incarnation`.
    fn outlive(&mut self, incarnation: Incarnation, through: Option<Life>) {
        let before = self.outlived.map_or(incarnation, |(before, _)| before.max(incarnation));
        self.outlived = Some((before, through.or(self.outlived.and_then(|(_, through)| through))));
    }

    /// Goes on as a later life. What this node thought dead it no longer does: it was the one that was away.
    fn rejoin(&mut self, now: Duration, outlived: Incarnation, through: Option<Life>) {
        let (born, born_at) = self.born;
        let elapsed_ms = u64::try_from(now.saturating_sub(born_at).as_millis()).unwrap_or(u64::MAX);
        let next = (self.own.incarnation.0.max(outlived.0) + 1).max(born.0.saturating_add(elapsed_ms));
        self.own.incarnation = Incarnation(next.min(INCARNATION_MAX - 1));
        self.own.revision = 0;
        let salt = self.chance.next();
        self.sealer = Sealer::new(&self.keys, &self.cluster, self.own.id(), self.own.incarnation, salt);
        self.write_own_record();
        self.membership.change_life(now, life_of(&self.own));
        self.peers.forget_dead();
        if let Some(stability) = &mut self.stability {
            // The own node always has a place.
            let _has_room = stability.handle_alive(now, self.own.in_view());
        }
        self.tally.rejoins += 1;
        let event = FleetEvent::Rejoining { incarnation: self.own.incarnation };
        self.events.push(&mut self.tally, event);
        self.joining.sync_soon(now);
        let others = self.some_living(2);
        through.into_iter().chain(others).for_each(|life| self.membership.announce(now, life));
    }

    /// The own record has changed: a new revision of it, told to others.
    fn revise(&mut self, now: Duration) {
        self.own.revision = self.own.revision.saturating_add(1);
        self.write_own_record();
        if let Some(stability) = &mut self.stability {
            let _has_room = stability.handle_alive(now, self.own.in_view());
        }
        let key = (self.own.id(), self.own.incarnation);
        self.records.spread(key, transmissions_for(self.peers.living_count() + 1));
    }

    fn write_own_record(&mut self) {
        self.own_record.clear();
        self.own.encode(&mut self.own_record);
        self.records.learn_own(&self.own, &self.own_record);
    }

    fn notice_stall(&mut self, now: Duration) {
        if let Some(late) = self.membership.notice_stall(now) {
            self.hints.shift(late);
            self.tally.stalls += 1;
        }
    }

    fn take_hints(&mut self, now: Duration) {
        let membership = &self.membership;
        for step in self.hints.steps(now, |life| membership.state(life)) {
            match step {
                Step::Ask { life, token, suspicion } => {
                    let ping = Ping { token, id: life.id, incarnation: life.incarnation, suspicion };
                    self.say(life.address, &Said::Ping(ping));
                }
                Step::Suspect(life) => self.membership.suspect(now, life),
                Step::Confirm(life, objections) => {
                    self.membership.apply(now, Known::new(life, objections, State::Down), true);
                }
            }
        }
    }

    fn tick(&mut self, now: Duration) {
        self.ticks += 1;
        self.refusals_left = REFUSALS_PER_TICK;
        self.look_for_others(now);
        let pause = CONNECTIONS_PAUSE * u32::try_from(1 + self.peers.living_count() / 50).unwrap_or(1);
        if self.connections != self.own.connections && now >= self.connections_at {
            self.connections_at = now + pause;
            self.own.connections = self.connections;
            self.revise(now);
        }
        if self.membership.has_gossip() || self.records.has_news() {
            self.membership.gossip(now);
        }
        if self.ticks.is_multiple_of(2) {
            self.ask_for_records();
        }
        if self.ticks.is_multiple_of(PRUNE_TICKS) {
            self.peers.prune(now);
            let (peers, own) = (&self.peers, (self.own.id(), self.own.incarnation));
            let is_latest =
                |key: records::LifeKey| peers.get(key.0).is_some_and(|peer| peer.life.incarnation <= key.1);
            self.records.retain(|key| key == own || is_latest(key));
        }
    }

    fn look_for_others(&mut self, now: Duration) {
        let dead: Vec<SocketAddr> = self
            .peers
            .iter()
            .filter(|peer| !peer.is_up && !peer.has_left)
            .map(|peer| peer.life.address)
            .collect();
        let tasks = if self.stability.is_none() {
            self.joining.due_without_fleet(now, &mut self.chance)
        } else if self.peers.living_count() == 0 {
            self.joining.due_in_solitude(now, &mut self.chance, &dead)
        } else {
            let living: BTreeSet<SocketAddr> = self.peers.living().map(|life| life.address).collect();
            self.joining.due_among_others(now, &mut self.chance, &living, &dead)
        };
        for task in tasks {
            match task {
                Task::Start => self.enter(now, FleetEvent::StartedFleet),
                Task::Complain(seeds) => {
                    self.events.push(&mut self.tally, FleetEvent::NoSeedAnswers { seeds });
                }
                Task::Greet(addresses) => {
                    for address in addresses {
                        let known = self.peers.at(address).map(|peer| peer.life);
                        let greeting = self.greeting(known);
                        self.say(address, &Said::Hello(greeting));
                    }
                }
                Task::Sync => {
                    let asked = self.some_living(1);
                    asked.into_iter().for_each(|life| self.membership.announce(now, life));
                }
            }
        }
    }

    /// Asks for the records of living nodes that are missed: anybody, and one of those whom they are about.
    fn ask_for_records(&mut self) {
        let is_missed = |life: &Life| self.records.get((life.id, life.incarnation)).is_none();
        let missed: Vec<Life> = self.peers.living().filter(is_missed).collect();
        if missed.is_empty() {
            return;
        }
        let asked = [self.some_living(1), self.chance.pick_many(missed.clone(), 1)].concat();
        let lives = self.chance.pick_many(missed, handling::WANTED_MAX);
        let lives: Vec<_> = lives.into_iter().map(|life| (life.id, life.incarnation)).collect();
        for life in asked {
            self.say(life.address, &Said::Want { lives: lives.clone() });
        }
    }

    /// What this node says to one that it meets, and that it knows as `life`.
    fn greeting(&self, life: Option<Life>) -> Greeting {
        let living = u32::try_from(self.peers.living_count() + 1).unwrap_or(u32::MAX);
        let about = life.map(|life| {
            let is_dead = self.membership.state(&life).is_some_and(|(state, _)| state == State::Down);
            (life.id, life.incarnation, is_dead)
        });
        let least = self.peers.living().map(|life| life.id).fold(self.own.id(), NodeId::min);
        Greeting { living, least, about }
    }

    fn some_living(&mut self, count: usize) -> Vec<Life> {
        let living = self.peers.living().collect();
        self.chance.pick_many(living, count)
    }

    /// Sends what the membership protocol wants sent, with news where there is room.
    fn send_membership(&mut self) {
        for (to, message) in self.membership.take_messages() {
            let mut body = datagram::begin_membership(&self.own_record, &message);
            if self.peers.is_up(&to) {
                self.records.push_news(&mut body, BODY_BYTES_MAX);
            }
            let sealed = self.sealer.seal(&body);
            self.send(to.address, sealed);
        }
    }

    fn say(&mut self, to: SocketAddr, said: &Said<'_>) {
        let sealed = self.sealer.seal(&datagram::write(&self.own_record, said));
        self.send(to, sealed);
    }

    fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.outgoing.len() < OUTGOING_MAX {
            self.outgoing.push_back((to, datagram));
        } else {
            self.tally.datagrams_dropped += 1;
        }
    }
}

fn life_of(member: &Member) -> Life {
    Life { id: member.id(), incarnation: member.incarnation, address: member.address }
}
