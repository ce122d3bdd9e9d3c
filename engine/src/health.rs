//! Whether the node is well: what the probes, the watchdog and the command line are told.
//!
//! Invariants: time is an argument; the supervisor writes, anybody reads; a shard that has not turned for [`STALL_MS`] is
//! stalled and the process must not go on; only a node that serves and is not full is ready.
//!
//! ```text
//!   Starting ── every shard listens ──> Joining ── a node answers ──> Settling ── the first View ──> Serving
//!                   └─── a node without a fleet ─────────────────────────────────────────────────────^ │ ^
//!                                                                                   Draining <── drain ┘ │
//!                                                                                      └──── cancel ─────┘
//! ```

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::limits::{FULL_PERCENT, IDLE_WAIT_MS, ROOM_PERCENT, TLS_EXPIRY_NEAR_S};

/// A shard without a turn for this long has failed. Far above any bounded turn, even on an overloaded machine; far
/// below the patience of clients (ping plus 10 s).
pub const STALL_MS: u64 = 10_000;

/// A shard without a turn for this long does not answer: an idle one turns every [`IDLE_WAIT_MS`], and the observer
/// looks once a second.
pub const ANSWER_MS: u64 = 3_000;

const _: () = assert!(ANSWER_MS > IDLE_WAIT_MS + 1_000 && ANSWER_MS < STALL_MS);

/// Where the node is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Not every shard listens yet.
    Starting,
    /// No node of the fleet has answered yet.
    Joining,
    /// A member of the fleet, but who owns what is not settled yet.
    Settling,
    /// Clients are served.
    Serving,
    /// On its way out of service, or there: balancers shall send no new clients.
    Draining,
}

/// How far a drain is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DrainPhase {
    /// There is none.
    Serving,
    /// Readiness has failed and the fleet knows; clients are still accepted.
    Announced,
    /// No client is accepted, and those that are here are closed one after the other.
    Closing,
    /// No client is left; the process stays.
    Drained,
    /// The process ends.
    Stopping,
}

/// What operators are told of a drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainStatus {
    /// How far it is.
    pub phase: DrainPhase,
    /// Whether the process ends when no client is left.
    pub exits: bool,
    /// Clients left.
    pub connections: u64,
    /// Until all clients have been closed, ms; 0: done, or no drain.
    pub left_ms: u64,
}

impl State {
    /// One word for people and programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Joining => "joining",
            Self::Settling => "settling",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

impl DrainPhase {
    /// One word for people and programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Announced => "announced",
            Self::Closing => "closing",
            Self::Drained => "drained",
            Self::Stopping => "stopping",
        }
    }
}

/// Until when a certificate is good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateHealth {
    /// Whom it is shown to: `clients` or `links`.
    pub usage: &'static str,
    /// The first name in it.
    pub name: String,
    /// When its time began, Unix seconds.
    pub not_before_s: i64,
    /// When its time ends, and that of every certificate above it, Unix seconds.
    pub not_after_s: i64,
}

impl CertificateHealth {
    /// Seconds until its end; negative: it is over.
    #[must_use]
    pub fn left_s(&self, unix_s: i64) -> i64 {
        self.not_after_s.saturating_sub(unix_s)
    }

    /// Whether somebody should have renewed it.
    #[must_use]
    pub fn is_near_its_end(&self, unix_s: i64) -> bool {
        let life_s = self.not_after_s.saturating_sub(self.not_before_s);
        self.left_s(unix_s) < TLS_EXPIRY_NEAR_S.min(life_s / 6)
    }
}

/// The health of all shards.
#[derive(Debug)]
pub struct Health {
    state: AtomicU8,
    now_ms: AtomicU64,
    hearts: Vec<Heart>,
    is_full: AtomicBool,
    is_out_of_memory: AtomicBool,
    reloads_applied: AtomicU64,
    reloads_refused: AtomicU64,
    drain: Mutex<DrainStatus>,
    certificates: Mutex<Vec<CertificateHealth>>,
    certificates_applied: AtomicU64,
    certificates_refused: AtomicU64,
}

#[derive(Debug)]
struct Heart {
    turns: AtomicU64,
    /// When `turns` was last seen to change.
    beat_ms: AtomicU64,
    /// `turns` when all hearts were last found to have beaten.
    counted: AtomicU64,
}

impl Health {
    /// `shards` hearts that beat last at `now_ms` of the monotonic clock.
    #[must_use]
    pub fn new(shards: usize, now_ms: u64) -> Self {
        let heart = || Heart {
            turns: AtomicU64::new(0),
            beat_ms: AtomicU64::new(now_ms),
            counted: AtomicU64::new(0),
        };
        Self {
            state: AtomicU8::new(State::Starting as u8),
            now_ms: AtomicU64::new(now_ms),
            hearts: (0..shards).map(|_| heart()).collect(),
            is_full: AtomicBool::new(false),
            is_out_of_memory: AtomicBool::new(false),
            reloads_applied: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            drain: Mutex::new(DrainStatus {
                phase: DrainPhase::Serving,
                exits: false,
                connections: 0,
                left_ms: 0,
            }),
            certificates: Mutex::new(Vec::new()),
            certificates_applied: AtomicU64::new(0),
            certificates_refused: AtomicU64::new(0),
        }
    }

    /// The node is somewhere else.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Where the node is.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Starting,
            1 => State::Joining,
            2 => State::Settling,
            3 => State::Serving,
            _ => State::Draining,
        }
    }

    /// The drain is there now.
    pub fn set_drain(&self, status: DrainStatus) {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// How far the drain is, as of the supervisor's last look.
    #[must_use]
    pub fn drain(&self) -> DrainStatus {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the shards' counts of turns at `now_ms`. False if the observer itself was away for long, since the machine or the
    /// process stood still: then nobody is judged by that time.
    pub fn observe(&self, turns: impl Iterator<Item = u64>, now_ms: u64) -> bool {
        let was_here = now_ms.saturating_sub(self.now_ms.swap(now_ms, Ordering::Relaxed)) <= ANSWER_MS;
        for (heart, turns) in self.hearts.iter().zip(turns) {
            if heart.turns.swap(turns, Ordering::Relaxed) != turns || !was_here {
                heart.beat_ms.store(now_ms, Ordering::Relaxed);
            }
        }
        was_here
    }

    /// True if every shard was seen turning since this was last true: the watchdog may be fed.
    #[must_use]
    pub fn all_have_turned(&self) -> bool {
        let turns = |heart: &Heart| heart.turns.load(Ordering::Relaxed);
        let all = self.hearts.iter().all(|heart| turns(heart) != heart.counted.load(Ordering::Relaxed));
        if all {
            for heart in &self.hearts {
                heart.counted.store(turns(heart), Ordering::Relaxed);
            }
        }
        all
    }

    /// How long ago a shard was last seen turning, ms, at the last observation.
    #[must_use]
    pub fn silent_ms(&self, shard: usize) -> u64 {
        let beat_ms = self.hearts[shard].beat_ms.load(Ordering::Relaxed);
        self.now_ms.load(Ordering::Relaxed).saturating_sub(beat_ms)
    }

    /// Whether a shard's numbers are fresh.
    #[must_use]
    pub fn answers(&self, shard: usize) -> bool {
        self.silent_ms(shard) < ANSWER_MS
    }

    /// The first shard that has stalled.
    #[must_use]
    pub fn stalled(&self) -> Option<usize> {
        (0..self.hearts.len()).find(|shard| self.silent_ms(*shard) >= STALL_MS)
    }

    /// Counts a reload of the configuration; `applied` is false if it was not valid.
    pub fn count_reload(&self, applied: bool) {
        if applied { &self.reloads_applied } else { &self.reloads_refused }.fetch_add(1, Ordering::Relaxed);
    }

    /// Reloads that were applied, and those refused because the configuration was not valid.
    #[must_use]
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads_applied.load(Ordering::Relaxed), self.reloads_refused.load(Ordering::Relaxed))
    }

    /// These certificates are in use now.
    pub fn set_certificates(&self, certificates: Vec<CertificateHealth>) {
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    /// The certificates in use.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateHealth> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a reload of the certificates; `applied` is false if they were of no use.
    pub fn count_certificates(&self, applied: bool) {
        if applied { &self.certificates_applied } else { &self.certificates_refused }
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Reloads of certificates that were applied, and those refused.
    #[must_use]
    pub fn certificate_reloads(&self) -> (u64, u64) {
        (self.certificates_applied.load(Ordering::Relaxed), self.certificates_refused.load(Ordering::Relaxed))
    }

    /// Takes how many connections there are, of how many. Some, with whether the node is full now, if that has changed.
    pub fn observe_room(&self, connections: u64, connections_max: u64) -> Option<bool> {
        let was_full = self.is_full.load(Ordering::Relaxed);
        let percent = if was_full { ROOM_PERCENT } else { FULL_PERCENT };
        let is_full = connections.saturating_mul(100) >= connections_max.saturating_mul(percent);
        self.is_full.store(is_full, Ordering::Relaxed);
        (is_full != was_full).then_some(is_full)
    }

    /// Whether the memory ceiling is reached.
    pub fn set_out_of_memory(&self, is_out: bool) {
        self.is_out_of_memory.store(is_out, Ordering::Relaxed);
    }

    /// Whether there is hardly room for another client.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed) || self.is_out_of_memory.load(Ordering::Relaxed)
    }

    /// Where the node is, in one word for people and programs: its state, or that it serves and is full.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.state() {
            State::Serving if self.is_full() => "full",
            state => state.word(),
        }
    }

    /// Whether new clients are welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state() == State::Serving
            && !self.is_full()
            && (0..self.hearts.len()).all(|shard| self.answers(shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_serving_node_is_ready() {
        let health = Health::new(1, 0);
        assert_eq!(health.state(), State::Starting);
        for (state, ready) in [
            (State::Starting, false),
            (State::Joining, false),
            (State::Settling, false),
            (State::Serving, true),
            (State::Draining, false),
            (State::Serving, true),
        ] {
            health.set_state(state);
            assert_eq!((health.state(), health.is_ready()), (state, ready));
        }
    }

    #[test]
    fn a_silent_shard_stops_answering_and_then_stalls() {
        let health = Health::new(2, 1_000);
        health.set_state(State::Serving);
        for (now_ms, turns, fed, ready, stalled) in [
            (2_000, [1, 0], false, true, None),
            (2_100, [1, 1], true, true, None),
            (3_000, [2, 1], false, true, None),
            (5_099, [3, 1], false, true, None),
            (5_100, [4, 1], false, false, None),
            (5_101, [4, 2], true, true, None),
            (6_000, [5, 3], true, true, None),
            (8_900, [6, 3], false, true, None),
            (11_800, [7, 3], false, false, None),
            (14_700, [8, 3], false, false, None),
            (16_000, [9, 3], false, false, Some(1)),
        ] {
            health.observe(turns.into_iter(), now_ms);
            assert_eq!(health.all_have_turned(), fed, "{now_ms}");
            assert_eq!(health.is_ready(), ready, "{now_ms}");
            assert_eq!(health.stalled(), stalled, "{now_ms}");
        }
    }

    #[test]
    fn a_full_node_is_ready_again_when_there_is_room_for_some() {
        let health = Health::new(1, 0);
        health.set_state(State::Serving);
        for (connections, changed, word) in [
            (0, None, "serving"),
            (989, None, "serving"),
            (990, Some(true), "full"),
            (1_000, None, "full"),
            (950, None, "full"),
            (949, Some(false), "serving"),
            (989, None, "serving"),
        ] {
            assert_eq!(health.observe_room(connections, 1_000), changed, "{connections}");
            assert_eq!((health.word(), health.is_ready()), (word, word == "serving"), "{connections}");
        }
        // The smallest node is full with its only client.
        assert_eq!((health.observe_room(1, 1), health.observe_room(0, 1)), (Some(true), Some(false)));
        assert_eq!(health.observe_room(1, 1), Some(true));
        health.observe_room(0, 1);
        for (is_out, word) in [(true, "full"), (false, "serving")] {
            health.set_out_of_memory(is_out);
            assert_eq!((health.word(), health.is_ready()), (word, word == "serving"));
        }
        health.set_out_of_memory(true);
        health.set_state(State::Draining);
        assert_eq!((health.word(), health.is_ready()), ("draining", false));
    }

    #[test]
    fn certificates_are_near_their_end_by_their_length() {
        const DAY_S: i64 = 24 * 60 * 60;
        for (life_days, left_days, is_near) in
            [(365, 15, false), (365, 13, true), (90, 15, false), (90, 13, true), (6, 2, false), (6, 0, true)]
        {
            let certificate = CertificateHealth {
                usage: "clients",
                name: "a".into(),
                not_before_s: 0,
                not_after_s: life_days * DAY_S,
            };
            let now_s = (life_days - left_days) * DAY_S;
            assert_eq!(certificate.left_s(now_s), left_days * DAY_S);
            assert_eq!(certificate.is_near_its_end(now_s), is_near, "{left_days} of {life_days}");
        }
    }

    #[test]
    fn who_was_away_judges_nobody() {
        let health = Health::new(1, 0);
        health.set_state(State::Serving);
        assert!(health.observe([1].into_iter(), 1_000));
        assert!(!health.observe([1].into_iter(), 61_000), "the machine slept");
        assert_eq!((health.stalled(), health.is_ready()), (None, true));
        for now_ms in (62_000..=71_000).step_by(1_000) {
            assert!(health.observe([1].into_iter(), now_ms));
        }
        assert_eq!(health.stalled(), Some(0), "it slept on");
    }
}
