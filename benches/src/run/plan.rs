//! What a run measures: the benches, the back ends, and who is measured in each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::drive::Encoding;
use crate::drive::fan_out::Placement;
use crate::drive::tls::Version;
use crate::limits;

/// A family of benches, as chosen by `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Reading and writing without any kernel.
    Codec,
    /// Messages that come back.
    Echo,
    /// Publications to many subscribers.
    Fanout,
    /// Opened and upgraded connections.
    Handshakes,
    /// Messages that come back and opened connections, over TLS.
    Tls,
    /// Publications between two shards.
    Crossing,
    /// Memory of silent connections.
    Idle,
    /// Many shards in one process.
    Shards,
}

impl Family {
    /// Its figures are rates beside a floor.
    pub fn is_rate(self) -> bool {
        matches!(self, Family::Echo | Family::Fanout | Family::Handshakes | Family::Tls)
    }
}

/// One bench with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bench {
    /// Echo of messages of so many bytes, so many outstanding on each connection.
    Echo {
        /// Bytes of the payload.
        bytes: usize,
        /// Outstanding messages of a connection.
        depth: usize,
    },
    /// Fan-out with so many publications outstanding.
    FanOut {
        /// Subscribers.
        subscribers: usize,
        /// How publications are written.
        encoding: Encoding,
        /// Outstanding publications.
        window: usize,
    },
    /// Handshakes.
    Handshakes,
    /// Echo over TLS.
    TlsEcho {
        /// Bytes of the payload.
        bytes: usize,
        /// Outstanding messages of a connection.
        depth: usize,
    },
    /// TLS handshakes.
    TlsHandshakes {
        /// Version of TLS.
        version: Version,
        /// By a ticket.
        is_resumed: bool,
    },
    /// Fan-out by a server of two shards, one publication outstanding, by where publisher and subscribers are.
    Crossing {
        /// Subscribers.
        subscribers: usize,
    },
    /// Idle connections of one kind.
    Idle(Idle),
    /// A server of so many shards: its memory, and whether a fan-out over all of them loses nothing.
    Shards(u32),
}

/// Kinds of idle connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Upgraded on `/echo`.
    Echo,
    /// Upgraded on `/echo`, over TLS.
    Tls,
    /// A user of its own each, all subscribed to one channel.
    OneChannel,
    /// A user of its own each, subscribed to a channel of its own.
    OwnChannel,
    /// A user of its own each, subscribed to so many of a thousand channels.
    Channels(usize),
}

/// Every bench in the order of a run.
pub const BENCHES: [Bench; 34] = [
    Bench::Echo { bytes: 20, depth: 1 },
    Bench::Echo { bytes: 20, depth: 16 },
    Bench::Echo { bytes: 1024, depth: 1 },
    Bench::Echo { bytes: 1024, depth: 16 },
    Bench::Echo { bytes: 16 * 1024, depth: 1 },
    Bench::Echo { bytes: 16 * 1024, depth: 16 },
    fan_out(5_000, Encoding::Json, 1),
    fan_out(5_000, Encoding::Json, 16),
    fan_out(5_000, Encoding::Protobuf, 1),
    fan_out(5_000, Encoding::Protobuf, 16),
    fan_out(50_000, Encoding::Json, 1),
    fan_out(50_000, Encoding::Json, 16),
    fan_out(50_000, Encoding::Protobuf, 16),
    Bench::Crossing { subscribers: 50 },
    Bench::Crossing { subscribers: 5_000 },
    Bench::Handshakes,
    Bench::TlsEcho { bytes: 20, depth: 1 },
    Bench::TlsEcho { bytes: 20, depth: 16 },
    Bench::TlsEcho { bytes: 1024, depth: 1 },
    Bench::TlsEcho { bytes: 1024, depth: 16 },
    Bench::TlsEcho { bytes: 16 * 1024, depth: 1 },
    Bench::TlsEcho { bytes: 16 * 1024, depth: 16 },
    Bench::TlsHandshakes { version: Version::Tls13, is_resumed: false },
    Bench::TlsHandshakes { version: Version::Tls13, is_resumed: true },
    Bench::TlsHandshakes { version: Version::Tls12, is_resumed: false },
    Bench::TlsHandshakes { version: Version::Tls12, is_resumed: true },
    Bench::Idle(Idle::Echo),
    Bench::Idle(Idle::Tls),
    Bench::Idle(Idle::OneChannel),
    Bench::Idle(Idle::OwnChannel),
    Bench::Idle(Idle::Channels(10)),
    Bench::Idle(Idle::Channels(50)),
    Bench::Shards(1),
    Bench::Shards(64),
];

const fn fan_out(subscribers: usize, encoding: Encoding, window: usize) -> Bench {
    Bench::FanOut { subscribers, encoding, window }
}

/// The hub of the benches' channel on a server of two shards: the shard that orders its publications.
pub const HUB: u16 = 0;

impl Bench {
    /// The family a bench belongs to.
    pub fn family(&self) -> Family {
        match self {
            Bench::Echo { .. } => Family::Echo,
            Bench::FanOut { .. } => Family::Fanout,
            Bench::Handshakes => Family::Handshakes,
            Bench::TlsEcho { .. } | Bench::TlsHandshakes { .. } => Family::Tls,
            Bench::Crossing { .. } => Family::Crossing,
            Bench::Idle(_) => Family::Idle,
            Bench::Shards(_) => Family::Shards,
        }
    }

    /// Everything goes through TLS. The floor of such a bench is on epoll, whatever the back end.
    pub fn is_encrypted(&self) -> bool {
        self.family() == Family::Tls || matches!(self, Bench::Idle(Idle::Tls))
    }

    /// Subscribers and how they are written to, of benches that publish.
    pub fn published(&self) -> Option<(usize, Encoding)> {
        match self {
            Bench::FanOut { subscribers, encoding, .. } => Some((*subscribers, *encoding)),
            Bench::Crossing { subscribers } => Some((*subscribers, Encoding::Json)),
            Bench::Shards(_) => Some((limits::SHARDS_SUBSCRIBERS, Encoding::Json)),
            _ => None,
        }
    }

    /// Descriptor tables that one end needs for it.
    pub fn tables(&self) -> usize {
        let (subscribers, _) = self.published().unwrap_or((1, Encoding::Json));
        subscribers.div_ceil(limits::TABLE_CONNECTIONS as usize)
    }

    /// Who is measured on a back end, in the order of the first round.
    pub fn contenders(&self, backend: Backend) -> &'static [Contender] {
        match (self, backend) {
            (Bench::Echo { .. }, Backend::IoUring) => {
                &[Contender::Floor, Contender::PolledFloor, Contender::Roadstead]
            }
            (Bench::Idle(Idle::Echo | Idle::Tls), _) => &[Contender::Floor, Contender::Roadstead],
            (Bench::Idle(_) | Bench::Shards(_), _) => &[Contender::Roadstead],
            (Bench::Crossing { .. }, _) => {
                &[Contender::Floor, Contender::SameShard, Contender::OtherShard, Contender::BothShards]
            }
            _ => &[Contender::Floor, Contender::Roadstead],
        }
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bench::Echo { bytes, depth } => write!(f, "echo {}, depth {depth}", size(*bytes)),
            Bench::TlsEcho { bytes, depth } => write!(f, "TLS echo {}, depth {depth}", size(*bytes)),
            Bench::TlsHandshakes { version, is_resumed } => {
                let version = if *version == Version::Tls12 { "1.2" } else { "1.3" };
                write!(f, "TLS {version} handshakes, {}", if *is_resumed { "resumed" } else { "full" })
            }
            Bench::FanOut { subscribers, encoding, window } => {
                write!(f, "fan-out to {}, {encoding}, window {window}", thousands(*subscribers))
            }
            Bench::Crossing { subscribers } => write!(f, "{} subscribers", thousands(*subscribers)),
            Bench::Handshakes => f.write_str("handshakes"),
            Bench::Idle(Idle::Echo) => f.write_str("idle on /echo"),
            Bench::Idle(Idle::Tls) => f.write_str("idle on /echo, TLS 1.3"),
            Bench::Idle(Idle::OneChannel) => f.write_str("idle user, one channel for all"),
            Bench::Idle(Idle::OwnChannel) => f.write_str("idle user, a channel each"),
            Bench::Idle(Idle::Channels(count)) => write!(f, "idle user, {count} channels of 1,000"),
            Bench::Shards(1) => f.write_str("1 shard"),
            Bench::Shards(count) => write!(f, "{count} shards"),
        }
    }
}

fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

fn thousands(count: usize) -> String {
    if count < 1_000 { count.to_string() } else { format!("{},{:03}", count / 1_000, count % 1_000) }
}

/// A way to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// epoll.
    Epoll,
    /// io_uring.
    #[value(name = "io_uring")]
    #[serde(rename = "io_uring")]
    IoUring,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Epoll => "epoll",
            Backend::IoUring => "io_uring",
        })
    }
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contender {
    /// The floor; on io_uring the one with multishot receives.
    Floor,
    /// The io_uring floor with multishot polls.
    PolledFloor,
    /// Roadstead.
    Roadstead,
    /// Roadstead of two shards, everything on the one that is the channel's hub.
    SameShard,
    /// Roadstead of two shards, the publisher on the one, subscribers and the hub on the other.
    OtherShard,
    /// Roadstead of two shards, the publisher not on the hub, subscribers wherever the kernel puts them.
    BothShards,
}

impl Contender {
    /// A floor, and no Roadstead.
    pub fn is_floor(self) -> bool {
        matches!(self, Contender::Floor | Contender::PolledFloor)
    }

    /// Where publisher and subscribers are to be.
    pub fn placement(self) -> Placement {
        let (publisher, subscribers) = match self {
            Contender::SameShard => (Some(HUB), Some(HUB)),
            Contender::OtherShard => (Some(1 - HUB), Some(HUB)),
            Contender::BothShards => (Some(1 - HUB), None),
            _ => (None, None),
        };
        Placement { publisher, subscribers }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contender::Floor => "floor",
            Contender::PolledFloor => "polled floor",
            Contender::Roadstead => "roadstead",
            Contender::SameShard => "roadstead, same shard",
            Contender::OtherShard => "roadstead, other shard",
            Contender::BothShards => "roadstead, both shards",
        })
    }
}

/// How much time a run takes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Effort {
    /// Measurements of each contender.
    pub repeats: usize,
    /// Seconds of one measurement.
    pub seconds: f64,
    /// Seconds under load before it.
    pub warm_up_s: f64,
    /// Seconds an idle connection rests before memory is read.
    pub settle_s: f64,
    /// Pairs of batches of each codec operation and its floor; runs before there were any have none.
    #[serde(default)]
    pub codec_pairs: usize,
}

impl Effort {
    /// For figures that are kept: many short rounds rather than few long ones, so that the contenders of
    /// one round meet the same machine, and no more than half an hour for all of them.
    pub const FULL: Self =
        Self { repeats: 3, seconds: 1.5, warm_up_s: 1.0, settle_s: 10.0, codec_pairs: limits::CODEC_PAIRS };

    /// Rounds of one bench. Memory does not change with the speed of the machine: two rounds show that. What takes long to open
    /// or has many contenders gets three at most.
    pub fn rounds(&self, bench: &Bench) -> usize {
        let most = match bench {
            Bench::Shards(_) | Bench::Idle(Idle::Tls) => 1,
            Bench::Idle(_) => 2,
            Bench::Crossing { .. } | Bench::FanOut { encoding: Encoding::Protobuf, .. } => 3,
            _ if bench.tables() > 1 => 3,
            _ => self.repeats,
        };
        self.repeats.min(most)
    }

    /// The same for a bench that takes less time than others: those over TLS, of which there are many and which are steadier.
    pub fn of(&self, bench: &Bench) -> Self {
        if !bench.is_encrypted() {
            return *self;
        }
        let share = limits::TLS_TIME_SHARE;
        Self { seconds: self.seconds * share, warm_up_s: self.warm_up_s * share, ..*self }
    }

    /// To see that everything works.
    pub const QUICK: Self = Self { repeats: 1, seconds: 1.0, warm_up_s: 0.5, settle_s: 1.0, codec_pairs: 3 };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::fan_out::CHANNEL;

    #[test]
    fn the_hub_is_where_roadstead_puts_it() {
        assert_eq!(roadstead_control::hub_shard(CHANNEL.as_bytes(), 2), HUB);
    }

    #[test]
    fn benches_have_names_of_their_own() {
        let mut names = BENCHES.map(|bench| bench.to_string());
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert_eq!(
            fan_out(50_000, Encoding::Protobuf, 16).to_string(),
            "fan-out to 50,000, Protobuf, window 16"
        );
        assert_eq!(fan_out(50_000, Encoding::Json, 1).tables(), 4);
    }
}
