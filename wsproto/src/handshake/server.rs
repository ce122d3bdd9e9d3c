//! The server's side of the opening handshake (RFC 6455 section 4.2): a request read, an answer written.

use std::io::Write as _;

use httparse::{EMPTY_HEADER, Error, Status};

use super::extension::{Extension, Extensions};
use super::head_is_complete;
use super::headers::{Headers, Tokens, is_token, is_token_byte, is_value};
use super::key;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A request to upgrade that follows every rule. Everything in it lies in the head.
#[derive(Clone)]
pub struct Request<'a> {
    /// The path of the target, from its first slash to the question mark, as it was sent (still percent-encoded).
    pub path: &'a str,
    /// What follows the question mark, still percent-encoded.
    pub query: Option<&'a str>,
    /// The authority: of the target if it has one, else of `Host`. With the port, if one was sent.
    pub host: &'a str,
    /// Where a browser's page came from. Others send none; it is no proof.
    pub origin: Option<&'a str>,
    /// `Sec-WebSocket-Key`, for [`push_accept`].
    pub key: &'a str,
    headers: Headers<'a>,
}

impl<'a> Request<'a> {
    /// The subprotocols offered, in order of preference. None if the header is missing or empty.
    pub fn protocols(&self) -> Tokens<'a, '_> {
        self.headers.tokens("Sec-WebSocket-Protocol")
    }

    /// The extensions offered, in order of preference.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'a>> {
        // All values were found to be text, and well-formed.
        let values = self.headers.values("Sec-WebSocket-Extensions");
        values.flat_map(|value| Extensions::new(value.unwrap_or_default()))
    }

    /// The first value of a header, trimmed; `None` if there is none or it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.first(name)
    }

    /// The values of all lines of a header, trimmed, in their order; those that are not UTF-8 as `None`.
    pub fn header_lines(&self, name: &str) -> impl DoubleEndedIterator<Item = Option<&'a str>> {
        self.headers.values(name)
    }
}

/// Why a request is not upgraded: the peer's fault, and what to answer ([`push_reject`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The HTTP status.
    pub status: u16,
    /// A sentence for the body and the log, nothing of the peer's in it.
    pub reason: &'static str,
    /// Header lines that the status demands, each with its line break.
    pub headers: &'static str,
}

impl Reject {
    const fn malformed(reason: &'static str) -> Self {
        Self { status: 400, reason, headers: "" }
    }

    const fn upgrade_required(reason: &'static str) -> Self {
        // RFC 9110 section 15.5.22 demands Upgrade, RFC 6455 section 4.4 the version.
        const HEADERS: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
        Self { status: 426, reason, headers: HEADERS }
    }

    const METHOD: Self =
        Self { status: 405, reason: "a WebSocket is opened with GET", headers: "Allow: GET\r\n" };
    const BODY: Self = Self { status: 413, reason: "the request announces a body", headers: "" };
    const TOO_LARGE: Self = Self { status: 431, reason: "the request head is too large", headers: "" };
    const TOO_MANY: Self = Self { status: 431, reason: "the request has too many headers", headers: "" };
    const VERSION: Self = Self { status: 505, reason: "only HTTP/1.1 is spoken here", headers: "" };
}

/// Reads a request; returns it with the length of its head. What follows the head belongs to the connection.
/// `None`: the head is incomplete, and faultless so far.
///
/// # Errors
/// [`Reject`]: 400 for what is malformed, 405 for another method than GET, 413 if a body is announced, 426 if it is
/// no upgrade or one to another version, 431 beyond the limits of a head, 505 for another version of HTTP.
pub fn read_request(head: &[u8]) -> Result<Option<(Request<'_>, usize)>, Reject> {
    let end = head_is_complete(head, 0);
    if end.unwrap_or(head.len()) > HEAD_BYTES_MAX {
        return Err(Reject::TOO_LARGE);
    }
    let mut lines = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut lines);
    let len = match parsed.parse(head) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if end.is_none() => return check_beginning(head, 0).map(|()| None),
        Ok(Status::Partial) => return Err(Reject::malformed("an empty line comes too early")),
        Err(Error::TooManyHeaders) => return Err(Reject::TOO_MANY),
        Err(Error::Version) if names_http(head) => return Err(Reject::VERSION),
        Err(_) => return Err(Reject::malformed("the request is not HTTP")),
    };
    // The parser takes a bare LF as a line break. Others might not, so none is taken, wherever it stands and however the head
    // arrives.
    check_beginning(&head[..len], 0)?;
    if end != Some(len) {
        return Err(Reject::malformed("an empty line comes too early"));
    }
    let (method, target, version) = (parsed.method, parsed.path, parsed.version);
    let count = parsed.headers.len();
    let request = check(method, target, version, Headers::new(lines, count))?;
    Ok(Some((request, len)))
}

/// Checks the beginning of a request, as far as its single bytes tell: bytes that no head has, line breaks that are none,
/// a first byte that begins no method (as that of a TLS record). The first `from` bytes were checked by earlier calls.
///
/// # Errors
/// [`Reject`], 400: whatever follows, this will be no request.
pub fn check_beginning(bytes: &[u8], from: usize) -> Result<(), Reject> {
    let checked = bytes.get(..from).unwrap_or(bytes);
    // Few line breaks are passed over: with two of them a head is complete.
    let mut has_begun = checked.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
    let mut before = checked.last().copied();
    for &byte in bytes.get(from..).unwrap_or_default() {
        match byte {
            b'\n' if before != Some(b'\r') => return Err(Reject::malformed("a line ends without CR")),
            b'\n' => {}
            _ if before == Some(b'\r') => return Err(Reject::malformed("a CR ends no line")),
            b'\r' => {}
            _ if !has_begun && !is_token_byte(byte) => {
                return Err(Reject::malformed("the request is not HTTP"));
            }
            b'\t' | b' '..=b'~' | 0x80.. => has_begun = true,
            _ => return Err(Reject::malformed("a control character is in the head")),
        }
        before = Some(byte);
    }
    Ok(())
}

/// Whether the start line has the name of the protocol in its place, whatever the version.
fn names_http(head: &[u8]) -> bool {
    let mut words = head.trim_ascii_start().split(|byte| byte.is_ascii_whitespace());
    words.nth(2).is_some_and(|word| word.starts_with(b"HTTP/"))
}

fn check<'a>(
    method: Option<&str>,
    target: Option<&'a str>,
    version: Option<u8>,
    headers: Headers<'a>,
) -> Result<Request<'a>, Reject> {
    if version != Some(1) {
        return Err(Reject::VERSION);
    }
    if method != Some("GET") {
        return Err(Reject::METHOD);
    }
    check_body(&headers)?;
    let (authority, path, query) =
        target.and_then(split_target).ok_or(Reject::malformed("the target is not a path"))?;
    let host = match headers.only("Host") {
        Ok(Some(host)) if is_authority(host) => host,
        _ => return Err(Reject::malformed("one Host is required")),
    };
    let Ok(origin) = headers.only("Origin") else {
        return Err(Reject::malformed("the Origin is unclear"));
    };
    let key = check_upgrade(&headers)?;
    // RFC 9112 section 3.2.2: an authority in the target replaces Host.
    Ok(Request { path, query, host: authority.unwrap_or(host), origin, key, headers })
}

/// The rules of RFC 6455 section 4.2.1 from the third on; returns the key.
fn check_upgrade<'a>(headers: &Headers<'a>) -> Result<&'a str, Reject> {
    if !headers.lists("Upgrade", "websocket") {
        return Err(Reject::upgrade_required("this address speaks WebSocket"));
    }
    if !headers.lists("Connection", "Upgrade") {
        return Err(Reject::upgrade_required("the Connection header does not ask for the upgrade"));
    }
    match headers.only("Sec-WebSocket-Version") {
        Ok(Some("13")) => {}
        Ok(_) => return Err(Reject::upgrade_required("only version 13 of WebSocket is spoken here")),
        Err(_) => return Err(Reject::malformed("the Sec-WebSocket-Version is unclear")),
    }
    let key = match headers.only("Sec-WebSocket-Key") {
        Ok(Some(key)) if key::is_key(key) => key,
        _ => return Err(Reject::malformed("one Sec-WebSocket-Key of 16 bytes is required")),
    };
    if !headers.are_tokens("Sec-WebSocket-Protocol") {
        return Err(Reject::malformed("the Sec-WebSocket-Protocol is not a list of tokens"));
    }
    let well_formed =
        |value: Option<&str>| value.is_some_and(|value| Extensions::new(value).is_well_formed());
    if !headers.values("Sec-WebSocket-Extensions").all(well_formed) {
        return Err(Reject::malformed("the Sec-WebSocket-Extensions are malformed"));
    }
    Ok(key)
}

/// An upgrade has no body; one that is announced would be taken for frames.
fn check_body(headers: &Headers<'_>) -> Result<(), Reject> {
    if headers.has("Transfer-Encoding") {
        return Err(Reject::BODY);
    }
    match headers.only("Content-Length") {
        Ok(None) => Ok(()),
        Ok(Some(len)) if !len.is_empty() && len.bytes().all(|digit| digit.is_ascii_digit()) => {
            if len.bytes().all(|digit| digit == b'0') { Ok(()) } else { Err(Reject::BODY) }
        }
        _ => Err(Reject::malformed("the Content-Length is unclear")),
    }
}

/// Authority, path and query of a target in origin form or absolute form (RFC 9112 section 3.2). A fragment is not
/// allowed (RFC 6455 section 3).
fn split_target(target: &str) -> Option<(Option<&str>, &str, Option<&str>)> {
    if target.contains('#') {
        return None;
    }
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        let (scheme, rest) = target.split_once("://")?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_authority(authority) {
            return None;
        }
        (Some(authority), rest)
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Some((authority, if path.is_empty() { "/" } else { path }, query))
}

/// Whether `text` can be a host with or without a port: the characters of RFC 3986 section 3.2 without user
/// information, which has no place in a request (RFC 9110 section 4.2.4).
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte))
}

/// Appends the answer that upgrades. `protocol` is one of those offered or none; `extensions` is the value agreed
/// to, if any.
///
/// # Panics
/// Debug builds: a protocol that is no token, or extensions that would end their line.
pub fn push_accept(out: &mut Vec<u8>, key: &str, protocol: Option<&str>, extensions: Option<&str>) {
    debug_assert!(protocol.is_none_or(is_token) && extensions.is_none_or(is_value));
    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: ";
    out.extend_from_slice(HEAD);
    out.extend_from_slice(&key::accept(key.as_bytes()));
    for (name, value) in [("Sec-WebSocket-Protocol", protocol), ("Sec-WebSocket-Extensions", extensions)] {
        if let Some(value) = value {
            for part in ["\r\n", name, ": ", value] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends an answer that does not upgrade and ends the connection. `reason` becomes a body of plain text;
/// `headers` are whole lines, each with its line break.
///
/// # Panics
/// Debug builds: headers that do not end with a line break.
pub fn push_reject(out: &mut Vec<u8>, status: u16, reason: &str, headers: &str) {
    debug_assert!(headers.is_empty() || headers.ends_with("\r\n"));
    let (phrase, len) = (phrase(status), reason.len() + 1);
    // Writing to a Vec cannot fail.
    let written = write!(
        out,
        "HTTP/1.1 {status} {phrase}\r\n{headers}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {len}\r\n\r\n{reason}\n"
    );
    debug_assert!(written.is_ok());
}

/// The phrases of RFC 9110 section 15 for what a gateway refuses with.
const fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Refused",
    }
}
