//! The HTTP request that opens a connection: which endpoint, which encoding, or which status.

use roadstead_protocol::negotiate;
use wsproto::handshake::{self, Reject, Request};

use super::wire::{Ending, Phase, Wire};
use super::{Heard, Sessions, end_after_flush};
use crate::flow::{Key, Now};
use crate::guards::{Refused, Signal, client_of};
use crate::limits::REFUSAL_MS;
use crate::settings::Client;

const PATH_CLIENT: &str = "/connection/websocket";
const PATH_ECHO: &str = "/echo";

/// Seconds after which a client that found no room may come back.
const RETRY_AFTER_S: u64 = 1;

/// The same of one whose source has as many connections as it may: one of them may end.
const RETRY_AFTER_OTHERS_S: u64 = 10;

/// Why a request was not upgraded.
struct Refusal {
    status: u16,
    reason: &'static str,
    headers: &'static str,
    /// When it may be tried again, seconds; 0: nothing is said of it.
    retry_after_s: u64,
    /// The request was HEAD: the answer ends with its head (RFC 9110 section 9.3.2).
    is_head: bool,
}

impl Refusal {
    const fn new(status: u16, reason: &'static str, headers: &'static str) -> Self {
        Self { status, reason, headers, retry_after_s: 0, is_head: false }
    }

    const fn later(status: u16, reason: &'static str, retry_after_s: u64) -> Self {
        Self { status, reason, headers: "", retry_after_s, is_head: false }
    }

    /// Whether the request shows that its sender is up to something, or does not speak the protocol.
    fn is_fault(&self) -> bool {
        matches!(self.status, 400 | 404 | 405 | 408 | 413 | 426 | 431 | 505)
    }
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self::new(reject.status, reject.reason, reject.headers)
    }
}

const NOT_FOUND: Refusal = Refusal::new(404, "no such path", "");
const FORBIDDEN_ORIGIN: Refusal = Refusal::new(403, "this origin is not allowed", "");
const NO_ROOM: Refusal = Refusal::later(503, "no room for more connections", RETRY_AFTER_S);
const HEAD_TOO_LARGE: Refusal = Refusal::new(431, "the request head is too large", "");
const HEAD_TOO_LATE: Refusal = Refusal::new(408, "the request did not come in time", "");

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied => Self::new(403, "this address is not let in", ""),
            Refused::Banned { left_ms } => {
                Self::later(403, "this address is not let in for a while", left_ms.div_ceil(1_000))
            }
            Refused::Connections => {
                Self::later(429, "this address has too many connections", RETRY_AFTER_OTHERS_S)
            }
            Refused::Rate { left_ms } => {
                Self::later(429, "connections of this address come too fast", left_ms.div_ceil(1_000))
            }
        }
    }
}

impl Sessions {
    /// Takes bytes of the request; returns how many of `bytes` belonged to it.
    pub(super) fn upgrade(
        &mut self,
        key: Key,
        wire: &mut Wire,
        bytes: &[u8],
        now: Now,
        heard: &mut Heard,
    ) -> usize {
        let kept = wire.inbound.as_ref().map_or(0, |block| block.len());
        // The whole head usually comes at once; only a partial one is kept and searched where it goes on.
        let head_bytes_max = self.settings.limits.handshake_bytes as usize;
        let (outcome, consumed) = if kept == 0 {
            match handshake::head_is_complete(bytes, 0) {
                Some(end) if end <= head_bytes_max => {
                    (self.answer_head(wire, key, &bytes[..end], now, heard), end)
                }
                None if bytes.len() <= head_bytes_max => {
                    let checked = handshake::check_beginning(bytes, 0).map_err(Refusal::from);
                    (checked.and_then(|()| self.keep_head(wire, bytes)), bytes.len())
                }
                _ => (Err(HEAD_TOO_LARGE), bytes.len()),
            }
        } else {
            let taken = bytes.len().min(head_bytes_max + 1 - kept.min(head_bytes_max));
            match self.keep_head(wire, &bytes[..taken]) {
                Err(refusal) => (Err(refusal), bytes.len()),
                Ok(_) => {
                    let block = wire.inbound.take();
                    let head = block.as_ref().map_or(&[][..], |block| &block[..]);
                    match handshake::head_is_complete(head, kept.saturating_sub(3)) {
                        Some(end) if end <= head_bytes_max => {
                            let outcome = self.answer_head(wire, key, &head[..end], now, heard);
                            let consumed = end - kept;
                            let mut block = block;
                            self.blocks.release(&mut block);
                            (outcome, consumed)
                        }
                        None if head.len() <= head_bytes_max => {
                            let checked = handshake::check_beginning(head, kept);
                            wire.inbound = block;
                            (checked.map(|()| false).map_err(Refusal::from), taken)
                        }
                        _ => {
                            wire.inbound = block;
                            (Err(HEAD_TOO_LARGE), bytes.len())
                        }
                    }
                }
            }
        };
        match outcome {
            Ok(false) => {}
            Ok(true) => self.upgraded(key, wire, now, heard),
            Err(refusal) => {
                self.refuse(key, wire, &refusal, now, heard);
                return bytes.len();
            }
        }
        consumed
    }

    fn keep_head(&mut self, wire: &mut Wire, bytes: &[u8]) -> Result<bool, Refusal> {
        match self.blocks.reserve(&mut wire.inbound, bytes.len()) {
            Ok(block) => {
                block.extend_from_slice(bytes);
                Ok(false)
            }
            Err(_) => Err(NO_ROOM),
        }
    }

    /// The time for the request is over. Who has begun one is answered; who has not may have opened the connection for later,
    /// and would take an answer for that of its next request. Returns whether nothing is to be said.
    pub(super) fn give_up(&mut self, key: Key, wire: &mut Wire, now: Now, heard: &mut Heard) -> bool {
        let has_begun = wire.inbound.is_some();
        self.tally.handshakes_late += u64::from(has_begun || wire.is_in_record);
        if !has_begun {
            if wire.is_in_record {
                self.gate.blame(key.slot, Signal::Handshake, &self.settings.guard, now.ms);
            }
            return true;
        }
        let refusal = if wire.phase == Phase::Refusing { self.refusal(key) } else { HEAD_TOO_LATE };
        self.refuse(key, wire, &refusal, now, heard);
        false
    }

    fn answer_head(
        &mut self,
        wire: &mut Wire,
        key: Key,
        head: &[u8],
        now: Now,
        heard: &mut Heard,
    ) -> Result<bool, Refusal> {
        let is_head = head.trim_ascii_start().starts_with(b"HEAD ");
        self.open(wire, key, head, now, heard).map_err(|refusal| Refusal { is_head, ..refusal })
    }

    /// Why a connection is refused whatever it asks for.
    fn refusal(&self, key: Key) -> Refusal {
        self.gate.refusal(key.slot).map_or(NO_ROOM, Refusal::from)
    }

    fn open(
        &mut self,
        wire: &mut Wire,
        key: Key,
        head: &[u8],
        now: Now,
        heard: &mut Heard,
    ) -> Result<bool, Refusal> {
        if wire.phase == Phase::Refusing {
            return Err(self.refusal(key));
        }
        let request = match handshake::read_request(head) {
            Ok(Some((request, _))) => request,
            Ok(None) => return Err(Refusal::new(400, "malformed request", "")),
            Err(reject) if matches!(reject.status, 405 | 426) && !self.serves(request_path(head)) => {
                return Err(NOT_FOUND);
            }
            Err(reject) => return Err(reject.into()),
        };
        self.judge(key, &request, now)?;
        if !self.serves(request.path) {
            return Err(NOT_FOUND);
        }
        if !origin_is_allowed(&request, &self.settings.client, self.settings.insecure) {
            self.tally.origins_refused += 1;
            return Err(FORBIDDEN_ORIGIN);
        }
        let mut subprotocol = None;
        if request.path == PATH_ECHO {
            wire.phase = Phase::Echo;
        } else {
            wire.phase = Phase::Client;
            let negotiated = negotiate(request.query, request.protocols());
            wire.encoding = negotiated.encoding;
            wire.frame_ping = negotiated.frame_ping;
            subprotocol = negotiated.subprotocol;
        }
        let mut extensions = None;
        if let Some((deflates, agreement)) = self.deflation.agree(key.slot, &request) {
            wire.decoder.allow_rsv1();
            wire.deflates = deflates;
            extensions = Some(agreement.to_string());
        }
        heard.replies.raw(key, |out| {
            handshake::push_accept(out, request.key, subprotocol, extensions.as_deref());
        });
        Ok(true)
    }

    /// Asks the guards about the client that a trusted proxy names in its header.
    fn judge(&mut self, key: Key, request: &Request<'_>, now: Now) -> Result<(), Refusal> {
        let proxy = &self.settings.proxy;
        if let Some(name) = proxy.header.name().filter(|_| self.gate.is_proxy(key.slot))
            && let Some(client) = client_of(proxy.header, request.header_lines(name).rev(), &proxy.trusted)
        {
            self.gate.enter(key.slot, client, &self.settings, now.ms)?;
        }
        Ok(())
    }

    fn serves(&self, path: &str) -> bool {
        path == PATH_CLIENT || (path == PATH_ECHO && self.settings.echo)
    }

    fn upgraded(&mut self, key: Key, wire: &mut Wire, now: Now, heard: &mut Heard) {
        self.tally.upgraded += 1;
        let due_ms = match wire.phase {
            Phase::Client => Some(now.ms + u64::from(self.settings.client.stale_close_s) * 1000),
            _ => None,
        };
        heard.timers.push((key.slot, due_ms));
    }

    fn refuse(&mut self, key: Key, wire: &mut Wire, refusal: &Refusal, now: Now, heard: &mut Heard) {
        self.tally.refuse(refusal.status);
        if refusal.is_fault() {
            self.gate.blame(key.slot, Signal::Handshake, &self.settings.guard, now.ms);
        }
        self.blocks.release(&mut wire.inbound);
        heard.replies.raw(key, |out| {
            let start = out.len();
            let retry = match refusal.retry_after_s {
                0 => String::new(),
                seconds => format!("Retry-After: {seconds}\r\n"),
            };
            handshake::push_reject(out, refusal.status, refusal.reason, &[refusal.headers, &retry].concat());
            if refusal.is_head
                && let Some(end) = handshake::head_is_complete(&out[start..], 0)
            {
                out.truncate(start + end);
            }
        });
        let has_slot_of_others = wire.phase == Phase::Refusing;
        end_after_flush(key, wire, Ending::Shutdown, now, &self.settings, heard);
        if has_slot_of_others {
            heard.timers.push((key.slot, Some(now.ms + REFUSAL_MS)));
        }
    }
}

/// The path of a request that was rejected for other reasons; empty when there is none.
fn request_path(head: &[u8]) -> &str {
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    std::str::from_utf8(path).unwrap_or_default()
}

/// Browsers name the page's origin. It must be the host that is asked, or one on the list; in development mode any
/// page of this machine may connect. Other clients send none.
fn origin_is_allowed(request: &Request<'_>, client: &Client, insecure: bool) -> bool {
    let Some(origin) = request.origin else { return true };
    if client.allowed_origins.iter().any(|allowed| origin_matches(allowed, origin)) {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else { return false };
    if authority.eq_ignore_ascii_case(request.host) {
        return true;
    }
    insecure && is_loopback_name(host_of(authority))
}

/// Whether an entry of the list means this origin: it is the same, it is `*`, or its `*.` stands for the labels before the rest of
/// the host, of which there is one at least.
fn origin_matches(allowed: &str, origin: &str) -> bool {
    if allowed == "*" || allowed.eq_ignore_ascii_case(origin) {
        return true;
    }
    let Some((scheme, rest)) = allowed.split_once("://*") else { return false };
    let Some((origin_scheme, authority)) = origin.split_once("://") else { return false };
    let labels_end = authority.len().saturating_sub(rest.len());
    let (Some(labels), Some(end)) = (authority.get(..labels_end), authority.get(labels_end..)) else {
        return false;
    };
    rest.starts_with('.')
        && origin_scheme.eq_ignore_ascii_case(scheme)
        && end.eq_ignore_ascii_case(rest)
        && labels.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && labels.split('.').all(|label| !label.is_empty())
}

/// The host of `host:port` or `[v6]:port`.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names() {
        let table = [
            ("localhost:9000", true),
            ("127.0.0.1", true),
            ("127.1.2.3:80", true),
            ("[::1]:9000", true),
            ("example.org", false),
            ("localhost.example.org:80", false),
            ("10.0.0.1:80", false),
        ];
        for (authority, expected) in table {
            assert_eq!(is_loopback_name(host_of(authority)), expected, "{authority}");
        }
    }

    #[test]
    fn origins_are_the_same_or_below() {
        let below = "https://*.example.com";
        for (allowed, origin, expected) in [
            ("*", "null", true),
            ("https://app.example", "https://app.example", true),
            ("https://app.example", "HTTPS://App.Example", true),
            ("https://app.example", "http://app.example", false),
            ("https://app.example", "https://app.example:8443", false),
            ("https://app.example", "https://app.example.evil.example", false),
            (below, "https://a.example.com", true),
            (below, "https://A.B.Example.Com", true),
            (below, "https://example.com", false),
            (below, "https://.example.com", false),
            (below, "https://a..example.com", false),
            (below, "https://evilexample.com", false),
            (below, "http://a.example.com", false),
            (below, "https://a.example.com:8443", false),
            (below, "https://evil.test/.example.com", false),
            (below, "https://user@a.example.com", false),
            (below, "https://a.example.com.evil.test", false),
            ("https://*.example.com:8443", "https://a.example.com:8443", true),
            ("https://*", "https://a.example.com", false),
            ("https://*example.com", "https://evilexample.com", false),
            ("*.example.com", "https://a.example.com", false),
            (below, "https://ä.example.com", false),
            (below, "", false),
        ] {
            assert_eq!(origin_matches(allowed, origin), expected, "{allowed} {origin}");
        }
    }

    #[test]
    fn path_of_a_rejected_request() {
        let table: [(&[u8], &str); 4] = [
            (b"POST /connection/websocket?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", "/connection/websocket"),
            (b"GET / HTTP/1.1\r\n\r\n", "/"),
            (b"GARBAGE\r\n\r\n", ""),
            (b"", ""),
        ];
        for (head, expected) in table {
            assert_eq!(request_path(head), expected);
        }
    }
}
