//! The PROXY protocol, versions 1 and 2: who a proxy in front says that it speaks for.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Invariants: sans-IO; reads the header and nothing behind it;
//! an incomplete header costs the same to look at however often it is; what is not exactly a header is an error, never a guess.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// The first twelve bytes of version 2: no text, no TLS record, no request begins so.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const FIRST_WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;

const TCP4_BYTES: usize = 12;
const TCP6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;
const TLV_HEAD_BYTES: usize = 3;
const TLV_CRC32C: u8 = 0x03;
const CRC_BYTES: usize = 4;

/// Whom the header names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Introduced {
    /// A client, by the address and port it came from.
    Client(SocketAddr),
    /// Nobody: the proxy speaks for itself (LOCAL, a look whether the node lives), or does not know (UNKNOWN, a Unix socket).
    Nobody,
}

/// The bytes are no header, or one that is longer than any should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Reads the header at the front of what a proxy sent; returns it with its length. `None`: it is incomplete, and faultless so far.
///
/// # Errors
/// [`Malformed`]: whatever follows, this will be no header.
pub fn read_header(bytes: &[u8]) -> Result<Option<(Introduced, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => read_line(bytes),
        Some(_) => read_binary(bytes),
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CR LF.
fn read_line(bytes: &[u8]) -> Result<Option<(Introduced, usize)>, Malformed> {
    let begun = bytes.len().min(FIRST_WORD.len());
    if bytes[..begun] != FIRST_WORD[..begun] {
        return Err(Malformed);
    }
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = seen.iter().position(|&byte| byte == b'\n') else {
        return if seen.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Malformed) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Some((Introduced::Nobody, end + 1)));
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, source_port, destination_port] = words[..] else { return Err(Malformed) };
    let address = |text: &str| -> Result<IpAddr, Malformed> {
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Malformed),
            Some("TCP6") => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Malformed),
            _ => Err(Malformed),
        }
    };
    let source = SocketAddr::new(address(source)?, port(source_port)?);
    address(destination)?;
    port(destination_port)?;
    Ok(Some((Introduced::Client(source), end + 1)))
}

/// Digits without a leading zero.
fn port(text: &str) -> Result<u16, Malformed> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_number { text.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

fn read_binary(bytes: &[u8]) -> Result<Option<(Introduced, usize)>, Malformed> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(Malformed);
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let (version_command, family) = (fixed[12], fixed[13]);
    let end = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if version_command >> 4 != 2 || version_command & 15 > 1 || end > PROXY_HEADER_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(header) = bytes.get(..end) else { return Ok(None) };
    if version_command & 15 == 0 {
        // LOCAL: what follows is to be skipped whatever it is.
        return Ok(Some((Introduced::Nobody, end)));
    }
    let body = &header[FIXED_BYTES..];
    let (introduced, address_bytes) = match family {
        0x11 => {
            let block: &[u8; TCP4_BYTES] = body.first_chunk().ok_or(Malformed)?;
            let ip = Ipv4Addr::from([block[0], block[1], block[2], block[3]]);
            let port = u16::from_be_bytes([block[8], block[9]]);
            (Introduced::Client((ip, port).into()), TCP4_BYTES)
        }
        0x21 => {
            let block: &[u8; TCP6_BYTES] = body.first_chunk().ok_or(Malformed)?;
            let ip: [u8; 16] = *block.first_chunk().ok_or(Malformed)?;
            let port = u16::from_be_bytes([block[32], block[33]]);
            (Introduced::Client((Ipv6Addr::from(ip), port).into()), TCP6_BYTES)
        }
        0x31 if body.len() >= UNIX_BYTES => (Introduced::Nobody, UNIX_BYTES),
        // Unspecified: whatever follows is unknown, too.
        0x00 => return Ok(Some((Introduced::Nobody, end))),
        // Datagrams do not come over a connection, and other families are not defined.
        _ => return Err(Malformed),
    };
    check_extensions(header, FIXED_BYTES + address_bytes)?;
    Ok(Some((introduced, end)))
}

/// Walks over what follows the addresses: each a type, a length and a value. A checksum must be right.
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    while at < header.len() {
        let head = header.get(at..at + TLV_HEAD_BYTES).ok_or(Malformed)?;
        let from = at + TLV_HEAD_BYTES;
        let to = from + usize::from(u16::from_be_bytes([head[1], head[2]]));
        let value = header.get(from..to).ok_or(Malformed)?;
        if head[0] == TLV_CRC32C {
            let said: [u8; CRC_BYTES] = value.try_into().map_err(|_| Malformed)?;
            let without = [&header[..from], &[0; CRC_BYTES], &header[to..]];
            if crc32c(without) != u32::from_be_bytes(said) {
                return Err(Malformed);
            }
        }
        at = to;
    }
    Ok(())
}

/// CRC-32C (RFC 3720 appendix B.4), bit by bit: headers are short, and few carry it.
fn crc32c<const N: usize>(parts: [&[u8]; N]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL * (crc & 1)))
    };
    !parts.iter().flat_map(|part| part.iter()).fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Introduced {
        Introduced::Client(text.parse().expect("an address"))
    }

    /// A header of version 2.
    fn binary(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[version_command, family], &len, body].concat()
    }

    const TCP4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

    fn tcp6() -> Vec<u8> {
        let mut block = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets().to_vec();
        block.extend([0; 16]);
        block.extend([0x12, 0x34, 0, 80]);
        block
    }

    /// The header whole, in every beginning, and with more behind it, is the same.
    fn check(header: &[u8], expected: Result<Introduced, Malformed>) {
        let more = [header, &b"\x16\x03\x01GET / HTTP/1.1\r\n\r\n"[..]].concat();
        let wanted = expected.map(|introduced| Some((introduced, header.len())));
        assert_eq!(read_header(&more), wanted, "{header:?}");
        if expected.is_ok() {
            for len in 0..header.len() {
                assert_eq!(read_header(&header[..len]), Ok(None), "{len} bytes of {header:?}");
            }
        }
    }

    #[test]
    fn lines_of_version_1() {
        let longest = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
        for (line, expected) in [
            (&b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"[..], Ok(client("192.0.2.1:56324"))),
            (b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n", Ok(client("[2001:db8::7]:0"))),
            (b"PROXY UNKNOWN\r\n", Ok(Introduced::Nobody)),
            (longest, Ok(Introduced::Nobody)),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", Err(Malformed)),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", Err(Malformed)),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n", Err(Malformed)),
            (b"PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n", Err(Malformed)),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n", Err(Malformed)),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", Err(Malformed)),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n", Err(Malformed)),
            (b"PROXY TCP4 192.0.2.01 198.51.100.1 1 443\r\n", Err(Malformed)),
            (b"PROXY TCP4 ::1 ::1 1 443\r\n", Err(Malformed)),
            (b"PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n", Err(Malformed)),
            (b"PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n", Err(Malformed)),
            (b"PROXY UNKNOWNS\r\n", Err(Malformed)),
            (b"PROXY \r\n", Err(Malformed)),
            (b"PROXY TCP4 192.0.2.\xff 198.51.100.1 1 443\r\n", Err(Malformed)),
            (b"PROXIES ", Err(Malformed)),
            (b"proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n", Err(Malformed)),
            (b"GET / HTTP/1.1\r\n\r\n", Err(Malformed)),
            (b"\x16\x03\x01\x02\x00", Err(Malformed)),
        ] {
            check(line, expected);
        }
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        assert_eq!(read_header(&endless[..106]), Ok(None));
        assert_eq!(read_header(&endless[..107]), Err(Malformed), "no line is longer");
    }

    #[test]
    fn headers_of_version_2() {
        let extended = [&TCP4[..], &[0x04, 0, 2, 0, 0], &[0xea, 0, 0]].concat();
        let cut = [&TCP4[..], &[0x04, 0, 3, 0, 0]].concat();
        for (header, expected) in [
            (binary(0x21, 0x11, &TCP4), Ok(client("192.0.2.1:56324"))),
            (binary(0x21, 0x21, &tcp6()), Ok(client("[2001:db8::7]:4660"))),
            (binary(0x21, 0x11, &extended), Ok(client("192.0.2.1:56324"))),
            (binary(0x20, 0x00, &[]), Ok(Introduced::Nobody)),
            (binary(0x20, 0x11, &TCP4), Ok(Introduced::Nobody)),
            (binary(0x20, 0xff, &[9; 30]), Ok(Introduced::Nobody)),
            (binary(0x21, 0x00, &[7; 9]), Ok(Introduced::Nobody)),
            (binary(0x21, 0x31, &[0; UNIX_BYTES]), Ok(Introduced::Nobody)),
            (binary(0x21, 0x31, &[0; UNIX_BYTES - 1]), Err(Malformed)),
            (binary(0x21, 0x11, &TCP4[..11]), Err(Malformed)),
            (binary(0x21, 0x21, &TCP4), Err(Malformed)),
            (binary(0x21, 0x12, &TCP4), Err(Malformed)),
            (binary(0x21, 0x41, &TCP4), Err(Malformed)),
            (binary(0x21, 0x11, &cut), Err(Malformed)),
            (binary(0x21, 0x11, &[&TCP4[..], &[4]].concat()), Err(Malformed)),
            (binary(0x22, 0x11, &TCP4), Err(Malformed)),
            (binary(0x11, 0x11, &TCP4), Err(Malformed)),
            (binary(0x20, 0x00, &vec![0; PROXY_HEADER_BYTES_MAX - FIXED_BYTES]), Ok(Introduced::Nobody)),
            (binary(0x20, 0x00, &vec![0; PROXY_HEADER_BYTES_MAX - FIXED_BYTES + 1]), Err(Malformed)),
        ] {
            check(&header, expected);
        }
        assert_eq!(read_header(b"\r\n\r\n\0\r\nQUIX"), Err(Malformed));
        assert_eq!(read_header(b"\r\nX"), Err(Malformed), "told from its beginning");
    }

    #[test]
    fn a_verdict_stays_whatever_follows() {
        let seeds = [
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(),
            binary(0x21, 0x21, &tcp6()),
            binary(0x21, 0x11, &[&TCP4[..], &[4, 0, 3, 1, 2, 3, TLV_CRC32C, 0, 4, 0, 0, 0, 0]].concat()),
            binary(0x20, 0x00, &[5; 9]),
        ];
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as usize % below
        };
        for round in 0..20_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..draw(4) {
                let at = draw(bytes.len());
                bytes[at] = draw(256) as u8;
            }
            bytes.extend((0..draw(20)).map(|_| b'x'));
            let mut last = Ok(None);
            for len in 0..=bytes.len() {
                let now = read_header(&bytes[..len]);
                assert!(last == Ok(None) || now == last, "{len} bytes of {bytes:?}: {last:?}, then {now:?}");
                assert!(now.is_ok_and(|found| found.is_none_or(|(_, end)| end <= len)) || now.is_err());
                last = now;
            }
        }
    }

    #[test]
    fn a_checksum_must_be_right() {
        assert_eq!(crc32c([b"123456789"]), 0xe306_9283, "the check value of CRC-32C");
        let mut header =
            binary(0x21, 0x11, &[&TCP4[..], &[TLV_CRC32C, 0, 4, 0, 0, 0, 0], &[4, 0, 0]].concat());
        let at = FIXED_BYTES + TCP4_BYTES + TLV_HEAD_BYTES;
        let sum = crc32c([&header]).to_be_bytes();
        header[at..at + CRC_BYTES].copy_from_slice(&sum);
        check(&header, Ok(client("192.0.2.1:56324")));
        header[FIXED_BYTES] ^= 1;
        check(&header, Err(Malformed));
        check(&binary(0x21, 0x11, &[&TCP4[..], &[TLV_CRC32C, 0, 2, 0, 0]].concat()), Err(Malformed));
    }
}
