//! What clients do wrong, and much of: it is charged to them, remembered of their source, or ends them.
//!
//! Invariant: what is remembered is for newcomers; nobody who is connected is put out by it.

use roadstead_protocol::DisconnectCode;
use wsproto::Violation;

use super::ending::{close, fail};
use super::{Heard, Sessions, Wire};
use crate::flow::{Key, Now};
use crate::guards::Signal;

impl Sessions {
    /// Whoever says much in one message, or while it waited, is heard less of afterwards; whoever shows bad tokens for channels is
    /// remembered like those who show them to connect, who are closed.
    pub(super) fn charge(&mut self, (commands_before, bad_before): (u64, u64), key: Key, now: Now) {
        let (commands, bad) = self.tally.charged();
        let further = (commands - commands_before).saturating_sub(1);
        self.clients.rates.owe(key.slot, now.ms, further);
        for _ in bad_before..bad {
            self.gate.blame(key.slot, Signal::Token, &self.settings.guard, now.ms);
        }
    }

    /// Closes a client that may not stay.
    pub(super) fn settle(
        &mut self,
        outcome: Result<(), DisconnectCode>,
        key: Key,
        wire: &mut Wire,
        now: Now,
        heard: &mut Heard,
    ) {
        if let Err(code) = outcome {
            self.tally.disconnects += 1;
            if let Some(signal) = fault(code) {
                self.gate.blame(key.slot, signal, &self.settings.guard, now.ms);
            }
            close(key, wire, code.code(), code.reason(), now, &self.settings, heard);
        }
    }

    pub(super) fn violate(
        &mut self,
        key: Key,
        wire: &mut Wire,
        violation: Violation,
        now: Now,
        heard: &mut Heard,
    ) {
        self.tally.violations += 1;
        self.gate.blame(key.slot, Signal::Frame, &self.settings.guard, now.ms);
        fail(key, wire, violation.close_code(), violation.reason(), now, &self.settings, heard);
    }
}

/// What a client did wrong that is closed with this code, if it is something that the guards remember.
fn fault(code: DisconnectCode) -> Option<Signal> {
    match code {
        DisconnectCode::InvalidToken => Some(Signal::Token),
        DisconnectCode::BadRequest => Some(Signal::Frame),
        _ => None,
    }
}
