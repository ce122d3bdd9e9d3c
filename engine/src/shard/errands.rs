//! decide: errands of the server API, done to the connections of this shard.
//!
//! Invariants: so many in a turn; a connection that is gone, or closing, is left alone.

use std::sync::Arc;

use roadstead_io::Io;
use roadstead_protocol::{DisconnectCode, UnsubscribeCode};

use super::Shard;
use super::mail::Mailer;
use crate::counters::Metric;
use crate::flow::{Action, Census, Command, Key, Now, Term, TokenMark};
use crate::limits::ERRANDS_PER_TURN;
use crate::router::Outlet;

impl<I: Io> Shard<I> {
    pub(super) fn run_errands(&mut self, now: Now) {
        if !self.router.has_errands() {
            return;
        }
        for _ in 0..ERRANDS_PER_TURN {
            let Some((by, errand)) = self.router.poll_errand() else { break };
            self.run_errand(by, &errand.action, now);
        }
        let Self { router, sessions, siblings, peers, deliveries, identity, index, .. } = self;
        let mut mailer =
            Mailer { siblings, peers: peers.as_mut(), here: *index, dropped: 0, dropped_on_link: 0 };
        let mut out = Outlet { now_ms: now.ms, post: &mut mailer, deliveries };
        let census = Census {
            node: identity.0,
            clients: sessions.len() as u64,
            users: sessions.users() as u64,
            channels: router.channels() as u64,
            subscriptions: router.subscriptions() as u64,
            uptime_s: now.ms / 1_000,
        };
        router.survey(|| census, &mut out);
        for told in router.take_told() {
            self.asking.tell(told.ticket, told.outcome);
        }
        self.siblings.flush();
    }

    fn run_errand(&mut self, by: Key, action: &Action, now: Now) {
        let Some(connection) = self.connections.find(by) else { return };
        let wire = &mut connection.wire;
        if !wire.is_open() || !wire.has_session() {
            return;
        }
        match action {
            Action::Disconnect { code, reason } => {
                self.counters.add(Metric::Disconnects, 1);
                self.sessions.dismiss(by, wire, (*code, reason), now, &mut self.heard);
            }
            Action::Refresh { is_over, ends_at_s, info } => {
                let terms = (*ends_at_s, info.as_deref().map(Arc::from));
                if *is_over || !self.sessions.prolong(by, wire, terms, now, &mut self.heard) {
                    self.counters.add(Metric::Disconnects, 1);
                    self.sessions.close(by, wire, DisconnectCode::Expired, now, &mut self.heard);
                }
            }
            Action::Unsubscribe { channel } => {
                let seat = &mut connection.seat;
                if let Some(subscription) = self.router.subscription(seat, channel) {
                    let code = UnsubscribeCode::Server;
                    self.router.end(by, seat, subscription, code, now.ms, &mut self.deliveries);
                }
            }
            Action::Subscribe { channel, data, ends_at_s } => {
                let no_token = TokenMark { id: [0; 2], issued_at_s: 0 };
                let term = (*ends_at_s > 0).then_some(Term { ends_at_s: *ends_at_s, mark: no_token });
                let subscribe = Command::Subscribe {
                    by,
                    id: None,
                    channel: Arc::from(&**channel),
                    encoding: wire.encoding(),
                    verdict: Ok(term),
                    wish: None,
                };
                let mut mailer = Mailer {
                    siblings: &mut self.siblings,
                    peers: self.peers.as_mut(),
                    here: self.index,
                    dropped: 0,
                    dropped_on_link: 0,
                };
                let mut out = Outlet { now_ms: now.ms, post: &mut mailer, deliveries: &mut self.deliveries };
                let before = connection.seat.count();
                self.router.decide(subscribe, &mut connection.seat, &mut out);
                if connection.seat.count() > before {
                    self.sessions.say_subscribed(by, &connection.wire, channel, data, &mut self.heard);
                }
            }
        }
    }
}
