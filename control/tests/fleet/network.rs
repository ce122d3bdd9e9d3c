//! Fleets over a simulated network: time, loss, delay and reordering by seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roadstead_control::{
    ClusterKeys, ClusterName, Duty, Fleet, FleetEvent, FleetSettings, Incarnation, Member, NodeName, Region,
    Roster, Version, Weight,
};

pub(crate) const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
pub(crate) const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// Milliseconds of Unix time at which the simulation begins.
pub(crate) const EPOCH: u64 = 1_700_000_000_000;

pub(crate) struct Node {
    pub(crate) fleet: Fleet,
    pub(crate) address: SocketAddr,
    pub(crate) rosters: Vec<(Duration, Arc<Roster>)>,
    pub(crate) events: Vec<(Duration, FleetEvent)>,
    pub(crate) state: Process,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Process {
    Running,
    Frozen,
    Killed,
}

pub(crate) struct Network {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) loss_percent: u64,
    pub(crate) delay_ms: (u64, u64),
    /// Everything that was sent, if kept.
    pub(crate) recorded: Option<Vec<(usize, SocketAddr, Vec<u8>)>>,
    /// A number that everything that happened goes into.
    pub(crate) trace: u64,
    sides: BTreeMap<SocketAddr, u8>,
    flying: BinaryHeap<Reverse<Flight>>,
    flown: u64,
    chance: u64,
}

/// When it arrives, its number, who sent it, whom to, and what.
type Flight = (Duration, u64, usize, SocketAddr, Vec<u8>);

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            loss_percent: 1,
            delay_ms: (0, 5),
            recorded: None,
            trace: 0,
            sides: BTreeMap::new(),
            flying: BinaryHeap::new(),
            flown: 0,
            chance: seed,
        }
    }

    /// `count` nodes, started together, each with the first `seeds` of them as seeds.
    pub(crate) fn fleet(seed: u64, count: usize, seeds: usize) -> Self {
        let mut network = Self::new(seed);
        for number in 0..count {
            network.start(number, seeds);
        }
        network
    }

    /// Starts node `number`, with the first `seeds` nodes as seeds.
    pub(crate) fn start(&mut self, number: usize, seeds: usize) -> usize {
        self.start_as(self.settings(number, seeds))
    }

    pub(crate) fn settings(&self, number: usize, seeds: usize) -> FleetSettings {
        FleetSettings {
            cluster: ClusterName::new("test").expect("a good value"),
            own: Member {
                name: NodeName::new(&format!("node-{number}")).expect("a good value"),
                incarnation: Incarnation(EPOCH + self.now.as_millis() as u64),
                revision: 0,
                address: address(number),
                region: Region::new("fra").expect("a good value"),
                weight: Weight::default(),
                version: Version(0, 1, 0),
                shards: 2,
                draining: false,
                settled: false,
                connections: 0,
            },
            seeds: (0..seeds).map(address).collect(),
            keys: ClusterKeys::parse(KEY).expect("a good value"),
            alone: false,
        }
    }

    pub(crate) fn start_as(&mut self, settings: FleetSettings) -> usize {
        let address = settings.own.address;
        let seed = self.random();
        let fleet = Fleet::new(settings, seed, self.now);
        let (rosters, events) = (Vec::new(), Vec::new());
        self.nodes.push(Node { fleet, address, rosters, events, state: Process::Running });
        self.nodes.len() - 1
    }

    /// Cuts the network between two sides; whoever is not named is on side 0.
    pub(crate) fn split(&mut self, side: &[usize]) {
        self.sides = side.iter().map(|at| (self.nodes[*at].address, 1)).collect();
    }

    pub(crate) fn run_until(&mut self, end: Duration) {
        loop {
            self.pump();
            let timers = self.running().filter_map(|at| self.nodes[at].fleet.poll_timeout());
            let flights = self.flying.peek().map(|Reverse(flight)| flight.0);
            let next = timers.chain(flights).min().unwrap_or(end).max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.deliver();
            for at in self.running().collect::<Vec<_>>() {
                if self.nodes[at].fleet.poll_timeout().is_some_and(|due| due <= self.now) {
                    self.nodes[at].fleet.handle_timeout(self.now);
                }
            }
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Runs until `holds` or `limit` has passed; returns how long it took.
    pub(crate) fn run_while_not(
        &mut self,
        limit: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let begin = self.now;
        while !holds(self) {
            if self.now >= begin + limit {
                return None;
            }
            self.run(Duration::from_millis(50));
        }
        Some(self.now - begin)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].state == Process::Running)
    }

    /// Names and incarnations of those in a node's last roster who are relied upon.
    pub(crate) fn seen_by(&self, at: usize) -> Vec<(String, u64)> {
        let Some((_, roster)) = self.nodes[at].rosters.last() else { return Vec::new() };
        let nodes = roster.view.nodes().iter().zip(&roster.members);
        let relied_upon = nodes.filter(|(node, _)| node.duty != Duty::Waiting);
        relied_upon.map(|(_, member)| (member.name.to_string(), member.incarnation.0)).collect()
    }

    /// Whether the last roster of each of these nodes holds exactly these nodes, as they are now.
    pub(crate) fn agree(&self, nodes: &[usize]) -> bool {
        let mut expected: Vec<_> = nodes
            .iter()
            .map(|at| self.nodes[*at].fleet.own())
            .map(|own| (own.id(), own.name.to_string(), own.incarnation.0))
            .collect();
        expected.sort();
        let expected: Vec<_> =
            expected.into_iter().map(|(_, name, incarnation)| (name, incarnation)).collect();
        nodes.iter().all(|at| self.seen_by(*at) == expected)
    }

    /// Hands bytes to a node as if they came from `from`.
    pub(crate) fn inject(&mut self, at: usize, from: SocketAddr, bytes: &[u8]) {
        self.nodes[at].fleet.handle_datagram(self.now, from, bytes);
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Takes what the nodes have to say, until they have nothing more.
    pub(crate) fn pump(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].state != Process::Running {
                continue;
            }
            while let Some((to, bytes)) = self.nodes[at].fleet.poll_datagram() {
                assert!(bytes.len() <= 1_400, "a datagram of {} bytes", bytes.len());
                self.note(&bytes);
                if let Some(recorded) = &mut self.recorded {
                    recorded.push((at, to, bytes.clone()));
                }
                self.send(at, to, bytes);
            }
            let (now, node) = (self.now, &mut self.nodes[at]);
            node.events.extend(std::iter::from_fn(|| node.fleet.poll_event()).map(|event| (now, event)));
            if let Some(roster) = node.fleet.poll_roster(now) {
                assert_eq!(roster.view.nodes().len(), roster.members.len());
                for (node, member) in roster.view.nodes().iter().zip(&roster.members) {
                    assert_eq!((node.id, node.incarnation), (member.id(), member.incarnation));
                }
                let number = roster.view.number();
                node.rosters.push((now, roster));
                self.note(&[&number.to_le_bytes()[..], &(now.as_nanos() as u64).to_le_bytes()].concat());
            }
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        if self.random() % 100 < self.loss_percent {
            return;
        }
        let side = |address: &SocketAddr| self.sides.get(address).copied().unwrap_or(0);
        if side(&self.nodes[from].address) != side(&to) {
            return;
        }
        let (least, most) = self.delay_ms;
        let delay = Duration::from_micros(least * 1_000 + self.random() % ((most - least) * 1_000 + 1));
        self.flown += 1;
        self.flying.push(Reverse((self.now + delay, self.flown, from, to, bytes)));
    }

    fn deliver(&mut self) {
        while self.flying.peek().is_some_and(|Reverse(flight)| flight.0 <= self.now) {
            let Some(Reverse((_, _, from, to, bytes))) = self.flying.pop() else { return };
            let from = self.nodes[from].address;
            let receiver = self.running().filter(|at| self.nodes[*at].address == to).last();
            if let Some(at) = receiver {
                self.nodes[at].fleet.handle_datagram(self.now, from, &bytes);
            }
        }
    }
}

pub(crate) fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (number / 250) as u8, (number % 250) as u8 + 1], 7400))
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A fleet that has settled and agrees.
pub(crate) fn settled(seed: u64, count: usize) -> Network {
    let mut network = Network::fleet(seed, count, 3);
    let all: Vec<usize> = (0..count).collect();
    network.run_while_not(seconds(20), |network| network.agree(&all)).expect("the fleet settles");
    network.run(seconds(5));
    network
}
