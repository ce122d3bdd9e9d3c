//! The world around the rooms of some nodes: pipes that cut and delay, listeners that pick a shard, a clock.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use roadstead_control::{
    ClusterKeys, Incarnation, Member, NodeId, NodeName, Region, Roster, Version, View, Weight,
};

use super::super::{Loss, Peers, PeersEvent, PeersParts, PeersTally, Refusal, Said, Side};
use crate::flow::{LinkChange, Parcel, Relayed};

pub(super) const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
pub(super) const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
pub(super) const QUEUE_BYTES: usize = 4_096;

/// A splitmix64 generator.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Names by rising id, so that the first dials all others.
pub(super) fn names(count: usize) -> Vec<NodeName> {
    let mut names: Vec<NodeName> =
        ["a", "b", "c", "d", "e"].into_iter().map(|name| NodeName::new(name).unwrap()).collect();
    names.sort_by_key(NodeName::id);
    names.truncate(count);
    names
}

pub(super) fn keys(text: &str) -> Arc<ClusterKeys> {
    Arc::new(ClusterKeys::parse(text).unwrap())
}

pub(super) fn member(name: &NodeName, incarnation: u64, shards: u16, address: SocketAddr) -> Member {
    Member {
        name: name.clone(),
        incarnation: Incarnation(incarnation),
        revision: 0,
        address,
        region: Region::new("fra").unwrap(),
        weight: Weight::default(),
        version: Version(0, 1, 0),
        shards,
        draining: false,
        settled: false,
        connections: 0,
    }
}

pub(super) fn roster(number: u64, members: &[Member]) -> Arc<Roster> {
    let mut members = members.to_vec();
    members.sort_by_key(Member::id);
    let view = View::new(number, members.iter().map(Member::in_view)).unwrap();
    Arc::new(Roster { view, members })
}

pub(super) fn parts(name: &NodeName, incarnation: u64, shards: u16) -> PeersParts {
    PeersParts {
        cluster: "harbour".into(),
        own: name.clone(),
        incarnation: Incarnation(incarnation),
        shard: 0,
        shards,
        keys: keys(KEY),
        links_per_peer: 4,
        link_queue_bytes: QUEUE_BYTES,
        seed: 42,
    }
}

/// One shard of a node.
pub(super) struct Room {
    pub(super) peers: Peers,
    pub(super) address: SocketAddr,
    pub(super) changes: Vec<LinkChange>,
    pub(super) heard: Vec<Parcel>,
    pub(super) events: Vec<PeersEvent>,
    pub(super) tally: PeersTally,
    /// Everything that the room has put on sockets, for runs to be compared.
    pub(super) said_bytes: Vec<u8>,
    slots: BTreeMap<u32, (usize, usize)>,
    next_slot: u32,
    pub(super) is_frozen: bool,
}

/// A connection: two ends.
pub(super) struct Wire {
    ends: [(usize, u32); 2],
    /// What is on its way to each end.
    flight: [Vec<u8>; 2],
    /// Everything that each end ever got.
    pub(super) got: [Vec<u8>; 2],
    open: [bool; 2],
    connected: bool,
    /// Bytes that a pipe takes; beyond, its sender is blocked.
    capacity: usize,
    blocked: [bool; 2],
}

pub(super) struct World {
    pub(super) rooms: Vec<Room>,
    pub(super) wires: Vec<Wire>,
    pub(super) now_ms: u64,
    pub(super) chance: Chance,
    pub(super) capacity: usize,
    /// No bytes arrive anywhere.
    pub(super) is_silent: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rooms: Vec::new(),
            wires: Vec::new(),
            now_ms: 1_000,
            chance: Chance(seed),
            capacity: usize::MAX,
            is_silent: false,
        }
    }

    /// Adds the shards of a node; the number of its first room.
    pub(super) fn add(&mut self, parts: impl Fn() -> PeersParts) -> usize {
        let first = self.rooms.len();
        let address = SocketAddr::from(([127, 0, 0, 1], 7_000 + first as u16));
        for shard in 0..parts().shards {
            let seed = self.chance.0 ^ (first as u64) << 8 ^ u64::from(shard);
            let peers = Peers::new(PeersParts { shard, seed, ..parts() }, self.now_ms);
            self.rooms.push(Room {
                peers,
                address,
                changes: Vec::new(),
                heard: Vec::new(),
                events: Vec::new(),
                tally: PeersTally::default(),
                said_bytes: Vec::new(),
                slots: BTreeMap::new(),
                next_slot: 0,
                is_frozen: false,
            });
        }
        first
    }

    /// Nodes of `shards` shards each, in one View; their members.
    pub(super) fn fleet(&mut self, count: usize, shards: u16) -> Vec<Member> {
        let members: Vec<Member> = names(count)
            .iter()
            .map(|name| {
                let first = self.add(|| parts(name, 5, shards));
                member(name, 5, shards, self.rooms[first].address)
            })
            .collect();
        self.tell(&roster(1, &members));
        members
    }

    pub(super) fn tell(&mut self, roster: &Arc<Roster>) {
        for room in &mut self.rooms {
            room.peers.handle_roster(roster, self.now_ms);
        }
    }

    /// Lets `ms` pass.
    pub(super) fn run(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while self.now_ms < end_ms {
            let first = self.chance.below(self.rooms.len());
            for offset in 0..self.rooms.len() {
                let number = (first + offset) % self.rooms.len();
                if !self.rooms[number].is_frozen {
                    self.turn(number);
                }
            }
            self.now_ms += 10;
        }
    }

    fn turn(&mut self, number: usize) {
        if !self.is_silent {
            self.receive(number);
        }
        let now_ms = self.now_ms;
        let room = &mut self.rooms[number];
        if room.peers.poll_timeout_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            room.peers.tick(now_ms);
        }
        while let Some(dial) = self.rooms[number].peers.poll_dial(now_ms) {
            self.dial(number, dial);
        }
        while let Some((slot, payload)) = self.rooms[number].peers.poll_send() {
            self.rooms[number].said_bytes.extend_from_slice(&payload);
            let (wire, side) = self.rooms[number].slots[&slot];
            let wire = &mut self.wires[wire];
            assert!(!wire.blocked[side], "a send to a blocked socket");
            wire.flight[1 - side].extend_from_slice(&payload);
            if wire.flight[1 - side].len() > wire.capacity {
                wire.blocked[side] = true;
                self.rooms[number].peers.block(slot);
            }
        }
        while let Some(slot) = self.rooms[number].peers.poll_close() {
            let (wire, side) = self.rooms[number].slots.remove(&slot).expect("closed once");
            self.wires[wire].open[side] = false;
            assert!(!self.rooms[number].peers.carries(slot));
        }
        let room = &mut self.rooms[number];
        let mut changes = Vec::new();
        while let Some(change) = room.peers.poll_change() {
            changes.push(change);
        }
        while let Some(event) = room.peers.poll_event() {
            room.events.push(event);
        }
        sum(&mut room.tally, &room.peers.take_tally());
        room.changes.extend(&changes);
        let address = room.address;
        for sibling in self.rooms.iter_mut().filter(|room| room.address == address) {
            changes.iter().for_each(|change| sibling.peers.handle_change(change, now_ms));
        }
    }

    fn receive(&mut self, number: usize) {
        let slots: Vec<(u32, (usize, usize))> =
            self.rooms[number].slots.iter().map(|(slot, end)| (*slot, *end)).collect();
        for (slot, (wire, side)) in slots {
            let wire = &mut self.wires[wire];
            let room = &mut self.rooms[number];
            if side == 0 && !wire.connected {
                wire.connected = true;
                room.peers.connected(slot, self.now_ms);
            }
            let waiting = wire.flight[side].len();
            let mut taken = match self.chance.below(4) {
                0 => 0,
                1 => self.chance.below(waiting + 1).min(7),
                2 => self.chance.below(waiting + 1),
                _ => waiting,
            };
            while taken > 0 {
                let piece: Vec<u8> = wire.flight[side].drain(..self.chance.below(taken) + 1).collect();
                taken -= piece.len();
                wire.got[side].extend_from_slice(&piece);
                room.peers.hear(slot, &piece, self.now_ms, &mut room.heard);
            }
            if wire.blocked[1 - side] && wire.flight[side].is_empty() {
                wire.blocked[1 - side] = false;
                let (other, other_slot) = wire.ends[1 - side];
                self.rooms[other].peers.drain(other_slot);
            }
            if wire.flight[side].is_empty() && !wire.open[1 - side] {
                let room = &mut self.rooms[number];
                room.peers.end(slot, self.now_ms);
                assert!(!room.peers.carries(slot));
                room.slots.remove(&slot);
                wire.open[side] = false;
            }
        }
    }

    fn dial(&mut self, number: usize, dial: super::super::Dial) {
        let listeners: Vec<usize> =
            (0..self.rooms.len()).filter(|&other| self.rooms[other].address == dial.address).collect();
        let slot = self.slot(number);
        self.rooms[number].peers.dialled(dial.ticket, Some(slot), self.now_ms);
        if listeners.is_empty() {
            self.rooms[number].peers.end(slot, self.now_ms);
            return;
        }
        let other = listeners[self.chance.below(listeners.len())];
        let other_slot = self.slot(other);
        let address = self.rooms[number].address;
        let accepted = self.rooms[other].peers.accept(other_slot, address, self.now_ms);
        self.rooms[number].slots.insert(slot, (self.wires.len(), 0));
        if accepted {
            self.rooms[other].slots.insert(other_slot, (self.wires.len(), 1));
        }
        self.wires.push(Wire {
            ends: [(number, slot), (other, other_slot)],
            flight: Default::default(),
            got: Default::default(),
            open: [true, accepted],
            connected: false,
            capacity: self.capacity,
            blocked: [false; 2],
        });
    }

    /// The socket of a link that is up from a room to a node.
    pub(super) fn slot_of(&self, number: usize, node: NodeId) -> u32 {
        self.rooms[number].peers.slot_of(node).expect("a link that is up")
    }

    /// Another process in the place of a room's: its sockets are gone, and it has seen nothing.
    pub(super) fn replace(&mut self, number: usize, peers: Peers) {
        let room = &mut self.rooms[number];
        room.peers = peers;
        room.changes.clear();
        for (wire, side) in std::mem::take(&mut room.slots).into_values() {
            self.wires[wire].open[side] = false;
        }
    }

    /// The network breaks a connection; what was on its way is lost.
    pub(super) fn cut(&mut self, wire: usize) {
        let wire = &mut self.wires[wire];
        wire.flight = Default::default();
        for (side, (number, slot)) in wire.ends.into_iter().enumerate() {
            if std::mem::take(&mut wire.open[side]) {
                let room = &mut self.rooms[number];
                room.slots.remove(&slot);
                room.peers.end(slot, self.now_ms);
            }
        }
    }

    fn slot(&mut self, number: usize) -> u32 {
        self.rooms[number].next_slot += 1;
        self.rooms[number].next_slot
    }

    /// The links that are up at a room, as its changes tell.
    pub(super) fn up(&self, number: usize) -> Vec<LinkChange> {
        let mut up: BTreeMap<(NodeId, u8), LinkChange> = BTreeMap::new();
        for change in &self.rooms[number].changes {
            let place = (change.node, change.index);
            match change.carrier {
                Some(_) => {
                    assert!(up.insert(place, *change).is_none(), "up twice: {change:?}");
                }
                None => {
                    let before = up.remove(&place).expect("down, but was not up");
                    assert_eq!(LinkChange { carrier: None, ..before }, *change);
                }
            }
        }
        up.into_values().collect()
    }

    /// Says `relayed` on a link of a room that is up.
    pub(super) fn say(&mut self, number: usize, link: &LinkChange, relayed: Relayed) -> Said {
        self.rooms[number].peers.say(parcel(link, relayed))
    }

    pub(super) fn refused(&self, number: usize, why: Refusal) -> u64 {
        self.rooms[number].tally.refused[why as usize]
    }

    pub(super) fn lost(&self, number: usize, why: Loss) -> u64 {
        self.rooms[number].tally.lost[why as usize]
    }

    /// Whether the room has told of such a refusal.
    pub(super) fn told(&self, number: usize, side: Side, why: Refusal) -> bool {
        self.rooms[number].events.iter().any(|event| {
            matches!(event, PeersEvent::Refused { side: told_side, why: told_why, .. }
                if (*told_side, *told_why) == (side, why))
        })
    }
}

pub(super) fn parcel(link: &LinkChange, relayed: Relayed) -> Parcel {
    Parcel { node: link.node, index: link.index, session: link.session, view: 1, carrier: 0, relayed }
}

fn sum(total: &mut PeersTally, more: &PeersTally) {
    (total.up, total.queued_bytes, total.held_bytes) = (more.up, more.queued_bytes, more.held_bytes);
    for (total, more) in [
        (&mut total.sessions, more.sessions),
        (&mut total.unreachable, more.unreachable),
        (&mut total.sent_frames, more.sent_frames),
        (&mut total.sent_bytes, more.sent_bytes),
        (&mut total.received_frames, more.received_frames),
        (&mut total.received_bytes, more.received_bytes),
        (&mut total.skipped_frames, more.skipped_frames),
        (&mut total.dropped, more.dropped),
        (&mut total.void, more.void),
        (&mut total.publish_refused, more.publish_refused),
    ] {
        *total += more;
    }
    let reasons = total.refused.iter_mut().chain(&mut total.lost);
    for (total, more) in reasons.zip(more.refused.iter().chain(&more.lost)) {
        *total += more;
    }
}
