//! The controller's part: gives agents their parts, lets the load begin everywhere at once, and adds up what comes out.
//!
//! Invariant: an agent that fails, goes away or falls silent fails the run, and the others are stopped.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::channel::{Key, Reader, Writer, to_agent};
use super::message::{Order, Report};
use super::part::make_divisible;
use crate::arguments::ScenarioFlags;
use crate::clock::Clock;
use crate::conductor::Observers;
use crate::counters::{Counters, LatencySet, UrlCounters};
use crate::failure::Failures;
use crate::outcome::{Memory, Outcome, Phase, Second, Times};
use crate::plan::Plan;
use crate::schedule::SECOND;
use crate::scrape::Scraper;

/// How often the controller looks at time and signals.
const LOOK: Duration = Duration::from_millis(100);

/// A report and whose it is.
type Heard = (usize, Result<Report, String>);

/// A run that is divided among agents, checked, and not yet begun.
pub(crate) struct Division {
    plan: Plan,
    /// The command line that each agent gets.
    words: Vec<String>,
    addresses: Vec<String>,
    key: Key,
    /// Silence after which an agent is given up.
    patience: Duration,
}

impl Division {
    /// Divides `scenario`, whose command line is `words`, among its agents.
    ///
    /// # Errors
    /// What is wrong with the scenario or the key, as a sentence for the user.
    pub(crate) fn new(scenario: &ScenarioFlags, words: &[String]) -> Result<Self, String> {
        let mut whole = scenario.clone();
        make_divisible(&mut whole, scenario.flags().agents.len() as u32)?;
        let plan = Plan::of_many(&whole)?;
        let flags = whole.flags();
        let mut words: Vec<String> = words.iter().filter(|word| !is_own(word)).cloned().collect();
        // In the place of what was taken out: it has become divisible.
        words.push(format!("--publishers={}", flags.publishers));
        words.push(format!("--channels={}", flags.channels));
        words.extend(flags.rate.map(|rate| format!("--rate={rate}")));
        let key = Key::read(flags.agents_key.as_deref().ok_or("--agents needs --agents-key")?)?;
        let patience = Duration::from_secs_f64(flags.agents_timeout.0);
        if patience.is_zero() {
            return Err("--agents-timeout must be more than 0".to_owned());
        }
        Ok(Self { plan, words, addresses: flags.agents.clone(), key, patience })
    }

    /// Has the agents play it; the plan of the whole, and what came out.
    ///
    /// # Errors
    /// An agent cannot be reached, refuses, fails, goes away or falls silent.
    pub(crate) fn steer(
        self,
        observers: Observers<'_>,
        is_interrupted: &AtomicBool,
    ) -> Result<(Plan, Outcome), String> {
        let clock = Clock::new();
        let scraper = observers.metrics.clone().map(|metrics| Scraper::start(metrics, clock)).transpose()?;
        let mut controller = Controller::connect(&self, clock)?;
        controller.start(&self.words);
        let led = controller.lead(&observers, is_interrupted);
        controller.agents.iter().for_each(|agent| agent.writer.close());
        observers.progress.finish();
        led?;
        let mut outcome = controller.outcome;
        outcome.metrics = scraper.map(Scraper::finish).unwrap_or_default();
        if let Some(mut log) = observers.log {
            // Agents keep no seconds apart: the whole run is one interval.
            log.write(clock.now() as f64 / SECOND as f64, &outcome.latencies)
                .map_err(|error| format!("cannot write the histogram log: {error}"))?;
        }
        Ok((self.plan, outcome))
    }

    /// Connects to the agent at `name`, and proves the key to it.
    fn dial(&self, name: &str) -> Result<(Writer, Reader), String> {
        let connect = || {
            let address = name.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
            let stream = TcpStream::connect_timeout(&address, self.patience)?;
            to_agent(Arc::new(stream), &self.key, self.patience)
        };
        connect().map_err(|error| format!("agent {name}: {error}"))
    }
}

/// Whether a word of the command line is for the controller, or is replaced by it.
fn is_own(word: &str) -> bool {
    const OWN: [&str; 13] = [
        "agents",
        "agents-key",
        "agents-timeout",
        "json",
        "html",
        "hdr",
        "expect",
        "metrics-url",
        "progress",
        "quiet",
        "publishers",
        "channels",
        "rate",
    ];
    let name = word.split('=').next().unwrap_or_default();
    name.strip_prefix("--").is_some_and(|name| OWN.contains(&name))
}

struct Agent {
    name: String,
    writer: Writer,
    has_settled: bool,
    is_done: bool,
    /// The second that it last reported.
    last: Second,
}

impl Agent {
    fn tell(&mut self, order: &Order) {
        // One that cannot be told is noticed by what it says before it goes, or by its silence.
        drop(self.writer.send(order));
    }
}

struct Controller {
    agents: Vec<Agent>,
    reports: Receiver<Heard>,
    clock: Clock,
    phase: String,
    second_at: u64,
    outcome: Outcome,
}

impl Controller {
    fn connect(division: &Division, clock: Clock) -> Result<Self, String> {
        // All at once: those that are first must not wait for those that hang.
        let dialled: Vec<_> = thread::scope(|scope| {
            let names = division.addresses.iter();
            let calls: Vec<_> = names.map(|name| scope.spawn(move || division.dial(name))).collect();
            let joined = calls.into_iter().map(|call| call.join());
            joined.map(|call| call.unwrap_or_else(|_| Err("a thread panicked".to_owned()))).collect()
        });
        let halves = dialled.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (sender, reports) = channel();
        let mut agents = Vec::new();
        for (number, (name, (writer, reader))) in division.addresses.iter().zip(halves).enumerate() {
            listen(number, reader, sender.clone());
            let name = format!("agent {name}");
            agents.push(Agent { name, writer, has_settled: false, is_done: false, last: Second::default() });
        }
        Ok(Self {
            agents,
            reports,
            clock,
            phase: "opening".to_owned(),
            second_at: SECOND,
            outcome: empty(division.plan.targets.len()),
        })
    }

    /// Gives each agent its part.
    fn start(&mut self, words: &[String]) {
        let parts = self.agents.len() as u32;
        for (part, agent) in (0..).zip(&mut self.agents) {
            agent.tell(&Order::Start { words: words.to_vec(), part, parts });
        }
    }

    fn lead(&mut self, observers: &Observers<'_>, is_interrupted: &AtomicBool) -> Result<(), String> {
        let mut has_stopped = false;
        self.enter("opening", observers);
        while self.agents.iter().any(|agent| !agent.is_done) {
            match self.reports.recv_timeout(LOOK) {
                Ok((number, report)) => self.take(number, report, observers)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("all agents are gone".to_owned()),
            }
            if is_interrupted.load(Ordering::Relaxed) && !has_stopped {
                has_stopped = true;
                self.tell_all(&Order::Stop);
            }
            self.advance(observers);
        }
        Ok(())
    }

    fn take(
        &mut self,
        number: usize,
        report: Result<Report, String>,
        observers: &Observers<'_>,
    ) -> Result<(), String> {
        let agent = &mut self.agents[number];
        match report {
            // After its last report it hangs up.
            Err(_) if agent.is_done => {}
            Err(reason) => return Err(format!("{}: {reason}", agent.name)),
            Ok(Report::Failed(reason)) => return Err(format!("{}: {reason}", agent.name)),
            Ok(Report::Settled) => {
                agent.has_settled = true;
                if self.agents.iter().all(|agent| agent.has_settled) {
                    self.tell_all(&Order::Go);
                }
            }
            Ok(Report::Second { phase, second }) => {
                agent.last = second;
                if phase != self.phase {
                    self.enter(&phase, observers);
                }
            }
            Ok(Report::Done(part)) => {
                agent.is_done = true;
                part.add_to(&mut self.outcome).map_err(|error| format!("{}: {error}", agent.name))?;
            }
        }
        Ok(())
    }

    /// Closes a second if one has passed, and lets the agents know: rates are added up, of percentiles the worst agent's is taken.
    fn advance(&mut self, observers: &Observers<'_>) {
        let now = self.clock.now();
        if now < self.second_at {
            return;
        }
        self.second_at = now / SECOND * SECOND + SECOND;
        self.tell_all(&Order::Here);
        let mut sum = Second { at: (now as f64 / SECOND as f64 * 10.0).round() / 10.0, ..Second::default() };
        for agent in self.agents.iter().filter(|agent| !agent.is_done) {
            let last = agent.last;
            sum.open += last.open;
            sum.failed += last.failed;
            sum.opened += last.opened;
            sum.sent += last.sent;
            sum.received += last.received;
            sum.p50_us = sum.p50_us.max(last.p50_us);
            sum.p99_us = sum.p99_us.max(last.p99_us);
            sum.p999_us = sum.p999_us.max(last.p999_us);
        }
        observers.progress.show(&self.phase, &sum, &Counters::default());
        self.outcome.series.push(sum);
    }

    fn enter(&mut self, phase: &str, observers: &Observers<'_>) {
        phase.clone_into(&mut self.phase);
        let now = self.clock.now();
        let at = (now as f64 / SECOND as f64 * 1e3).round() / 1e3;
        self.outcome.phases.push(Phase { phase: phase.to_owned(), at });
        observers.progress.enter(phase, now, &Counters::default());
    }

    fn tell_all(&mut self, order: &Order) {
        self.agents.iter_mut().filter(|agent| !agent.is_done).for_each(|agent| agent.tell(order));
    }
}

fn listen(number: usize, mut reader: Reader, to: Sender<Heard>) {
    thread::spawn(move || {
        loop {
            let report = reader.receive().map_err(|error| error.to_string());
            let is_last = report.is_err();
            // Nobody listens any more once the run is over.
            if to.send((number, report)).is_err() || is_last {
                return;
            }
        }
    });
}

fn empty(urls: usize) -> Outcome {
    Outcome {
        counters: Counters::default(),
        urls: vec![UrlCounters::default(); urls],
        latencies: LatencySet::default(),
        failures: Failures::default(),
        setbacks: Failures::default(),
        times: Times::default(),
        busy: Vec::new(),
        io: String::new(),
        memory: Memory::default(),
        series: Vec::new(),
        phases: Vec::new(),
        metrics: Vec::new(),
        interrupted: false,
        started_unix_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
    }
}
