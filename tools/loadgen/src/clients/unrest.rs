//! Storms and churn: connections that this generator ends on purpose, to bring them back.
//!
//! Invariant: publishers that are connections of their own stay; who has published something that is not answered is spared for
//! now, so that an end on purpose loses nothing that was sent.

use roadstead_io::Socket;

use super::Clients;
use crate::client::{Return, State};
use crate::limits::{LEAVERS_TRIED, TURN_CUTS_MAX};
use crate::schedule::{Nanos, Schedule};
use crate::turn::Turn;

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Unrest {
    /// The next storm.
    storm_at: Option<Nanos>,
    /// The slots from here on have yet to meet the storm that is under way.
    storm_slot: Option<usize>,
    churn: Option<Schedule>,
}

impl Unrest {
    /// When something is due.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<Nanos> {
        let churn = self.churn.as_ref().and_then(Schedule::next_due);
        [self.storm_at, churn].into_iter().flatten().min()
    }
}

impl Clients {
    /// Messages begin, and unrest with them; `thread` says which part of it is this one's.
    pub(crate) fn begin_unrest(&mut self, thread: u32, turn: &Turn) {
        let (unrest, window) = (&self.plan.unrest, turn.window);
        self.unrest.storm_at =
            unrest.storm.map(|storm| window.start + storm.after).filter(|at| *at < window.end);
        let share = f64::from(self.plan.clients_of(thread)) / f64::from(self.plan.clients);
        self.unrest.churn = (unrest.churn_rate * share > 0.0).then(|| {
            Schedule::new(unrest.churn_rate * share, window.start, window.end, thread, self.plan.threads)
        });
    }

    /// Messages have ended: nobody else is ended on purpose.
    pub(crate) fn end_unrest(&mut self) {
        self.unrest = Unrest::default();
    }

    /// Ends who is due to be ended. True: more is due at once.
    pub(crate) fn stir(&mut self, turn: &mut Turn) -> bool {
        while let Some(churn) = &mut self.unrest.churn
            && churn.pop(turn.now).is_some()
        {
            self.let_one_leave(turn);
        }
        if let (Some(at), Some(storm)) = (self.unrest.storm_at, self.plan.unrest.storm)
            && at <= turn.now
        {
            self.unrest.storm_slot = Some(0);
            self.unrest.storm_at = storm.every.map(|every| at + every).filter(|at| *at < turn.window.end);
        }
        self.storm(turn)
    }

    fn storm(&mut self, turn: &mut Turn) -> bool {
        let (Some(first), Some(storm)) = (self.unrest.storm_slot, self.plan.unrest.storm) else {
            return false;
        };
        let bound = (storm.share * 2_f64.powi(32)) as u64;
        let end = (first + TURN_CUTS_MAX).min(self.records.len());
        for slot in first..end {
            if turn.random.next() >> 32 < bound && self.may_end(slot) {
                let socket = Socket(slot as u32);
                turn.ledger.counters.open -= 1;
                turn.ledger.counters.cut += 1;
                self.send_away(socket, Return::Later, turn);
                self.end(socket);
            }
        }
        self.unrest.storm_slot = (end < self.records.len()).then_some(end);
        self.unrest.storm_slot.is_some()
    }

    /// Has one client take its leave: with a close frame, as applications do.
    fn let_one_leave(&mut self, turn: &mut Turn) {
        for _ in 0..LEAVERS_TRIED {
            let slot = (turn.random.next() % self.records.len().max(1) as u64) as usize;
            if !self.may_end(slot) {
                continue;
            }
            let socket = Socket(slot as u32);
            turn.ledger.counters.churned += 1;
            self.send_away(socket, Return::AtOnce, turn);
            let client = &mut self.records[slot];
            client.send_close(socket, Some(wsproto::code::NORMAL), &mut turn.outbound, &mut turn.random);
            client.state = State::Parting;
            self.parting += 1;
            self.parted_at = turn.now;
            self.expect(socket, turn.now);
            return;
        }
    }

    /// What both ways of ending have in common.
    fn send_away(&mut self, socket: Socket, returns: Return, turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        (client.returns, client.attempt, client.since) = (returns, 0, turn.now);
        turn.ledger.counters.away += 1;
        self.scenario.lost(&self.records[socket.0 as usize], true, turn);
    }

    fn may_end(&self, slot: usize) -> bool {
        let Some(client) = self.records.get(slot) else { return false };
        client.state == State::Open
            && client.number < self.plan.spread.subscribers
            && !self.plan.is_slow(client.number)
            && self.scenario.is_at_rest(client)
    }
}
