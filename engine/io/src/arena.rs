//! The receive buffer of one thread: filled by one `wait`, read by one turn, then used again.

use std::ops::Range;

/// A fixed block of bytes into which a turn's input is received. Small enough to stay in the second-level cache.
#[derive(Debug)]
pub struct Arena {
    bytes: Box<[u8]>,
}

impl Arena {
    /// An arena of `len` bytes, zeroed once. 128 to 256 KiB serve best: less and turns are short, more and it is cold.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { bytes: vec![0; len].into_boxed_slice() }
    }

    /// Its size, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no room at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of a [`crate::Event::Received`].
    #[must_use]
    pub fn received(&mut self, start: u32, len: u32) -> &mut [u8] {
        &mut self.bytes[start as usize..(start + len) as usize]
    }

    /// The room at `range`, for a back end to receive into.
    pub fn room(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }
}
