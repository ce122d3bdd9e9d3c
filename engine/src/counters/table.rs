//! Names, meanings and labels of what a shard counts.

use super::{Kind, Metric, MetricSpec};

const fn counter(metric: Metric, name: &'static str, help: &'static str) -> MetricSpec {
    MetricSpec { metric, name, help, kind: Kind::Counter, label: None }
}

const fn gauge(metric: Metric, name: &'static str, help: &'static str) -> MetricSpec {
    MetricSpec { metric, name, help, kind: Kind::Gauge, label: None }
}

/// Name and meaning of a counter that several rows share, each with a label of its own.
type Family = (&'static str, &'static str);

const fn labelled(metric: Metric, family: Family, reason: &'static str) -> MetricSpec {
    MetricSpec { label: Some(("reason", reason)), ..counter(metric, family.0, family.1) }
}

const fn of_kind(metric: Metric, family: Family, kind: &'static str) -> MetricSpec {
    MetricSpec { label: Some(("kind", kind)), ..counter(metric, family.0, family.1) }
}

const fn of_outcome(metric: Metric, family: Family, outcome: &'static str) -> MetricSpec {
    MetricSpec { label: Some(("outcome", outcome)), ..counter(metric, family.0, family.1) }
}

const HISTORY_DROPPED: Family = (
    "roadstead_history_dropped_total",
    "Publications that left a history: too many or too large for their channel, too old, for want of memory of all, or since the channel has another owner.",
);
const RECOVERIES: Family = (
    "roadstead_recoveries_total",
    "Subscriptions of clients that came back with a position, by what became of it.",
);
const TLS_HANDSHAKES: Family =
    ("roadstead_tls_handshakes_total", "TLS handshakes with clients that were finished.");
const TLS_FAILED: Family = (
    "roadstead_tls_handshakes_failed_total",
    "TLS handshakes that went wrong, or were not begun since too many waited.",
);
const GUARD_REFUSED: Family = ("roadstead_guard_refused_total", "Connections that the guards refused.");
const GUARD_LATE: Family = (
    "roadstead_guard_late_total",
    "Connections closed since a handshake or a message that was begun, or the connect command, took too long.",
);
const GUARD_FAULTS: Family = (
    "roadstead_guard_faults_total",
    "What connections did wrong, which counts towards a ban of their source.",
);
const GUARD_PACED: Family = (
    "roadstead_guard_limited_total",
    "Subscribe and publish commands that came too fast (111), and sessions of users with too many connections (3504).",
);
const TOKENS_REFUSED: Family = (
    "roadstead_tokens_refused_total",
    "Tokens that opened nothing; unavailable and busy: for now, and whoever showed them was told to come back.",
);
const ACCEPT_FAILURES: Family = (
    "roadstead_accept_failures_total",
    "Times that accepting paused, with clients waiting in the backlog, by what there was too little of.",
);
const REFUSED: Family = (
    "roadstead_connections_refused_total",
    "Connections accepted only to be told 503, by the bound that was reached.",
);
const UPGRADES_REFUSED: Family =
    ("roadstead_upgrades_refused_total", "Upgrade requests answered with an HTTP error status.");
const SUBSCRIBES_REFUSED: Family =
    ("roadstead_subscribes_refused_total", "Subscribe commands that the rules of channels do not allow.");
const PUBLISHES_REFUSED: Family =
    ("roadstead_publishes_refused_total", "Publish commands that the rules of channels do not allow.");
const REVOKED: Family = (
    "roadstead_revoked_total",
    "Tokens that were taken back: shown by clients, or of connections and subscriptions that were ended.",
);
const PUBLICATIONS_DROPPED: Family = (
    "roadstead_publications_dropped_total",
    "Publications lost on their way from the owner to an interested shard.",
);
const DELIVERIES_DROPPED: Family =
    ("roadstead_deliveries_dropped_total", "Publications not written to a subscriber's socket.");
const PEER_DROPPED: Family =
    ("roadstead_peer_dropped_total", "What was to be said to another node and was not.");
const PEER_REFUSED: Family = (
    "roadstead_peer_links_refused_total",
    "Links between nodes that were refused, by this node or by the other.",
);
const PEER_LOST: Family = ("roadstead_peer_links_lost_total", "Links between nodes that were up and ended.");

/// Every metric of a shard.
pub static METRICS: [MetricSpec; 158] = [
    counter(Metric::Turns, "roadstead_turns_total", "Turns of the shards' loops."),
    counter(Metric::Accepted, "roadstead_connections_accepted_total", "Connections accepted."),
    labelled(Metric::AcceptLackSlots, ACCEPT_FAILURES, "slots"),
    labelled(Metric::AcceptLackDescriptors, ACCEPT_FAILURES, "descriptors"),
    labelled(Metric::AcceptLackFiles, ACCEPT_FAILURES, "files"),
    labelled(Metric::AcceptLackMemory, ACCEPT_FAILURES, "memory"),
    labelled(Metric::AcceptLackOther, ACCEPT_FAILURES, "other"),
    labelled(Metric::RefusedConnections, REFUSED, "connections"),
    labelled(Metric::RefusedDescriptors, REFUSED, "descriptors"),
    labelled(Metric::RefusedMemory, REFUSED, "memory"),
    gauge(Metric::Connections, "roadstead_connections", "Open connections."),
    gauge(Metric::ConnectionsMax, "roadstead_connections_max", "Connections that may be open."),
    counter(Metric::Upgrades, "roadstead_upgrades_total", "Requests upgraded to WebSocket."),
    labelled(Metric::UpgradesRefusedBusy, UPGRADES_REFUSED, "busy"),
    labelled(Metric::UpgradesRefusedRequest, UPGRADES_REFUSED, "request"),
    counter(Metric::TokensAccepted, "roadstead_tokens_accepted_total", "Tokens that were good."),
    labelled(Metric::TokensMalformed, TOKENS_REFUSED, "malformed"),
    labelled(Metric::TokensUnknownKey, TOKENS_REFUSED, "key"),
    labelled(Metric::TokensBadSignature, TOKENS_REFUSED, "signature"),
    labelled(Metric::TokensOtherAudience, TOKENS_REFUSED, "audience"),
    labelled(Metric::TokensOtherIssuer, TOKENS_REFUSED, "issuer"),
    labelled(Metric::TokensBadClaims, TOKENS_REFUSED, "claims"),
    labelled(Metric::TokensExpired, TOKENS_REFUSED, "expired"),
    labelled(Metric::TokensUnavailable, TOKENS_REFUSED, "unavailable"),
    labelled(Metric::TokensBusy, TOKENS_REFUSED, "busy"),
    gauge(
        Metric::TokensWaiting,
        "roadstead_tokens_waiting",
        "Tokens that wait to be judged, or for the verdict to be heard.",
    ),
    of_kind(Metric::TlsHandshakesFull, TLS_HANDSHAKES, "full"),
    of_kind(Metric::TlsHandshakesResumed, TLS_HANDSHAKES, "resumed"),
    labelled(Metric::TlsHandshakesFailed, TLS_FAILED, "failed"),
    labelled(Metric::TlsHandshakesRefused, TLS_FAILED, "busy"),
    gauge(
        Metric::TlsHandshakesWaiting,
        "roadstead_tls_handshakes_waiting",
        "Connections whose TLS handshake waits to begin.",
    ),
    labelled(Metric::GuardRefusedDenied, GUARD_REFUSED, "denied"),
    labelled(Metric::GuardRefusedBanned, GUARD_REFUSED, "banned"),
    labelled(Metric::GuardRefusedConnections, GUARD_REFUSED, "connections"),
    labelled(Metric::GuardRefusedRate, GUARD_REFUSED, "connects"),
    labelled(Metric::GuardRefusedProxy, GUARD_REFUSED, "no_proxy"),
    labelled(Metric::GuardRefusedHeader, GUARD_REFUSED, "proxy_header"),
    labelled(Metric::GuardRefusedOrigin, GUARD_REFUSED, "origin"),
    of_kind(Metric::GuardLateHandshake, GUARD_LATE, "handshake"),
    of_kind(Metric::GuardLateConnect, GUARD_LATE, "connect"),
    of_kind(Metric::GuardLateMessage, GUARD_LATE, "message"),
    of_kind(Metric::GuardFaultHandshake, GUARD_FAULTS, "handshake"),
    of_kind(Metric::GuardFaultToken, GUARD_FAULTS, "token"),
    of_kind(Metric::GuardFaultFrame, GUARD_FAULTS, "frame"),
    of_kind(Metric::GuardFaultRate, GUARD_FAULTS, "rate"),
    of_kind(Metric::GuardPacedSubscribes, GUARD_PACED, "subscribe"),
    of_kind(Metric::GuardPacedPublishes, GUARD_PACED, "publish"),
    of_kind(Metric::GuardCappedUsers, GUARD_PACED, "user"),
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
    gauge(
        Metric::SubscriptionTerms,
        "roadstead_subscription_terms",
        "Subscriptions that end with their token, or with its revocation.",
    ),
    counter(
        Metric::SubscriptionsExpired,
        "roadstead_subscriptions_expired_total",
        "Subscriptions ended since their token was over and the client had not refreshed it.",
    ),
    counter(Metric::ReceivedBytes, "roadstead_received_bytes_total", "Bytes received from clients."),
    counter(Metric::SentBytes, "roadstead_sent_bytes_total", "Bytes handed to clients' sockets."),
    counter(Metric::MessagesReceived, "roadstead_messages_received_total", "WebSocket messages received."),
    counter(Metric::Commands, "roadstead_commands_total", "Client commands received."),
    counter(Metric::CommandErrors, "roadstead_command_errors_total", "Commands answered with an error."),
    labelled(Metric::SubscribesRefusedNamespace, SUBSCRIBES_REFUSED, "unknown_namespace"),
    labelled(Metric::SubscribesRefusedName, SUBSCRIBES_REFUSED, "name"),
    labelled(Metric::SubscribesRefusedPrivate, SUBSCRIBES_REFUSED, "private"),
    labelled(Metric::SubscribesRefusedUnlisted, SUBSCRIBES_REFUSED, "not_listed"),
    labelled(Metric::SubscribesRefusedNotAllowed, SUBSCRIBES_REFUSED, "not_allowed"),
    labelled(Metric::SubscribesRefusedToken, SUBSCRIBES_REFUSED, "token"),
    labelled(Metric::PublishesRefusedNamespace, PUBLISHES_REFUSED, "unknown_namespace"),
    labelled(Metric::PublishesRefusedName, PUBLISHES_REFUSED, "name"),
    labelled(Metric::PublishesRefusedNotAllowed, PUBLISHES_REFUSED, "not_allowed"),
    labelled(Metric::PublishesRefusedNotSubscribed, PUBLISHES_REFUSED, "not_subscribed"),
    of_kind(Metric::RevokedConnect, REVOKED, "connect"),
    of_kind(Metric::RevokedRefresh, REVOKED, "refresh"),
    of_kind(Metric::RevokedSubscribe, REVOKED, "subscribe"),
    of_kind(Metric::RevokedSubRefresh, REVOKED, "sub_refresh"),
    of_kind(Metric::RevokedConnected, REVOKED, "connected"),
    of_kind(Metric::RevokedSubscribed, REVOKED, "subscribed"),
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
    labelled(Metric::PublishGaps, PUBLICATIONS_DROPPED, "mailbox_full"),
    labelled(Metric::PublishGapsLink, PUBLICATIONS_DROPPED, "link_full"),
    labelled(Metric::PublishGapsReset, PUBLICATIONS_DROPPED, "link_reset"),
    counter(
        Metric::Deliveries,
        "roadstead_deliveries_total",
        "Publications queued for a subscriber's socket.",
    ),
    labelled(Metric::DroppedOutboxFull, DELIVERIES_DROPPED, "outbox_full"),
    labelled(Metric::DroppedClosing, DELIVERIES_DROPPED, "closing"),
    labelled(Metric::DroppedUnsubscribed, DELIVERIES_DROPPED, "unsubscribed"),
    labelled(Metric::DroppedInsufficient, DELIVERIES_DROPPED, "insufficient_state"),
    gauge(Metric::Streams, "roadstead_history_channels", "Channels with a history that this node owns."),
    gauge(Metric::StreamPublications, "roadstead_history_publications", "Publications kept in memory."),
    gauge(
        Metric::StreamBytes,
        "roadstead_history_bytes",
        "Memory of channels' histories, as it is reckoned.",
    ),
    gauge(
        Metric::StreamBytesMax,
        "roadstead_history_bytes_max",
        "limits.history_bytes_per_shard, of all shards.",
    ),
    labelled(Metric::StreamDroppedCount, HISTORY_DROPPED, "count"),
    labelled(Metric::StreamDroppedBytes, HISTORY_DROPPED, "bytes"),
    labelled(Metric::StreamDroppedAge, HISTORY_DROPPED, "age"),
    labelled(Metric::StreamDroppedCeiling, HISTORY_DROPPED, "ceiling"),
    labelled(Metric::StreamDroppedMoved, HISTORY_DROPPED, "moved"),
    counter(
        Metric::StreamsForgotten,
        "roadstead_history_channels_forgotten_total",
        "Channels whose epoch was forgotten, since nothing was published for long, or for want of memory.",
    ),
    of_outcome(Metric::Recovered, RECOVERIES, "recovered"),
    of_outcome(Metric::RecoveriesFailed, RECOVERIES, "failed"),
    counter(
        Metric::RecoveredPublications,
        "roadstead_recovered_publications_total",
        "Publications that clients got when they subscribed.",
    ),
    counter(
        Metric::InsufficientStates,
        "roadstead_insufficient_states_total",
        "Subscriptions ended (2500, 3010) since they would have missed a publication.",
    ),
    counter(
        Metric::HistoryReads,
        "roadstead_history_reads_total",
        "History commands that were answered with a page.",
    ),
    counter(
        Metric::PositionChecks,
        "roadstead_position_checks_total",
        "Questions of shards to hubs, and of hubs to owners, whether something was missed.",
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
    labelled(Metric::PeerDroppedFull, PEER_DROPPED, "link_full"),
    labelled(Metric::PeerDroppedVoid, PEER_DROPPED, "session_over"),
    counter(
        Metric::PeerPublishRefused,
        "roadstead_peer_publications_refused_total",
        "Publications for another node refused because the queue of the link was full.",
    ),
    labelled(Metric::PeerRefusedKey, PEER_REFUSED, "key"),
    labelled(Metric::PeerRefusedCluster, PEER_REFUSED, "cluster"),
    labelled(Metric::PeerRefusedVersion, PEER_REFUSED, "version"),
    labelled(Metric::PeerRefusedNotInView, PEER_REFUSED, "not_in_view"),
    labelled(Metric::PeerRefusedDuplicate, PEER_REFUSED, "duplicate"),
    labelled(Metric::PeerRefusedStale, PEER_REFUSED, "stale"),
    labelled(Metric::PeerRefusedLimit, PEER_REFUSED, "limit"),
    labelled(Metric::PeerRefusedMalformed, PEER_REFUSED, "malformed"),
    labelled(Metric::PeerRefusedOversized, PEER_REFUSED, "oversized"),
    labelled(Metric::PeerRefusedTimeout, PEER_REFUSED, "timeout"),
    labelled(Metric::PeerRefusedTls, PEER_REFUSED, "tls"),
    labelled(Metric::PeerRefusedUnknown, PEER_REFUSED, "unknown"),
    labelled(Metric::PeerLostEnded, PEER_LOST, "ended"),
    labelled(Metric::PeerLostSilent, PEER_LOST, "silent"),
    labelled(Metric::PeerLostOverflow, PEER_LOST, "overflow"),
    labelled(Metric::PeerLostMalformed, PEER_LOST, "malformed"),
    labelled(Metric::PeerLostOversized, PEER_LOST, "oversized"),
    labelled(Metric::PeerLostSuperseded, PEER_LOST, "superseded"),
    labelled(Metric::PeerLostDeparted, PEER_LOST, "departed"),
    labelled(Metric::PeerLostRenewed, PEER_LOST, "renewed"),
    labelled(Metric::PeerLostDiffering, PEER_LOST, "differing"),
];

const _: () = {
    let mut place = 0;
    while place < METRICS.len() {
        assert!(METRICS[place].metric as usize == place, "METRICS is in the order of Metric");
        place += 1;
    }
};
