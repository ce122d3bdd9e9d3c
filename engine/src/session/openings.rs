//! What tokens say of subscriptions that the router has not answered yet: it is told with the answer.
//!
//! Invariants: an entry goes with the answer or with the connection; a subscribe without a token, or whose token says nothing more,
//! has none.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What is told with the answer to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// When the subscription's time is over, seconds since the epoch; 0: never.
    pub(super) ends_at_s: u32,
    /// JSON for the client; empty: there is none.
    pub(super) data: Vec<u8>,
}

/// All of a shard, by slot of the connection and id of the request.
#[derive(Debug, Default)]
pub(super) struct Openings {
    all: HashMap<u32, Vec<(u32, Opening)>, FixedState>,
}

impl Openings {
    /// This is to be told with the answer to request `id`, if it is anything.
    pub(super) fn keep(&mut self, slot: u32, id: u32, opening: Opening) {
        // A client that uses an id again has the first answer with what the last one says.
        drop(self.take(slot, id));
        if opening != Opening::default() {
            self.all.entry(slot).or_default().push((id, opening));
        }
    }

    /// What is told with the answer to request `id`.
    pub(super) fn take(&mut self, slot: u32, id: u32) -> Opening {
        if self.all.is_empty() {
            return Opening::default();
        }
        let Some(of_slot) = self.all.get_mut(&slot) else { return Opening::default() };
        let Some(place) = of_slot.iter().position(|(of, _)| *of == id) else { return Opening::default() };
        let (_, opening) = of_slot.swap_remove(place);
        if of_slot.is_empty() {
            self.all.remove(&slot);
        }
        opening
    }

    /// The connection in `slot` is gone.
    pub(super) fn leave(&mut self, slot: u32) {
        if !self.all.is_empty() {
            self.all.remove(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_told_once_and_goes_with_the_connection() {
        let opening = |ends_at_s| Opening { ends_at_s, data: b"{}".to_vec() };
        let mut openings = Openings::default();
        openings.keep(1, 7, opening(1));
        openings.keep(1, 8, opening(2));
        openings.keep(2, 7, opening(3));
        openings.keep(2, 9, Opening::default());
        openings.keep(1, 8, opening(4));
        assert_eq!(openings.take(1, 8), opening(4));
        assert_eq!(openings.take(1, 8), Opening::default());
        assert_eq!(openings.take(2, 9), Opening::default());
        openings.leave(1);
        assert_eq!(openings.take(1, 7), Opening::default());
        assert_eq!(openings.take(2, 7), opening(3));
        assert!(openings.all.is_empty());
    }
}
