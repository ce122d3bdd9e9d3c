//! UTF-8 (RFC 6455 section 8.1): what is valid, and how early it is known that something is not.

use proptest::prelude::*;
use wsproto::utf8::{Utf8, is_valid};
use wsproto::{Decoder, Role, Violation};

use crate::wire::{LIMITS, ROLES, Seen, check, decode, frame, text};

/// Faulty beginnings and the number of bytes after which that is known.
const FAULTS: &[(&str, &[u8], usize)] = &[
    ("lone continuation", b"\x80", 1),
    ("last continuation", b"\xBF", 1),
    ("overlong slash", b"\xC0\xAF", 1),
    ("C1", b"\xC1\xBF", 1),
    ("overlong three", b"\xE0\x80\xAF", 2),
    ("overlong three, last", b"\xE0\x9F\xBF", 2),
    ("surrogate D800", b"\xED\xA0\x80", 2),
    ("surrogate DFFF", b"\xED\xBF\xBF", 2),
    ("overlong four", b"\xF0\x80\x80\xAF", 2),
    ("overlong four, last", b"\xF0\x8F\xBF\xBF", 2),
    ("above 10FFFF", b"\xF4\x90\x80\x80", 2),
    ("F5", b"\xF5\x80\x80\x80", 1),
    ("five bytes", b"\xF8\x88\x80\x80\x80", 1),
    ("FE", b"\xFE", 1),
    ("FF", b"\xFF", 1),
    ("two cut by ASCII", b"\xC3a", 2),
    ("three cut by ASCII", b"\xE2\x82a", 3),
    ("four cut by ASCII", b"\xF0\x9F\x98a", 4),
    ("four cut by a beginning", b"\xF0\x9F\xC3", 3),
];

#[test]
fn faults_are_known_at_once() {
    // Prefixes of several lengths reach the short and the vector path.
    for prefix in ["", "a", "é", "0123456", "0123456789abcdef", &"€uro ".repeat(40)] {
        for (name, fault, known) in FAULTS {
            let bytes = [prefix.as_bytes(), fault].concat();
            let mut utf8 = Utf8::new();
            let faultless = bytes.iter().take_while(|byte| utf8.feed(&[**byte]).is_ok()).count();
            assert_eq!(faultless, prefix.len() + known - 1, "{name} after {prefix:?}");

            for cut in 0..bytes.len() {
                let mut utf8 = Utf8::new();
                let whole = utf8.feed(&bytes[..cut]).and_then(|()| utf8.feed(&bytes[cut..]));
                assert!(whole.is_err(), "{name} after {prefix:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn a_fault_in_a_partial_frame_violates_before_the_frame_ends() {
    for role in ROLES {
        for (name, fault, known) in FAULTS {
            let payload = [fault, [b'x'; 200].as_slice()].concat();
            let bytes = frame(role, 0x81, &payload);
            let head_len = bytes.len() - payload.len();
            let mut decoder = Decoder::new(role);
            let before = decode(&mut decoder, [&bytes[..head_len + known - 1]], &LIMITS);
            assert_eq!(before, [], "{name}");
            let mut decoder = Decoder::new(role);
            let at = decode(&mut decoder, [&bytes[..head_len + known]], &LIMITS);
            assert_eq!(at, [Seen::Violation(Violation::InvalidUtf8)], "{name}");
        }
    }
    assert_eq!(Violation::InvalidUtf8.close_code(), 1007);
}

#[test]
fn a_fault_is_seen_wherever_it_lies_among_ascii() {
    for role in ROLES {
        for len in [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 125, 126, 127, 128, 129, 300, 4096] {
            for at in (0..len).filter(|at| *at < 140 || at + 20 > len) {
                let mut payload = vec![b'x'; len];
                payload[at] = 0xC1;
                let seen = decode(&mut Decoder::new(role), [frame(role, 0x81, &payload).as_slice()], &LIMITS);
                assert_eq!(seen, [Seen::Violation(Violation::InvalidUtf8)], "at {at} of {len}");
            }
        }
    }
}

#[test]
fn ascii_does_not_continue_a_character() {
    for role in ROLES {
        // The message is not at its end: the fault is known from the ASCII fragment alone.
        let bytes = [frame(role, 0x01, b"\xE2\x82"), frame(role, 0x00, b"ascii only")].concat();
        check(role, &bytes, &[Seen::Violation(Violation::InvalidUtf8)]);
    }
}

#[test]
fn every_character_passes_and_may_be_cut_anywhere() {
    let edges = "\0\x7F\u{80}\u{7FF}\u{800}\u{FFF}\u{1000}\u{D7FF}\u{E000}\u{FFFD}\u{FFFF}\u{10000}\u{3FFFF}\
        \u{40000}\u{FFFFF}\u{100000}\u{10FFFF}";
    for role in ROLES {
        check(role, &frame(role, 0x81, edges.as_bytes()), &[text(edges)]);
        for cut in 0..=edges.len() {
            let (head, tail) = edges.as_bytes().split_at(cut);
            let bytes = [frame(role, 0x01, head), frame(role, 0x89, b""), frame(role, 0x80, tail)].concat();
            check(role, &bytes, &[Seen::Ping(vec![]), text(edges)]);
        }
    }
}

#[test]
fn a_message_must_not_end_within_a_character() {
    for role in ROLES {
        let violation = [Seen::Violation(Violation::InvalidUtf8)];
        for open in [b"\xC3".as_slice(), b"\xE2\x82", b"\xF0\x9F\x98", b"\xF0"] {
            for padding in [0, 70, 300] {
                let payload = [&vec![b'x'; padding], open].concat();
                check(role, &frame(role, 0x81, &payload), &violation);
                let bytes = [frame(role, 0x01, &payload), frame(role, 0x80, b"")].concat();
                check(role, &bytes, &violation);
                let bytes = [frame(role, 0x01, &payload), frame(role, 0x80, b"ascii only")].concat();
                check(role, &bytes, &violation);
            }
        }
    }
}

#[test]
fn binary_is_not_checked() {
    for role in ROLES {
        check(role, &frame(role, 0x82, b"\xFF\xFE"), &[crate::wire::binary(b"\xFF\xFE")]);
    }
}

#[test]
fn a_ping_is_not_text() {
    let bytes = [frame(Role::Server, 0x01, b"a"), frame(Role::Server, 0x89, b"\xFF")].concat();
    check(Role::Server, &bytes, &[Seen::Ping(vec![0xFF])]);
}

/// Bytes in which UTF-8 is likely, whole or broken.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "\\PC{0,40}".prop_map(String::into_bytes),
        2 => "[a-z]{0,90}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..3),
        1 => prop::sample::select(FAULTS).prop_map(|(_, fault, _)| fault.to_vec()),
        1 => prop::sample::select(FAULTS).prop_map(|(_, fault, known)| fault[..known - 1].to_vec()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pieces_are_judged_as_the_whole(bytes in nearly_text(), cuts in prop::collection::vec(0_usize..300, 0..6)) {
        let expected = std::str::from_utf8(&bytes).is_ok();
        prop_assert_eq!(is_valid(&bytes), expected);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut utf8 = Utf8::new();
        let fed = cuts.windows(2).all(|cut| utf8.feed(&bytes[cut[0]..cut[1]]).is_ok());
        prop_assert_eq!(fed && utf8.is_complete(), expected);
    }

    #[test]
    fn a_prefix_is_faultless_exactly_if_the_standard_library_awaits_more(bytes in nearly_text()) {
        let faultless = match std::str::from_utf8(&bytes) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none(),
        };
        prop_assert_eq!(Utf8::new().feed(&bytes).is_ok(), faultless);
    }
}
