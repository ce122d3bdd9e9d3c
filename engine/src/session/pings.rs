//! The session's timer: pings, and the end of what its tokens admit to.
//!
//! Invariants: a client is pinged regardless of what else it says; a token's time is over only after a grace.

use roadstead_protocol::{DisconnectCode, push_ping};
use wsproto::Opcode;

use super::Heard;
use super::client::{Clients, opcode_of};
use super::wire::Wire;
use crate::flow::{Key, Now};
use crate::limits::TOKEN_GRACE_S;

impl Clients {
    /// The session's timer fired: its token may have ended, or the next step of its pings is due.
    pub(super) fn tick(
        &mut self,
        key: Key,
        wire: &mut Wire,
        blocked: bool,
        now: Now,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let expires_at_s = self.sessions[wire.session as usize].expires_at_s;
        if expires_at_s > 0 && now.unix_ms / 1000 > expires_at_s + TOKEN_GRACE_S {
            return Err(DisconnectCode::Expired);
        }
        if now.ms >= wire.ping_due_ms {
            self.ping(key, wire, blocked, now, heard)?;
        }
        self.arm(key, wire, now, heard);
        Ok(())
    }

    /// The next step of the pings: sends one, or ends a client that missed the last one or cannot finish a message.
    ///
    /// ```text
    /// ping ── pong timeout ──> answered? ── rest of the interval ──> ping
    ///                             └ no: close 3012
    /// ```
    ///
    /// A step that comes late leaves the next one where it was: what a busy time has held up together would otherwise stay
    /// together, and be a burst of pings once an interval for ever. But a client has half its time for the answer at least.
    fn ping(
        &self,
        key: Key,
        wire: &mut Wire,
        blocked: bool,
        now: Now,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let client = &self.settings.client;
        let interval_ms = u64::from(client.ping_s) * 1000;
        let timeout_ms = u64::from(client.pong_timeout_s) * 1000;
        let step_ms = wire.ping_due_ms.max(now.ms.saturating_sub(timeout_ms / 2));
        if !wire.ping_checked {
            if wire.awaits_pong {
                return Err(if blocked { DisconnectCode::Slow } else { DisconnectCode::NoPong });
            }
            wire.ping_checked = true;
            wire.ping_due_ms = step_ms + interval_ms.saturating_sub(timeout_ms);
            return Ok(());
        }
        if wire.is_stuck_in_message() {
            return Err(DisconnectCode::Slow);
        }
        if interval_ms == 0 {
            wire.ping_due_ms = now.ms + u64::from(client.message_timeout_s) * 1000;
            return Ok(());
        }
        wire.ping_checked = false;
        wire.awaits_pong = true;
        wire.ping_due_ms = step_ms + timeout_ms;
        if wire.frame_ping {
            heard.replies.frame(key, Opcode::Ping, &[]);
        } else {
            heard.replies.message(key, opcode_of(wire.encoding), |out| push_ping(out, wire.encoding));
        }
        Ok(())
    }

    /// Sets the timer for what comes first: the next step of the pings, or the end of the token and its grace.
    pub(super) fn arm(&self, key: Key, wire: &Wire, now: Now, heard: &mut Heard) {
        let expires_at_s = self.sessions[wire.session as usize].expires_at_s;
        let mut due_ms = wire.ping_due_ms;
        if expires_at_s > 0 {
            let end_unix_ms = expires_at_s.saturating_add(TOKEN_GRACE_S + 1).saturating_mul(1000);
            due_ms = due_ms.min(now.ms.saturating_add(end_unix_ms.saturating_sub(now.unix_ms)));
        }
        heard.timers.push((key.slot, Some(due_ms)));
    }
}
