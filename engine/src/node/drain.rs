//! The way out of service: what is to be done when, from the wish to leave to the last goodbye.
//!
//! Invariants: time and counts are arguments and nothing is done here, only said ([`Step`]); clients are told to go only after
//! nothing new is accepted; until the goodbye everything can be taken back.
//!
//! ```text
//!   Serving ── begin ──> Announced ── ready delay ──> Closing ── no client left, or time up ──┬─ exits ──> Goodbye ──> Stopping
//!      ^                     │                           │                                    └─ else ──> Drained
//!      └───── cancel ────────┴───────────────────────────┴──────────────────────── cancel ───────────────────┘
//! ```
//!
//! A drained node goes to its goodbye as soon as it is to exit.

use std::time::Duration;

use crate::health::{DrainPhase, DrainStatus};
use crate::settings::Shutdown;

/// Clients that were closed at the end of the window may take this long to answer before the rest of the way begins.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Between two looks at how many clients are left.
const LOOK: Duration = Duration::from_millis(100);
/// The goodbye goes to the other nodes in datagrams; repeated ones need this long.
const GOODBYE: Duration = Duration::from_millis(300);

/// What the process is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Fail readiness and tell the fleet.
    Announce,
    /// Accept what waits and close the clients' listeners.
    StopListening,
    /// Close all clients, spread over this time.
    Leave { window: Duration },
    /// Everything as before: listen, close no more clients, be ready, tell the fleet.
    Resume,
    /// Nothing more: no client is left and the process stays.
    Rest,
    /// Say goodbye to the fleet.
    LeaveFleet,
    /// End the shards.
    Stop,
}

/// How far a node is on its way out. Time is since any fixed moment.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    phase: Phase,
    /// Whether the process ends when it is drained.
    exits: bool,
    window: Duration,
    max_rate: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Serving,
    Announced { until: Duration },
    Closing { window_end: Duration },
    Drained,
    Goodbye { until: Duration },
    Stopping,
}

impl Drain {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Serving, exits: false, window: Duration::ZERO, max_rate: 1 }
    }

    /// Somebody wants the node to leave. On a way that has begun only a wish to exit adds something. `is_ready`: balancers may
    /// be sending clients, and get time to notice.
    pub(super) fn begin(
        &mut self,
        rules: &Shutdown,
        exits: bool,
        is_ready: bool,
        now: Duration,
    ) -> Vec<Step> {
        self.exits |= exits;
        if self.phase != Phase::Serving {
            return Vec::new();
        }
        let delay_ms = if is_ready { rules.ready_delay_ms } else { 0 };
        self.window = Duration::from_millis(rules.window_ms.into());
        self.max_rate = rules.max_rate.max(1);
        self.phase = Phase::Announced { until: now + Duration::from_millis(delay_ms.into()) };
        vec![Step::Announce]
    }

    /// The node stays after all. Nothing if it does not leave; `None` if it is too late.
    pub(super) fn cancel(&mut self) -> Option<Vec<Step>> {
        match self.phase {
            Phase::Serving => Some(Vec::new()),
            Phase::Announced { .. } | Phase::Closing { .. } | Phase::Drained => {
                *self = Self::new();
                Some(vec![Step::Resume])
            }
            Phase::Goodbye { .. } | Phase::Stopping => None,
        }
    }

    /// What is due at `now`, with `connections` left. `in_fleet`: somebody is there to say goodbye to.
    pub(super) fn advance(&mut self, now: Duration, connections: u64, in_fleet: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            match self.phase {
                Phase::Announced { until } if now >= until => {
                    let window = self.stretched(connections);
                    self.phase = Phase::Closing { window_end: now + window };
                    steps.extend([Step::StopListening, Step::Leave { window }]);
                }
                Phase::Closing { window_end } if connections == 0 || now >= window_end + CLOSE_GRACE => {
                    self.phase = Phase::Drained;
                    if !self.exits {
                        steps.push(Step::Rest);
                    }
                }
                Phase::Drained if self.exits && in_fleet => {
                    self.phase = Phase::Goodbye { until: now + GOODBYE };
                    steps.push(Step::LeaveFleet);
                }
                Phase::Drained if self.exits => {
                    self.phase = Phase::Stopping;
                    steps.push(Step::Stop);
                }
                Phase::Goodbye { until } if now >= until => {
                    self.phase = Phase::Stopping;
                    steps.push(Step::Stop);
                }
                _ => return steps,
            }
        }
    }

    /// The shards are ending without having been drained.
    pub(super) fn abandon(&mut self) {
        self.exits = true;
        self.phase = Phase::Stopping;
    }

    /// When [`Drain::advance`] wants to be called next.
    pub(super) fn due(&self, now: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Announced { until } | Phase::Goodbye { until } => Some(until),
            Phase::Closing { .. } => Some(now + LOOK),
            Phase::Serving | Phase::Drained | Phase::Stopping => None,
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// What others are told. The time left is that of all clients closing in time.
    pub(super) fn status(&self, now: Duration, connections: u64) -> DrainStatus {
        let (phase, left) = match self.phase {
            Phase::Serving => (DrainPhase::Serving, Duration::ZERO),
            Phase::Announced { until } => {
                (DrainPhase::Announced, until.saturating_sub(now) + self.stretched(connections))
            }
            Phase::Closing { window_end } => (DrainPhase::Closing, window_end.saturating_sub(now)),
            Phase::Drained => (DrainPhase::Drained, Duration::ZERO),
            Phase::Goodbye { .. } | Phase::Stopping => (DrainPhase::Stopping, Duration::ZERO),
        };
        DrainStatus { phase, exits: self.exits, connections, left_ms: left.as_millis() as u64 }
    }

    /// Longer than this the way to [`Step::Stop`] does not take from `now` on.
    pub(super) fn patience(&self, now: Duration, connections: u64) -> Duration {
        Duration::from_millis(self.status(now, connections).left_ms) + CLOSE_GRACE + GOODBYE
    }

    /// The window, longer if that many clients would go faster than others can take them.
    fn stretched(&self, connections: u64) -> Duration {
        self.window
            .max(Duration::from_millis(connections.saturating_mul(1_000).div_ceil(self.max_rate.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn rules(ready_delay_ms: u32, window_ms: u32, max_rate: u32) -> Shutdown {
        Shutdown { ready_delay_ms, window_ms, max_rate, close_ms: 5_000 }
    }

    fn phase(drain: &Drain) -> DrainPhase {
        drain.status(ms(0), 0).phase
    }

    #[test]
    fn a_node_leaves_step_by_step() {
        let mut drain = Drain::new();
        assert_eq!(drain.begin(&rules(10_000, 30_000, 2_000), true, true, ms(0)), [Step::Announce]);
        // (now, connections, steps, phase after them, time left)
        for (now, connections, steps, phase, left) in [
            (0, 100, &[][..], DrainPhase::Announced, 40_000),
            (9_999, 100, &[], DrainPhase::Announced, 30_001),
            (
                10_000,
                120,
                &[Step::StopListening, Step::Leave { window: ms(30_000) }],
                DrainPhase::Closing,
                30_000,
            ),
            (25_000, 60, &[], DrainPhase::Closing, 15_000),
            (40_001, 1, &[], DrainPhase::Closing, 0),
            (40_100, 0, &[Step::LeaveFleet], DrainPhase::Stopping, 0),
            (40_399, 0, &[], DrainPhase::Stopping, 0),
            (40_400, 0, &[Step::Stop], DrainPhase::Stopping, 0),
            (50_000, 0, &[], DrainPhase::Stopping, 0),
        ] {
            assert_eq!(drain.advance(ms(now), connections, true), steps, "{now}");
            let status = drain.status(ms(now), connections);
            assert_eq!((status.phase, status.left_ms), (phase, left), "{now}");
            assert_eq!((status.connections, status.exits), (connections, true), "{now}");
        }
    }

    #[test]
    fn without_waiting_or_company_one_step_follows_the_other_at_once() {
        let mut drain = Drain::new();
        drain.begin(&rules(0, 0, 1_000), true, true, ms(5));
        let leave = Step::Leave { window: ms(0) };
        assert_eq!(drain.advance(ms(5), 0, false), [Step::StopListening, leave, Step::Stop]);
    }

    #[test]
    fn a_node_that_was_not_ready_need_not_be_noticed() {
        let mut drain = Drain::new();
        drain.begin(&rules(10_000, 30_000, 1_000), true, false, ms(0));
        let leave = Step::Leave { window: ms(30_000) };
        assert_eq!(drain.advance(ms(0), 0, true), [Step::StopListening, leave, Step::LeaveFleet]);
    }

    #[test]
    fn many_clients_stretch_the_window() {
        for (window, connections, rate, expected) in [
            (30_000, 10, 2_000, 30_000),
            (30_000, 200_000, 2_000, 100_000),
            (0, 10, 2_000, 5),
            (0, 1, 3, 334),
        ] {
            let mut drain = Drain::new();
            drain.begin(&rules(0, window, rate), false, true, ms(0));
            let steps = drain.advance(ms(0), connections, false);
            assert_eq!(steps, [Step::StopListening, Step::Leave { window: ms(expected) }], "{connections}");
        }
    }

    #[test]
    fn clients_that_do_not_go_are_not_waited_for_without_end() {
        let mut drain = Drain::new();
        drain.begin(&rules(0, 1_000, 1_000), true, true, ms(0));
        drain.advance(ms(0), 3, false);
        assert_eq!(drain.advance(ms(2_999), 3, false), []);
        assert_eq!(drain.advance(ms(3_000), 3, false), [Step::Stop]);
    }

    #[test]
    fn a_drained_node_stays_until_it_is_to_exit() {
        let mut drain = Drain::new();
        drain.begin(&rules(0, 1_000, 1_000), false, true, ms(0));
        drain.advance(ms(0), 3, false);
        assert_eq!(drain.advance(ms(500), 0, true), [Step::Rest]);
        assert_eq!(phase(&drain), DrainPhase::Drained);
        assert_eq!(drain.due(ms(500)), None);
        assert_eq!(drain.begin(&rules(0, 1_000, 1_000), false, false, ms(900)), []);
        assert_eq!(drain.advance(ms(900), 0, true), []);
        assert_eq!(drain.begin(&rules(0, 1_000, 1_000), true, false, ms(1_000)), []);
        assert_eq!(drain.advance(ms(1_000), 0, true), [Step::LeaveFleet]);
    }

    #[test]
    fn until_the_goodbye_everything_can_be_taken_back() {
        // (time to cancel at, connections then, whether it is still possible)
        for (at, connections, steps) in [
            (0, 5, Some(vec![Step::Resume])),
            (1_000, 5, Some(vec![Step::Resume])),
            (1_500, 0, None),
            (1_900, 0, None),
        ] {
            let mut drain = Drain::new();
            drain.begin(&rules(1_000, 1_000, 1_000), true, true, ms(0));
            drain.advance(ms(at.min(1_000)), connections, true);
            drain.advance(ms(at), connections, true);
            assert_eq!(drain.cancel(), steps, "{at}");
            if steps.is_some() {
                assert!(drain.is_serving());
                assert_eq!(drain.cancel(), Some(Vec::new()), "there is nothing to take back");
                assert_eq!(drain.begin(&rules(0, 0, 1), false, true, ms(at)), [Step::Announce]);
                assert!(!drain.status(ms(at), 0).exits, "a cancelled wish to exit is forgotten");
            }
        }
    }

    #[test]
    fn it_asks_to_be_looked_at_in_time() {
        let mut drain = Drain::new();
        assert_eq!(drain.due(ms(0)), None);
        drain.begin(&rules(1_000, 1_000, 1_000), true, true, ms(0));
        assert_eq!(drain.due(ms(0)), Some(ms(1_000)));
        assert_eq!(drain.patience(ms(0), 10), ms(2_000) + CLOSE_GRACE + GOODBYE);
        drain.advance(ms(1_000), 10, true);
        assert_eq!(drain.due(ms(1_000)), Some(ms(1_000) + LOOK));
        drain.abandon();
        assert_eq!((drain.due(ms(1_100)), drain.cancel()), (None, None));
    }
}
