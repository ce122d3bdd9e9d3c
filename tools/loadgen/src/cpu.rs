//! Processor time of a thread, read from `/proc` (the scheduler's nanosecond account).

use std::fs;
use std::ops::Sub;

use serde::{Deserialize, Serialize};

use crate::schedule::Nanos;

/// What a thread did with a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CpuTime {
    /// Time on a processor.
    pub(crate) running: Nanos,
    /// Time in which it could have run, but others did.
    pub(crate) waiting: Nanos,
}

impl CpuTime {
    /// Of the calling thread so far; zeros where the kernel does not tell.
    #[must_use]
    pub(crate) fn of_this_thread() -> Self {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self::parse(&text).unwrap_or_default()
    }

    /// Time for which it asked for a processor.
    #[must_use]
    pub(crate) fn wanted(self) -> Nanos {
        self.running + self.waiting
    }

    /// The first two of three numbers: running and waiting, in nanoseconds (Documentation/scheduler/sched-stats).
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        Some(Self { running: numbers.next()?.ok()?, waiting: numbers.next()?.ok()? })
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_running_and_waiting() {
        let time = CpuTime { running: 123_456_789, waiting: 42 };
        assert_eq!(CpuTime::parse("123456789 42 7\n"), Some(time));
        assert_eq!(time.wanted(), 123_456_831);
        for text in ["", "5", "x 1 2", "1 y"] {
            assert_eq!(CpuTime::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        let before = CpuTime::of_this_thread();
        assert!(CpuTime::of_this_thread().running >= before.running);
    }
}
