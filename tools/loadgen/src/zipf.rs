//! Which of several things comes next: each in turn, each as likely, or by Zipf's law.
//!
//! Invariant: a fraction from 0 to 1 decides alone, so that every thread finds the same.

use std::sync::Arc;

use crate::limits::ZIPF_EXPONENT_MAX;

/// Zipf's exponent where none is given: what word counts and channel popularity commonly show.
const EXPONENT: f64 = 1.0;

/// A law, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// One after the other.
    Turn,
    /// All as likely.
    Random,
    /// Number `k` (from 0) with a weight of `1 / (k + 1)^exponent`.
    Zipf(f64),
}

impl Law {
    /// `even`, `zipf` or `zipf:1.2`.
    pub(crate) fn parse_spread(text: &str) -> Result<Self, String> {
        match text {
            "even" => Ok(Law::Turn),
            _ => Self::parse_zipf(text)
                .ok_or_else(|| "even, zipf, or zipf with an exponent: zipf:1.2".to_owned()),
        }
    }

    /// `turn`, `random`, `zipf` or `zipf:1.2`.
    pub(crate) fn parse_pick(text: &str) -> Result<Self, String> {
        match text {
            "turn" => Ok(Law::Turn),
            "random" => Ok(Law::Random),
            _ => Self::parse_zipf(text)
                .ok_or_else(|| "turn, random, zipf, or zipf with an exponent: zipf:1.2".to_owned()),
        }
    }

    fn parse_zipf(text: &str) -> Option<Self> {
        let exponent = match text.strip_prefix("zipf")? {
            "" => EXPONENT,
            rest => rest.strip_prefix(':')?.parse().ok()?,
        };
        (0.0..=ZIPF_EXPONENT_MAX).contains(&exponent).then_some(Law::Zipf(exponent))
    }
}

/// Zipf's law over a fixed number of things.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Zipf {
    /// Share of the things up to each, its own included; the last is 1.
    cumulative: Arc<[f64]>,
}

impl Zipf {
    /// Over `count` things (at least one).
    #[must_use]
    pub(crate) fn new(exponent: f64, count: u32) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=count.max(1))
            .map(|rank| {
                sum += f64::from(rank).powf(-exponent);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|share| *share /= sum);
        Self { cumulative: cumulative.into() }
    }

    /// The thing at `fraction` (0 to 1) of all shares laid side by side.
    #[must_use]
    pub(crate) fn at(&self, fraction: f64) -> u32 {
        let below = self.cumulative.partition_point(|share| *share <= fraction);
        below.min(self.cumulative.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_are_read() {
        let table = [
            ("turn", Some(Law::Turn), None),
            ("even", None, Some(Law::Turn)),
            ("random", Some(Law::Random), None),
            ("zipf", Some(Law::Zipf(1.0)), Some(Law::Zipf(1.0))),
            ("zipf:1.2", Some(Law::Zipf(1.2)), Some(Law::Zipf(1.2))),
            ("zipf:", None, None),
            ("zipf:-1", None, None),
            ("zipf:nan", None, None),
            ("zip", None, None),
        ];
        for (text, pick, spread) in table {
            assert_eq!((Law::parse_pick(text).ok(), Law::parse_spread(text).ok()), (pick, spread), "{text}");
        }
    }

    #[test]
    fn shares_follow_the_law() {
        let zipf = Zipf::new(1.0, 4);
        let mut counts = [0; 4];
        for step in 0..2_500 {
            counts[zipf.at((f64::from(step) + 0.5) / 2_500.0) as usize] += 1;
        }
        assert_eq!(counts, [1_200, 600, 400, 300]);
        assert_eq!((zipf.at(0.0), zipf.at(1.0), Zipf::new(1.0, 1).at(0.7)), (0, 3, 0));
        assert_eq!(Zipf::new(0.0, 2).at(0.4), 0, "an exponent of zero is even");
    }
}
