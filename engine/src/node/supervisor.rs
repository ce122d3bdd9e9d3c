//! The main thread while a node runs: waits for signals and wishes, watches the shards, reports to the service manager.
//!
//! ```text
//!   running ── the drain says Stop, or a shard ended ──> ending ── every shard ended ──> done
//!      │                                                    └── time up ──> ended at once
//!      ├── Stop: drain, then exit; a second one: ended at once
//!      ├── a wish: drain, or stay after all
//!      ├── Reload: read, check, apply what can change, say what needs a restart
//!      └── a shard stalled: the process aborts
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use roadstead_control::Standing;

use super::certificates::{Certificates, Fresh};
use super::control::Control;
use super::drain::{Drain, Step};
use super::happenings::Happening;
use super::key_sets::{self, KeySets};
use super::scarcity::Scarcity;
use super::shards::Shards;
use super::{Failure, Fitted, announce, bans, failure, service};
use crate::admin::{ApiKeys, Wish};
use crate::config::{self, Sources};
use crate::counters::Metric;
use crate::guards::Guards;
use crate::health::{DrainPhase, DrainStatus, Health, STALL_MS, State};
use crate::logging::Logging;
use crate::settings::Settings;
use crate::token::Verifier;

/// Between two looks at the shards.
const LOOK: Duration = Duration::from_secs(1);
/// Looks within one watchdog interval: a feed may miss a few and still be in time.
const LOOKS_PER_FEED: u32 = 4;
/// Between two lines for `systemctl status`.
const STATUS: Duration = Duration::from_secs(10);
/// After their own deadline shards need only to return from their turn.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Milliseconds since `started`: the time of shards and of their health.
pub(super) fn milliseconds(started: Instant) -> u64 {
    started.elapsed().as_millis() as u64
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    /// As they were read last; what needs a restart as it was at the start.
    pub(super) settings: Settings,
    pub(super) fitted: Fitted,
    pub(super) shards: Shards,
    pub(super) scarcity: Scarcity,
    pub(super) guards: Arc<Guards>,
    pub(super) api_keys: ApiKeys,
    pub(super) health: Arc<Health>,
    pub(super) started: Instant,
    /// Said on stdout as soon as clients are served.
    pub(super) ready_line: String,
    pub(super) course: Course,
    pub(super) certificates: Certificates,
    /// Keys of tokens that somebody else keeps.
    pub(super) key_sets: KeySets,
    /// `None`: the node has no fleet.
    pub(super) control: Option<Control>,
}

/// How the node's life goes on.
#[derive(Debug)]
pub(super) struct Course {
    drain: Drain,
    /// The first signal to stop was heard.
    told_to_stop: bool,
    /// Clients have been served: the ready line is out.
    was_ready: bool,
    ending: Option<Ending>,
}

/// The shards were told to stop.
#[derive(Debug)]
struct Ending {
    deadline: Instant,
    /// Shards that have not ended.
    left: usize,
    /// Why, if not because somebody asked.
    failure: Option<Failure>,
}

impl Course {
    pub(super) fn new() -> Self {
        Self { drain: Drain::new(), told_to_stop: false, was_ready: false, ending: None }
    }
}

impl Node {
    pub(super) fn supervise(
        mut self,
        happenings: &Receiver<Happening>,
        sources: &Sources,
        logging: &Logging,
    ) -> Result<(), Failure> {
        let watchdog = service::watchdog();
        let look = watchdog.map_or(LOOK, |interval| LOOK.min(interval / LOOKS_PER_FEED));
        let mut reported = Instant::now();
        let mut looked = Instant::now();
        self.show_state();
        loop {
            let due = self.course.drain.due(self.started.elapsed()).map(|due| self.started + due);
            match happenings.recv_deadline(due.map_or(looked + look, |due| due.min(looked + look))) {
                Ok(Happening::Stop) if self.course.told_to_stop => return Err(Failure::Interrupted),
                Ok(Happening::Stop) => {
                    self.course.told_to_stop = true;
                    self.leave(true);
                }
                Ok(Happening::Wish(wish, granted)) => {
                    let answer = self.grant(wish);
                    // Whoever asked may have gone.
                    let _ = granted.send(answer);
                }
                Ok(Happening::Reload) if self.course.ending.is_none() => self.reload(sources, logging),
                Ok(Happening::Reload) => {}
                Ok(Happening::Standing) => self.show_state(),
                Ok(Happening::ShardEnded { shard, error }) => {
                    if self.course.ending.is_none() {
                        let why = error.map_or_else(|| "without reason".into(), |error| error.to_string());
                        let why = format!("shard {shard} ended while serving: {why}");
                        tracing::error!("{why}; the other shards are stopped");
                        self.end(Some(Failure::Serving(why)));
                    }
                    if let Some(ended) = self.shard_ended() {
                        return ended;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Serving("nobody is left to hear signals".into()));
                }
            }
            self.go_on();
            if looked.elapsed() >= look {
                looked = Instant::now();
                self.look(watchdog.is_some(), logging)?;
                if self.certificates.look(&self.settings, &self.health) {
                    self.shards.certify(&self.certificates);
                }
                self.show_state();
                let is_under_way = !self.course.was_ready || !self.course.drain.is_serving();
                if is_under_way || reported.elapsed() >= STATUS {
                    reported = looked;
                    self.report();
                }
            }
        }
    }

    /// Begins a drain, or turns one that stays into one that exits.
    fn leave(&mut self, exits: bool) {
        if self.course.ending.is_some() {
            return;
        }
        let is_ready = self.health.state() == State::Serving;
        let shutdown = &self.settings.shutdown;
        let steps = self.course.drain.begin(shutdown, exits, is_ready, self.started.elapsed());
        self.walk(steps);
        self.go_on();
    }

    fn grant(&mut self, wish: Wish) -> Option<DrainStatus> {
        match wish {
            Wish::Drain { exits } => self.leave(exits),
            Wish::Cancel => {
                let steps = self.course.drain.cancel()?;
                self.course.told_to_stop = false;
                self.walk(steps);
                self.go_on();
            }
        }
        Some(self.health.drain())
    }

    /// Does what is due of the drain, and lets everybody see how far it is.
    fn go_on(&mut self) {
        let steps = self.course.drain.advance(
            self.started.elapsed(),
            self.count(Metric::Connections),
            self.control.is_some(),
        );
        self.walk(steps);
        self.health.set_drain(self.drain_status());
    }

    fn walk(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Announce => {
                    self.show_state();
                    if let Some(control) = &self.control {
                        control.set_draining(true);
                    }
                    let after_s = self.drain_status().left_ms.div_ceil(1_000);
                    let clients = self.count(Metric::Connections);
                    tracing::info!(
                        "draining: not ready any more; {clients} clients are closed within {after_s} s"
                    );
                }
                Step::StopListening => self.shards.stop_listening(),
                Step::Leave { window } => {
                    let clients = self.count(Metric::Connections);
                    tracing::info!("draining: closing {clients} clients over {} ms", window.as_millis());
                    self.shards.leave(window);
                }
                Step::Resume => {
                    tracing::info!("the drain is cancelled: serving again");
                    self.shards.stay();
                    if let Some(control) = &self.control {
                        control.set_draining(false);
                    }
                    self.show_state();
                }
                Step::Rest => tracing::info!("drained; the process stays until it is told to stop"),
                Step::LeaveFleet => {
                    if let Some(control) = &self.control {
                        control.leave();
                    }
                }
                Step::Stop => self.end(None),
            }
        }
    }

    /// Tells the shards to stop.
    fn end(&mut self, failure: Option<Failure>) {
        self.tell();
        let close = Duration::from_millis(u64::from(self.settings.shutdown.close_ms));
        tracing::info!("stopping: what is still open is closed within {} ms", close.as_millis());
        self.course.drain.abandon();
        self.show_state();
        service::stopping(close + STOP_GRACE);
        self.shards.stop();
        let deadline = Instant::now() + close + STOP_GRACE;
        self.course.ending = Some(Ending { deadline, left: self.shards.len(), failure });
    }

    /// One shard less. How the node ended, if it was the last.
    fn shard_ended(&mut self) -> Option<Result<(), Failure>> {
        let ending = self.course.ending.as_mut()?;
        ending.left -= 1;
        if ending.left > 0 {
            return None;
        }
        tracing::info!("stopped");
        Some(ending.failure.take().map_or(Ok(()), Err))
    }

    /// Where the node is now, for probes and balancers; the first time that it serves is said aloud.
    fn show_state(&mut self) {
        if !self.course.drain.is_serving() {
            return self.health.set_state(State::Draining);
        }
        if self.lacks_keys() {
            return self.health.set_state(State::Starting);
        }
        let standing = self.control.as_ref().map_or(Standing::Serving, Control::standing);
        self.health.set_state(match standing {
            Standing::Joining => State::Joining,
            Standing::Settling => State::Settling,
            Standing::Serving => State::Serving,
        });
        if standing == Standing::Serving && !self.course.was_ready {
            self.course.was_ready = true;
            tracing::info!("{}", self.ready_line);
            announce(&self.ready_line);
            service::ready(&self.summary());
        }
    }

    /// Whether nobody could be let in yet. Later that makes no difference: who is connected stays.
    fn lacks_keys(&self) -> bool {
        !self.course.was_ready && self.key_sets.are_awaited(&self.settings)
    }

    /// Watches the shards; each is woken, so that one without work shows a turn at the next look.
    fn look(&mut self, feeds: bool, logging: &Logging) -> Result<(), Failure> {
        if let Some(ending) = &self.course.ending {
            let is_late = Instant::now() >= ending.deadline;
            let late = || Failure::Serving(format!("{} shards did not stop in time", ending.left));
            return if is_late { Err(late()) } else { Ok(()) };
        }
        let turns = self.shards.counters().iter().map(|counters| counters.get(Metric::Turns));
        let was_here = self.health.observe(turns, milliseconds(self.started));
        if let Some(shard) = self.health.stalled() {
            failure::abort(
                &format!("shard {shard} has not turned for {STALL_MS} ms; the process aborts"),
                logging,
            );
        }
        if let Some(control) = &self.control
            && was_here
            && control.silent_ms(milliseconds(self.started)) >= STALL_MS
        {
            failure::abort(
                &format!("the control thread has stood still for {STALL_MS} ms; the process aborts"),
                logging,
            );
        }
        self.tell();
        if feeds && self.health.all_have_turned() {
            service::feed_watchdog();
        }
        self.shards.wake();
        Ok(())
    }

    /// Logs what there is to say of shortages and strangers.
    fn tell(&mut self) {
        self.scarcity.look(&self.shards, &self.health, milliseconds(self.started));
        bans::tell(&self.guards.take_news());
    }

    /// Tells the service manager how things are.
    fn report(&self) {
        if self.course.ending.is_some() {
            return;
        }
        if self.course.drain.is_serving() {
            if self.course.was_ready {
                return service::status(&self.summary());
            }
            let status = match self.health.state() {
                _ if self.lacks_keys() => "waiting for the first keys from token.jwks_url",
                State::Joining => "joining: no node of the fleet has answered yet",
                State::Settling => "settling: who is in the fleet must hold for a moment",
                State::Starting | State::Serving | State::Draining => "starting",
            };
            return service::take_time(status, 3 * STATUS);
        }
        let close = Duration::from_millis(u64::from(self.settings.shutdown.close_ms));
        let way = self.course.drain.patience(self.started.elapsed(), self.count(Metric::Connections));
        service::take_time(&self.summary(), way + close + STOP_GRACE);
    }

    /// A configuration that is not valid changes nothing.
    fn reload(&mut self, sources: &Sources, logging: &Logging) {
        service::reloading();
        let read = config::load(sources).map_err(|problems| {
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
        });
        let read = read.and_then(|read| match self.certificates.read(&read.settings) {
            Ok(fresh) => Ok((read, fresh)),
            Err(error) => {
                tracing::error!("{error}");
                self.health.count_certificates(false);
                Err(())
            }
        });
        let read = read.and_then(|(read, fresh)| {
            let keys = self.key_sets.prepare(&read.settings);
            match Verifier::load(&read.settings, keys.remotes()) {
                Ok(verifier) => Ok((read, fresh, keys, Arc::new(verifier))),
                Err(error) => {
                    tracing::error!("{error}");
                    Err(())
                }
            }
        });
        let valid = read.is_ok();
        match read {
            Ok((read, fresh, keys, verifier)) => {
                for warning in &read.warnings {
                    tracing::warn!("{warning}");
                }
                self.apply(&read.settings, fresh, &verifier, logging);
                self.fetch(keys);
            }
            Err(()) => tracing::error!("the configuration is not valid; the running one stays"),
        }
        self.health.count_reload(valid);
        service::ready(&self.summary());
    }

    fn apply(&mut self, read: &Settings, fresh: Fresh, verifier: &Arc<Verifier>, logging: &Logging) {
        let (next, changes) = config::reload(&self.settings, read);
        self.settings = next;
        logging.set_level(self.settings.log.level);
        let settings = Arc::new(self.fitted.fit(&self.settings));
        self.shards.reload(&settings, verifier);
        self.api_keys.reload(&settings);
        self.guards.reload(settings);
        if self.certificates.take(fresh, &self.health) {
            self.shards.certify(&self.certificates);
        }
        if !changes.need_restart.is_empty() {
            tracing::warn!("changed, but only a restart applies it: {}", changes.need_restart.join(", "));
        }
        match changes.applied.is_empty() {
            true => tracing::info!("configuration read again: nothing to apply"),
            false => tracing::info!("configuration read again: applied {}", changes.applied.join(", ")),
        }
    }

    fn fetch(&mut self, keys: key_sets::Fresh) {
        if let Err(error) = self.key_sets.take(keys) {
            tracing::error!("cannot start to fetch key sets, so none come: {error}");
        }
    }

    fn drain_status(&self) -> DrainStatus {
        self.course.drain.status(self.started.elapsed(), self.count(Metric::Connections))
    }

    fn count(&self, metric: Metric) -> u64 {
        self.shards.counters().iter().map(|counters| counters.get(metric)).sum()
    }

    fn summary(&self) -> String {
        let status = self.drain_status();
        let clients = status.connections;
        match status.phase {
            DrainPhase::Serving => format!(
                "{clients} connections, {} subscriptions on {} shards",
                self.count(Metric::Subscriptions),
                self.shards.len()
            ),
            DrainPhase::Announced | DrainPhase::Closing => {
                format!("draining: {clients} connections left, {} s", status.left_ms.div_ceil(1_000))
            }
            DrainPhase::Drained => "drained: no client is left".into(),
            DrainPhase::Stopping => "stopping".into(),
        }
    }
}
