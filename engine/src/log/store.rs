//! The log on a disk of this node: groups of records at the end of the last segment.
//!
//! Invariants: a group is acknowledged after its sync, and the next is written after that; a group that failed is cut off again,
//! durably, before another one is written; so a failed offset is nowhere, and a sync that failed is never asked a second time for the same bytes.

use std::collections::HashMap;
use std::hash::Hasher;
use std::io;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::Log;
use super::channels::{Channel, Entry, Place};
use super::cleaning::Cleaning;
use super::disk::{Disk, SegmentFile};
use super::group::Group;
use super::ledger::{Ledger, OpenError, Segment, segment_name};
use super::record::{HEADER_BYTES, Kind, POSITION_BYTES, RECORD_OVERHEAD_BYTES, Record, header};
use super::tally::LogTally;
use super::values::{After, Append, Failure, Found, Read, Recorded, Retention, Trim};
use crate::limits::{
    LOG_CHANNEL_BYTES_MAX, LOG_ENTRIES_MAX, LOG_FREE_BYTES_MIN, LOG_GROUP_WRITE_BYTES_MAX,
    LOG_RECORD_BYTES_MAX, LOG_SEGMENT_BYTES, LOG_SWEPT_CHANNELS,
};

/// What a log may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes of all segments.
    pub bytes_max: u64,
    /// Bytes that it leaves free on the disk.
    pub free_bytes_min: u64,
    /// Bytes of one segment, from which on another one is begun.
    pub segment_bytes: u32,
    /// Publications kept; each has an entry in memory.
    pub entries_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 30,
            free_bytes_min: LOG_FREE_BYTES_MIN,
            segment_bytes: LOG_SEGMENT_BYTES,
            entries_max: LOG_ENTRIES_MAX,
        }
    }
}

/// The log on a disk.
#[derive(Debug)]
pub struct Store<D: Disk> {
    pub(super) ledger: Ledger<D>,
    pub(super) options: Options,
    /// Nonces are drawn from it.
    secret: u64,
    /// The last segment may have bytes behind its length that must go first.
    is_dirty: bool,
    /// A file that was to be a segment, and could not even be removed.
    leftover: Option<String>,
    pub(super) cleaning: Option<Cleaning>,
    pub(super) tally: LogTally,
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Failure::Full
        }
        _ => Failure::Disk,
    }
}

/// Bytes of an append's records.
fn weight(append: &Append) -> usize {
    let overhead = RECORD_OVERHEAD_BYTES + append.channel.len();
    append.publications.iter().map(|kept| overhead + kept.data.len()).sum::<usize>()
        + overhead
        + POSITION_BYTES
}

impl<D: Disk> Store<D> {
    /// Opens the log of a disk, or begins one. What broke off when the last one ended is removed. `secret` is random.
    ///
    /// # Errors
    /// The disk failed, or a later version has written the log.
    pub fn open(disk: D, options: Options, secret: u64, unix_ms: u64) -> Result<Self, OpenError> {
        let ledger = Ledger::load(disk)?;
        let mut store = Self {
            ledger,
            options,
            secret,
            is_dirty: true,
            leftover: None,
            cleaning: None,
            tally: LogTally::default(),
        };
        store.tally.damaged = store.ledger.damage.len() as u64;
        store.unseal();
        store.renew()?;
        store.repair()?;
        store.ledger.disk.sync_names()?;
        store.ledger.retire_all(unix_ms);
        Ok(store)
    }

    /// What was read at the start, and what was found since.
    #[must_use]
    pub fn ledger(&self) -> &Ledger<D> {
        &self.ledger
    }

    /// A last segment with room is gone on with, or each start would leave a small one behind.
    fn unseal(&mut self) {
        let Some(mut last) = self.ledger.segments.last_entry() else { return };
        let segment = last.get_mut();
        if segment.is_sealed && segment.length < self.options.segment_bytes / 2 {
            segment.length -= Record::END.bytes() as u32;
            segment.is_sealed = false;
        }
    }

    /// Writes the last segment once more. A sync may have failed before the process ended; the kernel takes what it could not write then
    /// for written, shows it, and no later sync would bring it to the disk.
    fn renew(&mut self) -> io::Result<()> {
        let Some(mut last) = self.ledger.segments.last_entry() else { return Ok(()) };
        let segment = last.get_mut();
        let mut bytes = vec![0; segment.length as usize];
        if segment.file.read_at(&mut bytes, 0).is_err() {
            // Damage, which was found already; nothing is to be written over what cannot be read.
            return Ok(());
        }
        segment.file.write_at(&bytes, 0)
    }

    /// Cuts off whatever lies behind the last group that was acknowledged.
    fn repair(&mut self) -> io::Result<()> {
        if let Some(name) = &self.leftover {
            match self.ledger.disk.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => self.leftover = None,
            }
        }
        let Some(mut last) = self.ledger.segments.last_entry() else {
            self.is_dirty = false;
            return Ok(());
        };
        if (last.get().length as usize) < HEADER_BYTES {
            let name = last.get().name.clone();
            self.ledger.disk.remove(&name)?;
            last.remove();
        } else {
            let segment = last.get_mut();
            if segment.file.length()? > segment.length.into() {
                segment.file.truncate(segment.length.into())?;
            }
            // After a crash of the process, what was read may be in the kernel's memory only.
            segment.file.sync()?;
        }
        self.is_dirty = false;
        Ok(())
    }

    fn nonce(&self, number: u32) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(self.secret, u64::from(number));
        hasher.write_u32(number);
        hasher.finish() as u32
    }

    /// A group of so many bytes at most, in the last segment or a new one.
    pub(super) fn begin_group(&mut self, bytes: usize) -> Result<Group, Failure> {
        let begun = self.ready_segment(bytes).map_err(|error| failure(&error));
        begun.inspect_err(|_| self.is_dirty = true)
    }

    fn ready_segment(&mut self, bytes: usize) -> io::Result<Group> {
        if self.is_dirty {
            self.repair()?;
        }
        let limit = self.options.segment_bytes as usize;
        let last = self.ledger.segments.last_entry().map(|mut last| {
            let segment = last.get_mut();
            let is_full = segment.length as usize > HEADER_BYTES && segment.length as usize + bytes > limit;
            (*last.key(), is_full, last.get().is_sealed)
        });
        match last {
            Some((_, false, false)) => {}
            Some((number, is_full, is_sealed)) => {
                if is_full && !is_sealed {
                    self.seal()?;
                }
                self.begin_segment(number + 1)?;
            }
            None => self.begin_segment(1)?,
        }
        let Some((number, segment)) = self.ledger.segments.last_key_value() else {
            return Err(io::Error::other("no segment was begun"));
        };
        Ok(Group::new(*number, segment.nonce, segment.length, bytes))
    }

    fn begin_segment(&mut self, number: u32) -> io::Result<()> {
        let nonce = self.nonce(number);
        let name = segment_name(number, nonce);
        let made = self.ledger.disk.create(&name).and_then(|mut file| {
            file.write_at(&header(number, nonce), 0)?;
            file.sync()?;
            self.ledger.disk.sync_names()?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let length = HEADER_BYTES as u32;
                let segment = Segment { name, file, nonce, length, live: 0, is_sealed: false };
                self.ledger.segments.insert(number, segment);
                Ok(())
            }
            Err(error) => {
                self.leftover = Some(name);
                Err(error)
            }
        }
    }

    /// Writes the last record of the last segment.
    fn seal(&mut self) -> io::Result<()> {
        let Some(mut last) = self.ledger.segments.last_entry() else { return Ok(()) };
        let segment = last.get_mut();
        if segment.is_sealed {
            return Ok(());
        }
        let mut bytes = Vec::new();
        Record::END.write(segment.nonce, segment.length, &mut bytes);
        segment.file.write_at(&bytes, segment.length.into())?;
        segment.file.sync()?;
        segment.length += bytes.len() as u32;
        segment.is_sealed = true;
        Ok(())
    }

    /// Makes a group durable.
    pub(super) fn commit(&mut self, group: &Group) -> Result<(), Failure> {
        if group.is_empty() {
            return Ok(());
        }
        let Some(segment) = self.ledger.segments.get_mut(&group.number) else { return Err(Failure::Disk) };
        let written =
            segment.file.write_at(&group.bytes, group.base.into()).and_then(|()| segment.file.sync());
        match written {
            Ok(()) => {
                segment.length += group.bytes.len() as u32;
                self.tally.groups += 1;
                self.tally.bytes += group.bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.is_dirty = true;
                // At once if possible: what failed is then nowhere, and a full disk has its room back.
                let _ = self.repair();
                Err(failure(&error))
            }
        }
    }

    /// Which appends of a group make sense, and the bytes of those.
    fn judge(&self, group: &[Append]) -> (Vec<Result<(), Failure>>, usize) {
        let mut given: HashMap<&str, (u32, u64)> = HashMap::with_capacity(group.len());
        let mut bytes = 0;
        let judged = group.iter().map(|append| {
            let known = given.get(&*append.channel).copied();
            let known = known.or_else(|| {
                self.ledger.channels.get(&append.channel).map(|channel| (channel.epoch, channel.top))
            });
            let top = judge_one(append, known)?;
            given.insert(&append.channel, (append.epoch, top));
            bytes += weight(append);
            Ok(())
        });
        let judged = judged.collect();
        (judged, bytes)
    }

    /// Whether there is room for so many bytes and publications.
    fn room(&self, bytes: usize, publications: usize) -> Result<(), Failure> {
        let bytes = bytes as u64;
        let is_over = self.ledger.bytes() + bytes > self.options.bytes_max
            || self.ledger.channels.entries + publications as u64 > self.options.entries_max;
        let free = self.ledger.disk.free_bytes().map_err(|error| failure(&error))?;
        if is_over || free < self.options.free_bytes_min.saturating_add(bytes) {
            return Err(Failure::Full);
        }
        Ok(())
    }

    /// Writes what makes sense of a group.
    fn write(
        &mut self,
        group: &[Append],
        judged: &[Result<(), Failure>],
        bytes: usize,
        unix_ms: u64,
    ) -> Result<(), Failure> {
        let good = || group.iter().zip(judged).filter(|(_, judged)| judged.is_ok()).map(|(append, _)| append);
        self.room(bytes, good().map(|append| append.publications.len()).sum())?;
        let mut written = self.begin_group(bytes)?;
        // Channels as the group changes them, so that a position is written once.
        let mut retained: HashMap<&str, (u32, Retention)> = HashMap::new();
        let mut changes = Vec::with_capacity(group.len());
        for append in good() {
            let known = retained.get(&*append.channel).copied().or_else(|| {
                self.ledger.channels.get(&append.channel).map(|channel| (channel.epoch, channel.retention))
            });
            let mut position = None;
            if known != Some((append.epoch, append.retention)) || matches!(append.after, After::Start(_)) {
                position = Some(self.push_position(&mut written, append, unix_ms));
                retained.insert(&append.channel, (append.epoch, append.retention));
            }
            let entries = append.publications.iter().map(|kept| {
                let place = written.push(&Record {
                    kind: Kind::Publication,
                    is_first: false,
                    channel: &append.channel,
                    epoch: append.epoch,
                    offset: kept.offset,
                    unix_ms: kept.unix_ms,
                    rest: &kept.data,
                });
                Entry { offset: kept.offset, unix_ms: kept.unix_ms, place }
            });
            changes.push((append, position, entries.collect::<Vec<_>>()));
        }
        self.commit(&written)?;
        for (append, position, entries) in changes {
            self.apply(append, position, &entries, unix_ms);
        }
        // When all is applied: of several retentions in one group the last counts, here as after a restart.
        for append in good() {
            self.tally.trimmed += self.ledger.retire(&append.channel, unix_ms);
        }
        Ok(())
    }

    /// The position that an append brings with it, from before its publications.
    fn push_position(&self, written: &mut Group, append: &Append, unix_ms: u64) -> (Place, u64) {
        let (After::Start(top) | After::Offset(top)) = append.after;
        let mut channel = Channel::new(append.epoch, top, append.retention);
        if matches!(append.after, After::Offset(_)) {
            // One that the same group has begun has its floor recorded already.
            let known = self.ledger.channels.get(&append.channel).filter(|known| known.epoch == append.epoch);
            channel.floor = known.map_or(0, |known| known.floor);
        }
        (written.push_position(&append.channel, &channel, time_of(append, unix_ms)), top)
    }

    fn apply(&mut self, append: &Append, position: Option<(Place, u64)>, entries: &[Entry], unix_ms: u64) {
        if let After::Start(top) = append.after {
            let mut channel = Channel::new(append.epoch, top, append.retention);
            channel.published_ms = time_of(append, unix_ms);
            self.ledger.begin(&append.channel, channel);
        }
        if let Some((place, top)) = position {
            self.ledger.place_position(&append.channel, top, place);
        }
        if let Some(channel) = self.ledger.channels.get_mut(&append.channel) {
            channel.retention = append.retention;
        }
        for entry in entries {
            self.ledger.add(&append.channel, *entry);
        }
        self.tally.publications += entries.len() as u64;
    }
}

/// When an append was published; one without publications now.
fn time_of(append: &Append, unix_ms: u64) -> u64 {
    append.publications.last().map_or(unix_ms, |kept| kept.unix_ms)
}

/// Whether an append may follow what is known of its channel; its top afterwards.
fn judge_one(append: &Append, known: Option<(u32, u64)>) -> Result<u64, Failure> {
    let before = match (append.after, known) {
        (After::Start(_), Some((epoch, _))) if epoch == append.epoch => return Err(Failure::Stale),
        (After::Start(top), _) => top,
        (After::Offset(offset), Some((epoch, top))) if epoch == append.epoch => match offset.cmp(&top) {
            std::cmp::Ordering::Less => return Err(Failure::Stale),
            std::cmp::Ordering::Equal => top,
            std::cmp::Ordering::Greater => return Err(Failure::Unfollowed),
        },
        // Its epoch did not get as far as the disk, or is over.
        (After::Offset(_), _) => return Err(Failure::Unfollowed),
    };
    let mut top = before;
    for kept in &append.publications {
        if kept.offset <= top || kept.offset == u64::MAX {
            return Err(Failure::Stale);
        }
        if RECORD_OVERHEAD_BYTES + append.channel.len() + kept.data.len() > LOG_RECORD_BYTES_MAX {
            return Err(Failure::TooLarge);
        }
        top = kept.offset;
    }
    if weight(append) > LOG_GROUP_WRITE_BYTES_MAX || append.channel.len() > LOG_CHANNEL_BYTES_MAX {
        return Err(Failure::TooLarge);
    }
    Ok(top)
}

impl<D: Disk> Log for Store<D> {
    fn recorded(&self) -> Vec<Recorded> {
        self.ledger.recorded()
    }

    fn append(&mut self, group: &[Append], unix_ms: u64) -> Vec<Result<u64, Failure>> {
        // What is too old by the retention so far stays so, even if more is kept from now on.
        for append in group {
            self.tally.trimmed += self.ledger.retire(&append.channel, unix_ms);
        }
        let (judged, bytes) = self.judge(group);
        let written = if bytes == 0 { Ok(()) } else { self.write(group, &judged, bytes, unix_ms) };
        let answers = group.iter().zip(judged).map(|(append, judged)| {
            let (After::Start(before) | After::Offset(before)) = append.after;
            judged.and(written).map(|()| append.publications.last().map_or(before, |kept| kept.offset))
        });
        let answers: Vec<_> = answers.collect();
        for failure in answers.iter().filter_map(|answer| answer.err()) {
            self.tally.failed[failure as usize] += 1;
        }
        answers
    }

    fn read(&mut self, read: &Read, unix_ms: u64) -> Result<Found, Failure> {
        self.tally.trimmed += self.ledger.retire(&read.channel, unix_ms);
        let found = self.ledger.read(read).map_err(|error| failure(&error))?;
        self.tally.read += found.publications.len() as u64;
        self.tally.damaged += found.damaged;
        Ok(found)
    }

    fn trim(&mut self, trim: &Trim, unix_ms: u64) -> Result<(), Failure> {
        let Some(known) = self.ledger.channels.get(&trim.channel) else { return Ok(()) };
        let mut channel = Channel::new(known.epoch, known.top, trim.retention.unwrap_or(known.retention));
        channel.floor = known.floor.max(trim.below.min(known.top + 1));
        let published_ms = known.published_ms;
        let mut group = self.begin_group(RECORD_OVERHEAD_BYTES + trim.channel.len() + POSITION_BYTES)?;
        let place = group.push_position(&trim.channel, &channel, published_ms);
        self.commit(&group)?;
        if let Some(known) = self.ledger.channels.get_mut(&trim.channel) {
            known.floor = channel.floor;
            known.retention = channel.retention;
        }
        self.ledger.place_position(&trim.channel, channel.top, place);
        self.tally.trimmed += self.ledger.retire(&trim.channel, unix_ms);
        Ok(())
    }

    fn tend(&mut self, unix_ms: u64) -> bool {
        if self.is_dirty {
            let _ = self.repair();
        }
        let names: Vec<Arc<str>> = self.ledger.channels.look_at(LOG_SWEPT_CHANNELS);
        for name in names {
            self.tally.trimmed += self.ledger.retire(&name, unix_ms);
        }
        self.clean()
    }

    fn tally(&mut self) -> &mut LogTally {
        &mut self.tally
    }

    fn take_tally(&mut self) -> LogTally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.disk_bytes = self.ledger.bytes();
        tally.live_bytes = self.ledger.live_bytes();
        tally.channels = self.ledger.channels.len() as u64;
        tally.entries = self.ledger.channels.entries;
        tally
    }

    fn close(&mut self) {
        if self.is_dirty && self.repair().is_err() {
            return;
        }
        // Without it the next start looks for what broke off, and finds nothing.
        let _ = self.seal();
    }
}
