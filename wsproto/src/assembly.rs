//! Where an incomplete message is kept: the one thing a decoder asks of its surroundings.

/// The assembly has no room for the bytes of a push; it is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Contiguous bytes that grow as a message arrives. Empty for almost every connection at almost every moment, so
/// it is not part of the decoder: the caller lends one to each call, and keeps it between calls only while
/// [`crate::Decoder::is_partial`].
pub trait Assembly {
    /// Appends `len` bytes and returns exactly these for writing. `len` is what has arrived, never what a header
    /// declared.
    ///
    /// # Errors
    /// [`Full`]; the decoder then ends with [`crate::Violation::NoRoom`].
    fn push(&mut self, len: usize) -> Result<&mut [u8], Full>;

    /// All bytes that were pushed and not truncated.
    fn bytes(&mut self) -> &mut [u8];

    /// Keeps the first `len` bytes; does nothing if there are fewer.
    fn truncate(&mut self, len: usize);
}

/// Grows without bound of its own: [`crate::Limits::message_bytes`] bounds it.
impl Assembly for Vec<u8> {
    #[inline]
    fn push(&mut self, len: usize) -> Result<&mut [u8], Full> {
        let start = self.len();
        self.resize(start + len, 0);
        Ok(&mut self[start..])
    }

    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        self
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        Vec::truncate(self, len);
    }
}
