//! The turn: four stages, in one direction.

use std::rc::Rc;
use std::sync::Arc;

use roadstead_io::{Event, Io, Payload, Socket};
use roadstead_protocol::DisconnectCode;

use super::connection::Life;
use super::{Course, Order, Shard, Turned};
use crate::counters::Metric;
use crate::flow::{Answer, Key, Now};
use crate::limits::{KEPT_BUFFER_BYTES, TIMERS_PER_TURN};
use crate::outbox::{Full, LENT, Lane, NO_TAG, Watch};
use crate::peers::Peers;
use crate::session::{Ending, Place, Urgency};
use crate::tls::Broken;

impl<I: Io> Shard<I> {
    /// One turn over what [`Shard::wait`] brought.
    pub fn turn(&mut self, now: Now) -> Turned {
        self.turned_ms = now.ms;
        self.obey(now);
        self.listen(now);
        self.decide(now);
        self.end_subscriptions(now);
        self.run_errands(now);
        self.deliver(now);
        self.speak(now);
        self.count();
        match self.course {
            // Links need no goodbye: the other nodes have had that by gossip, or see the ends of the links.
            Course::Stopping { deadline_ms }
                if self.io.sockets() <= self.link_sockets() || now.ms >= deadline_ms =>
            {
                Turned::Finished
            }
            _ => Turned::Continue,
        }
    }

    fn link_sockets(&self) -> usize {
        self.peers.as_ref().map_or(0, Peers::sockets)
    }

    fn obey(&mut self, now: Now) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Stop => self.stop(now),
                Order::Reload(settings, verifier) => {
                    self.sessions.reload(Arc::clone(&settings), verifier);
                    self.pace_channels(&settings.guard);
                    self.router.keep(&settings);
                    self.settings = settings;
                }
                Order::Certificates(clients, links) => self.certify(clients, links),
                Order::Revoke { set, news } => self.revoke(set, &news),
                Order::View(roster) => self.take_roster(&roster, now),
                Order::Locate { user, answer } => self.questions.ask(user, answer),
                Order::StopListening => self.stop_listening(),
                Order::Listen => self.listen_again(),
                Order::Leave { window_ms } => self.leave(window_ms, now),
                Order::Stay => self.leaving = None,
            }
        }
    }

    // listen: bytes -> commands

    fn listen(&mut self, now: Now) {
        self.heard.replies.begin();
        self.sessions.begin();
        self.hear_postponed(now);
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.hear(event, now);
        }
        self.events = events;
        self.pause_postponed();
        self.hear_verdicts(now);
        self.begin_handshakes(now);
        self.tick_links(now);
        self.tick(now);
    }

    fn hear(&mut self, event: Event, now: Now) {
        match event {
            Event::Received { socket, start, len } => {
                let Some((_, connection)) = self.connections.open_at(socket.0) else {
                    return self.hear_link(socket.0, start, len, now);
                };
                self.counters.add(Metric::ReceivedBytes, u64::from(len));
                if !connection.awaits_header {
                    self.hear_client(socket.0, start, len, now);
                } else if let Some((start, len)) = self.hear_header(socket.0, start, len, now) {
                    self.hear_client(socket.0, start, len, now);
                }
            }
            Event::Accepted { socket, listener, peer } if self.cluster_listener == Some(listener) => {
                self.admit_link(socket, peer, now);
            }
            Event::Accepted { socket, listener, peer } => self.admit(socket, peer, listener, now),
            Event::PeerClosed { socket } => {
                let Some((key, connection)) = self.connections.open_at(socket.0) else {
                    return self.end_link(socket.0, now);
                };
                self.sessions.hear_end(key, &mut connection.wire, now, &mut self.heard);
            }
            Event::Failed { socket, .. } => {
                self.end_link(socket.0, now);
                self.abandon(socket.0, now);
            }
            Event::Blocked { socket, .. } => {
                self.counters.add(Metric::BlockedSends, 1);
                if let Some((key, connection)) = self.connections.open_at(socket.0) {
                    if let Some(stop) = self.outboxes.block(&mut connection.outbox) {
                        let due_ms = now.ms + u64::from(self.settings.limits.slow_close_ms);
                        self.stops.push_back((due_ms, key, stop));
                    }
                    // Who does not read is not read from.
                    self.io.pause(socket);
                } else if let Some(peers) = &mut self.peers {
                    peers.block(socket.0);
                    self.link_streams.set_blocked(socket.0, true);
                }
            }
            Event::Drained { socket } => {
                if let Some((key, connection)) = self.connections.open_at(socket.0) {
                    self.outboxes.unblock(&mut connection.outbox, socket.0);
                    if self.sessions.is_caught_up(key) {
                        self.io.resume(socket);
                    }
                    if connection.tls.as_ref().is_some_and(|stream| stream.has_outgoing()) {
                        self.tls_speakers.push(socket.0);
                    }
                    if connection.wire.ending() != Ending::None {
                        self.heard.endings.push(socket.0);
                    }
                } else if let Some(peers) = &mut self.peers {
                    peers.drain(socket.0);
                    self.link_streams.set_blocked(socket.0, false);
                }
            }
            Event::Closed { socket } => {
                self.forget_link(socket.0, now);
                if self.connections.open_at(socket.0).is_some() {
                    self.release(socket.0, now);
                }
                self.connections.free(socket);
            }
            Event::Woken => self.has_mail = true,
            Event::AcceptFailed { lack } => self.counters.add(Metric::of_lack(lack), 1),
            Event::Connected { socket } => {
                self.connected_link(socket.0, now);
            }
        }
    }

    fn hear_client(&mut self, slot: u32, start: u32, len: u32, now: Now) {
        let Some((key, connection)) = self.connections.open_at(slot) else { return };
        if connection.tls.is_some() {
            return self.hear_encrypted(slot, start, len, now);
        }
        let lent = (self.arena.received(start, len), Some(start));
        self.sessions.hear(key, &mut connection.wire, lent, now, &mut self.heard);
    }

    pub(super) fn is_serving(&self) -> bool {
        self.course == Course::Serving
    }

    fn tick(&mut self, now: Now) {
        // What was heard in this turn moves timers that would fire in it.
        self.set_timers();
        let mut due = std::mem::take(&mut self.due);
        self.timers.advance(&mut self.connections, now.ms, TIMERS_PER_TURN, &mut due);
        for slot in due.drain(..) {
            let Some((key, connection)) = self.connections.open_at(slot) else { continue };
            let blocked = connection.outbox.is_blocked();
            if self.sessions.tick(key, &mut connection.wire, blocked, now, &mut self.heard) {
                self.abandon(slot, now);
            }
        }
        self.due = due;
        self.find_stopped(now);
        self.close_leaving(now);
        self.look_for_revoked(now);
        self.set_timers();
    }

    /// Finds sockets that have not drained in time; they are closed as slow.
    fn find_stopped(&mut self, now: Now) {
        while let Some(&(due_ms, key, stop)) = self.stops.front()
            && due_ms <= now.ms
        {
            self.stops.pop_front();
            let Some(connection) = self.connections.find(key) else { continue };
            match connection.outbox.watch(stop) {
                Watch::Stuck => self.slow.push(key.slot),
                Watch::Again(stop) => {
                    let due_ms = now.ms + u64::from(self.settings.limits.slow_close_ms);
                    self.stops.push_back((due_ms, key, stop));
                }
                Watch::Over => {}
            }
        }
    }

    fn set_timers(&mut self) {
        for (slot, due_ms) in self.heard.timers.drain(..) {
            if self.connections.open_at(slot).is_none() {
                continue;
            }
            match due_ms {
                Some(due_ms) => self.timers.arm(&mut self.connections, slot, due_ms),
                None => self.timers.cancel(&mut self.connections, slot),
            }
        }
    }

    /// Closes a socket at once; nothing more is said on it.
    pub(super) fn abandon(&mut self, slot: u32, now: Now) {
        if self.connections.open_at(slot).is_some() {
            self.release(slot, now);
            self.connections.at(slot).life = Life::Closing;
            self.io.close(Socket(slot));
        }
    }

    /// Gives back everything that a connection holds.
    fn release(&mut self, slot: u32, now: Now) {
        self.timers.cancel(&mut self.connections, slot);
        let connection = self.connections.at(slot);
        let (key, user) =
            (Key { slot, generation: connection.generation }, self.sessions.end(slot, &mut connection.wire));
        if let Some(user) = user {
            self.router.depart(key, user);
        }
        self.router.leave_all(&mut connection.seat, now.ms);
        let dropped = self.outboxes.clear(&mut connection.outbox);
        self.counters.add(Metric::DroppedClosing, u64::from(dropped));
        if let Some(stream) = connection.tls.take() {
            self.tls_held_bytes -= stream.held_bytes();
        }
        self.introductions.forget(slot);
        if std::mem::take(&mut connection.admitted) { self.admitted -= 1 } else { self.refusing -= 1 }
    }

    // deliver: deliveries -> outboxes

    fn deliver(&mut self, now: Now) {
        let has_answers = !self.deliveries.is_empty();
        for delivery in self.deliveries.drain(..) {
            if let Some(ticket) = delivery.to.ticket(delivery.id) {
                self.asking.tell_answer(ticket, &delivery.answer);
                continue;
            }
            let Some(connection) = self.connections.find(delivery.to) else { continue };
            if let Answer::Unsubscribed { tag: Some(tag) } | Answer::Ended { tag, .. } = delivery.answer {
                let removed = self.outboxes.purge(&mut connection.outbox, tag);
                self.counters.add(Metric::DroppedUnsubscribed, u64::from(removed));
            }
            self.sessions.answer(&delivery, &mut connection.wire, now, &mut self.heard);
        }
        if has_answers {
            self.heard.replies.gather();
        }
        for slot in self.heard.opened.drain(..) {
            let Some((_, connection)) = self.connections.open_at(slot) else { continue };
            self.outboxes.uncork(&mut connection.outbox, slot);
        }
        self.asking.flush();
        self.deliver_replies();
        self.deliver_publications(now);
        self.close_slow(now);
    }

    fn deliver_replies(&mut self) {
        if self.heard.replies.is_empty() {
            return;
        }
        let buffer = self.heard.replies.freeze(&mut self.spans);
        for span in self.spans.drain(..) {
            let Some(connection) = self.connections.find(span.to) else { continue };
            let (payload, tag) = match span.place {
                Place::Heard => (self.arena.payload(span.start, span.len), LENT),
                Place::Said => {
                    let said = Payload::new(Rc::clone(&buffer), span.start as usize, span.len as usize);
                    // A blocked socket may keep its reply for long; it must not keep the whole turn's buffer.
                    let is_blocked = connection.outbox.is_blocked();
                    (if is_blocked { Payload::from(said.to_vec()) } else { said }, NO_TAG)
                }
            };
            let lane = match span.urgency {
                Urgency::First => Lane::Control,
                Urgency::Last => Lane::Low,
            };
            if lane == Lane::Low && connection.outbox.is_corked() {
                // It ends before it began: what was kept back for it is of no use.
                let dropped = self.outboxes.clear(&mut connection.outbox);
                self.counters.add(Metric::DroppedClosing, u64::from(dropped));
                self.outboxes.uncork(&mut connection.outbox, span.to.slot);
            }
            if let Err(Full) = self.outboxes.push(&mut connection.outbox, span.to.slot, lane, tag, payload) {
                self.slow.push(span.to.slot);
            }
        }
    }

    /// Closes connections whose outbox overflowed (3008), that cannot carry a payload (3506), or whose position was lost (3010).
    fn close_slow(&mut self, now: Now) {
        for (list, code) in [
            (&mut self.slow, DisconnectCode::Slow),
            (&mut self.unfit, DisconnectCode::InappropriateProtocol),
            (&mut self.lost, DisconnectCode::InsufficientState),
        ] {
            for slot in list.drain(..) {
                let Some((key, connection)) = self.connections.open_at(slot) else { continue };
                if !connection.wire.is_open() {
                    continue;
                }
                if !code.flushes() {
                    let dropped = self.outboxes.clear(&mut connection.outbox);
                    self.counters.add(Metric::DroppedOutboxFull, u64::from(dropped));
                }
                self.counters.add(Metric::Disconnects, 1);
                self.sessions.close(key, &mut connection.wire, code, now, &mut self.heard);
            }
        }
    }

    // speak: outboxes -> io

    fn speak(&mut self, now: Now) {
        self.finish_endings(now);
        self.set_timers();
        self.outboxes.plan(KEPT_BUFFER_BYTES, &mut self.connections);
        let (io, connections) = (&mut self.io, &mut self.connections);
        let (sent_bytes, broken) = (&mut self.sent_bytes, &mut self.tls_broken);
        self.outboxes.speak(|slot, payload| {
            let payload = match &mut connections.at(slot).tls {
                None => payload,
                Some(stream) => match stream.seal(&payload) {
                    Ok(records) => Payload::from(records),
                    Err(Broken) => return broken.push(slot),
                },
            };
            *sent_bytes += payload.len() as u64;
            io.send(Socket(slot), payload);
        });
        self.speak_tls(now);
        self.speak_to_nodes(now);
    }

    /// Ends sockets that have said everything: what was sent in earlier turns is with the kernel unless the socket is
    /// blocked, and then the ending comes up again when it has drained.
    fn finish_endings(&mut self, now: Now) {
        let mut endings = std::mem::take(&mut self.heard.endings);
        let mut later = 0;
        for place in 0..endings.len() {
            let slot = endings[place];
            let Some((_, connection)) = self.connections.open_at(slot) else { continue };
            if connection.outbox.is_blocked() {
                continue;
            }
            if !connection.outbox.is_empty() {
                endings[later] = slot;
                later += 1;
                continue;
            }
            if let Some(stream) = &mut connection.tls
                && connection.wire.ending() != Ending::None
                && stream.close()
            {
                self.tls_speakers.push(slot);
                endings[later] = slot;
                later += 1;
                continue;
            }
            match connection.wire.ending() {
                Ending::None => {}
                Ending::Shutdown => self.io.shutdown(Socket(slot)),
                Ending::Close => self.abandon(slot, now),
            }
        }
        endings.truncate(later);
        self.heard.endings = endings;
    }
}
