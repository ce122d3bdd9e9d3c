//! The compressor: a message in, a deflated one out, with nothing kept between them.

use std::fmt;

use zlib_rs::{Deflate, DeflateFlush, Status};

use super::{TAIL, WINDOW_BITS_MAX};
use crate::limits::DEFLATE_KEPT_BYTES;

/// Deflates messages, each for itself. Some 300 KB: for many connections, not for each.
pub struct Deflater {
    stream: Deflate,
    /// What is deflated; the length is room, not content.
    out: Vec<u8>,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("room", &self.out.len()).finish_non_exhaustive()
    }
}

impl Deflater {
    /// A compressor of a level from 1 (quick) to 9 (small); others are taken for the nearest of these.
    #[must_use]
    pub fn new(level: u8) -> Self {
        let level = i32::from(level.clamp(1, 9));
        Self { stream: Deflate::new(level, false, WINDOW_BITS_MAX), out: Vec::new() }
    }

    /// The payload that a message of `payload` has when it is deflated; `None` if it would not be smaller. Only for peers
    /// with [`super::fits_window`]; the frame, or the first of them, has RSV1 set.
    pub fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        if self.out.len() > DEFLATE_KEPT_BYTES {
            self.out = Vec::new();
        }
        // The tail is not sent.
        let room = payload.len() + TAIL.len();
        if self.out.len() < room {
            self.out.resize(room, 0);
        }
        self.stream.reset();
        let status = self.stream.compress(payload, &mut self.out[..room], DeflateFlush::SyncFlush);
        let len = self.stream.total_out() as usize;
        // Where all room is used, something may be missing.
        let is_whole =
            status == Ok(Status::Ok) && self.stream.total_in() as usize == payload.len() && len < room;
        let deflated = self.out[..len].strip_suffix(&TAIL).filter(|_| is_whole)?;
        (deflated.len() < payload.len()).then_some(deflated)
    }
}
