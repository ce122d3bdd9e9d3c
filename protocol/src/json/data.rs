//! Payloads that come from elsewhere (Protobuf clients, tokens, the server API) made fit to embed in JSON.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

/// A payload that is not one JSON value; a JSON subscriber cannot receive it (3506).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload is not valid JSON")
    }
}

impl std::error::Error for NotJson {}

/// Checks that `data` is one JSON value in UTF-8, and lends it without surrounding white space and without line
/// feeds, so that it fits on a line of its receiver.
///
/// Line feeds are simply dropped: inside a JSON string they cannot occur. Do this once per publication. Takes time
/// linear in the length of `data`, however deep it nests.
pub fn json_data(data: &[u8]) -> Result<Cow<'_, [u8]>, NotJson> {
    let text = std::str::from_utf8(data).map_err(|_| NotJson)?;
    let value: &RawValue = serde_json::from_str(text).map_err(|_| NotJson)?;
    let value = value.get().as_bytes();
    if value.contains(&b'\n') {
        return Ok(Cow::Owned(value.iter().copied().filter(|&byte| byte != b'\n').collect()));
    }
    Ok(Cow::Borrowed(value))
}
