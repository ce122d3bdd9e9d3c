//! What a shard counts: one writer each, read by whoever answers `/metrics`.
//!
//! Invariants: no label carries a channel, a user or an address; every drop has a reason; a value is written by its
//! shard only, so that counting is a plain store.

use std::sync::atomic::{AtomicU64, Ordering};

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
    AcceptFailures,
    Connections,
    ConnectionsMax,
    Upgrades,
    UpgradesRefusedBusy,
    UpgradesRefusedRequest,
    Sessions,
    Users,
    Channels,
    Subscriptions,
    ReceivedBytes,
    SentBytes,
    MessagesReceived,
    Commands,
    CommandErrors,
    Violations,
    Disconnects,
    PongTimeouts,
    Published,
    PublishRefused,
    PublishGaps,
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

const UPGRADES_REFUSED: &str = "roadstead_upgrades_refused_total";
const UPGRADES_REFUSED_HELP: &str = "Upgrade requests answered with an HTTP error status.";
const DELIVERIES_DROPPED: &str = "roadstead_deliveries_dropped_total";
const DELIVERIES_DROPPED_HELP: &str = "Publications not written to a subscriber's socket.";

/// Every metric of a shard.
pub static METRICS: [MetricSpec; 33] = [
    counter(Metric::Turns, "roadstead_turns_total", "Turns of the shards' loops."),
    counter(Metric::Accepted, "roadstead_connections_accepted_total", "Connections accepted."),
    counter(
        Metric::AcceptFailures,
        "roadstead_accept_failures_total",
        "Failed accepts: out of slots or descriptors.",
    ),
    gauge(Metric::Connections, "roadstead_connections", "Open connections."),
    gauge(Metric::ConnectionsMax, "roadstead_connections_max", "Connections that may be open."),
    counter(Metric::Upgrades, "roadstead_upgrades_total", "Requests upgraded to WebSocket."),
    labelled(counter(Metric::UpgradesRefusedBusy, UPGRADES_REFUSED, UPGRADES_REFUSED_HELP), "busy"),
    labelled(counter(Metric::UpgradesRefusedRequest, UPGRADES_REFUSED, UPGRADES_REFUSED_HELP), "request"),
    gauge(Metric::Sessions, "roadstead_sessions", "Clients that have connected in the client protocol."),
    gauge(Metric::Users, "roadstead_users", "Users connected, counted once in each shard."),
    gauge(Metric::Channels, "roadstead_channels", "Channels known, counted once in each shard."),
    gauge(Metric::Subscriptions, "roadstead_subscriptions", "Subscriptions."),
    counter(Metric::ReceivedBytes, "roadstead_received_bytes_total", "Bytes received from clients."),
    counter(Metric::SentBytes, "roadstead_sent_bytes_total", "Bytes handed to clients' sockets."),
    counter(Metric::MessagesReceived, "roadstead_messages_received_total", "WebSocket messages received."),
    counter(Metric::Commands, "roadstead_commands_total", "Client commands received."),
    counter(Metric::CommandErrors, "roadstead_command_errors_total", "Commands answered with an error."),
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
    counter(Metric::Published, "roadstead_publications_total", "Publications ordered by their hubs."),
    counter(
        Metric::PublishRefused,
        "roadstead_publications_refused_total",
        "Publications refused because a queue was full.",
    ),
    labelled(
        counter(
            Metric::PublishGaps,
            "roadstead_publications_dropped_total",
            "Publications lost between the hub and an interested shard.",
        ),
        "mailbox_full",
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
