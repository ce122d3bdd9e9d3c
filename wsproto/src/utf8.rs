//! UTF-8 that arrives in pieces, checked as it arrives.
//!
//! Invariants: one byte of state; an invalid sequence is seen at the first byte that no valid text could have
//! there (a surrogate at `ED A0`, a code point above U+10FFFF at `F4 90`, an overlong form at `E0 80`), wherever the
//! pieces were cut.

/// Below this length the standard library is faster than setting up the vector code.
const SIMD_BYTES_MIN: usize = 64;

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Whether `bytes` are UTF-8 as a whole.
#[inline]
pub fn is_valid(bytes: &[u8]) -> bool {
    if bytes.len() < SIMD_BYTES_MIN {
        std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// Which bytes may come next.
///
/// ```text
///            C2..DF                             80..BF
///   Start ─────────────────────────> Last ───────────────> Start
///     │ E0  ─> AfterE0 ── A0..BF ───> Last
///     │ E1..EC, EE, EF ─> Two ─ 80..BF > Last
///     │ ED  ─> AfterEd ── 80..9F ───> Last
///     │ F0  ─> AfterF0 ── 90..BF ───> Two
///     │ F1..F3 ─────────> Three ─ 80..BF > Two
///     └ F4  ─> AfterF4 ── 80..8F ───> Two
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
enum Next {
    #[default]
    Start,
    Last,
    Two,
    Three,
    AfterE0,
    AfterEd,
    AfterF0,
    AfterF4,
}

/// The state of a text that arrives in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Utf8(Next);

impl Utf8 {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self(Next::Start)
    }

    /// Whether the text may end here: no character is incomplete.
    #[inline]
    pub const fn is_complete(self) -> bool {
        matches!(self.0, Next::Start)
    }

    /// Checks the next piece.
    ///
    /// # Errors
    /// [`Invalid`]; the state is then meaningless.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let mut rest = bytes;
        // At most three bytes complete the character that the last piece left open.
        while !self.is_complete()
            && let [byte, after @ ..] = rest
        {
            self.0 = step(self.0, *byte).ok_or(Invalid)?;
            rest = after;
        }
        let (whole, open) = rest.split_at(rest.len() - open_len(rest));
        if !is_valid(whole) {
            return Err(Invalid);
        }
        for byte in open {
            self.0 = step(self.0, *byte).ok_or(Invalid)?;
        }
        Ok(())
    }

    /// Checks the next piece, of which is known that it is ASCII, not empty, and so neither continues a character
    /// nor leaves one open.
    #[inline]
    pub(crate) fn feed_ascii(&self) -> Result<(), Invalid> {
        if self.is_complete() { Ok(()) } else { Err(Invalid) }
    }
}

/// How many bytes at the end (0 to 3) begin a character that needs more bytes than there are.
#[inline]
fn open_len(bytes: &[u8]) -> usize {
    for (len, byte) in (1..=3).zip(bytes.iter().rev()) {
        match byte {
            0x80..=0xBF => {}
            0xC0..=0xDF => return if len < 2 { len } else { 0 },
            0xE0..=0xEF => return if len < 3 { len } else { 0 },
            0xF0..=0xFF => return len,
            _ => return 0,
        }
    }
    0
}

/// One transition of the drawing above (the table of Unicode, "well-formed UTF-8 byte sequences").
fn step(next: Next, byte: u8) -> Option<Next> {
    match (next, byte) {
        (Next::Start, 0x00..=0x7F) => Some(Next::Start),
        (Next::Start, 0xC2..=0xDF) => Some(Next::Last),
        (Next::Start, 0xE0) => Some(Next::AfterE0),
        (Next::Start, 0xED) => Some(Next::AfterEd),
        (Next::Start, 0xE1..=0xEF) => Some(Next::Two),
        (Next::Start, 0xF0) => Some(Next::AfterF0),
        (Next::Start, 0xF1..=0xF3) => Some(Next::Three),
        (Next::Start, 0xF4) => Some(Next::AfterF4),
        (Next::Last, 0x80..=0xBF) => Some(Next::Start),
        (Next::Two, 0x80..=0xBF) => Some(Next::Last),
        (Next::Three, 0x80..=0xBF) => Some(Next::Two),
        (Next::AfterE0, 0xA0..=0xBF) => Some(Next::Last),
        (Next::AfterEd, 0x80..=0x9F) => Some(Next::Last),
        (Next::AfterF0, 0x90..=0xBF) => Some(Next::Two),
        (Next::AfterF4, 0x80..=0x8F) => Some(Next::Two),
        _ => None,
    }
}
