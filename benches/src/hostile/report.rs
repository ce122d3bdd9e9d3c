//! What a run of hostile rounds says at its end, and what it leaves behind.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::attack::CROWD;
use super::round::{Crowd, Round};
use crate::limits;
use crate::run::machine::Machine;
use crate::run::plan::Backend;
use crate::run::table::median;

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its rounds, in the order in which they were made.
    pub rounds: Vec<Round>,
}

impl Round {
    /// 99 of 100 messages took at most so long, microseconds; infinite where none came.
    #[must_use]
    pub fn p99_us(&self) -> f64 {
        self.seen.latency_us.direct.map_or(f64::INFINITY, |latency| latency.p99)
    }

    /// Whether the server kept within the memory that a crowd may cost.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let attackers: usize = CROWD.iter().map(|(_, count)| count).sum();
        let allowed = attackers as u64 * limits::HOSTILE_BYTES_EACH + 2 * self.tally.bytes;
        self.resident[1].saturating_sub(self.resident[0]) <= allowed
    }
}

impl Report {
    fn of(&self, backend: Backend, crowd: Crowd) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(move |one| one.plan.backend == backend && one.plan.crowd == crowd)
    }

    fn backends(&self) -> Vec<Backend> {
        let all = [Backend::Epoll, Backend::IoUring];
        all.into_iter().filter(|one| self.rounds.iter().any(|round| round.plan.backend == *one)).collect()
    }

    /// The p99 with this crowd divided by the quiet one of the same round.
    fn ratios(&self, backend: Backend, crowd: Crowd) -> Vec<f64> {
        let quiet = |round| self.of(backend, Crowd::Quiet).find(|one| one.plan.round == round);
        let pairs = self.of(backend, crowd).filter_map(|one| Some((one, quiet(one.plan.round)?)));
        pairs.map(|(one, quiet)| one.p99_us() / quiet.p99_us()).collect()
    }

    /// Whether nobody good lost anything, memory was bounded, and the p99 stayed within its bound.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is_quick = |backend| {
            let ratios = self.ratios(backend, Crowd::Attacks);
            median(&ratios).is_some_and(|ratio| ratio <= limits::HOSTILE_P99_RATIO)
        };
        let is_whole = |one: &Round| one.seen.fault().is_none() && one.is_bounded();
        self.rounds.iter().all(is_whole) && self.backends().into_iter().all(is_quick)
    }

    /// Tables for people.
    #[must_use]
    pub fn summary(&self, name: &str, machine: &Machine) -> String {
        let mut rows = String::new();
        for backend in self.backends() {
            for crowd in [Crowd::Quiet, Crowd::Elsewhere, Crowd::Attacks] {
                rows.push_str(&self.row(backend, crowd));
            }
        }
        let faults: String = self
            .rounds
            .iter()
            .filter_map(|one| Some(format!("- {:?}: {}\n", one.plan, one.seen.fault()?)))
            .collect();
        let crowd: Vec<String> = CROWD.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
        format!(
            "# {name}\n\n{machine}\n{} good clients, each with an address of its own, {} messages a second from one to another; \
             attackers, each with an address of its own: {}. Medians of the rounds; latencies from when a message was due.\n\n\
             | back end | crowd | p50, ms | p99, ms | p99 / quiet | range | lost | server, cores | good clients, cores | attackers, cores | \
             their connections/s | closed by the other side/s | MB/s | attackers late at most, ms | server, MiB |\n\
             |---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n{rows}\n{faults}",
            limits::HOSTILE_GOOD,
            limits::HOSTILE_RATE,
            crowd.join(", "),
        )
    }

    fn row(&self, backend: Backend, crowd: Crowd) -> String {
        let rounds: Vec<&Round> = self.of(backend, crowd).collect();
        let of = |figure: &dyn Fn(&Round) -> f64| {
            let figures: Vec<f64> = rounds.iter().map(|one| figure(one)).collect();
            median(&figures).unwrap_or(f64::NAN)
        };
        let seconds = |one: &Round| f64::from(one.plan.seconds + limits::HOSTILE_WARM_UP_S);
        let per_s = |count: fn(&Round) -> u64| of(&|one| count(one) as f64 / seconds(one));
        let ratios = self.ratios(backend, crowd);
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let whom = match crowd {
            Crowd::Quiet => "none",
            Crowd::Elsewhere => "attacks another listener",
            Crowd::Attacks => "attacks",
        };
        let lost: u64 = rounds.iter().map(|one| one.seen.messages.lost).sum();
        let p50 = of(&|one| one.seen.latency_us.direct.map_or(f64::NAN, |latency| latency.p50) / 1e3);
        let mut row = format!(
            "| {backend} | {whom} | {p50:.2} | {:.2} | {:.2} | {least:.2} to {most:.2} | {lost} ",
            of(&|one| one.p99_us() / 1e3),
            median(&ratios).unwrap_or(f64::NAN),
        );
        for at in 0..3 {
            let _ = write!(row, "| {:.2} ", of(&|one| one.cores[at]));
        }
        let _ = writeln!(
            row,
            "| {:.0} | {:.0} | {:.1} | {:.0} | {:.0} |",
            per_s(|one| one.tally.connects),
            per_s(|one| one.tally.ended),
            per_s(|one| one.tally.bytes) / 1e6,
            of(&|one| one.tally.late_ms as f64),
            of(&|one| one.resident[1] as f64) / f64::from(1 << 20),
        );
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::record::{Latencies, Latency, Messages, Seen};
    use crate::hostile::attack::Tally;
    use crate::hostile::round::Plan;

    fn round(crowd: Crowd, p99: f64, lost: u64, grown: u64) -> Round {
        let messages = Messages { sent: 9, expected: 9, received: 9 - lost, lost, ..Messages::default() };
        let direct = Some(Latency { p99, ..Latency::default() });
        let latency_us = Latencies { direct, ..Latencies::default() };
        Round {
            plan: Plan { backend: Backend::Epoll, crowd, round: 0, seconds: 1 },
            seen: Seen { ok: lost == 0, faults: Vec::new(), messages, latency_us },
            tally: Tally { bytes: 1, ..Tally::default() },
            cores: [0.0; 3],
            resident: [7, 7 + grown],
            counted: Default::default(),
        }
    }

    #[test]
    fn a_run_is_good_if_nobody_good_noticed_much() {
        let allowed = 2_000 * limits::HOSTILE_BYTES_EACH + 2;
        for (p99, lost, grown, is_good) in [
            (2.0, 0, allowed, true),
            (2.1, 0, allowed, false),
            (1.0, 1, 0, false),
            (1.0, 0, allowed + 1, false),
        ] {
            let rounds = vec![round(Crowd::Quiet, 1.0, 0, 0), round(Crowd::Attacks, p99, lost, grown)];
            assert_eq!(Report { rounds }.is_good(), is_good, "{p99} {lost} {grown}");
        }
    }
}
