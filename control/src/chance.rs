//! Chance from a seed: the same seed gives the same run.
//!
//! Invariants: not for secrets; takes no randomness from anywhere but its seed.

use core::convert::Infallible;
use core::time::Duration;

/// SplitMix64: a counter and a mixing function.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    counter: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { counter: seed }
    }

    /// Another source that this one decides.
    pub(crate) fn branch(&mut self) -> Self {
        Self::new(self.next())
    }

    /// The next value.
    pub(crate) fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.counter;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `items`, if there is one.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let count = items.len() as u64;
        if count == 0 { None } else { items.get((self.next() % count) as usize) }
    }

    /// Up to `count` of `items`, in any order.
    pub(crate) fn pick_many<T>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        for at in 0..count.min(items.len()) {
            let other = at + (self.next() % (items.len() - at) as u64) as usize;
            items.swap(at, other);
        }
        items.truncate(count);
        items
    }

    /// `pause`, a quarter more or less.
    pub(crate) fn jitter(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(0.75 + (self.next() >> 11) as f64 / (1_u64 << 54) as f64)
    }
}

impl rand_core::TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let value = self.next().to_le_bytes();
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_picks_are_fair() {
        let (mut one, mut same, mut other) = (Chance::new(7), Chance::new(7), Chance::new(8));
        let values: Vec<u64> = (0..8).map(|_| one.next()).collect();
        assert_eq!(values, (0..8).map(|_| same.next()).collect::<Vec<_>>());
        assert_ne!(values, (0..8).map(|_| other.next()).collect::<Vec<_>>());

        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            let picked = one.pick_many((0..5_usize).collect(), 2);
            assert!(picked.len() == 2 && picked[0] != picked[1]);
            picked.into_iter().for_each(|item| seen[item] += 1);
        }
        assert!(seen.iter().all(|&count| (1_800..2_200).contains(&count)), "{seen:?}");
        assert_eq!(one.pick::<u8>(&[]), None);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let mut chance = Chance::new(1);
        for _ in 0..1_000 {
            let pause = chance.jitter(Duration::from_secs(4));
            assert!(pause >= Duration::from_secs(3) && pause <= Duration::from_secs(5), "{pause:?}");
        }
    }
}
