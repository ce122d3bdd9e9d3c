//! The walk over everything a hub knows, in parts, after the View or a link has changed.
//!
//! Invariants: bounded work a turn; what a walk has not reached yet is brought up to date when it is used; after a walk
//! that began when a link session was up, everything has been announced in it, and the other side is told so.
//!
//! ```text
//! Idle ── View, link ──> Channels ── all seen ──> Streams ── all seen ──> Users ── all seen ──> Idle
//!                           ^── View: from the start ──┴─────────────────────┘   (again, if a link changed meanwhile)
//! ```

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_control::channel_hash;

use super::Router;
use super::channel::{Interest, NO_STREAM, Role};
use super::links::Route;
use super::message::{Outlet, Post};
use crate::flow::Relayed;
use crate::limits::REVIEWED_PER_TURN;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Channels below `next` were seen.
    Channels { next: u32 },
    /// Streams below `next` were seen.
    Streams { next: u32 },
    /// Users below `next` were seen.
    Users { next: u32 },
}

/// How far a review has come.
#[derive(Debug, Default)]
pub struct Review {
    stage: Stage,
    /// Something changed since it began.
    again: bool,
    /// Channels that the walk has not reached may have another owner.
    is_for_view: bool,
    /// So may streams.
    has_streams_ahead: bool,
    /// Places of channels ever used.
    places: u32,
}

impl Review {
    /// A link changed: everything is to be seen once more.
    pub fn begin(&mut self) {
        match self.stage {
            Stage::Idle => self.stage = Stage::Channels { next: 0 },
            _ => self.again = true,
        }
    }

    /// The View changed: everything is to be seen from the start.
    pub fn begin_for_view(&mut self) {
        let stage = Stage::Channels { next: 0 };
        *self = Self { stage, is_for_view: true, has_streams_ahead: true, ..*self };
    }

    /// Whether there are streams that were not held against the present View.
    #[must_use]
    pub fn has_streams_ahead(&self) -> bool {
        self.has_streams_ahead
    }

    /// A channel's record has come to be at `place`.
    pub fn reach(&mut self, place: u32) {
        self.places = self.places.max(place + 1);
    }

    /// Places of channels ever used.
    #[must_use]
    pub fn places(&self) -> u32 {
        self.places
    }

    /// Whether there is more to see.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// Whether the channel at `place` may have an owner that its record does not know.
    #[must_use]
    pub fn is_ahead(&self, place: u32) -> bool {
        self.is_for_view && matches!(self.stage, Stage::Channels { next } if place >= next)
    }
}

impl<S: BuildHasher, W> Router<S, W> {
    /// Brings a record up to date with the View, if the review has not come to it yet.
    pub(super) fn touch(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        if self.review.is_ahead(place) {
            self.rehome(place, out);
        }
    }

    /// The next part of a review.
    pub(super) fn review(&mut self, out: &mut Outlet<'_, impl Post>) {
        match self.review.stage {
            Stage::Idle => {}
            Stage::Channels { next } => {
                let end = (next + REVIEWED_PER_TURN as u32).min(self.review.places);
                for place in next..end {
                    if self.channels.contains(place as usize) {
                        self.rehome(place, out);
                        self.review_channel(place, out);
                    }
                }
                let is_done = end == self.review.places;
                self.review.stage =
                    if is_done { Stage::Streams { next: 0 } } else { Stage::Channels { next: end } };
                self.review.is_for_view &= !is_done;
            }
            Stage::Streams { next } => self.review_streams(next),
            Stage::Users { next } => {
                if let Some(next) = self.review_users(next, out) {
                    self.review.stage = Stage::Users { next };
                } else if std::mem::take(&mut self.review.again) {
                    self.review.stage = Stage::Channels { next: 0 };
                } else {
                    self.review.stage = Stage::Idle;
                    self.complete(out);
                }
            }
        }
    }

    /// Moves a channel to its owner of the present View.
    fn rehome(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        let channel = &self.channels[place as usize];
        let (before, role) = (channel.role, self.role_of(&channel.name));
        if before == role {
            if role == Role::Owner && !self.has_owned_throughout(&self.channels[place as usize].name) {
                // Another node has counted meanwhile.
                self.renew(place, out);
            }
            return;
        }
        match before {
            Role::Owner => self.disown(place, out),
            Role::Gateway(_) => self.withdraw(place, out),
            Role::Orphan | Role::Leaf => {}
        }
        let channel = &mut self.channels[place as usize];
        channel.role = role;
        match role {
            Role::Owner => {
                self.tally.epochs += u64::from(channel.position.epoch != 0);
                self.break_off(place);
                self.begin_counting(place, true, out.now_ms);
                self.let_in(place, out);
            }
            Role::Gateway(_) if channel.interested != 0 => self.ask(place, out),
            _ => {}
        }
    }

    /// The owner begins to count anew, and everybody who receives the channel is told.
    pub(super) fn renew(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        self.tally.epochs += 1;
        self.break_off(place);
        self.disown(place, out);
        self.begin_counting(place, true, out.now_ms);
        self.let_in(place, out);
    }

    /// The next streams without a record: those of channels that this node does not own, or did not all the time, are forgotten.
    fn review_streams(&mut self, next: u32) {
        let places = self.streams.places();
        let end = if self.review.has_streams_ahead {
            (next + REVIEWED_PER_TURN as u32).min(places)
        } else {
            places
        };
        if self.review.has_streams_ahead {
            for place in next..end {
                let Some(name) = self.streams.closed_at(place) else { continue };
                if self.role_of(name) != Role::Owner || !self.has_owned_throughout(name) {
                    self.streams.remove(place);
                }
            }
        }
        if end < places {
            self.review.stage = Stage::Streams { next: end };
            return;
        }
        self.review.stage = Stage::Users { next: 0 };
        self.review.has_streams_ahead = false;
        self.passed = Some(Vec::new());
    }

    /// This node owns a channel no more: whoever was told that it does must ask elsewhere.
    fn disown(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        self.doubt(place, out);
        let channel = &mut self.channels[place as usize];
        channel.interest = Interest::None;
        let stream = std::mem::replace(&mut channel.stream, NO_STREAM);
        if stream != NO_STREAM {
            self.streams.remove(stream);
        }
        let channel = &mut self.channels[place as usize];
        let (name, nodes) = (Arc::clone(&channel.name), channel.nodes.take());
        for asking in nodes.into_iter().flat_map(|nodes| *nodes) {
            if let Some(route) = self.links.answering(asking.node, asking.index, asking.session) {
                self.note_interest(route, &name, false);
                self.relay(route, Relayed::NotOwner { channel: Arc::clone(&name), ask: 0 }, out);
            }
        }
    }

    fn review_channel(&mut self, place: u32, out: &mut Outlet<'_, impl Post>) {
        let channel = &mut self.channels[place as usize];
        if channel.role == Role::Owner {
            let links = &self.links;
            channel
                .retain_nodes(|asking| links.answering(asking.node, asking.index, asking.session).is_some());
        }
        if channel.interested == 0 && channel.nodes.is_none() && channel.role != Role::Leaf {
            self.vacate(place, out.now_ms);
        } else if let Role::Gateway(owner) = channel.role {
            self.announce(place, owner, out);
        }
    }

    /// Tells every node that it has heard everything, where that is new.
    fn complete(&mut self, out: &mut Outlet<'_, impl Post>) {
        let nodes: Vec<_> = self.links.nodes().collect();
        for node in nodes {
            let Some(route) = self.links.announcing(node) else { continue };
            let Some(peer) = self.links.peer_mut(node) else { continue };
            if std::mem::replace(&mut peer.complete, true) {
                continue;
            }
            for to_hub in 0..peer.told.len() as u16 {
                self.complete_one(route, to_hub, out);
            }
        }
    }

    fn complete_one(&mut self, route: Route, to_hub: u16, out: &mut Outlet<'_, impl Post>) {
        let Some(peer) = self.links.peer_mut(route.node) else { return };
        let told = &mut peer.told[usize::from(to_hub)];
        told.sequence += 1;
        let (from_hub, sequence) = (self.settings.shard, told.sequence);
        self.relay(route, Relayed::Complete { from_hub, to_hub, sequence }, out);
    }

    /// Keeps the digest of the channels that a hub of another node has announced here in the present session.
    pub(super) fn note_interest(&mut self, route: Route, name: &str, added: bool) {
        let hash = channel_hash(name.as_bytes());
        let Some(peer) = self.links.peer(route.node) else { return };
        let hub = (hash % u64::from(peer.shards)) as u16;
        self.users.note_interest(route, hub, hash, added);
    }
}
