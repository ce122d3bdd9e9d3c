//! The connections of one thread: what each event does to one of them.
//!
//! Invariants: knows no back end (sockets to close, to pause and to resume are handed out); every client's first connection
//! ends in exactly one of the counters opened, failed or (in a run that was ended early) neither; every opened client ends in
//! closed, dropped, unclean, slow_ended, given_up or away.

mod comebacks;
mod frames;
mod slowness;
mod unrest;
mod upgrade;

use std::collections::VecDeque;
use std::sync::Arc;

use roadstead_io::Socket;
use wsproto::deflate::Inflater;
use wsproto::handshake::{ClientRequest, push_request};

use self::comebacks::Comebacks;
use self::slowness::Slowness;
use self::unrest::Unrest;
use crate::client::{Client, Return, State};
use crate::failure::{Failure, Step};
use crate::limits::{ATTEMPTS_MAX, BACKLOG_BYTES_MAX, LINGER_MS, TURN_CLOSES_MAX};
use crate::plan::Plan;
use crate::random::handshake_key;
use crate::scenario::Scenario;
use crate::schedule::Nanos;
use crate::stage::Stage;
use crate::target::Target;
use crate::turn::Turn;

/// A time by which a connection must have got on.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Nanos,
    socket: Socket,
    number: u32,
}

/// All connections of a thread.
#[derive(Debug)]
pub(crate) struct Clients {
    plan: Arc<Plan>,
    records: Vec<Client>,
    scenario: Scenario,
    /// Sockets that the owner must close now.
    closes: Vec<Socket>,
    /// Sockets that the owner must stop receiving from now.
    pauses: Vec<Socket>,
    /// Sockets that it must receive from again.
    resumes: Vec<Socket>,
    comebacks: Comebacks,
    unrest: Unrest,
    slowness: Slowness,
    /// Of opening connections, in order of time.
    opening: VecDeque<Deadline>,
    /// Of lingering connections, in order of time.
    lingering: VecDeque<Deadline>,
    /// Slots below this have got their close frame at the end of the run.
    parted: usize,
    /// Connections whose close frame is out and unanswered.
    parting: u64,
    /// When a connection last parted or was answered.
    parted_at: Nanos,
    /// Lent to decoders; a connection with an incomplete message keeps it.
    assembly: Vec<u8>,
    /// Inflates what servers have deflated, for all connections.
    inflater: Inflater,
    /// The last message that was inflated.
    inflated: Vec<u8>,
    /// Commands before they are framed.
    message: Vec<u8>,
}

impl Clients {
    /// No connections yet.
    #[must_use]
    pub(crate) fn new(plan: Arc<Plan>, thread: u32, scenario: Scenario) -> Self {
        let count = plan.clients_of(thread) as usize;
        Self {
            plan,
            records: Vec::with_capacity(count),
            scenario,
            closes: Vec::new(),
            pauses: Vec::new(),
            resumes: Vec::new(),
            comebacks: Comebacks::default(),
            unrest: Unrest::default(),
            slowness: Slowness::default(),
            opening: VecDeque::new(),
            lingering: VecDeque::new(),
            parted: 0,
            parting: 0,
            parted_at: 0,
            assembly: Vec::new(),
            inflater: Inflater::default(),
            inflated: Vec::new(),
            message: Vec::new(),
        }
    }

    /// The record of a socket, whose slot must be in use or just freed.
    pub(crate) fn record(&mut self, socket: Socket) -> &mut Client {
        &mut self.records[socket.0 as usize]
    }

    /// Sockets that the owner must close now.
    pub(crate) fn take_closes(&mut self, to: &mut Vec<Socket>) {
        to.append(&mut self.closes);
    }

    /// Client `number` is being connected.
    pub(crate) fn begin(&mut self, socket: Socket, number: u32, since: Nanos, turn: &mut Turn) {
        self.connect(socket, Client::connecting(number, since, 0), turn);
        turn.ledger.counters.attempted += 1;
        turn.ledger.counters.opening += 1;
    }

    fn connect(&mut self, socket: Socket, client: Client, turn: &Turn) {
        let slot = socket.0 as usize;
        while self.records.len() <= slot {
            self.records.push(Client::free());
        }
        debug_assert_eq!(self.records[slot].state, State::Free);
        self.records[slot] = client;
        self.expect(socket, turn.now);
    }

    /// Gives a connection the usual time to get on.
    fn expect(&mut self, socket: Socket, now: Nanos) {
        let number = self.records[socket.0 as usize].number;
        self.opening.push_back(Deadline { at: now + self.plan.opening.timeout, socket, number });
    }

    /// Client `number` could not even be begun.
    pub(crate) fn refuse(&mut self, number: u32, error: &std::io::Error, turn: &mut Turn) {
        let errno = error.raw_os_error().unwrap_or(0);
        turn.ledger.counters.attempted += 1;
        turn.ledger.counters.failed += 1;
        turn.ledger.urls[self.plan.spread.target_of(number)].failed += 1;
        turn.ledger.fail(number, Failure::Local(errno), || error.to_string());
    }

    /// The TCP connection stands: asks for the upgrade.
    pub(crate) fn connected(&mut self, socket: Socket, turn: &mut Turn) {
        let plan = &self.plan;
        let client = &mut self.records[socket.0 as usize];
        if client.state != State::Connecting {
            return;
        }
        client.state = State::Upgrading;
        let url = &plan.target_of(client.number).url;
        let request = ClientRequest {
            host: &url.authority,
            target: &url.target,
            origin: plan.origin.as_deref(),
            protocols: offered(plan),
            key: handshake_key(plan.seed, client.number),
            deflate: plan.deflate,
            headers: &[],
        };
        push_request(turn.outbound.begin(socket, &mut client.piece), &request);
    }

    /// Where a socket that is in use leads.
    #[must_use]
    pub(crate) fn target_of(&self, socket: Socket) -> &Target {
        self.plan.target_of(self.records[socket.0 as usize].number)
    }

    /// Whether a socket that is in use is one of a client that comes back.
    #[must_use]
    pub(crate) fn is_back(&self, socket: Socket) -> bool {
        self.records[socket.0 as usize].attempt > 0
    }

    /// TLS says that the connection is of no use.
    pub(crate) fn tls_failed(&mut self, socket: Socket, text: String, turn: &mut Turn) {
        if !matches!(self.records[socket.0 as usize].state, State::Free | State::Ended | State::Lingering) {
            self.fail(socket, Failure::Tls, turn, || text);
        }
    }

    /// Bytes arrived.
    pub(crate) fn received(&mut self, socket: Socket, bytes: &mut [u8], turn: &mut Turn) {
        turn.ledger.counters.bytes_received += bytes.len() as u64;
        if turn.stage == Stage::Running && self.plan.is_slow(self.records[socket.0 as usize].number) {
            self.heard_slowly(socket, bytes.len(), turn.now);
        }
        match self.records[socket.0 as usize].state {
            State::Upgrading => self.response(socket, bytes, turn),
            State::Joining { .. } | State::Open | State::Parting => self.frames(socket, bytes, turn),
            // What follows the server's close frame is nothing; a slot that is being closed hears nothing more.
            State::Free | State::Connecting | State::Lingering | State::Ended => {}
        }
    }

    /// The server sends no more.
    pub(crate) fn peer_closed(&mut self, socket: Socket, turn: &mut Turn) {
        match self.records[socket.0 as usize].state {
            State::Lingering => self.end(socket),
            State::Free | State::Ended => {}
            _ => self.fail(socket, Failure::Cut, turn, String::new),
        }
    }

    /// The socket is of no more use.
    pub(crate) fn failed(&mut self, socket: Socket, errno: i32, turn: &mut Turn) {
        let client = &self.records[socket.0 as usize];
        let number = client.number;
        match client.state {
            State::Lingering => self.end(socket),
            State::Free | State::Ended => {}
            State::Connecting => {
                let peer = self.plan.target_of(number).peer;
                self.fail(socket, Failure::of_errno(errno), turn, || peer.to_string());
            }
            _ => self.fail(socket, Failure::of_errno(errno), turn, String::new),
        }
    }

    /// The socket takes no bytes for now.
    pub(crate) fn blocked(&mut self, socket: Socket) {
        self.records[socket.0 as usize].is_blocked = true;
    }

    /// The socket takes bytes again: what waited goes first.
    pub(crate) fn drained(&mut self, socket: Socket, turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        client.is_blocked = false;
        if matches!(client.state, State::Free | State::Ended) {
            return;
        }
        if let Some(held) = &mut client.held {
            turn.outbound.begin(socket, &mut client.piece).append(&mut held.backlog);
            client.release();
        }
        self.scenario.drained(&mut self.records[socket.0 as usize], socket, turn);
    }

    /// The slot is free again.
    pub(crate) fn closed(&mut self, socket: Socket, turn: &mut Turn) {
        let client = std::mem::replace(&mut self.records[socket.0 as usize], Client::free());
        if client.returns != Return::Never {
            self.come_back(&client, turn);
        }
    }

    /// Keeps bytes for a connection that takes none now. They are pongs and close frames.
    pub(crate) fn hold_back(&mut self, socket: Socket, bytes: &[u8], turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        if client.backlog_bytes() + bytes.len() > BACKLOG_BYTES_MAX {
            self.fail(socket, Failure::Backlog, turn, String::new);
            return;
        }
        client.held.get_or_insert_default().backlog.extend_from_slice(bytes);
    }

    /// Sends what the scenario has due. True: more is due at once.
    pub(crate) fn send_due(&mut self, turn: &mut Turn) -> bool {
        self.scenario.send_due(&mut self.records, turn)
    }

    /// When the scenario has something to do.
    #[must_use]
    pub(crate) fn next_due(&self, turn: &Turn) -> Option<Nanos> {
        [
            self.scenario.next_due(turn),
            self.comebacks.next_due(),
            self.unrest.next_due(),
            self.slowness.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

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

    fn fail(&mut self, socket: Socket, failure: Failure, turn: &mut Turn, detail: impl FnOnce() -> String) {
        let state = self.records[socket.0 as usize].state;
        self.end(socket);
        self.book_failure(socket, state, failure, turn, detail);
    }

    /// Ends a connection whose server did something wrong, with a close frame and time to answer it.
    fn dismiss(
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
    fn linger(&mut self, socket: Socket, now: Nanos) {
        let client = &mut self.records[socket.0 as usize];
        client.state = State::Lingering;
        let number = client.number;
        self.lingering.push_back(Deadline { at: now + LINGER_MS * 1_000_000, socket, number });
    }

    /// Our close frame was answered.
    fn parted(&mut self, socket: Socket, turn: &mut Turn) {
        let client = &self.records[socket.0 as usize];
        turn.ledger.counters.open -= 1;
        if client.returns == Return::Never {
            turn.ledger.counters.closed += 1;
        }
        self.parting -= 1;
        self.parted_at = turn.now;
    }

    /// Books the failure of a connection that was in `state`, or its comeback.
    fn book_failure(
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
    fn end(&mut self, socket: Socket) {
        let client = &mut self.records[socket.0 as usize];
        debug_assert!(!matches!(client.state, State::Free | State::Ended));
        client.state = State::Ended;
        client.held = None;
        self.closes.push(socket);
    }
}

/// The subprotocols offered: servers of the client protocol choose the encoding by them.
fn offered(plan: &Plan) -> &'static [&'static str] {
    match &plan.login {
        Some(login) if !login.encoding.is_text() => &["centrifuge-protobuf"],
        _ => &[],
    }
}
