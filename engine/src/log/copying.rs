//! A log copied into another one: how snapshots are made, and restored under new epochs.
//!
//! Invariant: what is alive is copied, record by record, each read through its checksum; the copy is as durable as any log.

use std::fmt;
use std::io;

use super::Log;
use super::disk::Disk;
use super::ledger::Ledger;
use super::store::Store;
use super::values::{After, Append, Failure, Read, Recorded};
use crate::limits::LOG_READ_COUNT_MAX;

/// What was copied.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Channels.
    pub channels: u64,
    /// Publications.
    pub publications: u64,
    /// Publications that were left out since their records are damaged.
    pub damaged: u64,
}

/// Why a copy is not whole.
#[derive(Debug)]
pub enum CopyError {
    /// It could not be read.
    Reading(io::Error),
    /// It could not be written.
    Writing(Failure),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading(error) => write!(f, "cannot read: {error}"),
            Self::Writing(failure) => write!(f, "cannot write: {}", failure.name()),
        }
    }
}

/// Copies everything that is alive into an empty log, and ends that one. `epoch_of` says under which epoch a channel goes on.
///
/// # Errors
/// The copy is not whole, and not ended.
pub fn copy<F: Disk, T: Disk>(
    from: &mut Ledger<F>,
    to: &mut Store<T>,
    unix_ms: u64,
    mut epoch_of: impl FnMut(&Recorded) -> u32,
) -> Result<Copied, CopyError> {
    let mut copied = Copied::default();
    for recorded in from.recorded() {
        let epoch = epoch_of(&recorded);
        // What is left is copied; a channel without publications goes on behind its last offset.
        let mut since = recorded.floor.saturating_sub(1);
        let mut after = After::Start(since);
        loop {
            let read = Read {
                channel: recorded.channel.clone(),
                epoch: None,
                since,
                reverse: false,
                count: LOG_READ_COUNT_MAX,
            };
            let found = from.read(&read).map_err(CopyError::Reading)?;
            copied.damaged += found.damaged;
            copied.publications += found.publications.len() as u64;
            let (channel, retention) = (recorded.channel.clone(), recorded.retention);
            let append = Append { channel, epoch, after, publications: found.publications, retention };
            let top = to.append(&[append], unix_ms).remove(0).map_err(CopyError::Writing)?;
            // What was found to be damaged is given up, and not read again.
            since = since.max(top);
            after = After::Offset(top);
            if !found.has_more {
                break;
            }
        }
        copied.channels += 1;
    }
    to.close();
    Ok(copied)
}
