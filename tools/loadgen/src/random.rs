//! Fast random numbers from a seed: masking keys and handshake keys.
//!
//! Invariant: the same seed gives the same numbers. Not for secrets: masking protects intermediaries (RFC 6455
//! section 10.3), of which a load test has none.

/// A SplitMix64 generator: one addition and two multiplications per number.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// A generator that begins at `seed`.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.state)
    }

    /// The next masking key (RFC 6455 section 5.3: fresh for every frame).
    pub(crate) fn mask(&mut self) -> [u8; 4] {
        (self.next() as u32).to_ne_bytes()
    }
}

/// The handshake key of client `number`: made again when the response is checked, never stored.
#[must_use]
pub(crate) fn handshake_key(seed: u64, number: u32) -> [u8; 16] {
    let high = scramble(seed ^ u64::from(number).wrapping_mul(0xd6e8_feb8_6659_fd93));
    let low = scramble(high ^ seed.rotate_left(32));
    ((u128::from(high) << 64) | u128::from(low)).to_le_bytes()
}

/// SplitMix64's mixing: every bit of the result depends on every bit of `value`.
pub(crate) fn scramble(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let numbers = |seed| -> Vec<u64> {
            let mut random = Random::new(seed);
            (0..4).map(|_| random.next()).collect()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        assert_eq!(handshake_key(1, 2), handshake_key(1, 2));
    }

    #[test]
    fn handshake_keys_differ() {
        let keys: std::collections::HashSet<_> =
            (0..4).flat_map(|seed| (0..1_000).map(move |number| handshake_key(seed, number))).collect();
        assert_eq!(keys.len(), 4_000);
    }
}
