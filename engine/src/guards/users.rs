//! What the connections of one user to this node share: how many there are, and how much they may say together.
//!
//! Invariants: a user is known as long as a connection of it is; the lock is taken when a session begins or ends, and what messages
//! take from is reached without it.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use crate::bucket::SharedBucket;
use crate::names::NameHasher;

/// Parts of the table: more than shards, so that two rarely want the same one.
const PARTITIONS: usize = 64;

/// One user's share.
#[derive(Debug)]
pub struct UserShare {
    name: Arc<str>,
    /// Messages and commands.
    pub messages: SharedBucket,
    /// Bytes of messages.
    pub bytes: SharedBucket,
}

/// A user, and how many connections it has.
type Entry = (Arc<UserShare>, u32);

/// The users of a node.
#[derive(Debug)]
pub(super) struct Users {
    hasher: NameHasher,
    partitions: Vec<Mutex<HashTable<Entry>>>,
}

impl Users {
    /// None yet. The keys are secret.
    pub(super) fn new(keys: (u64, u64)) -> Self {
        let partitions = (0..PARTITIONS).map(|_| Mutex::default()).collect();
        Self { hasher: NameHasher::new(keys), partitions }
    }

    /// A session of `name` begins. `None`: it has `connections_max` (0: no bound) already.
    pub(super) fn enter(&self, name: &str, connections_max: u32) -> Option<Arc<UserShare>> {
        let hash = self.hasher.hash_one(name);
        let mut users = self.lock(hash);
        if let Some((share, connections)) = users.find_mut(hash, |(share, _)| *share.name == *name) {
            if connections_max > 0 && *connections >= connections_max {
                return None;
            }
            *connections += 1;
            return Some(Arc::clone(share));
        }
        let (messages, bytes) = (SharedBucket::default(), SharedBucket::default());
        let share = Arc::new(UserShare { name: name.into(), messages, bytes });
        users.insert_unique(hash, (Arc::clone(&share), 1), |(share, _)| self.hasher.hash_one(&*share.name));
        Some(share)
    }

    /// A session ended.
    pub(super) fn leave(&self, share: &UserShare) {
        let hash = self.hasher.hash_one(&*share.name);
        let mut users = self.lock(hash);
        if let Ok(mut entry) = users.find_entry(hash, |(other, _)| other.name == share.name) {
            let connections = &mut entry.get_mut().1;
            *connections -= 1;
            if *connections == 0 {
                entry.remove();
            }
        }
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, HashTable<Entry>> {
        // The table within a part uses the other end of the hash.
        let number = (hash >> 32) as usize % self.partitions.len();
        self.partitions[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Rate;

    #[test]
    fn a_user_is_known_while_connected() {
        let users = Users::new((1, 2));
        let shares: Vec<_> = (0..3).map(|_| users.enter("ada", 3).expect("room")).collect();
        assert!(users.enter("ada", 3).is_none());
        assert!(users.enter("bob", 3).is_some() && users.enter("ada", 0).is_some());
        let rate = Rate::new(10, 1).expect("a limit");
        assert_eq!(shares[0].messages.take(rate, 0, 10), Ok(()));
        assert!(shares[1].messages.take(rate, 0, 1).is_err(), "one share");
        for _ in 0..4 {
            users.leave(&shares[0]);
        }
        let fresh = users.enter("ada", 3).expect("nobody is left");
        assert_eq!(fresh.messages.take(rate, 0, 10), Ok(()));
        assert_eq!(users.partitions.iter().map(|part| part.lock().unwrap().len()).sum::<usize>(), 2);
    }
}
