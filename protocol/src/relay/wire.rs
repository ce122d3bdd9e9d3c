//! The fields that bodies are made of: integers, names and bytes, read in place and written.

use super::Position;
use super::malformed::Malformed;
use crate::limits::RELAY_FRAME_BYTES_MAX;

/// Takes fields from the front of a body.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed::Cut)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn pair(&mut self) -> Result<(u64, u64), Malformed> {
        Ok((self.u64()?, self.u64()?))
    }

    pub(super) fn position(&mut self) -> Result<Position, Malformed> {
        Ok(Position { epoch: self.u32()?, sequence: self.u64()? })
    }

    pub(super) fn name(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u16()?;
        std::str::from_utf8(self.take(len.into())?).map_err(|_| Malformed::NotUtf8)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub(super) fn optional_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            _ => Err(Malformed::Value),
        }
    }

    /// A count, and that many records of `record_bytes`, unread.
    pub(super) fn records(&mut self, record_bytes: usize) -> Result<&'a [u8], Malformed> {
        let count = self.u32()? as usize;
        self.take(count.checked_mul(record_bytes).ok_or(Malformed::Cut)?)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        self.rest.split_off(..len).ok_or(Malformed::Cut)
    }
}

/// Appends fields to a body; remembers when one did not fit, and leaves it out.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    fits: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn to(out: &'a mut Vec<u8>) -> Self {
        Self { out, fits: true }
    }

    /// Whether every field could be written.
    pub(super) fn fits(&self) -> bool {
        self.fits
    }

    pub(super) fn array(&mut self, array: &[u8]) {
        self.out.extend_from_slice(array);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.array(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.array(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.array(&value.to_le_bytes());
    }

    pub(super) fn pair(&mut self, (first, second): (u64, u64)) {
        self.u64(first);
        self.u64(second);
    }

    pub(super) fn position(&mut self, position: Position) {
        self.u32(position.epoch);
        self.u64(position.sequence);
    }

    pub(super) fn name(&mut self, name: &str) {
        let Ok(len) = u16::try_from(name.len()) else {
            self.fits = false;
            return;
        };
        self.u16(len);
        self.array(name.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() > RELAY_FRAME_BYTES_MAX {
            self.fits = false;
            return;
        }
        self.u32(bytes.len() as u32);
        self.array(bytes);
    }

    pub(super) fn optional_bytes(&mut self, bytes: Option<&[u8]>) {
        self.u8(bytes.is_some().into());
        if let Some(bytes) = bytes {
            self.bytes(bytes);
        }
    }
}
