//! A machine of a simulated fleet: its address, and the process on it, if there is one at present.
//!
//! Invariants: the process is the engine's shards and control's state machine, and talks to others only by the network; a
//! new process knows nothing of the one before; a frozen one does not run, and its sockets stay.
//!
//! ```text
//!   Off ── start ──> running <── thaws ── frozen
//!    ^                  │
//!    └── kill, power_off, has stopped
//! ```

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use roadstead_control::{
    ClusterKeys, ClusterName, Fleet, FleetEvent, FleetSettings, Incarnation, Member, NodeId, NodeName,
    Region, Roster, Standing, Version, Weight, hub_shard, owner,
};
use roadstead_engine::flow::{LocatedEntry, personal_channel};
use roadstead_engine::revocations::Revocation;
use roadstead_engine::settings::Settings;
use roadstead_engine::shard::{FleetParts, Order, Report, Reporter, Unlocated};

use crate::node::{Node, NodeParts, UNIX_MS};
use crate::random::Random;
use crate::saboteur::{Mutant, Saboteur};
use crate::world::World;

/// Where clients connect.
pub(crate) const CLIENT_PORT: u16 = 8_000;
/// Gossip and links.
pub(crate) const CLUSTER_PORT: u16 = 7_400;

/// What a host is, whatever runs on it.
#[derive(Clone, Debug)]
pub(crate) struct HostParts {
    /// Its number in the fleet, from 0.
    pub(crate) number: usize,
    /// Settings of its node.
    pub(crate) settings: Settings,
    /// Where its node asks to be let in.
    pub(crate) seeds: Vec<SocketAddr>,
    /// The cluster's keys.
    pub(crate) keys: Arc<ClusterKeys>,
    /// Links that its node dials to each other one.
    pub(crate) links_per_peer: u8,
    /// Bytes that may wait for a link.
    pub(crate) link_queue_bytes: usize,
    /// How often a shard that could run does not, per mille.
    pub(crate) stalls: usize,
}

/// A machine.
pub(crate) struct Host {
    world: World,
    random: Random,
    parts: HostParts,
    process: Option<Process>,
    frozen_until: Duration,
    /// Counted losses of earlier processes.
    lost: u64,
    /// What its node acted upon, and since when; `None`: nothing.
    views: Vec<(Duration, Option<Arc<Roster>>)>,
    saboteur: Option<Saboteur>,
}

struct Process {
    node: Node,
    fleet: Fleet,
    reports: Receiver<Report>,
    /// When control asked to be called.
    wakes_at: Option<Duration>,
    draining: bool,
    leaving: bool,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("number", &self.parts.number).finish_non_exhaustive()
    }
}

impl Host {
    /// A host without a process.
    #[must_use]
    pub(crate) fn new(world: &World, parts: HostParts, saboteur: Option<Saboteur>) -> Self {
        Self {
            world: world.clone(),
            random: world.random(),
            parts,
            process: None,
            frozen_until: Duration::ZERO,
            lost: 0,
            views: vec![(Duration::ZERO, None)],
            saboteur,
        }
    }

    /// Address of host `number`.
    #[must_use]
    pub(crate) fn ip_of(number: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, number as u8 + 1])
    }

    /// Its address.
    #[must_use]
    pub(crate) fn ip(&self) -> IpAddr {
        Self::ip_of(self.parts.number)
    }

    /// Where clients connect.
    #[must_use]
    pub(crate) fn clients(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), CLIENT_PORT)
    }

    /// The id of its node.
    #[must_use]
    pub(crate) fn id(&self) -> NodeId {
        self.name().id()
    }

    fn name(&self) -> NodeName {
        NodeName::new(&format!("node-{}", self.parts.number)).expect("letters and digits")
    }

    /// Whether it has a process.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process runs at this moment.
    #[must_use]
    pub(crate) fn is_running(&self) -> bool {
        self.is_on() && self.frozen_until <= self.world.now()
    }

    /// Whether a load balancer would send clients to it.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            process.fleet.standing() == Standing::Serving && !process.draining && !process.leaving
        })
    }

    /// Shards of its node.
    #[must_use]
    pub(crate) fn shards(&self) -> u16 {
        self.parts.settings.shards
    }

    /// Starts a process.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "one process at a time");
        let now = self.world.now();
        let address = SocketAddr::new(self.ip(), CLUSTER_PORT);
        self.world.bind(address);
        let incarnation = Incarnation(UNIX_MS + now.as_millis() as u64);
        let (sender, reports) = crossbeam_channel::unbounded();
        let report = move |report| {
            // The host may have ended the process.
            let _ = sender.send(report);
        };
        let own = Member {
            name: self.name(),
            incarnation,
            revision: 0,
            address,
            region: Region::new("sim").expect("letters"),
            weight: Weight::default(),
            version: Version(0, 1, 0),
            shards: self.parts.settings.shards,
            draining: false,
            settled: false,
            connections: 0,
        };
        let links = FleetParts {
            cluster: "sim".into(),
            own: own.name.clone(),
            incarnation,
            keys: Arc::clone(&self.parts.keys),
            links_per_peer: self.parts.links_per_peer,
            link_queue_bytes: self.parts.link_queue_bytes,
            listener: 1,
            reporter: Reporter(Arc::new(report)),
            tls: None,
        };
        let settings = FleetSettings {
            cluster: ClusterName::new("sim").expect("letters"),
            own,
            seeds: self.parts.seeds.clone(),
            keys: ClusterKeys::clone(&self.parts.keys),
            alone: false,
        };
        let node = NodeParts {
            address: self.clients(),
            settings: self.parts.settings.clone(),
            stalls: self.parts.stalls,
            id: self.id(),
            fleet: Some((address, links)),
            tampers: self.saboteur.is_some(),
        };
        self.process = Some(Process {
            node: Node::new(&self.world, node),
            fleet: Fleet::new(settings, self.random.bits(), now),
            reports,
            wakes_at: Some(now),
            draining: false,
            leaving: false,
        });
        self.frozen_until = now;
    }

    /// The process is killed: its kernel closes its sockets.
    pub(crate) fn kill(&mut self) {
        self.bury();
        self.world.kill(self.ip());
    }

    /// The host loses its power, and all that it knew.
    pub(crate) fn power_off(&mut self) {
        self.bury();
        self.world.power_off(self.ip());
    }

    /// The host has power again, and no process yet.
    pub(crate) fn power_on(&mut self) {
        self.world.power_on(self.ip());
    }

    fn bury(&mut self) {
        if let Some(process) = self.process.take() {
            self.lost += process.node.lost();
            self.views.push((self.world.now(), None));
        }
    }

    /// The process does not run for a while.
    pub(crate) fn freeze(&mut self, time: Duration) {
        self.frozen_until = self.world.now() + time;
    }

    /// The node says that it is leaving, or has changed its mind.
    pub(crate) fn drain(&mut self, draining: bool) {
        if let Some(process) = &mut self.process {
            process.draining = draining;
            process.fleet.set_draining(self.world.now(), draining);
            process.wakes_at = Some(self.world.now());
        }
    }

    /// The node closes its clients one after the other over this time.
    pub(crate) fn send_away(&mut self, window: Duration) {
        if let Some(process) = &mut self.process {
            let window_ms = window.as_millis() as u64;
            process.node.order_all(|| Order::StopListening);
            process.node.order_all(|| Order::Leave { window_ms });
        }
    }

    /// The node stays after all: it listens, closes no more clients and says so.
    pub(crate) fn stay(&mut self) {
        if let Some(process) = &mut self.process {
            process.node.order_all(|| Order::Stay);
            process.node.order_all(|| Order::Listen);
        }
        self.drain(false);
    }

    /// The node says goodbye and ends its shards.
    pub(crate) fn leave(&mut self) {
        if let Some(process) = &mut self.process {
            process.leaving = true;
            process.fleet.leave(self.world.now());
            process.wakes_at = Some(self.world.now());
            process.node.stop();
        }
    }

    /// Lets the process run, if it can. Returns whether something moved; events of control go to `tell`.
    pub(crate) fn run(&mut self, mut tell: impl FnMut(FleetEvent)) -> bool {
        if !self.is_running() {
            return false;
        }
        let now = self.world.now();
        let own = SocketAddr::new(self.ip(), CLUSTER_PORT);
        let Some(process) = &mut self.process else { return false };
        let mut moved = false;
        while let Some((from, bytes)) = self.world.receive_datagram(own) {
            process.fleet.handle_datagram(now, from, &bytes);
            moved = true;
        }
        while let Ok(Report::LinkLost { node, incarnation }) = process.reports.try_recv() {
            process.fleet.handle_link_lost(now, node, incarnation);
            moved = true;
        }
        if moved || process.wakes_at.is_some_and(|at| at <= now) {
            process.fleet.handle_timeout(now);
            moved = true;
            while let Some(roster) = process.fleet.poll_roster(now) {
                self.views.push((now, Some(Arc::clone(&roster))));
                for shard in 0..self.parts.settings.shards {
                    let saboteur = self.saboteur.as_mut();
                    if !saboteur.is_some_and(|saboteur| saboteur.strikes_at(Mutant::WithholdsView, now)) {
                        process.node.order(shard, Order::View(Arc::clone(&roster)));
                    }
                }
            }
            while let Some((to, bytes)) = process.fleet.poll_datagram() {
                self.world.send_datagram(own, to, &bytes);
            }
            while let Some(event) = process.fleet.poll_event() {
                tell(event);
            }
            process.wakes_at = process.fleet.poll_timeout();
        }
        if let Some(saboteur) = &mut self.saboteur {
            process.node.tamper(|| saboteur.strikes_at(Mutant::WithholdsLinkChange, now));
        }
        moved |= process.node.run() > 0;
        if process.leaving && process.node.is_finished() {
            self.kill();
        }
        moved
    }

    /// When it runs next by itself.
    #[must_use]
    pub(crate) fn due(&self) -> Option<Duration> {
        let process = self.process.as_ref()?;
        let due = process.wakes_at.into_iter().chain(process.node.due()).min();
        due.map(|due| due.max(self.frozen_until))
    }

    /// Its node's shards, while there is a process.
    #[must_use]
    pub(crate) fn node(&self) -> Option<&Node> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// An operator revokes something here; false: nobody is there to do it.
    pub(crate) fn revoke(&mut self, revocation: &Revocation) -> bool {
        let Some(process) = &mut self.process else { return false };
        process.node.revoke(revocation);
        true
    }

    /// Publications that its processes admit to have dropped.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.lost + self.node().map_or(0, Node::lost)
    }

    /// What its node acts upon at present.
    #[must_use]
    pub(crate) fn roster(&self) -> Option<&Arc<Roster>> {
        self.views.last().and_then(|(_, roster)| roster.as_ref())
    }

    /// Who owned the channel for its node in that time, each with its life; `None` where it acted upon no View.
    #[must_use]
    pub(crate) fn owners(
        &self,
        channel: &str,
        from: Duration,
        until: Duration,
    ) -> Vec<Option<(NodeId, Incarnation)>> {
        let first = self.views.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
        let views = self.views[first..].iter().take_while(|(at, _)| *at <= until.max(from));
        let mut owners: Vec<_> = views.map(|(_, roster)| owner_of(roster.as_deref()?, channel)).collect();
        owners.dedup();
        owners
    }

    /// Asks the node for a user's connections; the answer comes later.
    #[must_use]
    pub(crate) fn locate(&mut self, user: &str) -> Option<Receiver<Result<Vec<LocatedEntry>, Unlocated>>> {
        let process = self.process.as_mut()?;
        let (answer, answered) = crossbeam_channel::bounded(1);
        let shard = hub_shard(personal_channel(user).as_bytes(), self.parts.settings.shards);
        process.node.order(shard, Order::Locate { user: user.into(), answer });
        Some(answered)
    }

    /// How often its saboteur struck.
    #[must_use]
    pub(crate) fn strikes(&self) -> u64 {
        self.saboteur.as_ref().map_or(0, Saboteur::strikes)
    }
}

fn owner_of(roster: &Roster, channel: &str) -> Option<(NodeId, Incarnation)> {
    let id = owner(&roster.view, channel.as_bytes())?;
    Some((id, roster.view.node(id)?.incarnation))
}
