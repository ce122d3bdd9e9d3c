//! What follows from what the membership protocol found out: Views, events, and new lives of this node.
//!
//! Invariants: a life counts for Views only with its record; a life that is over is out of the next View; this node goes on
//! under a later incarnation when, and only when, others have outlived it.

use core::time::Duration;

use crate::fleet::life::Life;
use crate::fleet::membership::{Notice, transmissions_for};
use crate::fleet::{Fleet, FleetEvent, life_of};
use crate::limits::{HINT_SUSPICION, INCARNATION_MAX};
use crate::node::Incarnation;
use crate::seal::Sealer;
use crate::stability::Stability;
use crate::view::{Duty, ViewNode};

impl Fleet {
    /// Whatever the protocol found out and wants sent, until it is content.
    pub(super) fn settle(&mut self, now: Duration) {
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

    pub(super) fn take_notice(&mut self, now: Duration, notice: Notice) {
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

    pub(super) fn take_death(&mut self, now: Duration, life: Life) {
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
    pub(super) fn enter(&mut self, now: Duration, event: FleetEvent) {
        self.events.push(&mut self.tally, event);
        self.stability = Some(Stability::new(now, self.intended()));
        self.joining.sync_soon(now);
        let living: Vec<Life> = self.peers.living().collect();
        living.into_iter().for_each(|life| self.report(now, life));
    }

    /// A life has come up: reports it if its record is known, and tells others of the record.
    pub(super) fn introduce(&mut self, now: Duration, life: Life) {
        let key = (life.id, life.incarnation);
        if self.records.get(key).is_some() {
            self.records.spread(key, transmissions_for(self.peers.living_count() + 1));
        }
        self.report(now, life);
    }

    /// Takes a living node into account for Views, once its record is known.
    pub(super) fn report(&mut self, now: Duration, life: Life) {
        let record = self.records.get((life.id, life.incarnation));
        let Some(member) = record.filter(|member| member.address == life.address) else { return };
        let Some(stability) = &mut self.stability else { return };
        let has_room = stability.handle_alive(now, member.in_view(), member.settled).is_ok();
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
    pub(super) fn outlive(&mut self, incarnation: Incarnation, through: Option<Life>) {
        let before = self.outlived.map_or(incarnation, |(before, _)| before.max(incarnation));
        self.outlived = Some((before, through.or(self.outlived.and_then(|(_, through)| through))));
    }

    /// Goes on as a later life. What this node thought dead it no longer does: it was the one that was away.
    pub(super) fn rejoin(&mut self, now: Duration, outlived: Incarnation, through: Option<Life>) {
        let (born, born_at) = self.born;
        let elapsed_ms = u64::try_from(now.saturating_sub(born_at).as_millis()).unwrap_or(u64::MAX);
        let next = (self.own.incarnation.0.max(outlived.0) + 1).max(born.0.saturating_add(elapsed_ms));
        self.own.incarnation = Incarnation(next.min(INCARNATION_MAX - 1));
        (self.own.revision, self.own.settled) = (0, false);
        // A new life waits for a window anyway.
        self.own.draining &= !std::mem::take(&mut self.is_returning);
        let salt = self.chance.next();
        self.sealer = Sealer::new(&self.keys, &self.cluster, self.own.id(), self.own.incarnation, salt);
        self.write_own_record();
        self.membership.change_life(now, life_of(&self.own));
        self.peers.forget_dead();
        self.weigh_own(now);
        self.tally.rejoins += 1;
        let event = FleetEvent::Rejoining { incarnation: self.own.incarnation };
        self.events.push(&mut self.tally, event);
        self.joining.sync_soon(now);
        let others = self.some_living(2);
        through.into_iter().chain(others).for_each(|life| self.membership.announce(now, life));
    }

    /// What this node is to be in Views.
    pub(super) fn intended(&self) -> ViewNode {
        let own = self.own.in_view();
        ViewNode { duty: if self.is_returning { Duty::Active } else { own.duty }, ..own }
    }

    /// Takes the own node into account for the own Views.
    pub(super) fn weigh_own(&mut self, now: Duration) {
        let own = self.intended();
        if let Some(stability) = &mut self.stability {
            // The own node always has a place.
            let _has_room = stability.handle_alive(now, own, false);
        }
    }

    /// The own record has changed: a new revision of it, told to others.
    pub(super) fn revise(&mut self, now: Duration) {
        self.own.revision = self.own.revision.saturating_add(1);
        self.write_own_record();
        self.weigh_own(now);
        let key = (self.own.id(), self.own.incarnation);
        self.records.spread(key, transmissions_for(self.peers.living_count() + 1));
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::fleet::{FleetSettings, Standing};
    use crate::keys::ClusterKeys;
    use crate::limits::STABILITY_WINDOW;
    use crate::member::{Member, Region, Version, Weight};
    use crate::node::{ClusterName, NodeName};
    use crate::view::Duty;

    fn alone() -> Fleet {
        let own = Member {
            name: NodeName::new("a").unwrap(),
            incarnation: Incarnation(5),
            revision: 0,
            address: SocketAddr::from(([127, 0, 0, 1], 7400)),
            region: Region::new("fra").unwrap(),
            weight: Weight::default(),
            version: Version(0, 1, 0),
            shards: 2,
            draining: false,
            settled: false,
            connections: 0,
        };
        let keys = ClusterKeys::parse(&"A".repeat(43)).unwrap();
        let cluster = ClusterName::new("test").unwrap();
        let mut fleet = Fleet::new(
            FleetSettings { cluster, own, seeds: Vec::new(), keys, alone: true },
            1,
            Duration::ZERO,
        );
        fleet.handle_timeout(Duration::ZERO);
        fleet
    }

    #[test]
    fn a_node_serves_only_in_a_life_that_its_view_has() {
        let (mut fleet, mut now) = (alone(), STABILITY_WINDOW);
        assert_eq!(fleet.standing(), Standing::Settling);
        let duty = |fleet: &mut Fleet, now| {
            let roster = fleet.poll_roster(now)?;
            roster.view.node(fleet.own().id()).map(|node| (node.incarnation, node.duty))
        };
        assert_eq!(duty(&mut fleet, now), Some((Incarnation(5), Duty::Active)));
        assert_eq!((fleet.standing(), fleet.own().settled), (Standing::Serving, true));
        fleet.outlive(Incarnation(1_000_000), None);
        fleet.settle(now);
        assert_eq!(fleet.standing(), Standing::Settling, "the View has an earlier life of this node");
        let own = fleet.own().incarnation;
        assert_eq!(duty(&mut fleet, now), Some((own, Duty::Waiting)));
        assert_eq!((fleet.standing(), fleet.own().settled), (Standing::Serving, false));
        now += STABILITY_WINDOW;
        assert_eq!(duty(&mut fleet, now), Some((own, Duty::Active)));
    }
}
