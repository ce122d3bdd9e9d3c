//! Bytes to send: a range of a buffer shared by reference within one thread.

use std::ops::Deref;
use std::rc::Rc;

/// A range of a shared buffer. Cloning copies a pointer, not bytes. Not `Send`: nothing is shared between shards.
#[derive(Clone, Debug)]
pub struct Payload {
    buffer: Rc<Vec<u8>>,
    start: u32,
    len: u32,
}

impl Payload {
    /// The range `start..start + len` of `buffer`.
    ///
    /// # Panics
    /// If the range lies outside the buffer.
    #[must_use]
    pub fn new(buffer: Rc<Vec<u8>>, start: usize, len: usize) -> Self {
        assert!(start.checked_add(len).is_some_and(|end| end <= buffer.len() && end <= u32::MAX as usize));
        Self { buffer, start: start as u32, len: len as u32 }
    }

    /// Length, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Grows this range by `next` if both are neighbours in one buffer; otherwise gives `next` back.
    ///
    /// # Errors
    /// Not an error of anybody: the ranges are apart.
    pub fn join(&mut self, next: Payload) -> Result<(), Payload> {
        if Rc::ptr_eq(&self.buffer, &next.buffer) && self.start + self.len == next.start {
            self.len += next.len;
            Ok(())
        } else {
            Err(next)
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self::new(Rc::new(bytes), 0, len)
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.start as usize..(self.start + self.len) as usize]
    }
}
