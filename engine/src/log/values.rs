//! What goes into the log and what comes out of it.
//!
//! Invariants: plain data; what a publication consists of is not known here.

use std::sync::Arc;

use crate::flow::Position;

/// How much of a channel is kept. The oldest goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Publications at most.
    pub count: u64,
    /// Bytes of their records at most.
    pub bytes: u64,
    /// For so long after its time a publication is kept, ms.
    pub age_ms: u64,
    /// For so long after the last one the position of the channel is known, ms.
    pub forget_ms: u64,
}

impl Retention {
    /// Everything, for ever.
    pub const ALL: Self = Self { count: u64::MAX, bytes: u64::MAX, age_ms: u64::MAX, forget_ms: u64::MAX };
}

/// A publication with its place in its channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its offset.
    pub offset: u64,
    /// When it was published, ms since the Unix epoch.
    pub unix_ms: u64,
    /// The publication, as whoever orders the channel writes it.
    pub data: Arc<[u8]>,
}

/// What an append comes after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// A new epoch begins behind this offset, mostly 0. What was kept of an earlier epoch goes.
    Start(u64),
    /// The last offset that was given before, acknowledged or on its way. If it is not there, neither is the append.
    Offset(u64),
}

/// Publications to make durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// Channel name.
    pub channel: Arc<str>,
    /// Its epoch.
    pub epoch: u32,
    /// What they come after.
    pub after: After,
    /// The publications; their offsets rise.
    pub publications: Vec<Kept>,
    /// How much of the channel is kept from now on.
    pub retention: Retention,
}

/// What to read of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// Channel name.
    pub channel: Arc<str>,
    /// Only of this epoch; of another one nothing is found but the position.
    pub epoch: Option<u32>,
    /// Publications above this offset, or, in reverse, below it.
    pub since: u64,
    /// From the newest to the oldest.
    pub reverse: bool,
    /// Publications at most.
    pub count: usize,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// Where the channel is; epoch 0: it is not known.
    pub position: Position,
    /// The lowest offset that retention has left.
    pub floor: u64,
    /// The publications. One whose record is damaged is missing: then the offsets have a hole.
    pub publications: Vec<Kept>,
    /// How many were found to be damaged by this.
    pub damaged: u64,
    /// There is more than was read.
    pub has_more: bool,
}

/// What to give up of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trim {
    /// Channel name.
    pub channel: Arc<str>,
    /// Publications below this offset.
    pub below: u64,
    /// How much is kept from now on; `None`: as before.
    pub retention: Option<Retention>,
}

/// A channel that the log knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Channel name.
    pub channel: Arc<str>,
    /// Its last position.
    pub position: Position,
    /// The lowest offset that retention has left.
    pub floor: u64,
    /// Publications kept.
    pub count: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When the last one was published, ms since the Unix epoch.
    pub published_ms: u64,
    /// How much is kept.
    pub retention: Retention,
}

/// Why something was not done. Nothing of it is on the disk, nor will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Too much waits: a temporary error.
    Busy,
    /// The disk, or what the log may take of it, is full: a temporary error.
    Full,
    /// The disk failed: a temporary error.
    Disk,
    /// What it comes after is not there: a temporary error, since that one failed.
    Unfollowed,
    /// Its offsets or its epoch were given before, or do not rise.
    Stale,
    /// It is too large for a record.
    TooLarge,
}

impl Failure {
    /// Every failure.
    pub const ALL: [Self; 6] =
        [Self::Busy, Self::Full, Self::Disk, Self::Unfollowed, Self::Stale, Self::TooLarge];

    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Busy | Self::Full | Self::Disk | Self::Unfollowed)
    }

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Disk => "disk",
            Self::Unfollowed => "unfollowed",
            Self::Stale => "stale",
            Self::TooLarge => "too_large",
        }
    }
}

/// What is asked of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// To append.
    Append(Append),
    /// To read.
    Read(Read),
    /// To trim.
    Trim(Trim),
}

/// A request with the number that its answer repeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// The asker's own number.
    pub ticket: u64,
    /// What is asked.
    pub request: Request,
}

/// What became of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The number of the job.
    pub ticket: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Durable, up to this offset.
    Appended(u64),
    /// Read.
    Read(Found),
    /// Trimmed, durably.
    Trimmed,
    /// Not done.
    Failed(Failure),
}
