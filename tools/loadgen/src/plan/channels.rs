//! Channel names and who reads which.
//!
//! Invariant: a client's number alone decides what it reads.

use std::sync::Arc;

use super::{Flow, FlowKind};
use crate::arguments::Flags;
use crate::spread::Spread;

/// The channels of one flow of publications.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    /// How many there are.
    pub(crate) count: u32,
    /// Their names begin with this and end with their number.
    pub(crate) prefix: String,
    /// Channels that one client reads: this many from its first on.
    pub(crate) subscriptions: u32,
    /// Which is a client's first; `None`: that of its own number.
    pub(crate) spread: Option<Arc<Spread>>,
}

impl Channels {
    /// Those that `flags` name, shared by many.
    #[must_use]
    pub(crate) fn shared(flags: &Flags, spread: &Arc<Spread>) -> Self {
        Self {
            count: flags.channels,
            prefix: flags.channel_prefix.clone(),
            subscriptions: flags.subscriptions,
            spread: Some(Arc::clone(spread)),
        }
    }

    /// Those of `flow`.
    #[must_use]
    pub(crate) fn of_flow(flow: &Flow, flags: &Flags, spread: &Arc<Spread>) -> Self {
        match flow.kind {
            FlowKind::Fanout => Self::shared(flags, spread),
            FlowKind::Direct => Self {
                count: flow.streams.channels,
                prefix: format!("#{}", flags.user_prefix),
                subscriptions: 1,
                spread: None,
            },
        }
    }

    /// The name of channel `number`.
    #[must_use]
    pub(crate) fn name(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The number of the first channel that client `number` subscribes to.
    #[must_use]
    pub(crate) fn of_client(&self, number: u32) -> Option<u32> {
        match &self.spread {
            Some(spread) => spread.channel_of(number, self.count),
            None => (number < self.count).then_some(number),
        }
    }

    /// All channels that client `number` subscribes to, in the order of their places.
    pub(crate) fn all_of_client(&self, number: u32) -> impl Iterator<Item = u32> {
        let (count, subscriptions) = (self.count, self.subscriptions);
        let first = self.of_client(number).into_iter();
        first.flat_map(move |first| (0..subscriptions).map(move |place| (first + place) % count))
    }

    /// At which place `channel` is among those of client `number`.
    #[must_use]
    pub(crate) fn place_of(&self, number: u32, channel: u32) -> Option<u32> {
        let place = (channel + self.count).checked_sub(self.of_client(number)?)? % self.count;
        (channel < self.count && place < self.subscriptions).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_subscriptions() {
        let spread = Arc::new(Spread { subscribers: 9, urls: vec![0], publish_urls: vec![0], zipf: None });
        for (subscriptions, spread) in
            [(1, None), (1, Some(spread.clone())), (3, Some(spread.clone())), (5, Some(spread))]
        {
            let channels = Channels { count: 5, prefix: "c".to_owned(), subscriptions, spread };
            for number in 0..12 {
                let all: Vec<_> = channels.all_of_client(number).collect();
                for channel in 0..7 {
                    let place = all.iter().position(|read| *read == channel).map(|place| place as u32);
                    assert_eq!(
                        channels.place_of(number, channel),
                        place,
                        "{number} {channel} of {channels:?}"
                    );
                }
            }
        }
    }
}
