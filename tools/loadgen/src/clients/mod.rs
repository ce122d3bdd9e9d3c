//! The connections of one thread: what each event does to one of them.
//!
//! Invariants: knows no back end (sockets to close, to pause and to resume are handed out); every client's first connection
//! ends in exactly one of the counters opened, failed or (in a run that was ended early) neither; every opened client ends in
//! closed, dropped, unclean, slow_ended, given_up or away.

mod comebacks;
mod endings;
mod frames;
mod slowness;
mod unrest;
mod upgrade;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use roadstead_io::Socket;
use wsproto::deflate::Inflater;
use wsproto::handshake::{ClientRequest, push_request};

use self::comebacks::Comebacks;
use self::slowness::Slowness;
use self::unrest::Unrest;
use crate::client::{Client, Return, State};
use crate::failure::Failure;
use crate::limits::BACKLOG_BYTES_MAX;
use crate::opener::ends;
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
        turn.ledger.fail(number, Failure::Local(errno), || match error.raw_os_error() {
            // What the kernel says is in the kind.
            Some(_) => between(ends(&self.plan, number)),
            None => error.to_string(),
        });
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
}

fn between((source, peer): (Option<SocketAddr>, SocketAddr)) -> String {
    source.map_or_else(|| format!("to {peer}"), |source| format!("from {} to {peer}", source.ip()))
}

/// The subprotocols offered: servers of the client protocol choose the encoding by them.
fn offered(plan: &Plan) -> &'static [&'static str] {
    match &plan.login {
        Some(login) if !login.encoding.is_text() => &["centrifuge-protobuf"],
        _ => &[],
    }
}
