//! What a fleet does by itself as time passes.
//!
//! Invariants: what is repeated has a pause that does not shrink with the fleet's size; nothing here judges anybody.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use foca::{Member as Known, State};

use crate::fleet::datagram::{Ping, Said};
use crate::fleet::hints::Step;
use crate::fleet::joining::Task;
use crate::fleet::life::Life;
use crate::fleet::{Fleet, FleetEvent, REFUSALS_PER_TICK, handling, records};

/// How often the number of connections is gossiped at most; in larger fleets less often, so that all of it stays the same.
const CONNECTIONS_PAUSE: Duration = Duration::from_secs(10);

/// Ticks between two looks at what can be dropped.
const PRUNE_TICKS: u64 = 50;

impl Fleet {
    pub(super) fn tick(&mut self, now: Duration) {
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

    pub(super) fn look_for_others(&mut self, now: Duration) {
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
    pub(super) fn ask_for_records(&mut self) {
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

    pub(super) fn take_hints(&mut self, now: Duration) {
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
}
