//! The part of an owner's hub: gives publications their order, and sends each once to every interested shard and node.

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_protocol::ErrorCode;

use super::Router;
use super::channel::{NO_STREAM, NodeInterest, Role};
use super::links::Route;
use super::message::{Message, Outlet, Post};
use crate::flow::{Answer, Ordered, Position, Publication, Relayed};

impl<S: BuildHasher, W> Router<S, W> {
    /// Gives the publication its position and sends it on.
    pub(super) fn order(
        &mut self,
        name: &Arc<str>,
        publication: Arc<Publication>,
        out: &mut Outlet<'_, impl Post>,
    ) -> Answer {
        let keeping = self.keeping.of(name);
        let place = match (self.find(name), keeping) {
            (_, Some(_)) => self.open_kept(name, out),
            (Some(place), None) => place,
            (None, None) => {
                // Nobody listens, and a plain channel keeps nothing.
                self.tally.published += 1;
                return Answer::Published;
            }
        };
        if keeping.is_none() && self.channels[place as usize].stream != NO_STREAM {
            // Its history was switched off while it was in use.
            self.renew(place, out);
        }
        if !self.paces.admit(place, publication.data.len(), out.now_ms) {
            self.tally.paced += 1;
            return Answer::Refused(ErrorCode::TooManyRequests);
        }
        let channel = &self.channels[place as usize];
        let position = Position { sequence: channel.position.sequence + 1, ..channel.position };
        let ordered = Ordered { position, publication };
        if !channel.subscribers.is_empty() && self.enqueue(place, ordered.clone()).is_err() {
            self.tally.refused += 1;
            return Answer::Refused(ErrorCode::TooManyRequests);
        }
        self.tally.published += 1;
        let channel = &mut self.channels[place as usize];
        channel.position = position;
        if let Some(keeping) = keeping {
            let publication = Arc::clone(&ordered.publication);
            let kept = self.streams.append(channel.stream, keeping, publication, out.now_ms);
            debug_assert_eq!(kept, position, "a record and its stream count alike");
        }
        if self.channels[place as usize].nodes.is_some() {
            self.send_to_nodes(place, &ordered, out);
        }
        self.send_to_shards(place, &ordered, out);
        Answer::Published
    }

    /// Once to each other shard of this node that has subscribers.
    pub(super) fn send_to_shards(&mut self, place: u32, ordered: &Ordered, out: &mut Outlet<'_, impl Post>) {
        let channel = &self.channels[place as usize];
        self.tell_others(place, |shard| {
            let message = Message::Deliver {
                channel: Arc::clone(&channel.name),
                position: ordered.position,
                publication: Arc::clone(&ordered.publication),
            };
            // A full mailbox drops it, which its way there counts.
            let _ = out.post.post(shard, message);
        });
    }

    fn send_to_nodes(&mut self, place: u32, ordered: &Ordered, out: &mut Outlet<'_, impl Post>) {
        let channel = &self.channels[place as usize];
        let channel_name = Arc::clone(&channel.name);
        let mut routes = std::mem::take(&mut self.routes);
        routes.extend(channel.nodes().filter_map(|asking| {
            // A node whose link was lost asks again in its next session.
            self.links.answering(asking.node, asking.index, asking.session)
        }));
        for route in routes.drain(..) {
            let relayed = Relayed::Deliver {
                channel: Arc::clone(&channel_name),
                position: ordered.position,
                publication: Arc::clone(&ordered.publication),
            };
            self.relay(route, relayed, out);
        }
        self.routes = routes;
    }

    /// Another node wants the channel: it is added, and told where it begins, in one step.
    pub(super) fn hear_announce(
        &mut self,
        route: Route,
        channel: Arc<str>,
        ask: u32,
        out: &mut Outlet<'_, impl Post>,
    ) {
        if self.role(&channel, out) != Role::Owner {
            return self.relay(route, Relayed::NotOwner { channel, ask }, out);
        }
        let place = self.find(&channel).unwrap_or_else(|| self.open(&channel, out.now_ms));
        let Route { node, index, session, .. } = route;
        let record = &mut self.channels[place as usize];
        let is_new = !record.nodes().any(|known| known.node == node && known.session == session);
        record.add_node(NodeInterest { node, index, session });
        let position = record.position;
        if is_new {
            self.note_interest(route, &channel, true);
        }
        self.relay(route, Relayed::Top { channel, ask, position }, out);
    }

    /// Another node wants the channel no more.
    pub(super) fn hear_withdraw(&mut self, route: Route, name: &str, now_ms: u64) {
        let Some(place) = self.find(name) else { return };
        let mut was_there = false;
        self.channels[place as usize].retain_nodes(|known| {
            let is_it = known.node == route.node;
            was_there |= is_it && known.session == route.session;
            !is_it
        });
        if was_there {
            self.note_interest(route, name, false);
        }
        self.vacate(place, now_ms);
    }
}
