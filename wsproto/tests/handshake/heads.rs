//! Heads as bytes: where they end, however they arrive, and how large they may be.

use proptest::prelude::*;
use wsproto::handshake::{Refusal, head_is_complete, read_request, read_response};
use wsproto::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

use crate::requests::{COMPLETE, with_lines};

#[test]
fn ends() {
    let cases: &[(&[u8], Option<usize>)] = &[
        (b"", None),
        (b"\r\n\r", None),
        (b"\r\n\r\n", Some(4)),
        (b"a\r\n\r\n", Some(5)),
        (b"ab\r\n\r\nrest\r\n\r\n", Some(6)),
        (b"abc\r\n\r\n", Some(7)),
        (b"\r\n\n\r\n\r\n", Some(7)),
        (b"\n\n", None),
        (b"a\r\nb\r\n\r\r\n\r\n", Some(11)),
        (b"\r\r\n\r\n", Some(5)),
        (b"\r\n\r\r\n\r\n", Some(7)),
    ];
    for (bytes, end) in cases {
        assert_eq!(head_is_complete(bytes, 0), *end, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn the_end_is_the_first_empty_line(text in "[\r\na]{0,40}") {
        let bytes = text.as_bytes();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4);
        prop_assert_eq!(head_is_complete(bytes, 0), end);
        // A trickled head is searched on from where the last search stopped.
        let mut found = None;
        for len in 0..bytes.len() {
            found = found.or_else(|| head_is_complete(&bytes[..=len], len));
        }
        prop_assert_eq!(found, end);
    }

    #[test]
    fn heads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_request(&bytes);
        let _ = read_response(&bytes, &[0; 16], &[]);
    }
}

#[test]
fn a_faultless_beginning_is_incomplete() {
    for len in 0..COMPLETE.len() {
        assert!(matches!(read_request(&COMPLETE.as_bytes()[..len]), Ok(None)), "{len} bytes");
    }
}

#[test]
fn what_follows_the_head_is_left() {
    let bytes = [COMPLETE.as_bytes(), b"\x81\x80\0\0\0\0\r\n\r\n"].concat();
    let (_, len) = read_request(&bytes).unwrap().unwrap();
    assert_eq!(len, COMPLETE.len());
}

#[test]
fn a_head_is_limited_in_bytes() {
    let filled = |len: usize| {
        let bytes = with_lines(&[("X-Fill", "")]);
        let fill = "x".repeat(len - bytes.len());
        with_lines(&[("X-Fill", fill.as_str())])
    };
    assert!(read_request(filled(HEAD_BYTES_MAX).as_bytes()).unwrap().is_some());
    assert_eq!(read_request(filled(HEAD_BYTES_MAX + 1).as_bytes()).err().unwrap().status, 431);

    // An unfinished head is refused once it is too long, whatever comes; before that it is waited for.
    let unfinished = "GET /".to_owned() + &"x".repeat(HEAD_BYTES_MAX);
    assert!(read_request(&unfinished.as_bytes()[..HEAD_BYTES_MAX]).unwrap().is_none());
    assert_eq!(read_request(&unfinished.as_bytes()[..HEAD_BYTES_MAX + 1]).err().unwrap().status, 431);

    // Frames that follow at once do not count.
    let followed = [COMPLETE.as_bytes(), &[0x82; 2 * HEAD_BYTES_MAX]].concat();
    assert!(read_request(&followed).unwrap().is_some());

    let response = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"x".repeat(HEAD_BYTES_MAX);
    assert_eq!(read_response(response.as_bytes(), &[0; 16], &[]).err(), Some(Refusal::TooLarge));
}

#[test]
fn a_head_is_limited_in_lines() {
    let present = COMPLETE.matches("\r\n").count() - 2;
    let lines = |count: usize| with_lines(&vec![("X", "y"); count]);
    assert!(read_request(lines(HEADERS_MAX - present).as_bytes()).unwrap().is_some());
    assert_eq!(read_request(lines(HEADERS_MAX - present + 1).as_bytes()).err().unwrap().status, 431);

    let response = "HTTP/1.1 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(HEADERS_MAX + 1) + "\r\n";
    assert_eq!(read_response(response.as_bytes(), &[0; 16], &[]).err(), Some(Refusal::TooLarge));
}
