//! What a controller and its agents say to each other.
//!
//! Invariant: histograms travel as they are written to files, so that adding them up loses nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::counters::{Counters, LatencySet, UrlCounters};
use crate::cpu::CpuTime;
use crate::failure::Failures;
use crate::outcome::{Memory, Outcome, Second, Times};

/// From the controller.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Play part `part` of `parts` of what this command line says.
    Start {
        /// Its words.
        words: Vec<String>,
        /// From 0.
        part: u32,
        /// How many.
        parts: u32,
    },
    /// The controller is still there; sent each second.
    Here,
    /// All have settled: the load begins.
    Go,
    /// End early.
    Stop,
}

/// From an agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It cannot be done, or failed as a whole.
    Failed(String),
    /// All connections are open or failed.
    Settled,
    /// A second has passed.
    Second {
        /// The stage it is in.
        phase: String,
        /// What happened in it.
        second: Second,
    },
    /// What came out.
    Done(Box<PartOutcome>),
}

/// What an agent knows at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PartOutcome {
    counters: Counters,
    urls: Vec<UrlCounters>,
    /// Kinds and their histograms: compressed V2, in base64.
    latencies: Vec<(String, String)>,
    failures: Failures,
    setbacks: Failures,
    times: Times,
    busy: Vec<CpuTime>,
    io: String,
    memory: Memory,
    interrupted: bool,
}

impl PartOutcome {
    /// Packs an outcome for the journey.
    ///
    /// # Errors
    /// A histogram cannot be packed.
    pub(super) fn pack(outcome: Outcome) -> Result<Self, String> {
        let mut latencies = Vec::new();
        for (name, kind) in outcome.latencies.by_name() {
            let Some(histogram) = kind.histogram() else { continue };
            let mut bytes = Vec::new();
            V2DeflateSerializer::new()
                .serialize(histogram, &mut bytes)
                .map_err(|error| format!("a histogram cannot be packed: {error}"))?;
            latencies.push((name.to_owned(), STANDARD.encode(bytes)));
        }
        let Outcome { counters, urls, failures, setbacks, times, busy, io, memory, interrupted, .. } =
            outcome;
        Ok(Self { counters, urls, latencies, failures, setbacks, times, busy, io, memory, interrupted })
    }

    /// Adds it to what other parts have come to.
    ///
    /// # Errors
    /// It does not fit to the others: the agent is of another version.
    pub(super) fn add_to(self, sum: &mut Outcome) -> Result<(), String> {
        if self.urls.len() != sum.urls.len() {
            return Err("an agent has other URLs".to_owned());
        }
        sum.counters.add(&self.counters);
        sum.urls.iter_mut().zip(&self.urls).for_each(|(sum, part)| sum.add(part));
        sum.latencies.merge(&unpack(&self.latencies)?);
        sum.failures.merge(self.failures);
        sum.setbacks.merge(self.setbacks);
        sum.times.opening = sum.times.opening.max(self.times.opening);
        sum.times.measured = sum.times.measured.max(self.times.measured);
        sum.times.busy = sum.times.busy.max(self.times.busy);
        sum.busy.extend(self.busy);
        sum.memory.start += self.memory.start;
        sum.memory.open += self.memory.open;
        sum.interrupted |= self.interrupted;
        if !sum.io.contains(&self.io) {
            let separator = if sum.io.is_empty() { "" } else { ", " };
            sum.io.push_str(&format!("{separator}{}", self.io));
        }
        Ok(())
    }
}

fn unpack(latencies: &[(String, String)]) -> Result<LatencySet, String> {
    let mut set = LatencySet::default();
    let mut deserializer = Deserializer::new();
    for (name, text) in latencies {
        let bytes = STANDARD.decode(text).map_err(|error| format!("a histogram of an agent: {error}"))?;
        let histogram = deserializer
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("a histogram of an agent: {error}"))?;
        set.add_by_name(name, &histogram)?;
    }
    Ok(set)
}

/// Where an agent's run waits until all others have settled.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    has_settled: AtomicBool,
    is_open: AtomicBool,
}

impl Gate {
    /// The run has opened its connections. Whether it may go on.
    pub(crate) fn pass(&self) -> bool {
        self.has_settled.store(true, Ordering::Release);
        self.is_open.load(Ordering::Acquire)
    }

    /// Whether the run waits here, or has passed.
    pub(super) fn has_settled(&self) -> bool {
        self.has_settled.load(Ordering::Acquire)
    }

    /// Lets it go on.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::good_outcome;

    #[test]
    fn parts_add_up() {
        let mut sum = good_outcome();
        for _ in 0..2 {
            let text = serde_json::to_string(&PartOutcome::pack(good_outcome()).unwrap()).unwrap();
            let part: PartOutcome = serde_json::from_str(&text).unwrap();
            part.add_to(&mut sum).unwrap();
        }
        let once = good_outcome();
        assert_eq!(sum.counters.sent, 3 * once.counters.sent);
        assert_eq!(sum.urls[0].opened, 3 * once.urls[0].opened);
        assert_eq!(sum.latencies.message.count(), 3 * once.latencies.message.count());
        assert_eq!(sum.latencies.message.at(0.9), once.latencies.message.at(0.9));
        assert_eq!((sum.busy.len(), sum.io.as_str()), (6, "epoll"));
    }
}
