//! Revocations in a shard: who is connected by a token that was taken back is closed, who is subscribed by one loses that; and shard
//! 0 speaks of them to other nodes.
//!
//! Invariants: after each change every connection is looked at once, so many in a turn; what comes meanwhile is judged when it
//! connects; what other nodes say goes to the process, which writes it and tells every shard.

use std::fmt;
use std::sync::Arc;

use roadstead_io::Io;
use roadstead_protocol::DisconnectCode;

use super::Shard;
use crate::counters::Metric;
use crate::flow::{Key, Now, Parcel, Relayed};
use crate::limits::REVOKED_LOOKS_PER_TURN;
use crate::revocations::spreading::Spreading;
use crate::revocations::{Revocation, Revocations};
use crate::router::Post;

/// Takes what other nodes have revoked, at once and from any thread. What it has no room for is lost, and comes again.
#[derive(Clone)]
pub struct Revoker(pub Arc<dyn Fn(Vec<Revocation>) + Send + Sync>);

impl fmt::Debug for Revoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revoker")
    }
}

/// What a shard has to do about revocations.
#[derive(Debug)]
pub(super) struct Revoking {
    /// The slot to look at next, and how many are still to be looked at: a whole round after the last change.
    next: u32,
    left: u32,
    /// Who stays, and has a subscription by a token that was taken back: found in this turn.
    subscribers: Vec<Key>,
    /// On shard 0 of a fleet's node.
    spreads: Option<(Spreading, Revoker)>,
}

impl Revoking {
    pub(super) fn new(spreads: Option<(Spreading, Revoker)>) -> Self {
        Self { next: 0, left: 0, subscribers: Vec::new(), spreads }
    }

    pub(super) fn take_subscribers(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.subscribers)
    }

    pub(super) fn is_looking(&self) -> bool {
        self.left > 0
    }

    pub(super) fn poll_timeout_ms(&self) -> Option<u64> {
        self.spreads.as_ref()?.0.poll_timeout_ms()
    }

    /// A link came up or went down.
    pub(super) fn handle_link(&mut self, change: &crate::flow::LinkChange) {
        if let Some((spreading, _)) = &mut self.spreads {
            spreading.handle_link(change);
        }
    }

    /// Takes what another node says, if it is about revocations; else gives it back.
    pub(super) fn hear(&mut self, parcel: Parcel, now_ms: u64) -> Option<Parcel> {
        let Relayed::Revoking(said) = parcel.relayed else { return Some(parcel) };
        if let Some((spreading, _)) = &mut self.spreads {
            spreading.hear(parcel.node, said, now_ms);
        }
        None
    }

    /// Says what is due, and hands on what was heard.
    pub(super) fn speak(&mut self, view: u64, now_ms: u64, post: &mut impl Post) {
        let Some((spreading, revoker)) = &mut self.spreads else { return };
        if spreading.poll_timeout_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            spreading.tick(now_ms);
        }
        while let Some(parcel) = spreading.poll_parcel(view) {
            // Only publications are refused; what a link cannot keep resets it, and the next session compares anew.
            let _ = post.relay(parcel);
        }
        let heard = spreading.take_heard();
        if !heard.is_empty() {
            (revoker.0)(heard);
        }
    }
}

impl<I: Io> Shard<I> {
    /// Other revocations are in force from now on; `news` of them were made here.
    pub(super) fn revoke(&mut self, set: Arc<Revocations>, news: &[Revocation]) {
        self.sessions.revoke(&set);
        self.revoking.left = self.connections.slots();
        if let Some((spreading, _)) = &mut self.revoking.spreads {
            spreading.handle_set(set, news);
        }
    }

    /// Closes the next ones whose token was taken back, and finds those who have subscribed by such a token.
    pub(super) fn look_for_revoked(&mut self, now: Now) {
        let slots = self.connections.slots();
        for _ in 0..self.revoking.left.min(REVOKED_LOOKS_PER_TURN) {
            let slot = self.revoking.next % slots;
            self.revoking.next = slot + 1;
            self.revoking.left -= 1;
            let Some((key, connection)) = self.connections.open_at(slot) else { continue };
            let (sessions, wire) = (&self.sessions, &connection.wire);
            if !wire.is_open() {
                continue;
            }
            if !sessions.is_revoked(wire, now) {
                let is_revoked = |mark| sessions.revokes(mark, wire, now);
                if self.router.revoked(&connection.seat, is_revoked).is_some() {
                    self.revoking.subscribers.push(key);
                }
            } else {
                self.counters.add(Metric::Disconnects, 1);
                self.counters.add(Metric::RevokedConnected, 1);
                let code = DisconnectCode::InvalidToken;
                self.sessions.close(key, &mut connection.wire, code, now, &mut self.heard);
            }
        }
    }
}
