//! The client's side of the opening handshake (RFC 6455 section 4.1): a request written, an answer read.

use std::fmt;

use httparse::{EMPTY_HEADER, Error, Status};

use super::extension::Extensions;
use super::head_is_complete;
use super::headers::{Headers, is_token, is_value};
use super::key;
use crate::deflate::{Agreement, Offer};
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// The authority: host, and port if it is not the default one.
    pub host: &'a str,
    /// Path and query, percent-encoded, beginning with a slash.
    pub target: &'a str,
    /// Only browsers must send one.
    pub origin: Option<&'a str>,
    /// Subprotocols in order of preference.
    pub protocols: &'a [&'a str],
    /// Random bytes, new for every connection.
    pub key: [u8; 16],
    /// How messages may be deflated; `None`: not at all.
    pub deflate: Option<Offer>,
    /// Further headers, e.g. `Authorization`.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Appends the request.
///
/// # Panics
/// Debug builds: a name that is no token, or a value that would end its line.
pub fn push_request(out: &mut Vec<u8>, request: &ClientRequest<'_>) {
    let ClientRequest { host, target, origin, protocols, key, deflate, headers } = request;
    debug_assert!(target.starts_with('/') && target.bytes().all(|byte| byte > b' ' && byte != 0x7F));
    for part in ["GET ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    push_line(out, "Host", host);
    push_line(out, "Upgrade", "websocket");
    push_line(out, "Connection", "Upgrade");
    out.extend_from_slice(b"Sec-WebSocket-Key: ");
    out.extend_from_slice(&key::encode(key));
    out.extend_from_slice(b"\r\n");
    push_line(out, "Sec-WebSocket-Version", "13");
    if let Some(origin) = origin {
        push_line(out, "Origin", origin);
    }
    for protocol in *protocols {
        debug_assert!(is_token(protocol));
        push_line(out, "Sec-WebSocket-Protocol", protocol);
    }
    if let Some(offer) = deflate {
        push_line(out, "Sec-WebSocket-Extensions", &offer.to_string());
    }
    for (name, value) in *headers {
        push_line(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn push_line(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(is_token(name) && is_value(value), "{name:?} cannot have the value {value:?}");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// A server's agreement. Everything in it lies in the head.
#[derive(Clone)]
pub struct Response<'a> {
    /// The subprotocol that the server picked from those offered.
    pub protocol: Option<&'a str>,
    /// How messages are deflated; `None`: not at all.
    pub deflate: Option<Agreement>,
    headers: Headers<'a>,
}

impl<'a> Response<'a> {
    /// The first value of a header, trimmed; `None` if there is none or it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.first(name)
    }
}

/// Why there is no WebSocket: the server's answer is to blame for all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP/1.1.
    Malformed,
    /// Its head is beyond the limits.
    TooLarge,
    /// It has another status than 101.
    Status(u16),
    /// `Upgrade` or `Connection` does not agree to the upgrade.
    NotUpgraded,
    /// `Sec-WebSocket-Accept` does not fit the key.
    WrongAccept,
    /// It picks a subprotocol that was not offered.
    UnofferedProtocol,
    /// It agrees to an extension that was not offered, or not so.
    UnofferedExtension,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the answer is not HTTP/1.1"),
            Self::TooLarge => f.write_str("the answer's head is too large"),
            Self::Status(status) => write!(f, "the server answers with status {status}"),
            Self::NotUpgraded => f.write_str("the answer does not upgrade to WebSocket"),
            Self::WrongAccept => f.write_str("the Sec-WebSocket-Accept does not fit the key"),
            Self::UnofferedProtocol => f.write_str("the server picks a subprotocol that was not offered"),
            Self::UnofferedExtension => {
                f.write_str("the server agrees to an extension that was not offered, or not so")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads the answer to a request with this `key` that offered the protocols `offered` and `deflate`; returns it with the
/// length of its head. What follows the head are frames. `None`: the head is incomplete, and faultless so far.
///
/// # Errors
/// [`Refusal`]: the connection is of no use.
pub fn read_response<'a>(
    head: &'a [u8],
    key: &[u8; 16],
    offered: &[&str],
    deflate: Option<&Offer>,
) -> Result<Option<(Response<'a>, usize)>, Refusal> {
    let end = head_is_complete(head, 0);
    if end.unwrap_or(head.len()) > HEAD_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    let mut lines = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut lines);
    let len = match parsed.parse(head) {
        Ok(Status::Complete(len)) if end == Some(len) => len,
        Ok(Status::Partial) if end.is_none() => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        _ => return Err(Refusal::Malformed),
    };
    let (version, status) = (parsed.version, parsed.code);
    let count = parsed.headers.len();
    let headers = Headers::new(lines, count);
    match (version, status) {
        (Some(1), Some(101)) => {}
        (Some(1), Some(status)) => return Err(Refusal::Status(status)),
        _ => return Err(Refusal::Malformed),
    }
    let protocol = check(&headers, key, offered)?;
    let deflate = agreed(&headers, deflate)?;
    Ok(Some((Response { protocol, deflate, headers }, len)))
}

/// The extension that the answer agrees to, if any.
fn agreed(headers: &Headers<'_>, deflate: Option<&Offer>) -> Result<Option<Agreement>, Refusal> {
    const NAME: &str = "Sec-WebSocket-Extensions";
    let is_well_formed =
        |value: Option<&str>| value.is_some_and(|value| Extensions::new(value).is_well_formed());
    if !headers.values(NAME).all(is_well_formed) {
        return Err(Refusal::UnofferedExtension);
    }
    let mut extensions = headers.values(NAME).flatten().flat_map(Extensions::new);
    match deflate {
        Some(offer) => offer.agreed(extensions).map_err(|_| Refusal::UnofferedExtension),
        None if extensions.next().is_none() => Ok(None),
        None => Err(Refusal::UnofferedExtension),
    }
}

/// The rules of RFC 6455 section 4.1 for the answer; returns the protocol.
fn check<'a>(headers: &Headers<'a>, key: &[u8; 16], offered: &[&str]) -> Result<Option<&'a str>, Refusal> {
    if !headers.lists("Upgrade", "websocket") || !headers.lists("Connection", "Upgrade") {
        return Err(Refusal::NotUpgraded);
    }
    match headers.only("Sec-WebSocket-Accept") {
        Ok(Some(accept)) if accept.as_bytes() == key::accept(&key::encode(key)) => {}
        _ => return Err(Refusal::WrongAccept),
    }
    match headers.only("Sec-WebSocket-Protocol") {
        Ok(None) => Ok(None),
        Ok(Some(protocol)) if offered.contains(&protocol) => Ok(Some(protocol)),
        _ => Err(Refusal::UnofferedProtocol),
    }
}
