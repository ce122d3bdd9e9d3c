//! The methods a client can call: one table of their names and tags.
//!
//! The order is the order of tags: where a command holds several requests, the first one here counts.

/// What a command asks for. A reply's result carries the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Open the session.
    Connect,
    /// Receive a channel.
    Subscribe,
    /// Stop receiving a channel.
    Unsubscribe,
    /// Send to a channel.
    Publish,
    /// Who is in a channel.
    Presence,
    /// How many are in a channel.
    PresenceStats,
    /// What was published to a channel.
    History,
    /// In the schema only; servers treat it as misuse.
    Ping,
    /// A message without an answer.
    Send,
    /// A call with an answer.
    Rpc,
    /// A new connection token.
    Refresh,
    /// A new subscription token.
    SubRefresh,
}

impl Method {
    /// Every method, in tag order.
    pub const ALL: [Self; 12] = [
        Self::Connect,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Publish,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
        Self::Ping,
        Self::Send,
        Self::Rpc,
        Self::Refresh,
        Self::SubRefresh,
    ];

    /// The field's name in JSON, in commands and replies; also fit for a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::Ping => "ping",
            Self::Send => "send",
            Self::Rpc => "rpc",
            Self::Refresh => "refresh",
            Self::SubRefresh => "sub_refresh",
        }
    }

    pub(crate) const fn command_tag(self) -> u32 {
        self as u32 + 4
    }

    /// Tags of results run one ahead of those of requests, until `send`, which has no result, takes the step back.
    pub(crate) const fn reply_tag(self) -> Option<u32> {
        match self {
            Self::Send => None,
            Self::Rpc | Self::Refresh | Self::SubRefresh => Some(self.command_tag()),
            _ => Some(self.command_tag() + 1),
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    pub(crate) fn of_command_tag(tag: u32) -> Option<Self> {
        Self::ALL.get(tag.checked_sub(4)? as usize).copied()
    }

    pub(crate) fn of_reply_tag(tag: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.reply_tag() == Some(tag))
    }
}
