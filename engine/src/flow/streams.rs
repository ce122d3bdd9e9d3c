//! What is asked about channels' streams, and what is answered: positions, recoveries, pages of history.
//!
//! Invariant: an epoch is a number here and text at the clients; text that no owner has given fits no epoch.

use std::sync::Arc;

pub use roadstead_protocol::relay::{Claim, Reading};

use super::Publication;
use crate::settings::RecoveryMode;

/// Where a channel stands: whose counting it is, and how far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Drawn anew by each owner that begins to count; 0: nobody has counted yet. Of a stream it has its highest bit, of a
    /// channel that keeps nothing it has not.
    pub epoch: u32,
    /// Publications of this epoch so far.
    pub sequence: u64,
}

impl Position {
    const STREAM: u32 = 1 << 31;

    /// The epoch of a stream, or of a channel that keeps nothing, made of a random number.
    #[must_use]
    pub fn draw(random: u32, is_stream: bool) -> u32 {
        if is_stream { random | Self::STREAM } else { (random & !Self::STREAM).max(1) }
    }

    /// Whether it is in a stream, and so one that clients know.
    #[must_use]
    pub fn is_stream(self) -> bool {
        self.epoch & Self::STREAM != 0
    }

    /// The offset that clients know; 0: it is in no stream.
    #[must_use]
    pub fn offset(self) -> u64 {
        if self.is_stream() { self.sequence } else { 0 }
    }

    /// The epoch as clients know it: eight hexadecimal digits.
    #[must_use]
    pub fn epoch_text(self) -> String {
        format!("{:08x}", self.epoch)
    }

    /// Whether it is the next one behind `other`.
    #[must_use]
    pub fn follows(self, other: Self) -> bool {
        self.epoch == other.epoch && self.sequence == other.sequence + 1
    }
}

/// A publication with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its offset.
    pub offset: u64,
    /// What.
    pub publication: Arc<Publication>,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The stream's top when it was read.
    pub position: Position,
    /// Of [`Reading::Missed`] and [`Reading::Latest`]: whether the client lacks nothing once it has these.
    pub recovered: bool,
    /// In the order asked for.
    pub publications: Vec<Stored>,
}

/// What a subscription to a stream is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// It can be recovered; else it is only told of lost publications.
    pub recoverable: bool,
    /// Where the client was, if it comes back.
    pub since: Option<Claim>,
    /// What it gets then.
    pub mode: RecoveryMode,
    /// Publications that it may have missed.
    pub limit: u32,
    /// It is refused if it cannot be recovered.
    pub refuses_unrecovered: bool,
}

impl Wish {
    /// What its owner is asked.
    #[must_use]
    pub fn reading(&self) -> Reading {
        match (self.since, self.mode) {
            (None, _) => Reading::Top,
            (Some(since), RecoveryMode::Stream) => Reading::Missed { since, limit: self.limit },
            (Some(since), RecoveryMode::Cache) => Reading::Latest { since },
        }
    }
}

/// How a subscription to a stream began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What it is.
    pub wish: Wish,
    /// From where it goes on, and what its client gets first.
    pub found: Found,
}

impl Standing {
    /// The offset that the client is told: where everything was brought back the one that it said, from which it counts on
    /// itself; else the top.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match (self.wish.since, self.wish.mode) {
            (Some(since), RecoveryMode::Stream) if self.found.recovered => since.offset,
            _ => self.found.position.sequence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_fits_what_it_may_be_of() {
        let own = Position { epoch: Position::draw(7, true), sequence: 3 };
        for (text, fits) in [
            (own.epoch_text().as_str(), true),
            ("", true),
            ("_", false),
            ("80000008", false),
            ("8000000", false),
            ("+0000007", false),
            ("xyz", false),
        ] {
            assert_eq!(Claim::new(text, 3).fits(own.epoch), fits, "{text:?}");
        }
        assert!(!Claim::new("_", 0).fits(0x8000_0000));
    }

    #[test]
    fn streams_and_others_have_epochs_of_their_own() {
        for random in [0, 1, u32::MAX, 1 << 31] {
            for is_stream in [false, true] {
                let position = Position { epoch: Position::draw(random, is_stream), sequence: 9 };
                assert_ne!(position.epoch, 0);
                assert_eq!((position.is_stream(), position.offset() == 9), (is_stream, is_stream));
            }
        }
    }
}
