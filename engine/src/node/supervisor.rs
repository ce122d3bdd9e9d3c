//! The main thread while a node serves: waits for signals, watches the shards, reports to the service manager.
//!
//! ```text
//!   serving ── Stop ──> stopping ── every shard ended ──> done
//!      │                   └── Stop again, or time up ──> ended at once
//!      ├── Reload: read, check, apply what can change, say what needs a restart
//!      └── a shard ended or stalled: the node fails
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::happenings::Happening;
use super::shards::Shards;
use super::{Failure, Fitted, failure, service};
use crate::config::{self, Sources};
use crate::counters::Metric;
use crate::health::{Health, STALL_MS, State};
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
    pub(super) health: Arc<Health>,
    pub(super) started: Instant,
}

/// The way to the end.
struct Stopping {
    deadline: Instant,
    /// Shards that have not ended.
    left: usize,
    /// Why, if not because somebody asked.
    failure: Option<Failure>,
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
        service::ready(&self.summary());
        let mut reported = Instant::now();
        let mut looked = Instant::now();
        let mut stopping: Option<Stopping> = None;
        loop {
            match happenings.recv_deadline(looked + look) {
                Ok(Happening::Stop) if stopping.is_some() => return Err(Failure::Interrupted),
                Ok(Happening::Stop) => {
                    tracing::info!(
                        "stopping: clients are closed within {} ms",
                        self.settings.shutdown.close_ms
                    );
                    stopping = Some(self.stop(None));
                }
                Ok(Happening::Reload) if stopping.is_none() => self.reload(sources, logging),
                Ok(Happening::Reload) => {}
                Ok(Happening::ShardEnded { shard, error }) => {
                    let stop = stopping.get_or_insert_with(|| {
                        let why = error.map_or_else(|| "without reason".into(), |error| error.to_string());
                        let why = format!("shard {shard} ended while serving: {why}");
                        tracing::error!("{why}; the other shards are stopped");
                        self.stop(Some(Failure::Serving(why)))
                    });
                    stop.left -= 1;
                    if stop.left == 0 {
                        tracing::info!("stopped");
                        return stop.failure.take().map_or(Ok(()), Err);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    looked = Instant::now();
                    match &stopping {
                        Some(stop) if looked >= stop.deadline => {
                            return Err(Failure::Serving(format!(
                                "{} shards did not stop in time",
                                stop.left
                            )));
                        }
                        Some(_) => {}
                        None => self.look(watchdog.is_some(), logging),
                    }
                    if stopping.is_none() && reported.elapsed() >= STATUS {
                        reported = looked;
                        service::status(&self.summary());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Serving("nobody is left to hear signals".into()));
                }
            }
        }
    }

    /// Watches the shards; each is woken, so that one without work shows a turn at the next look.
    fn look(&self, feeds: bool, logging: &Logging) {
        let turns = self.shards.counters().iter().map(|counters| counters.get(Metric::Turns));
        self.health.observe(turns, milliseconds(self.started));
        if let Some(shard) = self.health.stalled() {
            failure::abort(
                &format!("shard {shard} has not turned for {STALL_MS} ms; the process aborts"),
                logging,
            );
        }
        if feeds && self.health.all_have_turned() {
            service::feed_watchdog();
        }
        self.shards.wake();
    }

    fn stop(&self, failure: Option<Failure>) -> Stopping {
        let close = Duration::from_millis(u64::from(self.settings.shutdown.close_ms));
        self.health.set_state(State::Draining);
        service::stopping(close);
        self.shards.stop();
        Stopping { deadline: Instant::now() + close + STOP_GRACE, left: self.shards.len(), failure }
    }

    /// A configuration that is not valid changes nothing.
    fn reload(&mut self, sources: &Sources, logging: &Logging) {
        service::reloading();
        let read = config::load(sources);
        let valid = read.is_ok();
        match read {
            Ok(read) => {
                for warning in &read.warnings {
                    tracing::warn!("{warning}");
                }
                self.apply(&read.settings, logging);
            }
            Err(problems) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                tracing::error!("the configuration is not valid; the running one stays");
            }
        }
        self.health.count_reload(valid);
        service::ready(&self.summary());
    }

    fn apply(&mut self, read: &Settings, logging: &Logging) {
        let (next, changes) = config::reload(&self.settings, read);
        self.settings = next;
        logging.set_level(self.settings.log.level);
        let settings = Arc::new(self.fitted.fit(&self.settings));
        let verifier = Arc::new(Verifier::new(&settings.token));
        self.shards.reload(&settings, &verifier);
        if !changes.need_restart.is_empty() {
            tracing::warn!("changed, but only a restart applies it: {}", changes.need_restart.join(", "));
        }
        match changes.applied.is_empty() {
            true => tracing::info!("configuration read again: nothing to apply"),
            false => tracing::info!("configuration read again: applied {}", changes.applied.join(", ")),
        }
    }

    fn summary(&self) -> String {
        let count =
            |metric| -> u64 { self.shards.counters().iter().map(|counters| counters.get(metric)).sum() };
        format!(
            "{} connections, {} subscriptions on {} shards",
            count(Metric::Connections),
            count(Metric::Subscriptions),
            self.shards.len()
        )
    }
}
