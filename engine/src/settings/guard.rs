//! What is asked of strangers: bounds for a source of connections, a user, a connection and a channel; and who may speak for others.

use std::net::SocketAddr;

use crate::prefix::Prefixes;

/// Guards. 0 is no bound, everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Makes the defaults of the others those of a server that strangers reach by their own addresses.
    pub public: bool,
    /// Leading bits of an IPv4 address that make one source.
    pub source_bits_v4: u32,
    /// Leading bits of an IPv6 address that make one source.
    pub source_bits_v6: u32,
    /// Sources that are remembered at once.
    pub sources: u32,
    /// Remembers what each source does even where nothing bounds it.
    pub watch: bool,
    /// Sources without bound and ban, such as the NAT of a carrier.
    pub exempt: Prefixes,
    /// If not empty, who is not in it is refused.
    pub allow: Prefixes,
    /// Who is in it is refused.
    pub deny: Prefixes,
    /// Connections of one source at a time.
    pub connections_per_source: u32,
    /// New connections of one source in a second.
    pub connects_per_s: u32,
    /// Points at which a source is banned.
    pub ban_points: u32,
    /// Seconds in which half of a source's points are forgotten.
    pub ban_half_life_s: u32,
    /// Seconds of a first ban; each further one is twice as long.
    pub ban_s: u32,
    /// Seconds of the longest ban.
    pub ban_max_s: u32,
    /// Connections of one user to this node at a time.
    pub connections_per_user: u32,
    /// Seconds of each rate that may come at once.
    pub burst_s: u32,
    /// Messages and commands of one connection in a second.
    pub messages_per_s: u32,
    /// Bytes of messages of one connection in a second.
    pub bytes_per_s: u32,
    /// Subscribe commands of one connection in a second.
    pub subscribes_per_s: u32,
    /// Messages and commands of one user to this node in a second.
    pub user_messages_per_s: u32,
    /// Bytes of messages of one user to this node in a second.
    pub user_bytes_per_s: u32,
    /// Publications to one channel in a second.
    pub channel_messages_per_s: u32,
    /// Bytes of publications to one channel in a second.
    pub channel_bytes_per_s: u32,
}

impl Guard {
    /// Those of a server that strangers reach.
    #[must_use]
    pub fn public() -> Self {
        Self {
            public: true,
            connections_per_source: 256,
            connects_per_s: 20,
            ban_points: 100,
            connections_per_user: 64,
            messages_per_s: 100,
            bytes_per_s: 256 << 10,
            subscribes_per_s: 20,
            user_messages_per_s: 200,
            user_bytes_per_s: 512 << 10,
            channel_messages_per_s: 1_000,
            ..Self::default()
        }
    }

    /// Whether anything is to be remembered of sources.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.watch || self.connections_per_source > 0 || self.connects_per_s > 0 || self.ban_points > 0
    }
}

impl Default for Guard {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1"].map(|text| text.parse().expect("a prefix"));
        Self {
            public: false,
            source_bits_v4: 32,
            source_bits_v6: 64,
            sources: 262_144,
            watch: false,
            exempt: loopback.into_iter().collect(),
            allow: Prefixes::default(),
            deny: Prefixes::default(),
            connections_per_source: 0,
            connects_per_s: 0,
            ban_points: 0,
            ban_half_life_s: 60,
            ban_s: 60,
            ban_max_s: 3_600,
            connections_per_user: 0,
            burst_s: 10,
            messages_per_s: 0,
            bytes_per_s: 0,
            subscribes_per_s: 0,
            user_messages_per_s: 0,
            user_bytes_per_s: 0,
            channel_messages_per_s: 0,
            channel_bytes_per_s: 0,
        }
    }
}

/// Proxies in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where proxies connect that speak the PROXY protocol. Port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// The proxies: who may say that it speaks for another.
    pub trusted: Prefixes,
    /// In which header they do, on the other listen addresses.
    pub header: ForwardedHeader,
}

impl Default for Proxy {
    fn default() -> Self {
        Self { listen: Vec::new(), trusted: Prefixes::default(), header: ForwardedHeader::XForwardedFor }
    }
}

/// The header that names the client. Only one is believed: a proxy passes on the other as the client sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardedHeader {
    /// None.
    Off,
    /// `X-Forwarded-For: 192.0.2.1, 198.51.100.7`.
    XForwardedFor,
    /// `Forwarded: for=192.0.2.1;proto=https` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// Every choice, as it is configured.
    pub const WORDS: [(Self, &str); 3] =
        [(Self::Off, "off"), (Self::XForwardedFor, "x-forwarded-for"), (Self::Forwarded, "forwarded")];

    /// Its name in a request; `None`: no header is believed.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::XForwardedFor => Some("X-Forwarded-For"),
            Self::Forwarded => Some("Forwarded"),
        }
    }
}
