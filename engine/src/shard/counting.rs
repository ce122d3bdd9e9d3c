//! The turn's end: what the rooms counted in it goes to the shard's counters.

use std::time::Duration;

use roadstead_io::Io;

use super::{Shard, introductions};
use crate::counters::Metric;
use crate::router::Tally;

impl<I: Io> Shard<I> {
    /// Counts how long a turn took: the caller has the clock.
    pub fn measure(&self, turn: Duration) {
        self.counters.turns.add(turn);
    }

    pub(super) fn count(&mut self) {
        let counters = &self.counters;
        let heard = self.sessions.take_tally();
        counters.add(Metric::Turns, 1);
        counters.add(Metric::SentBytes, std::mem::take(&mut self.sent_bytes));
        counters.add(Metric::Upgrades, heard.upgraded);
        counters.add(Metric::UpgradesRefusedBusy, heard.refused_busy);
        counters.add(Metric::UpgradesRefusedRequest, heard.refused_bad);
        counters.add(Metric::MessagesReceived, heard.messages);
        counters.add(Metric::Commands, heard.commands);
        counters.add(Metric::CommandErrors, heard.errors);
        heard.refusals.add_to(counters);
        counters.add(Metric::RevokedConnect, heard.revoked.connect);
        counters.add(Metric::RevokedRefresh, heard.revoked.refresh);
        counters.add(Metric::RevokedSubscribe, heard.revoked.subscribe);
        counters.add(Metric::RevokedSubRefresh, heard.revoked.sub_refresh);
        counters.add(Metric::Violations, heard.violations);
        counters.add(Metric::Disconnects, heard.disconnects);
        for code in self.heard.connects.drain(..) {
            counters.connects.add(code);
        }
        for code in self.heard.closes.drain(..) {
            counters.closes.add(code);
        }
        counters.add(Metric::PongTimeouts, heard.pongs_missing);
        self.count_tokens(&heard.tokens);
        let counters = &self.counters;
        counters.add(Metric::DeflateReceivedBytes, heard.deflate.received);
        counters.add(Metric::DeflateInflatedBytes, heard.deflate.inflated);
        counters.add(Metric::DeflatePlainBytes, heard.deflate.plain);
        counters.add(Metric::DeflateDeflatedBytes, heard.deflate.deflated);
        counters.set(Metric::DeflateWindowBytes, self.sessions.window_bytes() as u64);
        introductions::count(counters, &self.sessions.gate().take_tally());
        counters.add(Metric::GuardRefusedOrigin, heard.origins_refused);
        counters.add(Metric::GuardLateHandshake, heard.handshakes_late);
        counters.add(Metric::GuardLateConnect, heard.connects_late);
        counters.add(Metric::GuardLateMessage, heard.messages_late);
        counters.add(Metric::GuardPacedSubscribes, heard.subscribes_paced);
        counters.add(Metric::GuardCappedUsers, heard.users_capped);
        let routed = self.router.take_tally();
        counters.add(Metric::Published, routed.published);
        counters.add(Metric::PublishRefused, routed.refused);
        counters.add(Metric::GuardPacedPublishes, routed.paced);
        counters.add(Metric::PublishesRefusedNotSubscribed, routed.not_subscribed);
        counters.add(Metric::PublishGaps, routed.gaps);
        counters.add(Metric::PublishGapsReset, routed.missed);
        counters.add(Metric::EpochsChanged, routed.epochs);
        counters.add(Metric::RelayVoid, routed.void);
        counters.add(Metric::Misplaced, routed.misplaced);
        counters.add(Metric::OwnerUnanswered, routed.unanswered);
        counters.add(Metric::AnnouncementsDiffering, routed.differences);
        self.count_streams(&routed);
        let counters = &self.counters;
        counters.set(Metric::UsersKnown, self.router.users_known() as u64);
        counters.set(Metric::PublishesWaiting, self.router.publishes_waiting() as u64);
        if let Some(peers) = &mut self.peers {
            peers.take_tally().add_to(counters);
        }
        counters.add(Metric::MailboxBacklogTurns, u64::from(self.siblings.has_backlog()));
        counters.set(Metric::Connections, u64::from(self.admitted));
        counters.set(Metric::TlsHandshakesWaiting, self.handshakes.len() as u64);
        counters.set(Metric::Sessions, self.sessions.len() as u64);
        counters.set(Metric::Users, self.sessions.users() as u64);
        counters.set(Metric::Channels, self.router.channels() as u64);
        counters.set(Metric::Subscriptions, self.router.subscriptions() as u64);
        counters.set(Metric::InboundBytes, (self.sessions.inbound_bytes() + self.tls_held_bytes) as u64);
        counters.set(Metric::MailboxMessages, self.siblings.waiting() as u64);
    }

    fn count_streams(&self, routed: &Tally) {
        let counters = &self.counters;
        let (streams, publications, bytes) = self.router.kept();
        counters.set(Metric::Streams, streams as u64);
        counters.set(Metric::StreamPublications, publications as u64);
        counters.set(Metric::StreamBytes, bytes as u64);
        counters.set(Metric::StreamBytesMax, u64::from(self.settings.limits.history_bytes_per_shard));
        counters.add(Metric::StreamDroppedCount, routed.streams.dropped_count);
        counters.add(Metric::StreamDroppedBytes, routed.streams.dropped_bytes);
        counters.add(Metric::StreamDroppedAge, routed.streams.dropped_age);
        counters.add(Metric::StreamDroppedCeiling, routed.streams.dropped_ceiling);
        counters.add(Metric::StreamDroppedMoved, routed.streams.dropped_moved);
        counters.add(Metric::StreamsForgotten, routed.streams.forgotten);
        counters.add(Metric::Recovered, routed.recoveries.recovered);
        counters.add(Metric::RecoveriesFailed, routed.recoveries.failed);
        counters.add(Metric::RecoveredPublications, routed.recoveries.publications);
        counters.add(Metric::InsufficientStates, routed.recoveries.insufficient);
        counters.add(Metric::HistoryReads, routed.recoveries.pages);
        counters.add(Metric::PositionChecks, routed.recoveries.checks);
    }
}
