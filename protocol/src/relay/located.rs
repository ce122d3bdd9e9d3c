//! Where a user is connected, as nodes tell each other.

use std::fmt;

use super::malformed::Malformed;
use super::wire::{Reader, Writer};

/// One connection of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocatedEntry {
    /// The id of the node that holds it.
    pub node: u32,
    /// Its shard there.
    pub shard: u16,
    /// Its number there.
    pub connection: u64,
    /// How old it is, seconds.
    pub age_s: u32,
}

const LOCATED_ENTRY_BYTES: usize = 18;

/// Connections of a user: a list to be written, or a list as it came, read while it is walked.
#[derive(Clone, Copy)]
pub struct LocatedEntries<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Listed(&'a [LocatedEntry]),
    Packed(&'a [[u8; LOCATED_ENTRY_BYTES]]),
}

impl<'a> LocatedEntries<'a> {
    /// Those of `list`.
    #[must_use]
    pub const fn of(list: &'a [LocatedEntry]) -> Self {
        Self(Source::Listed(list))
    }

    /// How many they are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Listed(list) => list.len(),
            Source::Packed(records) => records.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each of them, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = LocatedEntry> + use<'a> {
        let (listed, packed) = match self.0 {
            Source::Listed(list) => (list, &[][..]),
            Source::Packed(records) => (&[][..], records),
        };
        listed.iter().copied().chain(packed.iter().map(LocatedEntry::unpacked))
    }
}

impl LocatedEntry {
    fn unpacked(record: &[u8; LOCATED_ENTRY_BYTES]) -> Self {
        let part = |from: usize, len: usize| {
            record[from..from + len].iter().rev().fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
        };
        Self {
            node: part(0, 4) as u32,
            shard: part(4, 2) as u16,
            connection: part(6, 8),
            age_s: part(14, 4) as u32,
        }
    }
}

impl PartialEq for LocatedEntries<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for LocatedEntries<'_> {}

impl fmt::Debug for LocatedEntries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> LocatedEntries<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let records = reader.records(LOCATED_ENTRY_BYTES)?;
        Ok(Self(Source::Packed(records.as_chunks().0)))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.len() as u32);
        for entry in self.iter() {
            writer.u32(entry.node);
            writer.u16(entry.shard);
            writer.u64(entry.connection);
            writer.u32(entry.age_s);
        }
    }
}
