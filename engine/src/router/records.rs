//! The records of channels: found by name, opened and closed, and counted from anew.

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_control::View;

use super::Router;
use super::channel::{Channel, NO_STREAM, Role};
use super::subscriptions::Seat;
use crate::flow::Position;

impl<S: BuildHasher, W> Router<S, W> {
    pub(super) fn is_subscribed(&self, seat: &Seat, name: &str) -> bool {
        self.find(name).is_some_and(|place| self.subscriptions.find(seat, place).is_some())
    }

    /// Whether this node owned the channel under every View that it has not held its streams against.
    pub(super) fn has_owned_throughout(&self, name: &str) -> bool {
        let owns = |view: &View| {
            roadstead_control::owner(view, name.as_bytes()).is_some_and(|node| node == self.settings.node)
        };
        self.passed.as_ref().is_some_and(|passed| passed.iter().all(owns))
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.names.find(hash, |&place| &*self.channels[place as usize].name == name).copied()
    }

    /// A new record; at an owner the channel's counting begins, or goes on where its stream is.
    pub(super) fn open(&mut self, name: &Arc<str>, now_ms: u64) -> u32 {
        let role = self.role_of(name);
        let place = self.channels.insert(Channel::new(Arc::clone(name), role)) as u32;
        if role == Role::Owner {
            let is_unsure = self.review.has_streams_ahead() && !self.has_owned_throughout(name);
            self.begin_counting(place, is_unsure, now_ms);
        }
        self.paces.begin(place);
        self.review.reach(place);
        let (channels, hasher) = (&self.channels, &self.hasher);
        let hash = hasher.hash_one(&**name);
        self.names.insert_unique(hash, place, |&place| hasher.hash_one(&*channels[place as usize].name));
        place
    }

    /// The owner counts from here on; from the beginning, if what was kept is not true any more.
    pub(super) fn begin_counting(&mut self, place: u32, forgets: bool, now_ms: u64) {
        let random = self.draw();
        let channel = &mut self.channels[place as usize];
        if forgets && let Some(stream) = self.streams.find(&channel.name) {
            self.streams.remove(stream);
        }
        if self.keeping.of(&channel.name).is_some() {
            channel.stream = self.streams.open(&channel.name, || random, now_ms);
            channel.position = self.streams.position(channel.stream);
        } else {
            channel.stream = NO_STREAM;
            channel.position = Position { epoch: Position::draw(random, false), sequence: 0 };
        }
    }

    pub(super) fn close(&mut self, place: u32) {
        let channel = self.channels.remove(place as usize);
        if channel.stream != NO_STREAM {
            self.streams.close(channel.stream);
        }
        let hash = self.hasher.hash_one(&*channel.name);
        if let Ok(entry) = self.names.find_entry(hash, |&other| other == place) {
            entry.remove();
        }
    }
}
