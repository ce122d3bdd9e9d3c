//! Which client goes to which URL, and which channel it reads.
//!
//! Invariant: made once; a client's number alone decides, so that every thread finds the same.

use crate::zipf::Zipf;

/// The URLs that clients take in turn, as numbers of the plan's targets.
///
/// ```text
/// client i < subscribers     urls[i mod n]
/// publisher p                publish_urls[p mod m], numbered from `subscribers` on
/// ```
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Clients that do not publish to others: all but fan-out's publishers.
    pub(crate) subscribers: u32,
    /// Their targets; never empty.
    pub(crate) urls: Vec<u32>,
    /// The publishers' targets; never empty.
    pub(crate) publish_urls: Vec<u32>,
    /// How subscribers spread over channels, if not evenly.
    pub(crate) zipf: Option<Zipf>,
}

impl Spread {
    /// The target of client `number`.
    #[must_use]
    pub(crate) fn target_of(&self, number: u32) -> usize {
        let (list, place) = match number.checked_sub(self.subscribers) {
            None => (&self.urls, number),
            Some(publisher) => (&self.publish_urls, publisher),
        };
        list[place as usize % list.len()] as usize
    }

    /// The channel of `channels` that client `number` reads, if it is a subscriber.
    ///
    /// The subscribers of one URL take the channels in turn, and those of the next URL go on where they end: so the
    /// readers of each channel are spread over the URLs as evenly as they can be, whatever the numbers. With one URL it
    /// is `number` modulo `channels`. By Zipf's law, the first subscribers read channel 0, the next channel 1, and so on: they
    /// take the URLs in turn as well.
    #[must_use]
    pub(crate) fn channel_of(&self, number: u32, channels: u32) -> Option<u32> {
        if number >= self.subscribers {
            return None;
        }
        if let Some(zipf) = &self.zipf {
            return Some(zipf.at((f64::from(number) + 0.5) / f64::from(self.subscribers)));
        }
        let urls = self.urls.len() as u32;
        let (url, place) = (number % urls, number / urls);
        let before = url * (self.subscribers / urls) + url.min(self.subscribers % urls);
        Some((before + place) % channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(subscribers: u32, urls: u32) -> Spread {
        Spread { subscribers, urls: (0..urls).collect(), publish_urls: vec![urls - 1, 0], zipf: None }
    }

    #[test]
    fn by_zipf_the_first_channels_have_most_readers() {
        let spread = Spread { zipf: Some(Zipf::new(1.0, 4)), ..spread(2_500, 3) };
        let mut readers = [0; 4];
        (0..2_500).for_each(|number| readers[spread.channel_of(number, 4).unwrap() as usize] += 1);
        assert_eq!(readers, [1_200, 600, 400, 300]);
        assert_eq!(spread.channel_of(2_500, 4), None);
    }

    #[test]
    fn clients_take_the_urls_in_turn() {
        let targets: Vec<_> = (0..8).map(|number| spread(5, 3).target_of(number)).collect();
        assert_eq!(targets, [0, 1, 2, 0, 1, 2, 0, 2]);
    }

    #[test]
    fn with_one_url_channels_are_taken_in_turn() {
        let channels: Vec<_> = (0..6).map(|number| spread(5, 1).channel_of(number, 3)).collect();
        assert_eq!(channels, [Some(0), Some(1), Some(2), Some(0), Some(1), None]);
    }

    /// Counts differ by one at most: of a channel's readers from channel to channel, and of its readers at one URL
    /// from URL to URL.
    #[test]
    fn readers_are_spread_evenly() {
        for (subscribers, urls, channels) in
            [(9, 3, 3), (300, 3, 100), (100, 3, 50), (10, 2, 1), (4, 3, 4), (7, 3, 5), (64, 4, 6), (1, 3, 1)]
        {
            let spread = spread(subscribers, urls);
            let mut readers = vec![vec![0_u32; urls as usize]; channels as usize];
            for number in 0..subscribers {
                let channel = spread.channel_of(number, channels).unwrap();
                readers[channel as usize][spread.target_of(number)] += 1;
            }
            let is_even = |counts: &mut dyn Iterator<Item = u32>| {
                let counts: Vec<_> = counts.collect();
                counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
            };
            let what = format!("{subscribers} over {urls} URLs on {channels} channels");
            assert!(is_even(&mut readers.iter().map(|at| at.iter().sum())), "{what}: {readers:?}");
            assert!(readers.iter().all(|at| is_even(&mut at.iter().copied())), "{what}: {readers:?}");
        }
    }
}
