//! What a run measures: the benches, the back ends, and who is measured in each.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// Memory of silent connections.
    Idle,
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
        /// Outstanding publications.
        window: usize,
    },
    /// Handshakes.
    Handshakes,
    /// Idle connections of one kind.
    Idle(Idle),
}

/// Kinds of idle connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Upgraded on `/echo`.
    Echo,
    /// A user of its own each, all subscribed to one channel.
    OneChannel,
    /// A user of its own each, subscribed to a channel of its own.
    OwnChannel,
}

/// Every bench in the order of a run.
pub const BENCHES: [Bench; 12] = [
    Bench::Echo { bytes: 20, depth: 1 },
    Bench::Echo { bytes: 20, depth: 16 },
    Bench::Echo { bytes: 1024, depth: 1 },
    Bench::Echo { bytes: 1024, depth: 16 },
    Bench::Echo { bytes: 16 * 1024, depth: 1 },
    Bench::Echo { bytes: 16 * 1024, depth: 16 },
    Bench::FanOut { window: 1 },
    Bench::FanOut { window: 16 },
    Bench::Handshakes,
    Bench::Idle(Idle::Echo),
    Bench::Idle(Idle::OneChannel),
    Bench::Idle(Idle::OwnChannel),
];

impl Bench {
    /// The family a bench belongs to.
    pub fn family(&self) -> Family {
        match self {
            Bench::Echo { .. } => Family::Echo,
            Bench::FanOut { .. } => Family::Fanout,
            Bench::Handshakes => Family::Handshakes,
            Bench::Idle(_) => Family::Idle,
        }
    }

    /// Who is measured on a back end, in the order of the first round.
    pub fn contenders(&self, backend: Backend) -> &'static [Contender] {
        match (self, backend) {
            (Bench::Echo { .. }, Backend::IoUring) => {
                &[Contender::Floor, Contender::PolledFloor, Contender::Roadstead]
            }
            (Bench::Idle(_), _) => &[Contender::Roadstead],
            _ => &[Contender::Floor, Contender::Roadstead],
        }
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bench::Echo { bytes, depth } if bytes % 1024 == 0 => {
                write!(f, "echo {} KiB, depth {depth}", bytes / 1024)
            }
            Bench::Echo { bytes, depth } => write!(f, "echo {bytes} B, depth {depth}"),
            Bench::FanOut { window } => write!(f, "fan-out, window {window}"),
            Bench::Handshakes => f.write_str("handshakes"),
            Bench::Idle(Idle::Echo) => f.write_str("idle on /echo"),
            Bench::Idle(Idle::OneChannel) => f.write_str("idle user, one channel for all"),
            Bench::Idle(Idle::OwnChannel) => f.write_str("idle user, a channel each"),
        }
    }
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
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contender::Floor => "floor",
            Contender::PolledFloor => "polled floor",
            Contender::Roadstead => "roadstead",
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
    /// one round meet the same machine.
    pub const FULL: Self =
        Self { repeats: 5, seconds: 2.0, warm_up_s: 1.0, settle_s: 10.0, codec_pairs: limits::CODEC_PAIRS };
    /// Rounds of one bench. Memory does not change with the speed of the machine: two rounds show that.
    pub fn rounds(&self, bench: &Bench) -> usize {
        if bench.family() == Family::Idle { self.repeats.min(2) } else { self.repeats }
    }

    /// To see that everything works.
    pub const QUICK: Self = Self { repeats: 1, seconds: 1.0, warm_up_s: 0.5, settle_s: 1.0, codec_pairs: 3 };
}
