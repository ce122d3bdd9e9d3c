//! The links of a shard, by socket and by what they are to the other node.
//!
//! Invariants: at most one link of a node and index is up; a socket is in the table until the turn has been asked to close
//! it, or has told of its end; whoever walks the table walks it in one order.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use roadstead_control::NodeId;
use slab::Slab;

use super::greeting::Agreed;
use super::link::{Link, Stage};

/// Slots and ids are not chosen by clients: a hash without secrets will do.
type Map<K, V> = HashMap<K, V, FixedState>;

/// Links by their keys.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Slab<Link>,
    /// `None`: the socket is about to be closed.
    by_slot: Map<u32, Option<usize>>,
    up: Map<(NodeId, u8), usize>,
    closing: VecDeque<u32>,
    speakers: VecDeque<usize>,
    unproven: usize,
}

impl Links {
    pub(super) fn insert(&mut self, link: Link) -> usize {
        let slot = link.slot;
        self.unproven += usize::from(link.is_unproven());
        let key = self.links.insert(link);
        self.by_slot.insert(slot, Some(key));
        key
    }

    /// Whether the socket in `slot` is one of ours.
    #[cfg(test)]
    pub(super) fn carries(&self, slot: u32) -> bool {
        self.by_slot.contains_key(&slot)
    }

    /// The link whose socket is in `slot`.
    pub(super) fn key(&self, slot: u32) -> Option<usize> {
        self.by_slot.get(&slot).copied().flatten()
    }

    /// The link of this node and index that is up.
    pub(super) fn find(&self, node: NodeId, index: u8) -> Option<usize> {
        self.up.get(&(node, index)).copied()
    }

    /// The keys of all links, in order.
    pub(super) fn keys(&self) -> Vec<usize> {
        self.links.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.links.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// How many are up.
    pub(super) fn up(&self) -> usize {
        self.up.len()
    }

    /// How many sockets anybody may have dialled.
    pub(super) fn unproven(&self) -> usize {
        self.unproven
    }

    /// The link is up now.
    pub(super) fn raise(&mut self, key: usize, agreed: Agreed) {
        self.unproven -= usize::from(self.links[key].is_unproven());
        self.up.insert((agreed.node, agreed.index), key);
        self.links[key].stage = Stage::Up(agreed);
    }

    /// Takes the link out, and has its socket closed.
    pub(super) fn close(&mut self, key: usize) -> Link {
        let link = self.remove(key);
        self.by_slot.insert(link.slot, None);
        self.closing.push_back(link.slot);
        link
    }

    /// Has a socket closed that became no link.
    pub(super) fn close_socket(&mut self, slot: u32) {
        self.by_slot.insert(slot, None);
        self.closing.push_back(slot);
    }

    /// Takes the link out whose socket in `slot` has ended; nobody needs to close it.
    pub(super) fn end(&mut self, slot: u32) -> Option<Link> {
        match self.by_slot.remove(&slot)? {
            Some(key) => Some(self.remove(key)),
            None => {
                self.closing.retain(|&closing| closing != slot);
                None
            }
        }
    }

    fn remove(&mut self, key: usize) -> Link {
        let link = self.links.remove(key);
        self.by_slot.remove(&link.slot);
        self.unproven -= usize::from(link.is_unproven());
        if let Some(session) = link.session() {
            self.up.remove(&(session.node, session.index));
        }
        link
    }

    /// The next socket to be closed.
    pub(super) fn poll_close(&mut self) -> Option<u32> {
        let slot = self.closing.pop_front()?;
        self.by_slot.remove(&slot);
        Some(slot)
    }

    /// The link has something to say.
    pub(super) fn speak(&mut self, key: usize) {
        let link = &mut self.links[key];
        if !link.is_speaker && link.queue.bytes() > 0 {
            link.is_speaker = true;
            self.speakers.push_back(key);
        }
    }

    /// The next link that has something to say.
    pub(super) fn next_speaker(&mut self) -> Option<usize> {
        while let Some(key) = self.speakers.pop_front() {
            // The place may be another link's by now.
            if self.links.get_mut(key).is_some_and(|link| std::mem::take(&mut link.is_speaker)) {
                return Some(key);
            }
        }
        None
    }
}

impl Index<usize> for Links {
    type Output = Link;

    fn index(&self, key: usize) -> &Link {
        &self.links[key]
    }
}

impl IndexMut<usize> for Links {
    fn index_mut(&mut self, key: usize) -> &mut Link {
        &mut self.links[key]
    }
}
