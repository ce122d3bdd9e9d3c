//! Token buckets of eight bytes: how often something may happen, and how much of it at once.
//!
//! Invariants: knows no clock; allocates nothing; a refusal changes nothing, so that who is refused waits no longer for having tried.
//!
//! A bucket is kept as the time at which it will be full again (the generic cell rate algorithm, ITU-T I.371): taking moves that
//! time on, and what would move it further ahead than a burst takes to fill is refused.

use std::sync::atomic::{AtomicU64, Ordering};

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Of one token, nanoseconds.
    cost_ns: u64,
    burst_ns: u64,
}

impl Rate {
    /// `per_s` tokens a second, of which those of `burst_s` seconds (one token at least) may be taken at once. `None` for
    /// 0 a second, which means no limit.
    #[must_use]
    pub fn new(per_s: u32, burst_s: u32) -> Option<Self> {
        let cost_ns = (NS_PER_S / u64::from(per_s.max(1))).max(1);
        let burst_ns = u64::from(burst_s).saturating_mul(NS_PER_S).max(cost_ns);
        (per_s > 0).then_some(Self { cost_ns, burst_ns })
    }

    /// When the bucket will be full after taking, or how long until it could be taken, milliseconds. A full bucket gives any
    /// amount: what is larger than it would never be given, and is paid for afterwards.
    fn take(self, full_ns: u64, now_ms: u64, tokens: u64) -> Result<u64, u64> {
        let now_ns = now_ms.saturating_mul(NS_PER_MS);
        let after_ns = self.after(full_ns, now_ms, tokens);
        let latest_ns = now_ns.saturating_add(self.burst_ns);
        if after_ns <= latest_ns || full_ns <= now_ns {
            Ok(after_ns)
        } else {
            Err((after_ns - latest_ns).div_ceil(NS_PER_MS))
        }
    }

    /// When the bucket will be full after so many tokens are taken.
    fn after(self, full_ns: u64, now_ms: u64, tokens: u64) -> u64 {
        full_ns.max(now_ms.saturating_mul(NS_PER_MS)).saturating_add(tokens.saturating_mul(self.cost_ns))
    }
}

/// One bucket; full at first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bucket {
    full_ns: u64,
}

impl Bucket {
    /// Takes tokens.
    ///
    /// # Errors
    /// There are too few; in so many milliseconds there are enough.
    pub fn take(&mut self, rate: Rate, now_ms: u64, tokens: u64) -> Result<(), u64> {
        self.full_ns = rate.take(self.full_ns, now_ms, tokens)?;
        Ok(())
    }

    /// Takes tokens whether they are there or not: until they would be, none is given.
    pub fn owe(&mut self, rate: Rate, now_ms: u64, tokens: u64) {
        self.full_ns = rate.after(self.full_ns, now_ms, tokens);
    }

    /// Whether nothing is missing in it.
    #[must_use]
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.full_ns <= now_ms.saturating_mul(NS_PER_MS)
    }
}

/// One bucket that several threads take from.
#[derive(Default, Debug)]
pub struct SharedBucket {
    full_ns: AtomicU64,
}

impl SharedBucket {
    /// As [`Bucket::take`].
    ///
    /// # Errors
    /// As there.
    pub fn take(&self, rate: Rate, now_ms: u64, tokens: u64) -> Result<(), u64> {
        self.change(|full_ns| rate.take(full_ns, now_ms, tokens))
    }

    /// As [`Bucket::owe`].
    pub fn owe(&self, rate: Rate, now_ms: u64, tokens: u64) {
        let _always = self.change(|full_ns| Ok(rate.after(full_ns, now_ms, tokens)));
    }

    fn change(&self, next: impl Fn(u64) -> Result<u64, u64>) -> Result<(), u64> {
        let order = Ordering::Relaxed;
        let mut full_ns = self.full_ns.load(order);
        loop {
            match self.full_ns.compare_exchange_weak(full_ns, next(full_ns)?, order, order) {
                Ok(_) => return Ok(()),
                Err(other) => full_ns = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens taken one by one in `from_ms..to_ms`, tried every millisecond until refused.
    fn taken(bucket: &mut Bucket, rate: Rate, from_ms: u64, to_ms: u64) -> u64 {
        let all = |now_ms| std::iter::from_fn(|| bucket.take(rate, now_ms, 1).ok()).count() as u64;
        (from_ms..to_ms).map(all).sum()
    }

    #[test]
    fn no_more_is_given_than_burst_and_rate() {
        for (per_s, burst_s) in [(1, 1), (7, 3), (100, 10), (12_345, 2)] {
            let rate = Rate::new(per_s, burst_s).expect("a limit");
            let mut bucket = Bucket::default();
            let (per_s, burst_s) = (u64::from(per_s), u64::from(burst_s));
            let first = taken(&mut bucket, rate, 0, 1);
            assert!(first.abs_diff(per_s * burst_s) <= 1, "{per_s} {burst_s}: {first} at once");
            let later = taken(&mut bucket, rate, 1, 10_001);
            assert!(
                later.abs_diff(per_s * 10) <= 2 + per_s / 1_000,
                "{per_s} {burst_s}: {later} in ten seconds"
            );
            let saved = taken(&mut bucket, rate, 3_600_000, 3_600_001);
            assert_eq!(saved, first, "no more is saved up than a burst");
        }
    }

    #[test]
    fn a_refusal_says_when_and_costs_nothing() {
        let rate = Rate::new(10, 1).expect("a limit");
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, 5_000, 10), Ok(()));
        for now_ms in 5_000..5_100 {
            assert_eq!(bucket.take(rate, now_ms, 1), Err(5_100 - now_ms));
        }
        assert_eq!(bucket.take(rate, 5_100, 1), Ok(()));
        assert!(!bucket.is_full(6_099) && bucket.is_full(6_100));
    }

    #[test]
    fn what_is_larger_than_the_bucket_is_paid_for_afterwards() {
        let rate = Rate::new(1_000, 1).expect("a limit");
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, 0, 5_000), Ok(()), "else it would never pass");
        assert_eq!(bucket.take(rate, 3_999, 1), Err(2));
        assert_eq!(bucket.take(rate, 4_001, 1), Ok(()));
        assert_eq!(bucket.take(rate, u64::MAX, u64::MAX), Ok(()), "no number makes it wrong");
    }

    #[test]
    fn threads_share_one_bucket() {
        let rate = Rate::new(1_000, 1).expect("a limit");
        let bucket = SharedBucket::default();
        let take = || (0..1_000).filter(|_| bucket.take(rate, 7, 1).is_ok()).count();
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(all, 1_000);
        assert!(Rate::new(0, 9).is_none());
    }
}
