//! What a shard says to clients by code: how connect commands were answered, and why connections were closed.
//!
//! Invariant: the codes are those of the client protocol; all others are one.

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_protocol::{DisconnectCode, ErrorCode};

/// Counted for a connect command that was answered with a session.
pub const CONNECTED: u16 = 0;

/// How often each code was said. One writer.
#[derive(Debug)]
pub struct Codes {
    known: Vec<(u16, AtomicU64)>,
    others: AtomicU64,
}

impl Codes {
    /// Of closes.
    #[must_use]
    pub fn of_closes() -> Self {
        Self::of(DisconnectCode::ALL.iter().map(|code| code.code()))
    }

    /// Of answers to connect commands.
    #[must_use]
    pub fn of_connects() -> Self {
        Self::of([CONNECTED].into_iter().chain(ErrorCode::ALL.iter().map(|code| code.code() as u16)))
    }

    fn of(codes: impl Iterator<Item = u16>) -> Self {
        Self { known: codes.map(|code| (code, AtomicU64::new(0))).collect(), others: AtomicU64::new(0) }
    }

    /// Counts a code. Only the owning shard calls this.
    pub fn add(&self, code: u16) {
        let known = self.known.iter().find(|(known, _)| *known == code);
        let value = known.map_or(&self.others, |(_, value)| value);
        value.store(value.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Each code, `None` for all others, and how often it was said.
    pub fn counts(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        let known = self.known.iter().map(|(code, value)| (Some(*code), value));
        known.chain([(None, &self.others)]).map(|(code, value)| (code, value.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_apart_and_strange_ones_together() {
        for (codes, said, counted) in [
            (
                Codes::of_closes(),
                vec![3008, 3008, 3501, 1009, 4000],
                vec![(Some(3008), 2), (Some(3501), 1), (None, 2)],
            ),
            (Codes::of_connects(), vec![CONNECTED, 109, CONNECTED], vec![(Some(0), 2), (Some(109), 1)]),
        ] {
            said.into_iter().for_each(|code| codes.add(code));
            let some: Vec<_> = codes.counts().filter(|(_, count)| *count > 0).collect();
            assert_eq!(some, counted);
        }
    }
}
