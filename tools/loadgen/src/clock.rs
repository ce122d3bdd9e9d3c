//! The time of a run: nanoseconds since its epoch, the same for all threads.

use std::time::Instant;

use crate::schedule::Nanos;

/// Counts from the moment it was made; copies count from the same moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock whose epoch is now.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now() }
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub(crate) fn now(&self) -> Nanos {
        self.epoch.elapsed().as_nanos() as Nanos
    }
}
