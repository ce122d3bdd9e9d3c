//! Messages to a server that sends them back.
//!
//! Invariants: a message's latency counts from its intended time; a connection that takes no bytes delays its
//! messages, never drops them, up to a bound; every message sent is expected back once, in order.

use std::sync::Arc;

use roadstead_io::Socket;
use wsproto::Opcode;

use crate::client::{Client, State};
use crate::limits::{OUTSTANDING_MAX, TURN_BYTES_MAX, TURN_MESSAGES_MAX};
use crate::outstanding::Outstanding;
use crate::plan::{EchoLoad, Pace, Plan};
use crate::schedule::{Nanos, Schedule};
use crate::sequence::{Checker, Tally};
use crate::spread::Spread;
use crate::stage::Stage;
use crate::stamp::EchoPayload;
use crate::turn::Turn;

/// One connection's messages.
///
/// ```text
///           checker.next()          sent           times.next()
///   came back     |    under way      |  due, unsent    |
/// ----------------+-------------------+-----------------+---> message number
/// ```
#[derive(Debug)]
struct Lane {
    socket: Socket,
    /// Number of its URL.
    url: usize,
    is_open: bool,
    sent: u32,
    checker: Checker,
    times: Outstanding,
}

/// All messages of one thread.
#[derive(Debug)]
pub(crate) struct Echo {
    load: EchoLoad,
    opcode: Opcode,
    payload: EchoPayload,
    spread: Arc<Spread>,
    threads: u32,
    thread: u32,
    /// Messages per second of this thread, in open loop.
    rate: f64,
    /// By place of the client on this thread; empty until the first connection opens.
    lanes: Vec<Lane>,
    /// Places of the connections that were open when sending began: the turns of the open loop.
    ready: Vec<u32>,
    /// In open loop, once sending has begun.
    schedule: Option<Schedule>,
    /// In closed loop, how many of `ready` have got their first messages.
    primed: usize,
    has_begun: bool,
}

impl Echo {
    /// The part of thread `thread`.
    #[must_use]
    pub(crate) fn new(load: EchoLoad, plan: &Plan, thread: u32) -> Self {
        let share = f64::from(plan.clients_of(thread)) / f64::from(plan.clients);
        let lane = || Lane {
            socket: Socket(0),
            url: 0,
            is_open: false,
            sent: 0,
            checker: Checker::default(),
            times: Outstanding::default(),
        };
        Self {
            load,
            opcode: if load.text { Opcode::Text } else { Opcode::Binary },
            payload: EchoPayload::new(load.size),
            spread: Arc::clone(&plan.spread),
            threads: plan.threads,
            thread,
            rate: if let Pace::Open(rate) = load.pace { rate * share } else { 0.0 },
            lanes: (0..plan.clients_of(thread)).map(|_| lane()).collect(),
            ready: Vec::new(),
            schedule: None,
            primed: 0,
            has_begun: false,
        }
    }

    /// A connection is usable.
    pub(crate) fn opened(&mut self, client: &Client, socket: Socket) {
        let place = client.number / self.threads;
        let lane = &mut self.lanes[place as usize];
        (lane.socket, lane.url, lane.is_open) = (socket, self.spread.target_of(client.number), true);
        self.ready.push(place);
    }

    /// A connection is gone; what was under way on it will be missing.
    pub(crate) fn lost(&mut self, client: &Client) {
        self.lanes[(client.number / self.threads) as usize].is_open = false;
    }

    /// A connection takes bytes again.
    pub(crate) fn drained(&mut self, client: &mut Client, socket: Socket, turn: &mut Turn) {
        self.refill(client, socket, turn);
    }

    /// A message came back.
    pub(crate) fn message(&mut self, client: &mut Client, socket: Socket, payload: &[u8], turn: &mut Turn) {
        let lane = &mut self.lanes[(client.number / self.threads) as usize];
        turn.ledger.counters.received += 1;
        let Some(number) = self.payload.sequence(payload, lane.checker.next()).filter(|n| *n < lane.sent)
        else {
            turn.ledger.counters.corrupt += 1;
            return;
        };
        let mut tally = Tally::default();
        tally.add(lane.checker.check(number));
        turn.ledger.tally(lane.url, tally);
        if let Some(intended) = lane.times.take(number).filter(|intended| turn.is_measured(*intended)) {
            turn.ledger.counters.measured_received += 1;
            turn.ledger.latencies.message.record(turn.now.saturating_sub(intended));
        }
        self.refill(client, socket, turn);
    }

    /// Begins, then follows the schedule or makes the first messages of the closed loop.
    pub(crate) fn send_due(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
        if !turn.follows_schedule() {
            return false;
        }
        if !self.has_begun {
            self.begin(turn);
        }
        match self.load.pace {
            Pace::Open(_) => self.send_scheduled(clients, turn),
            Pace::Closed(_) => turn.is_sending() && self.prime(clients, turn),
        }
    }

    /// The next message of the schedule, or the start of sending.
    #[must_use]
    pub(crate) fn next_due(&self, turn: &Turn) -> Option<Nanos> {
        if turn.window.start == 0 {
            return None;
        }
        match &self.schedule {
            Some(schedule) => schedule.next_due(),
            None => (!self.has_begun).then_some(turn.window.start),
        }
    }

    /// Counts what was due and never sent.
    pub(crate) fn finish(&mut self, is_interrupted: bool, turn: &mut Turn) {
        if let Some(schedule) = self.schedule.as_ref().filter(|_| !is_interrupted) {
            turn.ledger.counters.unsent += schedule.rest();
        }
        for lane in &self.lanes {
            turn.ledger.counters.unsent += u64::from(lane.times.next() - lane.sent);
        }
    }

    fn begin(&mut self, turn: &Turn) {
        self.has_begun = true;
        if self.rate > 0.0 && !self.ready.is_empty() {
            let window = turn.window;
            self.schedule =
                Some(Schedule::new(self.rate, window.start, window.end, self.thread, self.threads));
        }
    }

    fn send_scheduled(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
        let Some(schedule) = &mut self.schedule else { return false };
        for _ in 0..TURN_MESSAGES_MAX {
            if turn.outbound.len() >= TURN_BYTES_MAX {
                return true;
            }
            let Some((number, due)) = schedule.pop(turn.now) else { return false };
            turn.record_lag(due);
            let place = self.ready[(number % self.ready.len() as u64) as usize];
            let lane = &mut self.lanes[place as usize];
            if !lane.is_open || lane.times.len() >= OUTSTANDING_MAX {
                turn.ledger.counters.unsent += 1;
                continue;
            }
            lane.times.push(due);
            let socket = lane.socket;
            send_unsent(lane, &mut self.payload, self.opcode, &mut clients[socket.0 as usize], turn);
        }
        true
    }

    fn prime(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
        while let Some(place) = self.ready.get(self.primed) {
            if turn.outbound.len() >= TURN_BYTES_MAX {
                return true;
            }
            self.primed += 1;
            let lane = &self.lanes[*place as usize];
            if lane.is_open {
                let socket = lane.socket;
                self.refill(&mut clients[socket.0 as usize], socket, turn);
            }
        }
        false
    }

    /// In closed loop, makes as many messages due as have come back or were lost; sends what the socket takes.
    fn refill(&mut self, client: &mut Client, socket: Socket, turn: &mut Turn) {
        let lane = &mut self.lanes[(client.number / self.threads) as usize];
        debug_assert_eq!(lane.socket, socket);
        if let Pace::Closed(depth) = self.load.pace
            && turn.is_sending()
            && !client.is_blocked
        {
            while lane.times.next() - lane.checker.next() < depth {
                lane.times.push(turn.now);
            }
        }
        if turn.stage <= Stage::Draining {
            send_unsent(lane, &mut self.payload, self.opcode, client, turn);
        }
    }
}

/// Sends what is due on a connection that takes bytes.
fn send_unsent(
    lane: &mut Lane,
    payload: &mut EchoPayload,
    opcode: Opcode,
    client: &mut Client,
    turn: &mut Turn,
) {
    if client.is_blocked || client.state != State::Open {
        return;
    }
    while let Some(intended) = lane.times.get(lane.sent) {
        client.send(lane.socket, opcode, payload.with(lane.sent), &mut turn.outbound, &mut turn.random);
        lane.sent += 1;
        turn.ledger.counters.sent += 1;
        turn.ledger.counters.expected += 1;
        turn.ledger.urls[lane.url].sent += 1;
        turn.ledger.urls[lane.url].expected += 1;
        if turn.is_measured(intended) {
            turn.ledger.counters.measured_sent += 1;
        }
    }
}
