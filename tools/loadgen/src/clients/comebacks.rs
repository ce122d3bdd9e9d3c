//! Connections that are to be opened again, and when.
//!
//! Invariant: a client that is to come back waits here, or has a connection that is being opened or closed; nowhere else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use roadstead_io::Socket;

use super::Clients;
use crate::client::{Client, Return};
use crate::limits::ATTEMPTS_MAX;
use crate::schedule::Nanos;
use crate::turn::Turn;

/// A connection to open again. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Comeback {
    /// When.
    pub(crate) at: Nanos,
    /// Which client.
    pub(crate) number: u32,
    /// Since when it is away.
    pub(crate) since: Nanos,
    /// Which attempt this will be, from 1.
    pub(crate) attempt: u8,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Comebacks(BinaryHeap<Reverse<Comeback>>);

impl Comebacks {
    fn push(&mut self, comeback: Comeback) {
        self.0.push(Reverse(comeback));
    }

    fn pop(&mut self, now: Nanos) -> Option<Comeback> {
        let is_due = self.0.peek().is_some_and(|Reverse(first)| first.at <= now);
        if is_due { self.0.pop().map(|Reverse(first)| first) } else { None }
    }

    /// When the first is due.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<Nanos> {
        self.0.peek().map(|Reverse(first)| first.at)
    }

    /// Nobody comes back any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Clients {
    /// The next client to bring back now; it is taken out.
    pub(crate) fn next_comeback(&mut self, now: Nanos) -> Option<Comeback> {
        self.comebacks.pop(now)
    }

    /// A client is being brought back.
    pub(crate) fn begin_comeback(&mut self, socket: Socket, comeback: Comeback, turn: &Turn) {
        let client = Client::connecting(comeback.number, comeback.since, comeback.attempt);
        self.connect(socket, client, turn);
    }

    /// It could not even be begun: the next attempt is planned.
    pub(crate) fn defer_comeback(&mut self, comeback: Comeback, error: &std::io::Error, turn: &mut Turn) {
        let failure = crate::failure::Failure::Local(error.raw_os_error().unwrap_or(0));
        let counters = &mut turn.ledger.counters;
        if comeback.attempt < ATTEMPTS_MAX {
            counters.retries += 1;
            turn.ledger.set_back(failure);
            self.plan_attempt(comeback.number, comeback.since, comeback.attempt + 1, turn);
        } else {
            counters.away -= 1;
            counters.given_up += 1;
            turn.ledger.fail(comeback.number, failure, || error.to_string());
        }
    }

    /// The slot of a client that returns is free: plans its next attempt, the first after a friendly parting at once.
    pub(super) fn come_back(&mut self, client: &Client, turn: &mut Turn) {
        if client.returns == Return::AtOnce {
            let (number, since) = (client.number, client.since);
            self.comebacks.push(Comeback { at: turn.now, number, since, attempt: 1 });
        } else {
            self.plan_attempt(client.number, client.since, client.attempt + 1, turn);
        }
    }

    fn plan_attempt(&mut self, number: u32, since: Nanos, attempt: u8, turn: &mut Turn) {
        let at = turn.now + self.plan.unrest.backoff.pause(attempt, &mut turn.random);
        self.comebacks.push(Comeback { at, number, since, attempt });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_due_first_comes_first() {
        let mut comebacks = Comebacks::default();
        for (at, number) in [(30, 1), (10, 2), (20, 3)] {
            comebacks.push(Comeback { at, number, since: 0, attempt: 1 });
        }
        assert_eq!(comebacks.next_due(), Some(10));
        let numbers: Vec<_> = std::iter::from_fn(|| comebacks.pop(20)).map(|due| due.number).collect();
        assert_eq!(numbers, [2, 3]);
        comebacks.clear();
        assert_eq!(comebacks.next_due(), None);
    }
}
