//! From the upgrade response to an open connection.

use std::sync::Arc;

use roadstead_io::Socket;
use wsproto::handshake::{Refusal, read_response};

use super::{Clients, offered};
use crate::client::State;
use crate::failure::Failure;
use crate::random::handshake_key;
use crate::session;
use crate::stage::Stage;
use crate::turn::Turn;

impl Clients {
    /// Bytes of the upgrade response; what follows it are frames.
    pub(super) fn response(&mut self, socket: Socket, bytes: &mut [u8], turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        let key = handshake_key(self.plan.seed, client.number);
        let mut held = client.held.as_mut().map(|held| std::mem::take(&mut held.partial)).unwrap_or_default();
        let head = if held.is_empty() {
            &mut *bytes
        } else {
            held.extend_from_slice(bytes);
            held.as_mut_slice()
        };
        match read_response(head, &key, offered(&self.plan), self.plan.deflate.as_ref()) {
            Ok(Some((response, len))) => {
                if response.deflate.is_some() {
                    client.decoder.allow_rsv1();
                }
                client.release();
                if client.attempt == 0 {
                    turn.ledger.latencies.handshake.record(turn.now.saturating_sub(client.since));
                }
                self.upgraded(socket, turn);
                let rest = &mut head[len..];
                if !rest.is_empty() {
                    self.frames(socket, rest, turn);
                }
            }
            Ok(None) => {
                let partial = if held.is_empty() { bytes.to_vec() } else { held };
                client.held.get_or_insert_default().partial = partial;
            }
            Err(Refusal::Status(status)) => {
                let text = first_line(head);
                self.fail(socket, Failure::Status(status), turn, || text);
            }
            Err(refusal) => self.fail(socket, Failure::Response, turn, || refusal.to_string()),
        }
    }

    /// The upgrade is done: logs in where that is asked for.
    fn upgraded(&mut self, socket: Socket, turn: &mut Turn) {
        let plan = Arc::clone(&self.plan);
        let client = &mut self.records[socket.0 as usize];
        let Some(login) = &plan.login else {
            self.opened(socket, turn);
            return;
        };
        self.message.clear();
        let awaited = session::push_login(&mut self.message, login, client.number);
        let opcode = session::opcode(login.encoding);
        client.send(socket, opcode, &self.message, &mut turn.outbound, &mut turn.random);
        client.state = State::Joining { awaited };
    }

    /// The connection is usable.
    pub(super) fn opened(&mut self, socket: Socket, turn: &mut Turn) {
        let client = &mut self.records[socket.0 as usize];
        client.state = State::Open;
        let counters = &mut turn.ledger.counters;
        counters.open += 1;
        if client.attempt > 0 {
            counters.away -= 1;
            counters.back += 1;
            turn.ledger.latencies.comeback.record(turn.now.saturating_sub(client.since));
        } else {
            counters.opening -= 1;
            counters.opened += 1;
            turn.ledger.urls[self.plan.spread.target_of(client.number)].opened += 1;
        }
        self.scenario.opened(client, socket);
        if turn.stage == Stage::Running && self.plan.is_slow(client.number) {
            self.pauses.push(socket);
        }
    }
}

/// The status line of a response, for people.
fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(100)]).escape_debug().to_string()
}
