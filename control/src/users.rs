//! The records of a registry's users: found by name, walked by place, and those without entries in the order in which they
//! are to be forgotten.
//!
//! Invariants: a name has one record; a record keeps its place for life; a record without entries is in the queue of vacant
//! ones, once, and no other is; the queue is in order of time, since every vacancy lasts equally long.
//!
//! ```text
//!   vacant ── push ──> one ── push ──> many
//!     │ ^               │ ^             │ │
//!     │ └─ the last goes┘ └─ one stays ─┘ │
//!     │ └──────────── all go at once ─────┘
//!     └── pop_vacant, after VACANCY ──> forgotten
//! ```

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;
use slab::Slab;

use crate::limits::VACANCY;
use crate::node::NodeId;

/// Where a user's connections of this node are announced.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Home {
    /// The owner they are announced to; `None`: to nobody yet.
    pub node: Option<NodeId>,
    /// The link session in which they were; 0: in none.
    pub session: u64,
}

/// Who says that a connection exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A shard of this node, which holds it.
    Own,
    /// The announcer of this slot.
    Announcer(u16),
}

/// One connection of a user.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) connection: u64,
    /// Of the session in which the announcer last said it.
    pub(crate) generation: u32,
    /// When it began, seconds of this node's time; below zero if before the node did.
    pub(crate) since_s: i32,
    pub(crate) source: Source,
    pub(crate) shard: u16,
}

/// A user.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: Arc<str>,
    pub(crate) home: Home,
    connections: Connections,
}

#[derive(Debug)]
enum Connections {
    /// None; links of the queue of vacant users.
    Vacant {
        until_us: u64,
        previous: u32,
        next: u32,
    },
    One(Entry),
    /// Two or more.
    #[allow(
        clippy::box_collection,
        reason = "few users have two connections, and all pay for this variant's size"
    )]
    Many(Box<Vec<Entry>>),
}

// With its share of the table (9 bytes at worst before it grows) and its name (32 for up to 16 bytes), a user with one
// connection costs less than 100 bytes.
const _: () = assert!(size_of::<Entry>() == 24 && size_of::<User>() == 56);

const NONE: u32 = u32::MAX;

/// All users of a registry.
#[derive(Debug)]
pub(crate) struct Users<S> {
    records: Slab<User>,
    names: HashTable<u32>,
    hasher: S,
    /// Above every place that was ever taken.
    places_end: u32,
    vacant_first: u32,
    vacant_last: u32,
}

impl User {
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.connections {
            Connections::Vacant { .. } => &[],
            Connections::One(entry) => std::slice::from_ref(entry),
            Connections::Many(entries) => entries,
        }
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.connections {
            Connections::Vacant { .. } => &mut [],
            Connections::One(entry) => std::slice::from_mut(entry),
            Connections::Many(entries) => entries,
        }
    }

    /// Name, home and entries at once, for who changes the home while looking at the others.
    pub(crate) fn parts_mut(&mut self) -> (&Arc<str>, &mut Home, &[Entry]) {
        let entries = match &self.connections {
            Connections::Vacant { .. } => &[][..],
            Connections::One(entry) => std::slice::from_ref(entry),
            Connections::Many(entries) => entries,
        };
        (&self.name, &mut self.home, entries)
    }
}

impl<S: BuildHasher> Users<S> {
    /// No users; address space for `users_expected` is reserved, memory is touched as they come.
    pub(crate) fn new(users_expected: usize, hasher: S) -> Self {
        Self {
            records: Slab::with_capacity(users_expected),
            names: HashTable::new(),
            hasher,
            places_end: 0,
            vacant_first: NONE,
            vacant_last: NONE,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Every place is below this.
    pub(crate) fn places_end(&self) -> u32 {
        self.places_end
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.names.find(hash, |&place| &*self.records[place as usize].name == name).copied()
    }

    pub(crate) fn get(&self, place: u32) -> Option<&User> {
        self.records.get(place as usize)
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut User> {
        self.records.get_mut(place as usize)
    }

    /// The place of `name`, and the user who was there. There was none: there is now, with `entry` and no home.
    pub(crate) fn find_or_insert(&mut self, name: &Arc<str>, entry: Entry) -> (u32, Option<&mut User>) {
        let hash = self.hasher.hash_one(&**name);
        let Self { records, names, hasher, .. } = self;
        if let Some(&place) = names.find(hash, |&place| *records[place as usize].name == **name) {
            return (place, records.get_mut(place as usize));
        }
        let connections = Connections::One(entry);
        let place = records.insert(User { name: name.clone(), home: Home::default(), connections }) as u32;
        names.insert_unique(hash, place, |&place| hasher.hash_one(&*records[place as usize].name));
        self.places_end = self.places_end.max(place + 1);
        (place, None)
    }

    /// Gives the user at `place` one more entry.
    pub(crate) fn push(&mut self, place: u32, entry: Entry) {
        self.unlink(place);
        let connections = &mut self.records[place as usize].connections;
        match connections {
            Connections::Vacant { .. } => *connections = Connections::One(entry),
            Connections::One(first) => *connections = Connections::Many(Box::new(vec![*first, entry])),
            Connections::Many(entries) => entries.push(entry),
        }
    }

    /// Keeps the entries of a user that `stays` says; the vacancy begins `now` if none is left of some.
    pub(crate) fn retain(&mut self, now: Duration, place: u32, mut stays: impl FnMut(&Entry) -> bool) {
        let Some(user) = self.records.get_mut(place as usize) else { return };
        let connections = &mut user.connections;
        match connections {
            Connections::Vacant { .. } => {}
            Connections::One(entry) => {
                if !stays(entry) {
                    self.vacate(now, place);
                }
            }
            Connections::Many(entries) => {
                entries.retain(stays);
                match entries[..] {
                    [] => self.vacate(now, place),
                    [entry] => *connections = Connections::One(entry),
                    [_, _, ..] => {}
                }
            }
        }
    }

    /// When the first vacant user is to be forgotten.
    pub(crate) fn vacant_until(&self) -> Option<Duration> {
        match self.get(self.vacant_first)?.connections {
            Connections::Vacant { until_us, .. } => Some(Duration::from_micros(until_us)),
            Connections::One(_) | Connections::Many(_) => None,
        }
    }

    /// Forgets the first vacant user, if its time has come.
    pub(crate) fn pop_vacant(&mut self, now: Duration) -> Option<Arc<str>> {
        if self.vacant_until()? > now {
            return None;
        }
        let place = self.vacant_first;
        self.unlink(place);
        let user = self.records.remove(place as usize);
        let hash = self.hasher.hash_one(&*user.name);
        if let Ok(named) = self.names.find_entry(hash, |&other| other == place) {
            named.remove();
        }
        Some(user.name)
    }

    /// Makes a user with entries one without, last in the queue.
    fn vacate(&mut self, now: Duration, place: u32) {
        // Rounded up: never forgotten early.
        let until_us = (now + VACANCY).as_nanos().div_ceil(1_000) as u64;
        let previous = std::mem::replace(&mut self.vacant_last, place);
        self.records[place as usize].connections = Connections::Vacant { until_us, previous, next: NONE };
        *self.next_of(previous) = place;
    }

    /// Takes a user out of the queue of vacant ones, if it is there. Its links are stale then.
    fn unlink(&mut self, place: u32) {
        let Connections::Vacant { previous, next, .. } = self.records[place as usize].connections else {
            return;
        };
        *self.next_of(previous) = next;
        *self.previous_of(next) = previous;
    }

    /// The link that follows the vacant user `place`, or the one to the first.
    fn next_of(&mut self, place: u32) -> &mut u32 {
        match self.records.get_mut(place as usize) {
            Some(User { connections: Connections::Vacant { next, .. }, .. }) => next,
            _ => &mut self.vacant_first,
        }
    }

    /// The link that precedes the vacant user `place`, or the one to the last.
    fn previous_of(&mut self, place: u32) -> &mut u32 {
        match self.records.get_mut(place as usize) {
            Some(User { connections: Connections::Vacant { previous, .. }, .. }) => previous,
            _ => &mut self.vacant_last,
        }
    }
}
