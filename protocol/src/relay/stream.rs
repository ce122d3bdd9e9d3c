//! What nodes ask each other about channels' streams, and the answers.

use std::fmt;

use super::malformed::Malformed;
use super::message::{Position, RelayedPublication};
use super::wire::{Reader, Writer};

/// A position as a client says that it has seen it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// `None` fits every epoch, 0 none.
    pub epoch: Option<u32>,
    /// The last publication seen.
    pub offset: u64,
}

impl Claim {
    /// What a client says: epochs are eight hexadecimal digits; none given fits every epoch, and text that no owner has given fits none.
    #[must_use]
    pub fn new(epoch: &str, offset: u64) -> Self {
        let is_ours = epoch.len() == 8 && epoch.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let known = if is_ours { u32::from_str_radix(epoch, 16).unwrap_or(0) } else { 0 };
        Self { epoch: (!epoch.is_empty()).then_some(known), offset }
    }

    /// Whether it can be of this epoch.
    #[must_use]
    pub fn fits(self, epoch: u32) -> bool {
        self.epoch.is_none_or(|claimed| claimed == epoch)
    }
}

/// What is read of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Its position.
    Top,
    /// Everything behind a position, if that is there and no more than `limit`.
    Missed {
        /// The position.
        since: Claim,
        /// Publications at most.
        limit: u32,
    },
    /// The latest publication, unless the claim is of the top.
    Latest {
        /// What the client has.
        since: Claim,
    },
    /// Some publications in a row.
    Page {
        /// Behind which one, or (`reverse`) before which; `None`: from the oldest, or the newest.
        since: Option<Claim>,
        /// Publications at most.
        limit: u32,
        /// Newest first.
        reverse: bool,
    },
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found<'a> {
    /// The stream's top when it was read.
    pub position: Position,
    /// Whether the client lacks nothing once it has these.
    pub recovered: bool,
    /// In the order asked for.
    pub publications: StoredPublications<'a>,
}

/// A publication and its offset.
pub type Stored<'a> = (u64, RelayedPublication<'a>);

/// Publications with their offsets: a list to be written, or a list as it came, read while it is walked.
#[derive(Clone, Copy)]
pub struct StoredPublications<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Listed(&'a [Stored<'a>]),
    /// How many, and their bytes, which were read once before.
    Packed(u32, &'a [u8]),
}

impl<'a> StoredPublications<'a> {
    /// Those of `list`.
    #[must_use]
    pub const fn of(list: &'a [Stored<'a>]) -> Self {
        Self(Source::Listed(list))
    }

    /// Each of them, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = Stored<'a>> + use<'a> {
        let (listed, packed) = match self.0 {
            Source::Listed(list) => (list, (0, &[][..])),
            Source::Packed(count, bytes) => (&[][..], (count, bytes)),
        };
        let mut reader = Reader::of(packed.1);
        listed.iter().copied().chain((0..packed.0).map_while(move |_| stored(&mut reader).ok()))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = reader.u32()?;
        let start = reader.rest();
        for _ in 0..count {
            stored(reader)?;
        }
        let taken = start.len() - reader.rest().len();
        Ok(Self(Source::Packed(count, &start[..taken])))
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let count = match self.0 {
            Source::Listed(list) => list.len() as u32,
            Source::Packed(count, _) => count,
        };
        writer.u32(count);
        for (offset, publication) in self.iter() {
            writer.u64(offset);
            publication.write(writer);
        }
    }
}

fn stored<'a>(reader: &mut Reader<'a>) -> Result<Stored<'a>, Malformed> {
    Ok((reader.u64()?, RelayedPublication::read(reader)?))
}

impl PartialEq for StoredPublications<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for StoredPublications<'_> {}

impl fmt::Debug for StoredPublications<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Claim {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let epoch = match reader.u8()? {
            0 => None,
            1 => Some(reader.u32()?),
            _ => return Err(Malformed::Value),
        };
        Ok(Self { epoch, offset: reader.u64()? })
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.u8(self.epoch.is_some().into());
        if let Some(epoch) = self.epoch {
            writer.u32(epoch);
        }
        writer.u64(self.offset);
    }
}

impl Reading {
    /// 0: top; 1: missed; 2: latest; 3, 4: a page from an end, behind a position; 5, 6: the same in reverse.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match reader.u8()? {
            0 => Self::Top,
            1 => Self::Missed { limit: reader.u32()?, since: Claim::read(reader)? },
            2 => Self::Latest { since: Claim::read(reader)? },
            kind @ 3..=6 => {
                let limit = reader.u32()?;
                let since = if kind % 2 == 0 { Some(Claim::read(reader)?) } else { None };
                Self::Page { since, limit, reverse: kind > 4 }
            }
            _ => return Err(Malformed::Value),
        })
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        match self {
            Self::Top => writer.u8(0),
            Self::Missed { since, limit } => {
                writer.u8(1);
                writer.u32(limit);
                since.write(writer);
            }
            Self::Latest { since } => {
                writer.u8(2);
                since.write(writer);
            }
            Self::Page { since, limit, reverse } => {
                writer.u8(3 + u8::from(since.is_some()) + 2 * u8::from(reverse));
                writer.u32(limit);
                if let Some(since) = since {
                    since.write(writer);
                }
            }
        }
    }
}

impl<'a> Found<'a> {
    /// 0: refused, with the error code that the client gets; 1: found; 2: found, and the client lacks nothing with it.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Result<Self, u32>, Malformed> {
        let recovered = match reader.u8()? {
            0 => return Ok(Err(reader.u32()?)),
            1 => false,
            2 => true,
            _ => return Err(Malformed::Value),
        };
        let (position, publications) = (reader.position()?, StoredPublications::read(reader)?);
        Ok(Ok(Self { position, recovered, publications }))
    }

    pub(super) fn write(found: &Result<Self, u32>, writer: &mut Writer<'_>) {
        match found {
            Err(code) => {
                writer.u8(0);
                writer.u32(*code);
            }
            Ok(found) => {
                writer.u8(1 + u8::from(found.recovered));
                writer.position(found.position);
                found.publications.write(writer);
            }
        }
    }
}
