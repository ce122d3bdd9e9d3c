//! A frame header as received: every rule of RFC 6455 section 5.2 that the header alone decides.
//!
//! Invariants: each rule is checked as soon as the bytes it needs are there and in the order of the bytes, so that
//! the verdict does not depend on how they were split; a length beyond the limits never leaves this file.

use crate::frame::{Opcode, Role};
use crate::limits::{CONTROL_BYTES_MAX, Limits};
use crate::violation::Violation;

/// A header that broke no rule. `payload_len` is within the limits.
pub(crate) struct Head {
    pub(crate) opcode: Opcode,
    pub(crate) fin: bool,
    pub(crate) rsv1: bool,
    pub(crate) payload_len: u32,
    /// All zero from a server: unmasking with it changes nothing.
    pub(crate) key: [u8; 4],
    /// Bytes of the header itself, 2 to 14.
    pub(crate) size: usize,
}

/// What the rules depend on besides the bytes.
pub(crate) struct Expected<'l> {
    pub(crate) role: Role,
    pub(crate) rsv1_allowed: bool,
    /// Bytes and frames of the message that is open.
    pub(crate) open: Option<(u32, u32)>,
    pub(crate) limits: &'l Limits,
}

impl Head {
    /// Reads the header at the front of `bytes`; `None` if it is incomplete and faultless so far.
    #[inline]
    pub(crate) fn read(bytes: &[u8], expected: &Expected<'_>) -> Result<Option<Self>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (opcode, fin, rsv1) = read_first(first, expected)?;

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        match (expected.role, second & 0x80 != 0) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            _ => {}
        }
        let short_len = second & 0x7F;
        if opcode.is_control() && usize::from(short_len) > CONTROL_BYTES_MAX {
            return Err(Violation::LongControl);
        }

        let Some((len, len_end)) = read_len(short_len, bytes)? else { return Ok(None) };
        let payload_len = if opcode.is_control() { len as u32 } else { check_len(len, expected)? };

        let (key, size) = match expected.role {
            Role::Client => ([0; 4], len_end),
            Role::Server => match bytes.get(len_end..).and_then(<[u8]>::first_chunk) {
                Some(key) => (*key, len_end + 4),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { opcode, fin, rsv1, payload_len, key, size }))
    }
}

#[inline]
fn read_first(first: u8, expected: &Expected<'_>) -> Result<(Opcode, bool, bool), Violation> {
    let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
    if first & 0x30 != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::from_bits(first).ok_or(Violation::ReservedOpcode)?;
    // The extension that may be negotiated marks messages, on their first frame only (RFC 7692 section 6).
    if rsv1 && (!expected.rsv1_allowed || opcode.is_control() || opcode == Opcode::Continuation) {
        return Err(Violation::ReservedBits);
    }
    match (opcode, expected.open) {
        (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::InterruptedMessage),
        (Opcode::Continuation, Some((_, frames))) if frames >= expected.limits.fragments => {
            return Err(Violation::TooManyFragments);
        }
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if !fin => return Err(Violation::FragmentedControl),
        _ => {}
    }
    Ok((opcode, fin, rsv1))
}

/// The payload length and where its encoding ends.
#[inline]
fn read_len(short_len: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short_len {
        126 => {
            let Some(len) = bytes[2..].first_chunk() else { return Ok(None) };
            match u16::from_be_bytes(*len) {
                0..126 => Err(Violation::NonMinimalLength),
                len => Ok(Some((u64::from(len), 4))),
            }
        }
        127 => {
            let Some(len) = bytes[2..].first_chunk() else { return Ok(None) };
            match u64::from_be_bytes(*len) {
                0..0x1_0000 => Err(Violation::NonMinimalLength),
                len if len >> 63 != 0 => Err(Violation::LengthTopBit),
                len => Ok(Some((len, 10))),
            }
        }
        len => Ok(Some((u64::from(len), 2))),
    }
}

/// Holds a data frame's declared length against the limits, before any of its payload.
#[inline]
fn check_len(len: u64, expected: &Expected<'_>) -> Result<u32, Violation> {
    let before = expected.open.map_or(0, |(bytes, _)| bytes);
    if len > u64::from(expected.limits.frame_bytes) {
        return Err(Violation::FrameTooLong);
    }
    // No overflow: both are below 2^32.
    if u64::from(before) + len > u64::from(expected.limits.message_bytes) {
        return Err(Violation::MessageTooLong);
    }
    Ok(len as u32)
}
