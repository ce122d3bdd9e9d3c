//! What the threads know of each other: who reads which stream, and how many deliveries are under way.
//!
//! Invariant: a publication is numbered and its readers are counted in one step; a reader that joins or leaves learns in the
//! same step which publication is the first, or the first that is not for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One publication, in the upper half of a stream's word; readers are in the lower half.
const PUBLICATION: u64 = 1 << 32;

/// The readers of all streams.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// Of each stream, publications sent and readers.
    streams: Vec<AtomicU64>,
    /// Readers of each stream by URL; empty with one URL. In the turmoil of joining and leaving it may lag by a moment.
    by_url: Vec<AtomicU32>,
    urls: usize,
    /// Pairs of reader and channel.
    total: AtomicU32,
    /// Deliveries to expect.
    expected: AtomicU64,
    /// Deliveries that happened.
    delivered: AtomicU64,
}

impl Audience {
    /// Of `streams` streams, nobody yet; readers are counted for each of `urls` URLs.
    #[must_use]
    pub(crate) fn new(streams: u32, urls: usize) -> Self {
        let by_url = if urls > 1 { streams as usize * urls } else { 0 };
        Self {
            streams: (0..streams).map(|_| AtomicU64::new(0)).collect(),
            by_url: (0..by_url).map(|_| AtomicU32::new(0)).collect(),
            urls,
            ..Self::default()
        }
    }

    /// How many URLs there are.
    #[must_use]
    pub(super) fn urls(&self) -> usize {
        self.urls
    }

    /// Numbers the next publication of a stream; its number, and how many are to get it.
    pub(super) fn publish(&self, stream: u32) -> (u32, u64) {
        let (number, readers) = split(self.streams[stream as usize].fetch_add(PUBLICATION, Ordering::AcqRel));
        self.expected.fetch_add(readers, Ordering::AcqRel);
        (number, readers)
    }

    /// Of `readers` of a stream, how many there are at each URL.
    pub(super) fn by_url(&self, stream: u32, readers: u64) -> impl Iterator<Item = u64> {
        let first = stream as usize * self.urls;
        (0..self.urls).map(move |url| match self.by_url.get(first + url) {
            Some(count) => u64::from(count.load(Ordering::Relaxed)),
            None => readers,
        })
    }

    /// How many read a stream now.
    #[must_use]
    pub(super) fn readers(&self, stream: u32) -> u64 {
        split(self.streams[stream as usize].load(Ordering::Acquire)).1
    }

    /// Somebody at `url` reads a stream: the number of the first publication for them.
    pub(super) fn join(&self, stream: u32, url: usize) -> u32 {
        if let Some(count) = self.by_url.get(stream as usize * self.urls + url) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        split(self.streams[stream as usize].fetch_add(1, Ordering::AcqRel)).0
    }

    /// Somebody at `url` reads a stream no more: the number of the first publication that is not for them.
    pub(super) fn leave(&self, stream: u32, url: usize) -> u32 {
        if let Some(count) = self.by_url.get(stream as usize * self.urls + url) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        split(self.streams[stream as usize].fetch_sub(1, Ordering::AcqRel)).0
    }

    /// A channel has got a reader, or lost one.
    pub(super) fn count(&self, is_joining: bool) {
        if is_joining {
            self.total.fetch_add(1, Ordering::Relaxed);
        } else {
            self.total.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Pairs of reader and channel.
    #[must_use]
    pub(super) fn total(&self) -> u64 {
        u64::from(self.total.load(Ordering::Relaxed))
    }

    /// Deliveries that need not be awaited any more.
    pub(super) fn settle(&self, deliveries: u64) {
        self.delivered.fetch_add(deliveries, Ordering::AcqRel);
    }

    /// Deliveries that were settled.
    #[must_use]
    pub(super) fn settled(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    /// Deliveries expected and not settled.
    #[must_use]
    pub(super) fn outstanding(&self) -> u64 {
        let delivered = self.delivered.load(Ordering::Acquire);
        self.expected.load(Ordering::Acquire).saturating_sub(delivered)
    }
}

/// Publications and readers of a stream's word.
fn split(word: u64) -> (u32, u64) {
    ((word / PUBLICATION) as u32, word % PUBLICATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_those_at_the_moment_of_a_publication() {
        let audience = Audience::new(2, 2);
        assert_eq!(audience.join(1, 0), 0);
        assert_eq!(audience.publish(1), (0, 1));
        assert_eq!(audience.join(1, 1), 1, "the second reader begins with the second publication");
        assert_eq!(audience.publish(1), (1, 2));
        assert_eq!(audience.by_url(1, 2).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(audience.leave(1, 0), 2);
        assert_eq!(audience.publish(1), (2, 1));
        assert_eq!(audience.publish(0), (0, 0));
        assert_eq!(audience.outstanding(), 4);
        audience.settle(3);
        assert_eq!(audience.outstanding(), 1);
    }

    #[test]
    fn with_one_url_all_readers_are_there() {
        let audience = Audience::new(1, 1);
        audience.join(0, 0);
        assert_eq!(audience.by_url(0, 1).collect::<Vec<_>>(), [1]);
    }
}
