//! Who is connected to this shard: each user once, with how many sessions it has.
//!
//! Invariants: an anonymous session has no entry; an entry lives as long as a session of its user.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use slab::Slab;

/// Place of a user; [`ANONYMOUS`] has none.
pub type UserPlace = u32;

/// The place of sessions without a user.
pub const ANONYMOUS: UserPlace = u32::MAX;

#[derive(Debug)]
struct User {
    name: Arc<str>,
    sessions: u32,
}

/// The users of a shard.
#[derive(Debug)]
pub struct Users<S> {
    all: Slab<User>,
    names: HashTable<UserPlace>,
    /// Users come from tokens, whose issuer may let clients choose their names.
    hasher: S,
    anonymous: Arc<str>,
}

impl<S: BuildHasher> Users<S> {
    /// No users; address space for `users_expected` is reserved, memory is touched as they come.
    #[must_use]
    pub fn new(users_expected: usize, hasher: S) -> Self {
        Self {
            all: Slab::with_capacity(users_expected),
            names: HashTable::new(),
            hasher,
            anonymous: Arc::from(""),
        }
    }

    /// How many users are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The name at `place`, empty for anonymous sessions.
    #[must_use]
    pub fn name(&self, place: UserPlace) -> &Arc<str> {
        self.all.get(place as usize).map_or(&self.anonymous, |user| &user.name)
    }

    /// A session of `name` begins.
    pub fn enter(&mut self, name: &str) -> UserPlace {
        if name.is_empty() {
            return ANONYMOUS;
        }
        let hash = self.hasher.hash_one(name);
        if let Some(&place) = self.names.find(hash, |&place| &*self.all[place as usize].name == name) {
            self.all[place as usize].sessions += 1;
            return place;
        }
        let place = self.all.insert(User { name: Arc::from(name), sessions: 1 }) as UserPlace;
        let (all, hasher) = (&self.all, &self.hasher);
        self.names.insert_unique(hash, place, |&place| hasher.hash_one(&*all[place as usize].name));
        place
    }

    /// A session of the user at `place` ended.
    pub fn leave(&mut self, place: UserPlace) {
        let Some(user) = self.all.get_mut(place as usize) else { return };
        user.sessions -= 1;
        if user.sessions > 0 {
            return;
        }
        let user = self.all.remove(place as usize);
        let hash = self.hasher.hash_one(&*user.name);
        if let Ok(entry) = self.names.find_entry(hash, |&other| other == place) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_lives_as_long_as_its_sessions() {
        let mut users = Users::new(0, foldhash::fast::FixedState::default());
        let first = users.enter("ann");
        let second = users.enter("ann");
        let other = users.enter("bob");
        assert_eq!((first, users.count()), (second, 2));
        assert_ne!(first, other);
        users.leave(first);
        assert_eq!(&**users.name(second), "ann");
        users.leave(second);
        assert_eq!(users.count(), 1);
        assert_eq!((users.enter(""), &**users.name(ANONYMOUS)), (ANONYMOUS, ""));
        users.leave(ANONYMOUS);
        assert_eq!(&**users.name(other), "bob");
    }
}
