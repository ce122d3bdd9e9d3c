//! How fast a channel may be published to, as the hub of its owner sees it: all publications of a fleet come by there.
//!
//! Invariants: while nothing is bounded, this takes no memory; a bucket belongs to the place of a channel, and is full when another
//! channel takes it.

use crate::bucket::{Bucket, Rate};

/// The bounds of each channel, and what is taken of them.
#[derive(Debug, Default)]
pub(super) struct Paces {
    messages: Option<Rate>,
    bytes: Option<Rate>,
    taken: Vec<(Bucket, Bucket)>,
}

impl Paces {
    /// These bounds hold from now on.
    pub(super) fn bound(&mut self, messages: Option<Rate>, bytes: Option<Rate>) {
        (self.messages, self.bytes) = (messages, bytes);
    }

    /// Whether a publication of so many bytes may be ordered.
    pub(super) fn admit(&mut self, place: u32, bytes: usize, now_ms: u64) -> bool {
        if self.messages.is_none() && self.bytes.is_none() {
            return true;
        }
        let place = place as usize;
        if place >= self.taken.len() {
            self.taken.resize(place + 1, Default::default());
        }
        let (messages, of_bytes) = &mut self.taken[place];
        let take = |bucket: &mut Bucket, rate: Option<Rate>, amount| {
            rate.is_none_or(|rate| bucket.take(rate, now_ms, amount).is_ok())
        };
        take(messages, self.messages, 1) && take(of_bytes, self.bytes, bytes as u64)
    }

    /// Another channel is at this place now.
    pub(super) fn begin(&mut self, place: u32) {
        if let Some(taken) = self.taken.get_mut(place as usize) {
            *taken = Default::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_paced_one_by_one() {
        let mut paces = Paces::default();
        assert!((0..100).all(|_| paces.admit(9, usize::MAX, 0)) && paces.taken.is_empty());
        paces.bound(Rate::new(5, 2), Rate::new(1_000, 1));
        assert_eq!((0..100).filter(|_| paces.admit(1, 10, 0)).count(), 10);
        assert_eq!((0..100).filter(|_| paces.admit(2, 500, 0)).count(), 2);
        assert!(paces.admit(1, 10, 200) && !paces.admit(1, 10, 200));
        paces.begin(1);
        assert!(paces.admit(1, 10, 200), "another channel");
    }
}
