//! decide: subscriptions end whose token is over, or was taken back.
//!
//! Invariants: each is gone before its client is told; so many in a turn.

use roadstead_io::Io;
use roadstead_protocol::UnsubscribeCode;

use super::Shard;
use crate::counters::Metric;
use crate::flow::Now;
use crate::limits::TERMS_ENDED_PER_TURN;

impl<I: Io> Shard<I> {
    pub(super) fn end_subscriptions(&mut self, now: Now) {
        self.end_expired(now);
        self.end_revoked(now);
    }

    /// An idle shard turns once a second, which is as exact as tokens are: no timer is needed.
    fn end_expired(&mut self, now: Now) {
        let grace_s = u64::from(self.settings.client.token_grace_s);
        let over_s = (now.unix_ms / 1000).saturating_sub(grace_s);
        let mut ended = 0;
        while ended < TERMS_ENDED_PER_TURN
            && let Some((key, subscription)) = self.router.poll_ended(over_s)
        {
            ended += 1;
            let Some(connection) = self.connections.find(key) else { continue };
            let (seat, code) = (&mut connection.seat, UnsubscribeCode::Expired);
            self.router.end(key, seat, subscription, code, now.ms, &mut self.deliveries);
        }
        self.has_ended_more = ended == TERMS_ENDED_PER_TURN;
        self.counters.add(Metric::SubscriptionsExpired, ended);
        self.counters.set(Metric::SubscriptionTerms, self.router.terms() as u64);
    }

    /// Of the connections that were found to have one, by [`Self::look_for_revoked`].
    fn end_revoked(&mut self, now: Now) {
        let Self { router, sessions, connections, .. } = self;
        let mut ended = 0;
        for key in self.revoking.take_subscribers() {
            let Some(connection) = connections.find(key) else { continue };
            let (seat, wire) = (&mut connection.seat, &connection.wire);
            while let Some(subscription) = router.revoked(seat, |mark| sessions.revokes(mark, wire, now)) {
                router.end(key, seat, subscription, UnsubscribeCode::Server, now.ms, &mut self.deliveries);
                ended += 1;
            }
        }
        self.counters.add(Metric::RevokedSubscribed, ended);
    }
}
