//! Reads Protobuf in place: delimited messages, their fields, and map entries.

use std::borrow::Cow;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::malformed::Malformed;

/// The messages of one WebSocket message. Ends after an error.
#[derive(Debug, Clone)]
pub(crate) struct Frames<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Frames<'a> {
    pub(crate) const fn of(message: &'a [u8]) -> Self {
        Self { rest: Some(message) }
    }

    /// The messages that are left.
    pub(crate) const fn rest(&self) -> Option<&'a [u8]> {
        self.rest
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.take()?;
        if rest.is_empty() {
            return Some(Err(Malformed::Empty));
        }
        let frame = delimited(&mut rest);
        if frame.is_ok() && !rest.is_empty() {
            self.rest = Some(rest);
        }
        Some(frame)
    }
}

/// Takes a length and as many bytes from the front of `rest`.
fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = varint(rest)?;
    let len = usize::try_from(len).map_err(|_| Malformed::Protobuf)?;
    rest.split_off(..len).ok_or(Malformed::Protobuf)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    decode_varint(rest).map_err(|_| Malformed::Protobuf)
}

/// The value of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a wire type that no field of this protocol has.
    Foreign,
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Foreign => Err(Malformed::Protobuf),
        }
    }

    pub(crate) fn payload(self) -> Result<Cow<'a, [u8]>, Malformed> {
        self.bytes().map(Cow::Borrowed)
    }

    pub(crate) fn text(self) -> Result<Cow<'a, str>, Malformed> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::NotUtf8)?;
        Ok(Cow::Borrowed(text))
    }

    pub(crate) fn u64(self) -> Result<u64, Malformed> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Foreign => Err(Malformed::Protobuf),
        }
    }

    pub(crate) fn u32(self) -> Result<u32, Malformed> {
        u32::try_from(self.u64()?).map_err(|_| Malformed::Protobuf)
    }

    pub(crate) fn i64(self) -> Result<i64, Malformed> {
        self.u64().map(u64::cast_signed)
    }

    /// A negative number travels as if it had 64 bits.
    pub(crate) fn i32(self) -> Result<i32, Malformed> {
        i32::try_from(self.i64()?).map_err(|_| Malformed::Protobuf)
    }

    pub(crate) fn flag(self) -> Result<bool, Malformed> {
        self.u64().map(|number| number != 0)
    }
}

/// Lends every field of `message` to `visit`, in the order of the wire.
#[inline]
pub(crate) fn fields<'a>(
    mut message: &'a [u8],
    mut visit: impl FnMut(u32, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let rest = &mut message;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(rest).map_err(|_| Malformed::Protobuf)?;
        let value = match wire_type {
            WireType::Varint => Value::Number(varint(rest)?),
            WireType::LengthDelimited => Value::Bytes(delimited(rest)?),
            _ => {
                // Groups nest; prost stops at a depth of 100.
                skip_field(wire_type, tag, rest, DecodeContext::default())
                    .map_err(|_| Malformed::Protobuf)?;
                Value::Foreign
            }
        };
        visit(tag, value)?;
    }
    Ok(())
}

/// Splits a map's entry into its key and its value; either may be left out.
pub(crate) fn entry<'a>(message: &'a [u8]) -> Result<(Cow<'a, str>, &'a [u8]), Malformed> {
    let mut key = Cow::Borrowed("");
    let mut value = &[][..];
    fields(message, |tag, field| {
        match tag {
            1 => key = field.text()?,
            2 => value = field.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}
