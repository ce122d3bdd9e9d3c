//! What lies in the segments, read and never written: the channels, the damage, and where the last writing broke off.
//!
//! Invariants: only the last segment may lack its end, and only there a group may have broken off: anything else that is no
//! record is damage, and the records around it count; a segment of a later version is not touched.
//!
//! A group is written when the one before it is durable. So what is no record, with no first record of a group behind it, is the rest
//! of a group that nobody was told of. (Or a damaged one, the very last: nothing could tell.)

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::channels::{Channel, Channels, Entry, Place};
use super::disk::{Disk, SegmentFile};
use super::record::{self, HEADER_BYTES, Kind, Piece, RECORD_OVERHEAD_BYTES, Record, Scanner};
use super::values::{Found, Kept, Read, Recorded, Retention};
use crate::flow::Position;
use crate::limits::{LOG_ORPHAN_MS, LOG_READ_BYTES_MAX};

/// Bytes that are read at once where a disk cannot read all.
const BLOCK_BYTES: usize = 4096;

/// Bytes of a segment that are no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment's file.
    pub name: String,
    /// Where they begin.
    pub at: u64,
    /// How many there are; 0: something is missing there.
    pub bytes: u64,
}

/// What a segment holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentReport {
    /// Its file.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// Bytes of records that are alive.
    pub live_bytes: u64,
    /// Nothing is added to it any more.
    pub is_sealed: bool,
}

/// Why a log cannot be opened. Nothing was changed.
#[derive(Debug)]
pub enum OpenError {
    /// A later version has written it.
    Newer {
        /// The segment's file.
        name: String,
        /// Its version.
        version: u32,
    },
    /// The disk failed.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { name, version } => write!(
                f,
                "{name} has format {version}; this program knows formats up to {}: run the version that has written it, or a later one",
                record::VERSION
            ),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A segment that is open.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub(super) name: String,
    pub(super) file: F,
    pub(super) nonce: u32,
    /// Its durable length, without what broke off.
    pub(super) length: u32,
    pub(super) live: u64,
    pub(super) is_sealed: bool,
}

/// A log as it lies on a disk.
#[derive(Debug)]
pub struct Ledger<D: Disk> {
    pub(super) disk: D,
    pub(super) segments: BTreeMap<u32, Segment<D::File>>,
    pub(super) channels: Channels,
    pub(super) damage: Vec<Damage>,
    /// Where the last writing broke off, if it did.
    pub(super) torn: Option<Damage>,
}

/// The name of a segment's file. The nonce is in it so that a damaged header costs nothing.
pub(super) fn segment_name(number: u32, nonce: u32) -> String {
    format!("{number:08x}-{nonce:08x}.log")
}

fn parse_name(name: &str) -> Option<(u32, u32)> {
    let (number, nonce) = name.strip_suffix(".log")?.split_once('-')?;
    let parsed = (u32::from_str_radix(number, 16).ok()?, u32::from_str_radix(nonce, 16).ok()?);
    (segment_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// The whole file; where the disk cannot read it, zeros.
pub(super) fn read_all(file: &impl SegmentFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(usize::MAX)];
    if file.read_at(&mut bytes, 0).is_err() {
        for (place, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
            if file.read_at(block, (place * BLOCK_BYTES) as u64).is_err() {
                block.fill(0);
            }
        }
    }
    Ok(bytes)
}

impl<D: Disk> Ledger<D> {
    /// Reads all segments.
    ///
    /// # Errors
    /// The disk failed, or a later version has written the log.
    pub fn load(disk: D) -> Result<Self, OpenError> {
        let mut found: Vec<_> =
            disk.names()?.into_iter().filter_map(|name| Some((parse_name(&name)?, name))).collect();
        found.sort_unstable();
        let last = found.len().saturating_sub(1);
        let mut ledger = Self {
            disk,
            segments: BTreeMap::new(),
            channels: Channels::default(),
            damage: Vec::new(),
            torn: None,
        };
        for (place, ((number, nonce), name)) in found.into_iter().enumerate() {
            ledger.load_segment(number, nonce, name, place == last)?;
        }
        Ok(ledger)
    }

    fn load_segment(
        &mut self,
        number: u32,
        nonce: u32,
        name: String,
        is_last: bool,
    ) -> Result<(), OpenError> {
        let file = self.disk.open(&name)?;
        let bytes = read_all(&file)?;
        let version = record::version(&bytes);
        if let Some(version) = version.filter(|version| *version > record::VERSION) {
            return Err(OpenError::Newer { name, version });
        }
        let mut is_sealed = false;
        // Behind the last record that a group begins with: where the first damage is.
        let mut broken_at = None;
        for piece in Scanner::new(&bytes, nonce, HEADER_BYTES) {
            match piece {
                Piece::Record { record, .. } => {
                    is_sealed = record.kind == Kind::End;
                    broken_at = broken_at.filter(|_| !record.is_first);
                }
                Piece::Damage { at, .. } => {
                    is_sealed = false;
                    broken_at = broken_at.or(Some(at));
                }
            }
        }
        let mut cut = bytes.len();
        if is_last && !is_sealed {
            let broken_at = broken_at.map(|at| at as usize);
            let headless = version.is_none() && broken_at.unwrap_or(cut) <= HEADER_BYTES;
            cut = if headless { 0 } else { broken_at.unwrap_or(cut) };
            if cut < bytes.len() {
                let (at, bytes) = (cut as u64, (bytes.len() - cut) as u64);
                self.torn = Some(Damage { name: name.clone(), at, bytes });
            }
        }
        if version.is_none() && cut > 0 {
            self.damage.push(Damage { name: name.clone(), at: 0, bytes: HEADER_BYTES as u64 });
        }
        let length = cut as u32;
        self.segments.insert(number, Segment { name: name.clone(), file, nonce, length, live: 0, is_sealed });
        for piece in Scanner::new(&bytes[..cut], nonce, HEADER_BYTES) {
            let (at, length, understood) = match piece {
                Piece::Record { at, bytes, record } => {
                    (at, bytes, self.apply(&record, Place { segment: number, at, bytes }))
                }
                Piece::Damage { at, bytes } => (at, bytes, false),
            };
            if !understood {
                self.damage.push(Damage { name: name.clone(), at: at.into(), bytes: length.into() });
            }
        }
        if !is_last && !is_sealed {
            self.damage.push(Damage { name, at: cut as u64, bytes: 0 });
        }
        Ok(())
    }

    /// Takes a record in; false: it makes no sense.
    fn apply(&mut self, record: &Record<'_>, place: Place) -> bool {
        match record.kind {
            Kind::End => true,
            Kind::Publication => {
                let known =
                    self.channels.get(record.channel).is_some_and(|known| known.epoch == record.epoch);
                if !known {
                    let retention =
                        Retention { age_ms: LOG_ORPHAN_MS, forget_ms: LOG_ORPHAN_MS, ..Retention::ALL };
                    let mut channel = Channel::new(record.epoch, record.offset.saturating_sub(1), retention);
                    channel.floor = 0;
                    self.begin(record.channel, channel);
                }
                self.add(record.channel, Entry { offset: record.offset, unix_ms: record.unix_ms, place });
                true
            }
            Kind::Position => {
                let Some((floor, retention)) = record::read_position(record.rest) else { return false };
                let known =
                    self.channels.get(record.channel).is_some_and(|known| known.epoch == record.epoch);
                if !known {
                    let mut channel = Channel::new(record.epoch, record.offset, retention);
                    channel.floor = 0;
                    self.begin(record.channel, channel);
                }
                if let Some(channel) = self.channels.get_mut(record.channel) {
                    channel.floor = channel.floor.max(floor);
                    channel.retention = retention;
                    channel.top = channel.top.max(record.offset);
                    channel.published_ms = channel.published_ms.max(record.unix_ms);
                }
                self.place_position(record.channel, record.offset, place);
                true
            }
        }
    }

    /// A channel begins, or begins again.
    pub(super) fn begin(&mut self, name: &str, channel: Channel) {
        if let Some(old) = self.channels.begin(name, channel) {
            self.release(&old);
        }
    }

    /// A channel is forgotten.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(old) = self.channels.forget(name) {
            self.release(&old);
        }
    }

    fn release(&mut self, channel: &Channel) {
        let places = channel.entries.iter().map(|entry| entry.place).chain(channel.position);
        places.for_each(|place| self.weigh(place, false));
    }

    /// A publication of a known channel lies at its entry's place.
    pub(super) fn add(&mut self, name: &str, entry: Entry) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let old = channel.insert(entry);
        self.channels.entries += u64::from(old.is_none());
        self.weigh(entry.place, true);
        if let Some(old) = old {
            self.weigh(old.place, false);
        }
    }

    /// The position of a known channel lies there now.
    pub(super) fn place_position(&mut self, name: &str, recorded_top: u64, place: Place) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let old = channel.position.replace(place);
        channel.recorded_top = recorded_top;
        self.weigh(place, true);
        if let Some(old) = old {
            self.weigh(old, false);
        }
    }

    fn weigh(&mut self, place: Place, is_alive: bool) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            let bytes = u64::from(place.bytes);
            segment.live = if is_alive { segment.live + bytes } else { segment.live.saturating_sub(bytes) };
        }
    }

    /// Takes out of a channel what retention does not want, and the channel itself when nobody wants it; how many publications
    /// went.
    pub(super) fn retire(&mut self, name: &str, unix_ms: u64) -> u64 {
        let mut gone = 0;
        while let Some(entry) = self.channels.get_mut(name).and_then(|channel| channel.pop(unix_ms)) {
            self.channels.entries -= 1;
            self.weigh(entry.place, false);
            gone += 1;
        }
        if self.channels.get(name).is_some_and(|channel| channel.is_forgotten(unix_ms)) {
            self.forget(name);
        }
        gone
    }

    /// The same for all channels.
    pub fn retire_all(&mut self, unix_ms: u64) {
        for name in self.channels.names() {
            self.retire(&name, unix_ms);
        }
    }

    /// Reads what is kept of a channel, at most [`LOG_READ_BYTES_MAX`]. A record that is damaged by now is reported and given
    /// up.
    ///
    /// # Errors
    /// The disk failed.
    pub fn read(&mut self, read: &Read) -> io::Result<Found> {
        let Some(channel) = self.channels.get(&read.channel) else { return Ok(Found::default()) };
        let position = Position { epoch: channel.epoch, sequence: channel.top };
        let mut found = Found { position, floor: channel.floor, ..Found::default() };
        if read.epoch.is_some_and(|epoch| epoch != channel.epoch) {
            return Ok(found);
        }
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        let mut take = |entry: &Entry| {
            bytes += entry.place.bytes as usize;
            let fits = wanted.len() < read.count && (wanted.is_empty() || bytes <= LOG_READ_BYTES_MAX);
            if fits {
                wanted.push(*entry);
            }
            fits
        };
        found.has_more = if read.reverse {
            let end = channel.entries.partition_point(|entry| entry.offset < read.since);
            !channel.entries.range(..end).rev().all(&mut take)
        } else {
            let start = channel.entries.partition_point(|entry| entry.offset <= read.since);
            !channel.entries.range(start..).all(&mut take)
        };
        for entry in wanted {
            match self.publication(&read.channel, position.epoch, entry)? {
                Some(data) => {
                    found.publications.push(Kept { offset: entry.offset, unix_ms: entry.unix_ms, data });
                }
                None => {
                    found.damaged += 1;
                    self.give_up(&read.channel, entry);
                }
            }
        }
        Ok(found)
    }

    /// The data of an entry; `None`: its record is damaged.
    fn publication(&self, channel: &str, epoch: u32, entry: Entry) -> io::Result<Option<Arc<[u8]>>> {
        let Place { segment, at, bytes } = entry.place;
        let Some(segment) = self.segments.get(&segment) else { return Ok(None) };
        let mut raw = vec![0; bytes as usize];
        segment.file.read_at(&mut raw, at.into())?;
        let record = Record::read(segment.nonce, at, &raw).filter(|record| {
            record.kind == Kind::Publication
                && (record.channel, record.epoch, record.offset) == (channel, epoch, entry.offset)
        });
        Ok(record.map(|record| record.rest.into()))
    }

    fn give_up(&mut self, name: &str, entry: Entry) {
        let Place { segment, at, bytes } = entry.place;
        if let Some(segment) = self.segments.get(&segment) {
            self.damage.push(Damage { name: segment.name.clone(), at: at.into(), bytes: bytes.into() });
        }
        let gone = self.channels.get_mut(name).and_then(|channel| channel.remove(entry.offset));
        self.channels.entries -= u64::from(gone.is_some());
        self.weigh(entry.place, false);
    }

    /// Every channel.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.channels.recorded().collect()
    }

    /// Every segment.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentReport> {
        let report = |segment: &Segment<D::File>| SegmentReport {
            name: segment.name.clone(),
            bytes: segment.length.into(),
            live_bytes: segment.live,
            is_sealed: segment.is_sealed,
        };
        self.segments.values().map(report).collect()
    }

    /// What is damaged, as far as it was found.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Where the last writing broke off, if it did: nobody was told of what was written there.
    #[must_use]
    pub fn torn(&self) -> Option<&Damage> {
        self.torn.as_ref()
    }

    /// Whether it was ended in order.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.segments.last_key_value().is_none_or(|(_, segment)| segment.is_sealed)
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| u64::from(segment.length)).sum()
    }

    /// Bytes of all records that are alive.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.live).sum()
    }
}

const _: () = assert!(RECORD_OVERHEAD_BYTES < BLOCK_BYTES);
