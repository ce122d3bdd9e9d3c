//! Which tokens and users are revoked, as sessions ask it: at a connect, a refresh, a subscription token, and of everybody and their
//! subscriptions after a change.
//!
//! Invariants: a session keeps of its token two numbers and not its id; hashes are keyed, so that nobody can make an id that looks
//! like another one.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::flow::TokenMark;
use crate::revocations::Revocations;

/// What is revoked.
#[derive(Debug)]
pub(super) struct Revoked<S> {
    set: Arc<Revocations>,
    /// Until when the tokens are whose ids have these hashes.
    tokens: HashMap<[u32; 2], u64, foldhash::fast::FixedState>,
    hasher: S,
}

impl<S: BuildHasher> Revoked<S> {
    pub(super) fn new(set: &Arc<Revocations>, hasher: S) -> Self {
        let tokens = set.tokens().map(|(id, until_s)| (halves(hash(&hasher, id)), until_s)).collect();
        Self { set: Arc::clone(set), tokens, hasher }
    }

    pub(super) fn mark(&self, id: Option<&str>, issued_at_s: Option<u64>) -> TokenMark {
        TokenMark {
            id: halves(id.filter(|id| !id.is_empty()).map_or(0, |id| hash(&self.hasher, id))),
            issued_at_s: issued_at_s.map_or(0, |at_s| u32::try_from(at_s).unwrap_or(u32::MAX)),
        }
    }

    /// Whether the token of this mark, or those of its user of that time, are revoked.
    pub(super) fn revokes(&self, mark: TokenMark, user: &str, now_s: u64) -> bool {
        if self.set.is_empty() {
            return false;
        }
        let issued_at_s = (mark.issued_at_s > 0).then_some(mark.issued_at_s.into());
        self.tokens.get(&mark.id).is_some_and(|until_s| *until_s > now_s)
            || self.set.revokes_user(user, issued_at_s, now_s)
    }
}

fn halves(hash: u64) -> [u32; 2] {
    [(hash >> 32) as u32, hash as u32]
}

/// Never 0, which stands for no id.
fn hash(hasher: &impl BuildHasher, id: &str) -> u64 {
    hasher.hash_one(id).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::NameHasher;
    use crate::revocations::tests::{token, user};

    #[test]
    fn marks_find_their_revocation() {
        let mut set = Revocations::default();
        for revocation in [token("t-1", 1_000), user("ann", 100, 1_000)] {
            set.add(&revocation).expect("room");
        }
        let revoked = Revoked::new(&Arc::new(set), NameHasher::new((1, 2)));
        for (id, name, issued_at_s, now_s, expected) in [
            (Some("t-1"), "bob", Some(500), 600, true),
            (Some("t-1"), "", None, 600, true),
            (Some("t-1"), "bob", Some(500), 1_000, false),
            (Some("t-2"), "bob", Some(500), 600, false),
            (Some(""), "bob", None, 600, false),
            (None, "bob", None, 600, false),
            (None, "", None, 600, false),
            (Some("t-2"), "ann", Some(99), 600, true),
            (Some("t-2"), "ann", Some(100), 600, false),
            (None, "ann", None, 600, true),
            (None, "ann", Some(u64::MAX), 600, false),
        ] {
            let mark = revoked.mark(id, issued_at_s);
            let case = format!("{id:?} of {name} at {issued_at_s:?}, {now_s}");
            assert_eq!(revoked.revokes(mark, name, now_s), expected, "{case}");
        }
        let none = Revoked::new(&Arc::default(), NameHasher::new((1, 2)));
        assert!(!none.revokes(none.mark(None, None), "ann", 0));
    }
}
