//! Who publishes where, and how publications are numbered.
//!
//! Invariant: publications of one stream leave in the order of their numbers, so that every subscriber can check them.

/// Subscribers, channels and publishers, and the streams between them: one for each pair of a publisher and a
/// channel it publishes to.
///
/// ```text
/// publisher p      P <= K: channels p, p + P, p + 2P, ... in turn     each channel has one stream
///                  P >  K: channel p mod K                            each channel has up to ceil(P / K)
/// stream           channel * per_channel + (P <= K: 0, P > K: p / K)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    /// N.
    pub(crate) subscribers: u32,
    /// K.
    pub(crate) channels: u32,
    /// P.
    pub(crate) publishers: u32,
}

impl Streams {
    /// Streams of one channel at most.
    #[must_use]
    pub(crate) fn per_channel(&self) -> u32 {
        self.publishers.div_ceil(self.channels)
    }

    /// The publisher of stream `stream`.
    #[must_use]
    pub(crate) fn publisher_of(&self, stream: u32) -> u32 {
        let (channel, index) = (stream / self.per_channel(), stream % self.per_channel());
        if self.publishers > self.channels {
            channel + index * self.channels
        } else {
            channel % self.publishers
        }
    }

    /// Where the `count`-th publication (from 0) of publisher `publisher` goes: channel, stream, and sequence in it.
    #[must_use]
    pub(crate) fn place(&self, publisher: u32, count: u64) -> Place {
        if self.publishers > self.channels {
            let channel = publisher % self.channels;
            let stream = channel * self.per_channel() + publisher / self.channels;
            return Place { channel, stream, sequence: count as u32 };
        }
        let own = u64::from((self.channels - publisher).div_ceil(self.publishers));
        let channel = publisher + self.publishers * ((count % own) as u32);
        Place { channel, stream: channel, sequence: (count / own) as u32 }
    }
}

/// Where a publication goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the channel.
    pub(crate) channel: u32,
    /// Number of the stream.
    pub(crate) stream: u32,
    /// Number in the stream.
    pub(crate) sequence: u32,
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// Every publication has a stream of its own numbering, every stream one publisher and one channel, and all
    /// channels get the same number of publications.
    #[test]
    fn publications_are_placed_evenly() {
        for (publishers, channels) in [(1, 1), (1, 5), (2, 5), (5, 5), (5, 2), (7, 3), (4, 1)] {
            let streams = Streams { subscribers: 9, channels, publishers };
            let mut next: HashMap<u32, u32> = HashMap::new();
            let mut owner: HashMap<u32, u32> = HashMap::new();
            let mut reached = HashSet::new();
            for count in 0..60 {
                for publisher in 0..publishers {
                    let place = streams.place(publisher, count);
                    assert!(place.channel < channels);
                    assert_eq!(place.stream / streams.per_channel(), place.channel);
                    assert_eq!(streams.publisher_of(place.stream), publisher);
                    assert_eq!(*owner.entry(place.stream).or_insert(publisher), publisher);
                    let expected = next.entry(place.stream).or_default();
                    assert_eq!(place.sequence, *expected);
                    *expected += 1;
                    reached.insert(place.channel);
                }
            }
            assert_eq!(reached.len(), channels as usize, "{publishers} publishers, {channels} channels");
        }
    }
}
