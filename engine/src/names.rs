//! The hash of names that clients choose: channels and users.

use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 under keys given at start: a run can be repeated, and nobody outside can make names collide.
#[derive(Clone, Copy, Debug)]
pub struct NameHasher {
    keys: (u64, u64),
}

impl NameHasher {
    /// A hasher under secret keys.
    #[must_use]
    pub fn new(keys: (u64, u64)) -> Self {
        Self { keys }
    }
}

impl BuildHasher for NameHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.keys.0, self.keys.1)
    }
}
