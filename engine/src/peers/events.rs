//! What an operator is told about links: why one is refused, why one is lost; never so often that it floods a log.
//!
//! Invariants: bounded, whatever peers do; shows no secret, and of a peer's words only a few printable letters; what an
//! unproven socket claims never silences the log about a proven peer.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use roadstead_control::{NodeId, NodeName};
use roadstead_protocol::relay::{Malformed, RefuseCode};

use crate::limits::{PEER_EVENT_INTERVAL_MS, PEER_EVENTS_MAX, PEER_WORDS_MAX};

/// Why a link did not come up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The other node's proof was made with a key that is not in the cluster key file.
    Key,
    /// The other node belongs to another cluster.
    Cluster,
    /// No version of the relay in common, or placement by another hash.
    Version,
    /// The other node, or this life of it, is not in the View.
    NotInView,
    /// The other node has this node's name or id.
    Duplicate,
    /// A later life or session of the other node is known.
    Stale,
    /// Too many greetings at once.
    Limit,
    /// What was said is no greeting.
    Malformed,
    /// A greeting that is longer than any.
    Oversized,
    /// The greeting took too long.
    Timeout,
    /// TLS on one side only, a certificate that is not to be trusted, or that of another node.
    Tls,
    /// The other node refused for a reason that this build does not know.
    Unknown,
}

/// Why a link that was up is not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The socket was closed or broke.
    Ended,
    /// Nothing was heard for too long.
    Silent,
    /// What must not be lost found no room.
    Overflow,
    /// A frame that cannot be read.
    Malformed,
    /// A frame that is longer than any.
    Oversized,
    /// A later session has taken its place.
    Superseded,
    /// That life of the node is not in the View any more.
    Departed,
    /// This node has begun a new life.
    Renewed,
    /// What was announced on it differs from what is known.
    Differing,
}

/// Who refused a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// This node.
    Here,
    /// The other one.
    There,
}

/// A refusal in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    pub(super) words: String,
}

/// Something to log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeersEvent {
    /// A link was refused.
    Refused {
        /// The other node; of a socket that has not proven the cluster's key what it claims to be, if anything.
        peer: Option<NodeName>,
        /// Its address.
        address: SocketAddr,
        /// Who refused.
        side: Side,
        /// Why.
        why: Refusal,
        /// The same in words.
        words: String,
    },
    /// A node of the View could not be connected to.
    Unreachable {
        /// The node.
        peer: NodeName,
        /// Its address.
        address: SocketAddr,
    },
    /// A link that was up is lost.
    Lost {
        /// The node.
        peer: NodeName,
        /// Its address, or the address it came from.
        address: SocketAddr,
        /// Why.
        why: Loss,
    },
}

/// Whom an event concerns, as far as that is sure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Concern {
    Peer(NodeId),
    Stranger(IpAddr),
}

/// Events that wait to be taken.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: VecDeque<PeersEvent>,
    /// When something was last told about whom.
    told_ms: BTreeMap<Concern, u64>,
}

impl Events {
    /// Keeps `event`, if nothing was told about `concern` for a while and there is room.
    pub(super) fn push(&mut self, concern: Concern, now_ms: u64, event: impl FnOnce() -> PeersEvent) {
        self.told_ms.retain(|_, told_ms| now_ms.saturating_sub(*told_ms) < PEER_EVENT_INTERVAL_MS);
        let strangers = self.told_ms.keys().filter(|told| matches!(told, Concern::Stranger(_))).count();
        let is_crowded = matches!(concern, Concern::Stranger(_)) && strangers >= PEER_EVENTS_MAX / 2;
        if is_crowded || self.waiting.len() >= PEER_EVENTS_MAX || self.told_ms.contains_key(&concern) {
            return;
        }
        self.told_ms.insert(concern, now_ms);
        self.waiting.push_back(event());
    }

    /// The next event.
    pub(super) fn pop(&mut self) -> Option<PeersEvent> {
        self.waiting.pop_front()
    }
}

impl Refusal {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Key,
        Self::Cluster,
        Self::Version,
        Self::NotInView,
        Self::Duplicate,
        Self::Stale,
        Self::Limit,
        Self::Malformed,
        Self::Oversized,
        Self::Timeout,
        Self::Tls,
        Self::Unknown,
    ];

    /// What the other node is told.
    pub(super) fn code(self) -> RefuseCode {
        match self {
            Self::Key => RefuseCode::Key,
            Self::Cluster => RefuseCode::Cluster,
            Self::Version => RefuseCode::Version,
            Self::NotInView => RefuseCode::NotInView,
            Self::Duplicate => RefuseCode::Duplicate,
            Self::Stale => RefuseCode::Stale,
            Self::Limit | Self::Timeout => RefuseCode::Limit,
            Self::Malformed | Self::Oversized | Self::Tls | Self::Unknown => RefuseCode::Malformed,
        }
    }

    pub(super) fn of_code(code: RefuseCode) -> Self {
        match code {
            RefuseCode::Version => Self::Version,
            RefuseCode::Cluster => Self::Cluster,
            RefuseCode::Key => Self::Key,
            RefuseCode::NotInView => Self::NotInView,
            RefuseCode::Duplicate => Self::Duplicate,
            RefuseCode::Stale => Self::Stale,
            RefuseCode::Limit => Self::Limit,
            RefuseCode::Malformed => Self::Malformed,
            RefuseCode::Other(_) => Self::Unknown,
        }
    }

    /// Whether the other node's View may soon be of another opinion.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::NotInView | Self::Stale)
    }
}

impl Loss {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Ended,
        Self::Silent,
        Self::Overflow,
        Self::Malformed,
        Self::Oversized,
        Self::Superseded,
        Self::Departed,
        Self::Renewed,
        Self::Differing,
    ];

    /// Whether the link's end is as it should be: nothing to tell anybody.
    fn is_orderly(self) -> bool {
        matches!(self, Self::Superseded | Self::Departed | Self::Renewed)
    }

    /// Whether an operator is told.
    pub(super) fn is_told(self) -> bool {
        !self.is_orderly()
    }
}

impl From<Malformed> for Loss {
    fn from(malformed: Malformed) -> Self {
        if matches!(malformed, Malformed::Long { .. }) { Self::Oversized } else { Self::Malformed }
    }
}

impl Refused {
    pub(super) fn new(why: Refusal, words: impl Into<String>) -> Self {
        Self { why, words: words.into() }
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        let is_long = matches!(malformed, Malformed::Long { .. });
        let why = if is_long { Refusal::Oversized } else { Refusal::Malformed };
        Self::new(why, malformed.to_string())
    }
}

/// Of a peer's words, what cannot disturb a log or fill it.
pub(super) fn printable(words: &str) -> String {
    words.chars().filter(|letter| matches!(letter, ' '..='~')).take(PEER_WORDS_MAX).collect()
}

impl fmt::Display for PeersEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { peer, address, side, words, .. } => {
                let link = match peer {
                    Some(peer) => format!("link with {peer} ({address})"),
                    None => format!("link with {address}"),
                };
                match side {
                    Side::Here => write!(f, "{link} refused: {words}"),
                    Side::There => write!(f, "{link} refused by the other node: {words}"),
                }
            }
            Self::Unreachable { peer, address } => {
                write!(f, "no connection to {peer} ({address}); trying again")
            }
            Self::Lost { peer, address, why } => write!(f, "link with {peer} ({address}) lost: {why}"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the connection ended",
            Self::Silent => "nothing was heard for too long",
            Self::Overflow => "its queue is full of what must not be lost",
            Self::Malformed => "a frame that cannot be read",
            Self::Oversized => "a frame beyond the limit",
            Self::Superseded => "a later session has taken its place",
            Self::Departed => "the node is not in the View any more",
            Self::Renewed => "this node has begun a new life",
            Self::Differing => "what was announced on it differs from what is known here",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(name: &str) -> PeersEvent {
        let address = SocketAddr::from(([127, 0, 0, 1], 7400));
        PeersEvent::Lost { peer: NodeName::new(name).unwrap(), address, why: Loss::Silent }
    }

    #[test]
    fn one_thing_is_told_about_one_peer_in_a_while() {
        let mut events = Events::default();
        let peer = Concern::Peer(NodeId(1));
        for (now_ms, concern, told) in [
            (0, peer, true),
            (9_999, peer, false),
            (9_999, Concern::Peer(NodeId(2)), true),
            (10_000, peer, true),
            (10_001, peer, false),
        ] {
            events.push(concern, now_ms, || lost("a"));
            assert_eq!(events.pop().is_some(), told, "{now_ms} {concern:?}");
        }
    }

    #[test]
    fn strangers_are_bounded_and_do_not_silence_peers() {
        let mut events = Events::default();
        for number in 0..1_000u32 {
            events.push(Concern::Stranger(IpAddr::from(number.to_be_bytes())), 5, || lost("stranger"));
        }
        events.push(Concern::Peer(NodeId(1)), 5, || lost("peer"));
        assert_eq!(events.waiting.len(), PEER_EVENTS_MAX / 2 + 1);
        assert_eq!(events.told_ms.len(), PEER_EVENTS_MAX / 2 + 1);
        assert_eq!(events.waiting.back(), Some(&lost("peer")));
    }

    #[test]
    fn reasons_are_numbered_as_listed() {
        assert!(Refusal::ALL.iter().enumerate().all(|(number, why)| *why as usize == number));
        assert!(Loss::ALL.iter().enumerate().all(|(number, why)| *why as usize == number));
        for why in Refusal::ALL {
            assert_eq!(Refusal::of_code(why.code()).code(), why.code());
        }
        assert_eq!(Refusal::of_code(RefuseCode::Other(77)), Refusal::Unknown);
        assert_eq!(printable("a\nb\u{1b}[31mc\u{e9}"), "ab[31mc");
        assert_eq!(printable(&"x".repeat(5_000)).len(), PEER_WORDS_MAX);
    }
}
