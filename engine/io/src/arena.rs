//! The receive buffer of one thread: filled by one `wait`, read by one turn, then used again.
//!
//! Invariants: what a [`Payload`] refers to is never written; a back end has let go of a turn's payloads when it
//! receives, so that the buffer is the same in every turn.

use std::ops::Range;
use std::rc::Rc;

use crate::Payload;

/// A fixed block of bytes into which a turn's input is received. Small enough to stay in the second-level cache.
#[derive(Debug)]
pub struct Arena {
    bytes: Rc<Vec<u8>>,
}

impl Arena {
    /// An arena of `len` bytes, zeroed once. 128 to 256 KiB serve best: less and turns are short, more and it is cold.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { bytes: Rc::new(vec![0; len]) }
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
        self.room(start as usize..(start + len) as usize)
    }

    /// Received bytes as something to send: no copy is made. Whoever keeps it beyond the next [`crate::Io::wait`] keeps
    /// the whole arena, and the owner gets another.
    ///
    /// # Panics
    /// If the range lies outside the arena.
    #[must_use]
    pub fn payload(&self, start: u32, len: u32) -> Payload {
        Payload::new(Rc::clone(&self.bytes), start as usize, len as usize)
    }

    /// The room at `range`, for a back end to receive into.
    pub fn room(&mut self, range: Range<usize>) -> &mut [u8] {
        // While somebody refers to the old bytes this moves to a copy.
        &mut Rc::make_mut(&mut self.bytes)[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_payload_refers_to_does_not_change() {
        let mut arena = Arena::new(8);
        arena.room(0..4).copy_from_slice(b"abcd");
        let at = arena.received(0, 4).as_ptr();
        let payload = arena.payload(1, 2);
        arena.received(0, 4).fill(b'x');
        assert_eq!(&*payload, b"bc");
        assert_eq!(arena.received(0, 4), b"xxxx");
        let moved_to = arena.received(0, 4).as_ptr();
        assert_ne!(moved_to, at);
        drop((arena.payload(0, 4), payload));
        assert_eq!(arena.received(0, 4).as_ptr(), moved_to, "nobody refers to it: it stays");
    }
}
