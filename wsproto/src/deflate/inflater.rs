//! The way back: a deflated message in, a checked one out, its size limited while it grows.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{TAIL, WINDOW_BITS_MAX};
use crate::event::MessageKind;
use crate::limits::{INFLATE_PIECE_BYTES, INFLATE_PIECE_BYTES_MIN};
use crate::utf8::Utf8;
use crate::violation::Violation;

/// The end of what a peer has sent, for messages that lean on earlier ones: all that one connection has to keep.
#[derive(Debug)]
pub struct Window {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Window {
    /// A window for an agreement on this exponent.
    #[must_use]
    pub fn new(bits: u8) -> Self {
        Self { bytes: Vec::new(), bytes_max: Self::bytes_max(bits) }
    }

    /// How many bytes one can come to hold.
    #[must_use]
    pub const fn bytes_max(bits: u8) -> usize {
        1 << bits
    }

    /// How many bytes this one can come to hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes_max
    }

    fn slide(&mut self, message: &[u8]) {
        let fresh = &message[message.len().saturating_sub(self.bytes_max)..];
        let kept = self.bytes_max - fresh.len();
        self.bytes.drain(..self.bytes.len().saturating_sub(kept));
        self.bytes.reserve_exact(fresh.len());
        self.bytes.extend_from_slice(fresh);
    }
}

/// Inflates messages, of any number of connections. Some 48 KB.
pub struct Inflater {
    stream: Inflate,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Inflate::new(false, WINDOW_BITS_MAX) }
    }
}

impl Inflater {
    /// Puts the message that was deflated to `payload` into `out`, in place of what is there. `window` is what earlier
    /// messages left, where the peer may lean on them.
    ///
    /// # Errors
    /// [`Violation::NotDeflated`], [`Violation::MessageTooLong`] as soon as there are more than `bytes_max` bytes, and
    /// [`Violation::InvalidUtf8`] as soon as a text is none. The connection is of no more use.
    pub fn inflate(
        &mut self,
        payload: &[u8],
        kind: MessageKind,
        bytes_max: usize,
        window: Option<&mut Window>,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        out.clear();
        self.begin(window.as_deref().map_or(&[], |window| &window.bytes))?;
        let mut utf8 = Utf8::new();
        for part in [payload, &TAIL] {
            let mut rest = part;
            loop {
                let start = out.len();
                // One byte more than is allowed tells that there is more.
                let guess = rest.len().saturating_mul(4).clamp(INFLATE_PIECE_BYTES_MIN, INFLATE_PIECE_BYTES);
                let room = guess.min(bytes_max + 1 - start);
                out.resize(start + room, 0);
                let (had_in, had_out) = (self.stream.total_in(), self.stream.total_out());
                let status = self.stream.decompress(rest, &mut out[start..], InflateFlush::SyncFlush);
                let taken = (self.stream.total_in() - had_in) as usize;
                let made = (self.stream.total_out() - had_out) as usize;
                rest = &rest[taken..];
                out.truncate(start + made);
                if out.len() > bytes_max {
                    return Err(Violation::MessageTooLong);
                }
                if kind == MessageKind::Text {
                    utf8.feed(&out[start..]).map_err(|_| Violation::InvalidUtf8)?;
                }
                match status {
                    // A last block ends a stream, but not the message (section 7.2.3.4); what follows may lean on it.
                    Ok(Status::StreamEnd) => {
                        let earlier = window.as_deref().map_or(&[][..], |window| &window.bytes);
                        let kept = earlier.iter().chain(&*out);
                        let skipped = (earlier.len() + out.len()).saturating_sub(1 << WINDOW_BITS_MAX);
                        let reach: Vec<u8> = kept.skip(skipped).copied().collect();
                        self.begin(&reach)?;
                        if rest.is_empty() {
                            break;
                        }
                    }
                    Ok(Status::Ok | Status::BufError) if made == room => {}
                    Ok(Status::Ok | Status::BufError) if rest.is_empty() => break,
                    _ => return Err(Violation::NotDeflated),
                }
            }
        }
        if !utf8.is_complete() {
            return Err(Violation::InvalidUtf8);
        }
        if let Some(window) = window {
            window.slide(out);
        }
        Ok(())
    }

    /// A new stream that may reach back into `earlier`.
    fn begin(&mut self, earlier: &[u8]) -> Result<(), Violation> {
        self.stream.reset(false);
        if !earlier.is_empty() {
            self.stream.set_dictionary(earlier).map_err(|_| Violation::NotDeflated)?;
        }
        Ok(())
    }
}
