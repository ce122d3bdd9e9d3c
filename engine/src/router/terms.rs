//! Subscriptions that end with a token, or with its revocation: a table beside the others, of these few only.
//!
//! Invariants: an entry goes with its subscription, so there are no more of them; a subscription without one costs nothing here;
//! knows no clock.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::flow::{Term, TokenMark};

/// The terms of a shard's subscriptions, by subscription.
#[derive(Debug, Default)]
pub(super) struct Terms {
    all: HashMap<u32, Term, FixedState>,
    /// Those that end, with when, in that order.
    ends: BTreeSet<(u32, u32)>,
}

impl Terms {
    /// From now on `subscription` has this term, or none.
    pub(super) fn set(&mut self, subscription: u32, term: Option<Term>) {
        self.remove(subscription);
        let Some(term) = term else { return };
        if term.ends_at_s > 0 {
            self.ends.insert((term.ends_at_s, subscription));
        }
        self.all.insert(subscription, term);
    }

    /// The subscription is gone.
    pub(super) fn remove(&mut self, subscription: u32) {
        if self.all.is_empty() {
            return;
        }
        if let Some(term) = self.all.remove(&subscription) {
            self.ends.remove(&(term.ends_at_s, subscription));
        }
    }

    /// The token by which it is there, if it was by one that can be taken back.
    pub(super) fn mark(&self, subscription: u32) -> Option<TokenMark> {
        self.all.get(&subscription).map(|term| term.mark)
    }

    /// The next one that has ended before `unix_s`; it has no term any more.
    pub(super) fn poll_ended(&mut self, unix_s: u64) -> Option<u32> {
        let &(ends_at_s, subscription) = self.ends.first()?;
        if u64::from(ends_at_s) >= unix_s {
            return None;
        }
        self.remove(subscription);
        Some(subscription)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(ends_at_s: u32) -> Option<Term> {
        Some(Term { ends_at_s, mark: TokenMark { id: [1, 2], issued_at_s: ends_at_s } })
    }

    #[test]
    fn terms_end_in_their_order_and_leave_nothing_behind() {
        let mut terms = Terms::default();
        for (subscription, ends_at_s) in [(1, 30), (2, 10), (3, 0), (4, 20), (5, 20)] {
            terms.set(subscription, term(ends_at_s));
        }
        // Prolonged, made endless, and gone.
        terms.set(2, term(40));
        terms.set(4, None);
        terms.remove(9);
        for (unix_s, ended) in [
            (20, None),
            (21, Some(5)),
            (30, None),
            (31, Some(1)),
            (31, None),
            (u64::MAX, Some(2)),
            (u64::MAX, None),
        ] {
            assert_eq!(terms.poll_ended(unix_s), ended, "{unix_s}");
        }
        assert_eq!(terms.count(), 1);
        assert_eq!((terms.mark(3).map(|mark| mark.id), terms.mark(4)), (Some([1, 2]), None));
        terms.remove(3);
        assert!(terms.all.is_empty() && terms.ends.is_empty());
    }
}
