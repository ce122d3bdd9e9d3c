//! What an owner keeps of its channels' publications: a ring for each stream, bounded by count, bytes and age.
//!
//! Invariants: the offsets of a ring have no hole, and its last one is the stream's top, unless it is empty; a stream that a
//! record is open for is never forgotten, only emptied; what all of them take is bounded, and what goes for it is counted;
//! nothing looks at all of them in one turn.
//!
//! ```text
//! open ──> empty ── append ──> kept ── ttl, ceiling ──> empty ── no record, meta ttl or ceiling ──> (forgotten: the next
//!            ^── count, bytes: the oldest go ──┘                                                       one has a new epoch)
//! ```

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use roadstead_protocol::ErrorCode;
use slab::Slab;

use crate::flow::{Claim, Found, Position, Publication, Reading, Stored};
use crate::limits::{
    READ_BYTES_MAX, STORED_OVERHEAD_BYTES, STREAM_OVERHEAD_BYTES, STREAMS_SWEPT_PER_TURN, STREAMS_TRIED,
    SWEEP_EVERY_MS, SWEEP_MS,
};
use crate::settings::{History, Settings, split_name};

const NONE: u32 = u32::MAX;

/// What is kept of which channels.
#[derive(Debug)]
pub(super) struct Keeping<S> {
    without_namespace: History,
    namespaces: HashMap<String, History, S>,
    is_any_on: bool,
}

impl<S: BuildHasher> Keeping<S> {
    /// Nothing of any.
    pub(super) fn nothing(hasher: S) -> Self {
        let namespaces = HashMap::with_hasher(hasher);
        Self { without_namespace: History::default(), namespaces, is_any_on: false }
    }

    /// As the settings say from now on.
    pub(super) fn learn(&mut self, settings: &Settings) {
        self.without_namespace = settings.channel.history;
        self.namespaces.clear();
        let kept = settings.namespaces.iter().filter(|(_, rules)| rules.history.is_on());
        self.namespaces.extend(kept.map(|(name, rules)| (name.clone(), rules.history)));
        self.is_any_on = self.without_namespace.is_on() || !self.namespaces.is_empty();
    }

    /// What is kept of a channel; `None`: nothing.
    pub(super) fn of(&self, channel: &str) -> Option<History> {
        if !self.is_any_on {
            return None;
        }
        let history = match split_name(channel).0 {
            None => self.without_namespace,
            Some(namespace) => *self.namespaces.get(namespace)?,
        };
        history.is_on().then_some(history)
    }
}

#[derive(Debug)]
struct Stream {
    name: Arc<str>,
    epoch: u32,
    top: u64,
    kept: VecDeque<Arc<Publication>>,
    bytes: usize,
    /// When the last publication came, or the stream was made.
    published_ms: u64,
    /// Neighbours in the order of that time.
    previous: u32,
    next: u32,
    /// The channel has a record.
    is_open: bool,
}

impl Stream {
    fn position(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.top }
    }

    /// The offset of the oldest publication that is kept; above the top: none is.
    fn first(&self) -> u64 {
        self.top + 1 - self.kept.len() as u64
    }

    fn stored(&self, offset: u64) -> Stored {
        let place = (offset - self.first()) as usize;
        Stored { offset, publication: Arc::clone(&self.kept[place]) }
    }
}

/// What streams count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamTally {
    /// Publications dropped since there were too many of their channel.
    pub dropped_count: u64,
    /// Since they took too much memory of their channel's.
    pub dropped_bytes: u64,
    /// Since their time was over.
    pub dropped_age: u64,
    /// Since all streams of the shard took too much.
    pub dropped_ceiling: u64,
    /// Since the node does not own the channel any more, or its history was switched off.
    pub dropped_moved: u64,
    /// Streams forgotten with their epochs, since nothing was published for long, or there were too many.
    pub forgotten: u64,
}

/// Why publications go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Count,
    Bytes,
    Age,
    Ceiling,
    Moved,
}

/// All streams of an owner's hub.
#[derive(Debug)]
pub(super) struct Streams<S> {
    all: Slab<Stream>,
    names: HashTable<u32>,
    hasher: S,
    bytes: usize,
    bytes_max: usize,
    publications: usize,
    /// The stream that was silent longest, and the one that was not.
    oldest: u32,
    newest: u32,
    /// The next place that the sweep looks at.
    hand: u32,
    swept_ms: u64,
    tally: StreamTally,
}

impl<S: BuildHasher> Streams<S> {
    /// None yet.
    pub(super) fn new(hasher: S) -> Self {
        Self {
            all: Slab::new(),
            names: HashTable::new(),
            hasher,
            bytes: 0,
            bytes_max: usize::MAX,
            publications: 0,
            oldest: NONE,
            newest: NONE,
            hand: 0,
            swept_ms: 0,
            tally: StreamTally::default(),
        }
    }

    /// Bounds what all of them take, from the next publication on.
    pub(super) fn bound(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Streams.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Publications kept.
    pub(super) fn publications(&self) -> usize {
        self.publications
    }

    /// Memory of all, bytes, as it is reckoned.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was counted since the last call.
    pub(super) fn take_tally(&mut self) -> StreamTally {
        std::mem::take(&mut self.tally)
    }

    /// The stream of a channel whose record was opened; a new one has the epoch that is drawn.
    pub(super) fn open(&mut self, name: &Arc<str>, draw: impl FnOnce() -> u32, now_ms: u64) -> u32 {
        let place = match self.find(name) {
            Some(place) => place,
            None => self.add(name, Position::draw(draw(), true), now_ms),
        };
        self.all[place as usize].is_open = true;
        place
    }

    /// The record is closed; the stream stays for its time.
    pub(super) fn close(&mut self, place: u32) {
        self.all[place as usize].is_open = false;
    }

    /// The stream of a channel.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.names.find(hash, |&place| &*self.all[place as usize].name == name).copied()
    }

    /// Where a stream stands.
    pub(super) fn position(&self, place: u32) -> Position {
        self.all[place as usize].position()
    }

    /// Forgets a stream: what it counted on is not true any more.
    pub(super) fn remove(&mut self, place: u32) {
        self.empty(place, Why::Moved);
        self.take_out(place);
    }

    /// The name of the stream at a place that is not open, if there is one: for a walk over all.
    pub(super) fn closed_at(&self, place: u32) -> Option<&Arc<str>> {
        self.all.get(place as usize).filter(|stream| !stream.is_open).map(|stream| &stream.name)
    }

    /// Places that streams may have: below this.
    pub(super) fn places(&self) -> u32 {
        self.all.capacity() as u32
    }

    /// Keeps a publication, which gets the next position.
    pub(super) fn append(
        &mut self,
        place: u32,
        keeping: History,
        publication: Arc<Publication>,
        now_ms: u64,
    ) -> Position {
        self.expire(place, keeping, now_ms);
        let bytes = charge(&publication);
        let stream = &mut self.all[place as usize];
        stream.top += 1;
        stream.kept.push_back(publication);
        stream.bytes += bytes;
        stream.published_ms = now_ms;
        self.bytes += bytes;
        self.publications += 1;
        self.unlink(place);
        self.link(place);
        while self.all[place as usize].kept.len() > keeping.size as usize {
            self.drop_oldest(place, Why::Count);
        }
        while self.all[place as usize].bytes > keeping.bytes as usize && self.drop_oldest(place, Why::Bytes) {
        }
        self.keep_below_ceiling();
        self.position(place)
    }

    /// Reads a stream.
    ///
    /// # Errors
    /// What the client is told.
    pub(super) fn read(
        &mut self,
        place: u32,
        keeping: History,
        reading: &Reading,
        now_ms: u64,
    ) -> Result<Found, ErrorCode> {
        self.expire(place, keeping, now_ms);
        let stream = &self.all[place as usize];
        let position = stream.position();
        let (recovered, publications) = match *reading {
            Reading::Top => (false, Vec::new()),
            Reading::Missed { since, limit } => match missed(stream, since, limit) {
                Some(publications) => (true, publications),
                None => (false, Vec::new()),
            },
            Reading::Latest { since } => {
                let is_current = since.offset > 0
                    && since.offset == stream.top
                    && since.epoch.is_some()
                    && since.fits(stream.epoch);
                match stream.kept.is_empty() {
                    true => (is_current, Vec::new()),
                    false if is_current => (true, Vec::new()),
                    false => (true, vec![stream.stored(stream.top)]),
                }
            }
            Reading::Page { since, limit, reverse } => (false, page(stream, since, limit, reverse)?),
        };
        Ok(Found { position, recovered, publications })
    }

    /// Looks at the next streams, a few each time, for what has had its time.
    pub(super) fn sweep<H: BuildHasher>(&mut self, keeping: &Keeping<H>, now_ms: u64) {
        if self.all.is_empty() || now_ms < self.swept_ms + SWEEP_EVERY_MS {
            return;
        }
        let passed_ms = (now_ms - self.swept_ms).min(SWEEP_MS);
        self.swept_ms = now_ms;
        let places = self.places() as u64;
        let looks = (places * passed_ms / SWEEP_MS + 1).min(STREAMS_SWEPT_PER_TURN as u64);
        for _ in 0..looks {
            let place = self.hand;
            self.hand = if u64::from(place) + 1 >= places { 0 } else { place + 1 };
            let Some(stream) = self.all.get(place as usize) else { continue };
            let Some(history) = keeping.of(&stream.name) else {
                if !stream.is_open {
                    self.remove(place);
                }
                continue;
            };
            let is_forgotten =
                !stream.is_open && now_ms.saturating_sub(stream.published_ms) >= history.meta_ttl_ms;
            self.expire(place, history, now_ms);
            if is_forgotten {
                self.empty(place, Why::Age);
                self.tally.forgotten += 1;
                self.take_out(place);
            }
        }
    }

    /// When the next sweep is due, if there is anything.
    pub(super) fn next_sweep_ms(&self) -> Option<u64> {
        (!self.all.is_empty()).then_some(self.swept_ms + SWEEP_EVERY_MS)
    }

    fn expire(&mut self, place: u32, keeping: History, now_ms: u64) {
        let stream = &self.all[place as usize];
        if !stream.kept.is_empty() && now_ms.saturating_sub(stream.published_ms) >= keeping.ttl_ms {
            self.empty(place, Why::Age);
        }
    }

    fn empty(&mut self, place: u32, why: Why) {
        while self.drop_oldest(place, why) {}
        self.all[place as usize].kept = VecDeque::new();
    }

    /// Takes from who was silent longest. Streams with a record and nothing kept are passed over.
    fn keep_below_ceiling(&mut self) {
        let mut tries = STREAMS_TRIED;
        while self.bytes > self.bytes_max && self.oldest != NONE && tries > 0 {
            let place = self.oldest;
            if self.drop_oldest(place, Why::Ceiling) {
                continue;
            }
            tries -= 1;
            if self.all[place as usize].is_open {
                self.unlink(place);
                self.link(place);
            } else {
                self.tally.forgotten += 1;
                self.take_out(place);
            }
        }
    }

    fn drop_oldest(&mut self, place: u32, why: Why) -> bool {
        let stream = &mut self.all[place as usize];
        let Some(publication) = stream.kept.pop_front() else { return false };
        let bytes = charge(&publication);
        stream.bytes -= bytes;
        self.bytes -= bytes;
        self.publications -= 1;
        *match why {
            Why::Count => &mut self.tally.dropped_count,
            Why::Bytes => &mut self.tally.dropped_bytes,
            Why::Age => &mut self.tally.dropped_age,
            Why::Ceiling => &mut self.tally.dropped_ceiling,
            Why::Moved => &mut self.tally.dropped_moved,
        } += 1;
        true
    }

    fn add(&mut self, name: &Arc<str>, epoch: u32, now_ms: u64) -> u32 {
        let stream = Stream {
            name: Arc::clone(name),
            epoch,
            top: 0,
            kept: VecDeque::new(),
            bytes: 0,
            published_ms: now_ms,
            previous: NONE,
            next: NONE,
            is_open: true,
        };
        let place = self.all.insert(stream) as u32;
        self.bytes += STREAM_OVERHEAD_BYTES + name.len();
        self.link(place);
        let (all, hasher) = (&self.all, &self.hasher);
        let hash = hasher.hash_one(&**name);
        self.names.insert_unique(hash, place, |&place| hasher.hash_one(&*all[place as usize].name));
        self.keep_below_ceiling();
        place
    }

    fn take_out(&mut self, place: u32) {
        self.unlink(place);
        let stream = self.all.remove(place as usize);
        self.bytes -= STREAM_OVERHEAD_BYTES + stream.name.len();
        let hash = self.hasher.hash_one(&*stream.name);
        if let Ok(entry) = self.names.find_entry(hash, |&other| other == place) {
            entry.remove();
        }
    }

    fn unlink(&mut self, place: u32) {
        let Stream { previous, next, .. } = self.all[place as usize];
        match previous {
            NONE => self.oldest = next,
            previous => self.all[previous as usize].next = next,
        }
        match next {
            NONE => self.newest = previous,
            next => self.all[next as usize].previous = previous,
        }
    }

    fn link(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.newest, place);
        (self.all[place as usize].previous, self.all[place as usize].next) = (before, NONE);
        match before {
            NONE => self.oldest = place,
            before => self.all[before as usize].next = place,
        }
    }
}

/// What a publication is reckoned to take.
fn charge(publication: &Publication) -> usize {
    let info = publication.conn_info.as_ref().map_or(0, |info| info.len());
    STORED_OVERHEAD_BYTES + publication.data.len() + publication.client.len() + info
}

/// Everything behind `since`; `None`: it is not all there, is too much, or is of another epoch.
fn missed(stream: &Stream, since: Claim, limit: u32) -> Option<Vec<Stored>> {
    if !since.fits(stream.epoch) || since.offset > stream.top || since.offset + 1 < stream.first() {
        return None;
    }
    if stream.top - since.offset > u64::from(limit) {
        return None;
    }
    let wanted: Vec<Stored> = (since.offset + 1..=stream.top).map(|offset| stream.stored(offset)).collect();
    let bytes: usize = wanted.iter().map(|stored| charge(&stored.publication)).sum();
    (wanted.len() <= 1 || bytes <= READ_BYTES_MAX).then_some(wanted)
}

fn page(stream: &Stream, since: Option<Claim>, limit: u32, reverse: bool) -> Result<Vec<Stored>, ErrorCode> {
    if since.is_some_and(|since| !since.fits(stream.epoch)) {
        return Err(ErrorCode::UnrecoverablePosition);
    }
    let (first, behind) = (stream.first(), stream.top + 1);
    let offsets: Box<dyn Iterator<Item = u64>> = match (since, reverse) {
        (Some(Claim { offset: 0, .. }), true) => return Err(ErrorCode::BadRequest),
        (None, false) => Box::new(first..behind),
        (None, true) => Box::new((first..behind).rev()),
        (Some(since), false) => Box::new(since.offset.saturating_add(1).max(first)..behind),
        // From an offset that is not kept, as from the middle of nowhere, there is nothing before.
        (Some(since), true) if since.offset < first || since.offset >= behind => Box::new(0..0),
        (Some(since), true) => Box::new((first..since.offset).rev()),
    };
    let mut bytes = 0;
    let fits = |stored: &Stored| {
        let is_first = bytes == 0;
        bytes += charge(&stored.publication);
        is_first || bytes <= READ_BYTES_MAX
    };
    Ok(offsets.take(limit as usize).map(|offset| stream.stored(offset)).take_while(fits).collect())
}

#[cfg(test)]
mod tests;
