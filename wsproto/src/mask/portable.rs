//! Long runs on targets without a kernel of their own: what the target's baseline gives.

use super::words;

/// As [`words::apply`].
pub(super) fn apply(words: &mut [[u8; 8]], key: u64) -> u64 {
    words::apply(words, key)
}

/// As [`words::copy`].
pub(super) fn copy(to: &mut [[u8; 8]], from: &[[u8; 8]], key: u64) -> u64 {
    words::copy(to, from, key)
}

/// As [`words::move_down`].
pub(super) fn move_down(bytes: &mut [u8], by: usize, key: u64) -> u64 {
    words::move_down(bytes, by, key)
}
