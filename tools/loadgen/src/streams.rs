//! Who publishes where.
//!
//! Invariant: a publisher and a count decide a channel; each stream has one publisher, which numbers it as it sends.

use crate::random::scramble;
use crate::zipf::{Law, Zipf};

/// Subscribers, channels and publishers, and the streams between them: one for each pair of a publisher and a
/// channel it publishes to.
///
/// ```text
/// publisher p      P <= K: channels p, p + P, p + 2P, ...        each channel has one stream
///                  P >  K: channel p mod K                       each channel has up to ceil(P / K)
/// stream           channel * per_channel + (P <= K: 0, P > K: p / K)
/// ```
///
/// In pairs, N = K = P, and publisher p publishes to channel p + 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Streams {
    /// Who the publishers are.
    pub(crate) pairing: Pairing,
    /// N.
    pub(crate) subscribers: u32,
    /// K.
    pub(crate) channels: u32,
    /// P.
    pub(crate) publishers: u32,
    /// Which of its channels a publisher takes next.
    pub(crate) picker: Picker,
}

/// Who the publishers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Connections of their own, behind the subscribers.
    Apart,
    /// The subscribers themselves: each writes to the channel of the next one.
    Next,
}

/// How a publisher chooses among its channels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Picker {
    /// One after the other.
    Turn,
    /// All as likely; by this seed.
    Random(u64),
    /// By Zipf's law over as many channels as a publisher has; by this seed.
    Zipf(u64, Zipf),
}

impl Picker {
    /// A picker by `law` for publishers of at most `channels` channels.
    #[must_use]
    pub(crate) fn new(law: Law, channels: u32, seed: u64) -> Self {
        match law {
            Law::Turn => Picker::Turn,
            Law::Random => Picker::Random(seed),
            Law::Zipf(exponent) => Picker::Zipf(seed, Zipf::new(exponent, channels)),
        }
    }
}

impl Streams {
    /// All of them.
    #[must_use]
    pub(crate) fn count(&self) -> u32 {
        self.channels * self.per_channel()
    }

    /// The number of the client that is publisher `publisher`.
    #[must_use]
    pub(crate) fn client_of(&self, publisher: u32) -> u32 {
        match self.pairing {
            Pairing::Apart => self.subscribers + publisher,
            Pairing::Next => publisher,
        }
    }

    /// The publisher that client `number` is, if it is one.
    #[must_use]
    pub(crate) fn publisher_at(&self, number: u32) -> Option<u32> {
        let publisher = match self.pairing {
            Pairing::Apart => number.checked_sub(self.subscribers)?,
            Pairing::Next => number,
        };
        (publisher < self.publishers).then_some(publisher)
    }

    /// Streams of one channel at most.
    #[must_use]
    pub(crate) fn per_channel(&self) -> u32 {
        self.publishers.div_ceil(self.channels)
    }

    /// The publisher of stream `stream`.
    #[must_use]
    pub(crate) fn publisher_of(&self, stream: u32) -> u32 {
        if self.pairing == Pairing::Next {
            return (stream + self.publishers - 1) % self.publishers;
        }
        let (channel, index) = (stream / self.per_channel(), stream % self.per_channel());
        if self.publishers > self.channels {
            channel + index * self.channels
        } else {
            channel % self.publishers
        }
    }

    /// Where the `count`-th publication (from 0) of publisher `publisher` goes.
    #[must_use]
    pub(crate) fn place(&self, publisher: u32, count: u32) -> Place {
        if self.pairing == Pairing::Next {
            let channel = (publisher + 1) % self.channels;
            return Place { channel, stream: channel };
        }
        if self.publishers > self.channels {
            let channel = publisher % self.channels;
            return Place { channel, stream: channel * self.per_channel() + publisher / self.channels };
        }
        let own = (self.channels - publisher).div_ceil(self.publishers);
        let index = match &self.picker {
            Picker::Turn => count % own,
            // The high half of a product is an even share of `own` without a division.
            Picker::Random(seed) => ((u64::from(own) * draw(*seed, publisher, count)) >> 32) as u32,
            Picker::Zipf(seed, zipf) => {
                zipf.at(draw(*seed, publisher, count) as f64 / (1_u64 << 32) as f64).min(own - 1)
            }
        };
        let channel = publisher + self.publishers * index;
        Place { channel, stream: channel }
    }
}

/// A number below 2^32 for the `count`-th publication of `publisher`.
fn draw(seed: u64, publisher: u32, count: u32) -> u64 {
    scramble(seed ^ scramble((u64::from(publisher) << 32) | u64::from(count))) >> 32
}

/// Where a publication goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the channel.
    pub(crate) channel: u32,
    /// Number of the stream.
    pub(crate) stream: u32,
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn streams(publishers: u32, channels: u32, law: Law) -> Streams {
        let own = channels.div_ceil(publishers);
        let picker = Picker::new(law, own, 7);
        Streams { pairing: Pairing::Apart, subscribers: 9, channels, publishers, picker }
    }

    #[test]
    fn in_pairs_everybody_writes_to_the_next() {
        let streams = Streams { pairing: Pairing::Next, subscribers: 3, ..streams(3, 3, Law::Turn) };
        for publisher in 0..3 {
            let place = streams.place(publisher, 5);
            assert_eq!((place.channel, place.stream), ((publisher + 1) % 3, (publisher + 1) % 3));
            assert_eq!(streams.publisher_of(place.stream), publisher);
            assert_eq!(
                (streams.client_of(publisher), streams.publisher_at(publisher)),
                (publisher, Some(publisher))
            );
        }
        assert_eq!((streams.count(), streams.publisher_at(3)), (3, None));
    }

    /// Every stream has one publisher and one channel, and in turn all channels are reached.
    #[test]
    fn publications_are_placed() {
        for (publishers, channels) in [(1, 1), (1, 5), (2, 5), (5, 5), (5, 2), (7, 3), (4, 1)] {
            for law in [Law::Turn, Law::Random, Law::Zipf(1.0)] {
                let streams = streams(publishers, channels, law);
                let mut owner: HashMap<u32, u32> = HashMap::new();
                let mut reached = HashSet::new();
                for count in 0..200 {
                    for publisher in 0..publishers {
                        let place = streams.place(publisher, count);
                        assert!(place.channel < channels);
                        assert_eq!(place.stream / streams.per_channel(), place.channel);
                        assert_eq!(streams.publisher_of(place.stream), publisher);
                        assert_eq!(*owner.entry(place.stream).or_insert(publisher), publisher);
                        reached.insert(place.channel);
                    }
                }
                assert_eq!(reached.len(), channels as usize, "{publishers} to {channels}, {law:?}");
            }
        }
    }

    #[test]
    fn picks_follow_their_law() {
        let counts = |law| {
            let streams = streams(1, 4, law);
            let mut counts = [0_i32; 4];
            (0..25_000).for_each(|count| counts[streams.place(0, count).channel as usize] += 1);
            counts
        };
        for (law, expected) in [
            (Law::Turn, [6_250; 4]),
            (Law::Random, [6_250; 4]),
            (Law::Zipf(1.0), [12_000, 6_000, 4_000, 3_000]),
        ] {
            for (got, expected) in counts(law).iter().zip(expected) {
                assert!((got - expected).abs() < 400, "{law:?}: {got} for {expected}");
            }
        }
    }
}
