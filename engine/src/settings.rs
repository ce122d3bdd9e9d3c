//! Everything an operator can decide about a node, as plain typed values with their defaults.
//!
//! Invariants: no parsing, no file, no environment here; [`crate::config`] fills these structs and is the only
//! place that knows keys and allowed ranges. Units are in the names.

mod api;
mod channel;
mod guard;
mod tls;
mod token;
mod web_address;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use roadstead_control::{ClusterName, Region, Weight};
use roadstead_io::{Choice, Congestion};

pub use api::Api;
pub use channel::{Channel, History, NamePattern, RecoveryMode, is_namespace, split_name};
pub use guard::{ForwardedHeader, Guard, Proxy};
pub use tls::{ClientCertificates, ClientUser, KernelTls, Tls};
pub use token::{SubscriptionToken, Token};
pub use web_address::WebAddress;

use crate::limits::{BACKLOG_DEFAULT, LINKS_PER_PEER_DEFAULT, SHARDS_MAX};

/// The whole configuration of a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients connect. Port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// Where operators connect over TCP; `None`: only through the Unix socket.
    pub admin: Option<SocketAddr>,
    /// Key that TCP admin requests must show. Required beyond loopback.
    pub admin_key: Option<Secret>,
    /// The Unix socket of the command line; `None`: in the runtime directory.
    pub admin_socket: Option<PathBuf>,
    /// Where what must survive a restart is kept; `None`: nowhere.
    pub data_dir: Option<PathBuf>,
    /// Shards (threads), 1..=[`SHARDS_MAX`]. Default: the cores this process may use.
    pub shards: u16,
    /// Which io back end to use.
    pub io: Choice,
    /// Development mode: everybody is let in and may do everything.
    pub insecure: bool,
    /// Allows `insecure` on addresses that others can reach.
    pub insecure_force: bool,
    /// Serves `/echo`, a raw WebSocket echo.
    pub echo: bool,
    /// Whether and how messages are deflated.
    pub compression: Compression,
    /// How much of everything.
    pub limits: Limits,
    /// What connections must and may do.
    pub client: Client,
    /// What clients may do with channels without a namespace.
    pub channel: Channel,
    /// What they may do with those of each namespace, by its name.
    pub namespaces: BTreeMap<String, Channel>,
    /// How connection tokens are checked.
    pub token: Token,
    /// How subscription tokens are checked.
    pub subscription_token: SubscriptionToken,
    /// Encryption on the listen addresses.
    pub tls: Tls,
    /// What is asked of strangers.
    pub guard: Guard,
    /// Who may speak for others.
    pub proxy: Proxy,
    /// What back ends may do over HTTP.
    pub api: Api,
    /// What is logged and how.
    pub log: Log,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// Sockets.
    pub net: Net,
    /// Who this node is.
    pub node: Node,
    /// Which fleet it belongs to.
    pub cluster: Cluster,
}

/// permessage-deflate (RFC 7692), on all listen addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Agrees to it where clients offer it.
    pub enabled: bool,
    /// From 1 (quick) to 9 (small).
    pub effort: u32,
    /// Messages below are sent as they are, bytes.
    pub min_bytes: u32,
    /// Lets clients' messages lean on earlier ones of the same connection.
    pub takeover: bool,
    /// How far they may lean back, as an exponent of bytes.
    pub window_bits: u32,
    /// Memory of one shard for what they may lean on, bytes; without it connections do without takeover.
    pub window_bytes_per_shard: u32,
}

/// Upper bounds. What happens at each is in the table of [`crate::config`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the node, shared evenly by its shards.
    pub connections: u32,
    /// Memory ceiling, bytes; 0: none; `None`: derived from the machine.
    pub memory_bytes: Option<u64>,
    /// One message of a client, bytes.
    pub message_bytes: u32,
    /// One message on `/echo`, bytes.
    pub echo_message_bytes: u32,
    /// Fragments of one message.
    pub fragments: u32,
    /// Head of an upgrade request, bytes.
    pub handshake_bytes: u32,
    /// Memory of one shard for partial input (heads, frames and messages that are still incomplete), bytes.
    pub inbound_bytes_per_shard: u32,
    /// Subscriptions of one connection.
    pub channels_per_client: u32,
    /// Length of a channel name, bytes.
    pub channel_bytes: u32,
    /// Queued output of one connection, bytes.
    pub outbox_bytes: u32,
    /// Queued output of one connection, messages.
    pub outbox_messages: u32,
    /// How long a connection may stay blocked with queued output before it is closed as slow, ms.
    pub slow_close_ms: u32,
    /// Messages that wait in the mailbox from one shard to another.
    pub mailbox_messages: u32,
    /// Memory of one shard for channels' histories, bytes.
    pub history_bytes_per_shard: u32,
}

impl Limits {
    /// Length of a user's name, bytes: the user's own channel, `#user`, must have a name that a channel may have.
    #[must_use]
    pub fn user_bytes_max(&self) -> usize {
        self.channel_bytes.saturating_sub(1) as usize
    }
}

/// Rules of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Between two pings of the server, seconds; 0: no pings.
    pub ping_s: u32,
    /// How long a client may take to answer a ping, seconds.
    pub pong_timeout_s: u32,
    /// How long a client may take to send a valid connect, seconds.
    pub stale_close_s: u32,
    /// How long the server waits for the answer to its close frame, seconds.
    pub close_timeout_s: u32,
    /// How long an upgrade (TLS and HTTP) may take, seconds.
    pub handshake_timeout_s: u32,
    /// How long one message may take to arrive; with pings it is looked at once a ping, seconds.
    pub message_timeout_s: u32,
    /// How long what a token admits to goes on after the token's time is over, seconds: SDKs begin to refresh at that moment.
    pub token_grace_s: u32,
    /// Subscribes each user to the channel `#user`.
    pub user_personal_channel: bool,
    /// Lets clients without a token in, as anonymous.
    pub allow_anonymous: bool,
    /// Origins of browsers besides the host itself; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Publications that one history command reads.
    pub history_max_publication_limit: u32,
    /// Publications that one recovery brings back; more cannot be recovered.
    pub recovery_max_publication_limit: u32,
    /// Between two looks whether positioned subscriptions have missed something, milliseconds.
    pub channel_position_check_delay_ms: u64,
}

/// Logging to stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Least important level that is written.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
}

/// Importance of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What an operator must act on.
    Error,
    /// What an operator should look at.
    Warn,
    /// What happens rarely: start, reload, stop.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The end of the process: drain, then stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long clients are still accepted after readiness has failed, so that load balancers notice, ms.
    pub ready_delay_ms: u32,
    /// Over which clients are closed at least, ms.
    pub window_ms: u32,
    /// Clients closed in a second at most; many clients stretch the window.
    pub max_rate: u32,
    /// How long the last goodbyes may take, ms.
    pub close_ms: u32,
}

/// Options of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// TCP congestion control of client connections.
    pub congestion: Congestion,
    /// Connections of a listener that may wait to be accepted.
    pub backlog: u32,
}

/// The node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name in the fleet, in logs and status; `None`: the host's name.
    pub name: Option<String>,
    /// Where it stands.
    pub region: Region,
    /// Its share of the channels, relative to other nodes' weights.
    pub weight: u16,
}

/// The fleet. Without `listen` the node is alone and none of the others counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Name of the fleet; nodes of another one are refused.
    pub name: ClusterName,
    /// Where other nodes reach this one: gossip over UDP, links over TCP.
    pub listen: Option<SocketAddr>,
    /// The address that others are told, where it is not `listen`.
    pub advertise: Option<SocketAddr>,
    /// Nodes to join through; the own address may be among them.
    pub join: Vec<SocketAddr>,
    /// The keys of the fleet, one a line.
    pub key_file: Option<PathBuf>,
    /// The certificate chain shown to other nodes; with key and authority, links are TLS.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
    /// Authorities of other nodes' certificates.
    pub tls_ca: Option<PathBuf>,
    /// Serves without waiting for another node.
    pub alone: bool,
    /// Links to each other node.
    pub links_per_peer: u16,
    /// Queued output of one link, bytes.
    pub link_queue_bytes: u32,
}

/// A value that must not be seen: printing it shows only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the bytes of a secret.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves, for the code that computes with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// What stands in place of a secret wherever it would be printed.
pub const REDACTED: &str = "<redacted>";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Cores that this process may use (affinity and cgroup quota counted), at most [`SHARDS_MAX`].
#[must_use]
pub fn cores_available() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores).unwrap_or(SHARDS_MAX).min(SHARDS_MAX)
}

impl Settings {
    /// Where clients connect: directly first, then through proxies that introduce them.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.listen.iter().chain(&self.proxy.listen).copied().collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![loopback(8000)],
            admin: Some(loopback(9000)),
            admin_key: None,
            admin_socket: None,
            data_dir: None,
            shards: cores_available(),
            io: Choice::Auto,
            insecure: false,
            insecure_force: false,
            echo: false,
            compression: Compression::default(),
            limits: Limits::default(),
            client: Client::default(),
            channel: Channel::default(),
            namespaces: BTreeMap::new(),
            token: Token::default(),
            subscription_token: SubscriptionToken::default(),
            tls: Tls::default(),
            guard: Guard::default(),
            proxy: Proxy::default(),
            api: Api::default(),
            log: Log { level: LogLevel::Info, format: LogFormat::Text },
            shutdown: Shutdown::default(),
            net: Net { congestion: Congestion::Auto, backlog: BACKLOG_DEFAULT },
            node: Node::default(),
            cluster: Cluster::default(),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { ready_delay_ms: 10_000, window_ms: 30_000, max_rate: 2_000, close_ms: 5_000 }
    }
}

impl Default for Node {
    fn default() -> Self {
        let region = Region::new("default").expect("the word is a name");
        Self { name: None, region, weight: Weight::default().get() }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: ClusterName::new("roadstead").expect("the word is a name"),
            listen: None,
            advertise: None,
            join: Vec::new(),
            key_file: None,
            tls_certificate: None,
            tls_key: None,
            tls_ca: None,
            alone: false,
            links_per_peer: LINKS_PER_PEER_DEFAULT.min(cores_available()),
            link_queue_bytes: 8 << 20,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 200_000,
            memory_bytes: None,
            message_bytes: 64 << 10,
            echo_message_bytes: 16 << 20,
            fragments: 1_024,
            handshake_bytes: 8 << 10,
            inbound_bytes_per_shard: 256 << 20,
            channels_per_client: 128,
            channel_bytes: 255,
            outbox_bytes: 1 << 20,
            outbox_messages: 256,
            slow_close_ms: 10_000,
            mailbox_messages: 16_384,
            history_bytes_per_shard: 256 << 20,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            enabled: false,
            effort: 4,
            min_bytes: 128,
            takeover: false,
            window_bits: 12,
            window_bytes_per_shard: 64 << 20,
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            ping_s: 25,
            pong_timeout_s: 8,
            stale_close_s: 10,
            close_timeout_s: 5,
            handshake_timeout_s: 10,
            message_timeout_s: 30,
            token_grace_s: 25,
            user_personal_channel: false,
            allow_anonymous: false,
            allowed_origins: Vec::new(),
            history_max_publication_limit: 300,
            recovery_max_publication_limit: 300,
            channel_position_check_delay_ms: 40_000,
        }
    }
}
