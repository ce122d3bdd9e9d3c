//! The turn's way to other nodes: sockets of links, what they bring, and what goes out on them.
//!
//! Invariants: a link's socket is never a client's; what a link brings is handed on in its order, ups before what was said
//! in them and downs behind it; while a mailbox of this node is over its bound no link is read, so that other nodes wait
//! instead of us growing.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::Sender;
use roadstead_control::Roster;
use roadstead_io::{Io, Socket};

use super::Shard;
use super::connection::Life;
use crate::flow::{LinkChange, LocatedEntry, Now, Parcel, Unlocated};
use crate::peers::Peers;

/// What links have brought in a turn.
#[derive(Debug)]
pub(super) enum Brought {
    /// A link came up or went down.
    Change(LinkChange),
    /// Something was said on one.
    Parcel(Parcel),
}

/// Questions of the process for users.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Not yet put to the router.
    pub(super) fresh: Vec<(u64, Arc<str>)>,
    /// Who asked, by ticket.
    asking: Vec<(u64, Answerer)>,
    ticket: u64,
}

type Answerer = Sender<Result<Vec<LocatedEntry>, Unlocated>>;

impl Questions {
    pub(super) fn ask(&mut self, user: Arc<str>, answer: Answerer) {
        self.ticket += 1;
        self.fresh.push((self.ticket, user));
        self.asking.push((self.ticket, answer));
    }

    pub(super) fn answer(&mut self, ticket: u64, found: Result<Vec<LocatedEntry>, Unlocated>) {
        if let Some(at) = self.asking.iter().position(|(other, _)| *other == ticket) {
            let (_, answerer) = self.asking.swap_remove(at);
            // Who asked may have stopped waiting.
            let _ = answerer.try_send(found);
        }
    }
}

impl<I: Io> Shard<I> {
    pub(super) fn take_roster(&mut self, roster: &Arc<Roster>, now: Now) {
        self.router.handle_roster(roster);
        if let Some(peers) = &mut self.peers {
            peers.handle_roster(roster, now.ms);
        }
    }

    // listen

    pub(super) fn admit_link(&mut self, socket: Socket, peer: SocketAddr, now: Now) {
        self.connections.open_link(socket);
        let is_welcome = self.peers.as_mut().is_some_and(|peers| peers.accept(socket.0, peer, now.ms));
        if !is_welcome || !self.encrypt_link(socket.0) {
            self.end_link(socket.0, now);
        }
    }

    pub(super) fn hear_link(&mut self, slot: u32, start: u32, len: u32, now: Now) {
        if self.peers.is_none() || !self.connections.is_link(slot) {
            return;
        }
        if self.hear_encrypted_link(slot, start, len, now) {
            return self.take_brought();
        }
        let Some(peers) = &mut self.peers else { return };
        peers.hear(slot, self.arena.received(start, len), now.ms, &mut self.parcels);
        self.take_brought();
    }

    /// The socket of a link is of no more use.
    pub(super) fn end_link(&mut self, slot: u32, now: Now) {
        self.forget_link(slot, now);
        self.close_link(slot);
    }

    /// The socket of a link is gone.
    pub(super) fn forget_link(&mut self, slot: u32, now: Now) {
        if let Some(peers) = self.peers.as_mut().filter(|_| self.connections.is_link(slot)) {
            peers.end(slot, now.ms);
            self.link_streams.forget(slot);
            self.take_brought();
        }
    }

    pub(super) fn tick_links(&mut self, now: Now) {
        if let Some(peers) = &mut self.peers {
            peers.tick(now.ms);
            while let Some(event) = peers.poll_event() {
                tracing::warn!("{event}");
            }
            self.take_brought();
        }
    }

    fn take_brought(&mut self) {
        let Some(peers) = &mut self.peers else { return };
        let mut downs = Vec::new();
        while let Some(change) = peers.poll_change() {
            if change.carrier.is_some() {
                self.brought.push(Brought::Change(change));
            } else {
                downs.push(change);
            }
        }
        self.brought.extend(self.parcels.drain(..).map(Brought::Parcel));
        self.brought.extend(downs.into_iter().map(Brought::Change));
    }

    // speak

    /// Sends what was said to other nodes, ends what is over, and dials who is missing.
    pub(super) fn speak_to_nodes(&mut self, now: Now) {
        while let Some((slot, payload)) = self.peers.as_mut().and_then(Peers::poll_send) {
            match self.seal_link(slot, payload) {
                Some(payload) => self.io.send(Socket(slot), payload),
                None => self.end_link(slot, now),
            }
        }
        self.speak_link_tls();
        let Some(peers) = &mut self.peers else { return };
        while let Some(dial) = peers.poll_dial(now.ms) {
            let socket = self.io.connect(None, dial.address).ok();
            if let Some(socket) = socket {
                self.connections.open_link(socket);
            }
            peers.dialled(dial.ticket, socket.map(|socket| socket.0), now.ms);
        }
        self.hold_links();
        while let Some(slot) = self.peers.as_mut().and_then(Peers::poll_close) {
            self.close_link(slot);
        }
    }

    /// Whether mail is kept for a full mailbox: what might add to it is not taken meanwhile.
    pub(super) fn has_kept_mail(&self) -> bool {
        (0..self.shards).any(|shard| !self.siblings.has_room(shard))
    }

    /// Reads no link while mail is kept for a full mailbox.
    fn hold_links(&mut self) {
        let holds = self.has_kept_mail();
        let Some(peers) = &self.peers else { return };
        if holds == self.holds_links {
            return;
        }
        self.holds_links = holds;
        for slot in peers.slots() {
            if holds {
                self.io.pause(Socket(slot));
            } else {
                self.io.resume(Socket(slot));
            }
        }
    }

    fn close_link(&mut self, slot: u32) {
        if self.connections.is_link(slot) {
            self.connections.at(slot).life = Life::Closing;
            self.link_streams.forget(slot);
            self.io.close(Socket(slot));
        }
    }
}
