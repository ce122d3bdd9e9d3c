//! One thread: a back end, its connections, and the turn that carries events from one to the other.
//!
//! ```text
//! turn:  wait -> events -> connections -> what is due (opening, messages, closing) -> one send each -> closes
//! ```
//!
//! Invariant: nothing is shared with other threads but the stage, the audience and snapshots handed over.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use core_affinity::CoreId;
use roadstead_io::{Arena, Epoll, Event, Io, Kind, Options, Socket, Uring, Waker};

use crate::client::State;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::limits::{
    ARENA_BYTES, ARENA_BYTES_LARGE, ARENA_BYTES_MIN, ARENAS_BYTES, CLOSE_MS_MAX, LARGE_MESSAGE_BYTES,
    SLEEP_MS_MAX, TURN_CONNECTS_MAX,
};
use crate::opener::{Opener, ends};
use crate::outbound::Outbound;
use crate::plan::Plan;
use crate::random::Random;
use crate::scenario::{Audience, Scenario};
use crate::stage::{Conduct, Stage, Window};
use crate::timer;
use crate::tls::{Heard, Tls};
use crate::turn::Turn;

/// What a thread is given.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Its number.
    pub(crate) thread: u32,
    /// What the run does.
    pub(crate) plan: Arc<Plan>,
    /// Which part of the run it is in.
    pub(crate) conduct: Arc<Conduct>,
    /// The run's time.
    pub(crate) clock: Clock,
    /// The back end to use.
    pub(crate) kind: Kind,
    /// By which the conductor ends its waits.
    pub(crate) waker: Waker,
    /// Its books.
    pub(crate) ledger: Ledger,
    /// What fan-out threads know of each other.
    pub(crate) audience: Arc<Audience>,
}

/// Runs a thread's part from first connection to last close; the last snapshot says how it ended.
pub(crate) fn run(assignment: Assignment) {
    let (kind, waker, plan) = (assignment.kind, assignment.waker.clone(), Arc::clone(&assignment.plan));
    timer::wake_in_time();
    if let Some(id) = plan.cores.get(assignment.thread as usize % plan.cores.len().max(1)) {
        // The plan has checked that the core may be used; a thread that stays where it is works as well.
        core_affinity::set_for_current(CoreId { id: *id });
    }
    let mut options = Options::new(plan.clients_of(assignment.thread));
    options.waker = Some(waker);
    options.own_descriptor_table = plan.threads > 1;
    let back_end: io::Result<Box<dyn Io>> = match kind {
        Kind::Uring => Uring::new(&options).map(|io| Box::new(io) as Box<dyn Io>),
        Kind::Epoll => Epoll::new(&options).map(|io| Box::new(io) as Box<dyn Io>),
    };
    let mut worker = Worker::new(assignment);
    let result = back_end.and_then(|mut io| worker.work(io.as_mut()));
    let fatal = result.err().map(|error| format!("{kind}: {error}"));
    worker.turn.ledger.finish(Stage::Closing, fatal);
}

struct Worker {
    thread: u32,
    plan: Arc<Plan>,
    conduct: Arc<Conduct>,
    clock: Clock,
    opener: Opener,
    clients: Clients,
    turn: Turn,
    /// Where a URL needs it.
    tls: Option<Tls>,
    arena: Arena,
    closes: Vec<Socket>,
    pauses: Vec<Socket>,
    resumes: Vec<Socket>,
    /// A bound of the last turn was reached: there is work that needs no waiting.
    is_behind: bool,
}

impl Worker {
    fn new(assignment: Assignment) -> Self {
        let Assignment { thread, plan, conduct, clock, ledger, audience, .. } = assignment;
        let scenario = Scenario::new(&plan, thread, &audience);
        let now = clock.now();
        let arena = arena_bytes(&plan);
        Self {
            opener: Opener::new(&plan, thread, now),
            clients: Clients::new(Arc::clone(&plan), thread, scenario),
            turn: Turn {
                now,
                stage: Stage::Opening,
                window: Window::default(),
                outbound: Outbound::default(),
                random: Random::new(plan.seed ^ (u64::from(thread) << 40)),
                ledger,
            },
            tls: plan.trust.as_ref().map(Tls::new),
            plan,
            conduct,
            clock,
            arena: Arena::new(arena),
            closes: Vec::new(),
            pauses: Vec::new(),
            resumes: Vec::new(),
            thread,
            is_behind: false,
        }
    }

    fn work(&mut self, io: &mut dyn Io) -> io::Result<()> {
        let mut events = Vec::new();
        loop {
            events.clear();
            let timeout = self.timeout();
            io.wait(&mut self.arena, &mut events, Some(timeout))?;
            self.turn.now = self.clock.now();
            self.follow_stage();
            for event in &events {
                self.event(*event);
            }
            self.act(io);
            self.flush(io);
            self.turn.ledger.report(self.turn.stage, self.turn.now, false);
            if self.turn.stage == Stage::Closing && !self.is_behind && io.sockets() == 0 {
                return Ok(());
            }
        }
    }

    /// Takes over a new stage, and what begins and ends with it.
    fn follow_stage(&mut self) {
        let stage = self.conduct.stage();
        self.turn.window = self.conduct.window();
        if stage == self.turn.stage {
            return;
        }
        // The books are closed at the border, so that processor time is counted for the right part.
        self.turn.ledger.report(self.turn.stage, self.turn.now, true);
        let was = std::mem::replace(&mut self.turn.stage, stage);
        if was == Stage::Opening {
            self.clients.stop_opening(self.conduct.is_interrupted(), &mut self.turn);
        }
        if stage == Stage::Running {
            self.clients.begin_unrest(self.thread, &self.turn);
            self.clients.slow_down(&self.turn);
        }
        if was == Stage::Running {
            self.clients.end_unrest();
            self.clients.speed_up();
        }
        if stage == Stage::Closing {
            self.clients.stop_opening(self.conduct.is_interrupted(), &mut self.turn);
            self.clients.finish(self.conduct.is_interrupted(), &mut self.turn);
        }
    }

    fn event(&mut self, event: Event) {
        let turn = &mut self.turn;
        match event {
            Event::Connected { socket } => match &mut self.tls {
                None => self.clients.connected(socket, turn),
                Some(tls) => {
                    match tls.begin(socket, self.clients.target_of(socket), self.clients.is_back(socket)) {
                        Ok(true) => {}
                        Ok(false) => self.clients.connected(socket, turn),
                        Err(text) => self.clients.tls_failed(socket, text, turn),
                    }
                }
            },
            Event::Received { socket, start, len } => {
                let bytes = self.arena.received(start, len);
                match &mut self.tls {
                    Some(tls) if tls.has(socket) => decipher(tls, &mut self.clients, socket, bytes, turn),
                    _ => self.clients.received(socket, bytes, turn),
                }
            }
            Event::PeerClosed { socket } => self.clients.peer_closed(socket, turn),
            Event::Failed { socket, errno } => self.clients.failed(socket, errno, turn),
            Event::Blocked { socket, .. } => self.clients.blocked(socket),
            Event::Drained { socket } => self.clients.drained(socket, turn),
            Event::Closed { socket } => {
                if let Some(tls) = &mut self.tls {
                    tls.end(socket);
                }
                self.clients.closed(socket, turn);
            }
            // Nothing listens here; a wake only means that the stage may have changed.
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Woken => {}
        }
    }

    /// Does what is due by time.
    fn act(&mut self, io: &mut dyn Io) {
        self.clients.expire(&mut self.turn);
        self.clients.read_slowly(&self.turn);
        self.bring_back(io);
        self.is_behind = match self.turn.stage {
            Stage::Opening => {
                self.open(io);
                false
            }
            Stage::Holding | Stage::Resting => false,
            Stage::Running | Stage::Draining => {
                let is_stirring = self.clients.stir(&mut self.turn);
                let is_behind = self.clients.send_due(&mut self.turn) || is_stirring;
                let is_over = self.turn.stage == Stage::Running && self.turn.now >= self.turn.window.end;
                if is_over && !is_behind {
                    self.turn.ledger.complete(self.turn.now);
                }
                is_behind
            }
            Stage::Closing => {
                self.clients.expire_parting(CLOSE_MS_MAX * 1_000_000, &mut self.turn);
                self.clients.part(&mut self.turn)
            }
        };
    }

    fn open(&mut self, io: &mut dyn Io) {
        self.opener.begin_turn();
        while let Some(due) = self.opener.pop(&self.plan, self.turn.ledger.counters.opening, self.turn.now) {
            let (source, peer) = ends(&self.plan, due.number);
            match io.connect(source, peer) {
                Ok(socket) => self.clients.begin(socket, due.number, due.since, &mut self.turn),
                Err(error) => self.clients.refuse(due.number, &error, &mut self.turn),
            }
        }
        if self.opener.is_done() && self.turn.ledger.counters.opening == 0 {
            self.turn.ledger.settle(self.turn.now);
        }
    }

    /// Opens connections again whose pause is over.
    fn bring_back(&mut self, io: &mut dyn Io) {
        for _ in 0..TURN_CONNECTS_MAX {
            let Some(comeback) = self.clients.next_comeback(self.turn.now) else { return };
            let (source, peer) = ends(&self.plan, comeback.number);
            match io.connect(source, peer) {
                Ok(socket) => self.clients.begin_comeback(socket, comeback, &self.turn),
                Err(error) => self.clients.defer_comeback(comeback, &error, &mut self.turn),
            }
        }
    }

    /// Sends each connection's bytes, then closes sockets.
    fn flush(&mut self, io: &mut dyn Io) {
        let (clients, turn, tls) = (&mut self.clients, &mut self.turn, &mut self.tls);
        let mut outbound = std::mem::take(&mut turn.outbound);
        outbound.flush(|socket, payload| {
            let client = clients.record(socket);
            if !client.can_send() {
                return;
            }
            if client.is_blocked {
                clients.hold_back(socket, &payload, turn);
                return;
            }
            if let Some(tls) = tls.as_mut().filter(|tls| tls.has(socket)) {
                tls.write(socket, &payload);
                return;
            }
            turn.ledger.counters.bytes_sent += payload.len() as u64;
            io.send(socket, payload);
        });
        turn.outbound = outbound;
        if let Some(tls) = tls {
            let is_free = |socket| {
                let client = clients.record(socket);
                !client.is_blocked && client.state != State::Ended
            };
            tls.flush(is_free, |socket, bytes| {
                turn.ledger.counters.bytes_sent += bytes.len() as u64;
                io.send(socket, bytes.into());
            });
        }
        self.clients.take_pauses(&mut self.pauses, &mut self.resumes);
        self.pauses.drain(..).for_each(|socket| io.pause(socket));
        self.resumes.drain(..).for_each(|socket| io.resume(socket));
        self.clients.take_closes(&mut self.closes);
        for socket in self.closes.drain(..) {
            io.close(socket);
        }
    }

    /// How long to sleep: until the next thing is due, and never long.
    fn timeout(&self) -> Duration {
        if self.is_behind {
            return Duration::ZERO;
        }
        let now = self.turn.now;
        let opening = (self.turn.stage == Stage::Opening)
            .then(|| self.opener.next_due(self.turn.ledger.counters.opening, now))
            .flatten();
        let longest = now + SLEEP_MS_MAX * 1_000_000;
        let next = [opening, self.clients.next_due(&self.turn), Some(self.turn.ledger.next_due())];
        let next = next.into_iter().flatten().fold(longest, u64::min);
        Duration::from_nanos(next.saturating_sub(self.clock.now()))
    }
}

/// Hands what TLS makes of received bytes to the client.
fn decipher(tls: &mut Tls, clients: &mut Clients, socket: Socket, bytes: &[u8], turn: &mut Turn) {
    match tls.received(socket, bytes) {
        Ok(Heard::Handshake | Heard::Traffic) => {}
        Ok(Heard::Established { is_resumed }) => {
            turn.ledger.counters.tls_handshakes += 1;
            turn.ledger.counters.tls_resumed += u64::from(is_resumed);
            clients.connected(socket, turn);
        }
        Err(text) => clients.tls_failed(socket, text, turn),
    }
    let mut plain = tls.take_plain();
    if !plain.is_empty() {
        clients.received(socket, &mut plain, turn);
    }
    tls.give_back(plain);
}

/// Receive buffer of one thread: with many threads each has a small part of the work.
fn arena_bytes(plan: &Plan) -> usize {
    if plan.payload_bytes() > LARGE_MESSAGE_BYTES {
        return ARENA_BYTES_LARGE;
    }
    (ARENAS_BYTES / plan.threads as usize).clamp(ARENA_BYTES_MIN, ARENA_BYTES)
}
