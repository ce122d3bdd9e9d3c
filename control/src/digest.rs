//! A digest of a set: two nodes that keep the same set for each other find out in 16 bytes whether they still do.
//!
//! Invariants: does not depend on order; the digest of a set is the one of the empty set after the same things were added
//! and removed. It finds accidents, not forgers: whoever may announce may also lie.

use crate::hash::pair_hash;

/// How many things are in a set, and the sum of their hashes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Digest {
    /// How many.
    pub count: u64,
    /// The sum of their hashes, modulo 2^64.
    pub sum: u64,
}

impl Digest {
    /// A thing comes that was not there: for a channel, [`channel_hash`](crate::channel_hash) of its name; for a connection,
    /// [`entry_hash`].
    pub fn add(&mut self, hash: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash);
    }

    /// A thing that was there goes.
    pub fn remove(&mut self, hash: u64) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash);
    }
}

/// The hash of a registry entry: of the connection, as its node numbers it, of the user whose name has the
/// [`channel_hash`](crate::channel_hash) `user_hash` (the bare name, without `#`). The same on every node.
#[must_use]
pub fn entry_hash(user_hash: u64, connection: u64) -> u64 {
    pair_hash(user_hash, connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::channel_hash;

    #[test]
    fn a_digest_forgets_what_was_removed_and_the_order() {
        let hashes = [1, u64::MAX, 7, 7];
        let mut forward = Digest::default();
        hashes.iter().for_each(|&hash| forward.add(hash));
        let mut backward = Digest::default();
        hashes.iter().rev().for_each(|&hash| backward.add(hash));
        assert_eq!((forward, forward.count, forward.sum), (backward, 4, 14));
        backward.add(99);
        assert_ne!(forward, backward);
        backward.remove(99);
        assert_eq!(forward, backward);
        hashes.iter().for_each(|&hash| forward.remove(hash));
        assert_eq!(forward, Digest::default());
    }

    #[test]
    fn an_entry_hashes_the_same_on_every_node() {
        let ada = channel_hash(b"ada");
        let table = [
            (ada, 1, 0x36e0_82f1_3286_61e7),
            (ada, 1 << 32, 0xfe99_8875_6f7d_98c4),
            (0, 0, 0xbb3e_408f_a5f5_2cf6),
        ];
        assert_eq!(table.map(|(user, connection, _)| entry_hash(user, connection)), table.map(|row| row.2));
    }
}
