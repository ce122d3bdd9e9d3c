//! Sessions: what a peer's bytes mean, and what is said to it.
//!
//! Invariants: knows no socket, no other connection, no channel's subscribers; asks by [`Command`] and is answered
//! by [`Delivery`]; everything said goes into the turn's [`Replies`]; a peer can end its session, never the shard.
//!
//! ```text
//! bytes ─> upgrade ─> echo ───────────────────────────> replies, from the arena where they can
//!               │       (inflated before, and deflated behind, where that was agreed to)
//!               └───> client: commands ─> permission ─> Command   (to the router)
//!                                    └──> errors, pongs > replies
//! Delivery (from the router) ─> answer ───────────────> replies
//! ```

mod client;
mod connecting;
mod deflation;
mod ending;
mod faults;
mod history;
pub mod inbound;
mod judging;
mod openings;
pub mod permissions;
mod pings;
mod postponed;
mod rates;
pub mod replies;
mod revoked;
mod server;
mod server_side;
mod subscribing;
mod tally;
mod upgrade;
pub mod users;
mod waiting;
pub mod wire;

use std::sync::Arc;

use roadstead_protocol::DisconnectCode;
use wsproto::{Answer as CloseAnswer, Event, Limits, MessageKind, Opcode, code};

use crate::flow::{Command, Delivery, Key, Now, TokenMark};
use crate::guards::Gate;
use crate::limits::REFUSAL_MS;
use crate::revocations::Revocations;
use crate::settings::Settings;
use crate::token::{Desk, Verdict, Verifier};
pub use client::Identity;
use client::{Clients, Talk};
use deflation::Deflation;
pub use deflation::{Compressor, DeflateTally, Deflates};
use ending::{close, end_after_flush};
use inbound::Blocks;
pub use judging::TokenTally;
use postponed::Postponed;
use rates::Rates;
pub use replies::{Place, Replies, Span, Urgency};
use revoked::Revoked;
pub use tally::{RevokedTally, Tally};
pub use wire::{Ending, Phase, Wire};

/// What one turn heard and what is to be said.
#[derive(Debug, Default)]
pub struct Heard {
    /// For the router, in order.
    pub commands: Vec<Command>,
    /// For the sockets.
    pub replies: Replies,
    /// Timers to set (or, without a time, to cancel).
    pub timers: Vec<(u32, Option<u64>)>,
    /// Connections whose [`Ending`] was set.
    pub endings: Vec<u32>,
    /// Codes of the answers to connect commands.
    pub connects: Vec<u16>,
    /// Codes of the closes that this side began.
    pub closes: Vec<u16>,
    /// Connections that are not to be read from, until what they have said was heard.
    pub postponed: Vec<u32>,
    /// Connections whose connect is answered in this turn, after it had to wait.
    pub opened: Vec<u32>,
}

/// The sessions of one shard.
#[derive(Debug)]
pub struct Sessions {
    settings: Arc<Settings>,
    clients: Clients,
    blocks: Blocks,
    deflation: Deflation,
    gate: Gate,
    postponed: Postponed,
    client_limits: Limits,
    echo_limits: Limits,
    tally: Tally,
}

impl Sessions {
    /// No sessions yet.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        verifier: Arc<Verifier>,
        desk: Option<Desk>,
        identity: Identity,
        gate: Gate,
    ) -> Self {
        let limits = |message_bytes| Limits {
            frame_bytes: message_bytes,
            message_bytes,
            fragments: settings.limits.fragments,
        };
        Self {
            clients: Clients::new(
                Arc::clone(&settings),
                verifier,
                desk,
                identity,
                Rates::new(Arc::clone(gate.guards()), &settings.guard),
            ),
            blocks: Blocks::new(settings.limits.inbound_bytes_per_shard as usize),
            deflation: Deflation::new(settings.compression.clone()),
            gate,
            postponed: Postponed::default(),
            client_limits: limits(settings.limits.message_bytes),
            echo_limits: limits(settings.limits.echo_message_bytes),
            tally: Tally::default(),
            settings,
        }
    }

    /// Takes over settings that may change while running.
    pub fn reload(&mut self, settings: Arc<Settings>, verifier: Arc<Verifier>) {
        self.clients.reload(Arc::clone(&settings), verifier);
        self.settings = settings;
    }

    /// From now on these are revoked.
    pub fn revoke(&mut self, set: &Arc<Revocations>) {
        self.clients.revoked = Revoked::new(set, self.clients.identity.hasher);
    }

    /// Whether the token by which a client has connected was taken back.
    #[must_use]
    pub fn is_revoked(&self, wire: &Wire, now: Now) -> bool {
        wire.has_session() && self.clients.is_revoked(wire, now)
    }

    /// Whether a token by which a client has subscribed was taken back.
    #[must_use]
    pub fn revokes(&self, mark: TokenMark, wire: &Wire, now: Now) -> bool {
        wire.has_session() && self.clients.revokes(mark, wire, now)
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> Tally {
        Tally { deflate: self.deflation.take_tally(), ..std::mem::take(&mut self.tally) }
    }

    /// Clients that have connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no client has connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Users that are connected.
    #[must_use]
    pub fn users(&self) -> usize {
        self.clients.users()
    }

    /// Memory of partial input, bytes.
    #[must_use]
    pub fn inbound_bytes(&self) -> usize {
        self.blocks.held_bytes() + self.clients.waiters.bytes()
    }

    /// Memory that the windows of connections that lean on earlier messages may come to hold, bytes.
    #[must_use]
    pub fn window_bytes(&self) -> usize {
        self.deflation.window_bytes()
    }

    /// The guards, who are asked when a connection begins and told when it does something wrong.
    pub fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }

    /// Deflates what is written for many connections at once.
    pub fn compressor(&mut self) -> &mut Compressor {
        &mut self.deflation.compressor
    }

    /// When the request of a connection that was just accepted must be there.
    #[must_use]
    pub fn upgrade_due_ms(&self, wire: &Wire, now: Now) -> u64 {
        let patience_ms = u64::from(self.settings.client.handshake_timeout_s) * 1000;
        now.ms + if wire.phase == Phase::Refusing { patience_ms.min(REFUSAL_MS) } else { patience_ms }
    }

    /// Takes what a peer sent. `at` is where `bytes` begin in the arena, if they lie there: then an echo is said from
    /// there.
    pub fn hear(
        &mut self,
        key: Key,
        wire: &mut Wire,
        (bytes, mut at): (&mut [u8], Option<u32>),
        now: Now,
        heard: &mut Heard,
    ) {
        let mut input = bytes;
        if self.postponed.holds(key.slot) {
            if let Err(violation) = self.postpone(key, input, heard) {
                self.violate(key, wire, violation, now, heard);
            }
            return;
        }
        if matches!(wire.phase, Phase::Upgrading | Phase::Refusing) {
            let consumed = self.upgrade(key, wire, input, now, heard);
            input = &mut input[consumed..];
            at = at.map(|at| at + consumed as u32);
        }
        if wire.phase == Phase::Echo
            && let Some(at) = at
        {
            self.echo(key, wire, (&mut input, at), now, heard);
        }
        if !input.is_empty() && matches!(wire.phase, Phase::Echo | Phase::Client) {
            self.hear_frames(key, wire, input, now, heard);
        }
    }

    /// Echoes the whole messages at the front of `input` from where they lie, at `at` in the arena.
    fn echo(
        &mut self,
        key: Key,
        wire: &mut Wire,
        (input, at): (&mut &mut [u8], u32),
        now: Now,
        heard: &mut Heard,
    ) {
        if !wire.closing.receives() {
            return;
        }
        let echoed = wire.decoder.echo(input, &self.echo_limits);
        if echoed.messages > 0 {
            self.tally.messages += u64::from(echoed.messages);
            wire.was_in_message = false;
            heard.replies.heard(key, at + echoed.frames.start as u32, echoed.frames.len() as u32);
            let bytes = echoed.frames.len() as u64;
            if self.clients.rates.hear(key.slot, now.ms, u64::from(echoed.messages), bytes).is_err() {
                self.hush(key, wire, now, heard);
            }
        }
        if let Some(violation) = echoed.violation {
            self.violate(key, wire, violation, now, heard);
        }
    }

    fn hear_frames(&mut self, key: Key, wire: &mut Wire, mut input: &mut [u8], now: Now, heard: &mut Heard) {
        let limits = if wire.phase == Phase::Echo { self.echo_limits } else { self.client_limits };
        // A message may lie in the block, so the block is the decoder's while messages are read.
        let mut block = wire.inbound.take();
        let mut violation = None;
        loop {
            if wire.deflates.any() && self.postponed.is_spent() && !input.is_empty() {
                violation = self.postpone(key, input, heard).err();
                break;
            }
            let mut assembly = self.blocks.assembly(&mut block);
            let event = match wire.decoder.decode(&mut input, &mut assembly, &limits) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(found) => {
                    violation = Some(found);
                    break;
                }
            };
            match event {
                _ if !wire.closing.receives() && !matches!(event, Event::Close(_)) => {}
                Event::Message { kind, compressed, payload } => {
                    self.tally.messages += 1;
                    wire.was_in_message = false;
                    let mut payload = &*payload;
                    if self.clients.rates.hear(key.slot, now.ms, 1, payload.len() as u64).is_err() {
                        self.hush(key, wire, now, heard);
                        continue;
                    }
                    if compressed {
                        let bytes_max = limits.message_bytes;
                        let inflated = self.deflation.inflate(key.slot, kind, payload, bytes_max);
                        self.postponed.count(self.deflation.plain.len());
                        if let Err(found) = inflated {
                            violation = Some(found);
                            break;
                        }
                        payload = &self.deflation.plain;
                    }
                    if wire.phase == Phase::Echo {
                        let is_worth_it = compressed && wire.deflates.fits(payload.len());
                        let compressor = &mut self.deflation.compressor;
                        match is_worth_it.then(|| compressor.deflate(payload)).flatten() {
                            Some(deflated) => heard.replies.deflated(key, opcode_of(kind), deflated),
                            None => heard.replies.frame(key, opcode_of(kind), payload),
                        }
                        continue;
                    }
                    let before = self.tally.charged();
                    let mut talk = Talk { key, wire, now, tally: &mut self.tally, heard };
                    let outcome = self.clients.message(&mut talk, payload);
                    self.charge(before, key, now);
                    self.settle(outcome, key, wire, now, heard);
                }
                Event::Ping(payload) => {
                    if self.clients.rates.hear(key.slot, now.ms, 1, payload.len() as u64).is_err() {
                        self.hush(key, wire, now, heard);
                        continue;
                    }
                    heard.replies.frame(key, Opcode::Pong, payload);
                }
                Event::Pong(payload) => {
                    if self.clients.rates.hear(key.slot, now.ms, 1, payload.len() as u64).is_err() {
                        self.hush(key, wire, now, heard);
                        continue;
                    }
                    if wire.frame_ping && wire.awaits_pong {
                        self.clients.pong(&mut Talk { key, wire, now, tally: &mut self.tally, heard });
                    }
                }
                Event::Close(frame) => {
                    let code = frame.as_ref().map(|frame| frame.code);
                    if let CloseAnswer::Reply(_) = wire.closing.received(frame)
                        && wire.closing.send()
                    {
                        heard.replies.close(key, code, "");
                    }
                    end_after_flush(key, wire, Ending::Close, now, &self.settings, heard);
                }
            }
        }
        if let Some(violation) = violation {
            self.violate(key, wire, violation, now, heard);
        }
        self.await_rest(key, wire, now, heard);
        if wire.decoder.is_partial() && wire.phase != Phase::Ended {
            wire.inbound = block;
        } else {
            self.blocks.release(&mut block);
        }
    }

    /// `/echo` has no pings; its timer runs only while a message is incomplete.
    fn await_rest(&mut self, key: Key, wire: &mut Wire, now: Now, heard: &mut Heard) {
        if wire.phase == Phase::Echo && !wire.was_in_message && wire.is_in_message() {
            wire.was_in_message = true;
            let due_ms = now.ms + u64::from(self.settings.client.message_timeout_s) * 1000;
            heard.timers.push((key.slot, Some(due_ms)));
        }
    }

    /// Whether a TLS record of the peer, or its handshake, is incomplete: the rest of a record is awaited no longer than that of a
    /// message.
    pub fn hear_record(
        &mut self,
        key: Key,
        wire: &mut Wire,
        is_incomplete: bool,
        now: Now,
        heard: &mut Heard,
    ) {
        wire.is_in_record = is_incomplete;
        self.await_rest(key, wire, now, heard);
    }

    /// The next verdict about a token that a client has shown.
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        self.clients.poll_verdict()
    }

    /// Whether a verdict waits to be polled.
    #[must_use]
    pub fn has_verdicts(&self) -> bool {
        self.clients.desk.as_ref().is_some_and(Desk::has_verdicts)
    }

    /// Tokens that wait for their verdict.
    #[must_use]
    pub fn verdicts_awaited(&self) -> usize {
        self.clients.desk.as_ref().map_or(0, Desk::open)
    }

    /// Goes on with a client whose token was judged.
    pub fn hear_verdict(&mut self, verdict: Verdict, wire: &mut Wire, now: Now, heard: &mut Heard) {
        if wire.phase != Phase::Client || !wire.closing.receives() {
            return;
        }
        let (key, before) = (verdict.by, self.tally.charged());
        let mut talk = Talk { key, wire, now, tally: &mut self.tally, heard };
        let outcome = self.clients.hear_verdict(&mut talk, verdict);
        self.charge(before, key, now);
        self.settle(outcome, key, wire, now, heard);
    }

    /// The peer sends no more.
    pub fn hear_end(&mut self, key: Key, wire: &mut Wire, now: Now, heard: &mut Heard) {
        self.blocks.release(&mut wire.inbound);
        self.postponed.end(key.slot, &mut self.blocks);
        end_after_flush(key, wire, Ending::Close, now, &self.settings, heard);
    }

    /// The connection's timer fired. Returns whether the socket must be closed without further words.
    pub fn tick(&mut self, key: Key, wire: &mut Wire, blocked: bool, now: Now, heard: &mut Heard) -> bool {
        if wire.ending != Ending::None || !wire.closing.receives() {
            return true;
        }
        match wire.phase {
            Phase::Upgrading | Phase::Refusing => self.give_up(key, wire, now, heard),
            Phase::Ended => true,
            Phase::Echo => {
                if wire.is_stuck_in_message() {
                    self.tally.disconnects += 1;
                    self.tally.messages_late += 1;
                    let reason = "a message took too long";
                    close(key, wire, code::POLICY_VIOLATION, reason, now, &self.settings, heard);
                }
                false
            }
            Phase::Client => {
                let outcome = if wire.has_session() {
                    let mut talk = Talk { key, wire, now, tally: &mut self.tally, heard };
                    self.clients.tick(&mut talk, blocked)
                } else {
                    Err(DisconnectCode::Stale)
                };
                self.tally.pongs_missing += u64::from(outcome == Err(DisconnectCode::NoPong));
                self.tally.connects_late += u64::from(outcome == Err(DisconnectCode::Stale));
                self.tally.messages_late += u64::from(outcome == Err(DisconnectCode::Slow) && !blocked);
                self.settle(outcome, key, wire, now, heard);
                false
            }
        }
    }

    /// Writes the router's answer to a request, or what became of an earlier one.
    pub fn answer(&mut self, delivery: &Delivery, wire: &mut Wire, now: Now, heard: &mut Heard) {
        if wire.is_open() {
            let key = delivery.to;
            let mut talk = Talk { key, wire, now, tally: &mut self.tally, heard };
            let outcome = self.clients.answer(delivery, &mut talk);
            self.settle(outcome, key, wire, now, heard);
        }
    }

    /// Closes a connection from this side, after what was said before. Without a WebSocket there is nothing to say.
    pub fn close(&mut self, key: Key, wire: &mut Wire, code: DisconnectCode, now: Now, heard: &mut Heard) {
        match wire.phase {
            Phase::Client => close(key, wire, code.code(), code.reason(), now, &self.settings, heard),
            Phase::Echo => close(key, wire, code::GOING_AWAY, code.reason(), now, &self.settings, heard),
            Phase::Upgrading | Phase::Refusing | Phase::Ended => {
                end_after_flush(key, wire, Ending::Close, now, &self.settings, heard);
            }
        }
    }

    /// The socket in `slot` is gone: gives back what the connection held. Returns the user of its session, if it had one.
    pub fn end(&mut self, slot: u32, wire: &mut Wire) -> Option<Arc<str>> {
        self.blocks.release(&mut wire.inbound);
        self.postponed.end(slot, &mut self.blocks);
        self.deflation.end(slot);
        self.gate.leave(slot);
        self.clients.rates.end(slot);
        wire.phase = Phase::Ended;
        self.clients.end(slot, wire)
    }
}

fn opcode_of(kind: MessageKind) -> Opcode {
    match kind {
        MessageKind::Text => Opcode::Text,
        MessageKind::Binary => Opcode::Binary,
    }
}

#[cfg(test)]
mod tests;
