//! What attackers of a WebSocket server of the Centrifuge client protocol say.

use std::net::SocketAddrV4;

use super::token::Mint;
use super::wire::{self, Opcode};

/// Where sessions are connected.
const PATH: &str = "/connection/websocket";

/// An upgrade request with further header lines.
#[must_use]
pub fn upgrade(to: SocketAddrV4, headers: &str) -> Vec<u8> {
    let mut request = wire::upgrade_request(to, PATH);
    request.truncate(request.len() - 2);
    request.extend_from_slice(headers.as_bytes());
    request.extend_from_slice(b"\r\n");
    request
}

/// A masked text frame.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    wire::client_frame(Opcode::Text, payload)
}

/// A connect command in a frame, with a token of this user signed by this secret.
#[must_use]
pub fn connect(token_secret: &str, user: &str) -> Vec<u8> {
    let token = Mint::new(token_secret).token(user);
    frame(format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#).as_bytes())
}

/// Bytes without any order, the same on every run (xorshift).
#[must_use]
pub fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A deflated text message (RFC 7692) of about so many bytes, which inflates to 158 times as many: one letter and its
/// repetition in the longest steps that there are.
#[must_use]
pub fn bomb(bytes: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // RFC 1951 section 3.2.6: a block of fixed codes that is not the last, and the letter `a`.
    bits.push(0b010, 3);
    bits.push_code(0x30 + u16::from(b'a'), 8);
    while bits.bytes.len() < bytes {
        // A length of 258 (code 285) at a distance of 1 (code 0).
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    // The end of the block, and an empty stored one whose length a sender leaves out.
    bits.push_code(0, 7);
    bits.push(0, 3);
    let mut frame = frame(&bits.finish());
    frame[0] |= 0x40;
    frame
}

/// Bits, the lowest of a byte first (RFC 1951 section 3.1.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u16, width: u32) {
        self.held |= u32::from(value) << self.count;
        self.count += width;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// Huffman codes go with their highest bit first.
    fn push_code(&mut self, code: u16, width: u32) {
        self.push(code.reverse_bits() >> (16 - width), width);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.held as u8);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_lie_as_the_standard_says() {
        let mut bits = Bits::default();
        bits.push(0b010, 3);
        bits.push_code(0x30 + u16::from(b'a'), 8);
        bits.push_code(0, 7);
        // What zlib makes of "a" with fixed codes, but for the mark of the last block.
        assert_eq!(bits.finish(), [0x4a, 0x04, 0x00]);
    }

    #[test]
    fn a_bomb_is_a_deflated_frame_of_its_size() {
        let bomb = bomb(1_000);
        assert_eq!(bomb[0], 0x80 | 0x40 | 1);
        assert!((1_000..1_020).contains(&bomb.len()), "{}", bomb.len());
    }

    #[test]
    fn further_headers_come_before_the_end_of_the_head() {
        let request = upgrade("127.0.0.1:80".parse().unwrap(), "X-A: b\r\n");
        let request = String::from_utf8(request).unwrap();
        assert!(request.ends_with("\r\nX-A: b\r\n\r\n"), "{request}");
    }
}
