//! The table of the node's settings: each key once, with what is allowed, its place and its meaning.
//!
//! A new setting is a field in [`Settings`] and a row here, or in [`super::channels`] if each namespace has its own; file,
//! environment, flags (`--set`), checking and printing follow from the row. Defaults are those of [`Settings::default`].

use roadstead_control::limits::WEIGHT_MAX;
use roadstead_io::Choice;

use super::slot::{NAME, Slot};
use super::token_table;
use super::{api, guards, words};
use crate::limits::{
    BACKLOG_DEFAULT, HANDSHAKE_BYTES_MAX, HISTORY_SIZE_MAX, MEMORY_BYTES_MIN, SEEDS_MAX, SHARDS_MAX,
    TLS_CERTIFICATES_MAX,
};
use crate::settings::{KernelTls, Settings};

/// One setting of `S`.
pub(super) struct Row<S = Settings> {
    /// Dotted key, within `S`.
    pub(super) key: &'static str,
    pub(super) slot: Slot<S>,
    /// Whether a reload applies a new value; the others need a restart.
    pub(super) live: bool,
    /// One line for operators.
    pub(super) doc: &'static str,
}

pub(super) const fn fixed(key: &'static str, slot: Slot, doc: &'static str) -> Row {
    Row { key, slot, live: false, doc }
}

pub(super) const fn live<S>(key: &'static str, slot: Slot<S>, doc: &'static str) -> Row<S> {
    Row { key, slot, live: true, doc }
}

/// Most connections of one node: 20 million records are 10 GiB of reserved address space, and no machine of today
/// holds the kernel's share of more.
const CONNECTIONS_MAX: u32 = 20_000_000;
/// Largest message: a larger one would hold a shard's turn for too long.
const MESSAGE_BYTES_MAX: u32 = 64 << 20;

/// All settings, in the order in which they are printed.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(token_table::ROWS).chain(guards::ROWS).chain(api::ROWS)
}

static TABLE: &[Row] = &[
    fixed(
        "listen",
        Slot::Addresses { at: |s| &mut s.listen, min: 1, max: 16 },
        "where clients connect; port 0 lets the kernel choose",
    ),
    fixed(
        "admin",
        Slot::Address(|s| &mut s.admin),
        "where operators, probes and Prometheus connect; beyond loopback it needs admin_key",
    ),
    fixed("admin_key", Slot::Secret { at: |s| &mut s.admin_key }, "key that TCP admin requests must show"),
    fixed(
        "admin_socket",
        Slot::Path(|s| &mut s.admin_socket),
        "Unix socket of the command line; not set: roadstead's runtime directory",
    ),
    fixed(
        "data_dir",
        Slot::Path(|s| &mut s.data_dir),
        "folder of this node's own for what must survive a restart: what is revoked; not set: it does not",
    ),
    fixed(
        "shards",
        Slot::Small { at: |s| &mut s.shards, min: 1, max: SHARDS_MAX },
        "threads that serve clients; default: the cores this process may use",
    ),
    fixed(
        "io",
        Slot::Word {
            allowed: "auto, io_uring or epoll",
            set: |s, word| word.parse::<Choice>().map(|io| s.io = io).is_ok(),
            get: |s| s.io.to_string(),
        },
        "io back end; auto takes io_uring where the kernel allows it",
    ),
    fixed(
        "insecure",
        Slot::Flag(|s| &mut s.insecure),
        "development: lets everybody in and allows everything; only on loopback",
    ),
    fixed(
        "insecure_force",
        Slot::Flag(|s| &mut s.insecure_force),
        "allows insecure on addresses that others can reach",
    ),
    fixed("echo", Slot::Flag(|s| &mut s.echo), "serves /echo, a raw WebSocket echo"),
    fixed(
        "compression.enabled",
        Slot::Flag(|s| &mut s.compression.enabled),
        "deflates messages of clients that offer it (permessage-deflate); pays on networks that are slow or dear",
    ),
    fixed(
        "compression.effort",
        Slot::Count { at: |s| &mut s.compression.effort, min: 1, max: 9 },
        "1 is quick, 9 is small",
    ),
    fixed(
        "compression.min_bytes",
        Slot::Bytes { at: |s| &mut s.compression.min_bytes, min: 0, max: MESSAGE_BYTES_MAX },
        "messages below are sent as they are",
    ),
    fixed(
        "compression.takeover",
        Slot::Flag(|s| &mut s.compression.takeover),
        "lets clients' messages lean on earlier ones, which keeps a window for each of them",
    ),
    fixed(
        "compression.window_bits",
        Slot::Count { at: |s| &mut s.compression.window_bits, min: 8, max: 15 },
        "size of such a window, as an exponent: 12 is 4 KiB",
    ),
    fixed(
        "compression.window_bytes_per_shard",
        Slot::Bytes { at: |s| &mut s.compression.window_bytes_per_shard, min: 0, max: u32::MAX },
        "memory of a shard for such windows; then further clients do without",
    ),
    fixed(
        "node.name",
        Slot::Name(|s| &mut s.node.name),
        "name in the fleet, in logs and status; not set: made from the host's name",
    ),
    fixed(
        "node.region",
        Slot::Word { allowed: NAME, set: words::set_region, get: |s| s.node.region.as_str().into() },
        "where the node stands; a fleet is of one region",
    ),
    fixed(
        "node.weight",
        Slot::Small { at: |s| &mut s.node.weight, min: 1, max: WEIGHT_MAX },
        "share of the channels, relative to other nodes' weights",
    ),
    fixed(
        "cluster.name",
        Slot::Word { allowed: NAME, set: words::set_cluster, get: |s| s.cluster.name.as_str().into() },
        "name of the fleet; nodes of another one are refused",
    ),
    fixed(
        "cluster.listen",
        Slot::Address(|s| &mut s.cluster.listen),
        "where other nodes reach this one, UDP and TCP; off: the node is no part of a fleet",
    ),
    fixed(
        "cluster.advertise",
        Slot::Address(|s| &mut s.cluster.advertise),
        "address that other nodes are told, where cluster.listen is none of one interface; off: cluster.listen",
    ),
    fixed(
        "cluster.join",
        Slot::Addresses { at: |s| &mut s.cluster.join, min: 0, max: SEEDS_MAX },
        "nodes to join through; with its own address among them, the node starts the fleet if none answers in 3 s",
    ),
    fixed(
        "cluster.key_file",
        Slot::Path(|s| &mut s.cluster.key_file),
        "keys of the fleet, one a line (roadstead cluster-key makes one); the first seals, all open",
    ),
    live(
        "cluster.tls_certificate",
        Slot::Path(|s| &mut s.cluster.tls_certificate),
        "certificate chain (PEM) shown to other nodes; with its key and tls_ca, links between nodes are TLS, on all of them",
    ),
    live("cluster.tls_key", Slot::Path(|s| &mut s.cluster.tls_key), "private key (PEM) of that certificate"),
    live(
        "cluster.tls_ca",
        Slot::Path(|s| &mut s.cluster.tls_ca),
        "authorities (PEM) of other nodes' certificates",
    ),
    fixed(
        "cluster.alone",
        Slot::Flag(|s| &mut s.cluster.alone),
        "serves at once, without waiting for another node to answer",
    ),
    fixed(
        "cluster.links_per_peer",
        Slot::Small { at: |s| &mut s.cluster.links_per_peer, min: 1, max: SHARDS_MAX },
        "links to each other node; default: one for each shard, at most 4",
    ),
    fixed(
        "cluster.link_queue_bytes",
        Slot::Bytes { at: |s| &mut s.cluster.link_queue_bytes, min: 1 << 20, max: 1 << 30 },
        "queued output of one link; then publications to the other node are refused with 111 or dropped and counted",
    ),
    fixed(
        "limits.connections",
        Slot::Count { at: |s| &mut s.limits.connections, min: 1, max: CONNECTIONS_MAX },
        "connections of the node; one more gets 503 with Retry-After",
    ),
    fixed(
        "limits.memory_bytes",
        Slot::Ceiling { at: |s| &mut s.limits.memory_bytes, min: MEMORY_BYTES_MIN },
        "memory of the process and of its sockets in the kernel; past it new clients get 503; auto: 80 % of the machine's or control group's",
    ),
    fixed(
        "limits.message_bytes",
        Slot::Bytes { at: |s| &mut s.limits.message_bytes, min: 1 << 10, max: MESSAGE_BYTES_MAX },
        "one message of a client; a larger one is closed with 1009",
    ),
    fixed(
        "limits.echo_message_bytes",
        Slot::Bytes { at: |s| &mut s.limits.echo_message_bytes, min: 1 << 10, max: MESSAGE_BYTES_MAX },
        "one message on /echo; a larger one is closed with 1009",
    ),
    fixed(
        "limits.fragments",
        Slot::Count { at: |s| &mut s.limits.fragments, min: 1, max: 131_072 },
        "fragments of one message; more are closed with 1009",
    ),
    fixed(
        "limits.handshake_bytes",
        Slot::Bytes { at: |s| &mut s.limits.handshake_bytes, min: 1 << 10, max: HANDSHAKE_BYTES_MAX },
        "head of an upgrade request; a larger one gets 431",
    ),
    fixed(
        "limits.inbound_bytes_per_shard",
        Slot::Bytes { at: |s| &mut s.limits.inbound_bytes_per_shard, min: 1 << 20, max: u32::MAX },
        "memory of a shard for heads and messages that are still incomplete; then new ones are refused",
    ),
    fixed(
        "limits.channels_per_client",
        Slot::Count { at: |s| &mut s.limits.channels_per_client, min: 1, max: 65_535 },
        "subscriptions of one connection; one more is answered with error 106",
    ),
    fixed(
        "limits.channel_bytes",
        Slot::Count { at: |s| &mut s.limits.channel_bytes, min: 1, max: 255 },
        "length of a channel name; a longer one is a bad request",
    ),
    fixed(
        "limits.outbox_bytes",
        Slot::Bytes { at: |s| &mut s.limits.outbox_bytes, min: 4 << 10, max: 1 << 30 },
        "queued output of one connection; past it the connection is closed with 3008",
    ),
    fixed(
        "limits.outbox_messages",
        Slot::Count { at: |s| &mut s.limits.outbox_messages, min: 16, max: 65_536 },
        "queued messages of one connection; past it the connection is closed with 3008",
    ),
    fixed(
        "limits.slow_close_ms",
        Slot::Count { at: |s| &mut s.limits.slow_close_ms, min: 100, max: 600_000 },
        "how long a connection may stay blocked before it is closed with 3008",
    ),
    fixed(
        "limits.mailbox_messages",
        Slot::Count { at: |s| &mut s.limits.mailbox_messages, min: 64, max: 1 << 20 },
        "messages waiting from one shard to another; then publications are refused with 111",
    ),
    live(
        "limits.history_bytes_per_shard",
        Slot::Bytes { at: |s| &mut s.limits.history_bytes_per_shard, min: 1 << 20, max: u32::MAX },
        "memory of a shard for channels' histories; then the oldest publications of the channel that was silent longest go",
    ),
    fixed(
        "client.ping_s",
        Slot::Count { at: |s| &mut s.client.ping_s, min: 0, max: 3_600 },
        "seconds between pings; 0 sends none",
    ),
    fixed(
        "client.pong_timeout_s",
        Slot::Count { at: |s| &mut s.client.pong_timeout_s, min: 1, max: 3_600 },
        "seconds until an unanswered ping closes with 3012; shorter than ping_s",
    ),
    fixed(
        "client.stale_close_s",
        Slot::Count { at: |s| &mut s.client.stale_close_s, min: 1, max: 600 },
        "seconds until a client without a valid connect is closed with 3502",
    ),
    fixed(
        "client.close_timeout_s",
        Slot::Count { at: |s| &mut s.client.close_timeout_s, min: 1, max: 60 },
        "seconds to wait for the answer to a close frame",
    ),
    fixed(
        "client.handshake_timeout_s",
        Slot::Count { at: |s| &mut s.client.handshake_timeout_s, min: 1, max: 600 },
        "seconds in which TLS and the upgrade must be complete",
    ),
    fixed(
        "client.message_timeout_s",
        Slot::Count { at: |s| &mut s.client.message_timeout_s, min: 1, max: 3_600 },
        "seconds in which a message must be complete; with pings it is looked at once a ping",
    ),
    fixed(
        "client.token_grace_s",
        Slot::Count { at: |s| &mut s.client.token_grace_s, min: 0, max: 3_600 },
        "seconds after the end of a token in which the client may refresh it",
    ),
    fixed(
        "client.user_personal_channel",
        Slot::Flag(|s| &mut s.client.user_personal_channel),
        "subscribes each user to the channel #user",
    ),
    fixed(
        "client.allow_anonymous",
        Slot::Flag(|s| &mut s.client.allow_anonymous),
        "lets clients without a token in, without a user",
    ),
    live(
        "client.allowed_origins",
        Slot::Texts { at: |s| &mut s.client.allowed_origins, max: 256 },
        "browser origins besides the host itself, such as https://example.com or https://*.example.com; * allows all",
    ),
    live(
        "client.history_max_publication_limit",
        Slot::Count { at: |s| &mut s.client.history_max_publication_limit, min: 1, max: HISTORY_SIZE_MAX },
        "publications that one history command reads at most",
    ),
    live(
        "client.recovery_max_publication_limit",
        Slot::Count { at: |s| &mut s.client.recovery_max_publication_limit, min: 1, max: HISTORY_SIZE_MAX },
        "publications that one recovery brings back; who missed more is told that it cannot recover",
    ),
    live(
        "client.channel_position_check_delay",
        Slot::Duration {
            at: |s| &mut s.client.channel_position_check_delay_ms,
            min_ms: 100,
            max_ms: 3_600_000,
        },
        "between two looks whether positioned subscriptions have missed something",
    ),
    live(
        "tls.certificate",
        Slot::Path(|s| &mut s.tls.certificate),
        "certificate chain (PEM); with it and its key, every listen address speaks TLS",
    ),
    live("tls.key", Slot::Path(|s| &mut s.tls.key), "private key (PEM) of the certificate"),
    live(
        "tls.certificates",
        Slot::Texts { at: |s| &mut s.tls.certificates, max: TLS_CERTIFICATES_MAX },
        "certificates for further hosts: CHAIN:KEY, or one file with both; shown to clients that ask for a host they name",
    ),
    live(
        "tls.client_ca",
        Slot::Path(|s| &mut s.tls.client_ca),
        "authorities (PEM) of clients' certificates; without it clients are not asked for one",
    ),
    live(
        "tls.client_certificates",
        Slot::Word {
            allowed: "required or optional",
            set: words::set_client_certificates,
            get: words::client_certificates,
        },
        "whether a client without a certificate is refused, where tls.client_ca is set",
    ),
    live(
        "tls.client_user",
        Slot::Word {
            allowed: "off, common_name, dns, email or uri",
            set: words::set_client_user,
            get: |s| s.tls.client_user.word().into(),
        },
        "name in a verified client certificate that is the user of a client without a token",
    ),
    fixed(
        "tls.handshakes_per_s",
        Slot::Count { at: |s| &mut s.tls.handshakes_per_s, min: 0, max: 1_000_000 },
        "TLS handshakes that each shard begins in a second; others wait, or are closed if they are too many; 0: no limit",
    ),
    fixed(
        "tls.kernel",
        Slot::Word {
            allowed: "auto or off",
            set: words::set_kernel_tls,
            get: |s| KernelTls::WORDS[s.tls.kernel as usize].1.into(),
        },
        "whether the node looks for TLS in the kernel at start; it says what it found, and makes records itself in any case",
    ),
    live(
        "log.level",
        Slot::Word { allowed: "error, warn, info, debug or trace", set: words::set_level, get: words::level },
        "least important level that is logged",
    ),
    fixed(
        "log.format",
        Slot::Word { allowed: "text or json", set: words::set_format, get: words::format },
        "form of a log line on stderr",
    ),
    live(
        "shutdown.ready_delay_ms",
        Slot::Count { at: |s| &mut s.shutdown.ready_delay_ms, min: 0, max: 600_000 },
        "how long a draining node still accepts clients, so that load balancers notice; 0 with insecure",
    ),
    live(
        "shutdown.window_ms",
        Slot::Count { at: |s| &mut s.shutdown.window_ms, min: 0, max: 3_600_000 },
        "time over which a draining node closes its clients, evenly; 0 with insecure",
    ),
    live(
        "shutdown.max_rate",
        Slot::Count { at: |s| &mut s.shutdown.max_rate, min: 1, max: 1_000_000 },
        "clients that a draining node closes in a second at most; more clients stretch the window",
    ),
    fixed(
        "shutdown.close_ms",
        Slot::Count { at: |s| &mut s.shutdown.close_ms, min: 100, max: 300_000 },
        "time for the last goodbyes, after the clients were drained",
    ),
    fixed(
        "net.congestion",
        Slot::Word {
            allowed: "auto, system, or a name from net.ipv4.tcp_allowed_congestion_control",
            set: words::set_congestion,
            get: words::congestion,
        },
        "TCP congestion control of client connections",
    ),
    fixed(
        "net.backlog",
        Slot::Count { at: |s| &mut s.net.backlog, min: 1, max: BACKLOG_DEFAULT },
        "connections of a listener that may wait to be accepted; the kernel takes no more than net.core.somaxconn",
    ),
];
