//! Who may do what with a channel: the permission model of the client protocol.
//!
//! Invariants: a decision depends on the settings, the channel's name, the session's user and what a token was found to say,
//! and on nothing that a client says about itself; a name is read and never rewritten; everything is refused until a rule
//! allows it; the first rule that fits decides.
//!
//! ```text
//! name ──> namespace known? ──> well named? ──> subscribe: token │ private │ listed │ allowed │ insecure
//!             102                  107          publish:   allowed │ to subscribers │ insecure          else 103
//! ```

use std::collections::HashMap;
use std::hash::BuildHasher;

use roadstead_protocol::ErrorCode;

use crate::counters::{Counters, Metric};
use crate::settings::{Channel, Settings, split_name};

/// Why something is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The name is of a namespace that is not configured.
    UnknownNamespace,
    /// The name is too long, is not ASCII, or does not match its namespace's pattern.
    Name,
    /// The channel is private, and no token came with the request.
    Private,
    /// The channel is limited to users that are listed in its name, and this one is not.
    Unlisted,
    /// No rule allows it.
    NotAllowed,
    /// A token came with the request, and does not grant it.
    Token(ErrorCode),
}

impl Refusal {
    /// What the client is told.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::UnknownNamespace => ErrorCode::UnknownChannel,
            Self::Name => ErrorCode::BadRequest,
            Self::Private | Self::Unlisted | Self::NotAllowed => ErrorCode::PermissionDenied,
            Self::Token(code) => code,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::UnknownNamespace => 0,
            Self::Name => 1,
            Self::Private => 2,
            Self::Unlisted => 3,
            Self::NotAllowed => 4,
            Self::Token(_) => 5,
        }
    }
}

/// How often what was refused, and why.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusals {
    subscribes: [u64; 6],
    publishes: [u64; 6],
}

impl Refusals {
    pub(super) fn count_subscribe(&mut self, refusal: Refusal) {
        self.subscribes[refusal.place()] += 1;
    }

    pub(super) fn count_publish(&mut self, refusal: Refusal) {
        self.publishes[refusal.place()] += 1;
    }

    /// Moves it to the metrics.
    pub fn add_to(&self, counters: &Counters) {
        use Metric as M;
        let [namespace, name, private, unlisted, not_allowed, token] = self.subscribes;
        counters.add(M::SubscribesRefusedNamespace, namespace);
        counters.add(M::SubscribesRefusedName, name);
        counters.add(M::SubscribesRefusedPrivate, private);
        counters.add(M::SubscribesRefusedUnlisted, unlisted);
        counters.add(M::SubscribesRefusedNotAllowed, not_allowed);
        counters.add(M::SubscribesRefusedToken, token);
        let [namespace, name, _, _, not_allowed, _] = self.publishes;
        counters.add(M::PublishesRefusedNamespace, namespace);
        counters.add(M::PublishesRefusedName, name);
        counters.add(M::PublishesRefusedNotAllowed, not_allowed);
    }
}

/// What a token that came with a subscribe was found to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenVerdict {
    /// There is none.
    Absent,
    /// It is good, for this user and this channel.
    Grants,
    /// It is not; the client is told this.
    Denies(ErrorCode),
}

/// To whom a publish is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publisher {
    /// To this client.
    Any,
    /// To this client if it is subscribed to the channel.
    Subscriber,
}

/// To whom reading a history is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// To this client.
    Any,
    /// To this client if it is subscribed to the channel.
    Subscriber,
}

/// A channel's name, in its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelName<'n> {
    whole: &'n str,
    /// In front of the first `:`, behind one leading `$`.
    namespace: Option<&'n str>,
    /// Behind the namespace; without one, all of it.
    rest: &'n str,
}

impl<'n> ChannelName<'n> {
    /// Reads a name.
    #[must_use]
    pub fn new(whole: &'n str) -> Self {
        let (namespace, rest) = split_name(whole);
        Self { whole, namespace, rest }
    }

    fn is_private(&self) -> bool {
        self.whole.starts_with('$')
    }

    /// The users that it lists behind its last `#`; `None`: it lists none.
    fn listed(&self) -> Option<impl Iterator<Item = &'n str>> {
        self.whole.rsplit_once('#').map(|(_, listed)| listed.split(','))
    }
}

/// The rules of all channels, as one shard reads them.
#[derive(Debug)]
pub struct Permissions<S> {
    insecure: bool,
    channel_bytes_max: usize,
    without_namespace: Channel,
    namespaces: HashMap<String, Channel, S>,
    /// Of namespaces that nobody configured, in development mode.
    unruled: Channel,
}

impl<S: BuildHasher> Permissions<S> {
    /// The rules in `settings`.
    #[must_use]
    pub fn new(settings: &Settings, hasher: S) -> Self {
        let mut namespaces = HashMap::with_capacity_and_hasher(settings.namespaces.len(), hasher);
        // A copy of a pattern has memory of its own, so that shards do not wait for each other there.
        namespaces.extend(settings.namespaces.iter().map(|(name, rules)| (name.clone(), rules.clone())));
        Self {
            insecure: settings.insecure,
            channel_bytes_max: settings.limits.channel_bytes as usize,
            without_namespace: settings.channel.clone(),
            namespaces,
            unruled: Channel::default(),
        }
    }

    /// The rules of a channel. Unknown comes before anything else that can be said of a name.
    fn rules(&self, name: &ChannelName<'_>) -> Result<&Channel, Refusal> {
        let rules = match name.namespace {
            None => &self.without_namespace,
            Some(namespace) => match self.namespaces.get(namespace) {
                Some(rules) => rules,
                None if self.insecure => &self.unruled,
                None => return Err(Refusal::UnknownNamespace),
            },
        };
        let fits = match &rules.channel_regex {
            Some(pattern) => pattern.matches(name.rest),
            None => name.whole.is_ascii(),
        };
        let is_well_named = fits && name.whole.len() <= self.channel_bytes_max;
        if is_well_named { Ok(rules) } else { Err(Refusal::Name) }
    }

    /// Whether a token or a user could make a subscribe of this kind to `channel` good; asked before a token is verified.
    ///
    /// # Errors
    /// They could not.
    pub fn may_be_subscribed(&self, channel: &str, kind: i32) -> Result<(), Refusal> {
        self.rules(&ChannelName::new(channel))?;
        if kind == 0 { Ok(()) } else { Err(Refusal::NotAllowed) }
    }

    /// Whether `user` (empty: none) may subscribe to `channel`.
    ///
    /// # Errors
    /// It may not.
    pub fn may_subscribe(&self, channel: &str, user: &str, token: TokenVerdict) -> Result<(), Refusal> {
        let name = ChannelName::new(channel);
        let rules = self.rules(&name)?;
        match token {
            TokenVerdict::Grants => return Ok(()),
            TokenVerdict::Denies(code) => return Err(Refusal::Token(code)),
            TokenVerdict::Absent if name.is_private() => return Err(Refusal::Private),
            TokenVerdict::Absent => {}
        }
        let has_user = !user.is_empty();
        let listed = name.listed();
        let refusal = if listed.is_some() { Refusal::Unlisted } else { Refusal::NotAllowed };
        let is_allowed = match listed {
            Some(mut listed) => {
                rules.allow_user_limited_channels && has_user && listed.any(|listed| listed == user)
            }
            None => rules.allow_subscribe_for_client && (has_user || rules.allow_subscribe_for_anonymous),
        };
        if is_allowed || self.insecure { Ok(()) } else { Err(refusal) }
    }

    /// The rules of a channel that a subscription was allowed to.
    #[must_use]
    pub fn rules_of(&self, channel: &str) -> Option<&Channel> {
        self.rules(&ChannelName::new(channel)).ok()
    }

    /// Whether `user` (empty: none) may read the history of `channel`.
    ///
    /// # Errors
    /// There is none, or the user may not: what the client is told.
    pub fn may_read(&self, channel: &str, user: &str) -> Result<Reader, ErrorCode> {
        let rules = self.rules(&ChannelName::new(channel)).map_err(Refusal::code)?;
        if !rules.history.is_on() {
            return Err(ErrorCode::NotAvailable);
        }
        let is_welcome = !user.is_empty() || rules.allow_history_for_anonymous;
        if self.insecure || (is_welcome && rules.allow_history_for_client) {
            Ok(Reader::Any)
        } else if is_welcome && rules.allow_history_for_subscriber {
            Ok(Reader::Subscriber)
        } else {
            Err(ErrorCode::PermissionDenied)
        }
    }

    /// Whether `user` (empty: none) may publish to `channel`.
    ///
    /// # Errors
    /// It may not.
    pub fn may_publish(&self, channel: &str, user: &str) -> Result<Publisher, Refusal> {
        let rules = self.rules(&ChannelName::new(channel))?;
        let is_welcome = !user.is_empty() || rules.allow_publish_for_anonymous;
        if self.insecure || (is_welcome && rules.allow_publish_for_client) {
            Ok(Publisher::Any)
        } else if is_welcome && rules.allow_publish_for_subscriber {
            Ok(Publisher::Subscriber)
        } else {
            Err(Refusal::NotAllowed)
        }
    }
}

#[cfg(test)]
mod tests;
