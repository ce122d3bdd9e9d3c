//! What nodes say to each other on their links: frames, and their reading and writing.
//!
//! Invariants: reading borrows from the frame and allocates nothing; every length is checked against what is there before it
//! is used; a frame is read whole or not at all; bytes once given a meaning keep it (`tests/relay/golden.rs` holds them).
//!
//! A frame, integers little-endian:
//!
//! ```text
//!   len: u32 | kind: u8 | view: u64 | body          len counts what follows it; view is 0 in greetings
//!
//!   name, text   u16 length, UTF-8       position   epoch u32, sequence u64
//!   bytes        u32 length, bytes       optional   u8 0, or u8 1 and the value
//! ```
//!
//! A link begins with greetings, and speaks [`Relay`] from `Ready` on:
//!
//! ```text
//!   dialler                         acceptor
//!     Hello  ─────────────────────────>          who, which versions, a nonce
//!            <─────────────────────── Welcome    the version chosen, a nonce, proof of the cluster's key
//!     Proof  ─────────────────────────>
//!            <─────────────────────── Ready
//!            <─────────────────────── Refuse     in place of any answer; then the link is closed
//! ```
//!
//! Versions: a kind that is not known is skipped, so a later version may add kinds to the same number; a body that
//! changes needs a new number. Of the greetings, which come before there is one, bytes behind the known fields are ignored.

mod greeting;
mod located;
mod malformed;
mod message;
mod stream;
mod wire;

pub use greeting::{Greeting, RefuseCode};
pub use located::{LocatedEntries, LocatedEntry};
pub use malformed::{Malformed, Oversized};
pub use message::{Outcome, Position, Relay, RelayedPublication, RevokedSubject};
pub use stream::{Claim, Found, Reading, Stored, StoredPublications};

use crate::limits::RELAY_FRAME_BYTES_MAX;
use wire::{Reader, Writer};

/// The versions of the relay that this build speaks, least and greatest.
pub const RELAY_VERSIONS: (u16, u16) = (1, 1);

/// Bytes of the length in front of a frame.
const LEN_BYTES: usize = 4;

/// Bytes of kind and View number: the least a frame may be long.
const HEAD_BYTES: usize = 9;

/// One frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// The number of the View under which the sender wrote it; 0 in greetings.
    pub view: u64,
    /// What it says.
    pub body: Body<'a>,
}

/// What a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// Before the link is up.
    Greeting(Greeting<'a>),
    /// On a link that is up.
    Relay(Relay<'a>),
    /// Of a kind that this build does not know: to be skipped.
    Unknown(u8),
}

/// Appends `relay` as one frame, written under the View of this number.
///
/// # Errors
/// [`Oversized`]; `out` is as it was.
pub fn push_relay(out: &mut Vec<u8>, view: u64, relay: &Relay<'_>) -> Result<(), Oversized> {
    push_frame(out, relay.kind(), view, |writer| relay.write(writer))
}

/// Appends `greeting` as one frame.
///
/// # Errors
/// [`Oversized`]; `out` is as it was.
pub fn push_greeting(out: &mut Vec<u8>, greeting: &Greeting<'_>) -> Result<(), Oversized> {
    push_frame(out, greeting.kind(), 0, |writer| greeting.write(writer))
}

/// Reads the frame at the front of `bytes`: it, and how many bytes it took. `None`: more bytes are needed.
///
/// `frame_bytes_max` bounds what the peer may announce: [`GREETING_BYTES_MAX`](crate::GREETING_BYTES_MAX) until the link is
/// up, [`RELAY_FRAME_BYTES_MAX`] from then on. A frame beyond it fails as soon as its length is there.
///
/// # Errors
/// [`Malformed`]: the peer's fault, and nothing after it can be read.
pub fn read_frame(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some(taken) = frame_bytes(bytes, frame_bytes_max)? else { return Ok(None) };
    let Some(frame) = bytes.get(LEN_BYTES..taken) else { return Ok(None) };
    let mut reader = Reader::of(frame);
    let (kind, view) = (reader.u8()?, reader.u64()?);
    let body = if let Some(greeting) = Greeting::read(kind, &mut reader)? {
        Body::Greeting(greeting)
    } else if let Some(relay) = Relay::read(kind, &mut reader)? {
        reader.end()?;
        Body::Relay(relay)
    } else {
        Body::Unknown(kind)
    };
    Ok(Some((Frame { view, body }, taken)))
}

/// How many bytes the frame at the front of `bytes` takes in all, its length included. `None`: that is not told yet.
///
/// # Errors
/// [`Malformed`]: as of [`read_frame`], as far as a length tells.
pub fn frame_bytes(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<usize>, Malformed> {
    let Some(len) = bytes.first_chunk() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    if len > frame_bytes_max {
        return Err(Malformed::Long { bytes: len, bytes_max: frame_bytes_max });
    }
    if len < HEAD_BYTES {
        return Err(Malformed::Short);
    }
    Ok(Some(LEN_BYTES + len))
}

fn push_frame(
    out: &mut Vec<u8>,
    kind: u8,
    view: u64,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<(), Oversized> {
    let start = out.len();
    let mut writer = Writer::to(out);
    writer.u32(0);
    writer.u8(kind);
    writer.u64(view);
    body(&mut writer);
    let fits = writer.fits();
    let len = out.len() - start - LEN_BYTES;
    if !fits || len > RELAY_FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(Oversized);
    }
    out[start..start + LEN_BYTES].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(())
}
