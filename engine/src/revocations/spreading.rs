//! How revocations reach the other nodes: news at once, and everything that was missed by comparison. Sans-IO; one per node.
//!
//! Invariants: a node that has a link to another learns, sooner or later, whatever that one knows, whatever was lost on the way; of
//! all it asks one node at a time, a part at a time, so that neither side sends or keeps more than a part; who answers keeps
//! nothing of it.
//!
//! ```text
//! news of an operator ──> Entry, to every node
//! every 10 s, after a change, and to a new link ──> Digest ──> differs for 1 s? ──> After(subject) ──> Entry ..., Sent { more }
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roadstead_control::{Digest, NodeId};

use super::{Revocation, Revocations, Subject};
use crate::flow::{LinkChange, Parcel, Relayed, Revoking};
use crate::limits::{REVOCATIONS_PART, REVOCATIONS_PART_WAIT_MS, REVOCATIONS_SETTLE_MS, REVOCATIONS_TELL_MS};

/// Another node with a link that is up.
#[derive(Debug, Default)]
struct Peer {
    /// Links by index: session, carrier.
    links: BTreeMap<u8, (u64, u16)>,
    /// What it said last that differs from what is known here, and when.
    differs: Option<(Digest, u64)>,
}

/// A part that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    node: NodeId,
    until_ms: u64,
}

/// What one node tells and asks others of revocations.
#[derive(Debug)]
pub struct Spreading {
    set: Arc<Revocations>,
    peers: BTreeMap<NodeId, Peer>,
    asked: Option<Asked>,
    /// The last entry of the part that is coming.
    last: Option<Subject>,
    /// What everybody was told last.
    told: Digest,
    tell_ms: u64,
    said: VecDeque<(NodeId, Revoking)>,
    heard: Vec<Revocation>,
}

impl Spreading {
    /// Knows `set`, and no other node yet.
    #[must_use]
    pub fn new(set: Arc<Revocations>, now_ms: u64) -> Self {
        Self {
            told: set.digest(),
            set,
            peers: BTreeMap::new(),
            asked: None,
            last: None,
            tell_ms: now_ms + REVOCATIONS_TELL_MS,
            said: VecDeque::new(),
            heard: Vec::new(),
        }
    }

    /// The set is another one now; `news` of it are from an operator of this node, and nobody else knows them.
    pub fn handle_set(&mut self, set: Arc<Revocations>, news: &[Revocation]) {
        self.set = set;
        for (&node, _) in self.peers.iter().filter(|_| !news.is_empty()) {
            self.said.extend(news.iter().map(|entry| (node, Revoking::Entry(entry.clone()))));
        }
    }

    /// A link came up or went down.
    pub fn handle_link(&mut self, change: &LinkChange) {
        let LinkChange { node, index, session, carrier, .. } = *change;
        let Some(carrier) = carrier else {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.links.retain(|&other, &mut (known, _)| other != index || known > session);
                if peer.links.is_empty() {
                    self.peers.remove(&node);
                    self.asked = self.asked.filter(|asked| asked.node != node);
                }
            }
            return;
        };
        let peer = self.peers.entry(node).or_default();
        let is_first = peer.links.is_empty();
        let known = peer.links.entry(index).or_insert((session, carrier));
        if known.0 <= session {
            *known = (session, carrier);
        }
        if is_first {
            self.said.push_back((node, Revoking::Digest(self.set.digest())));
        }
    }

    /// Another node has said something.
    pub fn hear(&mut self, node: NodeId, said: Revoking, now_ms: u64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        match said {
            Revoking::Digest(digest) if digest == self.set.digest() => peer.differs = None,
            Revoking::Digest(digest) => match &mut peer.differs {
                Some((known, _)) => *known = digest,
                none => *none = Some((digest, now_ms)),
            },
            Revoking::Entry(entry) => {
                if self.asked.is_some_and(|asked| asked.node == node) {
                    self.last = Some(entry.subject.clone());
                }
                if entry.subject.is_valid() {
                    self.heard.push(entry);
                }
            }
            Revoking::After(subject) => {
                let mut rest = self.set.after(subject.as_ref());
                let part = rest.by_ref().take(REVOCATIONS_PART).map(|entry| (node, Revoking::Entry(entry)));
                self.said.extend(part);
                let more = rest.next().is_some();
                self.said.push_back((node, Revoking::Sent { more }));
            }
            Revoking::Sent { more } => {
                if self.asked.take_if(|asked| asked.node == node).is_none() {
                    return;
                }
                match self.last.take().filter(|_| more) {
                    Some(last) => self.ask(node, Some(last), now_ms),
                    // Whether it was enough shows in what it says next.
                    None => peer.differs = None,
                }
            }
        }
    }

    fn ask(&mut self, node: NodeId, after: Option<Subject>, now_ms: u64) {
        self.asked = Some(Asked { node, until_ms: now_ms + REVOCATIONS_PART_WAIT_MS });
        self.said.push_back((node, Revoking::After(after)));
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn poll_timeout_ms(&self) -> Option<u64> {
        if self.peers.is_empty() {
            return None;
        }
        let settled = self.peers.values().filter_map(|peer| peer.differs);
        let settled_ms = settled.map(|(_, since_ms)| since_ms + REVOCATIONS_SETTLE_MS).min();
        let ask_ms = self.asked.map_or(settled_ms, |asked| Some(asked.until_ms));
        let tell_ms = if self.told == self.set.digest() { self.tell_ms } else { 0 };
        Some(ask_ms.map_or(tell_ms, |ask_ms| ask_ms.min(tell_ms)))
    }

    /// Tells and asks what is due.
    pub fn tick(&mut self, now_ms: u64) {
        if self.told != self.set.digest() || now_ms >= self.tell_ms {
            self.told = self.set.digest();
            self.tell_ms = now_ms + REVOCATIONS_TELL_MS;
            let digest = Revoking::Digest(self.told);
            self.said.extend(self.peers.keys().map(|&node| (node, digest.clone())));
        }
        if let Some(late) = self.asked.take_if(|asked| asked.until_ms <= now_ms)
            && let Some(peer) = self.peers.get_mut(&late.node)
        {
            peer.differs = None;
        }
        if self.asked.is_some() {
            return;
        }
        let own = self.set.digest();
        for peer in self.peers.values_mut() {
            peer.differs = peer.differs.filter(|(theirs, _)| *theirs != own);
        }
        let settled =
            |peer: &Peer| peer.differs.is_some_and(|(_, since)| since + REVOCATIONS_SETTLE_MS <= now_ms);
        if let Some(node) = self.peers.iter().find(|(_, peer)| settled(peer)).map(|(&node, _)| node) {
            self.last = None;
            self.ask(node, None, now_ms);
        }
    }

    /// The next thing to be said, under the View of this number.
    pub fn poll_parcel(&mut self, view: u64) -> Option<Parcel> {
        loop {
            let (node, said) = self.said.pop_front()?;
            let link = self.peers.get(&node).and_then(|peer| peer.links.first_key_value());
            // Without a link it is void; the next one begins with a comparison.
            if let Some((&index, &(session, carrier))) = link {
                return Some(Parcel {
                    node,
                    index,
                    session,
                    view,
                    carrier,
                    relayed: Relayed::Revoking(said),
                });
            }
        }
    }

    /// What others have revoked, since the last call.
    pub fn take_heard(&mut self) -> Vec<Revocation> {
        std::mem::take(&mut self.heard)
    }
}

#[cfg(test)]
mod tests;
