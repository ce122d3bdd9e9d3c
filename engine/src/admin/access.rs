//! Who may ask over TCP.
//!
//! Invariants: with a key, everything but the page and the probes needs it; without one (loopback only), a request
//! must name a loopback host, so that a web page cannot reach it through a name that it makes resolve to 127.0.0.1
//! (DNS rebinding); what changes something is not done for a web page of another origin. The Unix socket has its file
//! mode instead.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::settings::Secret;

/// Says nothing of the node but whether it is well, or is the same for everybody.
const OPEN: &[&str] = &["/", "/page.css", "/page.js", "/health", "/live", "/ready"];

/// The rule of one listener.
#[derive(Debug)]
pub(super) struct Guard {
    key: Option<Secret>,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Key,
    Host,
    Origin,
}

impl Guard {
    pub(super) fn new(key: Option<Secret>) -> Self {
        Self { key }
    }

    pub(super) fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        if !method.is_safe() && !is_of_own_page(headers) {
            return Err(Refusal::Origin);
        }
        match &self.key {
            Some(_) if OPEN.contains(&path) => Ok(()),
            Some(key) => shown_key(headers)
                .is_some_and(|shown| same_bytes(shown, key.expose()))
                .then_some(())
                .ok_or(Refusal::Key),
            None => names_loopback(headers).then_some(()).ok_or(Refusal::Host),
        }
    }
}

pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.judge(request.method(), request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Refusal::Key) => {
            let body = json!({ "error": "the admin key is missing or wrong: send it as X-API-Key" });
            let challenge = [(header::WWW_AUTHENTICATE, "apikey")];
            (StatusCode::UNAUTHORIZED, challenge, Json(body)).into_response()
        }
        Err(Refusal::Host) => {
            let body = json!({ "error": "without an admin key only loopback host names are answered" });
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
        Err(Refusal::Origin) => {
            let body = json!({ "error": "a web page of another origin may change nothing here" });
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
    }
}

/// RFC 9112 section 3.2: a request of HTTP/1.1 names one host.
pub(super) async fn demand_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        let body = json!({ "error": "one Host is required" });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    next.run(request).await
}

/// `X-API-Key: KEY` or `Authorization: apikey KEY`.
pub(super) fn shown_key(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked("apikey ".len())?;
    scheme.eq_ignore_ascii_case(b"apikey ").then(|| key.trim_ascii())
}

/// Browsers name the origin of whatever sends a request that may change something.
pub(super) fn is_of_own_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let own = headers.get(header::HOST).map(|host| [b"http://", host.as_bytes()].concat());
    own.is_some_and(|own| own == origin.as_bytes())
}

/// Takes the same time wherever the two differ; only their lengths can be learnt.
pub(super) fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    one.len() == other.len() && difference == 0
}

/// Browsers always send Host; a client without one (HTTP/1.0) is no browser.
pub(super) fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn without_a_key_only_loopback_names_are_answered() {
        let guard = Guard::new(None);
        for (host, allowed) in [
            ("127.0.0.1:9000", true),
            ("127.8.9.1", true),
            ("localhost:1", true),
            ("LOCALHOST", true),
            ("[::1]:9000", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("evil.example:9000", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1:9000", false),
            ("", false),
        ] {
            let expected = if allowed { Ok(()) } else { Err(Refusal::Host) };
            for path in ["/", "/status", "/health"] {
                assert_eq!(
                    guard.judge(&Method::GET, path, &headers(&[("host", host)])),
                    expected,
                    "{host} {path}"
                );
            }
        }
        assert_eq!(guard.judge(&Method::GET, "/metrics", &HeaderMap::new()), Ok(()));
    }

    #[test]
    fn with_a_key_only_its_holder_sees_numbers() {
        let guard = Guard::new(Some(Secret::new("k3y")));
        for (list, good) in [
            (&[("host", "any.example")][..], false),
            (&[("x-api-key", "k3y")], true),
            (&[("x-api-key", "k3")], false),
            (&[("x-api-key", "k3yy")], false),
            (&[("x-api-key", "")], false),
            (&[("authorization", "apikey k3y")], true),
            (&[("authorization", "ApiKey k3y")], true),
            (&[("authorization", "Bearer k3y")], false),
            (&[("authorization", "apikey")], false),
        ] {
            let expected = if good { Ok(()) } else { Err(Refusal::Key) };
            assert_eq!(guard.judge(&Method::GET, "/status", &headers(list)), expected, "{list:?}");
            assert_eq!(guard.judge(&Method::GET, "/metrics", &headers(list)), expected, "{list:?}");
            assert_eq!(guard.judge(&Method::GET, "/ready", &headers(list)), Ok(()));
        }
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let guard = Guard::new(None);
        for (method, origin, allowed) in [
            (Method::POST, None, true),
            (Method::POST, Some("http://127.0.0.1:9000"), true),
            (Method::POST, Some("http://evil.example"), false),
            (Method::POST, Some("http://127.0.0.1:8080"), false),
            (Method::DELETE, Some("null"), false),
            (Method::GET, Some("http://evil.example"), true),
        ] {
            let mut list = vec![("host", "127.0.0.1:9000")];
            list.extend(origin.map(|origin| ("origin", origin)));
            let expected = if allowed { Ok(()) } else { Err(Refusal::Origin) };
            assert_eq!(guard.judge(&method, "/drain", &headers(&list)), expected, "{method} {origin:?}");
        }
    }
}
