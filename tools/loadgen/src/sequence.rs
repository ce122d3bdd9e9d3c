//! Whether a stream of numbered messages arrives once each and in order.
//!
//! Invariant: constant memory per stream (16 bytes), constant time per message.

/// How a message fits behind those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next one.
    InOrder,
    /// `missing` messages before it have not come (yet).
    Gap {
        /// How many.
        missing: u32,
    },
    /// One of those that were missing: it came out of order.
    Late,
    /// It had come before, or is so old (64 messages behind) that only a repetition explains it.
    Duplicate,
    /// It is from before the first that is expected.
    Early,
}

/// The state of one stream: which number is next, and which of the last 64 have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checker {
    /// Bit `i`: whether message `next - 1 - i` has come.
    seen: u64,
    next: u32,
    first: u32,
}

const _: () = assert!(size_of::<Checker>() == 16);

impl Checker {
    /// Expects the messages from `first` on.
    #[must_use]
    pub(crate) fn starting_at(first: u32) -> Self {
        Self { seen: 0, next: first, first }
    }

    /// Judges message `number`.
    pub(crate) fn check(&mut self, number: u32) -> Verdict {
        if number < self.first {
            return Verdict::Early;
        }
        if number >= self.next {
            let missing = number - self.next;
            self.seen = if missing < 63 { (self.seen << (missing + 1)) | 1 } else { 1 };
            self.next = number.saturating_add(1);
            return if missing == 0 { Verdict::InOrder } else { Verdict::Gap { missing } };
        }
        let age = self.next - 1 - number;
        if age >= 64 || self.seen & (1 << age) != 0 {
            return Verdict::Duplicate;
        }
        self.seen |= 1 << age;
        Verdict::Late
    }

    /// The number expected next.
    #[must_use]
    pub(crate) fn next(&self) -> u32 {
        self.next
    }
}

/// What all checkers of a thread found, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Distinct messages.
    pub(crate) distinct: u64,
    /// Messages that had come before.
    pub(crate) duplicated: u64,
    /// Messages that came after later ones.
    pub(crate) reordered: u64,
    /// Messages from before the first that is expected.
    pub(crate) early: u64,
}

impl Tally {
    /// Adds one verdict.
    pub(crate) fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::InOrder | Verdict::Gap { .. } => self.distinct += 1,
            Verdict::Late => {
                self.distinct += 1;
                self.reordered += 1;
            }
            Verdict::Duplicate => self.duplicated += 1,
            Verdict::Early => self.early += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Duplicate, Gap, InOrder, Late};
    use super::*;

    #[test]
    fn streams_are_judged() {
        let table: [(&[u32], &[Verdict]); 8] = [
            (&[0, 1, 2], &[InOrder, InOrder, InOrder]),
            (&[0, 0], &[InOrder, Duplicate]),
            (&[1, 0, 2], &[Gap { missing: 1 }, Late, InOrder]),
            (
                &[0, 3, 1, 1, 2, 2, 4],
                &[InOrder, Gap { missing: 2 }, Late, Duplicate, Late, Duplicate, InOrder],
            ),
            (&[63, 0, 0], &[Gap { missing: 63 }, Late, Duplicate]),
            (&[64, 0], &[Gap { missing: 64 }, Duplicate]),
            (&[0, 64, 1, 0], &[InOrder, Gap { missing: 63 }, Late, Duplicate]),
            (&[0, 1_000, 999, 1_000], &[InOrder, Gap { missing: 999 }, Late, Duplicate]),
        ];
        for (numbers, verdicts) in table {
            let mut checker = Checker::default();
            let got: Vec<_> = numbers.iter().map(|number| checker.check(*number)).collect();
            assert_eq!(got, verdicts, "{numbers:?}");
        }
    }

    #[test]
    fn who_joins_late_expects_no_earlier_message() {
        let mut checker = Checker::starting_at(100);
        let got: Vec<_> = [99, 100, 0, 99, 101, 101].map(|number| checker.check(number)).into();
        assert_eq!(got, [Verdict::Early, InOrder, Verdict::Early, Verdict::Early, InOrder, Duplicate]);
    }

    /// Against a plain model: any order of numbers within the window is judged like by a set.
    #[test]
    fn agrees_with_a_set() {
        let mut random = crate::random::Random::new(7);
        for _ in 0..200 {
            let (mut checker, mut tally) = (Checker::default(), Tally::default());
            let (mut seen, mut top, mut base) = (std::collections::HashSet::new(), 0, 0);
            for _ in 0..300 {
                base += u32::from(random.next().is_multiple_of(4));
                let number = base + (random.next() % 40) as u32;
                let verdict = checker.check(number);
                tally.add(verdict);
                let fresh = seen.insert(number);
                assert_eq!(matches!(verdict, Duplicate), !fresh, "{number}");
                assert_eq!(matches!(verdict, Late), fresh && number < top, "{number}");
                top = top.max(number + 1);
                assert_eq!(checker.next(), top);
            }
            assert_eq!(tally.distinct, seen.len() as u64);
            assert_eq!(tally.distinct + tally.duplicated, 300);
        }
    }
}
