//! Close frames and the closing handshake (RFC 6455 sections 5.5.1, 7.1 and 7.4).

use wsproto::{Answer, CloseFrame, Closing, Violation, is_peer_code};

use crate::wire::{ROLES, Seen, check, frame};

#[test]
fn every_code_is_allowed_or_violates() {
    for code in 0..=u16::MAX {
        let allowed = matches!(
            code,
            1000 | 1001 | 1002 | 1003 | 1007 | 1008 | 1009 | 1010 | 1011 | 1012 | 1013 | 1014 | 3000..=4999
        );
        assert_eq!(is_peer_code(code), allowed, "{code}");
    }
    let edges = [
        0, 1, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1013, 1014, 1015, 1016, 1100,
        1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65_535,
    ];
    for role in ROLES {
        for code in edges {
            let expected = if is_peer_code(code) {
                Seen::Close(Some((code, "bye".to_owned())))
            } else {
                assert_eq!(Violation::CloseCode(code).close_code(), 1002);
                Seen::Violation(Violation::CloseCode(code))
            };
            let payload = [&code.to_be_bytes()[..], b"bye"].concat();
            check(role, &frame(role, 0x88, &payload), &[expected]);
        }
    }
}

#[test]
fn payloads() {
    let longest = [b"\x03\xE8".as_slice(), &[b'x'; 123]].concat();
    let cases: &[(&[u8], Seen)] = &[
        (b"", Seen::Close(None)),
        (b"\x03", Seen::Violation(Violation::CloseTooShort)),
        (b"\x03\xE8", Seen::Close(Some((1000, String::new())))),
        ("\u{3}".as_bytes(), Seen::Violation(Violation::CloseTooShort)),
        (b"\x03\xE8\xE2\x82\xAC", Seen::Close(Some((1000, "€".to_owned())))),
        (b"\x03\xE8\xE2\x82", Seen::Violation(Violation::CloseReasonUtf8)),
        (b"\x03\xE8\xED\xA0\x80", Seen::Violation(Violation::CloseReasonUtf8)),
        (b"\x03\xE8\xFF", Seen::Violation(Violation::CloseReasonUtf8)),
        (b"\x03\xED\xFF", Seen::Violation(Violation::CloseCode(1005))),
        (&longest, Seen::Close(Some((1000, "x".repeat(123))))),
    ];
    for role in ROLES {
        for (payload, expected) in cases {
            check(role, &frame(role, 0x88, payload), std::slice::from_ref(expected));
        }
    }
    assert_eq!(Violation::CloseTooShort.close_code(), 1002);
    assert_eq!(Violation::CloseReasonUtf8.close_code(), 1007);
}

#[test]
fn nothing_is_delivered_after_close() {
    for role in ROLES {
        let bytes =
            [frame(role, 0x88, b""), frame(role, 0x81, b"late"), frame(role, 0x88, b""), vec![0xFF; 9]]
                .concat();
        check(role, &bytes, &[Seen::Close(None)]);
    }
}

const NORMAL: Option<CloseFrame<'static>> = Some(CloseFrame { code: 1000, reason: "done" });

#[test]
fn the_peer_closes_first() {
    let mut closing = Closing::default();
    assert!(closing.receives() && closing.sends() && !closing.is_done());
    assert_eq!(closing.received(NORMAL), Answer::Reply(Some(1000)));
    assert_eq!(closing, Closing::CloseReceived);
    assert!(!closing.receives() && closing.sends());
    assert!(closing.send(), "the reply is sent");
    assert!(closing.is_done() && !closing.sends());
    assert!(!closing.send(), "and only once");
    assert_eq!(closing.received(NORMAL), Answer::Ignore);
}

#[test]
fn an_empty_close_is_answered_by_an_empty_close() {
    assert_eq!(Closing::Open.received(None), Answer::Reply(None));
}

#[test]
fn we_close_first() {
    let mut closing = Closing::Open;
    assert!(closing.send());
    assert_eq!(closing, Closing::CloseSent);
    assert!(!closing.receives() && !closing.sends() && !closing.is_done());
    assert!(!closing.send());
    assert_eq!(closing.received(NORMAL), Answer::Finish);
    assert!(closing.is_done());
}

#[test]
fn both_close_at_once() {
    // Each end sees the other's Close after its own was sent: no reply, both finish.
    let (mut ours, mut theirs) = (Closing::Open, Closing::Open);
    assert!(ours.send() && theirs.send());
    assert_eq!(ours.received(NORMAL), Answer::Finish);
    assert_eq!(theirs.received(None), Answer::Finish);
}

#[test]
fn a_failure_sends_close_once_and_waits_for_nobody() {
    for (mut closing, sends) in [
        (Closing::Open, true),
        (Closing::CloseReceived, true),
        (Closing::CloseSent, false),
        (Closing::Done, false),
    ] {
        assert_eq!(closing.fail(), sends, "{closing:?}");
        assert!(closing.is_done());
        assert!(!closing.fail());
    }
}
