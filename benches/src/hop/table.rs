//! The figures of a run as Markdown: medians over the rounds; what compares two measurements compares those of one round.

use std::fmt::Write;

use super::plan::{LOADS, Load, Pace, Shape};
use super::record::{HopRun, HopSample, Latency};
use crate::limits;
use crate::run::machine::Machine;
use crate::run::plan::Backend;
use crate::run::table::median;

/// The summary of a run, as kept beside its raw data.
pub fn summary(run: &HopRun, machine: &Machine) -> String {
    let mut text = format!("# {}\n\n{}", run.name, tables(run, machine));
    if !run.failures.is_empty() {
        text.push_str("\nFailed:\n\n");
        for failure in &run.failures {
            let _ = writeln!(text, "- {}: {}", failure.what, failure.reason.replace('\n', " "));
        }
    }
    text
}

/// The same for a document that names the run.
pub fn section(run: &HopRun, machine: &Machine) -> String {
    format!("Run `{}`.\n\n{}", run.name, tables(run, machine))
}

fn tables(run: &HopRun, machine: &Machine) -> String {
    let effort = &run.effort;
    let mut text = format!(
        "{machine}\nMedians of {} × {} s; latencies in µs as p50 / p99; in brackets the least and the most of the rounds.\n",
        effort.rounds, effort.seconds
    );
    text.push_str(
        "\n| latency | back end | one node | fleet: reader at the publisher's node | reader at another node \
         | p50 added |\n|---|---|---:|---:|---:|---:|\n",
    );
    for comparison in comparisons(run).filter(|c| matches!(c.load.pace, Pace::Open(_))) {
        text.push_str(&comparison.latency_row());
    }
    text.push_str(
        "\n| CPU | back end | one node: µs per delivery | three nodes | three / one \
         | one node: µs per publication | three nodes | notes |\n|---|---|---:|---:|---:|---:|---:|---|\n",
    );
    for comparison in comparisons(run) {
        text.push_str(&comparison.cpu_row());
    }
    text
}

/// One node and the fleet under one load on one back end, by rounds in which both were measured.
struct Comparison<'r> {
    load: Load,
    backend: Backend,
    rounds: Vec<Round<'r>>,
}

struct Round<'r> {
    one: &'r HopSample,
    fleet: &'r HopSample,
}

fn comparisons(run: &HopRun) -> impl Iterator<Item = Comparison<'_>> {
    let all = LOADS.into_iter().flat_map(|load| [Backend::Epoll, Backend::IoUring].map(|back| (load, back)));
    all.filter_map(|(load, backend)| {
        let name = load.to_string();
        let samples = || run.samples.iter().filter(|s| s.load == name && s.backend == backend);
        let fleets = samples().filter(|s| s.shape == load.fleet);
        let rounds: Vec<_> = fleets
            .filter_map(|fleet| {
                let one = samples().find(|s| s.shape == Shape::One && s.round == fleet.round)?;
                Some(Round { one, fleet })
            })
            .collect();
        (!rounds.is_empty()).then_some(Comparison { load, backend, rounds })
    })
}

impl Comparison<'_> {
    fn figures(&self, figure: impl Fn(&Round<'_>) -> Option<f64>) -> Vec<f64> {
        self.rounds.iter().filter_map(figure).collect()
    }

    fn typical(&self, figure: impl Fn(&Round<'_>) -> f64) -> f64 {
        median(&self.figures(|round| Some(figure(round)))).unwrap_or(f64::NAN)
    }

    fn latency_row(&self) -> String {
        let cell = |latency: &dyn Fn(&Round<'_>) -> Option<Latency>| {
            let at = |percentile: fn(Latency) -> f64| median(&self.figures(|r| latency(r).map(percentile)));
            match (at(|l| l.p50), at(|l| l.p99)) {
                (Some(p50), Some(p99)) => format!("{p50:.0} / {p99:.0}"),
                _ => String::new(),
            }
        };
        let one = cell(&|round| round.one.seen.latency_us.message);
        let same = cell(&|round| round.fleet.seen.latency_us.message_same_url);
        let other = cell(&|round| round.fleet.seen.latency_us.message_other_url);
        let added = with_range(&self.figures(|round| added_us(self.load.fleet, round)), 0);
        format!("| {} | {} | {one} | {same} | {other} | {added} |\n", self.name(), self.backend)
    }

    fn cpu_row(&self) -> String {
        let ratios = with_range(
            &self.figures(|round| Some(round.fleet.us_per_delivery() / round.one.us_per_delivery())),
            2,
        );
        format!(
            "| {} | {} | {:.2} | {:.2} | {ratios} | {:.0} | {:.0} | {} |\n",
            self.name(),
            self.backend,
            self.typical(|round| round.one.us_per_delivery()),
            self.typical(|round| round.fleet.us_per_delivery()),
            self.typical(|round| round.one.us_per_publication()),
            self.typical(|round| round.fleet.us_per_publication()),
            self.notes(),
        )
    }

    fn name(&self) -> String {
        let owner = if self.load.fleet == Shape::Owned { ", the first node owns all" } else { "" };
        format!("{}{owner}", self.load)
    }

    fn notes(&self) -> String {
        let samples = || self.rounds.iter().flat_map(|round| [round.one, round.fleet]);
        let all = self.rounds.len() * 2;
        let mut notes = Vec::new();
        let mut note = |what: &str, count: usize| match count {
            0 => {}
            count if count == all => notes.push(what.to_owned()),
            count => notes.push(format!("{what} in {count} of {all}")),
        };
        note("generator's core full", samples().filter(|s| s.rate.client_saturated).count());
        note(
            "nodes' core full",
            samples().filter(|s| s.rate.server_core_share >= limits::SATURATED_SHARE).count(),
        );
        let is_disturbed = |s: &&HopSample| s.rate.others_core_share > limits::DISTURBED_SHARE;
        note("other work on the machine", samples().filter(is_disturbed).count());
        notes.join("; ")
    }
}

/// What the fleet adds to the median latency, µs. Where one node owns all and has the publishers, that is what its own
/// readers do not wait for and the others do: one crossing, and the same publications. Elsewhere any reader may be
/// behind a crossing, and the fleet is compared with the one node.
fn added_us(fleet: Shape, round: &Round<'_>) -> Option<f64> {
    let seen = &round.fleet.seen.latency_us;
    let (with, without) = match fleet {
        Shape::Owned => (seen.message_other_url?, seen.message_same_url?),
        Shape::One | Shape::Even => (seen.message?, round.one.seen.latency_us.message?),
    };
    Some(with.p50 - without.p50)
}

/// The median, and the least and the most in brackets.
fn with_range(figures: &[f64], decimals: usize) -> String {
    let least = figures.iter().copied().reduce(f64::min);
    let most = figures.iter().copied().reduce(f64::max);
    match (median(figures), least, most) {
        (Some(median), Some(least), Some(most)) if figures.len() > 1 => {
            format!("{median:.decimals$} ({least:.decimals$} to {most:.decimals$})")
        }
        (Some(median), ..) => format!("{median:.decimals$}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::plan::Effort;
    use crate::hop::record::{Latencies, Messages, Seen};

    /// A sample whose nodes took `us` of CPU for each delivery; latencies are those given, as p50 of all, at the same and
    /// at another node; p99 is ten times as much.
    fn sample(load: Load, shape: Shape, round: usize, us: f64, p50: [f64; 3]) -> HopSample {
        let [message, same, other] =
            p50.map(|p50| (p50 > 0.0).then_some(Latency { p50, p99: 10.0 * p50, ..Latency::default() }));
        let (sent, received) = (10, 10 * u64::from(load.readers));
        let rate = serde_json::json!({
            "operations": received, "seconds": 1.0, "server_cpu_seconds": us * received as f64 / 1e6,
            "client_cpu_seconds": 0.5, "per_server_cpu_second": 1e6 / us, "per_second": received,
            "server_core_share": 0.5, "client_core_share": 0.5, "client_saturated": round == 1,
            "others_core_share": 0.0
        });
        HopSample {
            load: load.to_string(),
            shape,
            backend: Backend::Epoll,
            round,
            rate: serde_json::from_value(rate).unwrap(),
            seen: Seen {
                ok: true,
                faults: Vec::new(),
                messages: Messages { sent, expected: received, received, ..Messages::default() },
                latency_us: Latencies {
                    message,
                    message_same_url: same,
                    message_other_url: other,
                    direct: None,
                },
            },
        }
    }

    fn run_of(samples: Vec<HopSample>) -> HopRun {
        HopRun { name: "2026-01-01-fleet".into(), effort: Effort::QUICK, samples, failures: Vec::new() }
    }

    #[test]
    fn ratios_compare_within_a_round_and_medians_are_over_rounds() {
        let load = LOADS[1];
        // Round 1 meets a machine of half the speed: the ratio stays as it is.
        let figures = [(0, 4.0, 6.0), (1, 8.0, 12.0), (2, 4.2, 6.3)];
        let run = run_of(
            figures
                .into_iter()
                .flat_map(|(round, one, three)| {
                    [
                        sample(load, Shape::One, round, one, [100.0 * one, 0.0, 0.0]),
                        sample(load, Shape::Even, round, three, [100.0 * three, 90.0 * three, 105.0 * three]),
                    ]
                })
                .collect(),
        );
        let comparisons: Vec<_> = comparisons(&run).collect();
        assert_eq!(comparisons.len(), 1);
        assert_eq!(
            comparisons[0].cpu_row(),
            "| 50 readers, 200 publications/s | epoll | 4.20 | 6.30 | 1.50 (1.50 to 1.50) | 210 | 315 \
             | generator's core full in 2 of 6 |\n"
        );
        assert_eq!(
            comparisons[0].latency_row(),
            "| 50 readers, 200 publications/s | epoll | 420 / 4200 | 567 / 5670 | 662 / 6615 | 210 (200 to 400) |\n"
        );
    }

    #[test]
    fn a_crossing_is_what_readers_elsewhere_wait_for() {
        let load = LOADS[0];
        assert_eq!(load.fleet, Shape::Owned);
        let run = run_of(vec![
            sample(load, Shape::One, 0, 20.0, [150.0, 0.0, 0.0]),
            sample(load, Shape::Owned, 0, 30.0, [210.0, 160.0, 220.0]),
        ]);
        let comparison = comparisons(&run).next().unwrap();
        assert!(
            comparison
                .latency_row()
                .ends_with("the first node owns all | epoll | 150 / 1500 | 160 / 1600 | 220 / 2200 | 60 |\n"),
            "{}",
            comparison.latency_row()
        );
    }

    #[test]
    fn a_round_that_lost_one_side_does_not_count() {
        let load = LOADS[3];
        let run = run_of(vec![
            sample(load, Shape::One, 0, 2.0, [9.0, 0.0, 0.0]),
            sample(load, Shape::Even, 0, 3.0, [9.0, 9.0, 9.0]),
            sample(load, Shape::Even, 1, 300.0, [9.0, 9.0, 9.0]),
        ]);
        let row = comparisons(&run).next().unwrap().cpu_row();
        assert!(row.contains("| epoll | 2.00 | 3.00 | 1.50 | 100 | 150 |"), "{row}");
    }
}
