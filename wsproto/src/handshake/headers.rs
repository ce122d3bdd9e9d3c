//! The header lines of a head, by name, and the comma-separated lists in them (RFC 9110 section 5.6.1).

use std::str;

use httparse::Header;

use crate::limits::HEADERS_MAX;

/// The header lines of one head, in order. Repetitions stay apart.
#[derive(Clone)]
pub(super) struct Headers<'a> {
    lines: [Header<'a>; HEADERS_MAX],
    len: usize,
}

/// A header that may stand only once stands twice, or is not text.
pub(super) struct Unclear;

impl<'a> Headers<'a> {
    /// Keeps the lines that a parser left at the front of `lines`.
    pub(super) fn new(lines: [Header<'a>; HEADERS_MAX], len: usize) -> Self {
        Self { lines, len }
    }

    /// The values of all lines with this name, trimmed; those that are not UTF-8 as `None`.
    pub(super) fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = Option<&'a str>> {
        self.lines[..self.len]
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| str::from_utf8(line.value).ok().map(|value| value.trim_matches([' ', '\t'])))
    }

    /// The first value under this name.
    pub(super) fn first(&self, name: &str) -> Option<&'a str> {
        self.values(name).next().flatten()
    }

    /// The value of a header that may stand only once.
    pub(super) fn only(&self, name: &str) -> Result<Option<&'a str>, Unclear> {
        let mut values = self.values(name);
        let Some(value) = values.next() else { return Ok(None) };
        match (value, values.next()) {
            (Some(value), None) => Ok(Some(value)),
            _ => Err(Unclear),
        }
    }

    /// Whether any line has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Whether a list under this name contains `token`, in any case.
    pub(super) fn lists(&self, name: &'static str, token: &str) -> bool {
        self.tokens(name).any(|listed| listed.eq_ignore_ascii_case(token))
    }

    /// The elements of the list that all lines of this name form together. Empty elements are passed over, so that
    /// an empty header is an absent one; what is not text has no elements ([`Headers::are_tokens`] refuses it).
    pub(super) fn tokens(&self, name: &'static str) -> Tokens<'a, '_> {
        Tokens { lines: self.lines[..self.len].iter(), name, line: "" }
    }

    /// Whether the list under this name is text and consists of tokens.
    pub(super) fn are_tokens(&self, name: &'static str) -> bool {
        self.values(name).all(|value| value.is_some()) && self.tokens(name).all(is_token)
    }
}

/// The elements of a comma-separated list over all lines of one header, in order.
#[derive(Clone)]
pub struct Tokens<'a, 'h> {
    lines: std::slice::Iter<'h, Header<'a>>,
    name: &'static str,
    /// What is left of the current line.
    line: &'a str,
}

impl<'a> Iterator for Tokens<'a, '_> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            while !self.line.is_empty() {
                let (element, rest) = self.line.split_once(',').unwrap_or((self.line, ""));
                self.line = rest;
                let element = element.trim_matches([' ', '\t']);
                if !element.is_empty() {
                    return Some(element);
                }
            }
            let line = self.lines.find(|line| line.name.eq_ignore_ascii_case(self.name))?;
            self.line = str::from_utf8(line.value).unwrap_or_default();
        }
    }
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a token can hold `byte`.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `text` can be sent as a header value without ending it.
pub(super) fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7F))
}
