//! What a shard counts: one writer each, read by whoever answers `/metrics`.
//!
//! Invariants: no label carries a channel, a user or an address; every drop has a reason; a value is written by its
//! shard only, so that counting is a plain store.

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_io::Lack;

use crate::admission::Refusal;

/// Whether a value only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
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
    RevokedConnected,
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

const fn counter(metric: Metric, name: &'static str, help: &'static str) -> MetricSpec {
    MetricSpec { metric, name, help, kind: Kind::Counter, label: None }
}

const fn gauge(metric: Metric, name: &'static str, help: &'static str) -> MetricSpec {
    MetricSpec { metric, name, help, kind: Kind::Gauge, label: None }
}

const fn labelled(spec: MetricSpec, value: &'static str) -> MetricSpec {
    MetricSpec { label: Some(("reason", value)), ..spec }
}

const fn of_kind(spec: MetricSpec, value: &'static str) -> MetricSpec {
    MetricSpec { label: Some(("kind", value)), ..spec }
}

const TLS_HANDSHAKES: &str = "roadstead_tls_handshakes_total";
const TLS_HANDSHAKES_HELP: &str = "TLS handshakes with clients that were finished.";
const TLS_FAILED: &str = "roadstead_tls_handshakes_failed_total";
const TLS_FAILED_HELP: &str = "TLS handshakes that went wrong, or were not begun since too many waited.";
const GUARD_REFUSED: &str = "roadstead_guard_refused_total";
const GUARD_REFUSED_HELP: &str = "Connections that the guards refused.";
const GUARD_LATE: &str = "roadstead_guard_late_total";
const GUARD_LATE_HELP: &str = "Connections closed since a handshake or a message that was begun, or the connect command, took too long.";
const GUARD_FAULTS: &str = "roadstead_guard_faults_total";
const GUARD_FAULTS_HELP: &str = "What connections did wrong, which counts towards a ban of their source.";
const GUARD_PACED: &str = "roadstead_guard_limited_total";
const GUARD_PACED_HELP: &str = "Subscribe and publish commands that came too fast (111), and sessions of users with too many connections (3504).";
const TOKENS_REFUSED: &str = "roadstead_tokens_refused_total";
const TOKENS_REFUSED_HELP: &str = "Tokens that opened nothing; unavailable and busy: for now, and whoever showed them was told to come back.";
const ACCEPT_FAILURES: &str = "roadstead_accept_failures_total";
const ACCEPT_FAILURES_HELP: &str =
    "Times that accepting paused, with clients waiting in the backlog, by what there was too little of.";
const REFUSED: &str = "roadstead_connections_refused_total";
const REFUSED_HELP: &str = "Connections accepted only to be told 503, by the bound that was reached.";
const UPGRADES_REFUSED: &str = "roadstead_upgrades_refused_total";
const UPGRADES_REFUSED_HELP: &str = "Upgrade requests answered with an HTTP error status.";
const SUBSCRIBES_REFUSED: &str = "roadstead_subscribes_refused_total";
const SUBSCRIBES_REFUSED_HELP: &str = "Subscribe commands that the rules of channels do not allow.";
const PUBLISHES_REFUSED: &str = "roadstead_publishes_refused_total";
const PUBLISHES_REFUSED_HELP: &str = "Publish commands that the rules of channels do not allow.";
const REVOKED: &str = "roadstead_revoked_total";
const REVOKED_HELP: &str =
    "Tokens that were taken back: shown by clients, or of clients that were connected and were closed.";
const PUBLICATIONS_DROPPED: &str = "roadstead_publications_dropped_total";
const PUBLICATIONS_DROPPED_HELP: &str =
    "Publications lost on their way from the owner to an interested shard.";
const DELIVERIES_DROPPED: &str = "roadstead_deliveries_dropped_total";
const DELIVERIES_DROPPED_HELP: &str = "Publications not written to a subscriber's socket.";
const PEER_DROPPED: &str = "roadstead_peer_dropped_total";
const PEER_DROPPED_HELP: &str = "What was to be said to another node and was not.";
const PEER_REFUSED: &str = "roadstead_peer_links_refused_total";
const PEER_REFUSED_HELP: &str = "Links between nodes that were refused, by this node or by the other.";
const PEER_LOST: &str = "roadstead_peer_links_lost_total";
const PEER_LOST_HELP: &str = "Links between nodes that were up and ended.";

/// Every metric of a shard.
pub static METRICS: [MetricSpec; 137] = [
    counter(Metric::Turns, "roadstead_turns_total", "Turns of the shards' loops."),
    counter(Metric::Accepted, "roadstead_connections_accepted_total", "Connections accepted."),
    labelled(counter(Metric::AcceptLackSlots, ACCEPT_FAILURES, ACCEPT_FAILURES_HELP), "slots"),
    labelled(counter(Metric::AcceptLackDescriptors, ACCEPT_FAILURES, ACCEPT_FAILURES_HELP), "descriptors"),
    labelled(counter(Metric::AcceptLackFiles, ACCEPT_FAILURES, ACCEPT_FAILURES_HELP), "files"),
    labelled(counter(Metric::AcceptLackMemory, ACCEPT_FAILURES, ACCEPT_FAILURES_HELP), "memory"),
    labelled(counter(Metric::AcceptLackOther, ACCEPT_FAILURES, ACCEPT_FAILURES_HELP), "other"),
    labelled(counter(Metric::RefusedConnections, REFUSED, REFUSED_HELP), "connections"),
    labelled(counter(Metric::RefusedDescriptors, REFUSED, REFUSED_HELP), "descriptors"),
    labelled(counter(Metric::RefusedMemory, REFUSED, REFUSED_HELP), "memory"),
    gauge(Metric::Connections, "roadstead_connections", "Open connections."),
    gauge(Metric::ConnectionsMax, "roadstead_connections_max", "Connections that may be open."),
    counter(Metric::Upgrades, "roadstead_upgrades_total", "Requests upgraded to WebSocket."),
    labelled(counter(Metric::UpgradesRefusedBusy, UPGRADES_REFUSED, UPGRADES_REFUSED_HELP), "busy"),
    labelled(counter(Metric::UpgradesRefusedRequest, UPGRADES_REFUSED, UPGRADES_REFUSED_HELP), "request"),
    counter(Metric::TokensAccepted, "roadstead_tokens_accepted_total", "Tokens that were good."),
    labelled(counter(Metric::TokensMalformed, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "malformed"),
    labelled(counter(Metric::TokensUnknownKey, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "key"),
    labelled(counter(Metric::TokensBadSignature, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "signature"),
    labelled(counter(Metric::TokensOtherAudience, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "audience"),
    labelled(counter(Metric::TokensOtherIssuer, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "issuer"),
    labelled(counter(Metric::TokensBadClaims, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "claims"),
    labelled(counter(Metric::TokensExpired, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "expired"),
    labelled(counter(Metric::TokensUnavailable, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "unavailable"),
    labelled(counter(Metric::TokensBusy, TOKENS_REFUSED, TOKENS_REFUSED_HELP), "busy"),
    gauge(
        Metric::TokensWaiting,
        "roadstead_tokens_waiting",
        "Tokens that wait to be judged, or for the verdict to be heard.",
    ),
    of_kind(counter(Metric::TlsHandshakesFull, TLS_HANDSHAKES, TLS_HANDSHAKES_HELP), "full"),
    of_kind(counter(Metric::TlsHandshakesResumed, TLS_HANDSHAKES, TLS_HANDSHAKES_HELP), "resumed"),
    labelled(counter(Metric::TlsHandshakesFailed, TLS_FAILED, TLS_FAILED_HELP), "failed"),
    labelled(counter(Metric::TlsHandshakesRefused, TLS_FAILED, TLS_FAILED_HELP), "busy"),
    gauge(
        Metric::TlsHandshakesWaiting,
        "roadstead_tls_handshakes_waiting",
        "Connections whose TLS handshake waits to begin.",
    ),
    labelled(counter(Metric::GuardRefusedDenied, GUARD_REFUSED, GUARD_REFUSED_HELP), "denied"),
    labelled(counter(Metric::GuardRefusedBanned, GUARD_REFUSED, GUARD_REFUSED_HELP), "banned"),
    labelled(counter(Metric::GuardRefusedConnections, GUARD_REFUSED, GUARD_REFUSED_HELP), "connections"),
    labelled(counter(Metric::GuardRefusedRate, GUARD_REFUSED, GUARD_REFUSED_HELP), "connects"),
    labelled(counter(Metric::GuardRefusedProxy, GUARD_REFUSED, GUARD_REFUSED_HELP), "no_proxy"),
    labelled(counter(Metric::GuardRefusedHeader, GUARD_REFUSED, GUARD_REFUSED_HELP), "proxy_header"),
    labelled(counter(Metric::GuardRefusedOrigin, GUARD_REFUSED, GUARD_REFUSED_HELP), "origin"),
    of_kind(counter(Metric::GuardLateHandshake, GUARD_LATE, GUARD_LATE_HELP), "handshake"),
    of_kind(counter(Metric::GuardLateConnect, GUARD_LATE, GUARD_LATE_HELP), "connect"),
    of_kind(counter(Metric::GuardLateMessage, GUARD_LATE, GUARD_LATE_HELP), "message"),
    of_kind(counter(Metric::GuardFaultHandshake, GUARD_FAULTS, GUARD_FAULTS_HELP), "handshake"),
    of_kind(counter(Metric::GuardFaultToken, GUARD_FAULTS, GUARD_FAULTS_HELP), "token"),
    of_kind(counter(Metric::GuardFaultFrame, GUARD_FAULTS, GUARD_FAULTS_HELP), "frame"),
    of_kind(counter(Metric::GuardFaultRate, GUARD_FAULTS, GUARD_FAULTS_HELP), "rate"),
    of_kind(counter(Metric::GuardPacedSubscribes, GUARD_PACED, GUARD_PACED_HELP), "subscribe"),
    of_kind(counter(Metric::GuardPacedPublishes, GUARD_PACED, GUARD_PACED_HELP), "publish"),
    of_kind(counter(Metric::GuardCappedUsers, GUARD_PACED, GUARD_PACED_HELP), "user"),
    counter(Metric::GuardBans, "roadstead_guard_bans_total", "Bans of sources."),
    counter(
        Metric::GuardUnremembered,
        "roadstead_guard_unremembered_total",
        "Connections of sources that the guards had no room to remember, which nothing but the node's limits bounds.",
    ),
    gauge(Metric::Sessions, "roadstead_sessions", "Clients that have connected in the client protocol."),
    gauge(Metric::Users, "roadstead_users", "Users connected, counted once in each shard."),
    gauge(Metric::Channels, "roadstead_channels", "Channels known, counted once in each shard."),
    gauge(Metric::Subscriptions, "roadstead_subscriptions", "Subscriptions."),
    counter(Metric::ReceivedBytes, "roadstead_received_bytes_total", "Bytes received from clients."),
    counter(Metric::SentBytes, "roadstead_sent_bytes_total", "Bytes handed to clients' sockets."),
    counter(Metric::MessagesReceived, "roadstead_messages_received_total", "WebSocket messages received."),
    counter(Metric::Commands, "roadstead_commands_total", "Client commands received."),
    counter(Metric::CommandErrors, "roadstead_command_errors_total", "Commands answered with an error."),
    labelled(
        counter(Metric::SubscribesRefusedNamespace, SUBSCRIBES_REFUSED, SUBSCRIBES_REFUSED_HELP),
        "unknown_namespace",
    ),
    labelled(counter(Metric::SubscribesRefusedName, SUBSCRIBES_REFUSED, SUBSCRIBES_REFUSED_HELP), "name"),
    labelled(
        counter(Metric::SubscribesRefusedPrivate, SUBSCRIBES_REFUSED, SUBSCRIBES_REFUSED_HELP),
        "private",
    ),
    labelled(
        counter(Metric::SubscribesRefusedUnlisted, SUBSCRIBES_REFUSED, SUBSCRIBES_REFUSED_HELP),
        "not_listed",
    ),
    labelled(
        counter(Metric::SubscribesRefusedNotAllowed, SUBSCRIBES_REFUSED, SUBSCRIBES_REFUSED_HELP),
        "not_allowed",
    ),
    labelled(counter(Metric::SubscribesRefusedToken, SUBSCRIBES_REFUSED, SUBSCRIBES_REFUSED_HELP), "token"),
    labelled(
        counter(Metric::PublishesRefusedNamespace, PUBLISHES_REFUSED, PUBLISHES_REFUSED_HELP),
        "unknown_namespace",
    ),
    labelled(counter(Metric::PublishesRefusedName, PUBLISHES_REFUSED, PUBLISHES_REFUSED_HELP), "name"),
    labelled(
        counter(Metric::PublishesRefusedNotAllowed, PUBLISHES_REFUSED, PUBLISHES_REFUSED_HELP),
        "not_allowed",
    ),
    labelled(
        counter(Metric::PublishesRefusedNotSubscribed, PUBLISHES_REFUSED, PUBLISHES_REFUSED_HELP),
        "not_subscribed",
    ),
    of_kind(counter(Metric::RevokedConnect, REVOKED, REVOKED_HELP), "connect"),
    of_kind(counter(Metric::RevokedRefresh, REVOKED, REVOKED_HELP), "refresh"),
    of_kind(counter(Metric::RevokedSubscribe, REVOKED, REVOKED_HELP), "subscribe"),
    of_kind(counter(Metric::RevokedConnected, REVOKED, REVOKED_HELP), "connected"),
    counter(
        Metric::Violations,
        "roadstead_protocol_violations_total",
        "Connections that broke RFC 6455 or its limits.",
    ),
    counter(Metric::Disconnects, "roadstead_disconnects_total", "Closes begun by this node while serving."),
    counter(
        Metric::PongTimeouts,
        "roadstead_pong_timeouts_total",
        "Clients that did not answer a ping in time.",
    ),
    counter(
        Metric::DeflateReceivedBytes,
        "roadstead_deflate_received_bytes_total",
        "Payload of deflated messages as it was received.",
    ),
    counter(
        Metric::DeflateInflatedBytes,
        "roadstead_deflate_inflated_bytes_total",
        "The same payload after it was inflated.",
    ),
    counter(
        Metric::DeflatePlainBytes,
        "roadstead_deflate_plain_bytes_total",
        "Payload that was deflated, before; a publication counts once, however many get it.",
    ),
    counter(
        Metric::DeflateDeflatedBytes,
        "roadstead_deflate_deflated_bytes_total",
        "The same payload after it was deflated.",
    ),
    gauge(
        Metric::DeflateWindowBytes,
        "roadstead_deflate_window_bytes",
        "Memory that clients' windows may come to hold.",
    ),
    counter(Metric::Published, "roadstead_publications_total", "Publications ordered by their hubs."),
    counter(
        Metric::PublishRefused,
        "roadstead_publications_refused_total",
        "Publications refused because a queue was full.",
    ),
    labelled(counter(Metric::PublishGaps, PUBLICATIONS_DROPPED, PUBLICATIONS_DROPPED_HELP), "mailbox_full"),
    labelled(counter(Metric::PublishGapsLink, PUBLICATIONS_DROPPED, PUBLICATIONS_DROPPED_HELP), "link_full"),
    labelled(
        counter(Metric::PublishGapsReset, PUBLICATIONS_DROPPED, PUBLICATIONS_DROPPED_HELP),
        "link_reset",
    ),
    counter(
        Metric::Deliveries,
        "roadstead_deliveries_total",
        "Publications queued for a subscriber's socket.",
    ),
    labelled(counter(Metric::DroppedOutboxFull, DELIVERIES_DROPPED, DELIVERIES_DROPPED_HELP), "outbox_full"),
    labelled(counter(Metric::DroppedClosing, DELIVERIES_DROPPED, DELIVERIES_DROPPED_HELP), "closing"),
    labelled(
        counter(Metric::DroppedUnsubscribed, DELIVERIES_DROPPED, DELIVERIES_DROPPED_HELP),
        "unsubscribed",
    ),
    counter(Metric::BlockedSends, "roadstead_blocked_sends_total", "Sends that a socket did not take whole."),
    gauge(Metric::InboundBytes, "roadstead_inbound_bytes", "Memory that holds partial input."),
    gauge(Metric::InboundBytesMax, "roadstead_inbound_bytes_max", "Memory that may hold partial input."),
    gauge(
        Metric::MailboxMessages,
        "roadstead_mailbox_messages",
        "Messages waiting in mailboxes between shards.",
    ),
    gauge(Metric::MailboxMessagesMax, "roadstead_mailbox_messages_max", "Messages that mailboxes can hold."),
    counter(
        Metric::MailboxBacklogTurns,
        "roadstead_mailbox_backlog_turns_total",
        "Turns that ended with messages kept for a full mailbox.",
    ),
    counter(
        Metric::EpochsChanged,
        "roadstead_channel_epochs_changed_total",
        "Channels in use whose counting began anew: with another owner, or the same one after it had forgotten them.",
    ),
    counter(
        Metric::RelayVoid,
        "roadstead_relay_void_total",
        "Things said by other nodes that no longer applied: of an older session of a link, or not from the owner.",
    ),
    counter(
        Metric::Misplaced,
        "roadstead_relay_not_owner_total",
        "Publications and interests that were refused by a node that does not own the channel.",
    ),
    counter(
        Metric::OwnerUnanswered,
        "roadstead_owner_unanswered_total",
        "Publications and subscriptions that ended with error 100, since the owner could not be reached or did not answer.",
    ),
    counter(
        Metric::AnnouncementsDiffering,
        "roadstead_announcements_differing_total",
        "Links that were reset because what a node had announced differed from what was known here.",
    ),
    gauge(
        Metric::UsersKnown,
        "roadstead_registry_users",
        "Users in the registry: connected to this node or owned by it, those who have just left included.",
    ),
    gauge(
        Metric::PublishesWaiting,
        "roadstead_publishes_waiting",
        "Publications sent to owners on other nodes and not answered yet.",
    ),
    gauge(Metric::PeerLinks, "roadstead_peer_links", "Links to other nodes that are up."),
    gauge(Metric::PeerQueueBytes, "roadstead_peer_queue_bytes", "Bytes that wait to be sent to other nodes."),
    gauge(
        Metric::PeerHeldBytes,
        "roadstead_peer_held_bytes",
        "Memory that holds partial frames of other nodes.",
    ),
    counter(Metric::PeerSessions, "roadstead_peer_sessions_total", "Links to other nodes that came up."),
    counter(
        Metric::PeerUnreachable,
        "roadstead_peer_unreachable_total",
        "Connections to other nodes that were not made, or closed without a word.",
    ),
    counter(Metric::PeerSentFrames, "roadstead_peer_sent_frames_total", "Frames sent to other nodes."),
    counter(
        Metric::PeerSentBytes,
        "roadstead_peer_sent_bytes_total",
        "Bytes handed to sockets to other nodes.",
    ),
    counter(
        Metric::PeerReceivedFrames,
        "roadstead_peer_received_frames_total",
        "Frames received from other nodes.",
    ),
    counter(
        Metric::PeerReceivedBytes,
        "roadstead_peer_received_bytes_total",
        "Bytes received on sockets between nodes.",
    ),
    counter(
        Metric::PeerSkippedFrames,
        "roadstead_peer_skipped_frames_total",
        "Frames of a kind that only a later version knows.",
    ),
    labelled(counter(Metric::PeerDroppedFull, PEER_DROPPED, PEER_DROPPED_HELP), "link_full"),
    labelled(counter(Metric::PeerDroppedVoid, PEER_DROPPED, PEER_DROPPED_HELP), "session_over"),
    counter(
        Metric::PeerPublishRefused,
        "roadstead_peer_publications_refused_total",
        "Publications for another node refused because the queue of the link was full.",
    ),
    labelled(counter(Metric::PeerRefusedKey, PEER_REFUSED, PEER_REFUSED_HELP), "key"),
    labelled(counter(Metric::PeerRefusedCluster, PEER_REFUSED, PEER_REFUSED_HELP), "cluster"),
    labelled(counter(Metric::PeerRefusedVersion, PEER_REFUSED, PEER_REFUSED_HELP), "version"),
    labelled(counter(Metric::PeerRefusedNotInView, PEER_REFUSED, PEER_REFUSED_HELP), "not_in_view"),
    labelled(counter(Metric::PeerRefusedDuplicate, PEER_REFUSED, PEER_REFUSED_HELP), "duplicate"),
    labelled(counter(Metric::PeerRefusedStale, PEER_REFUSED, PEER_REFUSED_HELP), "stale"),
    labelled(counter(Metric::PeerRefusedLimit, PEER_REFUSED, PEER_REFUSED_HELP), "limit"),
    labelled(counter(Metric::PeerRefusedMalformed, PEER_REFUSED, PEER_REFUSED_HELP), "malformed"),
    labelled(counter(Metric::PeerRefusedOversized, PEER_REFUSED, PEER_REFUSED_HELP), "oversized"),
    labelled(counter(Metric::PeerRefusedTimeout, PEER_REFUSED, PEER_REFUSED_HELP), "timeout"),
    labelled(counter(Metric::PeerRefusedTls, PEER_REFUSED, PEER_REFUSED_HELP), "tls"),
    labelled(counter(Metric::PeerRefusedUnknown, PEER_REFUSED, PEER_REFUSED_HELP), "unknown"),
    labelled(counter(Metric::PeerLostEnded, PEER_LOST, PEER_LOST_HELP), "ended"),
    labelled(counter(Metric::PeerLostSilent, PEER_LOST, PEER_LOST_HELP), "silent"),
    labelled(counter(Metric::PeerLostOverflow, PEER_LOST, PEER_LOST_HELP), "overflow"),
    labelled(counter(Metric::PeerLostMalformed, PEER_LOST, PEER_LOST_HELP), "malformed"),
    labelled(counter(Metric::PeerLostOversized, PEER_LOST, PEER_LOST_HELP), "oversized"),
    labelled(counter(Metric::PeerLostSuperseded, PEER_LOST, PEER_LOST_HELP), "superseded"),
    labelled(counter(Metric::PeerLostDeparted, PEER_LOST, PEER_LOST_HELP), "departed"),
    labelled(counter(Metric::PeerLostRenewed, PEER_LOST, PEER_LOST_HELP), "renewed"),
    labelled(counter(Metric::PeerLostDiffering, PEER_LOST, PEER_LOST_HELP), "differing"),
];

const _: () = {
    let mut place = 0;
    while place < METRICS.len() {
        assert!(METRICS[place].metric as usize == place, "METRICS is in the order of Metric");
        place += 1;
    }
};

/// The values of one shard, in the order of [`METRICS`].
#[derive(Debug)]
pub struct Counters {
    values: [AtomicU64; METRICS.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self { values: [const { AtomicU64::new(0) }; METRICS.len()] }
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
