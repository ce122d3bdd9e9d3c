//! Long runs on x86-64: AVX2 where the processor has it, otherwise the baseline's SSE2.
//!
//! The check is a load and a branch: the standard library keeps what it found.
#![allow(unsafe_code)]

use super::words;

/// As [`words::apply`].
pub(super) fn apply(words: &mut [[u8; 8]], key: u64) -> u64 {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        unsafe { apply_avx2(words, key) }
    } else {
        words::apply(words, key)
    }
}

/// As [`words::copy`].
pub(super) fn copy(to: &mut [[u8; 8]], from: &[[u8; 8]], key: u64) -> u64 {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        unsafe { copy_avx2(to, from, key) }
    } else {
        words::copy(to, from, key)
    }
}

/// As [`words::move_down`].
pub(super) fn move_down(bytes: &mut [u8], by: usize, key: u64) -> u64 {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        unsafe { move_down_avx2(bytes, by, key) }
    } else {
        words::move_down(bytes, by, key)
    }
}

#[target_feature(enable = "avx2")]
fn apply_avx2(words: &mut [[u8; 8]], key: u64) -> u64 {
    words::apply(words, key)
}

#[target_feature(enable = "avx2")]
fn copy_avx2(to: &mut [[u8; 8]], from: &[[u8; 8]], key: u64) -> u64 {
    words::copy(to, from, key)
}

#[target_feature(enable = "avx2")]
fn move_down_avx2(bytes: &mut [u8], by: usize, key: u64) -> u64 {
    words::move_down(bytes, by, key)
}
