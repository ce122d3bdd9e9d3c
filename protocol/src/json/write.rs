//! Writes the fields of a message as a JSON object, straight into the output.

use super::push_json_string;
use crate::fields::{Field, Fields, Message};

/// Appends `message` as one JSON object, without a line feed.
pub(crate) fn push_object(out: &mut Vec<u8>, message: &impl Message) {
    let start = out.len();
    message.fields(&mut ObjectFields { out });
    close(out, start, b'{', b'}');
}

/// Every member is written behind a comma; here the first comma becomes the opening bracket.
fn close(out: &mut Vec<u8>, start: usize, open: u8, shut: u8) {
    match out.get_mut(start) {
        Some(comma) => *comma = open,
        None => out.push(open),
    }
    out.push(shut);
}

struct ObjectFields<'o> {
    out: &'o mut Vec<u8>,
}

impl ObjectFields<'_> {
    #[inline]
    fn name(&mut self, field: Field) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(field.name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn entry(&mut self, key: &str) {
        self.out.push(b',');
        push_json_string(self.out, key);
        self.out.push(b':');
    }
}

impl Fields for ObjectFields<'_> {
    #[inline]
    fn text(&mut self, field: Field, value: &str) {
        if field.kept || !value.is_empty() {
            self.name(field);
            push_json_string(self.out, value);
        }
    }

    #[inline]
    fn bytes(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.name(field);
            self.out.extend_from_slice(value);
        }
    }

    #[inline]
    fn uint(&mut self, field: Field, value: u64) {
        if field.kept || value != 0 {
            self.name(field);
            push_decimal(self.out, value);
        }
    }

    #[inline]
    fn int(&mut self, field: Field, value: i64) {
        if field.kept || value != 0 {
            self.name(field);
            if value < 0 {
                self.out.push(b'-');
            }
            push_decimal(self.out, value.unsigned_abs());
        }
    }

    #[inline]
    fn flag(&mut self, field: Field, value: bool) {
        if field.kept || value {
            self.name(field);
            self.out.extend_from_slice(if value { b"true" } else { b"false" });
        }
    }

    #[inline]
    fn message(&mut self, field: Field, value: &impl Message) {
        self.name(field);
        push_object(self.out, value);
    }

    fn list(&mut self, field: Field, values: &[impl Message]) {
        if field.kept || !values.is_empty() {
            self.name(field);
            let start = self.out.len();
            for value in values {
                self.out.push(b',');
                push_object(self.out, value);
            }
            close(self.out, start, b'[', b']');
        }
    }

    fn text_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl AsRef<str>)]) {
        if field.kept || !entries.is_empty() {
            self.name(field);
            let start = self.out.len();
            for (key, value) in entries {
                self.entry(key.as_ref());
                push_json_string(self.out, value.as_ref());
            }
            close(self.out, start, b'{', b'}');
        }
    }

    fn message_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl Message)]) {
        if field.kept || !entries.is_empty() {
            self.name(field);
            let start = self.out.len();
            for (key, value) in entries {
                self.entry(key.as_ref());
                push_object(self.out, value);
            }
            close(self.out, start, b'{', b'}');
        }
    }
}

fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    // 2^64 has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
