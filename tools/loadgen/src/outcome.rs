//! What the conductor knows when a run has ended: numbers, not yet judged.

use serde::{Deserialize, Serialize};

use crate::counters::{Counters, LatencySet, UrlCounters};
use crate::cpu::CpuTime;
use crate::failure::Failures;
use crate::schedule::Nanos;
use crate::scrape::MetricSeries;

/// Everything that the conductor knows at the end.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Totals of all threads.
    pub(crate) counters: Counters,
    /// The same by URL, in the order of the plan's targets.
    pub(crate) urls: Vec<UrlCounters>,
    /// Latencies of all threads.
    pub(crate) latencies: LatencySet,
    /// Failures of all threads.
    pub(crate) failures: Failures,
    /// What made connections try again.
    pub(crate) setbacks: Failures,
    /// Times of the run's parts.
    pub(crate) times: Times,
    /// Processor time of each thread in the main part.
    pub(crate) busy: Vec<CpuTime>,
    /// The back end in use, with what was given up to get it.
    pub(crate) io: String,
    /// Memory of this process.
    pub(crate) memory: Memory,
    /// One entry per second.
    pub(crate) series: Vec<Second>,
    /// When each part began.
    pub(crate) phases: Vec<Phase>,
    /// The server's metrics meanwhile.
    pub(crate) metrics: Vec<MetricSeries>,
    /// Ended early by a signal.
    pub(crate) interrupted: bool,
    /// When it began, milliseconds since 1970.
    pub(crate) started_unix_ms: u64,
}

/// Resident memory of this process, bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Before the first connection, threads and their buffers not yet counted.
    pub(crate) start: u64,
    /// When all connections were open.
    pub(crate) open: u64,
}

/// How long the parts of a run took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    /// From the first connection to the last handshake.
    pub(crate) opening: Nanos,
    /// The measured part: without warm-up.
    pub(crate) measured: Nanos,
    /// The part over which `busy` was counted: the opening for `connect`, otherwise from the first message (warm-up
    /// included) to the end of sending.
    pub(crate) busy: Nanos,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// Connections open.
    pub(crate) open: u64,
    /// Connections that failed or were lost so far.
    pub(crate) failed: u64,
    /// Connections opened in this second.
    pub(crate) opened: u64,
    /// Messages sent in this second.
    pub(crate) sent: u64,
    /// Messages received in this second.
    pub(crate) received: u64,
    /// Median latency of this second's messages (or handshakes while opening), microseconds.
    pub p50_us: f64,
    /// The same, 99 %.
    pub p99_us: f64,
    /// The same, 99.9 %.
    pub p999_us: f64,
}

/// The beginning of a part of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Phase {
    /// Its name.
    pub(crate) phase: String,
    /// Seconds since the start.
    pub(crate) at: f64,
}
