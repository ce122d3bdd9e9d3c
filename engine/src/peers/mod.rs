//! Links to the other nodes: who is dialled, who may come in, and what is said between nodes.
//!
//! Invariants: knows no socket but its slot, no clock and no chance of its own; no parcel is taken from or given to whoever
//! has not proven the cluster's key in this session; within a session parcels arrive in the order in which they were
//! said, and one that cannot be kept ends the session; every queue and every buffer has a limit.
//!
//! ```text
//! roster ──> dialling ──> Dial ──┐
//!                                ├──> greeting ──> up: LinkChange ──> queue (say) ──> one payload a turn
//! accepted sockets ──────────────┘                                └─> inbound (hear) ──> parcels
//! ```

mod dialling;
mod ends;
mod events;
mod greeting;
mod hearing;
mod inbound;
mod link;
mod parts;
mod queue;
mod table;
mod tally;
mod wire;

#[cfg(test)]
mod tests;

use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use roadstead_control::{Incarnation, NodeId, Roster};
use roadstead_io::Payload;

pub use events::{Loss, PeersEvent, Refusal, Side};
pub use parts::PeersParts;
pub use tally::PeersTally;

use crate::buffers::reclaim;
use crate::flow::{CertifiedNames, LinkChange, Parcel};
use crate::limits::{
    KEPT_BUFFER_BYTES, PEER_GREETING_MS, PEER_GREETING_PLACE_MS, PEER_GREETINGS_MAX, PEER_PING_MS,
    PEER_QUEUE_BYTES_MAX, PEER_SPARE_BATCHES, TICK_MS,
};
use dialling::{Dialling, Ended};
use events::{Events, Refused};
use greeting::{Agreed, Greeter, Target};
use link::{Due, Link, Stage};
use queue::Queued;
use table::Links;

/// A connection that is wanted; answered by [`Peers::dialled`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dial {
    /// Names it in the answer.
    pub ticket: u32,
    /// Where to.
    pub address: SocketAddr,
}

/// What became of a parcel that was to be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// It leaves with the link's next payload.
    Taken,
    /// A delivery without room: dropped, and counted.
    Dropped,
    /// A publication without room: given back.
    Refused(Parcel),
    /// Its session is not any more, or ended because this could not be kept.
    Void,
}

/// The links that one shard carries.
#[derive(Debug)]
pub struct Peers {
    shard: u16,
    own: Greeter,
    queue_bytes: usize,
    roster: Option<Arc<Roster>>,
    links: Links,
    dialling: Dialling,
    /// Dials that were not answered yet.
    tickets: VecDeque<(u32, Target, SocketAddr)>,
    next_ticket: u32,
    /// The latest session of each accepted link, of the lives in the roster.
    sessions: BTreeMap<(NodeId, u8), (Incarnation, u64)>,
    changes: VecDeque<LinkChange>,
    events: Events,
    tally: PeersTally,
    lent: Vec<Rc<Vec<u8>>>,
    now_ms: u64,
    /// No link is due before it.
    due_ms: u64,
}

impl Peers {
    /// No links yet, and nobody to dial.
    #[must_use]
    pub fn new(parts: PeersParts, now_ms: u64) -> Self {
        let node = parts.own.id();
        let own = Greeter {
            cluster: parts.cluster,
            name: parts.own,
            node,
            incarnation: parts.incarnation,
            shards: parts.shards,
            keys: parts.keys,
            seed: parts.seed,
            nonces: 0,
        };
        let place = (parts.shard, parts.shards);
        Self {
            shard: parts.shard,
            own,
            queue_bytes: parts.link_queue_bytes.min(PEER_QUEUE_BYTES_MAX),
            roster: None,
            links: Links::default(),
            dialling: Dialling::new(node, place, parts.links_per_peer, parts.seed),
            tickets: VecDeque::new(),
            next_ticket: 0,
            sessions: BTreeMap::new(),
            changes: VecDeque::new(),
            events: Events::default(),
            tally: PeersTally::default(),
            lent: Vec::new(),
            now_ms,
            due_ms: u64::MAX,
        }
    }

    // What the fleet and the siblings tell.

    /// Takes `roster` for who is in the fleet: dials who is new, ends the links of whoever is not in it any more.
    pub fn handle_roster(&mut self, roster: &Arc<Roster>, now_ms: u64) {
        self.now_ms = now_ms;
        self.roster = Some(Arc::clone(roster));
        if let Some(own) = roster.view.node(self.own.node)
            && own.incarnation > self.own.incarnation
        {
            // Whatever was said was said by an earlier life.
            self.own.incarnation = own.incarnation;
            self.end_links(Loss::Renewed, |_, _| true);
        }
        self.end_links(Loss::Departed, |node, incarnation| !roster.view.contains(node, incarnation));
        self.sessions.retain(|&(node, _), &mut (incarnation, _)| roster.view.contains(node, incarnation));
        self.dialling.follow(roster, now_ms);
    }

    /// A sibling's link has come up: an earlier session of the same link, carried here, is over.
    pub fn handle_change(&mut self, change: &LinkChange, now_ms: u64) {
        self.now_ms = now_ms;
        if change.carrier.is_none_or(|carrier| carrier == self.shard) || change.node > self.own.node {
            return;
        }
        let knows = |roster: &Arc<Roster>| roster.view.contains(change.node, change.incarnation);
        if !self.roster.as_ref().is_some_and(knows) {
            return;
        }
        self.remember(change.node, change.index, (change.incarnation, change.session));
        if let Some(key) = self.links.find(change.node, change.index)
            && let Some(session) = self.links[key].session()
            && (session.incarnation, session.session) < (change.incarnation, change.session)
        {
            self.lose(key, Loss::Superseded);
        }
    }

    // Sockets.

    /// The next connection to be made now.
    pub fn poll_dial(&mut self, now_ms: u64) -> Option<Dial> {
        let (target, address) = self.dialling.next(self.roster.as_ref()?, now_ms)?;
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.tickets.push_back((ticket, target, address));
        Some(Dial { ticket, address })
    }

    /// The connection of `ticket` is being made in `slot`; `None`: there is no slot, and it is tried again later.
    pub fn dialled(&mut self, ticket: u32, slot: Option<u32>, now_ms: u64) {
        self.now_ms = now_ms;
        let place = self.tickets.iter().position(|(known, ..)| *known == ticket);
        let found = place.and_then(|place| self.tickets.remove(place));
        match (found, slot) {
            (Some((_, target, address)), Some(slot)) if self.is_in_view(&target) => {
                let due_ms = now_ms + PEER_GREETING_MS;
                self.links.insert(Link::new(slot, address, Some(target), (now_ms, due_ms)));
                self.wake_at(due_ms);
            }
            (Some((_, target, _)), None) => {
                self.dialling.ended(&target, Ended::Failed, now_ms);
            }
            (_, Some(slot)) => self.links.close_socket(slot),
            (None, None) => {}
        }
    }

    /// Somebody at `address` has connected to the cluster's listener. False: too many have, and it is to be closed.
    pub fn accept(&mut self, slot: u32, address: SocketAddr, now_ms: u64) -> bool {
        self.now_ms = now_ms;
        if self.links.unproven() >= PEER_GREETINGS_MAX && !self.make_place() {
            self.tally.refused[Refusal::Limit as usize] += 1;
            return false;
        }
        let due_ms = now_ms + PEER_GREETING_MS;
        self.links.insert(Link::new(slot, address, None, (now_ms, due_ms)));
        self.wake_at(due_ms);
        true
    }

    /// Closes the oldest socket that proved nothing, if it had its time: who holds places does not keep others out.
    fn make_place(&mut self) -> bool {
        let unproven = self.links.iter().filter(|(_, link)| link.is_unproven());
        let Some((since_ms, key)) = unproven.map(|(key, link)| (link.since_ms, key)).min() else {
            return false;
        };
        if self.now_ms < since_ms + PEER_GREETING_PLACE_MS {
            return false;
        }
        if !matches!(self.links[key].stage, Stage::Refused) {
            self.tally.refused[Refusal::Limit as usize] += 1;
        }
        self.links.close(key);
        true
    }

    /// Where the link in `slot` leads to, or came from.
    #[must_use]
    pub fn address(&self, slot: u32) -> Option<SocketAddr> {
        self.links.key(slot).map(|key| self.links[key].address)
    }

    /// The certificate at the other end of the socket in `slot` was verified, and names these; without any it is good for every node.
    pub fn certify(&mut self, slot: u32, names: CertifiedNames, now_ms: u64) {
        self.now_ms = now_ms;
        let Some(key) = self.links.key(slot) else { return };
        let link = &mut self.links[key];
        link.certified = names;
        if let Some(target) = &link.target
            && let Err(refused) = link.confirms(&target.name)
        {
            self.refuse(key, refused);
        }
    }

    /// What came on the socket in `slot` cannot be trusted. With `says`, the other node is told why.
    pub fn distrust(&mut self, slot: u32, words: String, says: bool, now_ms: u64) {
        self.now_ms = now_ms;
        let Some(key) = self.links.key(slot) else { return };
        if self.links[key].session().is_some() {
            return self.lose(key, Loss::Malformed);
        }
        if matches!(self.links[key].stage, Stage::Refused) {
            return;
        }
        self.turn_away(key, Refused::new(Refusal::Tls, words), says);
    }

    /// Whether the socket in `slot` is a link: dialled, accepted, or about to be closed by [`Peers::poll_close`].
    #[cfg(test)]
    #[must_use]
    pub fn carries(&self, slot: u32) -> bool {
        self.links.carries(slot)
    }

    /// The dialled socket in `slot` is connected.
    pub fn connected(&mut self, slot: u32, now_ms: u64) {
        self.now_ms = now_ms;
        let Some(key) = self.links.key(slot) else { return };
        let link = &mut self.links[key];
        let (Stage::Connecting, Some(target)) = (&link.stage, &link.target) else { return };
        let session = self.dialling.mint(self.own.incarnation);
        let said = self.own.say_hello(target.clone(), session, |hello| link.queue.greet(hello));
        link.stage = Stage::HelloSaid(said);
        self.links.speak(key);
    }

    /// The socket in `slot` is full; nothing is sent on it until it has drained.
    pub fn block(&mut self, slot: u32) {
        if let Some(key) = self.links.key(slot) {
            self.links[key].queue.set_blocked(true);
        }
    }

    /// The socket in `slot` takes bytes again.
    pub fn drain(&mut self, slot: u32) {
        if let Some(key) = self.links.key(slot) {
            self.links[key].queue.set_blocked(false);
            self.links.speak(key);
        }
    }

    // What is said.

    /// Says `parcel` on the link of its node and index, if its session is the present one.
    pub fn say(&mut self, parcel: Parcel) -> Said {
        let Some(key) = self.links.find(parcel.node, parcel.index) else { return self.is_void() };
        let link = &mut self.links[key];
        if link.session().is_none_or(|session| session.session != parcel.session) {
            return self.is_void();
        }
        link.queue.lend(|| reclaim(&mut self.lent));
        match link.queue.push(parcel.view, &parcel.relayed, self.queue_bytes) {
            Queued::Taken => {
                self.links.speak(key);
                Said::Taken
            }
            Queued::Dropped => {
                self.tally.dropped += 1;
                Said::Dropped
            }
            Queued::Refused => {
                self.tally.publish_refused += 1;
                Said::Refused(parcel)
            }
            Queued::Overflow => {
                self.lose(key, Loss::Overflow);
                Said::Void
            }
        }
    }

    /// Ends a session of a link: what was said in it does not fit together, and the next one begins anew.
    pub fn reset(&mut self, node: NodeId, index: u8, session: u64) {
        if let Some(key) = self.links.find(node, index)
            && self.links[key].session().is_some_and(|known| known.session == session)
        {
            self.lose(key, Loss::Differing);
        }
    }

    /// The sockets of links that are up.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.links.iter().filter(|(_, link)| link.session().is_some()).map(|(_, link)| link.slot)
    }

    /// Sockets of links, whatever their stage: dialled, greeting, up or refused.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.links.iter().count()
    }

    #[cfg(test)]
    fn slot_of(&self, node: NodeId) -> Option<u32> {
        let mut links = self.links.iter().map(|(_, link)| link);
        links.find(|link| link.session().is_some_and(|known| known.node == node)).map(|link| link.slot)
    }

    fn is_void(&mut self) -> Said {
        self.tally.void += 1;
        Said::Void
    }

    /// Something to be sent now; asked once a turn until there is nothing, so that everything said in it goes in one piece.
    pub fn poll_send(&mut self) -> Option<(u32, Payload)> {
        while let Some(key) = self.links.next_speaker() {
            let link = &mut self.links[key];
            let Some((batch, frames)) = link.queue.take() else { continue };
            let batch = Rc::new(batch);
            let payload = Payload::new(Rc::clone(&batch), 0, batch.len());
            if self.lent.len() < PEER_SPARE_BATCHES && batch.capacity() <= KEPT_BUFFER_BYTES {
                self.lent.push(batch);
            }
            self.tally.sent_frames += frames;
            self.tally.sent_bytes += payload.len() as u64;
            return Some((link.slot, payload));
        }
        None
    }

    // Time.

    /// Ends greetings that take too long and links that are silent, and asks the quiet ones whether they are there.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if now_ms < self.due_ms {
            return;
        }
        let view = self.view();
        let mut due_ms = u64::MAX;
        (self.tally.queued_bytes, self.tally.held_bytes) = (0, 0);
        for key in self.links.keys() {
            let link = &mut self.links[key];
            match link.due(now_ms) {
                Due::Over => {
                    self.expire(key);
                    continue;
                }
                Due::Ping => {
                    link.pinged_ms = now_ms;
                    link.queue.ping(view);
                    self.links.speak(key);
                    due_ms = due_ms.min(now_ms + PEER_PING_MS);
                }
                Due::At(link_due_ms) => due_ms = due_ms.min(link_due_ms),
            }
            self.tally.queued_bytes += self.links[key].queue.bytes();
            self.tally.held_bytes += self.links[key].inbound.held_bytes();
        }
        // Many links that are due one after the other are looked at together.
        self.due_ms = due_ms.max(now_ms + TICK_MS);
        if self.links.is_empty() {
            self.due_ms = u64::MAX;
        }
    }

    fn expire(&mut self, key: usize) {
        let link = &self.links[key];
        match link.stage {
            Stage::Up(_) => self.lose(key, Loss::Silent),
            Stage::Refused => {
                self.links.close(key);
            }
            Stage::Connecting => {
                let link = self.links.close(key);
                self.unreachable(&link);
            }
            _ => {
                let refused = Refused::new(Refusal::Timeout, "the greeting took too long");
                self.tell_refused(key, Side::Here, refused);
                self.links.close(key);
            }
        }
    }

    /// When [`Peers::tick`] and [`Peers::poll_dial`] have something to do, by the clock of `now_ms`.
    #[must_use]
    pub fn poll_timeout_ms(&self) -> Option<u64> {
        let due_ms = self.due_ms.min(self.dialling.due_ms().unwrap_or(u64::MAX));
        (due_ms < u64::MAX).then_some(due_ms)
    }

    // What the turn asks for.

    /// The next socket to be closed.
    pub fn poll_close(&mut self) -> Option<u32> {
        self.links.poll_close()
    }

    /// The next link that came up or went down, in order, for all shards.
    pub fn poll_change(&mut self) -> Option<LinkChange> {
        self.changes.pop_front()
    }

    /// The next thing to be logged.
    pub fn poll_event(&mut self) -> Option<PeersEvent> {
        self.events.pop()
    }

    /// What was done since this was last asked.
    pub fn take_tally(&mut self) -> PeersTally {
        self.tally.up = self.links.up();
        let gauges = PeersTally {
            queued_bytes: self.tally.queued_bytes,
            held_bytes: self.tally.held_bytes,
            ..PeersTally::default()
        };
        std::mem::replace(&mut self.tally, gauges)
    }

    fn change(&self, agreed: &Agreed, carrier: Option<u16>) -> LinkChange {
        LinkChange {
            node: agreed.node,
            incarnation: agreed.incarnation,
            index: agreed.index,
            links: agreed.links,
            shards: agreed.shards,
            session: agreed.session,
            carrier,
        }
    }

    fn remember(&mut self, node: NodeId, index: u8, session: (Incarnation, u64)) {
        let latest = self.sessions.entry((node, index)).or_insert(session);
        *latest = (*latest).max(session);
    }

    fn is_in_view(&self, target: &Target) -> bool {
        let roster = self.roster.as_ref();
        roster.is_some_and(|roster| roster.view.contains(target.name.id(), target.incarnation))
    }

    fn view(&self) -> u64 {
        self.roster.as_ref().map_or(0, |roster| roster.view.number())
    }

    fn wake_at(&mut self, due_ms: u64) {
        self.due_ms = self.due_ms.min(due_ms);
    }
}
