//! Masking (RFC 6455 section 5.3): `byte[i] ^= key[(offset + i) % 4]`, eight bytes or a vector at a time.
//!
//! Invariants: no loop over single bytes beyond a remainder of three; every byte is read once and written once;
//! while they pass, it is noticed whether all of them are ASCII, which makes most UTF-8 checks free.

mod words;

#[cfg(not(target_arch = "x86_64"))]
#[path = "portable.rs"]
mod vectors;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod vectors;

/// From this length on the vector code pays for its dispatch.
const VECTOR_BYTES_MIN: usize = 128;

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Masks or unmasks `bytes` in place. `offset` is the position of the first byte in the frame's payload.
#[inline]
pub fn apply(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    apply_noting_ascii(bytes, key, offset);
}

/// Copies `from` to `to` and masks or unmasks it on the way. `offset` as in [`apply`].
///
/// # Panics
/// The lengths differ.
#[inline]
pub fn copy(to: &mut [u8], from: &[u8], key: [u8; 4], offset: usize) {
    copy_noting_ascii(to, from, key, offset);
}

/// As [`apply`]; tells whether the result is ASCII.
#[inline]
pub(crate) fn apply_noting_ascii(bytes: &mut [u8], key: [u8; 4], offset: usize) -> bool {
    let key = rotated(key, offset);
    let Some(&tail) = bytes.last_chunk::<8>() else {
        return apply_short(bytes, key) & HIGH_BITS == 0;
    };
    // The last eight bytes are taken before the loop reaches some of them, and written over it at the end.
    let tail_key = wide(rotated(key, bytes.len()));
    let long = bytes.len() >= VECTOR_BYTES_MIN;
    let words = bytes.as_chunks_mut::<8>().0;
    let mut seen = if long { vectors::apply(words, wide(key)) } else { words::apply(words, wide(key)) };
    let tail = u64::from_ne_bytes(tail) ^ tail_key;
    seen |= tail;
    if let Some(to) = bytes.last_chunk_mut() {
        *to = tail.to_ne_bytes();
    }
    seen & HIGH_BITS == 0
}

/// As [`copy`]; tells whether the result is ASCII.
#[inline]
pub(crate) fn copy_noting_ascii(to: &mut [u8], from: &[u8], key: [u8; 4], offset: usize) -> bool {
    assert_eq!(to.len(), from.len(), "masking copies between slices of one length");
    let key = rotated(key, offset);
    let Some(&tail) = from.last_chunk::<8>() else {
        to.copy_from_slice(from);
        return apply_short(to, key) & HIGH_BITS == 0;
    };
    let tail_key = wide(rotated(key, from.len()));
    let (to_words, from_words) = (to.as_chunks_mut::<8>().0, from.as_chunks::<8>().0);
    let mut seen = if from.len() >= VECTOR_BYTES_MIN {
        vectors::copy(to_words, from_words, wide(key))
    } else {
        words::copy(to_words, from_words, wide(key))
    };
    let tail = u64::from_ne_bytes(tail) ^ tail_key;
    seen |= tail;
    if let Some(to) = to.last_chunk_mut() {
        *to = tail.to_ne_bytes();
    }
    seen & HIGH_BITS == 0
}

/// Moves `bytes[by..]` to the front of `bytes`, masked or unmasked on the way; tells whether the result is ASCII.
///
/// # Panics
/// `by` is beyond the end.
#[inline]
pub(crate) fn move_down_noting_ascii(bytes: &mut [u8], by: usize, key: [u8; 4]) -> bool {
    let len = bytes.len() - by;
    if by == 0 {
        return apply_noting_ascii(bytes, key, 0);
    }
    let Some(&tail) = bytes[by..].last_chunk::<8>() else {
        bytes.copy_within(by.., 0);
        return apply_short(&mut bytes[..len], key) & HIGH_BITS == 0;
    };
    let tail_key = wide(rotated(key, len));
    let mut seen = if len >= VECTOR_BYTES_MIN {
        vectors::move_down(bytes, by, wide(key))
    } else {
        words::move_down(bytes, by, wide(key))
    };
    let tail = u64::from_ne_bytes(tail) ^ tail_key;
    seen |= tail;
    if let Some(to) = bytes[..len].last_chunk_mut() {
        *to = tail.to_ne_bytes();
    }
    seen & HIGH_BITS == 0
}

/// Fewer than eight bytes: two overlapping halves, or a remainder of three. Returns all result bytes, or-ed.
#[inline]
fn apply_short(bytes: &mut [u8], key: [u8; 4]) -> u64 {
    let Some(&tail) = bytes.last_chunk::<4>() else {
        return bytes.iter_mut().zip(key).fold(0, |seen, (byte, key)| {
            *byte ^= key;
            seen | u64::from(*byte)
        });
    };
    let tail = u32::from_ne_bytes(tail) ^ u32::from_ne_bytes(rotated(key, bytes.len()));
    let mut seen = tail;
    if let Some(head) = bytes.first_chunk_mut::<4>() {
        let word = u32::from_ne_bytes(*head) ^ u32::from_ne_bytes(key);
        seen |= word;
        *head = word.to_ne_bytes();
    }
    if let Some(to) = bytes.last_chunk_mut() {
        *to = tail.to_ne_bytes();
    }
    u64::from(seen)
}

/// The key as it applies from `offset` on. For the eight (four) bytes that end at a length, that length is the
/// right offset, since eight (four) is a multiple of the key's length.
#[inline]
pub(crate) fn rotated(key: [u8; 4], offset: usize) -> [u8; 4] {
    let shift = (offset % 4) as u32 * 8;
    u32::from_le_bytes(key).rotate_right(shift).to_le_bytes()
}

#[inline]
fn wide(key: [u8; 4]) -> u64 {
    let key = u64::from(u32::from_ne_bytes(key));
    key << 32 | key
}
