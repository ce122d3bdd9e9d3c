//! The links to other nodes, as every shard knows them, and what this hub has announced on each.
//!
//! Invariants: knows no socket; a session that is not the latest of its link has no route; what was announced counts
//! for one session only.

use std::collections::BTreeMap;

use roadstead_control::{Digest, Incarnation, NodeId};

use crate::flow::LinkChange;

/// The way to another node in one session of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The node.
    pub node: NodeId,
    /// Which link.
    pub index: u8,
    /// Which session of it.
    pub session: u64,
    /// The shard that carries it.
    pub carrier: u16,
}

/// What this hub has told one hub of another node in the present session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Number of the last statement about a user.
    pub sequence: u64,
    /// Channels announced.
    pub interests: Digest,
    /// Connections announced.
    pub entries: Digest,
}

/// Another node with at least one link that was once up.
#[derive(Debug)]
pub struct Peer {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its shards.
    pub shards: u16,
    /// By link: session and carrier while it is up.
    sessions: Vec<Option<(u64, u16)>>,
    /// By hub of the node: what it was told in the present session.
    pub told: Vec<Told>,
    /// Whether everything was announced in the present session.
    pub complete: bool,
}

/// All links of the node.
#[derive(Debug)]
pub struct Links {
    /// The hub that this shard is: its announcements to a node all take one link.
    hub: u16,
    peers: BTreeMap<NodeId, Peer>,
}

impl Links {
    /// No link yet.
    #[must_use]
    pub fn new(hub: u16) -> Self {
        Self { hub, peers: BTreeMap::new() }
    }

    /// Takes a change; returns whether it is one to this table: a session that was superseded ends unheard.
    pub fn change(&mut self, change: &LinkChange) -> bool {
        let LinkChange { node, incarnation, index, links, shards, session, carrier } = *change;
        let Some(carrier) = carrier else { return self.end(node, incarnation, index, session) };
        let peer = self.peers.entry(node).or_insert_with(|| Peer::new(incarnation, shards, links));
        if peer.incarnation > incarnation {
            return false;
        }
        if peer.incarnation < incarnation
            || peer.shards != shards
            || peer.sessions.len() != usize::from(links)
        {
            *peer = Peer::new(incarnation, shards, links);
        }
        let Some(place) = peer.sessions.get_mut(usize::from(index)) else { return false };
        if place.is_some_and(|(known, _)| known >= session) {
            return false;
        }
        *place = Some((session, carrier));
        if u16::from(index) == self.hub % u16::from(links) {
            peer.forget_told();
        }
        true
    }

    fn end(&mut self, node: NodeId, incarnation: Incarnation, index: u8, session: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        if peer.incarnation != incarnation {
            return false;
        }
        let Some(place) = peer.sessions.get_mut(usize::from(index)) else { return false };
        if place.is_none_or(|(known, _)| known != session) {
            return false;
        }
        *place = None;
        if peer.sessions.iter().all(Option::is_none) {
            self.peers.remove(&node);
        } else if index == peer.index_of(self.hub) {
            peer.forget_told();
        }
        true
    }

    /// The way on which this hub announces to `node`, if it is open.
    #[must_use]
    pub fn announcing(&self, node: NodeId) -> Option<Route> {
        let peer = self.peers.get(&node)?;
        let index = peer.index_of(self.hub);
        let (session, carrier) = peer.sessions[usize::from(index)]?;
        Some(Route { node, index, session, carrier })
    }

    /// The way back in a session that the node has opened, if it is still the present one.
    #[must_use]
    pub fn answering(&self, node: NodeId, index: u8, session: u64) -> Option<Route> {
        let (known, carrier) = (*self.peers.get(&node)?.sessions.get(usize::from(index))?)?;
        (known == session).then_some(Route { node, index, session, carrier })
    }

    /// A node.
    #[must_use]
    pub fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(&node)
    }

    /// A node, to note what it was told.
    pub fn peer_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(&node)
    }

    /// All nodes with an open link.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.peers.keys().copied()
    }
}

impl Peer {
    fn new(incarnation: Incarnation, shards: u16, links: u8) -> Self {
        Self {
            incarnation,
            shards: shards.max(1),
            sessions: vec![None; usize::from(links.max(1))],
            told: vec![Told::default(); usize::from(shards.max(1))],
            complete: false,
        }
    }

    fn index_of(&self, hub: u16) -> u8 {
        (usize::from(hub) % self.sessions.len()) as u8
    }

    fn forget_told(&mut self) {
        self.told.fill(Told::default());
        self.complete = false;
    }
}
