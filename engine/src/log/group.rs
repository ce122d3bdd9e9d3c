//! Records that are written together, with one sync.
//!
//! Invariant: the first record of a group says that it is: all before it is on the disk.

use super::channels::{Channel, Place};
use super::record::{Kind, Record, position_rest};

/// A group that is being written: records, and what they change once they are durable.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: u32,
    nonce: u32,
    pub(super) base: u32,
    pub(super) bytes: Vec<u8>,
}

impl Group {
    /// An empty one that begins at `base` of a segment, with room for so many bytes.
    pub(super) fn new(number: u32, nonce: u32, base: u32, bytes: usize) -> Self {
        Self { number, nonce, base, bytes: Vec::with_capacity(bytes) }
    }

    /// Adds a record; where it lies.
    pub(super) fn push(&mut self, record: &Record<'_>) -> Place {
        let at = self.base + self.bytes.len() as u32;
        let record = Record { is_first: self.bytes.is_empty(), ..*record };
        record.write(self.nonce, self.base, &mut self.bytes);
        Place { segment: self.number, at, bytes: record.bytes() as u32 }
    }

    /// Adds the position of a channel.
    pub(super) fn push_position(&mut self, name: &str, channel: &Channel, unix_ms: u64) -> Place {
        self.push(&Record {
            kind: Kind::Position,
            is_first: false,
            channel: name,
            epoch: channel.epoch,
            offset: channel.top,
            unix_ms,
            rest: &position_rest(channel.floor, &channel.retention),
        })
    }

    /// Nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
