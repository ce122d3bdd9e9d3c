//! What came out of a run, as values: the JSON result, and whether it was a success.
//!
//! Invariant: the text on the terminal is made from these values alone, so that both forms say the same.

mod judgement;
mod values;

use crate::counters::UrlCounters;
use crate::expect::Expectation;
use crate::failure::Failures;
use crate::limits::BUSY_SHARE;
use crate::outcome::Outcome;
use crate::plan::{Load, Pace, Plan};
use crate::schedule::{Nanos, SECOND};

pub(crate) use values::{
    Connections, ErrorCount, Fault, Generator, LatencyTable, Messages, RunResult, Settings, UnrestResult,
    UrlResult,
};

impl RunResult {
    /// Sums a run up.
    #[must_use]
    pub(crate) fn new(plan: &Plan, outcome: Outcome) -> Self {
        let Outcome { counters, latencies, failures, times, busy, io, memory, series, .. } = outcome;
        let (urls, interrupted, started_unix_ms) =
            (outcome.urls, outcome.interrupted, outcome.started_unix_ms);
        let faults = judgement::faults(plan, &counters, &failures, interrupted);
        let per_second = |count: u64, time: Nanos| match time {
            0 => 0.0,
            time => round(count as f64 * SECOND as f64 / time as f64),
        };
        let share = |time: Nanos| if times.busy == 0 { 0.0 } else { time as f64 / times.busy as f64 };
        let busiest = busy.iter().copied().max_by_key(|time| time.wanted()).unwrap_or_default();
        let mut result = RunResult {
            loadgen: env!("CARGO_PKG_VERSION"),
            scenario: plan.scenario,
            ok: faults.is_empty(),
            faults,
            interrupted,
            started_unix_ms,
            settings: settings(plan),
            connections: Connections {
                planned: u64::from(plan.clients),
                attempted: counters.attempted,
                opened: counters.opened,
                failed: counters.failed + counters.dropped,
                dropped: counters.dropped,
                closed: counters.closed,
                unclean: counters.unclean,
                tls_handshakes: counters.tls_handshakes,
                tls_resumed: counters.tls_resumed,
                opening_s: seconds(times.opening),
                opened_per_s: per_second(counters.opened, times.opening),
            },
            messages: Messages {
                sent: counters.sent,
                received: counters.received,
                expected: counters.expected,
                lost: counters.lost(),
                excused: counters.excused,
                unchecked: counters.unchecked,
                duplicated: counters.duplicated,
                reordered: counters.reordered,
                corrupt: counters.corrupt,
                foreign: counters.foreign,
                unsent: counters.unsent,
                answered: counters.answered,
                refused: counters.refused,
                pings: counters.pings,
                measured_s: seconds(times.measured),
                sent_per_s: per_second(counters.measured_sent, times.measured),
                received_per_s: per_second(counters.measured_received, times.measured),
                bytes_sent: counters.bytes_sent,
                bytes_received: counters.bytes_received,
            },
            unrest: UnrestResult {
                cut: counters.cut,
                churned: counters.churned,
                torn: counters.torn,
                back: counters.back,
                retries: counters.retries,
                given_up: counters.given_up,
                away: counters.away,
                setbacks: error_counts(&outcome.setbacks),
                slow: (0..plan.clients).filter(|number| plan.is_slow(*number)).count() as u64,
                slow_ended: counters.slow_ended,
            },
            urls: by_url(plan, &urls),
            latency_us: LatencyTable {
                handshake: latencies.handshake.summary(),
                login: latencies.login.summary(),
                message: latencies.message.summary(),
                message_same_url: latencies.same_url.summary(),
                message_other_url: latencies.other_url.summary(),
                direct: latencies.direct.summary(),
                comeback: latencies.comeback.summary(),
                publish: latencies.publish.summary(),
                lag: latencies.lag.summary(),
            },
            errors: error_counts(&failures),
            examples: failures.examples(),
            generator: Generator {
                io,
                threads: busy.len() as u32,
                sources: plan.sources.count(),
                memory_bytes: memory.open,
                memory_per_connection: match counters.opened {
                    0 => 0.0,
                    opened => round(memory.open.saturating_sub(memory.start) as f64 / opened as f64),
                },
                cpu_cores: round(busy.iter().map(|time| share(time.running)).sum()),
                busiest_thread: round(share(busiest.running)),
                busiest_thread_waiting: round(share(busiest.waiting)),
                saturated: share(busiest.wanted()) >= BUSY_SHARE,
                bottleneck: Vec::new(),
            },
            expectations: Vec::new(),
            phases: outcome.phases,
            series,
            metrics: outcome.metrics,
        };
        result.generator.bottleneck = judgement::bottleneck(&result);
        result
    }

    /// The faults in one line.
    pub(crate) fn faults_text(&self) -> String {
        self.faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
    }

    /// What went wrong that no expectation has a bound for.
    pub(crate) fn unexpected_faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(|fault| {
            !fault.number.is_some_and(|number| self.expectations.iter().any(|checked| checked.bounds(number)))
        })
    }

    /// Compares with what was expected.
    ///
    /// # Errors
    /// The result has no JSON form, which cannot happen with the fields it has.
    pub(crate) fn check(&mut self, expectations: &[Expectation]) -> Result<(), String> {
        let value = serde_json::to_value(&*self).map_err(|error| error.to_string())?;
        self.expectations = expectations.iter().map(|expectation| expectation.check(&value)).collect();
        Ok(())
    }
}

fn error_counts(failures: &Failures) -> Vec<ErrorCount> {
    let counts = failures.by_count().into_iter();
    counts
        .map(|(failure, count)| ErrorCount { kind: failure.key(), count, text: failure.to_string() })
        .collect()
}

fn by_url(plan: &Plan, urls: &[UrlCounters]) -> Vec<UrlResult> {
    let mut planned = vec![0; urls.len()];
    for number in 0..plan.clients {
        planned[plan.spread.target_of(number)] += 1;
    }
    let rows = plan.targets.iter().zip(urls).zip(planned);
    rows.map(|((target, counters), planned)| UrlResult {
        url: target.url.to_string(),
        planned,
        opened: counters.opened,
        failed: counters.failed + counters.dropped,
        dropped: counters.dropped,
        sent: counters.sent,
        expected: counters.expected,
        received: counters.distinct,
        lost: counters.lost(),
        duplicated: counters.duplicated,
        reordered: counters.reordered,
    })
    .collect()
}

fn settings(plan: &Plan) -> Settings {
    let flow = match &plan.load {
        Load::Flows(flows) => flows.first(),
        _ => None,
    };
    let pace = match &plan.load {
        Load::Echo(echo) => Some(echo.pace),
        _ => flow.map(|flow| flow.pace),
    };
    let channels = plan.login.as_ref().and_then(|login| login.channels.first());
    Settings {
        urls: plan.targets.iter().map(|target| target.url.to_string()).collect(),
        connections: plan.spread.subscribers,
        publishers: flow.map_or(0, |flow| flow.streams.publishers),
        subscriptions: channels.map_or(0, |channels| channels.subscriptions),
        channels: channels.map_or(0, |channels| channels.count),
        rate: pace.and_then(|pace| if let Pace::Open(rate) = pace { Some(rate) } else { None }),
        depth: pace.and_then(|pace| if let Pace::Closed(depth) = pace { Some(depth) } else { None }),
        size: plan.payload_bytes(),
        duration_s: seconds(plan.duration),
        warmup_s: seconds(plan.warmup),
        hold_s: seconds(plan.hold),
        hold_after_s: seconds(plan.hold_after),
        connect_rate: plan.opening.rate,
        encoding: plan.login.as_ref().map(|login| login.encoding.name()),
        seed: plan.seed,
    }
}

fn seconds(time: Nanos) -> f64 {
    round(time as f64 / SECOND as f64)
}

/// To three decimals: more would be noise.
fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;
    use crate::counters::Counters;
    use crate::counters::LatencySet;
    use crate::cpu::CpuTime;
    use crate::failure::Failure;
    use crate::outcome::{Memory, Phase, Second, Times};

    /// An outcome of an echo run in which everything went well.
    pub(crate) fn good_outcome() -> Outcome {
        let mut latencies = LatencySet::default();
        for latency in 1..=1_000 {
            latencies.message.record(latency * 1_000);
            latencies.handshake.record(latency * 2_000);
        }
        Outcome {
            counters: Counters {
                attempted: 100,
                opened: 100,
                closed: 100,
                sent: 1_000,
                received: 1_000,
                expected: 1_000,
                distinct: 1_000,
                measured_sent: 900,
                measured_received: 900,
                ..Counters::default()
            },
            urls: vec![UrlCounters {
                opened: 100,
                sent: 1_000,
                expected: 1_000,
                distinct: 1_000,
                ..UrlCounters::default()
            }],
            latencies,
            failures: Failures::default(),
            setbacks: Failures::default(),
            times: Times { opening: SECOND / 2, measured: 10 * SECOND, busy: 12 * SECOND },
            busy: vec![
                CpuTime { running: 6 * SECOND, waiting: SECOND },
                CpuTime { running: 3 * SECOND, waiting: 0 },
            ],
            io: "epoll".to_owned(),
            memory: Memory { start: 5_000_000, open: 5_010_000 },
            series: vec![Second {
                at: 1.0,
                open: 100,
                opened: 100,
                sent: 90,
                received: 90,
                ..Second::default()
            }],
            phases: vec![Phase { phase: "opening".to_owned(), at: 0.0 }],
            metrics: Vec::new(),
            interrupted: false,
            started_unix_ms: 1_700_000_000_000,
        }
    }

    /// The plan of that run.
    pub(crate) fn plan() -> Plan {
        let line = "loadgen echo --url ws://127.0.0.1:9/echo --rate 100 --seed 3 --threads 2";
        Plan::new(&Arguments::try_parse_from(line.split(' ')).unwrap().scenario).unwrap()
    }

    #[test]
    fn a_good_run_is_ok() {
        let result = RunResult::new(&plan(), good_outcome());
        assert!(result.ok, "{:?}", result.faults);
        assert_eq!(result.messages.received_per_s, 90.0);
        assert_eq!(result.connections.opened_per_s, 200.0);
        assert_eq!((result.generator.cpu_cores, result.generator.busiest_thread), (0.75, 0.5));
        assert!(!result.generator.saturated);
    }

    #[test]
    fn a_thread_without_a_processor_is_saturated_too() {
        let mut outcome = good_outcome();
        outcome.busy[1] = CpuTime { running: 4 * SECOND, waiting: 8 * SECOND };
        let generator = RunResult::new(&plan(), outcome).generator;
        assert!(generator.saturated && generator.bottleneck[0].contains("of the time"));
        assert_eq!((generator.busiest_thread, generator.busiest_thread_waiting), (0.333, 0.667));
    }

    #[test]
    fn a_late_generator_is_a_bottleneck_and_says_how_that_is_known() {
        let mut outcome = good_outcome();
        (0..1_000).for_each(|_| outcome.latencies.lag.record(100_000));
        assert!(RunResult::new(&plan(), outcome).generator.bottleneck.is_empty());
        let mut outcome = good_outcome();
        (0..1_000).for_each(|_| outcome.latencies.lag.record(5_000_000));
        let result = RunResult::new(&plan(), outcome);
        assert!(result.generator.bottleneck[0].contains("5.00 ms late"), "{:?}", result.generator.bottleneck);
        assert!(result.ok, "it is no fault of the server");
    }

    #[test]
    fn every_kind_of_trouble_is_a_fault() {
        type Spoil = fn(&mut Outcome);
        let table: [(&str, Spoil); 13] = [
            ("5 connections could not be opened", |o| o.counters.failed = 5),
            ("40 connections were not begun in time", |o| o.counters.attempted = 60),
            ("2 connections were lost", |o| o.counters.dropped = 2),
            ("2 connections gave up coming back", |o| o.counters.given_up = 2),
            ("7 connections had not come back at the end", |o| o.counters.away = 7),
            ("3 connections were not closed properly by the server", |o| o.counters.unclean = 3),
            ("1 messages were lost", |o| o.counters.distinct = 999),
            ("9 messages could not be sent", |o| o.counters.unsent = 9),
            ("4 messages arrived more than once", |o| o.counters.duplicated = 4),
            ("6 messages arrived out of order", |o| o.counters.reordered = 6),
            ("7 messages arrived damaged", |o| o.counters.corrupt = 7),
            ("8 publish commands were refused", |o| o.counters.refused = 8),
            ("operations failed: see the errors", |o| o.failures.add_times(Failure::PublishUnanswered, 1)),
        ];
        for (fault, spoil) in table {
            let mut outcome = good_outcome();
            spoil(&mut outcome);
            let result = RunResult::new(&plan(), outcome);
            assert!(!result.ok);
            assert_eq!(result.faults.iter().map(Fault::to_string).collect::<Vec<_>>(), [fault]);
            let numbers = serde_json::to_value(&result).unwrap();
            for number in result.faults.iter().filter_map(|fault| fault.number) {
                let parts = ["connections", "messages", "unrest"].map(|part| format!("/{part}/{number}"));
                assert!(parts.iter().any(|path| numbers.pointer(path).is_some()), "{number}");
            }
        }
    }

    #[test]
    fn a_duplicate_does_not_hide_a_loss() {
        let mut outcome = good_outcome();
        outcome.counters.distinct = 999;
        outcome.counters.duplicated = 1;
        let result = RunResult::new(&plan(), outcome);
        assert_eq!((result.messages.lost, result.messages.duplicated, result.faults.len()), (1, 1, 2));
    }

    #[test]
    fn an_interrupted_run_is_judged_by_what_it_did() {
        let mut outcome = good_outcome();
        outcome.counters.attempted = 60;
        outcome.interrupted = true;
        assert!(RunResult::new(&plan(), outcome).ok);
    }

    #[test]
    fn the_json_has_its_fields() {
        let mut outcome = good_outcome();
        outcome.failures.add(Failure::Status(503), || "client 7: status 503".to_owned());
        let json = serde_json::to_value(RunResult::new(&plan(), outcome)).unwrap();
        let table = [
            ("/scenario", serde_json::json!("echo")),
            ("/ok", serde_json::json!(false)),
            ("/settings/urls/0", serde_json::json!("ws://127.0.0.1:9/echo")),
            ("/settings/rate", serde_json::json!(100.0)),
            ("/settings/depth", serde_json::json!(null)),
            ("/settings/seed", serde_json::json!(3)),
            ("/connections/planned", serde_json::json!(100)),
            ("/connections/failed", serde_json::json!(0)),
            ("/messages/sent", serde_json::json!(1_000)),
            ("/messages/lost", serde_json::json!(0)),
            ("/urls/0/url", serde_json::json!("ws://127.0.0.1:9/echo")),
            ("/urls/0/planned", serde_json::json!(100)),
            ("/urls/0/received", serde_json::json!(1_000)),
            ("/latency_us/message_other_url", serde_json::json!(null)),
            ("/latency_us/message/count", serde_json::json!(1_000)),
            ("/latency_us/login", serde_json::json!(null)),
            ("/errors/0/kind", serde_json::json!("status_503")),
            ("/errors/0/count", serde_json::json!(1)),
            ("/examples/0", serde_json::json!("client 7: status 503")),
            ("/generator/io", serde_json::json!("epoll")),
            ("/generator/memory_per_connection", serde_json::json!(100.0)),
            ("/generator/threads", serde_json::json!(2)),
            ("/series/0/open", serde_json::json!(100)),
        ];
        for (path, expected) in table {
            assert_eq!(json.pointer(path), Some(&expected), "{path}");
        }
        for percentile in ["min", "mean", "p50", "p90", "p99", "p999", "max"] {
            assert!(
                json.pointer(&format!("/latency_us/message/{percentile}")).unwrap().as_f64().unwrap() > 0.0
            );
        }
    }
}
