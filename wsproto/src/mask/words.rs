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

/// Moves the whole words of `bytes[by..]` to the front of `bytes`, masked; returns all results, or-ed. A block is read
/// before it is written, and it is written below what is still to be read. What was seen is kept word by word of a block,
/// so that the loop has no step from vectors to one word.
#[inline(always)]
pub(super) fn move_down(bytes: &mut [u8], by: usize, key: u64) -> u64 {
    const BLOCK_WORDS: usize = 16;
    const BLOCK_BYTES: usize = BLOCK_WORDS * 8;
    let len = bytes.len() - by;
    let (mut seen, mut at) = ([0; BLOCK_WORDS], 0);
    while let Some(block) = bytes[at + by..].first_chunk::<BLOCK_BYTES>() {
        let mut block = *block;
        for (word, seen) in block.as_chunks_mut::<8>().0.iter_mut().zip(&mut seen) {
            let masked = u64::from_ne_bytes(*word) ^ key;
            *seen |= masked;
            *word = masked.to_ne_bytes();
        }
        bytes[at..at + BLOCK_BYTES].copy_from_slice(&block);
        at += BLOCK_BYTES;
    }
    for at in (at..len & !7).step_by(8) {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at + by..at + by + 8]);
        let masked = u64::from_ne_bytes(word) ^ key;
        seen[0] |= masked;
        bytes[at..at + 8].copy_from_slice(&masked.to_ne_bytes());
    }
    seen.into_iter().fold(0, |all, word| all | word)
}
