//! What is sent: bytes known from the standard, and what was encoded decodes to itself.

use proptest::prelude::*;
use wsproto::{Decoder, Header, Limits, MessageKind, Opcode, Role, frame_header, push_close, push_frame};

use crate::wire::{LIMITS, Seen, decode, decode_at_once};

#[test]
fn the_examples_of_the_standard() {
    // RFC 6455 section 5.7.
    let mut out = Vec::new();
    push_frame(&mut out, Opcode::Text, b"Hello", None);
    assert_eq!(out, b"\x81\x05Hello");
    out.clear();
    push_frame(&mut out, Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
    assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    out.clear();
    push_frame(&mut out, Opcode::Pong, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
    assert_eq!(out, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(&*frame_header(Opcode::Binary, true, false, 256, None), b"\x82\x7E\x01\x00");
    assert_eq!(
        &*frame_header(Opcode::Binary, true, false, 65_536, None),
        b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00"
    );
}

#[test]
fn headers() {
    let cases: &[(Header, &[u8])] = &[
        (frame_header(Opcode::Text, false, false, 3, None), b"\x01\x03"),
        (frame_header(Opcode::Text, true, true, 3, None), b"\xC1\x03"),
        (frame_header(Opcode::Continuation, true, false, 0, None), b"\x80\x00"),
        (frame_header(Opcode::Close, true, false, 125, None), b"\x88\x7D"),
        (frame_header(Opcode::Ping, true, false, 0, Some([1, 2, 3, 4])), b"\x89\x80\x01\x02\x03\x04"),
        (frame_header(Opcode::Binary, true, false, 126, None), b"\x82\x7E\x00\x7E"),
        (frame_header(Opcode::Binary, true, false, 65_535, None), b"\x82\x7E\xFF\xFF"),
        (
            frame_header(Opcode::Binary, true, false, 65_536, Some([9; 4])),
            b"\x82\xFF\0\0\0\0\0\x01\0\0\x09\x09\x09\x09",
        ),
    ];
    for (header, expected) in cases {
        assert_eq!(&**header, *expected);
    }
}

#[test]
fn frames_are_appended() {
    let mut out = b"before".to_vec();
    push_frame(&mut out, Opcode::Binary, b"ab", Some([0xFF, 0, 0xFF, 0]));
    assert_eq!(out, b"before\x82\x82\xFF\x00\xFF\x00\x9Eb");
}

#[test]
fn close_frames() {
    let close = |code: Option<u16>, reason: &str| {
        let mut out = Vec::new();
        push_close(&mut out, code, reason, None);
        out
    };
    assert_eq!(close(None, "left out"), b"\x88\x00");
    assert_eq!(close(Some(1000), ""), b"\x88\x02\x03\xE8");
    assert_eq!(close(Some(1001), "bye"), b"\x88\x05\x03\xE9bye");

    // 123 bytes are kept; a character that crosses that is left out whole.
    let cases = [
        ("x".repeat(123), 123),
        ("x".repeat(124), 123),
        (format!("{}é", "x".repeat(121)), 123),
        (format!("{}é", "x".repeat(122)), 122),
        (format!("{}€", "x".repeat(121)), 121),
        (format!("{}😀", "x".repeat(120)), 120),
        (format!("{}😀!", "x".repeat(119)), 123),
        ("€".repeat(1000), 123),
    ];
    for (reason, kept) in cases {
        let seen = decode_at_once(Role::Client, &close(Some(4000), &reason));
        assert_eq!(seen, [Seen::Close(Some((4000, reason[..kept].to_owned())))]);
    }
}

/// Every violation can be told to the peer that caused it.
#[test]
fn a_violation_becomes_a_close_frame() {
    let mut input = *b"\x81\x00";
    let mut assembly = Vec::new();
    let violation =
        Decoder::new(Role::Server).decode(&mut input.as_mut_slice(), &mut assembly, &LIMITS).unwrap_err();
    let mut out = Vec::new();
    push_close(&mut out, Some(violation.close_code()), violation.reason(), None);
    let expected = Seen::Close(Some((1002, "frame without mask".to_owned())));
    assert_eq!(decode_at_once(Role::Client, &out), [expected]);
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(
        payload in prop::collection::vec(any::<u8>(), 0..70_000),
        key: Option<[u8; 4]>,
        opcode in prop::sample::select(&[Opcode::Binary, Opcode::Ping, Opcode::Pong][..]),
    ) {
        let payload = if opcode.is_control() { &payload[..payload.len().min(125)] } else { &payload };
        let mut out = Vec::new();
        push_frame(&mut out, opcode, payload, key);
        let role = if key.is_some() { Role::Server } else { Role::Client };
        let expected = match opcode {
            Opcode::Ping => Seen::Ping(payload.to_vec()),
            Opcode::Pong => Seen::Pong(payload.to_vec()),
            _ => crate::wire::binary(payload),
        };
        prop_assert_eq!(decode_at_once(role, &out), [expected]);
    }

    #[test]
    fn fragments_that_are_encoded_decode_to_their_sum(
        fragments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        compressed: bool,
        key: Option<[u8; 4]>,
    ) {
        let mut out = Vec::new();
        for (index, fragment) in fragments.iter().enumerate() {
            let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
            let (fin, rsv1) = (index + 1 == fragments.len(), compressed && index == 0);
            out.extend_from_slice(&frame_header(opcode, fin, rsv1, fragment.len(), key));
            let start = out.len();
            out.extend_from_slice(fragment);
            wsproto::mask::apply(&mut out[start..], key.unwrap_or_default(), 0);
        }
        let mut decoder = Decoder::new(if key.is_some() { Role::Server } else { Role::Client });
        decoder.allow_rsv1();
        let limits = Limits { fragments: 7, ..LIMITS };
        let payload = fragments.concat();
        let expected = if compressed || std::str::from_utf8(&payload).is_ok() {
            Seen::Message { kind: MessageKind::Text, compressed, payload }
        } else {
            Seen::Violation(wsproto::Violation::InvalidUtf8)
        };
        prop_assert_eq!(decode(&mut decoder, [out.as_slice()], &limits), [expected]);
    }
}
