//! The other nodes as membership knows them, and who may be which node.
//!
//! Invariants: a living node keeps its name: whoever claims it from another address is refused; where two parts of a fleet
//! let in two nodes of one name, all come to keep the earlier life; a life that is over does not come back under the
//! incarnation it had while another holds its name; the number of nodes is bounded.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use foca::State;

use crate::fleet::life::{Life, Update};
use crate::limits::{DEAD_REMEMBERED, PEERS_MAX};
use crate::node::{Incarnation, NodeId};

/// The latest life of each node.
#[derive(Default)]
pub(crate) struct Peers {
    known: BTreeMap<NodeId, Peer>,
    up: usize,
}

/// A node's latest life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) life: Life,
    pub(crate) is_up: bool,
    /// It has said goodbye.
    pub(crate) has_left: bool,
    /// Its arrival was reported.
    pub(crate) is_reported: bool,
    /// The latest life of it that is known to be over.
    ended: Incarnation,
    /// When it came up or went down.
    since: Duration,
}

/// What is to be done with a node that speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Listen.
    Welcome,
    /// Another node at this address has its name.
    Duplicate(SocketAddr),
    /// It speaks for a life that is over; this is the latest one.
    Ended(Incarnation),
    /// There is no room.
    Full,
}

/// What is to be done with an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    /// Take it.
    Yes,
    /// Pass over it.
    No,
    /// Take it in the place of this life, which was let in later than it.
    Over(Life),
}

impl Peers {
    pub(crate) fn get(&self, id: NodeId) -> Option<&Peer> {
        self.known.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.known.get_mut(&id)
    }

    /// The peer that was last known at an address.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<&Peer> {
        self.known.values().filter(|peer| peer.life.address == address).max_by_key(|peer| peer.is_up)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.known.values()
    }

    /// The living ones.
    pub(crate) fn living(&self) -> impl Iterator<Item = Life> {
        self.known.values().filter(|peer| peer.is_up).map(|peer| peer.life)
    }

    /// How many live.
    pub(crate) fn living_count(&self) -> usize {
        self.up
    }

    pub(crate) fn is_up(&self, life: &Life) -> bool {
        self.known.get(&life.id).is_some_and(|peer| peer.is_up && peer.life == *life)
    }

    /// A life is there.
    pub(crate) fn set_up(&mut self, now: Duration, life: Life) {
        self.replace(now, life);
        if let Some(peer) = self.known.get_mut(&life.id).filter(|peer| !peer.is_up) {
            (peer.is_up, peer.has_left, peer.is_reported, peer.since) = (true, false, false, now);
            self.up += 1;
        }
    }

    /// A life is over. Returns the peer as it was, if it was up.
    pub(crate) fn set_down(&mut self, now: Duration, life: Life) -> Option<Peer> {
        let peer = self.known.get_mut(&life.id).filter(|peer| peer.life == life && peer.is_up)?;
        let before = *peer;
        (peer.is_up, peer.since) = (false, now);
        peer.ended = peer.ended.max(life.incarnation);
        self.up -= 1;
        Some(before)
    }

    /// Another life is the latest of its node; it is as alive as the one before.
    pub(crate) fn replace(&mut self, now: Duration, life: Life) {
        let peer = self.known.entry(life.id).or_insert(Peer {
            life,
            is_up: false,
            has_left: false,
            is_reported: false,
            ended: Incarnation(0),
            since: now,
        });
        if peer.life != life {
            peer.ended =
                peer.ended.max(peer.life.incarnation.min(Incarnation(life.incarnation.0.saturating_sub(1))));
            (peer.life, peer.has_left, peer.is_reported, peer.since) = (life, false, false, now);
        }
    }

    /// Forgets a peer that is not up, with all that was held against it.
    pub(crate) fn forget(&mut self, id: NodeId) {
        if self.known.get(&id).is_some_and(|peer| !peer.is_up) {
            self.known.remove(&id);
        }
    }

    /// Forgets all that are not up.
    pub(crate) fn forget_dead(&mut self) {
        self.known.retain(|_, peer| peer.is_up);
    }

    /// Forgets those that have been dead for long.
    pub(crate) fn prune(&mut self, now: Duration) {
        self.known.retain(|_, peer| peer.is_up || now < peer.since + DEAD_REMEMBERED);
    }

    /// Judges a node that speaks for itself.
    pub(crate) fn judge_sender(&self, life: &Life) -> Verdict {
        let Some(peer) = self.known.get(&life.id) else {
            return if self.known.len() < PEERS_MAX { Verdict::Welcome } else { Verdict::Full };
        };
        let is_later = life.incarnation > peer.life.incarnation;
        match (peer.is_up, life.address == peer.life.address) {
            _ if *life == peer.life => Verdict::Welcome,
            (true, false) if life.incarnation <= peer.ended => Verdict::Ended(peer.life.incarnation),
            (true, false) => Verdict::Duplicate(peer.life.address),
            _ if is_later => Verdict::Welcome,
            _ => Verdict::Ended(peer.life.incarnation),
        }
    }

    /// Judges what is said about a third node.
    pub(crate) fn judge_update(&self, update: &Update) -> Take {
        let life = update.id();
        let Some(peer) = self.known.get(&life.id) else {
            return if self.known.len() < PEERS_MAX { Take::Yes } else { Take::No };
        };
        if !peer.is_up || life.address == peer.life.address {
            return Take::Yes;
        }
        let is_earlier = (life.incarnation, life.address) < (peer.life.incarnation, peer.life.address);
        let is_over = update.state() == State::Down || life.incarnation <= peer.ended;
        if is_over || !is_earlier { Take::No } else { Take::Over(peer.life) }
    }
}

#[cfg(test)]
mod tests {
    use foca::Member;

    use super::*;

    fn life(incarnation: u64, port: u16) -> Life {
        Life {
            id: NodeId(1),
            incarnation: Incarnation(incarnation),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    /// A node that died as incarnation 3, and whose life 5 at port 1 is up or down.
    fn peers(is_up: bool) -> Peers {
        let mut peers = Peers::default();
        peers.set_up(Duration::ZERO, life(3, 1));
        peers.set_down(Duration::ZERO, life(3, 1)).expect("it was up");
        peers.set_up(Duration::ZERO, life(5, 1));
        if !is_up {
            peers.set_down(Duration::ZERO, life(5, 1)).expect("it was up");
        }
        peers
    }

    #[test]
    fn a_living_node_keeps_its_name() {
        let holder = life(5, 1).address;
        let ended = Verdict::Ended(Incarnation(5));
        // (is up, incarnation, port, expected)
        let cases = [
            (true, 5, 1, Verdict::Welcome),
            (true, 6, 1, Verdict::Welcome),
            (true, 4, 1, ended),
            (true, 6, 2, Verdict::Duplicate(holder)),
            (true, 4, 2, Verdict::Duplicate(holder)),
            (true, 3, 2, ended),
            (false, 5, 1, Verdict::Welcome),
            (false, 6, 2, Verdict::Welcome),
            (false, 4, 2, ended),
            (false, 4, 1, ended),
        ];
        for (is_up, incarnation, port, expected) in cases {
            let verdict = peers(is_up).judge_sender(&life(incarnation, port));
            assert_eq!(verdict, expected, "up {is_up}, {incarnation} at {port}");
        }
    }

    #[test]
    fn parts_of_a_fleet_agree_on_the_earlier_life() {
        // (is up, incarnation, port, state, expected)
        let cases = [
            (true, 6, 1, State::Alive, Take::Yes),
            (true, 5, 1, State::Down, Take::Yes),
            (true, 6, 2, State::Alive, Take::No),
            (true, 4, 2, State::Alive, Take::Over(life(5, 1))),
            (true, 4, 2, State::Suspect, Take::Over(life(5, 1))),
            (true, 4, 2, State::Down, Take::No),
            (true, 3, 2, State::Alive, Take::No),
            (false, 6, 2, State::Alive, Take::Yes),
        ];
        for (is_up, incarnation, port, state, expected) in cases {
            let update = Member::new(life(incarnation, port), 0, state);
            assert_eq!(peers(is_up).judge_update(&update), expected, "up {is_up}, {incarnation} at {port}");
        }
    }

    #[test]
    fn the_dead_are_forgotten_in_time() {
        let mut peers = peers(false);
        peers.prune(DEAD_REMEMBERED - Duration::from_millis(1));
        assert!(peers.get(NodeId(1)).is_some() && peers.living_count() == 0);
        peers.prune(DEAD_REMEMBERED);
        assert!(peers.get(NodeId(1)).is_none());
    }
}
