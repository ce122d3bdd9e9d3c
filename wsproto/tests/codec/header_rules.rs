//! The rules that a frame's header alone decides (RFC 6455 section 5.2).

use wsproto::{Decoder, Limits, Role, Violation};

use crate::wire::{LIMITS, ROLES, Seen, binary, check, decode, frame, text};

/// The header bytes are masked or not as the role demands; `second` is given without the mask bit.
fn head(role: Role, first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
    let mask_bit = if role == Role::Server { 0x80 } else { 0 };
    [&[first, second | mask_bit], rest].concat()
}

#[test]
fn lengths_at_every_boundary() {
    for role in ROLES {
        for len in [0, 1, 2, 3, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537, 100_000] {
            let payload: Vec<u8> = (0..len).map(|index| index as u8).collect();
            check(role, &frame(role, 0x82, &payload), &[binary(&payload)]);
        }
    }
}

#[test]
fn a_header_that_breaks_a_rule_violates_as_soon_as_that_is_known() {
    type Case<'a> = (&'a str, u8, u8, &'a [u8], Violation, u16);
    let cases: &[Case<'_>] = &[
        ("RSV1 without an extension", 0xC1, 0, &[], Violation::ReservedBits, 1002),
        ("RSV2", 0xA1, 0, &[], Violation::ReservedBits, 1002),
        ("RSV3", 0x91, 0, &[], Violation::ReservedBits, 1002),
        ("RSV2 on ping", 0xA9, 0, &[], Violation::ReservedBits, 1002),
        ("opcode 3", 0x83, 0, &[], Violation::ReservedOpcode, 1002),
        ("opcode 7", 0x87, 0, &[], Violation::ReservedOpcode, 1002),
        ("opcode B", 0x8B, 0, &[], Violation::ReservedOpcode, 1002),
        ("opcode F", 0x8F, 0, &[], Violation::ReservedOpcode, 1002),
        ("close without FIN", 0x08, 0, &[], Violation::FragmentedControl, 1002),
        ("ping without FIN", 0x09, 0, &[], Violation::FragmentedControl, 1002),
        ("pong without FIN", 0x0A, 0, &[], Violation::FragmentedControl, 1002),
        ("close of 126", 0x88, 126, &[], Violation::LongControl, 1002),
        ("ping of 126", 0x89, 126, &[], Violation::LongControl, 1002),
        ("pong of 65536", 0x8A, 127, &[], Violation::LongControl, 1002),
        ("continuation first", 0x80, 0, &[], Violation::UnexpectedContinuation, 1002),
        ("0 in two bytes", 0x82, 126, &[0, 0], Violation::NonMinimalLength, 1002),
        ("125 in two bytes", 0x82, 126, &[0, 125], Violation::NonMinimalLength, 1002),
        ("0 in eight bytes", 0x82, 127, &[0; 8], Violation::NonMinimalLength, 1002),
        ("125 in eight", 0x82, 127, &[0, 0, 0, 0, 0, 0, 0, 125], Violation::NonMinimalLength, 1002),
        ("65535 in eight", 0x82, 127, &[0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Violation::NonMinimalLength, 1002),
        ("top bit", 0x82, 127, &[0x80, 0, 0, 0, 0, 0, 0, 0], Violation::LengthTopBit, 1002),
        ("all bits", 0x82, 127, &[0xFF; 8], Violation::LengthTopBit, 1002),
        ("2^63 - 1", 0x82, 127, &[0x7F, 255, 255, 255, 255, 255, 255, 255], Violation::FrameTooLong, 1009),
        ("2^32", 0x82, 127, &[0, 0, 0, 1, 0, 0, 0, 0], Violation::FrameTooLong, 1009),
        ("limit + 1", 0x81, 127, &[0, 0, 0, 0, 0, 1, 0x86, 0xA1], Violation::FrameTooLong, 1009),
    ];
    for role in ROLES {
        for (name, first, second, rest, violation, close_code) in cases {
            // No byte more than the rule needs: no masking key, no payload.
            let bytes = head(role, *first, *second, rest);
            check(role, &bytes, &[Seen::Violation(*violation)]);
            assert_eq!(violation.close_code(), *close_code, "{name}");
        }
    }
}

#[test]
fn the_first_byte_alone_can_violate() {
    for first in [0xF1, 0x83, 0x09, 0x80] {
        let seen = decode(&mut Decoder::new(Role::Server), [[first].as_slice()], &LIMITS);
        assert!(matches!(seen.as_slice(), [Seen::Violation(_)]), "{first:#x}: {seen:?}");
    }
}

#[test]
fn masks_are_required_from_clients_and_refused_from_servers() {
    for first in [0x81, 0x82, 0x88, 0x89, 0x8A] {
        check(Role::Server, &frame(Role::Client, first, b""), &[Seen::Violation(Violation::Unmasked)]);
        check(
            Role::Server,
            &frame(Role::Client, first, b"\x03\xE8"),
            &[Seen::Violation(Violation::Unmasked)],
        );
        check(Role::Client, &frame(Role::Server, first, b""), &[Seen::Violation(Violation::Masked)]);
        check(Role::Client, &frame(Role::Server, first, b"\x03\xE8"), &[Seen::Violation(Violation::Masked)]);
    }
    assert_eq!((Violation::Masked.close_code(), Violation::Unmasked.close_code()), (1002, 1002));
}

#[test]
fn earlier_bytes_decide_first() {
    // A reserved opcode in an unmasked, overlong frame: the opcode is what is wrong.
    check(Role::Server, &[0x83, 126, 0, 1], &[Seen::Violation(Violation::ReservedOpcode)]);
    // An unmasked control frame above its limit: the mask is in the higher bit.
    check(Role::Server, &[0x89, 127], &[Seen::Violation(Violation::Unmasked)]);
}

#[test]
fn rsv1_marks_the_first_frame_of_a_message_once_allowed() {
    for role in ROLES {
        let decode_allowed = |bytes: &[u8]| {
            let mut decoder = Decoder::new(role);
            decoder.allow_rsv1();
            let at_once = decode(&mut decoder, [bytes], &LIMITS);
            let mut decoder = Decoder::new(role);
            decoder.allow_rsv1();
            assert_eq!(decode(&mut decoder, bytes.chunks(1), &LIMITS), at_once);
            at_once
        };
        // Compressed text is not UTF-8; it is not checked.
        let seen = decode_allowed(&[frame(role, 0xC1, b"\xFF\xFE"), frame(role, 0x81, b"plain")].concat());
        let compressed = Seen::Message {
            kind: wsproto::MessageKind::Text,
            compressed: true,
            payload: b"\xFF\xFE".to_vec(),
        };
        assert_eq!(seen, [compressed.clone(), text("plain")]);
        let fragmented = [frame(role, 0x41, b"\xFF"), frame(role, 0x80, b"\xFE")].concat();
        assert_eq!(decode_allowed(&fragmented), [compressed]);

        let violation = [Seen::Violation(Violation::ReservedBits)];
        assert_eq!(decode_allowed(&[frame(role, 0x41, b"a"), frame(role, 0xC0, b"b")].concat()), violation);
        for first in [0xC8, 0xC9, 0xCA] {
            assert_eq!(decode_allowed(&frame(role, first, b"")), violation);
        }
        // RSV2 and RSV3 stay reserved.
        assert_eq!(decode_allowed(&frame(role, 0xE1, b"")), violation);
    }
}

#[test]
fn limits_hold_for_short_frames_too() {
    for role in ROLES {
        for (frame_bytes, message_bytes, violation) in
            [(4, 100, Violation::FrameTooLong), (100, 4, Violation::MessageTooLong)]
        {
            let limits = Limits { frame_bytes, message_bytes, fragments: 1 };
            let decode = |payload: &[u8]| {
                decode(&mut Decoder::new(role), [frame(role, 0x82, payload).as_slice()], &limits)
            };
            assert_eq!(decode(b"four"), [binary(b"four")]);
            assert_eq!(decode(b"fives"), [Seen::Violation(violation)]);
        }
    }
}

#[test]
fn control_frames_are_not_bound_by_the_limits_of_data() {
    let limits = Limits { frame_bytes: 0, message_bytes: 0, fragments: 0 };
    for role in ROLES {
        let payload = [7; 125];
        let bytes = [frame(role, 0x89, &payload), frame(role, 0x82, b"")].concat();
        let seen = decode(&mut Decoder::new(role), [bytes.as_slice()], &limits);
        assert_eq!(seen, [Seen::Ping(payload.to_vec()), binary(b"")]);
    }
}

#[test]
fn nothing_is_delivered_after_a_violation() {
    for role in ROLES {
        let bytes = [frame(role, 0x81, b"a"), frame(role, 0x83, b""), frame(role, 0x81, b"b")].concat();
        check(role, &bytes, &[text("a"), Seen::Violation(Violation::ReservedOpcode)]);
    }
}
