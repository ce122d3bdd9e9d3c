//! listen: verdicts about tokens become what they allow.
//!
//! Invariant: a verdict finds the connection that asked, or none.

use roadstead_io::Io;

use super::Shard;
use crate::counters::Metric;
use crate::flow::Now;
use crate::limits::VERDICTS_PER_TURN;
use crate::session::TokenTally;

impl<I: Io> Shard<I> {
    pub(super) fn hear_verdicts(&mut self, now: Now) {
        for _ in 0..VERDICTS_PER_TURN {
            let Some(verdict) = self.sessions.poll_verdict() else { break };
            let Some(connection) = self.connections.find(verdict.by) else { continue };
            self.sessions.hear_verdict(verdict, &mut connection.wire, now, &mut self.heard);
        }
    }

    pub(super) fn count_tokens(&self, tokens: &TokenTally) {
        self.counters.add(Metric::TokensAccepted, tokens.accepted);
        for (metric, count) in Metric::TOKENS_REFUSED.into_iter().zip(tokens.refused) {
            self.counters.add(metric, count);
        }
        self.counters.set(Metric::TokensWaiting, self.sessions.verdicts_awaited() as u64);
    }
}
