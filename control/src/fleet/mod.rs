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

mod changes;
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
mod tick;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use foca::State;

use crate::chance::Chance;
use crate::keys::ClusterKeys;
use crate::limits::{INCARNATION_MAX, OUTGOING_MAX};
use crate::member::Member;
use crate::node::{ClusterName, Incarnation, NodeId};
use crate::roster::Roster;
use crate::seal::{BODY_BYTES_MAX, Opener, Sealer};
use crate::stability::Stability;
use crate::view::View;

use datagram::{Greeting, Said};
use hints::Hints;
use joining::Joining;
use life::Life;
use membership::Membership;
use peers::Peers;
use records::Records;

pub(crate) use report::Events;
pub use report::{FleetEvent, FleetTally, Grounds, MemberState, MemberStatus, Standing};

/// How often news are told and the schedule is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Nodes that are told of a drain or a goodbye at once; the others hear it from them.
const TOLD_AT_ONCE: usize = 64;

/// Refusals that are answered in a tick. More come from a flood only.
const REFUSALS_PER_TICK: u32 = 4;

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
    /// The View of the latest roster.
    view: Option<View>,
    has_left: bool,
    /// A drain was called off: the record says it until the own View no longer does, so that all change their mind together,
    /// also those who have just lost this node and found it again.
    is_returning: bool,
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
            view: None,
            has_left: false,
            is_returning: false,
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
        if self.has_left || (self.own.draining && !self.is_returning) == draining {
            return;
        }
        if self.own.draining {
            self.is_returning = !draining;
            self.weigh_own(now);
        } else {
            (self.own.draining, self.own.settled) = (true, false);
            self.tell_record(now);
        }
        self.settle(now);
    }

    /// Tells some of the others at once that the own record has changed.
    fn tell_record(&mut self, now: Duration) {
        self.revise(now);
        for life in self.some_living(TOLD_AT_ONCE) {
            self.say(life.address, &Said::News { records: datagram::Records::NONE });
        }
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
        self.is_returning = false;
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
        if (self.is_returning || !self.own.settled) && view.node(self.own.id()) == Some(&self.intended()) {
            self.own.draining &= !self.is_returning;
            (self.own.settled, self.is_returning) = (true, false);
            self.tell_record(now);
        }
        let record = |node: &crate::view::ViewNode| {
            let record = self.records.get((node.id, node.incarnation));
            record.cloned().expect("a life is reported with its record, which stays while it is in the View")
        };
        let members = view.nodes().iter().map(record).collect();
        self.view = Some(view.clone());
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
        match (&self.stability, &self.view) {
            (None, _) => Standing::Joining,
            (Some(_), Some(view)) if view.contains(self.own.id(), self.own.incarnation) => Standing::Serving,
            (Some(_), _) => Standing::Settling,
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
