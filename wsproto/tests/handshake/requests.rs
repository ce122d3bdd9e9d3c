//! The server's side: every way in which a request is refused, what is read from a good one, what is answered.

use wsproto::handshake::{Reject, Request, push_accept, push_reject, read_request};

/// The example of RFC 6455 section 1.3.
pub(crate) const COMPLETE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The example with further header lines.
pub(crate) fn with_lines(lines: &[(&str, &str)]) -> String {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    COMPLETE.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"))
}

/// The example with the value of one header replaced, or its line left out.
fn with(name: &str, value: Option<&str>) -> String {
    let lines = COMPLETE.trim_end().split("\r\n").filter_map(|line| match (line.split_once(": "), value) {
        (Some((found, _)), Some(value)) if found == name => Some(format!("{name}: {value}\r\n")),
        (Some((found, _)), None) if found == name => None,
        _ => Some(format!("{line}\r\n")),
    });
    lines.chain(["\r\n".to_owned()]).collect()
}

fn with_start(line: &str) -> String {
    COMPLETE.replace("GET /chat HTTP/1.1", line)
}

#[track_caller]
fn read(head: &str) -> Request<'_> {
    let Ok(Some((request, len))) = read_request(head.as_bytes()) else { panic!("refused: {head}") };
    assert_eq!(len, head.len());
    request
}

#[track_caller]
fn rejected(head: &str) -> Reject {
    match read_request(head.as_bytes()) {
        Err(reject) => reject,
        Ok(request) => panic!("accepted {:?}: {head}", request.map(|(request, _)| request.path)),
    }
}

#[test]
fn the_example_of_the_standard() {
    let request = read(COMPLETE);
    assert_eq!((request.path, request.query), ("/chat", None));
    assert_eq!((request.host, request.origin), ("server.example.com", Some("http://example.com")));
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    assert_eq!(request.extensions().count(), 0);
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("Cookie"), None);

    let mut out = Vec::new();
    push_accept(&mut out, request.key, Some("chat"), None);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn what_was_not_agreed_is_not_answered() {
    let mut out = Vec::new();
    push_accept(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", None, None);
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains("Protocol:") && !text.contains("Extensions") && text.ends_with("xOo=\r\n\r\n"));

    let mut out = Vec::new();
    push_accept(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", None, Some("permessage-deflate"));
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
}

#[test]
fn refusals_by_start_line() {
    let cases = [
        ("GET /chat HTTP/1.0", 505),
        ("GET /chat HTTP/2.0", 505),
        ("GET /chat HTTP/0.9", 505),
        ("GET /chat", 400),
        ("GET  /chat HTTP/1.1", 400),
        ("GET /chat  HTTP/1.1", 400),
        ("get /chat HTTP/1.1", 405),
        ("POST /chat HTTP/1.1", 405),
        ("HEAD /chat HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 405),
        ("CONNECT server.example.com:80 HTTP/1.1", 405),
        ("GET * HTTP/1.1", 400),
        ("GET chat HTTP/1.1", 400),
        ("GET server.example.com:80 HTTP/1.1", 400),
        ("GET ftp://server.example.com/chat HTTP/1.1", 400),
        ("GET ws:///chat HTTP/1.1", 400),
        ("GET ws://user@server.example.com/chat HTTP/1.1", 400),
        ("GET /chat#part HTTP/1.1", 400),
        ("\u{16}\u{3}\u{1}", 400),
    ];
    for (line, status) in cases {
        assert_eq!(rejected(&with_start(line)).status, status, "{line}");
    }
}

#[test]
fn refusals_by_header() {
    let cases: &[(&str, Option<&str>, u16)] = &[
        ("Host", None, 400),
        ("Host", Some(""), 400),
        ("Host", Some("a b"), 400),
        ("Host", Some("user@server.example.com"), 400),
        ("Host", Some("server.example.com/path"), 400),
        ("Upgrade", None, 426),
        ("Upgrade", Some("h2c"), 426),
        ("Upgrade", Some("websockets"), 426),
        ("Connection", None, 426),
        ("Connection", Some("keep-alive"), 426),
        ("Sec-WebSocket-Version", None, 426),
        ("Sec-WebSocket-Version", Some("8"), 426),
        ("Sec-WebSocket-Version", Some("14"), 426),
        ("Sec-WebSocket-Version", Some("013"), 426),
        ("Sec-WebSocket-Version", Some("13, 8"), 426),
        ("Sec-WebSocket-Key", None, 400),
        ("Sec-WebSocket-Key", Some(""), 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ"), 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25j"), 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZTE="), 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZTEy"), 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25j_-=="), 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhb XBsZSBub25jZQ="), 400),
        ("Sec-WebSocket-Protocol", Some("chat, super chat"), 400),
        ("Sec-WebSocket-Protocol", Some("chat;v=1"), 400),
        ("Sec-WebSocket-Protocol", Some("chät"), 400),
    ];
    for (name, value, status) in cases {
        assert_eq!(rejected(&with(name, *value)).status, *status, "{name}: {value:?}");
    }
}

#[test]
fn refusals_by_further_lines() {
    let cases: &[(&str, &str, u16)] = &[
        ("Content-Length", "1", 413),
        ("Content-Length", "18446744073709551616", 413),
        ("content-length", "00", 0),
        ("Content-Length", "0", 0),
        ("Content-Length", "-1", 400),
        ("Content-Length", "0, 0", 400),
        ("Content-Length", "", 400),
        ("Transfer-Encoding", "chunked", 413),
        ("Transfer-Encoding", "identity", 413),
        ("Host", "other.example.com", 400),
        ("Origin", "http://other.example.com", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", 400),
        ("Sec-WebSocket-Version", "13", 400),
        ("Sec-WebSocket-Extensions", "permessage-deflate; a=\"b", 400),
        ("Sec-WebSocket-Extensions", "permessage-deflate a", 400),
        ("Sec-WebSocket-Extensions", "; a", 400),
        ("Sec-WebSocket-Extensions", "permessage-deflate;", 400),
        ("Sec-WebSocket-Extensions", "permessage-deflate; =1", 400),
        ("Sec-WebSocket-Extensions", "permessage-deflate; a=\"b c\"", 400),
        ("Bad Name", "x", 400),
        ("X-Folded", "a\r\n b", 400),
        ("X-Nul", "a\0b", 400),
        ("X-Latin", "ä", 0),
    ];
    for (name, value, status) in cases {
        let head = with_lines(&[(name, value)]);
        match status {
            0 => assert_eq!(read(&head).path, "/chat", "{name}: {value}"),
            _ => assert_eq!(rejected(&head).status, *status, "{name}: {value}"),
        }
    }
}

#[test]
fn values_that_are_not_text_are_no_values() {
    for (name, status) in [("Origin", 400), ("Sec-WebSocket-Protocol", 400), ("X-Other", 0)] {
        let mut head = with(name, None).into_bytes();
        head.truncate(head.len() - 2);
        head.extend([name.as_bytes(), b": \xFF\r\n\r\n"].concat());
        match read_request(&head) {
            Ok(Some((request, _))) => assert_eq!((request.header(name), status), (None, 0)),
            Ok(None) => panic!("the head is complete"),
            Err(reject) => assert_eq!(reject.status, status, "{name}"),
        }
    }
}

#[test]
fn line_breaks() {
    // A head that ends on bare line feeds ends elsewhere for others: it is refused, not guessed at.
    assert_eq!(rejected(&COMPLETE.replace("\r\n", "\n")).status, 400);
    assert_eq!(rejected(&(COMPLETE.replace("\r\n", "\n") + "\r\n\r\n")).status, 400);
    // Empty lines before the request are passed over (RFC 9112 section 2.2), but they do not make a request.
    assert_eq!(rejected("\r\n\r\n").status, 400);
    assert_eq!(read(&format!("\r\n{COMPLETE}")).path, "/chat");
}

#[test]
fn statuses_bring_the_headers_they_demand() {
    assert_eq!(rejected(&with_start("PUT / HTTP/1.1")).headers, "Allow: GET\r\n");
    for head in [with("Upgrade", None), with("Connection", None), with("Sec-WebSocket-Version", Some("7"))] {
        let headers = rejected(&head).headers;
        assert!(
            headers.contains("Sec-WebSocket-Version: 13\r\n") && headers.contains("Upgrade: websocket\r\n")
        );
    }
}

#[test]
fn targets() {
    let cases = [
        ("/", "/", None, "server.example.com"),
        ("/a/b?x=1&y=?2", "/a/b", Some("x=1&y=?2"), "server.example.com"),
        ("/?", "/", Some(""), "server.example.com"),
        ("/%20%2f", "/%20%2f", None, "server.example.com"),
        ("//double", "//double", None, "server.example.com"),
        ("/a?u=http://x/", "/a", Some("u=http://x/"), "server.example.com"),
        ("ws://other:81/a?b", "/a", Some("b"), "other:81"),
        ("HTTP://other", "/", None, "other"),
        ("ws://[::1]:8000/", "/", None, "[::1]:8000"),
        ("wss://other?b", "/", Some("b"), "other"),
    ];
    for (target, path, query, host) in cases {
        let head = with_start(&format!("GET {target} HTTP/1.1"));
        let request = read(&head);
        assert_eq!((request.path, request.query, request.host), (path, query, host), "{target}");
    }
}

#[test]
fn names_and_tokens_are_read_in_any_case_and_list() {
    let head = COMPLETE
        .replace("Upgrade: websocket", "UPGRADE:h2c ,\tWebSocket")
        .replace("Connection: Upgrade", "connection: keep-alive\r\nConnection: close, UPGRADE ")
        .replace("Sec-WebSocket-Version: 13", "sec-websocket-version:  13\t");
    assert_eq!(read(&head).path, "/chat");
}

#[test]
fn protocols_come_in_order_over_all_lines() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        (" , ,", &[]),
        ("a", &["a"]),
        (",a,,b , c,", &["a", "b", "c"]),
        ("centrifuge-protobuf", &["centrifuge-protobuf"]),
        ("b\r\nX-Between: x\r\nsec-websocket-protocol: a, b", &["b", "a", "b"]),
        ("\r\nSec-WebSocket-Protocol: late", &["late"]),
    ];
    for (value, expected) in cases {
        let head = with("Sec-WebSocket-Protocol", Some(value));
        assert_eq!(read(&head).protocols().collect::<Vec<_>>(), *expected, "{value:?}");
    }
    assert_eq!(read(&with("Sec-WebSocket-Protocol", None)).protocols().count(), 0);
}

#[test]
fn extensions_come_with_their_parameters() {
    type Expected<'a> = &'a [(&'a str, &'a [(&'a str, Option<&'a str>)])];
    let cases: &[(&str, Expected<'_>)] = &[
        ("", &[]),
        (",,", &[]),
        ("permessage-deflate", &[("permessage-deflate", &[])]),
        (
            "permessage-deflate; client_max_window_bits",
            &[("permessage-deflate", &[("client_max_window_bits", None)])],
        ),
        (
            "a; b=1; c=\"2\" ,d;e , f",
            &[("a", &[("b", Some("1")), ("c", Some("2"))]), ("d", &[("e", None)]), ("f", &[])],
        ),
        ("a ; b = 1\r\nSec-WebSocket-Extensions: c", &[("a", &[("b", Some("1"))]), ("c", &[])]),
    ];
    for (value, expected) in cases {
        let head = with_lines(&[("Sec-WebSocket-Extensions", value)]);
        let request = read(&head);
        let found: Vec<_> = request
            .extensions()
            .map(|extension| (extension.name, extension.params().collect::<Vec<_>>()))
            .collect();
        let found: Vec<_> = found.iter().map(|(name, params)| (*name, params.as_slice())).collect();
        assert_eq!(found, *expected, "{value:?}");
    }
}

#[test]
fn a_refusal_is_a_whole_answer() {
    let mut out = Vec::new();
    push_reject(&mut out, 503, "no slot is free", "Retry-After: 1\r\n");
    let expected = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 16\r\n\r\nno slot is free\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    // Whatever is refused, the answer can be parsed and says how long it is.
    for status in [400, 401, 403, 404, 405, 408, 413, 426, 429, 431, 500, 503, 505, 599] {
        let mut out = Vec::new();
        push_reject(&mut out, status, "reason", "");
        let mut lines = [httparse::EMPTY_HEADER; 8];
        let mut answer = httparse::Response::new(&mut lines);
        let head_len = answer.parse(&out).unwrap().unwrap();
        assert_eq!(answer.code, Some(status));
        assert_eq!(&out[head_len..], b"reason\n");
        assert!(answer.headers.iter().any(|line| line.name == "Content-Length" && line.value == b"7"));
    }
}
