//! What is sent: opcodes, frame headers, and whole frames pushed into a buffer.
//!
//! Invariants: lengths are encoded minimally; a control payload is never longer than 125 bytes; masking keys come
//! from the caller.

use std::ops::Deref;

use crate::close;
use crate::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
use crate::mask;

/// Which end of the connection we are. A server receives masked frames only, a client unmasked ones only
/// (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted the upgrade.
    Server,
    /// We asked for it.
    Client,
}

/// The frame types of RFC 6455 section 5.2; all other values are reserved and violate the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that is open.
    Continuation = 0x0,
    /// The first or only frame of a text message.
    Text = 0x1,
    /// The first or only frame of a binary message.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks for a [`Opcode::Pong`] with the same payload.
    Ping = 0x9,
    /// Answers a [`Opcode::Ping`], or stands alone as a heartbeat.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte; `None` if it is reserved.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0x0F {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Close, ping and pong: never fragmented, at most 125 bytes, allowed between fragments.
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// An encoded frame header of 2 to 14 bytes; dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Deref for Header {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Encodes the header of a frame whose payload of `payload_len` bytes the caller sends itself, masked with `mask`
/// if one is given.
///
/// # Panics
/// Debug builds: a control frame that is fragmented, compressed or longer than 125 bytes.
#[inline]
pub fn frame_header(
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    payload_len: usize,
    mask: Option<[u8; 4]>,
) -> Header {
    debug_assert!(
        !opcode.is_control() || (fin && !rsv1 && payload_len <= CONTROL_BYTES_MAX),
        "RFC 6455 section 5.5: control frames are whole, plain and short"
    );
    let mut bytes = [0; HEADER_BYTES_MAX];
    bytes[0] = (u8::from(fin) << 7) | (u8::from(rsv1) << 6) | opcode as u8;
    let masked = u8::from(mask.is_some()) << 7;
    let mut len = match payload_len {
        0..=125 => {
            bytes[1] = masked | payload_len as u8;
            2
        }
        126..=0xFFFF => {
            bytes[1] = masked | 126;
            bytes[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = masked | 127;
            bytes[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    if let Some(key) = mask {
        bytes[len..len + 4].copy_from_slice(&key);
        len += 4;
    }
    Header { bytes, len: len as u8 }
}

/// Appends one whole, uncompressed frame to `out`; the payload is masked if a key is given.
///
/// # Panics
/// Debug builds: as [`frame_header`].
pub fn push_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    push_whole(out, opcode, false, payload, mask);
}

/// Appends one whole frame whose payload was deflated ([`crate::deflate::Deflater`]).
///
/// # Panics
/// Debug builds: as [`frame_header`].
pub fn push_deflated(out: &mut Vec<u8>, opcode: Opcode, deflated: &[u8], mask: Option<[u8; 4]>) {
    push_whole(out, opcode, true, deflated, mask);
}

fn push_whole(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload: &[u8], mask: Option<[u8; 4]>) {
    let header = frame_header(opcode, true, rsv1, payload.len(), mask);
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        mask::apply(&mut out[start..], key, 0);
    }
}

/// Appends a Close frame. Without a code its payload is empty and `reason` is left out (section 5.5.1); a reason
/// beyond 123 bytes is cut between two characters.
///
/// # Panics
/// Debug builds: a code that must not be on the wire ([`crate::is_peer_code`]).
pub fn push_close(out: &mut Vec<u8>, code: Option<u16>, reason: &str, mask: Option<[u8; 4]>) {
    let Some(code) = code else {
        return push_frame(out, Opcode::Close, &[], mask);
    };
    debug_assert!(close::is_peer_code(code), "close code {code} must not be sent");
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    push_frame(out, Opcode::Close, &payload[..2 + reason.len()], mask);
}
