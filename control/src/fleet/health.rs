//! How well this node itself is: one that fails often or wakes late doubts itself before it doubts others (Lifeguard).
//!
//! Invariants: never makes a node quicker than a healthy one; a single dead neighbour does not count against it.

/// The worst score; suspicion then takes eight times as long.
const SCORE_MAX: u8 = 8;

/// A score of 0, well, to [`SCORE_MAX`].
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Health {
    score: u8,
}

impl Health {
    /// A probe of a node that nobody suspected yet failed.
    pub(crate) fn worsen(&mut self) {
        self.score = (self.score + 1).min(SCORE_MAX);
    }

    /// The node itself was away.
    pub(crate) fn stall(&mut self) {
        self.score = (self.score + 2).min(SCORE_MAX);
    }

    /// A probe succeeded.
    pub(crate) fn mend(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// By how much this node's periods and its patience with others are stretched.
    pub(crate) fn factor(self) -> u32 {
        u32::from(self.score.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_add_up_and_successes_mend() {
        let mut health = Health::default();
        assert_eq!(health.factor(), 1);
        health.worsen();
        assert_eq!(health.factor(), 1, "one dead neighbour is no sign of own trouble");
        (0..20).for_each(|_| health.worsen());
        assert_eq!(health.factor(), 8);
        (0..6).for_each(|_| health.mend());
        assert_eq!(health.factor(), 2);
        health.stall();
        assert_eq!(health.factor(), 4);
        (0..20).for_each(|_| health.mend());
        assert_eq!(health.factor(), 1);
    }
}
