//! How segments and records look on the disk, and how they are found again where something is damaged.
//!
//! Invariants: a record is believed only if its checksum fits; that begins with the nonce of its segment and its own place, so
//! that a record inside a payload, or one that was written elsewhere, is none.
//!
//! All numbers are little-endian.
//!
//! ```text
//! segment   header, record, record, ..., End
//! header    "RSTDLOG\n", version u32, number u32, nonce u32, CRC-32 of these u32
//! record    mark u32, length of what follows the CRC u32, CRC-32 u32,
//!           kind u8, flags u8, length of the channel u16, epoch u32, offset u64, unix ms u64, channel, rest
//! ```

use crc32fast::Hasher;

use super::values::Retention;
use crate::limits::LOG_RECORD_BYTES_MAX;

/// Version of the format.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"RSTDLOG\n";
/// Bytes before the first record.
pub(super) const HEADER_BYTES: usize = 24;
const MARK: [u8; 4] = [0x9d, 0x52, 0xc3, 0x0a];
const HEAD_BYTES: usize = 12;
const FIXED_BYTES: usize = 24;
/// What a record takes beside its channel and its rest.
pub(super) const RECORD_OVERHEAD_BYTES: usize = HEAD_BYTES + FIXED_BYTES;
/// Bytes of a position's rest.
pub(super) const POSITION_BYTES: usize = 40;
const FIRST: u8 = 1;

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A publication; the rest is its data.
    Publication,
    /// Where a channel is: the offset is its top, the rest its floor and retention.
    Position,
    /// Nothing follows in this segment.
    End,
}

/// A record, read or to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    /// It is the first of a group: all before it is on the disk.
    pub(super) is_first: bool,
    pub(super) channel: &'a str,
    pub(super) epoch: u32,
    pub(super) offset: u64,
    pub(super) unix_ms: u64,
    pub(super) rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// The last record of a segment.
    pub(super) const END: Record<'static> =
        Record { kind: Kind::End, is_first: true, channel: "", epoch: 0, offset: 0, unix_ms: 0, rest: &[] };

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> usize {
        RECORD_OVERHEAD_BYTES + self.channel.len() + self.rest.len()
    }

    /// Writes it to the end of `out`, which begins at `base` of a segment. Its lengths were checked.
    pub(super) fn write(&self, nonce: u32, base: u32, out: &mut Vec<u8>) {
        let at = base + out.len() as u32;
        let length = (self.bytes() - HEAD_BYTES) as u32;
        out.extend(MARK);
        out.extend(length.to_le_bytes());
        out.extend([0; 4]);
        let body = out.len();
        out.push(match self.kind {
            Kind::Publication => 1,
            Kind::Position => 2,
            Kind::End => 3,
        });
        out.push(if self.is_first { FIRST } else { 0 });
        out.extend((self.channel.len() as u16).to_le_bytes());
        out.extend(self.epoch.to_le_bytes());
        out.extend(self.offset.to_le_bytes());
        out.extend(self.unix_ms.to_le_bytes());
        out.extend(self.channel.as_bytes());
        out.extend(self.rest);
        let sum = checksum(nonce, at, &out[body..]);
        out[body - 4..body].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads the record that begins at `at` of a segment, where `bytes` begins; `None`: there is none that is whole.
    pub(super) fn read(nonce: u32, at: u32, bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.get(..HEAD_BYTES)?;
        let length = u32_at(head, 4) as usize;
        if head[..4] != MARK || length > LOG_RECORD_BYTES_MAX {
            return None;
        }
        let body = bytes.get(HEAD_BYTES..HEAD_BYTES + length)?;
        if length < FIXED_BYTES || checksum(nonce, at, body) != u32_at(head, 8) {
            return None;
        }
        let channel_bytes = usize::from(u16::from_le_bytes([body[2], body[3]]));
        let channel = body.get(FIXED_BYTES..FIXED_BYTES + channel_bytes)?;
        Some(Self {
            kind: match body[0] {
                1 => Kind::Publication,
                2 => Kind::Position,
                3 => Kind::End,
                _ => return None,
            },
            is_first: body[1] & FIRST != 0,
            channel: str::from_utf8(channel).ok()?,
            epoch: u32_at(body, 4),
            offset: u64_at(body, 8),
            unix_ms: u64_at(body, 16),
            rest: &body[FIXED_BYTES + channel_bytes..],
        })
    }
}

/// The rest of a position.
pub(super) fn position_rest(floor: u64, retention: &Retention) -> [u8; POSITION_BYTES] {
    let mut rest = [0; POSITION_BYTES];
    let numbers = [floor, retention.count, retention.bytes, retention.age_ms, retention.forget_ms];
    for (place, number) in rest.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    rest
}

/// Floor and retention of a position; `None`: it is none.
pub(super) fn read_position(rest: &[u8]) -> Option<(u64, Retention)> {
    if rest.len() != POSITION_BYTES {
        return None;
    }
    let [floor, count, bytes, age_ms, forget_ms] = [0, 8, 16, 24, 32].map(|at| u64_at(rest, at));
    Some((floor, Retention { count, bytes, age_ms, forget_ms }))
}

/// What a segment begins with.
pub(super) fn header(number: u32, nonce: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&number.to_le_bytes());
    header[16..20].copy_from_slice(&nonce.to_le_bytes());
    let sum = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// The version that a segment says it has; `None`: its header is damaged.
pub(super) fn version(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..HEADER_BYTES)?;
    let is_whole = header[..8] == MAGIC && crc32fast::hash(&header[..20]) == u32_at(header, 20);
    is_whole.then(|| u32_at(header, 8))
}

/// A piece of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece<'a> {
    /// A record, where it begins and how long it is.
    Record { at: u32, bytes: u32, record: Record<'a> },
    /// Bytes that are no record.
    Damage { at: u32, bytes: u32 },
}

/// Goes through the records of a segment.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    nonce: u32,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Over a whole segment, from `at` on.
    pub(super) fn new(bytes: &'a [u8], nonce: u32, at: usize) -> Self {
        Self { bytes, nonce, at }
    }

    fn record(&self, at: usize) -> Option<Record<'a>> {
        Record::read(self.nonce, at as u32, &self.bytes[at..])
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.at;
        if from >= self.bytes.len() {
            return None;
        }
        if let Some(record) = self.record(from) {
            self.at += record.bytes();
            return Some(Piece::Record { at: from as u32, bytes: record.bytes() as u32, record });
        }
        let rest = &self.bytes[from + 1..];
        let marks = rest.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
        let next = marks.map(|(place, _)| from + 1 + place).find(|at| self.record(*at).is_some());
        self.at = next.unwrap_or(self.bytes.len());
        Some(Piece::Damage { at: from as u32, bytes: (self.at - from) as u32 })
    }
}

fn checksum(nonce: u32, at: u32, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
