//! What came out of a run, as values: the JSON result, and whether it was a success.
//!
//! Invariant: the text on the terminal is made from these values alone, so that both forms say the same.

use serde::Serialize;

use crate::counters::{Counters, UrlCounters};
use crate::failure::Failures;
use crate::latency::Summary;
use crate::limits::BUSY_SHARE;
use crate::outcome::{Outcome, Second};
use crate::plan::{Load, Pace, Plan};
use crate::schedule::{Nanos, SECOND};

/// The JSON result. Field names are stable.
#[derive(Debug, Serialize)]
pub(crate) struct RunResult {
    /// Version of the generator.
    pub(crate) loadgen: &'static str,
    /// Its name on the command line.
    pub(crate) scenario: &'static str,
    /// Whether the exit code is 0.
    pub(crate) ok: bool,
    /// What was not as it should be, as sentences; empty when `ok`.
    pub(crate) faults: Vec<String>,
    /// Ended early by a signal.
    pub(crate) interrupted: bool,
    /// When it began, milliseconds since 1970.
    pub(crate) started_unix_ms: u64,
    /// What was asked for.
    pub(crate) settings: Settings,
    /// Connections.
    pub(crate) connections: Connections,
    /// Messages.
    pub(crate) messages: Messages,
    /// Connections that were ended on purpose or by the server, and came back; slow ones.
    pub(crate) unrest: UnrestResult,
    /// Both by URL.
    pub(crate) urls: Vec<UrlResult>,
    /// Latencies in microseconds; `null` for kinds that did not occur.
    pub(crate) latency_us: LatencyTable,
    /// Failures by kind, most frequent first.
    pub(crate) errors: Vec<ErrorCount>,
    /// Texts of the first failures.
    pub(crate) examples: Vec<String>,
    /// The generator's own effort.
    pub(crate) generator: Generator,
    /// Second by second.
    pub(crate) series: Vec<Second>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    /// Where.
    pub(crate) urls: Vec<String>,
    /// Connections (fan-out: subscribers).
    pub(crate) connections: u32,
    /// Connections that publish; 0 where nothing is published.
    pub(crate) publishers: u32,
    /// Channels that each subscriber reads.
    pub(crate) subscriptions: u32,
    /// Channels; 0 without subscriptions.
    pub(crate) channels: u32,
    /// Messages per second; `null` in closed loop and where nothing is sent.
    pub(crate) rate: Option<f64>,
    /// Messages outstanding; `null` in open loop and where nothing is sent.
    pub(crate) depth: Option<u32>,
    /// Payload, bytes.
    pub(crate) size: usize,
    /// Measured time asked for, seconds.
    pub(crate) duration_s: f64,
    /// Time before it, seconds.
    pub(crate) warmup_s: f64,
    /// Time for which connections were held before that, seconds.
    pub(crate) hold_s: f64,
    /// Time for which they were held at the end, seconds.
    pub(crate) hold_after_s: f64,
    /// Connections per second; `null`: as fast as they open.
    pub(crate) connect_rate: Option<f64>,
    /// `json` or `protobuf`; `null` without the client protocol.
    pub(crate) encoding: Option<&'static str>,
    /// Seed of masking and handshake keys.
    pub(crate) seed: u64,
}

/// Connections, publishers included.
#[derive(Debug, Serialize)]
pub(crate) struct Connections {
    /// Asked for.
    pub(crate) planned: u64,
    /// Begun.
    pub(crate) attempted: u64,
    /// Became usable.
    pub(crate) opened: u64,
    /// Never became usable, or were lost before the end.
    pub(crate) failed: u64,
    /// The latter part of `failed`.
    pub(crate) dropped: u64,
    /// Ended with a close frame from both sides.
    pub(crate) closed: u64,
    /// Not properly closed by the server at the end.
    pub(crate) unclean: u64,
    /// Time from the first attempt to the last one's end, seconds.
    pub(crate) opening_s: f64,
    /// Usable connections per second of that time.
    pub(crate) opened_per_s: f64,
}

/// Messages; the measured ones are those whose intended time lies after the warm-up and within the duration.
#[derive(Debug, Serialize)]
pub(crate) struct Messages {
    /// Sent.
    pub(crate) sent: u64,
    /// Received, with duplicates and damaged ones.
    pub(crate) received: u64,
    /// Deliveries that should have happened.
    pub(crate) expected: u64,
    /// Deliveries that did not happen.
    pub(crate) lost: u64,
    /// Deliveries that need not happen: under way to connections that were ended on purpose, or of refused publications.
    pub(crate) excused: u64,
    /// Received, but not checked: by slow or leaving connections, or from before a subscription.
    pub(crate) unchecked: u64,
    /// Deliveries that happened again.
    pub(crate) duplicated: u64,
    /// Deliveries after later ones of the same stream.
    pub(crate) reordered: u64,
    /// Deliveries whose content is not what was sent.
    pub(crate) corrupt: u64,
    /// Deliveries of other senders or earlier runs.
    pub(crate) foreign: u64,
    /// Due, but not sendable.
    pub(crate) unsent: u64,
    /// Publish commands answered; fan-out only.
    pub(crate) answered: u64,
    /// Publish commands refused; fan-out only.
    pub(crate) refused: u64,
    /// Pings answered.
    pub(crate) pings: u64,
    /// Measured time, seconds.
    pub(crate) measured_s: f64,
    /// Measured messages sent, per second.
    pub(crate) sent_per_s: f64,
    /// Measured messages received, per second.
    pub(crate) received_per_s: f64,
    /// Bytes to the kernel, frame headers included.
    pub(crate) bytes_sent: u64,
    /// Bytes from the kernel.
    pub(crate) bytes_received: u64,
}

/// What became of connections that did not stay, and of those that did not keep up.
#[derive(Debug, Serialize)]
pub(crate) struct UnrestResult {
    /// Cut off on purpose.
    pub(crate) cut: u64,
    /// Left with a close frame, to come back.
    pub(crate) churned: u64,
    /// Ended by the server, to come back (with --reconnect).
    pub(crate) torn: u64,
    /// Came back. Each of the above does so once.
    pub(crate) back: u64,
    /// Attempts to come back that failed and were repeated.
    pub(crate) retries: u64,
    /// Gave up.
    pub(crate) given_up: u64,
    /// Had not come back at the end.
    pub(crate) away: u64,
    /// Why connections were ended by the server, and why attempts failed.
    pub(crate) setbacks: Vec<ErrorCount>,
    /// Connections that were made slow.
    pub(crate) slow: u64,
    /// Those of them that the server ended.
    pub(crate) slow_ended: u64,
}

/// The connections to one URL, and the messages on them.
#[derive(Debug, Serialize)]
pub(crate) struct UrlResult {
    /// Which.
    pub(crate) url: String,
    /// Connections asked for.
    pub(crate) planned: u64,
    /// Became usable.
    pub(crate) opened: u64,
    /// Never became usable, or were lost before the end.
    pub(crate) failed: u64,
    /// The latter part of `failed`.
    pub(crate) dropped: u64,
    /// Messages sent to it.
    pub(crate) sent: u64,
    /// Deliveries that should have come from it.
    pub(crate) expected: u64,
    /// Different messages that came from it.
    pub(crate) received: u64,
    /// Deliveries that did not come.
    pub(crate) lost: u64,
    /// Deliveries that came again.
    pub(crate) duplicated: u64,
    /// Deliveries after later ones of the same stream.
    pub(crate) reordered: u64,
}

/// Percentiles by kind.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyTable {
    /// From a connection's due time to the 101 response.
    pub(crate) handshake: Option<Summary>,
    /// From the same time to the replies to `connect` and `subscribe`.
    pub(crate) login: Option<Summary>,
    /// From a message's intended time to its arrival.
    pub(crate) message: Option<Summary>,
    /// The part of `message` whose publisher is on the URL of the subscriber; fan-out over several URLs only.
    pub(crate) message_same_url: Option<Summary>,
    /// The rest of it: what crossed from one URL to another.
    pub(crate) message_other_url: Option<Summary>,
    /// Like `message`, for messages from user to user.
    pub(crate) direct: Option<Summary>,
    /// From the end of a connection to the time when it was usable again.
    pub(crate) comeback: Option<Summary>,
    /// From a publication's intended time to its reply.
    pub(crate) publish: Option<Summary>,
    /// From a message's intended time to its sending: the generator's own delay.
    pub(crate) lag: Option<Summary>,
}

/// One kind of failure.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorCount {
    /// Stable name.
    pub(crate) kind: String,
    /// How often.
    pub(crate) count: u64,
    /// For people.
    pub(crate) text: String,
}

/// The generator's own effort in the main part of the run.
#[derive(Debug, Serialize)]
pub(crate) struct Generator {
    /// Back end in use.
    pub(crate) io: String,
    /// Threads.
    pub(crate) threads: u32,
    /// Source addresses; 0: the kernel's pick.
    pub(crate) sources: usize,
    /// Resident memory when all connections were open, bytes.
    pub(crate) memory_bytes: u64,
    /// What of it came with the connections, threads and their buffers included, bytes for each open one.
    pub(crate) memory_per_connection: f64,
    /// Processor cores that all threads used together.
    pub(crate) cpu_cores: f64,
    /// Share of a core that the busiest thread used. The busiest is the one that asked for the most.
    pub(crate) busiest_thread: f64,
    /// Share of the time in which that thread could have run, but others had the processor.
    pub(crate) busiest_thread_waiting: f64,
    /// Whether a thread was saturated, running or waiting: then the generator may have been the bottleneck.
    pub(crate) saturated: bool,
}

impl RunResult {
    /// Sums a run up.
    #[must_use]
    pub(crate) fn new(plan: &Plan, outcome: Outcome) -> Self {
        let Outcome { counters, latencies, failures, times, busy, io, memory, series, .. } = outcome;
        let (urls, interrupted, started_unix_ms) =
            (outcome.urls, outcome.interrupted, outcome.started_unix_ms);
        let faults = faults(plan, &counters, &failures, interrupted);
        let per_second = |count: u64, time: Nanos| match time {
            0 => 0.0,
            time => round(count as f64 * SECOND as f64 / time as f64),
        };
        let share = |time: Nanos| if times.busy == 0 { 0.0 } else { time as f64 / times.busy as f64 };
        let busiest = busy.iter().copied().max_by_key(|time| time.wanted()).unwrap_or_default();
        RunResult {
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
                threads: plan.threads,
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
            },
            series,
        }
    }
}

fn error_counts(failures: &Failures) -> Vec<ErrorCount> {
    let counts = failures.by_count().into_iter();
    counts
        .map(|(failure, count)| ErrorCount { kind: failure.key(), count, text: failure.to_string() })
        .collect()
}

/// What makes the exit code 1.
fn faults(plan: &Plan, counters: &Counters, failures: &Failures, interrupted: bool) -> Vec<String> {
    let unopened = u64::from(plan.clients).saturating_sub(counters.attempted);
    let table = [
        (counters.failed, "connections could not be opened"),
        (if interrupted { 0 } else { unopened }, "connections were not begun in time"),
        (counters.dropped, "connections were lost"),
        (counters.given_up, "connections gave up coming back"),
        (if interrupted { 0 } else { counters.away }, "connections had not come back at the end"),
        (counters.unclean, "connections were not closed properly by the server"),
        (counters.lost(), "messages were lost"),
        (counters.unsent, "messages could not be sent"),
        (counters.duplicated, "messages arrived more than once"),
        (counters.reordered, "messages arrived out of order"),
        (counters.corrupt, "messages arrived damaged"),
        (counters.refused, "publish commands were refused"),
    ];
    let mut faults: Vec<String> =
        table.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if faults.is_empty() && !failures.is_empty() {
        faults.push("operations failed: see the errors".to_owned());
    }
    faults
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
    use crate::counters::LatencySet;
    use crate::cpu::CpuTime;
    use crate::failure::Failure;
    use crate::outcome::{Memory, Times};

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
                failed: 0,
                opened: 100,
                sent: 90,
                received: 90,
                p50_us: 5.0,
                p99_us: 9.0,
            }],
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
        assert!(generator.saturated);
        assert_eq!((generator.busiest_thread, generator.busiest_thread_waiting), (0.333, 0.667));
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
            assert_eq!(result.faults, [fault]);
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
