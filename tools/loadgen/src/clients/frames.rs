//! What frames from the server do: pings, messages, commands' replies, close frames.

use std::sync::Arc;

use roadstead_io::Socket;
use roadstead_protocol::{ServerMessage, replies};
use wsproto::{Event, Limits, Opcode, Violation};

use super::Clients;
use crate::client::State;
use crate::failure::Failure;
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::plan::Login;
use crate::scenario::Scenario;
use crate::session;
use crate::turn::Turn;

/// What a server may send: more than any payload that is asked for.
const LIMITS: Limits = Limits {
    frame_bytes: 2 * PAYLOAD_BYTES_MAX as u32,
    message_bytes: 2 * PAYLOAD_BYTES_MAX as u32,
    fragments: u32::MAX,
};

impl Clients {
    /// Handles the frames in `input`, up to one that ends the conversation.
    pub(super) fn frames(&mut self, socket: Socket, mut input: &mut [u8], turn: &mut Turn) {
        let plan = Arc::clone(&self.plan);
        let client = &mut self.records[socket.0 as usize];
        let mut assembly = std::mem::take(&mut self.assembly);
        if let Some(held) = &mut client.held
            && !held.partial.is_empty()
        {
            std::mem::swap(&mut assembly, &mut held.partial);
        }
        loop {
            let client = &mut self.records[socket.0 as usize];
            if !client.is_listening() {
                break;
            }
            match client.decoder.decode(&mut input, &mut assembly, &LIMITS) {
                Ok(None) => break,
                Ok(Some(Event::Message { kind, compressed: true, payload })) => {
                    let mut message = std::mem::take(&mut self.inflated);
                    let bytes_max = LIMITS.message_bytes as usize;
                    match self.inflater.inflate(payload, kind, bytes_max, None, &mut message) {
                        Ok(()) => self.message(socket, &mut message, plan.login.as_ref(), turn),
                        Err(violation) => self.violated(socket, violation, turn),
                    }
                    self.inflated = message;
                }
                Ok(Some(event)) => self.event(socket, event, plan.login.as_ref(), turn),
                Err(violation) => self.violated(socket, violation, turn),
            }
        }
        let client = &mut self.records[socket.0 as usize];
        if client.decoder.is_partial() && client.is_listening() {
            client.held.get_or_insert_default().partial = assembly;
        } else {
            assembly.clear();
            self.assembly = assembly;
            client.release();
        }
    }

    fn violated(&mut self, socket: Socket, violation: Violation, turn: &mut Turn) {
        let code = violation.close_code();
        self.dismiss(socket, code, Failure::Violation(code), turn, || violation.reason().to_owned());
    }

    fn event(&mut self, socket: Socket, event: Event<'_>, login: Option<&Login>, turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        match event {
            // After our close frame pings need no answer (RFC 6455 section 5.5.1: nothing may follow it).
            Event::Ping(payload) if client.closing.sends() => {
                turn.ledger.counters.pings += 1;
                client.send(socket, Opcode::Pong, payload, &mut turn.outbound, &mut turn.random);
            }
            Event::Ping(_) | Event::Pong(_) => {}
            Event::Close(frame) => {
                let code = frame.map_or(1005, |frame| frame.code);
                let reason = frame.map_or_else(String::new, |frame| frame.reason.escape_debug().to_string());
                self.close_received(socket, code, reason, turn);
            }
            Event::Message { payload, .. } => self.message(socket, payload, login, turn),
        }
    }

    fn message(&mut self, socket: Socket, payload: &mut [u8], login: Option<&Login>, turn: &mut Turn) {
        match login {
            Some(login) => self.replies(socket, payload, login, turn),
            None => match &mut self.scenario {
                Scenario::Echo(echo) => {
                    echo.message(&mut self.records[socket.0 as usize], socket, payload, turn);
                }
                Scenario::Hold | Scenario::Traffic(_) => turn.ledger.counters.received += 1,
            },
        }
    }

    /// Messages of the client protocol.
    fn replies(&mut self, socket: Socket, message: &[u8], login: &Login, turn: &mut Turn) {
        for reply in replies(login.encoding, message) {
            let client = &mut self.records[socket.0 as usize];
            match reply {
                Ok(ServerMessage::Ping) if client.closing.sends() => {
                    turn.ledger.counters.pings += 1;
                    let (opcode, pong) = (session::opcode(login.encoding), session::pong(login.encoding));
                    client.send(socket, opcode, pong, &mut turn.outbound, &mut turn.random);
                }
                Ok(ServerMessage::Ping | ServerMessage::Unsubscribed { .. } | ServerMessage::Other) => {}
                Ok(ServerMessage::Reply { id, error, .. }) => {
                    let error = error.map(|(code, text)| (code, text.into_owned()));
                    self.reply(socket, id, error, turn);
                }
                Ok(ServerMessage::Publication { data, .. }) => match &mut self.scenario {
                    Scenario::Traffic(traffic) => traffic.publication(client, &data, turn),
                    Scenario::Hold | Scenario::Echo(_) => turn.ledger.counters.received += 1,
                },
                Err(malformed) => {
                    let code = wsproto::code::UNSUPPORTED_DATA;
                    self.dismiss(socket, code, Failure::Malformed, turn, || format!("{malformed:?}"));
                }
            }
            if !self.records[socket.0 as usize].is_listening() {
                break;
            }
        }
    }

    /// The answer to a command.
    fn reply(&mut self, socket: Socket, id: u32, error: Option<(u32, String)>, turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        let State::Joining { awaited } = &mut client.state else {
            if let Scenario::Traffic(traffic) = &mut self.scenario {
                traffic.reply(client, id, error.map(|(code, _)| code), turn);
            }
            return;
        };
        match error {
            Some((code, _)) if id != session::CONNECT_ID && session::is_subscribed(code) => {}
            Some((code, text)) => {
                let failure = match id {
                    session::CONNECT_ID => Failure::ConnectError(code),
                    _ => Failure::SubscribeError(code),
                };
                self.dismiss(socket, wsproto::code::NORMAL, failure, turn, || text);
                return;
            }
            None => {}
        }
        *awaited = awaited.saturating_sub(1);
        if *awaited == 0 {
            if client.attempt == 0 {
                turn.ledger.latencies.login.record(turn.now.saturating_sub(client.since));
            }
            self.opened(socket, turn);
        }
    }

    fn close_received(&mut self, socket: Socket, code: u16, reason: String, turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        let state = client.state;
        client.send_close(socket, (code != 1005).then_some(code), &mut turn.outbound, &mut turn.random);
        self.linger(socket, turn.now);
        if state == State::Parting {
            self.parted(socket, turn);
        } else {
            self.book_failure(socket, state, Failure::Closed(code), turn, || reason);
        }
    }
}
