//! One link: a socket to another node, from its first byte to its last.
//!
//! Invariants: only [`Stage::Up`] carries what is relayed; what a refused peer says is not read; a link's memory is what it
//! has to say and half a frame of what it hears.
//!
//! ```text
//! dialled   Connecting ──> HelloSaid ──> ProofSaid ─┐
//!                                                   ├──> Up ──> gone
//! accepted  HelloAwaited ──> WelcomeSaid ───────────┘
//!           any but Up ──> Refused ──> gone
//! ```

use core::net::SocketAddr;

use roadstead_control::NodeName;
use roadstead_protocol::{GREETING_BYTES_MAX, RELAY_FRAME_BYTES_MAX};

use super::events::{Refusal, Refused, printable};
use super::greeting::{Agreed, HelloSaid, ProofSaid, Target, WelcomeSaid};
use super::inbound::Inbound;
use super::queue::Queue;
use crate::flow::CertifiedNames;
use crate::limits::{PEER_PING_MS, PEER_SILENCE_MS};

/// How far a link has come.
#[derive(Debug)]
pub(super) enum Stage {
    Connecting,
    HelloSaid(HelloSaid),
    ProofSaid(ProofSaid),
    HelloAwaited,
    WelcomeSaid(WelcomeSaid),
    Up(Agreed),
    /// It has said or heard why not.
    Refused,
}

/// A link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) slot: u32,
    pub(super) address: SocketAddr,
    /// What was dialled; `None`: it was accepted.
    pub(super) target: Option<Target>,
    /// Whom its certificate names, if it has shown one; empty: anybody.
    pub(super) certified: CertifiedNames,
    pub(super) stage: Stage,
    pub(super) inbound: Inbound,
    pub(super) queue: Queue,
    /// It waits to be asked for what it has to say.
    pub(super) is_speaker: bool,
    /// Until when it must be up, or gone; counts no more once it is up.
    pub(super) due_ms: u64,
    /// When it began; once it is up, when that was.
    pub(super) since_ms: u64,
    pub(super) heard_ms: u64,
    pub(super) pinged_ms: u64,
}

/// What time asks of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Nothing before this moment.
    At(u64),
    /// Ask whether the peer is there.
    Ping,
    /// Its time is up.
    Over,
}

impl Link {
    pub(super) fn new(slot: u32, address: SocketAddr, target: Option<Target>, times: (u64, u64)) -> Self {
        let (now_ms, due_ms) = times;
        let stage = if target.is_some() { Stage::Connecting } else { Stage::HelloAwaited };
        Self {
            slot,
            address,
            target,
            certified: CertifiedNames::default(),
            stage,
            inbound: Inbound::default(),
            queue: Queue::default(),
            is_speaker: false,
            due_ms,
            since_ms: now_ms,
            heard_ms: now_ms,
            pinged_ms: now_ms,
        }
    }

    /// The session, if the link is up.
    pub(super) fn session(&self) -> Option<&Agreed> {
        match &self.stage {
            Stage::Up(agreed) => Some(agreed),
            _ => None,
        }
    }

    /// Whether nothing was heard of the other node.
    pub(super) fn expects_hello(&self) -> bool {
        matches!(self.stage, Stage::HelloAwaited)
    }

    /// Whether its certificate is that of this node.
    pub(super) fn confirms(&self, name: &NodeName) -> Result<(), Refused> {
        if self.certified.0.is_empty() || self.certified.names(name.as_str()) {
            return Ok(());
        }
        let names = printable(&self.certified.0.join(", "));
        Err(Refused::new(Refusal::Tls, format!("its certificate is for {names}, and not for {name}")))
    }

    /// The longest frame that it may hear.
    pub(super) fn frame_bytes_max(&self) -> usize {
        if self.session().is_some() { RELAY_FRAME_BYTES_MAX } else { GREETING_BYTES_MAX }
    }

    /// Whether anybody may have dialled it: the cluster's key is not proven.
    pub(super) fn is_unproven(&self) -> bool {
        self.target.is_none() && self.session().is_none()
    }

    /// Who is at the other end, as far as it is said.
    pub(super) fn peer(&self) -> Option<&NodeName> {
        match (&self.stage, &self.target) {
            (Stage::Up(agreed), _) => Some(&agreed.peer),
            (_, Some(target)) => Some(&target.name),
            (Stage::WelcomeSaid(said), None) => Some(said.claim()),
            _ => None,
        }
    }

    /// What is due now.
    pub(super) fn due(&self, now_ms: u64) -> Due {
        let (ping_ms, over_ms) = match self.stage {
            Stage::Up(_) => {
                (self.heard_ms.max(self.pinged_ms) + PEER_PING_MS, self.heard_ms + PEER_SILENCE_MS)
            }
            _ => (u64::MAX, self.due_ms),
        };
        if over_ms <= now_ms {
            Due::Over
        } else if ping_ms <= now_ms {
            Due::Ping
        } else {
            Due::At(ping_ms.min(over_ms))
        }
    }
}
