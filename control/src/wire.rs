//! Reading and writing the values of which gossip consists.
//!
//! Invariants: never reads past its bytes, never allocates, and no length it reads is believed beyond what is there.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// The bytes are not what they should be. The sender's mistake; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// What has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text of up to 255 bytes, its length before it.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = usize::from(self.u8()?);
        core::str::from_utf8(self.bytes(bytes)?).map_err(|_| Malformed)
    }

    /// A socket address: 4 or 6, the bytes of the address, the port.
    pub(crate) fn address(&mut self) -> Result<SocketAddr, Malformed> {
        let ip = match self.u8()? {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return Err(Malformed),
        };
        Ok(SocketAddr::new(ip, self.u16()?))
    }
}

/// Appends a text of up to 255 bytes, as all names are.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("names are shorter than 256 bytes"));
    out.extend_from_slice(text.as_bytes());
}

/// Appends a socket address. Flow and scope of an IPv6 address mean nothing to other nodes and are left out.
pub(crate) fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is malformed")
    }
}

impl core::error::Error for Malformed {}
