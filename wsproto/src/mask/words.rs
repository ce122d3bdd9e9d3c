//! The loop over words, written so that the compiler makes vectors of it for whatever target it is inlined into.

/// Masks `words`; returns all results, or-ed.
#[inline(always)]
pub(super) fn apply(words: &mut [[u8; 8]], key: u64) -> u64 {
    let mut seen = 0;
    for word in words {
        let masked = u64::from_ne_bytes(*word) ^ key;
        seen |= masked;
        *word = masked.to_ne_bytes();
    }
    seen
}

/// Copies `from` to `to`, masked; returns all results, or-ed.
#[inline(always)]
pub(super) fn copy(to: &mut [[u8; 8]], from: &[[u8; 8]], key: u64) -> u64 {
    let mut seen = 0;
    for (to, from) in to.iter_mut().zip(from) {
        let masked = u64::from_ne_bytes(*from) ^ key;
        seen |= masked;
        *to = masked.to_ne_bytes();
    }
    seen
}
