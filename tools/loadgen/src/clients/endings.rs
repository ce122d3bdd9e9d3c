//! How connections end: in their time, by our close frame, by a fault, and how that is booked.
//!
//! Invariant: each end is booked once, by the state that the connection was in.

use roadstead_io::Socket;

use super::{Clients, Deadline};
use crate::client::{Return, State};
use crate::failure::{Failure, Step};
use crate::limits::{ATTEMPTS_MAX, LINGER_MS, TURN_CLOSES_MAX};
use crate::schedule::Nanos;
use crate::stage::Stage;
use crate::turn::Turn;

impl Clients {
    /// Fails what took too long.
    pub(crate) fn expire(&mut self, turn: &mut Turn) {
        while let Some(deadline) = self.opening.front().copied() {
            let client = &self.records[deadline.socket.0 as usize];
            let is_waiting = client.number == deadline.number && (client.is_opening() || client.is_leaving());
            if is_waiting && deadline.at > turn.now {
                break;
            }
            self.opening.pop_front();
            if is_waiting {
                let step = match client.state {
                    State::Connecting => Step::Connecting,
                    State::Upgrading => Step::Upgrading,
                    State::Parting => Step::Closing,
                    _ => Step::Joining,
                };
                self.fail(deadline.socket, Failure::Timeout(step), turn, String::new);
            }
        }
        while let Some(deadline) = self.lingering.front().copied() {
            let client = &self.records[deadline.socket.0 as usize];
            let is_waiting = client.number == deadline.number && client.state == State::Lingering;
            if is_waiting && deadline.at > turn.now {
                break;
            }
            self.lingering.pop_front();
            if is_waiting {
                self.end(deadline.socket);
            }
        }
    }

    /// Gives up the connections that are still being opened: as failures, unless the run was ended early. Those that were to
    /// come back stay counted as away.
    pub(crate) fn stop_opening(&mut self, is_interrupted: bool, turn: &mut Turn) {
        self.comebacks.clear();
        for slot in 0..self.records.len() {
            let client = &mut self.records[slot];
            client.returns = Return::Never;
            if !client.is_opening() {
                continue;
            }
            let socket = Socket(slot as u32);
            if client.attempt > 0 {
                self.end(socket);
            } else if is_interrupted {
                turn.ledger.counters.opening -= 1;
                self.end(socket);
            } else {
                let step = if client.state == State::Connecting { Step::Connecting } else { Step::Upgrading };
                self.fail(socket, Failure::Timeout(step), turn, || "the time for opening is over".to_owned());
            }
        }
        self.opening.clear();
    }

    /// Books what the scenario has left, before connections are closed.
    pub(crate) fn finish(&mut self, is_interrupted: bool, turn: &mut Turn) {
        self.scenario.finish(is_interrupted, turn);
        self.parted_at = turn.now;
    }

    /// Sends close frames to a bounded number of connections, and no more than a bounded number ahead of the answers; or
    /// cuts them off, where that is asked for. True: more can be sent at once.
    pub(crate) fn part(&mut self, turn: &mut Turn) -> bool {
        let mut count = 0;
        while self.parted < self.records.len()
            && count < TURN_CLOSES_MAX
            && self.parting < u64::from(TURN_CLOSES_MAX)
        {
            let socket = Socket(self.parted as u32);
            let client = &mut self.records[self.parted];
            self.parted += 1;
            if client.state == State::Open && self.plan.cuts {
                turn.ledger.counters.open -= 1;
                turn.ledger.counters.closed += 1;
                count += 1;
                self.end(socket);
            } else if client.state == State::Open {
                client.send_close(socket, Some(wsproto::code::NORMAL), &mut turn.outbound, &mut turn.random);
                client.state = State::Parting;
                self.parting += 1;
                self.parted_at = turn.now;
                count += 1;
            }
        }
        self.parted < self.records.len() && self.parting < u64::from(TURN_CLOSES_MAX)
    }

    /// Gives up on close frames that do not come, once none has come for `patience`.
    pub(crate) fn expire_parting(&mut self, patience: Nanos, turn: &mut Turn) {
        if self.parting == 0 || turn.now.saturating_sub(self.parted_at) < patience {
            return;
        }
        for slot in 0..self.parted {
            if self.records[slot].state == State::Parting {
                self.fail(Socket(slot as u32), Failure::Timeout(Step::Closing), turn, String::new);
            }
        }
    }

    pub(super) fn fail(
        &mut self,
        socket: Socket,
        failure: Failure,
        turn: &mut Turn,
        detail: impl FnOnce() -> String,
    ) {
        let state = self.records[socket.0 as usize].state;
        self.end(socket);
        self.book_failure(socket, state, failure, turn, detail);
    }

    /// Ends a connection whose server did something wrong, with a close frame and time to answer it.
    pub(super) fn dismiss(
        &mut self,
        socket: Socket,
        code: u16,
        failure: Failure,
        turn: &mut Turn,
        detail: impl FnOnce() -> String,
    ) {
        let client = &mut self.records[socket.0 as usize];
        let state = client.state;
        client.send_close(socket, Some(code), &mut turn.outbound, &mut turn.random);
        self.linger(socket, turn.now);
        self.book_failure(socket, state, failure, turn, detail);
    }

    /// Waits for the server to end the TCP connection.
    pub(super) fn linger(&mut self, socket: Socket, now: Nanos) {
        let client = &mut self.records[socket.0 as usize];
        client.state = State::Lingering;
        let number = client.number;
        self.lingering.push_back(Deadline { at: now + LINGER_MS * 1_000_000, socket, number });
    }

    /// Our close frame was answered.
    pub(super) fn parted(&mut self, socket: Socket, turn: &mut Turn) {
        let client = &self.records[socket.0 as usize];
        turn.ledger.counters.open -= 1;
        if client.returns == Return::Never {
            turn.ledger.counters.closed += 1;
        }
        self.parting -= 1;
        self.parted_at = turn.now;
    }

    /// Books the failure of a connection that was in `state`, or its comeback.
    pub(super) fn book_failure(
        &mut self,
        socket: Socket,
        state: State,
        failure: Failure,
        turn: &mut Turn,
        detail: impl FnOnce() -> String,
    ) {
        let client = &mut self.records[socket.0 as usize];
        let number = client.number;
        let counters = &mut turn.ledger.counters;
        let of_url = &mut turn.ledger.urls[self.plan.spread.target_of(number)];
        let is_slow = self.plan.is_slow(number) && turn.stage > Stage::Holding;
        match state {
            State::Connecting | State::Upgrading | State::Joining { .. } if client.attempt > 0 => {
                if client.attempt < ATTEMPTS_MAX && turn.stage != Stage::Closing {
                    client.returns = Return::Later;
                    counters.retries += 1;
                    turn.ledger.set_back(failure);
                    return;
                }
                counters.away -= 1;
                counters.given_up += 1;
            }
            State::Connecting | State::Upgrading | State::Joining { .. } => {
                counters.opening -= 1;
                counters.failed += 1;
                of_url.failed += 1;
            }
            State::Open if is_slow => {
                counters.open -= 1;
                counters.slow_ended += 1;
                self.scenario.lost(&self.records[socket.0 as usize], false, turn);
                return;
            }
            State::Open if self.plan.unrest.reconnects && turn.stage != Stage::Closing => {
                counters.open -= 1;
                counters.torn += 1;
                counters.away += 1;
                (client.returns, client.attempt, client.since) = (Return::Later, 0, turn.now);
                turn.ledger.set_back(failure);
                self.scenario.lost(&self.records[socket.0 as usize], false, turn);
                return;
            }
            State::Open => {
                counters.open -= 1;
                counters.dropped += 1;
                of_url.dropped += 1;
                self.scenario.lost(&self.records[socket.0 as usize], false, turn);
            }
            State::Parting => {
                counters.open -= 1;
                self.parting -= 1;
                self.parted_at = turn.now;
                if is_slow {
                    counters.slow_ended += 1;
                    return;
                }
                counters.unclean += 1;
            }
            // It was booked when it left the states above.
            State::Free | State::Lingering | State::Ended => return,
        }
        turn.ledger.fail(number, failure, detail);
    }

    /// Has the socket closed at the end of the turn.
    pub(super) fn end(&mut self, socket: Socket) {
        let client = &mut self.records[socket.0 as usize];
        debug_assert!(!matches!(client.state, State::Free | State::Ended));
        client.state = State::Ended;
        client.held = None;
        self.closes.push(socket);
    }
}
