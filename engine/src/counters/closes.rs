//! Closes that a shard began, by the code that the peer was told.
//!
//! Invariant: the codes are those of the client protocol; all others are one.

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_protocol::DisconnectCode;

const CODES: [DisconnectCode; 22] = DisconnectCode::ALL;

/// How often each code was said. One writer.
#[derive(Debug, Default)]
pub struct Closes {
    by_code: [AtomicU64; CODES.len()],
    others: AtomicU64,
}

impl Closes {
    /// Counts a close. Only the owning shard calls this.
    pub fn add(&self, code: u16) {
        let place = CODES.iter().position(|known| known.code() == code);
        let value = place.map_or(&self.others, |place| &self.by_code[place]);
        value.store(value.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Each code, `None` for all that are not of the client protocol, and how often it was said.
    pub fn counts(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        let known = CODES.iter().zip(&self.by_code).map(|(code, value)| (Some(code.code()), value));
        known.chain([(None, &self.others)]).map(|(code, value)| (code, value.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_apart_and_strange_ones_together() {
        let closes = Closes::default();
        for code in [3008, 3008, 3501, 1009, 4000] {
            closes.add(code);
        }
        let some: Vec<_> = closes.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [(Some(3008), 2), (Some(3501), 1), (None, 2)]);
        assert_eq!(closes.counts().count(), CODES.len() + 1);
    }
}
