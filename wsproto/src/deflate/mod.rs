//! permessage-deflate (RFC 7692): what two ends agree to, and the messages that are deflated by it.
//!
//! Invariants: what is sent never leans on an earlier message, so that one [`Deflater`] serves any number of connections,
//! in any order, and what it made of a message serves all of them; what is received leans on earlier messages only
//! through a [`Window`], so that one [`Inflater`] serves all connections too.

mod agreement;
mod deflater;
mod inflater;

pub use agreement::{Agreement, NAME, Offer, accept};
pub use deflater::Deflater;
pub use inflater::{Inflater, Window};

/// How an empty block ends, by which a message is flushed: not on the wire (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The exponents that a window can have (section 7.1.2).
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 8..=WINDOW_BITS_MAX;

/// The exponent of the largest window, which holds where nothing is said.
pub const WINDOW_BITS_MAX: u8 = 15;

/// Whether a message of `len` bytes can be deflated for a peer whose window has this exponent: by a compressor that knows
/// nothing of the window, but reaches no farther back than the message is long.
#[inline]
#[must_use]
pub const fn fits_window(len: usize, window_bits: u8) -> bool {
    len <= 1 << window_bits
}
