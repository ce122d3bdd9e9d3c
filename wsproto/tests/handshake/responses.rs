//! The client's side: what it asks, which answers it refuses, and that the two sides of this crate agree.

use proptest::prelude::*;
use wsproto::handshake::{
    ClientRequest, Refusal, push_accept, push_reject, push_request, read_request, read_response,
};

/// The key of the example in RFC 6455 section 1.3.
const KEY: [u8; 16] = *b"the sample nonce";

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

fn request() -> ClientRequest<'static> {
    ClientRequest {
        host: "server.example.com:8000",
        target: "/chat?x=1",
        origin: None,
        protocols: &[],
        key: KEY,
        deflate: None,
        headers: &[],
    }
}

#[test]
fn a_request() {
    let mut out = Vec::new();
    push_request(
        &mut out,
        &ClientRequest {
            origin: Some("http://example.com"),
            protocols: &["chat", "superchat"],
            headers: &[("Authorization", "Bearer t")],
            ..request()
        },
    );
    let expected = "GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com:8000\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Origin: http://example.com\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat\r\n\
        Authorization: Bearer t\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn an_agreement() {
    let bytes = [AGREED.as_bytes(), b"\x81\x00"].concat();
    let (response, len) = read_response(&bytes, &KEY, &["superchat", "chat"], None).unwrap().unwrap();
    assert_eq!((response.protocol, len), (Some("chat"), AGREED.len()));
    assert_eq!(response.header("connection"), Some("Upgrade"));
    for len in 0..AGREED.len() {
        assert!(
            matches!(read_response(&AGREED.as_bytes()[..len], &KEY, &["chat"], None), Ok(None)),
            "{len} bytes"
        );
    }
}

#[test]
fn a_protocol_may_be_left_open() {
    let head = AGREED.replace("Sec-WebSocket-Protocol: chat\r\n", "");
    let (response, _) = read_response(head.as_bytes(), &KEY, &["chat"], None).unwrap().unwrap();
    assert_eq!(response.protocol, None);
}

#[test]
fn refusals() {
    let cases: &[(&str, &str, Refusal)] = &[
        ("HTTP/1.1 101", "HTTP/1.1 200", Refusal::Status(200)),
        ("HTTP/1.1 101", "HTTP/1.1 302", Refusal::Status(302)),
        ("HTTP/1.1 101", "HTTP/1.1 503", Refusal::Status(503)),
        ("HTTP/1.1 101", "HTTP/1.0 101", Refusal::Malformed),
        ("HTTP/1.1 101", "HTTP/2.0 101", Refusal::Malformed),
        ("HTTP/1.1 101", "SSH-2.0 101", Refusal::Malformed),
        ("Upgrade: websocket", "Upgrade: h2c", Refusal::NotUpgraded),
        ("Upgrade: websocket\r\n", "", Refusal::NotUpgraded),
        ("Connection: Upgrade", "Connection: close", Refusal::NotUpgraded),
        ("Connection: Upgrade\r\n", "", Refusal::NotUpgraded),
        ("s3pP", "S3pP", Refusal::WrongAccept),
        ("xOo=", "xOo", Refusal::WrongAccept),
        ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "", Refusal::WrongAccept),
        ("Protocol: chat", "Protocol: Chat", Refusal::UnofferedProtocol),
        ("Protocol: chat", "Protocol: chat, superchat", Refusal::UnofferedProtocol),
        ("Protocol: chat", "Protocol: ", Refusal::UnofferedProtocol),
        ("Protocol: chat", "Protocol: chat\r\nSec-WebSocket-Protocol: chat", Refusal::UnofferedProtocol),
        ("Protocol: chat", "Protocol: chat\r\nSec-WebSocket-Extensions: x", Refusal::UnofferedExtension),
    ];
    for (from, to, refusal) in cases {
        let head = AGREED.replacen(from, to, 1);
        assert_ne!(head, AGREED);
        assert_eq!(read_response(head.as_bytes(), &KEY, &["chat"], None).err(), Some(*refusal), "{to}");
    }
    assert_eq!(read_response(AGREED.as_bytes(), &KEY, &[], None).err(), Some(Refusal::UnofferedProtocol));
    assert_eq!(read_response(AGREED.as_bytes(), &[0; 16], &["chat"], None).err(), Some(Refusal::WrongAccept));
}

#[test]
fn an_empty_extension_header_agrees_to_nothing() {
    let head = AGREED.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: \r\n\r\n");
    assert!(read_response(head.as_bytes(), &KEY, &["chat"], None).unwrap().is_some());
}

#[test]
fn a_refusal_of_ours_is_read_as_its_status() {
    let mut out = Vec::new();
    push_reject(&mut out, 404, "nothing is here", "");
    assert_eq!(read_response(&out, &KEY, &[], None).err(), Some(Refusal::Status(404)));
}

proptest! {
    #[test]
    fn both_sides_agree(
        key: [u8; 16],
        target in "/[a-zA-Z0-9/%._-]{0,40}(\\?[a-z=&]{0,20})?",
        origin in prop::option::of("https://[a-z.]{1,20}"),
        protocols in prop::collection::vec("[a-z0-9.-]{1,12}", 0..4),
        pick in any::<prop::sample::Index>(),
        cookie in "[ -~&&[^ ]]{1,60}",
    ) {
        let offered: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let headers = [("Cookie", cookie.as_str())];
        let mut asked = Vec::new();
        push_request(&mut asked, &ClientRequest {
            target: &target,
            origin: origin.as_deref(),
            protocols: &offered,
            key,
            deflate: None,
            headers: &headers,
            ..request()
        });
        let (read, len) = read_request(&asked).unwrap().unwrap();
        prop_assert_eq!(len, asked.len());
        prop_assert_eq!((read.host, read.origin), ("server.example.com:8000", origin.as_deref()));
        let read_target = read.query.map_or(read.path.to_owned(), |query| format!("{}?{query}", read.path));
        prop_assert_eq!(read_target, target);
        prop_assert_eq!(read.header("cookie"), Some(cookie.as_str()));
        prop_assert_eq!(read.protocols().collect::<Vec<_>>(), offered.clone());

        let picked = if offered.is_empty() { None } else { Some(offered[pick.index(offered.len())]) };
        let mut answered = Vec::new();
        push_accept(&mut answered, read.key, picked, None);
        let (response, len) = read_response(&answered, &key, &offered, None).unwrap().unwrap();
        prop_assert_eq!((response.protocol, len), (picked, answered.len()));
    }
}
