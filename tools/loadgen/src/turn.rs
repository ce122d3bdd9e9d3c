//! What a scenario may touch while it handles a turn's events: time, output, randomness and books.

use crate::ledger::Ledger;
use crate::outbound::Outbound;
use crate::random::Random;
use crate::schedule::Nanos;
use crate::stage::{Stage, Window};

/// One turn of a thread. The clock was read once, when the turn's input had arrived.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The time of this turn.
    pub(crate) now: Nanos,
    /// The part of the run.
    pub(crate) stage: Stage,
    /// When messages are due and measured.
    pub(crate) window: Window,
    /// What is sent at the end of the turn.
    pub(crate) outbound: Outbound,
    /// Masking keys.
    pub(crate) random: Random,
    /// Counts, latencies and failures.
    pub(crate) ledger: Ledger,
}

impl Turn {
    /// Whether messages of a schedule may be sent now. Those that were due before the end are, however late it is.
    #[must_use]
    pub(crate) fn follows_schedule(&self) -> bool {
        self.stage == Stage::Running && self.now >= self.window.start
    }

    /// Whether the closed loop may send more now.
    #[must_use]
    pub(crate) fn is_sending(&self) -> bool {
        self.stage == Stage::Running && self.now >= self.window.start && self.now < self.window.end
    }

    /// Whether a message of this intended time counts in rates and latencies.
    #[must_use]
    pub(crate) fn is_measured(&self, intended: Nanos) -> bool {
        intended >= self.window.measured && self.window.measured > 0
    }

    /// Notes how late this thread is with a message of a schedule: its own doing, not the server's.
    pub(crate) fn record_lag(&mut self, intended: Nanos) {
        if self.is_measured(intended) {
            self.ledger.latencies.lag.record(self.now - intended);
        }
    }
}
