//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1): a list of extensions, each with parameters.
//!
//! Invariants: knows no extension; quoted values may hold commas and semicolons and are still lent, not copied.

use super::headers::is_token;

/// One extension offered or agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The registered name, e.g. `permessage-deflate`.
    pub name: &'a str,
    /// What follows the name, from its first semicolon on.
    params: &'a str,
}

impl<'a> Extension<'a> {
    /// The parameters in order: name, and value if one is given (without its quotes).
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let mut rest = self.params;
        std::iter::from_fn(move || {
            let (param, after) = read_param(rest).ok().flatten()?;
            rest = after;
            Some(param)
        })
    }
}

/// The header does not follow its grammar; the handshake fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The extensions in one value of the header, in order of preference.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    rest: &'a str,
}

impl<'a> Extensions<'a> {
    pub(super) const fn new(value: &'a str) -> Self {
        Self { rest: value }
    }

    /// Whether the value follows the grammar from here to its end.
    pub(super) fn is_well_formed(mut self) -> bool {
        loop {
            match self.read() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(Malformed) => return false,
            }
        }
    }

    fn read(&mut self) -> Result<Option<Extension<'a>>, Malformed> {
        let rest = self.rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(None);
        }
        let (name, params) = split_token(rest)?;
        let mut end = params;
        while let Some((_, after)) = read_param(end)? {
            end = after;
        }
        self.rest = match end.trim_start_matches([' ', '\t']) {
            "" => "",
            more if more.starts_with(',') => more,
            _ => return Err(Malformed),
        };
        Ok(Some(Extension { name, params: &params[..params.len() - end.len()] }))
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        self.read().ok().flatten()
    }
}

type Param<'a> = (&'a str, Option<&'a str>);

/// `; name`, `; name=value` or `; name="value"` at the front of `text`, and what follows.
fn read_param(text: &str) -> Result<Option<(Param<'_>, &str)>, Malformed> {
    let Some(rest) = text.trim_start_matches([' ', '\t']).strip_prefix(';') else { return Ok(None) };
    let (name, rest) = split_token(rest.trim_start_matches([' ', '\t']))?;
    let Some(value) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') else {
        return Ok(Some(((name, None), rest)));
    };
    let value = value.trim_start_matches([' ', '\t']);
    match value.strip_prefix('"') {
        // What is quoted must be a token as well (section 9.1), so nothing in it is ever escaped.
        Some(quoted) => match quoted.split_once('"') {
            Some((value, rest)) if is_token(value) => Ok(Some(((name, Some(value)), rest))),
            _ => Err(Malformed),
        },
        None => split_token(value).map(|(value, rest)| Some(((name, Some(value)), rest))),
    }
}

/// The token at the front of `text`, and what follows.
fn split_token(text: &str) -> Result<(&str, &str), Malformed> {
    let end = text.find([' ', '\t', ',', ';', '=', '"']).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    if is_token(token) { Ok((token, rest)) } else { Err(Malformed) }
}
