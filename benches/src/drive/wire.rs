//! The few bytes of HTTP and RFC 6455 the driver says and hears, encoded ahead of time.
//!
//! Not a WebSocket implementation: no fragmentation, no control frames but those that are counted, and
//! the accept value of the handshake is not checked (tests of the server do that).

use std::net::SocketAddrV4;

/// Opcodes of RFC 6455 section 5.2 that occur here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Text = 1,
    Binary = 2,
}

/// A masking key without zero bytes, so that unmasking is work. One key serves all frames: servers do
/// not look whether it repeats.
const MASK: [u8; 4] = [0x5a, 0x93, 0xc7, 0x2d];

/// A complete upgrade request (RFC 6455 section 4.1).
pub(super) fn upgrade_request(address: SocketAddrV4, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         User-Agent: roadstead-drive\r\n\r\n"
    )
    .into_bytes()
}

fn push_head(out: &mut Vec<u8>, opcode: Opcode, payload_bytes: usize, mask_bit: u8) {
    out.push(0x80 | opcode as u8);
    match payload_bytes {
        0..=125 => out.push(mask_bit | payload_bytes as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
}

/// A final, masked frame as a client sends it.
pub(super) fn client_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    push_head(&mut frame, opcode, payload.len(), 0x80);
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A final, unmasked frame as a server sends it.
pub(super) fn server_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    push_head(&mut frame, opcode, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// The first frame in `bytes` sent by a server, and what follows it; `None` until it is whole.
pub(super) fn split_frame(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match second {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*length) as usize, rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length) as usize, rest)
        }
        _ => (second as usize, rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((Frame { opcode: first & 0x0f, payload }, rest))
}

/// One frame of a server.
pub(super) struct Frame<'b> {
    pub(super) opcode: u8,
    pub(super) payload: &'b [u8],
}

/// Printable bytes without anything JSON escapes, the same on every run.
pub(super) fn letters(count: usize) -> Vec<u8> {
    (0..count).map(|i| b'a' + ((i * 7 + i / 26) % 26) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_frames_follow_the_standard() {
        // (payload bytes, expected head): RFC 6455 section 5.2
        let table: [(usize, &[u8]); 4] = [
            (20, &[0x82, 0x80 | 20]),
            (125, &[0x82, 0x80 | 125]),
            (126, &[0x82, 0x80 | 126, 0, 126]),
            (65_536, &[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (count, head) in table {
            let payload = letters(count);
            let frame = client_frame(Opcode::Binary, &payload);
            assert_eq!(&frame[..head.len()], head);
            assert_eq!(frame.len(), head.len() + 4 + count);
            let key: [u8; 4] = frame[head.len()..head.len() + 4].try_into().unwrap();
            let unmasked: Vec<u8> =
                frame[head.len() + 4..].iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
            assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn frames_of_any_length_are_split_where_they_end() {
        for count in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = letters(count);
            let mut bytes = server_frame(Opcode::Text, &payload);
            let whole = bytes.len();
            bytes.extend_from_slice(b"next");
            for end in [0, 1, whole - 1] {
                assert!(split_frame(&bytes[..end.min(whole - 1)]).is_none(), "{count} bytes, cut at {end}");
            }
            let (frame, rest) = split_frame(&bytes).unwrap();
            assert_eq!((frame.opcode, frame.payload, rest), (1, &payload[..], &b"next"[..]));
        }
    }
}
