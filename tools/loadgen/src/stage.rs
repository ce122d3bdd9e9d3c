//! Which part of the run all threads are in: written by the conductor, read by the threads once a turn.
//!
//! ```text
//! Opening ──all opened or failed──> Holding ──> Running ──end──> Draining ──all arrived, or time──> Resting ──> Closing
//!    └──────────── nothing to run, or interrupted ────────────────────────────────────────────────────────────────^
//! ```

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::schedule::Nanos;

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Connections are opened.
    Opening = 0,
    /// Connections are held before anything is sent.
    Holding = 1,
    /// Messages are sent, or connections held.
    Running = 2,
    /// No more messages are sent; those under way arrive.
    Draining = 3,
    /// Connections are held after all has arrived.
    Resting = 4,
    /// Connections are closed.
    Closing = 5,
}

impl Stage {
    /// Its word in the progress line.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Stage::Opening => "opening",
            Stage::Holding => "holding",
            Stage::Running => "running",
            Stage::Draining => "draining",
            Stage::Resting => "resting",
            Stage::Closing => "closing",
        }
    }
}

/// When messages are due, and from when on they are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first message.
    pub(crate) start: Nanos,
    /// The first measured message.
    pub(crate) measured: Nanos,
    /// No message is due from here on.
    pub(crate) end: Nanos,
}

/// The stage that all threads share.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    stage: AtomicU8,
    start: AtomicU64,
    measured: AtomicU64,
    end: AtomicU64,
    is_interrupted: AtomicBool,
}

impl Conduct {
    /// The present stage.
    #[must_use]
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Opening,
            1 => Stage::Holding,
            2 => Stage::Running,
            3 => Stage::Draining,
            4 => Stage::Resting,
            _ => Stage::Closing,
        }
    }

    /// The times of `Running`; zeros before.
    #[must_use]
    pub(crate) fn window(&self) -> Window {
        Window {
            start: self.start.load(Ordering::Relaxed),
            measured: self.measured.load(Ordering::Relaxed),
            end: self.end.load(Ordering::Relaxed),
        }
    }

    /// Whether the run was ended early: what is unfinished is no failure then.
    #[must_use]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Relaxed)
    }

    /// Fixes the times of `Running`, which is entered next.
    pub(crate) fn run(&self, window: Window) {
        self.start.store(window.start, Ordering::Relaxed);
        self.measured.store(window.measured, Ordering::Relaxed);
        self.end.store(window.end, Ordering::Relaxed);
    }

    /// Begins `stage`.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// Notes that the run ends early.
    pub(crate) fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::Relaxed);
    }
}
