//! Which links this shard dials, and when: at once, or after a pause that grows and is jittered.
//!
//! Invariants: of two nodes the one with the smaller id dials; a link is dialled once at a time; sessions are counted
//! from the node's incarnation and rise for ever, so those of any one link do, and no two lives share one; the same seed
//! pauses the same.

use std::collections::BTreeMap;

use roadstead_control::{Incarnation, NodeId, Roster};

use super::greeting::Target;
use crate::limits::{PEER_RETRY_MS, PEER_RETRY_VIEW_MS_MAX, PEER_SETTLED_MS, PEER_VIEWS_MEET_MS};

/// How an attempt at a link ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// It did not come up.
    Failed,
    /// It did not come up because the Views differ.
    Unseen,
    /// It was up for so long.
    Lived {
        /// Milliseconds.
        ms: u64,
    },
}

#[derive(Debug)]
struct Line {
    incarnation: Incarnation,
    state: State,
    /// Pauses since the last settled session.
    pauses: u32,
    /// Since when it has not come up for nothing but Views that differ.
    unseen_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting {
        due_ms: u64,
    },
    /// Asked for, in greeting, or up.
    Busy,
}

/// The links that are this shard's to dial.
#[derive(Debug)]
pub(super) struct Dialling {
    own: NodeId,
    shard: u16,
    shards: u16,
    links: u8,
    lines: BTreeMap<(NodeId, u8), Line>,
    /// No line is due before it.
    due_ms: u64,
    sessions: u64,
    chance: u64,
}

impl Dialling {
    pub(super) fn new(own: NodeId, (shard, shards): (u16, u16), links_per_peer: u8, seed: u64) -> Self {
        let links = u16::from(links_per_peer).clamp(1, shards.max(1)) as u8;
        Self {
            own,
            shard,
            shards: shards.max(1),
            links,
            lines: BTreeMap::new(),
            due_ms: u64::MAX,
            sessions: 0,
            chance: seed,
        }
    }

    /// Dials the nodes of `roster` and no others; a new life at once.
    pub(super) fn follow(&mut self, roster: &Roster, now_ms: u64) {
        let mut before = std::mem::take(&mut self.lines);
        for member in roster.view.nodes().iter().filter(|node| node.id > self.own) {
            let shards = roster.member(member.id).map_or(1, |record| record.shards);
            for index in (0..links_to(self.links, shards))
                .filter(|&index| u16::from(index) % self.shards == self.shard)
            {
                let place = (member.id, index);
                let line = before
                    .remove(&place)
                    .filter(|line| line.incarnation == member.incarnation)
                    .unwrap_or(Line {
                        incarnation: member.incarnation,
                        state: State::Waiting { due_ms: now_ms },
                        pauses: 0,
                        unseen_ms: None,
                    });
                if let State::Waiting { due_ms } = line.state {
                    self.due_ms = self.due_ms.min(due_ms);
                }
                self.lines.insert(place, line);
            }
        }
    }

    /// The next link that is due, with its address in `roster`.
    pub(super) fn next(&mut self, roster: &Roster, now_ms: u64) -> Option<(Target, core::net::SocketAddr)> {
        if now_ms < self.due_ms {
            return None;
        }
        self.due_ms = u64::MAX;
        for (&(node, index), line) in &mut self.lines {
            let State::Waiting { due_ms } = line.state else { continue };
            if due_ms > now_ms {
                self.due_ms = self.due_ms.min(due_ms);
                continue;
            }
            let Some(member) = roster.member(node) else { continue };
            line.state = State::Busy;
            // Others may be due too.
            self.due_ms = now_ms;
            let target = Target {
                name: member.name.clone(),
                incarnation: member.incarnation,
                index,
                links: links_to(self.links, member.shards),
            };
            return Some((target, member.address));
        }
        None
    }

    /// The number of the next session. An incarnation is a time in milliseconds, and a life dials less often than that.
    pub(super) fn mint(&mut self, incarnation: Incarnation) -> u64 {
        self.sessions = self.sessions.max(incarnation.0).saturating_add(1);
        self.sessions
    }

    /// The link is dialled again after a pause, if it is still wanted. Returns whether that is worth a word: Views that differ are
    /// not, until they have had the time to meet.
    pub(super) fn ended(&mut self, target: &Target, ended: Ended, now_ms: u64) -> bool {
        let Some(line) = self.lines.get_mut(&(target.name.id(), target.index)) else { return false };
        if line.incarnation != target.incarnation || line.state != State::Busy {
            return false;
        }
        line.unseen_ms = (ended == Ended::Unseen).then(|| line.unseen_ms.unwrap_or(now_ms));
        let is_told = line.unseen_ms.is_none_or(|since_ms| now_ms - since_ms >= PEER_VIEWS_MEET_MS);
        if let Ended::Lived { ms } = ended
            && ms >= PEER_SETTLED_MS
        {
            line.pauses = 0;
        }
        let (first_ms, last_ms) = PEER_RETRY_MS;
        let longest_ms = if ended == Ended::Unseen { PEER_RETRY_VIEW_MS_MAX } else { last_ms };
        // Somewhere between the first pause and a bound that doubles, so that nodes that failed together do not retry together.
        let bound_ms = (first_ms << line.pauses.min(16)).saturating_mul(2).min(longest_ms);
        line.pauses += 1;
        let due_ms = now_ms + first_ms + drawn(&mut self.chance) % (bound_ms - first_ms + 1);
        line.state = State::Waiting { due_ms };
        self.due_ms = self.due_ms.min(due_ms);
        is_told
    }

    /// When a link is due; `None`: all are busy.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (self.due_ms < u64::MAX).then_some(self.due_ms)
    }
}

/// Links to a node: one for each of its shards at most, as for each of this node's.
fn links_to(links: u8, shards: u16) -> u8 {
    u16::from(links).min(shards).max(1) as u8
}

/// The next number of a splitmix64 generator.
fn drawn(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
