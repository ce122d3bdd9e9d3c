//! What clients may do with channels: the rules of one namespace, or of the channels without one.
//!
//! Invariant: everything is refused until it is allowed.

use regex::{Regex, RegexBuilder};

use crate::limits::{CHANNEL_PATTERN_BYTES_MAX, CHANNEL_PATTERN_MEMORY_BYTES, NAMESPACE_BYTES_MAX};

/// Rules of channels. `insecure` overrides what is said here of who may do what, but for names that are not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// Clients with a user may subscribe.
    pub allow_subscribe_for_client: bool,
    /// Clients without a user may subscribe too (needs `allow_subscribe_for_client`).
    pub allow_subscribe_for_anonymous: bool,
    /// Clients with a user may publish.
    pub allow_publish_for_client: bool,
    /// Subscribers with a user may publish to their channel.
    pub allow_publish_for_subscriber: bool,
    /// What is allowed to publishers with a user is allowed to those without one.
    pub allow_publish_for_anonymous: bool,
    /// Users who are listed in a channel's name, behind its last `#`, may subscribe to it.
    pub allow_user_limited_channels: bool,
    /// If set, the part of a name behind the namespace must match it, and need not be ASCII.
    pub channel_regex: Option<NamePattern>,
    /// What is kept of what was published.
    pub history: History,
    /// Every subscription is told of lost publications.
    pub force_positioning: bool,
    /// Subscriptions that ask for it are.
    pub allow_positioning: bool,
    /// Every subscription can be recovered, which includes positioning.
    pub force_recovery: bool,
    /// Subscriptions that ask for it can.
    pub allow_recovery: bool,
    /// What recovery brings back.
    pub force_recovery_mode: RecoveryMode,
    /// With [`RecoveryMode::Cache`]: subscriptions recover without asking for it.
    pub auto_cache_recover: bool,
    /// Clients with a user may read the history.
    pub allow_history_for_client: bool,
    /// Subscribers with a user may read the history of their channel.
    pub allow_history_for_subscriber: bool,
    /// What is allowed to readers with a user is allowed to those without one.
    pub allow_history_for_anonymous: bool,
}

/// What is kept of a channel's publications; nothing unless both `size` and `ttl_ms` are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Publications.
    pub size: u32,
    /// Memory of them, bytes.
    pub bytes: u32,
    /// For how long, from the last one on, milliseconds.
    pub ttl_ms: u64,
    /// For how long the channel's epoch and offset are kept, from the last publication on, milliseconds.
    pub meta_ttl_ms: u64,
}

impl History {
    /// Whether there is any.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.size > 0 && self.ttl_ms > 0
    }
}

impl History {
    /// Nothing is kept.
    pub const NONE: Self = Self { size: 0, bytes: 1 << 20, ttl_ms: 0, meta_ttl_ms: 720 * 3_600_000 };
}

impl Default for History {
    fn default() -> Self {
        Self::NONE
    }
}

/// What recovery brings back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// Everything that was missed, or nothing.
    #[default]
    Stream,
    /// The latest publication.
    Cache,
}

impl RecoveryMode {
    /// Each of them and its word, in the order of the variants.
    pub const WORDS: [(Self, &'static str); 2] = [(Self::Stream, "stream"), (Self::Cache, "cache")];
}

/// The namespace that a channel's name is of, and what stands behind it: it ends at the first `:`, and one leading `$` does not
/// belong to it. A name without one is all of it.
#[must_use]
pub fn split_name(channel: &str) -> (Option<&str>, &str) {
    match channel.strip_prefix('$').unwrap_or(channel).split_once(':') {
        Some((namespace, rest)) => (Some(namespace), rest),
        None => (None, channel),
    }
}

/// A regular expression that names must match somewhere (`^` and `$` tie it to their ends). Matching takes time in
/// proportion to the name, whatever the expression.
#[derive(Clone, Debug)]
pub struct NamePattern(Regex);

impl NamePattern {
    /// # Errors
    /// It is empty or too long, is no regular expression, or needs too much memory: what exactly.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > CHANNEL_PATTERN_BYTES_MAX {
            return Err(format!("a pattern has 1 to {CHANNEL_PATTERN_BYTES_MAX} bytes"));
        }
        let pattern = RegexBuilder::new(text)
            .size_limit(CHANNEL_PATTERN_MEMORY_BYTES)
            .dfa_size_limit(CHANNEL_PATTERN_MEMORY_BYTES)
            .build();
        pattern.map(Self).map_err(|error| error.to_string())
    }

    /// One that whole names must match.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn whole(text: &str) -> Result<Self, String> {
        // Read alone first, so that it cannot close the group that is put around it.
        Self::new(text).and_then(|_| Self::new(&format!("^(?:{text})$")))
    }

    /// The expression as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether some part of `name` matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Whether it speaks of whole names, as far as its ends show.
    #[must_use]
    pub fn is_anchored(&self) -> bool {
        self.as_str().starts_with('^') && self.as_str().ends_with('$')
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for NamePattern {}

/// Whether a namespace may have this name: letters, digits, `-` and `_`, and no more than
/// [`NAMESPACE_BYTES_MAX`] of them.
#[must_use]
pub fn is_namespace(name: &str) -> bool {
    (1..=NAMESPACE_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_must_match_where_that_is_asked() {
        for (pattern, name, matches) in [
            ("a|b", "a", true),
            ("a|b", "ab", false),
            ("a|b", "xb", false),
            ("https://[a-z]+\\.example", "https://id.example", true),
            ("https://[a-z]+\\.example", "https://id.example.evil", false),
            ("https://[a-z]+\\.example", "https://idxexample", false),
        ] {
            let matched = NamePattern::whole(pattern).expect("a pattern").matches(name);
            assert_eq!(matched, matches, "{pattern} {name}");
        }
        for pattern in ["(", "a)|(b", "[a-z]{1000}{1000}", "*", "", "a(?x) # open"] {
            assert!(NamePattern::whole(pattern).is_err(), "{pattern}");
        }
    }
}
