//! Finds the frames in what a peer sends, however it was cut on its way.
//!
//! Invariants: whole frames are read where they lie; memory grows with bytes that were received, never with a length
//! that was announced; a link that has no half of a frame holds no memory.

use roadstead_protocol::relay::{Frame, Malformed, frame_bytes, read_frame};

/// Bytes after which the length of a frame is known.
const LEN_BYTES: usize = 4;

/// The beginning of a frame whose end has not come.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    partial: Vec<u8>,
    /// `partial` was handed out as a whole frame.
    is_read: bool,
}

impl Inbound {
    /// The next frame of what was kept and of `bytes`, which becomes what is left of it. `None`: all of it is taken.
    ///
    /// # Errors
    /// [`Malformed`]: nothing after it can be read.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        frame_bytes_max: usize,
    ) -> Result<Option<Frame<'a>>, Malformed> {
        if std::mem::take(&mut self.is_read) {
            self.partial = Vec::new();
        }
        if self.partial.is_empty() {
            if let Some((frame, taken)) = read_frame(bytes, frame_bytes_max)? {
                *bytes = &bytes[taken..];
                return Ok(Some(frame));
            }
            self.keep(bytes, bytes.len());
            return Ok(None);
        }
        self.keep(bytes, LEN_BYTES.saturating_sub(self.partial.len()));
        let Some(whole) = frame_bytes(&self.partial, frame_bytes_max)? else { return Ok(None) };
        self.keep(bytes, whole - self.partial.len());
        let frame = read_frame(&self.partial, frame_bytes_max)?;
        self.is_read = frame.is_some();
        Ok(frame.map(|(frame, _)| frame))
    }

    /// Memory that waits for the end of a frame: at most twice what was received of it.
    pub(super) fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Moves up to `wanted` bytes.
    fn keep(&mut self, bytes: &mut &[u8], wanted: usize) {
        let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
        self.partial.extend_from_slice(taken);
        *bytes = rest;
    }
}
