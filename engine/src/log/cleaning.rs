//! How room is won back: a segment of which little is alive is read once more, what is alive is written to the end, and it goes.
//!
//! Invariants: a segment goes when all that was alive in it is durable elsewhere, the positions of its channels above all: no offset
//! is given twice because the record of the last one went.

use super::channels::{Entry, Place};
use super::disk::Disk;
use super::group::Group;
use super::ledger::read_all;
use super::record::{HEADER_BYTES, Kind, POSITION_BYTES, Piece, RECORD_OVERHEAD_BYTES, Record, Scanner};
use super::store::Store;
use super::values::Failure;
use crate::limits::LOG_CLEANED_BYTES;

/// A segment that is being cleaned.
#[derive(Debug)]
pub(super) struct Cleaning {
    number: u32,
    nonce: u32,
    bytes: Vec<u8>,
    at: usize,
}

/// What a written record changes.
enum Change {
    Entry(Entry),
    Position(u64, Place),
}

impl<D: Disk> Store<D> {
    /// A step of cleaning; true: more is to be done.
    pub(super) fn clean(&mut self) -> bool {
        let Some(mut cleaning) = self.cleaning.take().or_else(|| self.choose()) else { return false };
        match self.carry_over(&mut cleaning) {
            Ok(true) => self.remove(cleaning.number),
            Ok(false) => {
                self.cleaning = Some(cleaning);
                true
            }
            // What was carried over stays valid; it begins anew when the disk is well.
            Err(_) => {
                self.tally.cleaning_failed += 1;
                false
            }
        }
    }

    /// The segment whose cleaning wins most, if that is due.
    fn choose(&self) -> Option<Cleaning> {
        let (total, live) = (self.ledger.bytes(), self.ledger.live_bytes());
        let dead = total.saturating_sub(live);
        let segment_bytes = u64::from(self.options.segment_bytes);
        let is_tight = total + 2 * segment_bytes > self.options.bytes_max;
        let is_due = dead > live / 2 + 2 * segment_bytes || (is_tight && dead > segment_bytes / 4);
        let sealed = self.ledger.segments.iter().filter(|(_, segment)| segment.is_sealed);
        let (number, segment) =
            sealed.min_by_key(|(_, segment)| segment.live * 1_000 / u64::from(segment.length.max(1)))?;
        let is_worth_it = segment.live < u64::from(segment.length) / 20 * 19;
        if segment.live > 0 && !(is_due && is_worth_it) {
            return None;
        }
        let bytes = read_all(&segment.file).ok()?;
        Some(Cleaning { number: *number, nonce: segment.nonce, bytes, at: HEADER_BYTES })
    }

    /// Writes what is alive of the next part of the segment; true: that was the last.
    fn carry_over(&mut self, cleaning: &mut Cleaning) -> Result<bool, Failure> {
        let Cleaning { number, nonce, bytes, at } = cleaning;
        let end = (*at + LOG_CLEANED_BYTES).min(bytes.len());
        // A record for each, and a position for each of them at most.
        let scanned = || Scanner::new(bytes, *nonce, *at).take_while(|piece| start(piece) < end);
        let weight: usize = scanned()
            .map(|piece| match piece {
                Piece::Record { record, .. } => {
                    record.bytes() + RECORD_OVERHEAD_BYTES + record.channel.len() + POSITION_BYTES
                }
                Piece::Damage { .. } => 0,
            })
            .sum();
        let mut group = self.begin_group(weight)?;
        let mut changes = Vec::new();
        let mut next = bytes.len();
        for piece in Scanner::new(bytes, *nonce, *at) {
            if start(&piece) >= end {
                next = start(&piece);
                break;
            }
            let Piece::Record { at, record, .. } = piece else { continue };
            self.carry_record(&mut group, (*number, at), &record, &mut changes);
        }
        self.commit(&group)?;
        for (channel, change) in changes {
            match change {
                Change::Entry(entry) => self.ledger.add(channel, entry),
                Change::Position(top, place) => self.ledger.place_position(channel, top, place),
            }
        }
        *at = next;
        Ok(next >= bytes.len())
    }

    fn carry_record<'a>(
        &self,
        group: &mut Group,
        from: (u32, u32),
        record: &Record<'a>,
        changes: &mut Vec<(&'a str, Change)>,
    ) {
        let known = self.ledger.channels.get(record.channel);
        let Some(channel) = known.filter(|known| known.epoch == record.epoch) else { return };
        let lies_here = |place: Place| (place.segment, place.at) == from;
        if record.kind == Kind::Publication {
            let entry = channel.entry(record.offset).filter(|entry| lies_here(entry.place));
            if let Some(entry) = entry {
                let place = group.push(record);
                changes.push((record.channel, Change::Entry(Entry { place, ..entry })));
            }
        }
        // The position goes along, and also where only the record of a publication tells how far the channel is.
        let holds_top = record.offset == channel.top && channel.recorded_top < channel.top;
        let is_alive = record.kind == Kind::Publication && channel.entry(record.offset).is_some();
        let is_needed = match record.kind {
            Kind::Position => channel.position.is_some_and(lies_here),
            Kind::Publication => holds_top && !is_alive,
            Kind::End => false,
        };
        if is_needed {
            let place = group.push_position(record.channel, channel, channel.published_ms);
            changes.push((record.channel, Change::Position(channel.top, place)));
        }
    }

    /// Removes a segment of which nothing is alive any more; false if the disk does not want to.
    fn remove(&mut self, number: u32) -> bool {
        let Some(segment) = self.ledger.segments.get(&number) else { return true };
        debug_assert_eq!(segment.live, 0, "{} has records that were not carried over", segment.name);
        if self.ledger.disk.remove(&segment.name).is_err() {
            self.tally.cleaning_failed += 1;
            return false;
        }
        self.ledger.segments.remove(&number);
        self.tally.cleaned += 1;
        // Should it come back after a crash, everything in it was said again later, or is over.
        self.ledger.disk.sync_names().is_ok()
    }
}

fn start(piece: &Piece<'_>) -> usize {
    let (Piece::Record { at, .. } | Piece::Damage { at, .. }) = piece;
    *at as usize
}
