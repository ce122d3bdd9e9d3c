//! Where the users are: the rules by which an owner keeps, for each of its users, the connections that nodes
//! announce.
//!
//! Invariants: an entry is added and removed only by the node that holds the connection, or voided with that
//! node's life or link session; a dead node's entries are never shown once the View without it was handled; a
//! user who reconnects within the vacancy period was never gone; nothing here is sent, waited for or timed by
//! itself.
//!
//! | who          | may                                                                                            |
//! |--------------|------------------------------------------------------------------------------------------------|
//! | announcer    | begin a session, add and remove its own entries in sequence, say that it has said all          |
//! | owner's View | admit an announcer; void everything of a life that is no longer in it                          |
//! | owner        | forget a user who stayed without connections for the vacancy period                            |
//! | anybody else | nothing: an entry carries no node of its own, it is its announcer's                            |

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::announcers::{Announcer, Announcers, Refusal, SessionKey};
use crate::limits::{USER_CONNECTIONS_MAX, VACANCY};
use crate::node::NodeId;
use crate::view::View;

/// The users of one owner shard.
#[derive(Debug)]
pub struct Registry {
    view: View,
    announcers: Announcers,
    users: BTreeMap<Box<str>, User>,
    /// The vacant users, by the time at which each is forgotten.
    vacancies: BTreeSet<(Duration, Box<str>)>,
    sweep: Sweep,
}

/// A statement of an announcer.
#[derive(Clone, Copy, Debug)]
pub enum Announcement<'a> {
    /// A connection of `user` exists. Said again in a new session, it renews the entry.
    Add {
        /// The user.
        user: &'a str,
        /// The connection, as its node numbers it.
        connection: u64,
        /// The shard of the announcer's node that holds it.
        shard: u16,
        /// For how long it exists, seconds.
        age_s: u32,
    },
    /// A connection of `user` is gone.
    Remove {
        /// The user.
        user: &'a str,
        /// The connection.
        connection: u64,
    },
    /// Everything that exists has been announced in this session.
    Complete,
}

/// A connection of a user, for those who ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located {
    /// The node that holds it.
    pub node: NodeId,
    /// Its shard there.
    pub shard: u16,
    /// Its number there.
    pub connection: u64,
    /// How old it is, seconds.
    pub age_s: u32,
}

#[derive(Debug, Default)]
struct User {
    entries: Vec<Entry>,
    /// When a user without entries is forgotten; the key of its place in `vacancies`.
    vacant_until: Option<Duration>,
}

/// One connection, in 24 bytes.
#[derive(Debug)]
struct Entry {
    connection: u64,
    slot: u32,
    generation: u32,
    /// When it began, seconds of the owner's time; below zero if before the owner did.
    since_s: i32,
    shard: u16,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// The walk that gives back the memory of void entries.
#[derive(Debug)]
enum Sweep {
    /// Nothing is void.
    Idle,
    /// Users up to `after` were looked at; with `again`, something became void since the walk began.
    Walking { after: Option<Box<str>>, again: bool },
}

impl Registry {
    /// An empty registry under `view`.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self {
            view,
            announcers: Announcers::default(),
            users: BTreeMap::new(),
            vacancies: BTreeSet::new(),
            sweep: Sweep::Idle,
        }
    }

    /// The current connections of `user`, as of `now`, in no particular order.
    pub fn locate(&self, now: Duration, user: &str) -> impl Iterator<Item = Located> {
        let entries = self.users.get(user).map_or(&[][..], |user| &user.entries);
        entries.iter().filter(|entry| self.counts(entry)).map(move |entry| Located {
            node: self.announcers.node(entry.slot),
            shard: entry.shard,
            connection: entry.connection,
            age_s: age_s(now, entry.since_s),
        })
    }

    /// Users held, those in their vacancy period included.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// The last sequence number applied in a session, to be confirmed to the announcer; `None` if the session
    /// is over.
    #[must_use]
    pub fn confirmed(&self, key: SessionKey) -> Option<u64> {
        self.announcers.heard(key)
    }

    /// A new View: whatever nodes that are not in it ever announced is void at once.
    pub fn handle_view(&mut self, view: View) {
        self.view = view;
        if self.announcers.retire_absent(&self.view) {
            self.sweep.begin();
        }
    }

    /// A link session of `announcer` begins; numbers of sessions rise. What earlier ones said stays until
    /// this one has said all.
    ///
    /// # Errors
    /// [`Refusal::NotInView`], [`Refusal::StaleSession`]; nothing changed.
    pub fn handle_session(&mut self, announcer: Announcer, session: u64) -> Result<SessionKey, Refusal> {
        self.announcers.begin(&self.view, announcer, session)
    }

    /// A statement arrives in a session; its sequence numbers begin at 1 and have no gaps.
    ///
    /// # Errors
    /// Any [`Refusal`] but `NotInView`; see there whether something changed.
    pub fn handle_announcement(
        &mut self,
        now: Duration,
        key: SessionKey,
        sequence: u64,
        announcement: Announcement<'_>,
    ) -> Result<(), Refusal> {
        self.announcers.hear(key, sequence)?;
        match announcement {
            Announcement::Add { user, connection, shard, age_s } => {
                let since_s = whole_seconds(now).saturating_sub(i32::try_from(age_s).unwrap_or(i32::MAX));
                let SessionKey { slot, generation } = key;
                self.add(user, Entry { connection, slot, generation, since_s, shard })
            }
            Announcement::Remove { user, connection } => {
                self.retain(now, user, |_, entry| !entry.is_of(key.slot, connection));
                Ok(())
            }
            Announcement::Complete => {
                self.announcers.complete(key);
                self.sweep.begin();
                Ok(())
            }
        }
    }

    /// Looks at up to `users_max` users for void entries; returns whether there is more to look at.
    pub fn poll_sweep(&mut self, now: Duration, users_max: usize) -> bool {
        let Sweep::Walking { after, again } = &mut self.sweep else { return false };
        let again = *again;
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let seen: Vec<Box<str>> = self
            .users
            .range_mut::<str, _>((from, Bound::Unbounded))
            .take(users_max)
            .map(|(name, _)| name.clone())
            .collect();
        for name in &seen {
            self.retain(now, name, |announcers, entry| announcers.counts(entry.slot, entry.generation));
        }
        self.sweep = match seen.last() {
            Some(last) => Sweep::Walking { after: Some(last.clone()), again },
            None if again => Sweep::Walking { after: None, again: false },
            None => Sweep::Idle,
        };
        !matches!(self.sweep, Sweep::Idle)
    }

    /// The next user who has been without connections for the vacancy period, and is forgotten with this call.
    pub fn poll_vacant(&mut self, now: Duration) -> Option<Box<str>> {
        if self.poll_timeout()? > now {
            return None;
        }
        let (_, name) = self.vacancies.pop_first()?;
        self.users.remove(&name);
        Some(name)
    }

    /// When [`Registry::poll_vacant`] has a user next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.vacancies.first().map(|&(until, _)| until)
    }

    fn add(&mut self, name: &str, entry: Entry) -> Result<(), Refusal> {
        let Some(user) = self.users.get_mut(name) else {
            self.users.insert(name.into(), User { entries: vec![entry], vacant_until: None });
            return Ok(());
        };
        if let Some(until) = user.vacant_until.take() {
            self.vacancies.remove(&(until, name.into()));
        }
        if let Some(known) = user.entries.iter_mut().find(|known| known.is_of(entry.slot, entry.connection)) {
            *known = entry;
            return Ok(());
        }
        if user.entries.len() >= USER_CONNECTIONS_MAX {
            user.entries.retain(|entry| self.announcers.counts(entry.slot, entry.generation));
        }
        if user.entries.len() >= USER_CONNECTIONS_MAX {
            return Err(Refusal::UserFull);
        }
        user.entries.push(entry);
        Ok(())
    }

    /// Keeps the entries of a user that `stays` says, and starts the vacancy period with the last one's end.
    fn retain(&mut self, now: Duration, name: &str, stays: impl Fn(&Announcers, &Entry) -> bool) {
        let Some(user) = self.users.get_mut(name) else { return };
        user.entries.retain(|entry| stays(&self.announcers, entry));
        if user.entries.is_empty() && user.vacant_until.is_none() {
            let until = now + VACANCY;
            user.vacant_until = Some(until);
            self.vacancies.insert((until, name.into()));
        }
    }

    fn counts(&self, entry: &Entry) -> bool {
        self.announcers.counts(entry.slot, entry.generation)
    }
}

impl Entry {
    fn is_of(&self, slot: u32, connection: u64) -> bool {
        self.slot == slot && self.connection == connection
    }
}

impl Sweep {
    fn begin(&mut self) {
        match self {
            Self::Idle => *self = Self::Walking { after: None, again: false },
            Self::Walking { again, .. } => *again = true,
        }
    }
}

fn whole_seconds(now: Duration) -> i32 {
    i32::try_from(now.as_secs()).unwrap_or(i32::MAX)
}

fn age_s(now: Duration, since_s: i32) -> u32 {
    (i64::from(whole_seconds(now)) - i64::from(since_s)).clamp(0, i64::from(u32::MAX)) as u32
}
