//! Writes the fields of a message as Protobuf, straight into the output.
//!
//! A sub-message is measured before it is written, since its length comes first: measuring adds lengths up and
//! touches no payload, so nothing is moved afterwards.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::fields::{Field, Fields, Message, field};

/// Appends `message` behind its length.
pub(crate) fn push_delimited(out: &mut Vec<u8>, message: &impl Message) {
    let len = len_of(message);
    out.reserve(len + encoded_len_varint(len as u64));
    encode_varint(len as u64, out);
    message.fields(&mut WireFields { out });
}

#[inline]
fn len_of(message: &impl Message) -> usize {
    let mut measure = Measure { len: 0 };
    message.fields(&mut measure);
    measure.len
}

/// One entry of a map whose values are messages.
struct Entry<'a, V>(&'a str, &'a V);

impl<V: Message> Message for Entry<'_, V> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(field(1, "key"), self.0);
        to.message(field(2, "value"), self.1);
    }
}

/// One entry of a map whose values are strings.
struct TextEntry<'a>(&'a str, &'a str);

impl Message for TextEntry<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(field(1, "key"), self.0);
        to.text(field(2, "value"), self.1);
    }
}

struct WireFields<'o> {
    out: &'o mut Vec<u8>,
}

impl Fields for WireFields<'_> {
    #[inline]
    fn text(&mut self, field: Field, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    #[inline]
    fn bytes(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            encode_key(field.tag, WireType::LengthDelimited, self.out);
            encode_varint(value.len() as u64, self.out);
            self.out.extend_from_slice(value);
        }
    }

    #[inline]
    fn uint(&mut self, field: Field, value: u64) {
        if value != 0 {
            encode_key(field.tag, WireType::Varint, self.out);
            encode_varint(value, self.out);
        }
    }

    #[inline]
    fn int(&mut self, field: Field, value: i64) {
        self.uint(field, value.cast_unsigned());
    }

    #[inline]
    fn flag(&mut self, field: Field, value: bool) {
        self.uint(field, u64::from(value));
    }

    #[inline]
    fn message(&mut self, field: Field, value: &impl Message) {
        encode_key(field.tag, WireType::LengthDelimited, self.out);
        encode_varint(len_of(value) as u64, self.out);
        value.fields(self);
    }

    fn list(&mut self, field: Field, values: &[impl Message]) {
        for value in values {
            self.message(field, value);
        }
    }

    fn text_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl AsRef<str>)]) {
        for (key, value) in entries {
            self.message(field, &TextEntry(key.as_ref(), value.as_ref()));
        }
    }

    fn message_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl Message)]) {
        for (key, value) in entries {
            self.message(field, &Entry(key.as_ref(), value));
        }
    }
}

/// Counts the bytes that [`WireFields`] would write.
struct Measure {
    len: usize,
}

impl Measure {
    #[inline]
    fn delimited(&mut self, field: Field, len: usize) {
        self.len += key_len(field.tag) + encoded_len_varint(len as u64) + len;
    }
}

impl Fields for Measure {
    #[inline]
    fn text(&mut self, field: Field, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    #[inline]
    fn bytes(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.delimited(field, value.len());
        }
    }

    #[inline]
    fn uint(&mut self, field: Field, value: u64) {
        if value != 0 {
            self.len += key_len(field.tag) + encoded_len_varint(value);
        }
    }

    #[inline]
    fn int(&mut self, field: Field, value: i64) {
        self.uint(field, value.cast_unsigned());
    }

    #[inline]
    fn flag(&mut self, field: Field, value: bool) {
        self.uint(field, u64::from(value));
    }

    #[inline]
    fn message(&mut self, field: Field, value: &impl Message) {
        self.delimited(field, len_of(value));
    }

    fn list(&mut self, field: Field, values: &[impl Message]) {
        for value in values {
            self.message(field, value);
        }
    }

    fn text_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl AsRef<str>)]) {
        for (key, value) in entries {
            self.message(field, &TextEntry(key.as_ref(), value.as_ref()));
        }
    }

    fn message_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl Message)]) {
        for (key, value) in entries {
            self.message(field, &Entry(key.as_ref(), value));
        }
    }
}
