//! Fragmentation and the control frames in between (RFC 6455 sections 5.4 and 5.5).

use wsproto::{Decoder, Limits, Role, Violation};

use crate::wire::{LIMITS, ROLES, Seen, binary, check, decode, frame, text};

fn frames(role: Role, frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| frame(role, *first, payload)).collect()
}

#[test]
fn sequences_of_frames() {
    let ping = |payload: &[u8]| Seen::Ping(payload.to_vec());
    let pong = |payload: &[u8]| Seen::Pong(payload.to_vec());
    let violation = Seen::Violation;
    type Case<'a> = (&'a str, &'a [(u8, &'a [u8])], Vec<Seen>);
    let cases: Vec<Case<'_>> = vec![
        ("one frame", &[(0x81, b"Hello")], vec![text("Hello")]),
        ("two fragments", &[(0x01, b"Hel"), (0x80, b"lo")], vec![text("Hello")]),
        ("three fragments", &[(0x02, b"a"), (0x00, b"b"), (0x80, b"c")], vec![binary(b"abc")]),
        ("empty fragments", &[(0x01, b""), (0x00, b""), (0x80, b"")], vec![text("")]),
        ("empty first", &[(0x01, b""), (0x80, b"x")], vec![text("x")]),
        ("empty last", &[(0x01, b"x"), (0x80, b"")], vec![text("x")]),
        ("empty messages", &[(0x81, b""), (0x82, b"")], vec![text(""), binary(b"")]),
        (
            "ping between fragments",
            &[(0x01, b"Hel"), (0x89, b"?"), (0x80, b"lo")],
            vec![ping(b"?"), text("Hello")],
        ),
        (
            "control before, between and after",
            &[
                (0x8A, b"0"),
                (0x02, b"a"),
                (0x89, b""),
                (0x8A, b"1"),
                (0x00, b"b"),
                (0x89, b"2"),
                (0x80, b"c"),
            ],
            vec![pong(b"0"), ping(b""), pong(b"1"), ping(b"2"), binary(b"abc")],
        ),
        (
            "close between fragments",
            &[(0x01, b"Hel"), (0x88, b"\x03\xE8"), (0x80, b"lo")],
            vec![Seen::Close(Some((1000, String::new())))],
        ),
        (
            "continuation after the end",
            &[(0x01, b"a"), (0x80, b"b"), (0x80, b"c")],
            vec![text("ab"), violation(Violation::UnexpectedContinuation)],
        ),
        (
            "continuation after a whole message",
            &[(0x81, b"a"), (0x80, b"b")],
            vec![text("a"), violation(Violation::UnexpectedContinuation)],
        ),
        (
            "continuation without FIN first",
            &[(0x00, b"a")],
            vec![violation(Violation::UnexpectedContinuation)],
        ),
        ("text within text", &[(0x01, b"a"), (0x81, b"b")], vec![violation(Violation::InterruptedMessage)]),
        ("binary within text", &[(0x01, b"a"), (0x02, b"b")], vec![violation(Violation::InterruptedMessage)]),
        (
            "text within an empty beginning",
            &[(0x01, b""), (0x81, b"")],
            vec![violation(Violation::InterruptedMessage)],
        ),
    ];
    for role in ROLES {
        for (name, sequence, expected) in &cases {
            println!("{name}");
            check(role, &frames(role, sequence), expected);
        }
    }
}

#[test]
fn the_sum_of_fragments_is_limited_from_the_header() {
    for role in ROLES {
        let first = frame(role, 0x02, &[1; 100_000]);
        let second = frame(role, 0x00, &[2; 50_000]);
        let mut third = frame(role, 0x80, &[3; 1]);
        // Its payload and key never arrive.
        third.truncate(2);
        let bytes = [first, second, third].concat();
        let seen = decode(&mut Decoder::new(role), bytes.chunks(7001), &LIMITS);
        assert_eq!(seen, [Seen::Violation(Violation::MessageTooLong)]);
        assert_eq!(Violation::MessageTooLong.close_code(), 1009);
    }
}

#[test]
fn the_whole_message_limit_can_be_used() {
    for role in ROLES {
        let bytes = [frame(role, 0x02, &[1; 100_000]), frame(role, 0x80, &[2; 50_000])].concat();
        let payload = [vec![1; 100_000], vec![2; 50_000]].concat();
        assert_eq!(decode(&mut Decoder::new(role), bytes.chunks(9999), &LIMITS), [binary(&payload)]);
    }
}

#[test]
fn the_number_of_fragments_is_limited() {
    for role in ROLES {
        let empty = |count: usize| -> Vec<u8> {
            let mut bytes = frame(role, 0x02, b"");
            bytes.extend((0..count).flat_map(|_| frame(role, 0x00, b"")));
            bytes
        };
        // Eight frames in all are allowed, control frames do not count.
        let allowed = [empty(6), frame(role, 0x89, b""), frame(role, 0x80, b"")].concat();
        check(role, &allowed, &[Seen::Ping(vec![]), binary(b"")]);
        check(role, &empty(8), &[Seen::Violation(Violation::TooManyFragments)]);
        assert_eq!(Violation::TooManyFragments.close_code(), 1009);

        // The count begins anew with each message, and one frame is always allowed.
        let limits = Limits { fragments: 0, ..LIMITS };
        let bytes = [frame(role, 0x82, b"a"), frame(role, 0x82, b"b"), frame(role, 0x02, b"")].concat();
        let mut decoder = Decoder::new(role);
        assert_eq!(decode(&mut decoder, [bytes.as_slice()], &limits), [binary(b"a"), binary(b"b")]);
        let more = frame(role, 0x80, b"");
        assert_eq!(
            decode(&mut decoder, [more.as_slice()], &limits),
            [Seen::Violation(Violation::TooManyFragments)]
        );
    }
}
