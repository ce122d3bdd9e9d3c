//! TLS on the links to other nodes: which of them have a stream, and what it makes of their bytes.
//!
//! Invariants: with an identity every link has a stream from its first byte to its last, without one none has; a link is greeted only
//! after both certificates were verified; of a fleet in which some have certificates and some have not, both sides say so.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use roadstead_io::{Io, Payload, Socket};

use super::Shard;
use crate::flow::Now;
use crate::tls::{LinkFault, LinkIdentity, LinkStream};

/// Said of a peer whose links are clear text, and to it.
const CLEAR_TEXT: &str = "the links of one node are TLS and those of the other clear text: give both cluster.tls_certificate, \
                          tls_key and tls_ca, or neither";

/// The streams of a shard's links.
#[derive(Debug, Default)]
pub(super) struct LinkStreams {
    identity: Option<LinkIdentity>,
    streams: HashMap<u32, Stream, FixedState>,
    /// Links whose stream may have something to say of its own.
    speakers: Vec<u32>,
    plain: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    stream: LinkStream,
    is_dialled: bool,
    /// The socket takes nothing.
    is_blocked: bool,
}

impl LinkStreams {
    pub(super) fn new(identity: Option<LinkIdentity>) -> Self {
        Self { identity, ..Self::default() }
    }

    /// Links that begin from now on show this certificate.
    pub(super) fn certify(&mut self, identity: LinkIdentity) {
        self.identity = Some(identity);
    }

    /// The socket of a link is gone, or was given up.
    pub(super) fn forget(&mut self, slot: u32) {
        self.streams.remove(&slot);
    }

    pub(super) fn set_blocked(&mut self, slot: u32, is_blocked: bool) {
        if let Some(found) = self.streams.get_mut(&slot) {
            found.is_blocked = is_blocked;
            self.speakers.push(slot);
        }
    }

    pub(super) fn has_speakers(&self) -> bool {
        !self.speakers.is_empty()
    }

    /// Begins a stream on an accepted or a connected socket. Some(true): it has one now; some(false): there are none; `None`: it
    /// cannot be had.
    fn begin(&mut self, slot: u32, dialled: Option<std::net::IpAddr>) -> Option<bool> {
        let Some(identity) = &self.identity else { return Some(false) };
        let stream = match dialled {
            Some(peer) => LinkStream::dial(identity, peer),
            None => LinkStream::accept(identity),
        };
        let stream = Stream { stream: stream.ok()?, is_dialled: dialled.is_some(), is_blocked: false };
        self.streams.insert(slot, stream);
        self.speakers.push(slot);
        Some(true)
    }
}

impl<I: Io> Shard<I> {
    /// Gives the accepted socket of a link its stream, where links are TLS. False: it cannot be had.
    pub(super) fn encrypt_link(&mut self, slot: u32) -> bool {
        self.link_streams.begin(slot, None).is_some()
    }

    /// A dialled socket is connected: it is greeted at once, or after TLS.
    pub(super) fn connected_link(&mut self, slot: u32, now: Now) {
        let Some(peers) = &mut self.peers else { return };
        let Some(address) = peers.address(slot) else { return };
        match self.link_streams.begin(slot, Some(address.ip())) {
            Some(true) => {}
            Some(false) => peers.connected(slot, now.ms),
            None => self.end_link(slot, now),
        }
    }

    /// Takes what a link's socket has brought, through its stream. False: the link has none.
    pub(super) fn hear_encrypted_link(&mut self, slot: u32, start: u32, len: u32, now: Now) -> bool {
        let Self { link_streams, peers, arena, parcels, .. } = self;
        let (Some(found), Some(peers)) = (link_streams.streams.get_mut(&slot), peers.as_mut()) else {
            return false;
        };
        let plain = &mut link_streams.plain;
        plain.clear();
        let opened = found.stream.open(arena.received(start, len), plain);
        if let Some(names) = found.stream.take_established() {
            peers.certify(slot, names, now.ms);
            if found.is_dialled {
                peers.connected(slot, now.ms);
            }
        }
        if !plain.is_empty() {
            peers.hear(slot, plain, now.ms, parcels);
        }
        if found.stream.has_outgoing() {
            link_streams.speakers.push(slot);
        }
        if let Err(fault) = opened {
            let (words, is_clear) = match fault {
                LinkFault::ClearText => (CLEAR_TEXT.to_owned(), true),
                LinkFault::Tls(words) => (format!("TLS: {words}"), false),
            };
            if is_clear {
                // The refusal is to be understood there.
                link_streams.forget(slot);
            }
            peers.distrust(slot, words, is_clear, now.ms);
        }
        true
    }

    /// What is to be sent on a link for `plain`.
    pub(super) fn seal_link(&mut self, slot: u32, plain: Payload) -> Option<Payload> {
        match self.link_streams.streams.get_mut(&slot) {
            None => Some(plain),
            Some(found) => found.stream.seal(&plain).ok().map(Payload::from),
        }
    }

    /// Sends what TLS has to say of its own on links that did not speak in this turn.
    pub(super) fn speak_link_tls(&mut self) {
        let LinkStreams { streams, speakers, .. } = &mut self.link_streams;
        for slot in speakers.drain(..) {
            let Some(found) = streams.get_mut(&slot) else { continue };
            if !found.is_blocked
                && found.stream.has_outgoing()
                && let Ok(records) = found.stream.seal(&[])
            {
                self.io.send(Socket(slot), Payload::from(records));
            }
        }
    }
}
