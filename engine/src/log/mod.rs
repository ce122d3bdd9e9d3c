//! The durable log: what is published to a channel of this node is acknowledged only when the disk has it.
//!
//! Invariants: an offset is given once; what was acknowledged is there after a crash, and nothing is there that nobody gave;
//! a record that is damaged is reported and never served; no shard waits, and no queue grows; the disk, the time and chance are arguments.
//!
//! ```text
//! shard 0 ── jobs ──┐                                          ┌── answers, wake ──> shard 0
//! shard 1 ── jobs ──┴─> keeper's thread: one group at a time ──┴── answers, wake ──> shard 1
//!                          store ── one write, one fdatasync ──> segments (disk)
//! ```

mod channels;
mod cleaning;
mod copying;
mod disk;
mod group;
mod keeper;
mod ledger;
mod record;
mod store;
mod tally;
mod values;

pub use copying::{Copied, CopyError, copy};
pub use disk::{Disk, Folder, FolderError, SegmentFile};
pub use keeper::{Desk, Keeper, Wake, open_desks};
pub use ledger::{Damage, Ledger, OpenError, SegmentReport};
pub use record::VERSION;
pub use store::{Options, Store};
pub use tally::{LATENCIES_US, LogTally};
pub use values::{
    After, Answer, Append, Failure, Found, Job, Kept, Outcome, Read, Recorded, Request, Retention, Trim,
};

/// What keeps publications; [`Store`] is the one on a disk of this node.
///
/// Each call returns when its outcome is settled: what it reports as done survives a loss of power.
pub trait Log: Send {
    /// Every channel that is known, with its position. Asked once, at the start.
    fn recorded(&self) -> Vec<Recorded>;

    /// Makes a group of appends durable, together; the answers in the same order. Those that follow a failed one of their
    /// channel fail as well.
    fn append(&mut self, group: &[Append], unix_ms: u64) -> Vec<Result<u64, Failure>>;

    /// Reads what is kept of a channel.
    ///
    /// # Errors
    /// Nothing was read.
    fn read(&mut self, read: &Read, unix_ms: u64) -> Result<Found, Failure>;

    /// Gives up what is below an offset, or changes for how long it is kept.
    ///
    /// # Errors
    /// Nothing has changed.
    fn trim(&mut self, trim: &Trim, unix_ms: u64) -> Result<(), Failure>;

    /// A bounded step of what has to be done now and then: what is too old goes, and the room of what went is won back. True:
    /// another step is due at once.
    fn tend(&mut self, unix_ms: u64) -> bool;

    /// Where whoever calls counts what only it can see.
    fn tally(&mut self) -> &mut LogTally;

    /// What was done since this was last asked.
    fn take_tally(&mut self) -> LogTally;

    /// Ends in order.
    fn close(&mut self);
}

#[cfg(test)]
mod tests;
