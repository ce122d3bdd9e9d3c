//! Heads as bytes: where they end, however they arrive, and how large they may be.

use proptest::prelude::*;
use wsproto::handshake::{Refusal, check_beginning, head_is_complete, read_request, read_response};
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
        let _ = read_response(&bytes, &[0; 16], &[], None);
    }

    #[test]
    fn a_beginning_is_judged_alike_however_it_arrives(bytes in beginnings(), cut in 0..60_usize) {
        let whole = check_beginning(&bytes, 0);
        let cut = cut.min(bytes.len());
        let halves = check_beginning(&bytes[..cut], 0).and_then(|()| check_beginning(&bytes, cut));
        prop_assert_eq!(halves, whole);
        let trickled = (0..bytes.len()).try_for_each(|from| check_beginning(&bytes[..=from], from));
        prop_assert_eq!(trickled, whole);
    }

    #[test]
    fn what_is_given_up_could_not_become_a_request(bytes in beginnings(), rest in 0..COMPLETE.len()) {
        if check_beginning(&bytes, 0).is_err() {
            for tail in [&COMPLETE[rest..], COMPLETE] {
                let head = [&bytes[..], tail.as_bytes()].concat();
                prop_assert!(!matches!(read_request(&head), Ok(Some(_))), "{:?}", head);
            }
        }
    }
}

#[test]
fn every_head_that_becomes_a_request_could_become_one_at_each_of_its_bytes() {
    for at in 0..COMPLETE.len() {
        for byte in 0..=u8::MAX {
            let mut replaced = COMPLETE.as_bytes().to_vec();
            replaced[at] = byte;
            let mut inserted = COMPLETE.as_bytes().to_vec();
            inserted.insert(at, byte);
            let shortened = [&COMPLETE.as_bytes()[..at], &COMPLETE.as_bytes()[at + 1..]].concat();
            for head in [replaced, inserted, shortened] {
                if let Ok(Some((_, len))) = read_request(&head) {
                    let trickled = (0..len).try_for_each(|from| check_beginning(&head[..=from], from));
                    assert_eq!(trickled, Ok(()), "{}", head.escape_ascii());
                }
            }
        }
    }
}

/// The beginning of the example with one byte replaced or put in, or line breaks before it.
fn beginnings() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![prop::sample::select(b"\r\n \t\0\x16\x7F(a:".to_vec()), any::<u8>()];
    ("(\r\n|\n|\r)?", 0..60_usize, 0..60_usize, byte, any::<bool>()).prop_map(
        |(breaks, len, at, byte, replaces)| {
            let mut bytes = [breaks.as_bytes(), &COMPLETE.as_bytes()[..len]].concat();
            let at = at.min(bytes.len());
            bytes.splice(at..(at + usize::from(replaces)).min(bytes.len()), [byte]);
            bytes
        },
    )
}

#[test]
fn what_cannot_become_a_request_is_given_up_at_once() {
    let given_up: &[&[u8]] = &[
        b"\x16\x03\x01",
        b"\x16",
        b" GET",
        b"\r\n\x16",
        b"{",
        b"\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/1.1\rHost",
        b"GET /\0",
        b"\x80",
    ];
    for bytes in given_up {
        assert_eq!(check_beginning(bytes, 0).map_err(|reject| reject.status), Err(400), "{bytes:?}");
        assert_eq!(read_request(bytes).err().map(|reject| reject.status), Some(400), "{bytes:?}");
    }
    for bytes in [&b""[..], b"\r", b"\r\n", b"\r\nG", b"GET / HTTP/1.1\r", b"GET /\xFF HTTP/1.1\r\nX: \t\xFF"]
    {
        assert_eq!(check_beginning(bytes, 0), Ok(()), "{bytes:?}");
    }
}

#[test]
fn a_faultless_beginning_is_incomplete() {
    for len in 0..COMPLETE.len() {
        assert!(matches!(read_request(&COMPLETE.as_bytes()[..len]), Ok(None)), "{len} bytes");
        assert_eq!(check_beginning(&COMPLETE.as_bytes()[..len], 0), Ok(()), "{len} bytes");
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
    assert_eq!(read_response(response.as_bytes(), &[0; 16], &[], None).err(), Some(Refusal::TooLarge));
}

#[test]
fn a_head_is_limited_in_lines() {
    let present = COMPLETE.matches("\r\n").count() - 2;
    let lines = |count: usize| with_lines(&vec![("X", "y"); count]);
    assert!(read_request(lines(HEADERS_MAX - present).as_bytes()).unwrap().is_some());
    assert_eq!(read_request(lines(HEADERS_MAX - present + 1).as_bytes()).err().unwrap().status, 431);

    let response = "HTTP/1.1 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(HEADERS_MAX + 1) + "\r\n";
    assert_eq!(read_response(response.as_bytes(), &[0; 16], &[], None).err(), Some(Refusal::TooLarge));
}
