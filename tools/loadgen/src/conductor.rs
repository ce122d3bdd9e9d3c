//! Leads a run: starts the threads, moves all of them from stage to stage, adds up what they report.
//!
//! Invariant: totals are exact at the end (every thread hands over its last snapshot) and at most a snapshot's age
//! behind before.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use roadstead_io::{Kind, Selected, Waker};

use crate::clock::Clock;
use crate::counters::{Counters, LatencySet, Snapshot, UrlCounters};
use crate::cpu::CpuTime;
use crate::failure::Failures;
use crate::histogram_log::HistogramLog;
use crate::latency::Latencies;
use crate::ledger::Ledger;
use crate::limits::{SLEEP_MS_MAX, SNAPSHOT_MS, SNAPSHOTS_MAX, START_DELAY_MS};
use crate::machines::Gate;
use crate::memory::resident_bytes;
use crate::outcome::{Memory, Outcome, Phase, Second, Times};
use crate::plan::{Load, Plan};
use crate::progress::Progress;

use crate::scenario::Audience;
use crate::schedule::{Nanos, SECOND};
use crate::scrape::{MetricsUrl, Scraper};
use crate::stage::{Conduct, Stage, Window};
use crate::worker::{self, Assignment};

const MILLISECOND: Nanos = 1_000_000;

/// Runs `plan` on the back end `selected`. It ends early once `interrupt` is raised.
///
/// # Errors
/// A thread could not be started, or its back end failed as a whole.
pub(crate) fn conduct(
    plan: &Arc<Plan>,
    selected: &Selected,
    observers: Observers<'_>,
    interrupt: &AtomicBool,
) -> Result<Outcome, String> {
    let started_unix_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let crew =
        Crew::start(plan, selected.kind).map_err(|error| format!("cannot start the threads: {error}"))?;
    let scraper = observers.metrics.map(|metrics| Scraper::start(metrics, crew.clock)).transpose()?;
    let mut conductor = Conductor::new(Arc::clone(plan), crew, observers.log, observers.gate);
    conductor.lead(observers.progress, interrupt);
    observers.progress.finish();
    let mut outcome = conductor.outcome(selected, started_unix_ms)?;
    outcome.metrics = scraper.map(Scraper::finish).unwrap_or_default();
    Ok(outcome)
}

/// Who watches a run.
#[derive(Debug)]
pub(crate) struct Observers<'a> {
    /// What is said meanwhile.
    pub(crate) progress: &'a Progress,
    /// Where latencies are written second by second.
    pub(crate) log: Option<HistogramLog>,
    /// The server's metrics.
    pub(crate) metrics: Option<MetricsUrl>,
    /// Where the run waits before the load begins.
    pub(crate) gate: Option<Arc<Gate>>,
}

/// The threads.
struct Crew {
    conduct: Arc<Conduct>,
    clock: Clock,
    wakers: Vec<Waker>,
    threads: Vec<JoinHandle<()>>,
    snapshots: Receiver<Snapshot>,
}

impl Crew {
    fn start(plan: &Arc<Plan>, kind: Kind) -> io::Result<Self> {
        let conduct = Arc::new(Conduct::default());
        let clock = Clock::new();
        let (sender, snapshots) = bounded(SNAPSHOTS_MAX);
        let audience = Arc::new(Audience::new(plan.load.streams(), plan.targets.len()));
        // All before the first thread: a thread with a descriptor table of its own must find its waker in it.
        let wakers = (0..plan.threads).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>()?;
        let mut threads = Vec::new();
        for (thread, waker) in (0..plan.threads).zip(&wakers) {
            let assignment = Assignment {
                thread,
                plan: Arc::clone(plan),
                conduct: Arc::clone(&conduct),
                clock,
                kind,
                waker: waker.clone(),
                ledger: Ledger::new(thread, plan.targets.len(), sender.clone()),
                audience: Arc::clone(&audience),
            };
            let builder = std::thread::Builder::new().name(format!("loadgen-{thread}"));
            threads.push(builder.spawn(move || worker::run(assignment))?);
        }
        Ok(Self { conduct, clock, wakers, threads, snapshots })
    }

    fn enter(&self, stage: Stage) {
        self.conduct.enter(stage);
        self.wake();
    }

    fn wake(&self) {
        self.wakers.iter().for_each(Waker::wake);
    }
}

/// What is known of one thread.
#[derive(Clone, Debug, Default)]
struct Part {
    counters: Counters,
    urls: Vec<UrlCounters>,
    settled_at: Nanos,
    /// Processor time when the main part began, and the latest.
    cpu_start: CpuTime,
    cpu_end: CpuTime,
    is_done: bool,
}

struct Conductor {
    plan: Arc<Plan>,
    crew: Crew,
    stage: Stage,
    window: Window,
    parts: Vec<Part>,
    latencies: LatencySet,
    failures: Failures,
    setbacks: Failures,
    fatal: Option<String>,
    is_interrupted: bool,
    opened_at: Option<Nanos>,
    /// When the present stage ends at the latest, for stages that have such a time.
    until: Nanos,
    /// Resident memory before the first connection, and when all were open.
    memory: Memory,
    series: Series,
    phases: Vec<Phase>,
    log: Option<HistogramLog>,
    gate: Option<Arc<Gate>>,
}

impl Conductor {
    fn new(plan: Arc<Plan>, crew: Crew, log: Option<HistogramLog>, gate: Option<Arc<Gate>>) -> Self {
        Self {
            parts: vec![Part::default(); plan.threads as usize],
            plan,
            crew,
            stage: Stage::Opening,
            window: Window::default(),
            latencies: LatencySet::default(),
            failures: Failures::default(),
            setbacks: Failures::default(),
            fatal: None,
            is_interrupted: false,
            opened_at: None,
            until: 0,
            memory: Memory { start: resident_bytes(), open: 0 },
            series: Series::default(),
            phases: Vec::new(),
            log,
            gate,
        }
    }

    fn lead(&mut self, progress: &Progress, interrupt: &AtomicBool) {
        self.begin_phase(self.crew.clock.now(), &Counters::default(), progress);
        loop {
            match self.crew.snapshots.recv_timeout(Duration::from_millis(SNAPSHOT_MS)) {
                Ok(snapshot) => self.take(snapshot),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(snapshot) = self.crew.snapshots.try_recv() {
                self.take(snapshot);
            }
            if self.parts.iter().all(|part| part.is_done) || self.has_lost_thread() {
                break;
            }
            let now = self.crew.clock.now();
            let totals = self.totals();
            if let Some((second, latencies)) = self.series.advance(self.stage, now, &totals) {
                progress.show(self.stage.word(), &second, &totals);
                self.note_second(second.at, &latencies);
            }
            if !self.is_interrupted && interrupt.load(Ordering::Relaxed) {
                self.interrupt(now);
            }
            let was = self.stage;
            self.advance(now, &totals);
            if was != self.stage {
                self.begin_phase(now, &totals, progress);
            }
        }
        let latencies = std::mem::take(&mut self.series.latencies);
        self.note_second(seconds(self.crew.clock.now()), &latencies);
    }

    fn begin_phase(&mut self, now: Nanos, totals: &Counters, progress: &Progress) {
        let phase = self.stage.word();
        self.phases.push(Phase { phase: phase.to_owned(), at: seconds(now) });
        progress.enter(phase, now, totals);
    }

    /// Hands the latencies up to `at` to the histogram log.
    fn note_second(&mut self, at: f64, latencies: &LatencySet) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.write(at, latencies)
        {
            self.fatal.get_or_insert(format!("cannot write the histogram log: {error}"));
            self.log = None;
            self.is_interrupted = true;
            self.crew.conduct.interrupt();
            self.enter(Stage::Closing);
        }
    }

    /// Whether a thread ended without its last snapshot: it panicked, and the others wait for stages in vain.
    fn has_lost_thread(&self) -> bool {
        let mut threads = self.crew.threads.iter().zip(&self.parts);
        // In this order: what a thread sent before it ended lies in the queue by the time that it is seen to have ended.
        threads.any(|(thread, part)| thread.is_finished() && !part.is_done) && self.crew.snapshots.is_empty()
    }

    fn take(&mut self, snapshot: Snapshot) {
        let part = &mut self.parts[snapshot.thread as usize];
        part.counters = snapshot.counters;
        part.urls = snapshot.urls;
        part.settled_at = snapshot.settled_at;
        part.is_done |= snapshot.counters.threads_done > 0;
        if snapshot.stage < Stage::Running && !matches!(self.plan.load, Load::Connect) {
            part.cpu_start = snapshot.cpu;
        }
        if snapshot.stage <= Stage::Running {
            part.cpu_end = snapshot.cpu;
        }
        if let Some(latencies) = snapshot.latencies {
            self.series.latencies.merge(&latencies);
            self.latencies.merge(&latencies);
        }
        self.failures.merge(snapshot.failures);
        self.setbacks.merge(snapshot.setbacks);
        if let Some(fatal) = snapshot.fatal {
            // The others must not wait for a thread that is gone.
            self.fatal.get_or_insert(format!("thread {}: {fatal}", snapshot.thread));
            self.is_interrupted = true;
            self.crew.conduct.interrupt();
            self.enter(Stage::Closing);
        }
    }

    fn totals(&self) -> Counters {
        let mut totals = Counters::default();
        self.parts.iter().for_each(|part| totals.add(&part.counters));
        totals
    }

    /// Moves on to the next stage if the present one has come to its end.
    fn advance(&mut self, now: Nanos, totals: &Counters) {
        match self.stage {
            Stage::Opening => {
                let is_settled = totals.threads_settled == u64::from(self.plan.threads);
                let is_late = self.plan.opening.limit.is_some_and(|limit| now >= limit);
                if !is_settled && !is_late {
                    return;
                }
                if self.gate.as_ref().is_some_and(|gate| !gate.pass()) {
                    return;
                }
                let settled_at = self.parts.iter().map(|part| part.settled_at).max().unwrap_or(now);
                self.opened_at = Some(if is_settled { settled_at } else { now });
                self.memory.open = resident_bytes();
                if matches!(self.plan.load, Load::Connect) || totals.is_deserted() {
                    self.enter(Stage::Closing);
                } else if self.plan.hold > 0 {
                    self.until = now + self.plan.hold;
                    self.enter(Stage::Holding);
                } else {
                    self.run(now);
                }
            }
            Stage::Holding => {
                if totals.is_deserted() {
                    self.enter(Stage::Closing);
                } else if now >= self.until {
                    self.run(now);
                }
            }
            Stage::Running => {
                let is_complete = totals.threads_complete == u64::from(self.plan.threads);
                let is_over =
                    now >= self.window.end && (is_complete || now >= self.window.end + self.plan.drain);
                if is_over || totals.is_deserted() {
                    self.drain(now);
                }
            }
            Stage::Draining => {
                let is_answered = totals.answered == totals.sent || !matches!(self.plan.load, Load::Flows(_));
                let is_complete = totals.lost() == 0 && is_answered && totals.away == 0;
                if is_complete || now >= self.until || totals.is_deserted() {
                    self.until = now + self.plan.hold_after;
                    let is_resting = self.plan.hold_after > 0 && totals.open > 0 && !self.is_interrupted;
                    self.enter(if is_resting { Stage::Resting } else { Stage::Closing });
                }
            }
            Stage::Resting => {
                if now >= self.until || totals.is_deserted() {
                    self.enter(Stage::Closing);
                }
            }
            Stage::Closing => {}
        }
    }

    fn run(&mut self, now: Nanos) {
        let start = now + START_DELAY_MS * MILLISECOND;
        let measured = start + self.plan.warmup;
        self.window = Window { start, measured, end: measured + self.plan.duration };
        self.crew.conduct.run(self.window);
        self.enter(Stage::Running);
    }

    fn drain(&mut self, now: Nanos) {
        // Earlier than planned if interrupted; later if a thread could not keep up with its schedule.
        let is_punctual = now.abs_diff(self.window.end) <= SLEEP_MS_MAX * MILLISECOND;
        self.window.end = if is_punctual { self.window.end } else { now };
        self.until = now + self.plan.drain;
        self.enter(Stage::Draining);
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.crew.enter(stage);
    }

    fn interrupt(&mut self, now: Nanos) {
        self.is_interrupted = true;
        self.crew.conduct.interrupt();
        match self.stage {
            Stage::Opening => {
                self.opened_at = Some(now);
                self.enter(Stage::Closing);
            }
            Stage::Holding | Stage::Resting => self.enter(Stage::Closing),
            Stage::Running => self.drain(now),
            Stage::Draining | Stage::Closing => {}
        }
    }

    fn outcome(mut self, selected: &Selected, started_unix_ms: u64) -> Result<Outcome, String> {
        // Finished ones first: after a panic the others are not waited for. It was printed by the thread itself.
        self.crew.threads.sort_by_key(|thread| !thread.is_finished());
        for thread in self.crew.threads.drain(..) {
            thread.join().map_err(|_| "a thread panicked".to_owned())?;
        }
        if let Some(fatal) = self.fatal {
            return Err(fatal);
        }
        let counters = {
            let mut totals = Counters::default();
            self.parts.iter().for_each(|part| totals.add(&part.counters));
            totals
        };
        let mut urls = vec![UrlCounters::default(); self.plan.targets.len()];
        for part in &self.parts {
            urls.iter_mut().zip(&part.urls).for_each(|(sum, of_part)| sum.add(of_part));
        }
        let opening = self.opened_at.unwrap_or_else(|| self.crew.clock.now());
        let window = self.window;
        let busy = if matches!(self.plan.load, Load::Connect) {
            opening
        } else {
            window.end.saturating_sub(window.start)
        };
        let mut io = selected.kind.to_string();
        if !selected.notes.is_empty() {
            io.push_str(&format!(" ({})", selected.notes.join("; ")));
        }
        Ok(Outcome {
            counters,
            urls,
            latencies: self.latencies,
            failures: self.failures,
            setbacks: self.setbacks,
            times: Times { opening, measured: window.end.saturating_sub(window.measured), busy },
            busy: self.parts.iter().map(|part| part.cpu_end - part.cpu_start).collect(),
            io,
            memory: self.memory,
            series: self.series.seconds,
            phases: self.phases,
            metrics: Vec::new(),
            interrupted: self.is_interrupted,
            started_unix_ms,
        })
    }
}

fn seconds(time: Nanos) -> f64 {
    (time as f64 / SECOND as f64 * 1_000.0).round() / 1_000.0
}

/// The run second by second.
#[derive(Debug, Default)]
struct Series {
    seconds: Vec<Second>,
    last: Counters,
    last_at: Nanos,
    latencies: LatencySet,
}

impl Series {
    /// What counts in the present stage: handshakes while opening, messages after.
    fn shown(&self, stage: Stage) -> &Latencies {
        match stage {
            Stage::Opening => &self.latencies.handshake,
            _ if self.latencies.message.is_empty() => &self.latencies.direct,
            _ => &self.latencies.message,
        }
    }

    /// Closes a second if one has passed; its latencies are those handed over in it.
    fn advance(&mut self, stage: Stage, now: Nanos, totals: &Counters) -> Option<(Second, LatencySet)> {
        if now < self.last_at + SECOND {
            return None;
        }
        let elapsed = (now - self.last_at) as f64 / SECOND as f64;
        let per_second = |new: u64, old: u64| (new.saturating_sub(old) as f64 / elapsed).round() as u64;
        let microseconds = |quantile| self.shown(stage).at(quantile) as f64 / 1e3;
        let second = Second {
            at: (now as f64 / SECOND as f64 * 10.0).round() / 10.0,
            open: totals.open,
            failed: totals.failed + totals.dropped,
            opened: per_second(totals.opened, self.last.opened),
            sent: per_second(totals.sent, self.last.sent),
            received: per_second(totals.received, self.last.received),
            p50_us: microseconds(0.5),
            p99_us: microseconds(0.99),
            p999_us: microseconds(0.999),
        };
        self.seconds.push(second);
        self.last = *totals;
        // Keeps to whole seconds when a late turn closes one.
        self.last_at += (now - self.last_at) / SECOND * SECOND;
        Some((second, std::mem::take(&mut self.latencies)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_rates_per_second() {
        let mut series = Series::default();
        assert!(series.advance(Stage::Running, SECOND / 2, &Counters::default()).is_none());
        let totals = Counters { open: 5, opened: 5, sent: 300, received: 100, ..Counters::default() };
        let first = series.advance(Stage::Running, 2 * SECOND, &totals).unwrap().0;
        assert_eq!((first.at, first.open, first.sent, first.received, first.opened), (2.0, 5, 150, 50, 3));
        let totals = Counters { sent: 400, received: 400, open: 4, dropped: 1, ..totals };
        let second = series.advance(Stage::Running, 3 * SECOND, &totals).unwrap().0;
        assert_eq!((second.sent, second.received, second.failed, second.opened), (100, 300, 1, 0));
        assert_eq!(series.seconds.len(), 2);
    }
}
