//! The table of Centrifugo's keys: their names, and what becomes of them here.
//!
//! Whether we have a setting is asked of our own tables when a file is imported: a row may name one that a later version has.

use super::form::Form;

/// A key of Centrifugo's.
pub(super) struct Row {
    /// In version 5, and in version 6 where it differs. One that ends in `*` stands for all that begin so.
    pub(super) names: &'static [&'static str],
    pub(super) fate: Fate,
    /// Keys, in version 5 and 6, of the flag without which it counts for nothing.
    pub(super) switch: &'static [&'static str],
}

/// What becomes of a key.
pub(super) enum Fate {
    /// Our setting means the same.
    Same(&'static str, Form),
    /// Our setting is near enough to take the value, and differs in this.
    Differs(&'static str, Form, &'static str),
    /// There is no setting: this value, as JSON, is what we do. For any other, this is to be done instead.
    Fixed(&'static str, &'static str),
    /// There is no setting and no need of one, for this reason.
    Moot(&'static str),
    /// What it turns on is always there, elsewhere.
    Elsewhere(&'static str),
    /// We have nothing like it; this is to be done instead.
    Nothing(&'static str),
    /// Half of the address that clients connect to.
    Listen,
    /// Half of the address of operators.
    Internal,
}

/// Where Centrifugo keeps the address and the port of each, in version 5 and 6.
pub(super) const ADDRESS: [&str; 2] = ["address", "http_server.address"];
pub(super) const PORT: [&str; 2] = ["port", "http_server.port"];
pub(super) const INTERNAL_ADDRESS: [&str; 2] = ["internal_address", "http_server.internal_address"];
pub(super) const INTERNAL_PORT: [&str; 2] = ["internal_port", "http_server.internal_port"];
/// The list of namespaces, in version 5 and 6.
pub(super) const NAMESPACES: [&str; 2] = ["namespaces", "channel.namespaces"];
/// Before the options of channels without a namespace; version 5 has them at the top.
pub(super) const WITHOUT_NAMESPACE: &str = "channel.without_namespace.";

const fn row(names: &'static [&'static str], fate: Fate) -> Row {
    Row { names, fate, switch: &[] }
}

const fn same(names: &'static [&'static str], ours: &'static str, form: Form) -> Row {
    row(names, Fate::Same(ours, form))
}

const fn differs(names: &'static [&'static str], ours: &'static str, form: Form, how: &'static str) -> Row {
    row(names, Fate::Differs(ours, form, how))
}

const fn nothing(names: &'static [&'static str], instead: &'static str) -> Row {
    row(names, Fate::Nothing(instead))
}

const fn moot(names: &'static [&'static str], why: &'static str) -> Row {
    row(names, Fate::Moot(why))
}

const fn with_tls(row: Row) -> Row {
    Row { switch: &["tls", "http_server.tls.enabled"], ..row }
}

const PEM: &str = "write the key to a file (PEM) and name it in token.public_key_files";
const SUBSCRIPTION_PEM: &str =
    "write the key to a file (PEM) and name it in subscription_token.public_key_files";
const HOOK: &str = "a backend cannot be asked this yet: say it in tokens, or stay until it can";
const FLEET: &str = "nodes need no broker and find each other: [cluster], docs/fleet.md";
const WEBSOCKET: &str = "let clients connect by WebSocket";
const GRPC: &str = "publish over HTTP";
const MEMORY: &str = "memory is bounded per shard: [limits], docs/limits.md";

/// The keys of the node.
pub(super) static NODE: &[Row] = &[
    row(&ADDRESS, Fate::Listen),
    row(&PORT, Fate::Listen),
    row(&INTERNAL_ADDRESS, Fate::Internal),
    row(&INTERNAL_PORT, Fate::Internal),
    with_tls(same(&["tls_cert", "http_server.tls.cert_pem_file"], "tls.certificate", Form::Path)),
    with_tls(same(&["tls_key", "http_server.tls.key_pem_file"], "tls.key", Form::Path)),
    with_tls(same(&["http_server.tls.cert_pem"], "tls.certificate", Form::Path)),
    with_tls(same(&["http_server.tls.key_pem"], "tls.key", Form::Path)),
    with_tls(same(
        &["tls_client_ca", "http_server.tls.client_ca_pem_file", "http_server.tls.client_ca_pem"],
        "tls.client_ca",
        Form::Path,
    )),
    moot(&["tls", "http_server.tls.enabled"], "tls.certificate and tls.key turn TLS on"),
    nothing(&["tls_*", "http_server.tls.*"], "see docs/tls.md for what [tls] offers"),
    nothing(
        &["tls_autocert*", "http_server.tls_autocert.*"],
        "let an ACME client renew the files that [tls] names: they are read again when they change",
    ),
    nothing(
        &["tls_external", "http_server.tls_external"],
        "TLS is on the listen addresses only; keep admin on loopback",
    ),
    nothing(&["http3", "http_server.http3.*"], WEBSOCKET),
    nothing(&["admin_external", "http_server.*"], "see docs/configuration.md for listen and admin"),
    same(&["name", "node.name"], "node.name", Form::Text),
    moot(
        &["node_info_metrics_aggregate_interval", "node.info_metrics_aggregate_interval"],
        "metrics are read when they are asked for",
    ),
    same(&["log_level", "log.level"], "log.level", Form::LogLevel),
    nothing(&["log_file", "log.file"], "the log goes to stderr: let the service manager keep it"),
    nothing(&["pid_file"], "the service manager knows the process: deploy/roadstead.service"),
    moot(&["gomaxprocs"], "shards are the threads; by default as many as cores"),
    moot(&["usage_stats_disable", "usage_stats.*"], "nothing is told to anybody"),
    // Who may connect.
    same(&["allowed_origins", "client.allowed_origins"], "client.allowed_origins", Form::Texts),
    same(
        &["allow_anonymous_connect_without_token", "client.allow_anonymous_connect_without_token"],
        "client.allow_anonymous",
        Form::Flag,
    ),
    row(
        &["disallow_anonymous_connection_tokens", "client.disallow_anonymous_connection_tokens"],
        Fate::Fixed("false", "mint no tokens without a user (sub)"),
    ),
    nothing(&["client_insecure", "client.insecure"], "use serve --insecure, for development, on loopback"),
    nothing(
        &["client_insecure_skip_token_signature_verify", "client.insecure_skip_token_signature_verify"],
        "sign tokens; for development there is serve --insecure",
    ),
    nothing(&["client_user_id_http_header", "client.user_id_http_header"], "let the backend mint tokens"),
    same(&["token_hmac_secret_key", "client.token.hmac_secret_key"], "token.hmac_secret", Form::Text),
    same(&["token_jwks_public_endpoint", "client.token.jwks_public_endpoint"], "token.jwks_url", Form::Text),
    nothing(&["token_rsa_public_key", "client.token.rsa_public_key"], PEM),
    nothing(&["token_ecdsa_public_key", "client.token.ecdsa_public_key"], PEM),
    same(&["token_audience", "client.token.audience"], "token.audience", Form::Text),
    differs(
        &["token_audience_regex", "client.token.audience_regex"],
        "token.audience_regex",
        Form::Text,
        "the pattern must fit the audience as a whole; named groups do not fill a key set's address",
    ),
    same(&["token_issuer", "client.token.issuer"], "token.issuer", Form::Text),
    differs(
        &["token_issuer_regex", "client.token.issuer_regex"],
        "token.issuer_regex",
        Form::Text,
        "the pattern must fit the issuer as a whole; named groups do not fill a key set's address",
    ),
    row(
        &["token_user_id_claim", "client.token.user_id_claim"],
        Fate::Fixed("\"sub\"", "name the user in the claim sub"),
    ),
    same(
        &["separate_subscription_token_config", "client.subscription_token.enabled"],
        "subscription_token.enabled",
        Form::Flag,
    ),
    same(
        &["subscription_token_hmac_secret_key", "client.subscription_token.hmac_secret_key"],
        "subscription_token.hmac_secret",
        Form::Text,
    ),
    same(
        &["subscription_token_jwks_public_endpoint", "client.subscription_token.jwks_public_endpoint"],
        "subscription_token.jwks_url",
        Form::Text,
    ),
    nothing(
        &["subscription_token_rsa_public_key", "client.subscription_token.rsa_public_key"],
        SUBSCRIPTION_PEM,
    ),
    nothing(
        &["subscription_token_ecdsa_public_key", "client.subscription_token.ecdsa_public_key"],
        SUBSCRIPTION_PEM,
    ),
    same(
        &["subscription_token_audience", "client.subscription_token.audience"],
        "subscription_token.audience",
        Form::Text,
    ),
    same(
        &["subscription_token_issuer", "client.subscription_token.issuer"],
        "subscription_token.issuer",
        Form::Text,
    ),
    // Connections.
    same(&["ping_interval", "client.ping_interval"], "client.ping_s", Form::Seconds),
    same(&["pong_timeout", "client.pong_timeout"], "client.pong_timeout_s", Form::Seconds),
    same(&["client_stale_close_delay", "client.stale_close_delay"], "client.stale_close_s", Form::Seconds),
    same(
        &["client_expired_close_delay", "client.expired_close_delay"],
        "client.token_grace_s",
        Form::Seconds,
    ),
    differs(
        &["client_expired_sub_close_delay", "client.expired_sub_close_delay"],
        "client.token_grace_s",
        Form::Seconds,
        "connection and subscription tokens have one grace",
    ),
    same(&["client_channel_limit", "client.channel_limit"], "limits.channels_per_client", Form::Whole),
    same(&["client_queue_max_size", "client.queue_max_size"], "limits.outbox_bytes", Form::Whole),
    moot(&["client_concurrency", "client.concurrency"], "the commands of a client are done in order"),
    same(&["client_connection_limit", "client.connection_limit"], "limits.connections", Form::WholeOrNone),
    differs(
        &["client_user_connection_limit", "client.user_connection_limit"],
        "guard.connections_per_user",
        Form::Whole,
        "the connection too many is closed with 3504",
    ),
    nothing(
        &["client_connection_rate_limit", "client.connection_rate_limit"],
        "guard.connects_per_s bounds each source, tls.handshakes_per_s each shard",
    ),
    same(
        &["client_history_max_publication_limit", "client.history_max_publication_limit"],
        "client.history_max_publication_limit",
        Form::Whole,
    ),
    same(
        &["client_recovery_max_publication_limit", "client.recovery_max_publication_limit"],
        "client.recovery_max_publication_limit",
        Form::Whole,
    ),
    same(
        &["client_channel_position_check_delay", "client.channel_position_check_delay"],
        "client.channel_position_check_delay",
        Form::Duration,
    ),
    moot(
        &["client_presence_update_interval", "client.presence_update_interval"],
        "presence follows connections; nothing renews it",
    ),
    nothing(
        &["client_connect_include_server_time", "client.connect_include_server_time"],
        "let the backend tell clients the time",
    ),
    same(
        &["user_subscribe_to_personal", "client.subscribe_to_user_personal_channel.enabled"],
        "client.user_personal_channel",
        Form::Flag,
    ),
    nothing(
        &[
            "user_personal_channel_namespace",
            "client.subscribe_to_user_personal_channel.personal_channel_namespace",
        ],
        "the channel is #user, of [channel]",
    ),
    nothing(
        &["user_personal_single_connection", "client.subscribe_to_user_personal_channel.single_connection"],
        "guard.connections_per_user = 1 refuses the newer connection, and does not close the older",
    ),
    nothing(
        &["client.*", "client_*"],
        "see docs/configuration.md for what [client], [limits] and [guard] offer",
    ),
    // Transports.
    row(
        &["websocket_disable", "websocket.disabled"],
        Fate::Fixed("false", "the WebSocket end point is always there; block its path in the proxy"),
    ),
    row(
        &["websocket_handler_prefix", "websocket.handler_prefix"],
        Fate::Fixed("\"/connection/websocket\"", "rewrite the path in the proxy, to /connection/websocket"),
    ),
    same(&["websocket_compression", "websocket.compression"], "compression.enabled", Form::Flag),
    same(
        &["websocket_compression_min_size", "websocket.compression_min_size"],
        "compression.min_bytes",
        Form::Whole,
    ),
    same(&["websocket_compression_level", "websocket.compression_level"], "compression.effort", Form::Whole),
    same(
        &["websocket_message_size_limit", "websocket.message_size_limit"],
        "limits.message_bytes",
        Form::Whole,
    ),
    differs(
        &["websocket_write_timeout", "websocket.write_timeout"],
        "limits.slow_close_ms",
        Form::Milliseconds,
        "it is how long a connection may stay blocked, however often it is written to",
    ),
    moot(&["websocket_read_buffer_size", "websocket.read_buffer_size"], MEMORY),
    moot(&["websocket_write_buffer_size", "websocket.write_buffer_size"], MEMORY),
    moot(&["websocket_use_write_buffer_pool", "websocket.use_write_buffer_pool"], MEMORY),
    moot(&["websocket_compression_prepared_message_cache_size"], "a publication is deflated once for all"),
    same(&["http_stream", "http_stream.enabled"], "transport.http_stream", Form::Flag),
    same(&["sse", "sse.enabled"], "transport.sse", Form::Flag),
    same(&["uni_websocket", "uni_websocket.enabled"], "transport.uni_websocket", Form::Flag),
    same(&["uni_sse", "uni_sse.enabled"], "transport.uni_sse", Form::Flag),
    nothing(
        &[
            "http_stream_*",
            "http_stream.*",
            "sse_*",
            "sse.*",
            "uni_*",
            "webtransport*",
            "emulation*",
            "websocket.*",
            "websocket_*",
        ],
        WEBSOCKET,
    ),
    // The server API and what is beside it.
    same(&["api_key", "http_api.key"], "api.keys", Form::OneText),
    nothing(&["api_insecure", "http_api.insecure"], "give the back ends a key"),
    nothing(
        &["api_*", "http_api.*"],
        "the server API is on the admin address, below /api; keep that from strangers",
    ),
    nothing(&["grpc_api*"], GRPC),
    row(
        &["prometheus", "prometheus.enabled"],
        Fate::Elsewhere(
            "metrics are always at /metrics of the admin address, with names of our own: docs/operations.md",
        ),
    ),
    row(
        &["health", "health.enabled"],
        Fate::Elsewhere("probes are always at /live and /ready of the admin address: docs/operations.md"),
    ),
    row(
        &["admin", "admin.enabled"],
        Fate::Elsewhere("a page is always at / of the admin address; it shows this node's numbers"),
    ),
    nothing(
        &["admin_*", "admin.*"],
        "beyond loopback the admin address asks for admin_key; on loopback for nothing",
    ),
    nothing(
        &["swagger*", "debug*", "prometheus_*", "prometheus.*", "health_*", "health.*"],
        "the paths are fixed: docs/operations.md",
    ),
    nothing(&["graphite*", "opentelemetry*"], "collect /metrics with Prometheus"),
    differs(
        &["shutdown_timeout", "shutdown.timeout"],
        "shutdown.window_ms",
        Form::Milliseconds,
        "clients are closed evenly over this time, and /ready fails for shutdown.ready_delay_ms before",
    ),
    differs(
        &["shutdown_termination_delay", "shutdown.termination_delay"],
        "shutdown.ready_delay_ms",
        Form::Milliseconds,
        "the delay is before clients are closed, while /ready fails",
    ),
    // Channels of all kinds.
    same(&["channel_max_length", "channel.max_length"], "limits.channel_bytes", Form::Whole),
    row(&["channel_private_prefix", "channel.private_prefix"], Fate::Fixed("\"$\"", "rename the channels")),
    row(
        &["channel_namespace_boundary", "channel.namespace_boundary"],
        Fate::Fixed("\":\"", "rename the channels"),
    ),
    row(&["channel_user_boundary", "channel.user_boundary"], Fate::Fixed("\"#\"", "rename the channels")),
    row(&["channel_user_separator", "channel.user_separator"], Fate::Fixed("\",\"", "rename the channels")),
    differs(
        &["global_history_meta_ttl", "channel.history_meta_ttl"],
        "channel.history_meta_ttl",
        Form::Duration,
        "it counts for channels without a namespace: give it in each namespace that differs from the default",
    ),
    // Other machines.
    row(&["engine", "engine.type"], Fate::Fixed("\"memory\"", FLEET)),
    row(&["broker", "broker.type"], Fate::Fixed("\"memory\"", FLEET)),
    row(&["presence_manager", "presence_manager.type"], Fate::Fixed("\"memory\"", FLEET)),
    row(&["broker.enabled", "presence_manager.enabled"], Fate::Fixed("false", FLEET)),
    nothing(
        &[
            "redis*",
            "nats*",
            "tarantool*",
            "engine.*",
            "broker.*",
            "broker_*",
            "presence_manager.*",
            "presence_manager_*",
        ],
        FLEET,
    ),
    nothing(
        &["proxy_*", "proxies*", "granular_proxy_mode", "unified_proxy.*", "channel.proxy.*", "rpc*"],
        HOOK,
    ),
    nothing(&["consumers*"], "let a program of yours read the queue or table, and publish over HTTP"),
];

/// The options of channels. Version 5 and 6 have the same, and most are called as ours.
pub(super) static CHANNEL: &[Row] = &[
    same(&["presence"], "presence", Form::Flag),
    same(&["join_leave"], "join_leave", Form::Flag),
    same(&["force_push_join_leave"], "force_push_join_leave", Form::Flag),
    same(&["history_size"], "history_size", Form::Whole),
    same(&["history_ttl"], "history_ttl", Form::Duration),
    same(&["history_meta_ttl"], "history_meta_ttl", Form::Duration),
    same(&["force_positioning"], "force_positioning", Form::Flag),
    same(&["allow_positioning"], "allow_positioning", Form::Flag),
    same(&["force_recovery"], "force_recovery", Form::Flag),
    same(&["allow_recovery"], "allow_recovery", Form::Flag),
    same(&["force_recovery_mode"], "force_recovery_mode", Form::Text),
    same(&["auto_cache_recover"], "auto_cache_recover", Form::Flag),
    same(&["allowed_delta_types"], "allowed_delta_types", Form::Texts),
    same(&["delta_publish"], "delta_publish", Form::Flag),
    same(&["allow_tags_filter"], "allow_tags_filter", Form::Flag),
    same(&["allow_subscribe_for_client"], "allow_subscribe_for_client", Form::Flag),
    same(&["allow_subscribe_for_anonymous"], "allow_subscribe_for_anonymous", Form::Flag),
    same(&["allow_publish_for_client"], "allow_publish_for_client", Form::Flag),
    same(&["allow_publish_for_subscriber"], "allow_publish_for_subscriber", Form::Flag),
    same(&["allow_publish_for_anonymous"], "allow_publish_for_anonymous", Form::Flag),
    same(&["allow_presence_for_client"], "allow_presence_for_client", Form::Flag),
    same(&["allow_presence_for_subscriber"], "allow_presence_for_subscriber", Form::Flag),
    same(&["allow_presence_for_anonymous"], "allow_presence_for_anonymous", Form::Flag),
    same(&["allow_history_for_client"], "allow_history_for_client", Form::Flag),
    same(&["allow_history_for_subscriber"], "allow_history_for_subscriber", Form::Flag),
    same(&["allow_history_for_anonymous"], "allow_history_for_anonymous", Form::Flag),
    same(&["allow_user_limited_channels"], "allow_user_limited_channels", Form::Flag),
    same(&["channel_regex"], "channel_regex", Form::Text),
    same(&["publication_data_format"], "publication_data_format", Form::Text),
    nothing(
        &[
            "proxy_subscribe",
            "proxy_publish",
            "proxy_sub_refresh",
            "proxy_subscribe_stream",
            "subscribe_proxy_*",
            "publish_proxy_*",
            "sub_refresh_proxy_*",
            "subscribe_stream_proxy_*",
            "cache_empty_proxy_*",
        ],
        HOOK,
    ),
];
