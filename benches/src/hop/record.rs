//! What a run leaves behind: every single measurement, and what of it failed.

use serde::{Deserialize, Serialize};

use super::plan::{Effort, Shape};
use crate::drive::Rate;
use crate::run::plan::Backend;

/// All measurements of a run, in the order in which they were made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HopRun {
    /// Name of the run: date and title.
    pub name: String,
    /// Time spent on each measurement.
    pub effort: Effort,
    /// Measurements.
    pub samples: Vec<HopSample>,
    /// What failed.
    pub failures: Vec<HopFailure>,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HopSample {
    /// The load with its parameters.
    pub load: String,
    /// The nodes.
    pub shape: Shape,
    /// Back end of the nodes.
    pub backend: Backend,
    /// Round, from 0.
    pub round: usize,
    /// Deliveries per second of the CPU of all nodes, from the first publication to the last delivery.
    pub rate: Rate,
    /// What the load generator saw.
    pub seen: Seen,
}

/// A measurement that did not succeed, or nodes that did not start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HopFailure {
    /// What was tried.
    pub what: String,
    /// Why it failed.
    pub reason: String,
}

/// What is kept of a result of `loadgen`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Nothing was lost, doubled, out of order, damaged or refused, and no connection failed.
    pub ok: bool,
    /// What was not as it should be.
    pub faults: Vec<String>,
    /// Counts of messages.
    pub messages: Messages,
    /// Latencies of the measured time.
    pub latency_us: Latencies,
}

/// Counts of messages, warm-up included.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Messages {
    /// Publications.
    pub sent: u64,
    /// Deliveries that should have happened.
    pub expected: u64,
    /// Deliveries.
    pub received: u64,
    /// Deliveries that did not happen.
    pub lost: u64,
    /// Deliveries that happened again.
    pub duplicated: u64,
    /// Deliveries after later ones of the same publisher and channel.
    pub reordered: u64,
    /// Measured deliveries per second.
    pub received_per_s: f64,
}

/// Latencies from the time a publication was due to its delivery (closed loop: from its sending).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// Of all deliveries.
    pub message: Option<Latency>,
    /// Of messages from user to user.
    pub direct: Option<Latency>,
    /// Where publisher and reader are at the same node of a fleet.
    pub message_same_url: Option<Latency>,
    /// Where they are not.
    pub message_other_url: Option<Latency>,
}

/// Microseconds, of so many deliveries.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Deliveries.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl HopSample {
    /// CPU time of all nodes for one delivery, µs; handshakes are not in it.
    pub fn us_per_delivery(&self) -> f64 {
        self.rate.server_cpu_seconds * 1e6 / self.seen.messages.received as f64
    }

    /// CPU time of all nodes for one publication with all its deliveries, µs.
    pub fn us_per_publication(&self) -> f64 {
        self.rate.server_cpu_seconds * 1e6 / self.seen.messages.sent as f64
    }
}

impl Seen {
    /// Why the measurement does not count, if it does not.
    pub fn fault(&self) -> Option<String> {
        let messages = &self.messages;
        let is_whole = messages.lost + messages.duplicated + messages.reordered == 0
            && messages.sent > 0
            && messages.received == messages.expected;
        match (self.ok && is_whole, self.faults.as_slice()) {
            (true, _) => None,
            (false, []) => {
                Some(format!("{} of {} deliveries happened", messages.received, messages.expected))
            }
            (false, faults) => Some(faults.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_runs_count() {
        let good = Messages { sent: 2, expected: 6, received: 6, ..Messages::default() };
        let seen = |ok: bool, messages: Messages| Seen {
            ok,
            faults: if ok { Vec::new() } else { vec!["3 connections were lost".to_owned()] },
            messages,
            latency_us: Latencies::default(),
        };
        assert_eq!(seen(true, good.clone()).fault(), None);
        assert_eq!(seen(false, good.clone()).fault().as_deref(), Some("3 connections were lost"));
        for spoilt in [
            Messages { received: 5, lost: 1, ..good.clone() },
            Messages { duplicated: 1, ..good.clone() },
            Messages { reordered: 1, ..good.clone() },
            Messages::default(),
        ] {
            assert!(seen(true, spoilt).fault().is_some());
        }
    }
}
