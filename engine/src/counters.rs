//! What a shard counts: one writer each, read by whoever answers `/metrics`.
//!
//! Invariants: no label carries a channel, a user or an address; every drop has a reason; a value is written by its
//! shard only, so that counting is a plain store.

mod codes;
mod table;
mod turns;

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_io::Lack;

use crate::admission::Refusal;
pub use codes::{CONNECTED, Codes};
pub use table::METRICS;
pub use turns::{TURN_MS_BOUNDS, TurnLengths};

/// Whether a value only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many samples are below each of some bounds.
    Histogram,
}

/// One metric, or one label value of it.
#[derive(Clone, Copy, Debug)]
pub struct MetricSpec {
    /// Its place in [`METRICS`].
    pub metric: Metric,
    /// Prometheus name.
    pub name: &'static str,
    /// What it means, for the HELP line.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// A fixed label, if several rows share the name.
    pub label: Option<(&'static str, &'static str)>,
}

/// Everything that is counted, in the order of [`METRICS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Metric {
    Turns,
    Accepted,
    AcceptLackSlots,
    AcceptLackDescriptors,
    AcceptLackFiles,
    AcceptLackMemory,
    AcceptLackOther,
    RefusedConnections,
    RefusedDescriptors,
    RefusedMemory,
    Connections,
    ConnectionsMax,
    Upgrades,
    UpgradesRefusedBusy,
    UpgradesRefusedRequest,
    TokensAccepted,
    TokensMalformed,
    TokensUnknownKey,
    TokensBadSignature,
    TokensOtherAudience,
    TokensOtherIssuer,
    TokensBadClaims,
    TokensExpired,
    TokensUnavailable,
    TokensBusy,
    TokensWaiting,
    TlsHandshakesFull,
    TlsHandshakesResumed,
    TlsHandshakesFailed,
    TlsHandshakesRefused,
    TlsHandshakesWaiting,
    GuardRefusedDenied,
    GuardRefusedBanned,
    GuardRefusedConnections,
    GuardRefusedRate,
    GuardRefusedProxy,
    GuardRefusedHeader,
    GuardRefusedOrigin,
    GuardLateHandshake,
    GuardLateConnect,
    GuardLateMessage,
    GuardFaultHandshake,
    GuardFaultToken,
    GuardFaultFrame,
    GuardFaultRate,
    GuardPacedSubscribes,
    GuardPacedPublishes,
    GuardCappedUsers,
    GuardBans,
    GuardUnremembered,
    Sessions,
    Users,
    Channels,
    Subscriptions,
    SubscriptionTerms,
    SubscriptionsExpired,
    ReceivedBytes,
    SentBytes,
    MessagesReceived,
    Commands,
    CommandErrors,
    SubscribesRefusedNamespace,
    SubscribesRefusedName,
    SubscribesRefusedPrivate,
    SubscribesRefusedUnlisted,
    SubscribesRefusedNotAllowed,
    SubscribesRefusedToken,
    PublishesRefusedNamespace,
    PublishesRefusedName,
    PublishesRefusedNotAllowed,
    PublishesRefusedNotSubscribed,
    RevokedConnect,
    RevokedRefresh,
    RevokedSubscribe,
    RevokedSubRefresh,
    RevokedConnected,
    RevokedSubscribed,
    Violations,
    Disconnects,
    PongTimeouts,
    DeflateReceivedBytes,
    DeflateInflatedBytes,
    DeflatePlainBytes,
    DeflateDeflatedBytes,
    DeflateWindowBytes,
    Published,
    PublishRefused,
    PublishGaps,
    PublishGapsLink,
    PublishGapsReset,
    Deliveries,
    DroppedOutboxFull,
    DroppedClosing,
    DroppedUnsubscribed,
    DroppedInsufficient,
    Streams,
    StreamPublications,
    StreamBytes,
    StreamBytesMax,
    StreamDroppedCount,
    StreamDroppedBytes,
    StreamDroppedAge,
    StreamDroppedCeiling,
    StreamDroppedMoved,
    StreamsForgotten,
    Recovered,
    RecoveriesFailed,
    RecoveredPublications,
    InsufficientStates,
    HistoryReads,
    PositionChecks,
    BlockedSends,
    InboundBytes,
    InboundBytesMax,
    MailboxMessages,
    MailboxMessagesMax,
    MailboxBacklogTurns,
    EpochsChanged,
    RelayVoid,
    Misplaced,
    OwnerUnanswered,
    AnnouncementsDiffering,
    UsersKnown,
    PublishesWaiting,
    PeerLinks,
    PeerQueueBytes,
    PeerHeldBytes,
    PeerSessions,
    PeerUnreachable,
    PeerSentFrames,
    PeerSentBytes,
    PeerReceivedFrames,
    PeerReceivedBytes,
    PeerSkippedFrames,
    PeerDroppedFull,
    PeerDroppedVoid,
    PeerPublishRefused,
    PeerRefusedKey,
    PeerRefusedCluster,
    PeerRefusedVersion,
    PeerRefusedNotInView,
    PeerRefusedDuplicate,
    PeerRefusedStale,
    PeerRefusedLimit,
    PeerRefusedMalformed,
    PeerRefusedOversized,
    PeerRefusedTimeout,
    PeerRefusedTls,
    PeerRefusedUnknown,
    PeerLostEnded,
    PeerLostSilent,
    PeerLostOverflow,
    PeerLostMalformed,
    PeerLostOversized,
    PeerLostSuperseded,
    PeerLostDeparted,
    PeerLostRenewed,
    PeerLostDiffering,
}

impl Metric {
    /// Where accepts are counted that lacked something.
    #[must_use]
    pub fn of_lack(lack: Lack) -> Self {
        match lack {
            Lack::Slots => Self::AcceptLackSlots,
            Lack::Descriptors => Self::AcceptLackDescriptors,
            Lack::Files => Self::AcceptLackFiles,
            Lack::Memory => Self::AcceptLackMemory,
            Lack::Other(_) => Self::AcceptLackOther,
        }
    }

    /// Where tokens are counted that opened nothing, in the order of the reasons that sessions give.
    pub const TOKENS_REFUSED: [Self; 9] = [
        Self::TokensMalformed,
        Self::TokensUnknownKey,
        Self::TokensBadSignature,
        Self::TokensOtherAudience,
        Self::TokensOtherIssuer,
        Self::TokensBadClaims,
        Self::TokensExpired,
        Self::TokensUnavailable,
        Self::TokensBusy,
    ];

    /// Where clients are counted that are told 503.
    #[must_use]
    pub fn of_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Connections => Self::RefusedConnections,
            Refusal::Descriptors => Self::RefusedDescriptors,
            Refusal::Memory => Self::RefusedMemory,
        }
    }
}

/// The values of one shard, in the order of [`METRICS`].
#[derive(Debug)]
pub struct Counters {
    values: [AtomicU64; METRICS.len()],
    /// Closes by their code.
    pub closes: Codes,
    /// Answers to connect commands by their code.
    pub connects: Codes,
    /// How long turns are.
    pub turns: TurnLengths,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            values: [const { AtomicU64::new(0) }; METRICS.len()],
            closes: Codes::of_closes(),
            connects: Codes::of_connects(),
            turns: TurnLengths::default(),
        }
    }
}

impl Counters {
    /// Adds to a counter. Only the owning shard calls this.
    pub fn add(&self, metric: Metric, amount: u64) {
        if amount > 0 {
            let value = &self.values[metric as usize];
            value.store(value.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// Sets a gauge. Only the owning shard calls this.
    pub fn set(&self, metric: Metric, amount: u64) {
        self.values[metric as usize].store(amount, Ordering::Relaxed);
    }

    /// Reads the value of row `index` of [`METRICS`].
    #[must_use]
    pub fn value(&self, index: usize) -> u64 {
        self.values[index].load(Ordering::Relaxed)
    }

    /// Reads a value.
    #[must_use]
    pub fn get(&self, metric: Metric) -> u64 {
        self.value(metric as usize)
    }
}
