//! What is known of the channels in memory: where each record of theirs lies that is still alive.
//!
//! Invariants: the offsets of a channel rise; everything here can be read again from the segments; a record is alive as long as
//! it is here, and its segment counts its bytes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::values::{Recorded, Retention};
use crate::flow::Position;

/// Where a record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) at: u32,
    pub(super) bytes: u32,
}

/// A publication that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) unix_ms: u64,
    pub(super) place: Place,
}

/// A channel that is known.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) epoch: u32,
    pub(super) top: u64,
    /// Publications below were given up.
    pub(super) floor: u64,
    pub(super) retention: Retention,
    pub(super) published_ms: u64,
    /// Where its position was last recorded; `None`: nowhere that could be read.
    pub(super) position: Option<Place>,
    /// The top that was recorded there.
    pub(super) recorded_top: u64,
    pub(super) entries: VecDeque<Entry>,
    pub(super) bytes: u64,
}

impl Channel {
    /// A channel whose epoch begins behind an offset.
    pub(super) fn new(epoch: u32, top: u64, retention: Retention) -> Self {
        Self {
            epoch,
            top,
            floor: top + 1,
            retention,
            published_ms: 0,
            position: None,
            recorded_top: 0,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The entry of an offset.
    pub(super) fn entry(&self, offset: u64) -> Option<Entry> {
        let place = self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        self.entries.get(place).copied()
    }

    /// Puts an entry into its place; the one that was there comes back.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        self.top = self.top.max(entry.offset);
        self.published_ms = self.published_ms.max(entry.unix_ms);
        self.bytes += u64::from(entry.place.bytes);
        match self.entries.binary_search_by_key(&entry.offset, |entry| entry.offset) {
            Ok(place) => {
                let old = std::mem::replace(&mut self.entries[place], entry);
                self.bytes -= u64::from(old.place.bytes);
                Some(old)
            }
            Err(place) => {
                self.entries.insert(place, entry);
                None
            }
        }
    }

    /// Takes one entry out.
    pub(super) fn remove(&mut self, offset: u64) -> Option<Entry> {
        let place = self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        let entry = self.entries.remove(place)?;
        self.bytes -= u64::from(entry.place.bytes);
        Some(entry)
    }

    /// Takes the oldest entry out if retention does not want it.
    pub(super) fn pop(&mut self, unix_ms: u64) -> Option<Entry> {
        let oldest = self.entries.front()?;
        let is_kept = oldest.offset >= self.floor
            && self.entries.len() as u64 <= self.retention.count
            && self.bytes <= self.retention.bytes
            && oldest.unix_ms.saturating_add(self.retention.age_ms) > unix_ms;
        if is_kept {
            return None;
        }
        let entry = self.entries.pop_front()?;
        self.floor = self.floor.max(entry.offset + 1);
        self.bytes -= u64::from(entry.place.bytes);
        Some(entry)
    }

    /// Whether even its position is not wanted any more.
    pub(super) fn is_forgotten(&self, unix_ms: u64) -> bool {
        self.entries.is_empty() && self.published_ms.saturating_add(self.retention.forget_ms) <= unix_ms
    }
}

/// All channels, in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_name: BTreeMap<Arc<str>, Channel>,
    /// Entries of all of them.
    pub(super) entries: u64,
    /// The channel that was looked at last by whoever goes through all of them.
    looked_at: Option<Arc<str>>,
}

impl Channels {
    /// Channels that are known.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// A channel.
    pub(super) fn get(&self, name: &str) -> Option<&Channel> {
        self.by_name.get(name)
    }

    /// A channel, to change it.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Channel> {
        self.by_name.get_mut(name)
    }

    /// Makes a channel known; what was kept of an earlier epoch comes back.
    pub(super) fn begin(&mut self, name: &str, channel: Channel) -> Option<Channel> {
        let old = match self.by_name.get_mut(name) {
            Some(known) => Some(std::mem::replace(known, channel)),
            None => self.by_name.insert(name.into(), channel),
        };
        self.entries -= old.as_ref().map_or(0, |old| old.entries.len() as u64);
        old
    }

    /// Forgets a channel.
    pub(super) fn forget(&mut self, name: &str) -> Option<Channel> {
        let old = self.by_name.remove(name)?;
        self.entries -= old.entries.len() as u64;
        Some(old)
    }

    /// The next few channels of one that goes through all of them again and again.
    pub(super) fn look_at(&mut self, count: usize) -> Vec<Arc<str>> {
        let from = self.looked_at.as_ref().map_or(Bound::Unbounded, |name| Bound::Excluded(Arc::clone(name)));
        let next = self.by_name.range::<Arc<str>, _>((from, Bound::Unbounded)).take(count);
        let names: Vec<_> = next.map(|(name, _)| Arc::clone(name)).collect();
        self.looked_at = if names.len() < count { None } else { names.last().cloned() };
        names
    }

    /// All names.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    /// Everything that is known, for whoever orders channels.
    pub(super) fn recorded(&self) -> impl Iterator<Item = Recorded> + '_ {
        self.by_name.iter().map(|(name, channel)| Recorded {
            channel: Arc::clone(name),
            position: Position { epoch: channel.epoch, sequence: channel.top },
            floor: channel.entries.front().map_or(channel.top + 1, |entry| entry.offset),
            count: channel.entries.len() as u64,
            bytes: channel.bytes,
            published_ms: channel.published_ms,
            retention: channel.retention,
        })
    }
}
