//! Which connection is opened next, when, from where and to where.
//!
//! Invariant: with a rate, a connection's due time is fixed in advance, and handshake latency counts from it; the
//! bound on handshakes in progress delays connections, it never drops them.

use std::net::SocketAddr;

use crate::limits::TURN_CONNECTS_MAX;
use crate::plan::Plan;
use crate::schedule::{Nanos, Schedule};

/// The connections that one thread has yet to open.
#[derive(Debug)]
pub(crate) struct Opener {
    thread: u32,
    next: u32,
    count: u32,
    in_flight_max: u32,
    schedule: Option<Schedule>,
    this_turn: u32,
}

/// A connection to open now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Which client of the plan.
    pub(crate) number: u32,
    /// When it was meant to be opened.
    pub(crate) since: Nanos,
}

impl Opener {
    /// All connections of thread `thread`, the first due at `start`.
    #[must_use]
    pub(crate) fn new(plan: &Plan, thread: u32, start: Nanos) -> Self {
        let count = plan.clients_of(thread);
        let share = f64::from(count) / f64::from(plan.clients);
        let schedule = plan
            .opening
            .rate
            .map(|rate| Schedule::new(rate * share, start, Nanos::MAX, thread, plan.threads));
        Self {
            thread,
            next: 0,
            count,
            in_flight_max: (plan.opening.in_flight / plan.threads).max(1),
            schedule,
            this_turn: 0,
        }
    }

    /// Begins a turn.
    pub(crate) fn begin_turn(&mut self) {
        self.this_turn = 0;
    }

    /// The next connection to open at `now` while `in_flight` are being opened. Consumes it.
    pub(crate) fn pop(&mut self, plan: &Plan, in_flight: u64, now: Nanos) -> Option<Due> {
        if self.is_done() || in_flight >= u64::from(self.in_flight_max) || self.this_turn >= TURN_CONNECTS_MAX
        {
            return None;
        }
        let since = match &mut self.schedule {
            Some(schedule) => schedule.pop(now)?.1,
            None => now,
        };
        let number = self.thread + self.next * plan.threads;
        self.next += 1;
        self.this_turn += 1;
        Some(Due { number, since })
    }

    /// When the next connection is due, if it is time alone that it waits for; `None`: a handshake must end first.
    #[must_use]
    pub(crate) fn next_due(&self, in_flight: u64, now: Nanos) -> Option<Nanos> {
        if self.is_done() || in_flight >= u64::from(self.in_flight_max) {
            return None;
        }
        self.schedule.as_ref().map_or(Some(now), Schedule::next_due)
    }

    /// Whether all were begun.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.count
    }
}

/// The ends of connection `number`: source if one is prescribed, and target.
#[must_use]
pub(crate) fn ends(plan: &Plan, number: u32) -> (Option<SocketAddr>, SocketAddr) {
    // The source changes after a round of targets, so that every pair is used.
    let source = plan.sources.of(number / plan.targets.len() as u32);
    (source, plan.target_of(number).peer)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;
    use crate::schedule::SECOND;

    fn plan(flags: &str) -> Plan {
        let line = format!("loadgen connect --url ws://127.0.0.1:1/ --url ws://127.0.0.1:2/ {flags}");
        Plan::new(&Arguments::try_parse_from(line.split(' ')).unwrap().scenario).unwrap()
    }

    #[test]
    fn connections_are_opened_at_their_rate() {
        let plan = plan("--connections 4 --rate 2 --threads 1");
        let mut opener = Opener::new(&plan, 0, SECOND);
        assert_eq!(opener.pop(&plan, 0, SECOND - 1), None);
        assert_eq!(opener.pop(&plan, 0, 2 * SECOND), Some(Due { number: 0, since: SECOND }));
        assert_eq!(opener.pop(&plan, 1, 2 * SECOND), Some(Due { number: 1, since: SECOND + SECOND / 2 }));
        assert_eq!(opener.next_due(2, 0), Some(2 * SECOND));
        assert_eq!(opener.pop(&plan, 256, 9 * SECOND), None, "too many in progress");
        assert_eq!(opener.next_due(256, 0), None);
        assert!(opener.pop(&plan, 2, 9 * SECOND).is_some() && opener.pop(&plan, 3, 9 * SECOND).is_some());
        assert!(opener.is_done());
    }

    #[test]
    fn without_a_rate_handshakes_in_progress_pace_them() {
        let plan = plan("--connections 1000 --threads 2 --in-flight 10");
        let mut opener = Opener::new(&plan, 1, 0);
        let numbers: Vec<_> =
            (0..6).map_while(|open| opener.pop(&plan, open, 7)).map(|due| due.number).collect();
        assert_eq!(numbers, [1, 3, 5, 7, 9]);
    }

    #[test]
    fn a_turn_opens_a_bounded_number() {
        let plan = plan("--connections 1000 --threads 1 --in-flight 1000");
        let mut opener = Opener::new(&plan, 0, 0);
        let count = std::iter::from_fn(|| opener.pop(&plan, 0, 0)).count() as u32;
        assert_eq!(count, TURN_CONNECTS_MAX);
        opener.begin_turn();
        assert!(opener.pop(&plan, 0, 0).is_some());
    }

    #[test]
    fn every_pair_of_source_and_target_is_used() {
        let plan = plan("--connections 8 --source 127.0.0.2-127.0.0.3");
        let pairs: std::collections::HashSet<_> = (0..8).map(|number| ends(&plan, number)).collect();
        assert_eq!(pairs.len(), 4);
    }
}
