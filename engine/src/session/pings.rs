//! The session's timer: pings, and the end of what its connection token admits to.
//!
//! Invariants: a client is pinged regardless of what else it says; a token's time is over only after a grace. Each slot of
//! the connection table has its own place in the ping interval, which does not depend on when clients come, so that a storm
//! of them, or a busy time, leaves no burst of pings behind; neighbours in the table are pinged together, since their records
//! and sockets lie beside each other in memory.

use roadstead_protocol::{DisconnectCode, push_ping};
use wsproto::Opcode;

use super::client::{Clients, Talk, opcode_of};
use crate::flow::Key;
use crate::limits::PING_NEIGHBOURS;

impl Clients {
    /// The session's timer fired: its token may have ended, or the next step of its pings is due.
    pub(super) fn tick(&mut self, talk: &mut Talk<'_>, blocked: bool) -> Result<(), DisconnectCode> {
        let expires_at_s = u64::from(self.sessions[talk.wire.session as usize].expires_at_s);
        if expires_at_s > 0 && talk.now.unix_ms / 1000 > expires_at_s + self.token_grace_s() {
            return Err(DisconnectCode::Expired);
        }
        if talk.now.ms >= talk.wire.ping_due_ms {
            self.ping(talk, blocked)?;
        }
        self.arm(talk);
        Ok(())
    }

    /// The next step of the pings: sends one, or ends a client that did not answer the last one or cannot finish a message.
    ///
    /// ```text
    /// ping ──> answered within the time-out? ── yes: at its place in the interval ──> ping
    ///                                        └─ no: close 3012
    /// ```
    fn ping(&self, talk: &mut Talk<'_>, blocked: bool) -> Result<(), DisconnectCode> {
        if talk.wire.awaits_pong {
            return Err(if blocked { DisconnectCode::Slow } else { DisconnectCode::NoPong });
        }
        if talk.wire.is_stuck_in_message() {
            return Err(DisconnectCode::Slow);
        }
        if self.settings.client.ping_s == 0 {
            talk.wire.ping_due_ms = self.next_ping_ms(talk.key, talk.now.ms);
            return Ok(());
        }
        talk.wire.awaits_pong = true;
        talk.wire.ping_due_ms = talk.now.ms + self.pong_timeout_ms();
        if talk.wire.frame_ping {
            talk.heard.replies.frame(talk.key, Opcode::Ping, &[]);
        } else {
            let encoding = talk.wire.encoding;
            talk.heard.replies.message(talk.key, opcode_of(encoding), |out| push_ping(out, encoding));
        }
        Ok(())
    }

    /// The client has answered the ping that it was sent.
    pub(super) fn pong(&self, talk: &mut Talk<'_>) {
        talk.wire.awaits_pong = false;
        let pinged_ms = talk.wire.ping_due_ms.saturating_sub(self.pong_timeout_ms());
        talk.wire.ping_due_ms = self.next_ping_ms(talk.key, pinged_ms);
        self.arm(talk);
    }

    fn token_grace_s(&self) -> u64 {
        self.settings.client.token_grace_s.into()
    }

    fn pong_timeout_ms(&self) -> u64 {
        u64::from(self.settings.client.pong_timeout_s) * 1000
    }

    /// When a client that was pinged, or came, at `last_ms` is pinged; without pings, when its message is looked at.
    pub(super) fn next_ping_ms(&self, key: Key, last_ms: u64) -> u64 {
        let client = &self.settings.client;
        match u64::from(client.ping_s) * 1000 {
            0 => last_ms + u64::from(client.message_timeout_s) * 1000,
            interval_ms => {
                let place_ms = place_ms(key.slot, self.identity.seed, interval_ms);
                next_ms(last_ms, interval_ms, place_ms)
            }
        }
    }

    /// Sets the timer for what comes first: the next step of the pings, or the end of the token and its grace.
    pub(super) fn arm(&self, talk: &mut Talk<'_>) {
        let expires_at_s = u64::from(self.sessions[talk.wire.session as usize].expires_at_s);
        let mut due_ms = talk.wire.ping_due_ms;
        if expires_at_s > 0 {
            let end_unix_ms = (expires_at_s + self.token_grace_s() + 1) * 1000;
            let left_ms = end_unix_ms.saturating_sub(talk.now.unix_ms);
            due_ms = due_ms.min(talk.now.ms.saturating_add(left_ms));
        }
        talk.heard.timers.push((talk.key.slot, Some(due_ms)));
    }
}

/// The place of `slot` in an interval, 0 to `interval_ms` - 1.
///
/// Groups of neighbours follow each other in steps of the golden ratio, which keeps any number of them evenly spread
/// (Knuth, The Art of Computer Programming, volume 3, section 6.4).
fn place_ms(slot: u32, seed: u64, interval_ms: u64) -> u64 {
    const GOLDEN: u32 = 0x9E37_79B9;
    let turn = (slot / PING_NEIGHBOURS).wrapping_mul(GOLDEN).wrapping_add(seed as u32);
    (u64::from(turn) * interval_ms) >> u32::BITS
}

/// When the ping after `last_ms` is due: at its place, or half an interval beside it, from where the one after comes to its
/// place.
fn next_ms(last_ms: u64, interval_ms: u64, place_ms: u64) -> u64 {
    let ahead_ms = interval_ms - (last_ms + interval_ms - place_ms) % interval_ms;
    let half_ms = interval_ms / 2;
    last_ms + if ahead_ms < half_ms { ahead_ms + half_ms } else { ahead_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_come_half_an_interval_to_one_apart_and_soon_at_their_place() {
        for interval_ms in [1_000, 25_000, 25_001, 3_600_000] {
            for slot in 0..1_000_u32 {
                let place_ms = place_ms(slot, 7, interval_ms);
                let mut ping_ms = u64::from(slot) * 977;
                for ping in 1..=4 {
                    let gap_ms = next_ms(ping_ms, interval_ms, place_ms) - ping_ms;
                    assert!(interval_ms / 2 <= gap_ms && gap_ms <= interval_ms, "{interval_ms}: {gap_ms}");
                    ping_ms += gap_ms;
                    assert!(ping < 2 || ping_ms % interval_ms == place_ms);
                }
            }
        }
    }

    #[test]
    fn a_storm_is_spread_evenly_by_the_second_ping() {
        const INTERVAL_MS: u64 = 25_000;
        for clients in [100_u32, 1_000, 20_000, 100_000] {
            let mut pings = [[0_u32; 25]; 2];
            for slot in 0..clients {
                // All within one second, as after a cut.
                let mut ping_ms = 777_000 + u64::from(slot) * 1_000 / u64::from(clients);
                for pings in &mut pings {
                    ping_ms = next_ms(ping_ms, INTERVAL_MS, place_ms(slot, 5, INTERVAL_MS));
                    pings[(ping_ms / 1_000 % 25) as usize] += 1;
                }
            }
            let each = clients / 25;
            let most = pings.map(|pings| pings.into_iter().max().unwrap());
            // The first pings all come in the second half of the interval.
            assert!(most[0] <= each * 3 + 2 * PING_NEIGHBOURS, "{clients}: {pings:?}");
            assert!(most[1] <= each * 3 / 2 + PING_NEIGHBOURS, "{clients}: {pings:?}");
        }
    }
}
