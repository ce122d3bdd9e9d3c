//! Key sets from addresses, as metrics show them.
//!
//! Invariant: labels are the kind of token and fixed words; an address or a key's name is none.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Subject;
use super::metrics::Text;
use crate::counters::Kind;

/// The keys at one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySetStatus {
    /// The kind of token that they are for.
    pub tokens: &'static str,
    /// When the last good ones were fetched (Unix seconds), and how many there are; `None`: none were yet.
    pub last: Option<(u64, usize)>,
    /// For so long after they were fetched they count, seconds.
    pub max_age_s: u64,
    /// How many fetches ended in which way.
    pub fetches: Vec<(&'static str, u64)>,
    /// Tokens that were refused since their key is not in the set.
    pub refused_unknown: u64,
    /// Tokens that were refused since there is no set, or one that is too old.
    pub refused_keyless: u64,
}

/// Looks at a node's key sets; there may be none.
#[derive(Clone)]
pub struct KeySetDesk(pub Arc<dyn Fn() -> Vec<KeySetStatus> + Send + Sync>);

impl fmt::Debug for KeySetDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySetDesk")
    }
}

impl KeySetStatus {
    /// Seconds since they were fetched; `None`: they never were.
    fn age_s(&self, now_s: u64) -> Option<u64> {
        self.last.map(|(at_s, _)| now_s.saturating_sub(at_s))
    }

    /// How many count.
    fn keys(&self, now_s: u64) -> usize {
        let current = self.last.filter(|(at_s, _)| now_s.abs_diff(*at_s) <= self.max_age_s);
        current.map_or(0, |(_, keys)| keys)
    }
}

/// All of them.
pub(super) fn measure(text: &mut Text, subject: &Subject) {
    let sets = (subject.key_sets.0)();
    if sets.is_empty() {
        return;
    }
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let name = "roadstead_jwks_keys";
    text.name(name, "Keys from an address that count; 0: none came yet, or they are too old.", Kind::Gauge);
    for set in &sets {
        text.sample(name, &[("tokens", set.tokens)], set.keys(now_s));
    }
    let name = "roadstead_jwks_max_age_seconds";
    text.name(name, "For so long after they were fetched keys count.", Kind::Gauge);
    for set in &sets {
        text.sample(name, &[("tokens", set.tokens)], set.max_age_s);
    }
    let aged: Vec<_> = sets.iter().filter_map(|set| Some((set, set.age_s(now_s)?))).collect();
    if !aged.is_empty() {
        let name = "roadstead_jwks_age_seconds";
        text.name(name, "Seconds since keys were fetched; absent before the first time.", Kind::Gauge);
        for (set, age_s) in aged {
            text.sample(name, &[("tokens", set.tokens)], age_s);
        }
    }
    let name = "roadstead_jwks_fetches_total";
    text.name(name, "Fetches of keys from an address, by how they ended.", Kind::Counter);
    for set in &sets {
        for (outcome, count) in &set.fetches {
            text.sample(name, &[("tokens", set.tokens), ("outcome", outcome)], count);
        }
    }
    let name = "roadstead_jwks_refused_total";
    let help =
        "Tokens refused since the keys from an address lack theirs (unknown_kid), or none count (no_keys).";
    text.name(name, help, Kind::Counter);
    for set in &sets {
        text.sample(name, &[("tokens", set.tokens), ("reason", "unknown_kid")], set.refused_unknown);
        text.sample(name, &[("tokens", set.tokens), ("reason", "no_keys")], set.refused_keyless);
    }
}
