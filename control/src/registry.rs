//! Where the users are: the rules by which a hub keeps the connections of its own node, and, for the users that its node
//! owns, those that other nodes announce.
//!
//! Invariants: an entry is added and removed only by the node that holds the connection, or voided with that
//! node's life or link session; a dead node's entries are never shown once the View
//! without it was handled; a user who reconnects within the vacancy period was never gone; nothing here is sent, waited for
//! or timed by itself.
//!
//! | who            | may                                                                                          |
//! |----------------|----------------------------------------------------------------------------------------------|
//! | own shards     | add and remove the entries of their connections; these are never void                        |
//! | announcer      | begin a session, add and remove its own entries in sequence, say that it has said all        |
//! | this node's View | admit an announcer; void everything of a life that is no longer in it                      |
//! | this hub       | forget a user who stayed without entries for the vacancy period; note where own entries are announced |
//! | anybody else   | nothing: an entry carries no node of its own, it is its announcer's                          |

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use crate::announcers::{Announcer, Announcers, Refusal, SessionKey};
use crate::digest::{Digest, entry_hash};
use crate::hash::channel_hash;
use crate::limits::USER_CONNECTIONS_MAX;
use crate::node::NodeId;
use crate::users::{Entry, Home, Source, Users};
use crate::view::View;

/// The users of one hub.
#[derive(Debug)]
pub struct Registry<S> {
    own: NodeId,
    view: View,
    announcers: Announcers,
    users: Users<S>,
    sweep: Sweep,
}

/// A statement of an announcer.
#[derive(Clone, Copy, Debug)]
pub enum Announcement<'a> {
    /// A connection of `user` exists. Said again in a new session, it renews the entry.
    Add {
        /// The user.
        user: &'a Arc<str>,
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

/// A user with connections of this node, for who announces them.
#[derive(Debug)]
pub struct OwnUser<'a> {
    /// The user.
    pub name: &'a Arc<str>,
    /// Where the connections are announced; to be changed when they are announced elsewhere.
    pub home: &'a mut Home,
    entries: &'a [Entry],
    now: Duration,
}

/// A connection of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnConnection {
    /// Its number.
    pub connection: u64,
    /// The shard that holds it.
    pub shard: u16,
    /// How old it is, seconds.
    pub age_s: u32,
}

/// The walk that gives back the memory of void entries.
#[derive(Debug)]
enum Sweep {
    /// Nothing is void.
    Idle,
    /// The users below `from` were looked at; with `again`, something became void since the walk began.
    Walking { from: u32, again: bool },
}

impl<S: BuildHasher> Registry<S> {
    /// An empty registry of the node `own`, under `view`. Address space for `users_expected` is reserved. `hasher` must be
    /// keyed with secret randomness, since clients may have a say in their users' names.
    #[must_use]
    pub fn new(own: NodeId, view: View, users_expected: usize, hasher: S) -> Self {
        Self {
            own,
            view,
            announcers: Announcers::default(),
            users: Users::new(users_expected, hasher),
            sweep: Sweep::Idle,
        }
    }

    /// The current connections of `user`, as of `now`, in no particular order. All of them if this node owns the user;
    /// otherwise those of this node.
    pub fn locate(&self, now: Duration, user: &str) -> impl Iterator<Item = Located> {
        let user = self.users.find(user).and_then(|place| self.users.get(place));
        let entries = user.map_or(&[][..], |user| user.entries());
        entries.iter().filter(|entry| counts(&self.announcers, entry)).map(move |entry| Located {
            node: match entry.source {
                Source::Own => self.own,
                Source::Announcer(slot) => self.announcers.node(slot),
            },
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

    /// The digest ([`entry_hash`]) of the entries that were announced in a session and are held; `None` if the session is
    /// over. The announcer's own differs if something was lost, or if the two disagree about who owns a user.
    #[must_use]
    pub fn digest(&self, key: SessionKey) -> Option<Digest> {
        self.announcers.digest(key)
    }

    /// A new View: whatever nodes that are not in it ever announced is void at once. What follows for owners is for
    /// [`Registry::review`].
    pub fn handle_view(&mut self, view: View) {
        self.view = view;
        if self.announcers.retire_absent(&self.view) {
            self.sweep.begin();
        }
    }

    /// A shard of this node has a connection of `user`. If it is new, returns where the user's connections are announced:
    /// to be told of this one too. `None`: known already, or one of too many of one user.
    pub fn handle_own(
        &mut self,
        now: Duration,
        user: &Arc<str>,
        connection: u64,
        shard: u16,
        age_s: u32,
    ) -> Option<&mut Home> {
        let since_s = since_s(now, age_s);
        let entry = Entry { connection, generation: 0, since_s, source: Source::Own, shard };
        let (place, before) = self.add(now, user, entry).ok()?;
        if before.is_some() {
            return None;
        }
        let user = self.users.get_mut(place)?;
        if user.entries().iter().filter(|entry| entry.source == Source::Own).count() == 1 {
            // Where earlier connections were announced says nothing about this one.
            user.home = Home::default();
        }
        Some(&mut user.home)
    }

    /// A connection of `user` on this node is gone. If it was known, returns where it was announced.
    pub fn handle_own_gone(&mut self, now: Duration, user: &str, connection: u64) -> Option<Home> {
        let place = self.users.find(user)?;
        self.remove(now, place, Source::Own, connection)?;
        self.users.get(place).map(|user| user.home)
    }

    /// A link session of `announcer` begins; numbers of sessions rise. What earlier ones said stays until
    /// this one has said all.
    ///
    /// # Errors
    /// [`Refusal::NotInView`], [`Refusal::NoHub`], [`Refusal::StaleSession`]; nothing changed.
    pub fn handle_session(&mut self, announcer: Announcer, session: u64) -> Result<SessionKey, Refusal> {
        if announcer.node == self.own {
            return Err(Refusal::NoHub);
        }
        self.announcers.begin(&self.view, announcer, session)
    }

    /// A statement arrives in a session; its sequence numbers begin at 1 and have no gaps.
    ///
    /// # Errors
    /// [`Refusal::StaleSession`], [`Refusal::Repeated`], [`Refusal::Gap`], [`Refusal::UserFull`]; see there whether
    /// something changed.
    pub fn handle_announcement(
        &mut self,
        now: Duration,
        key: SessionKey,
        sequence: u64,
        announcement: Announcement<'_>,
    ) -> Result<(), Refusal> {
        self.announcers.hear(key, sequence)?;
        let source = Source::Announcer(key.slot);
        match announcement {
            Announcement::Add { user, connection, shard, age_s } => {
                let (since_s, generation) = (since_s(now, age_s), key.generation);
                let entry = Entry { connection, generation, since_s, source, shard };
                let (_, before) = self.add(now, user, entry)?;
                if before.is_none_or(|before| before.generation != key.generation) {
                    self.announcers.said(key, entry_hash(channel_hash(user.as_bytes()), connection));
                }
            }
            Announcement::Remove { user, connection } => {
                let place = self.users.find(user);
                let gone = place.and_then(|place| self.remove(now, place, source, connection));
                if let Some(said_in) = gone.and_then(|gone| gone.session()) {
                    self.announcers.unsaid(said_in, entry_hash(channel_hash(user.as_bytes()), connection));
                }
            }
            Announcement::Complete => {
                self.announcers.complete(key);
                self.sweep.begin();
            }
        }
        Ok(())
    }

    /// One user with connections of this node.
    pub fn own(&mut self, now: Duration, user: &str) -> Option<OwnUser<'_>> {
        let place = self.users.find(user)?;
        self.own_at(now, place)
    }

    /// Shows `visit` the users that have connections of this node, `users_max` places at most, from place `from` on; 0 to
    /// begin. Returns where to go on, `None` at the end. When `visit` says false the walk stops before that user.
    ///
    /// A user stays at its place. Those who come while a walk is under way may be missed by it.
    pub fn review(
        &mut self,
        now: Duration,
        from: u32,
        users_max: u32,
        mut visit: impl FnMut(OwnUser<'_>) -> bool,
    ) -> Option<u32> {
        let (places, next) = self.stretch(from, users_max);
        for place in places {
            if self.own_at(now, place).is_some_and(|user| !visit(user)) {
                return Some(place);
            }
        }
        next
    }

    /// Looks at up to `users_max` places for void entries; returns whether there is more to look at.
    pub fn poll_sweep(&mut self, now: Duration, users_max: u32) -> bool {
        let Sweep::Walking { from, again } = self.sweep else { return false };
        let (places, next) = self.stretch(from, users_max);
        let Self { users, announcers, .. } = self;
        for place in places {
            users.retain(now, place, |entry| counts(announcers, entry));
        }
        self.sweep = match next {
            Some(from) => Sweep::Walking { from, again },
            None if again => Sweep::Walking { from: 0, again: false },
            None => Sweep::Idle,
        };
        !matches!(self.sweep, Sweep::Idle)
    }

    /// The next user who has been without entries for the vacancy period, and is forgotten with this call.
    pub fn poll_vacant(&mut self, now: Duration) -> Option<Arc<str>> {
        self.users.pop_vacant(now)
    }

    /// When [`Registry::poll_vacant`] has a user next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.users.vacant_until()
    }

    /// Adds or renews an entry: the user's place, and the entry as it was before.
    ///
    /// # Errors
    /// [`Refusal::UserFull`].
    fn add(&mut self, now: Duration, name: &Arc<str>, entry: Entry) -> Result<(u32, Option<Entry>), Refusal> {
        let (place, user) = match self.users.find_or_insert(name, entry) {
            (place, None) => return Ok((place, None)),
            (place, Some(user)) => (place, user),
        };
        let mut of_source = 0;
        for known in user.entries_mut().iter_mut().filter(|known| known.source == entry.source) {
            if known.connection == entry.connection {
                return Ok((place, Some(std::mem::replace(known, entry))));
            }
            of_source += 1;
        }
        if of_source >= USER_CONNECTIONS_MAX {
            // What only earlier sessions said makes room, void or not: the announcer keeps the same limit, so whatever of it
            // exists will be said again.
            self.users.retain(now, place, |known| {
                let kept = known.source != entry.source || known.generation == entry.generation;
                of_source -= usize::from(!kept);
                kept
            });
        }
        if of_source >= USER_CONNECTIONS_MAX {
            return Err(Refusal::UserFull);
        }
        self.users.push(place, entry);
        Ok((place, None))
    }

    /// Removes one entry, and returns it as it was.
    fn remove(&mut self, now: Duration, place: u32, source: Source, connection: u64) -> Option<Entry> {
        let mut gone = None;
        self.users.retain(now, place, |entry| {
            let stays = entry.source != source || entry.connection != connection;
            if !stays {
                gone = Some(*entry);
            }
            stays
        });
        gone
    }

    fn own_at(&mut self, now: Duration, place: u32) -> Option<OwnUser<'_>> {
        let (name, home, entries) = self.users.get_mut(place)?.parts_mut();
        let has_own = entries.iter().any(|entry| entry.source == Source::Own);
        has_own.then_some(OwnUser { name, home, entries, now })
    }

    /// The places of one stretch of a walk, and where the next one begins.
    fn stretch(&self, from: u32, users_max: u32) -> (std::ops::Range<u32>, Option<u32>) {
        let all = self.users.places_end();
        let end = from.saturating_add(users_max).min(all);
        (from..end, (end < all).then_some(end))
    }
}

impl OwnUser<'_> {
    /// The user's connections of this node; at least one.
    pub fn connections(&self) -> impl Iterator<Item = OwnConnection> {
        let own = self.entries.iter().filter(|entry| entry.source == Source::Own);
        own.map(|entry| OwnConnection {
            connection: entry.connection,
            shard: entry.shard,
            age_s: age_s(self.now, entry.since_s),
        })
    }
}

impl Entry {
    /// The session in which it was last said; `None` for connections of this node.
    fn session(&self) -> Option<SessionKey> {
        match self.source {
            Source::Own => None,
            Source::Announcer(slot) => Some(SessionKey { slot, generation: self.generation }),
        }
    }
}

impl Sweep {
    fn begin(&mut self) {
        match self {
            Self::Idle => *self = Self::Walking { from: 0, again: false },
            Self::Walking { again, .. } => *again = true,
        }
    }
}

fn counts(announcers: &Announcers, entry: &Entry) -> bool {
    match entry.source {
        Source::Own => true,
        Source::Announcer(slot) => announcers.counts(slot, entry.generation),
    }
}

fn whole_seconds(now: Duration) -> i32 {
    i32::try_from(now.as_secs()).unwrap_or(i32::MAX)
}

fn since_s(now: Duration, age_s: u32) -> i32 {
    whole_seconds(now).saturating_sub(i32::try_from(age_s).unwrap_or(i32::MAX))
}

fn age_s(now: Duration, since_s: i32) -> u32 {
    (i64::from(whole_seconds(now)) - i64::from(since_s)).clamp(0, i64::from(u32::MAX)) as u32
}
