//! What was taken back: tokens by their id, and users' tokens made before a moment. A set that any two nodes can unite.
//!
//! Invariants: bounded in count and bytes; nothing is removed but by time, and what is said twice counts once, as the stricter of
//! the two, so that the order in which nodes learn of it does not matter; time is an argument.

pub mod spreading;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use roadstead_control::{Digest, channel_hash};

use crate::limits::{REVOCATION_NAME_BYTES_MAX, REVOCATIONS_BYTES_MAX, REVOCATIONS_MAX};

/// What a revocation is about. Tokens come before users, each in the order of their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// One token, by its id (`jti`).
    Token(Arc<str>),
    /// A user (`sub`).
    User(Arc<str>),
}

impl Subject {
    /// The id or the user.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Token(name) | Self::User(name) => name,
        }
    }

    /// Whether it can be revoked: it has a name, and not too long a one.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (1..=REVOCATION_NAME_BYTES_MAX).contains(&self.name().len())
    }
}

/// How far a revocation goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Of a user: tokens issued before this are revoked, and those that do not say when they were issued. Of a token: 0. Unix seconds.
    pub issued_before_s: u64,
    /// Until when it is in force, Unix seconds. What it concerns has ended by itself by then.
    pub until_s: u64,
}

impl Terms {
    fn unite(&mut self, other: Self) -> bool {
        let before = *self;
        self.issued_before_s = before.issued_before_s.max(other.issued_before_s);
        self.until_s = before.until_s.max(other.until_s);
        *self != before
    }
}

/// One revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// Of what.
    pub subject: Subject,
    /// How far.
    pub terms: Terms,
}

impl Revocation {
    /// The same on every node.
    fn hash(&self) -> u64 {
        let kind = match self.subject {
            Subject::Token(_) => b't',
            Subject::User(_) => b'u',
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(self.subject.name().as_bytes());
        bytes.extend_from_slice(&self.terms.issued_before_s.to_le_bytes());
        bytes.extend_from_slice(&self.terms.until_s.to_le_bytes());
        channel_hash(&bytes)
    }
}

/// The set has no room for another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Everything that is revoked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Revocations {
    tokens: BTreeMap<Arc<str>, Terms>,
    users: BTreeMap<Arc<str>, Terms>,
    name_bytes: usize,
    digest: Digest,
}

impl Revocations {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What tells two sets apart.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Adds one; says whether that changed anything.
    ///
    /// # Errors
    /// There is no room; nothing is changed.
    pub fn add(&mut self, revocation: &Revocation) -> Result<bool, Full> {
        let name = revocation.subject.name();
        let has_room = self.len() < REVOCATIONS_MAX && self.name_bytes + name.len() <= REVOCATIONS_BYTES_MAX;
        let (before, terms) = match self.map_of(&revocation.subject).entry(Arc::clone(name)) {
            Entry::Occupied(mut known) => {
                let before = *known.get();
                if !known.get_mut().unite(revocation.terms) {
                    return Ok(false);
                }
                (Some(before), *known.get())
            }
            Entry::Vacant(_) if !has_room => return Err(Full),
            Entry::Vacant(vacant) => {
                vacant.insert(revocation.terms);
                (None, revocation.terms)
            }
        };
        let subject = revocation.subject.clone();
        match before {
            Some(terms) => self.digest.remove(Revocation { subject: subject.clone(), terms }.hash()),
            None => self.name_bytes += name.len(),
        }
        self.digest.add(Revocation { subject, terms }.hash());
        Ok(true)
    }

    fn map_of(&mut self, subject: &Subject) -> &mut BTreeMap<Arc<str>, Terms> {
        match subject {
            Subject::Token(_) => &mut self.tokens,
            Subject::User(_) => &mut self.users,
        }
    }

    /// Leaves out what is no longer in force; says whether there was any.
    pub fn forget(&mut self, now_s: u64) -> bool {
        let is_over = |terms: &Terms| terms.until_s <= now_s;
        if !self.tokens.values().chain(self.users.values()).any(is_over) {
            return false;
        }
        let mut kept = Self::default();
        for revocation in self.iter().filter(|revocation| !is_over(&revocation.terms)) {
            kept.add(&revocation).expect("less than there was fits");
        }
        *self = kept;
        true
    }

    /// All of them, in the order of their subjects.
    pub fn iter(&self) -> impl Iterator<Item = Revocation> {
        self.after(None)
    }

    /// Those behind a subject.
    pub fn after(&self, subject: Option<&Subject>) -> impl Iterator<Item = Revocation> {
        let (tokens, users) = match subject {
            None => (Some(Bound::Unbounded), Bound::Unbounded),
            Some(Subject::Token(name)) => (Some(Bound::Excluded(name)), Bound::Unbounded),
            Some(Subject::User(name)) => (None, Bound::Excluded(name)),
        };
        let tokens = tokens.map(|from| self.tokens.range::<Arc<str>, _>((from, Bound::Unbounded)));
        let tokens = tokens
            .into_iter()
            .flatten()
            .map(|(name, &terms)| Revocation { subject: Subject::Token(Arc::clone(name)), terms });
        let users = self.users.range::<Arc<str>, _>((users, Bound::Unbounded));
        tokens
            .chain(users.map(|(name, &terms)| Revocation { subject: Subject::User(Arc::clone(name)), terms }))
    }

    /// The ids of revoked tokens, and until when each is.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tokens.iter().map(|(id, terms)| (&**id, terms.until_s))
    }

    /// Whether tokens of `user` are revoked that were issued at this time (`None`: nobody knows when).
    #[must_use]
    pub fn revokes_user(&self, user: &str, issued_at_s: Option<u64>, now_s: u64) -> bool {
        !self.users.is_empty()
            && self.users.get(user).is_some_and(|terms| {
                terms.until_s > now_s && issued_at_s.is_none_or(|at_s| at_s < terms.issued_before_s)
            })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn user(name: &str, issued_before_s: u64, until_s: u64) -> Revocation {
        Revocation { subject: Subject::User(name.into()), terms: Terms { issued_before_s, until_s } }
    }

    pub(crate) fn token(id: &str, until_s: u64) -> Revocation {
        Revocation { subject: Subject::Token(id.into()), terms: Terms { issued_before_s: 0, until_s } }
    }

    fn set(list: &[Revocation]) -> Revocations {
        let mut set = Revocations::default();
        for revocation in list {
            set.add(revocation).expect("room");
        }
        set
    }

    #[test]
    fn users_tokens_of_before_are_revoked_until_the_end() {
        let revoked = set(&[user("ann", 100, 1_000)]);
        for (name, issued_at_s, now_s, expected) in [
            ("ann", Some(99), 500, true),
            ("ann", Some(100), 500, false),
            ("ann", None, 500, true),
            ("ann", Some(0), 999, true),
            ("ann", Some(99), 1_000, false),
            ("bob", Some(99), 500, false),
            ("", None, 500, false),
        ] {
            assert_eq!(
                revoked.revokes_user(name, issued_at_s, now_s),
                expected,
                "{name} {issued_at_s:?} {now_s}"
            );
        }
    }

    #[test]
    fn the_order_and_number_of_news_do_not_matter() {
        let news = [
            user("ann", 100, 1_000),
            user("ann", 50, 2_000),
            token("a", 10),
            user("a", 1, 10),
            token("a", 30),
            token("a", 20),
        ];
        let forward = set(&news);
        let backward: Vec<_> = news.iter().chain(&news).rev().cloned().collect();
        assert_eq!(set(&backward), forward);
        assert_eq!(
            forward.iter().collect::<Vec<_>>(),
            [token("a", 30), user("a", 1, 10), user("ann", 100, 2_000)]
        );
        assert_eq!(forward.digest().count, 3);
        assert_ne!(set(&[token("a", 1)]).digest(), set(&[user("a", 0, 1)]).digest());
        let mut again = forward.clone();
        assert_eq!(again.add(&user("ann", 99, 1_999)), Ok(false));
        assert_eq!(again.add(&user("ann", 101, 1)), Ok(true));
        assert_ne!(again.digest(), forward.digest());
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut all = set(&[user("ann", 1, 10), token("a", 20), token("b", 10)]);
        assert!(!all.forget(9));
        assert!(all.forget(10));
        assert_eq!(all, set(&[token("a", 20)]));
    }

    #[test]
    fn the_rest_behind_any_subject_is_told() {
        let all = set(&[token("a", 1), token("b", 1), user("a", 1, 1), user("b", 1, 1)]);
        let list: Vec<_> = all.iter().collect();
        for (place, revocation) in list.iter().enumerate() {
            let rest: Vec<_> = all.after(Some(&revocation.subject)).collect();
            assert_eq!(rest, list[place + 1..]);
        }
    }

    #[test]
    fn a_full_set_refuses_and_still_sharpens() {
        let mut full = Revocations::default();
        for number in 0..REVOCATIONS_MAX {
            assert_eq!(full.add(&token(&number.to_string(), 10)), Ok(true));
        }
        assert_eq!(full.add(&token("one more", 10)), Err(Full));
        assert_eq!(full.add(&token("7", 11)), Ok(true));
        let mut long = Revocations::default();
        let name = |number: usize| format!("{number:0>width$}", width = REVOCATION_NAME_BYTES_MAX);
        let room = REVOCATIONS_BYTES_MAX / REVOCATION_NAME_BYTES_MAX;
        for number in 0..room {
            assert_eq!(long.add(&token(&name(number), 10)), Ok(true));
        }
        assert_eq!(long.add(&token(&name(room), 10)), Err(Full));
    }
}
