//! Frames that become their own echo: the bytes that a decoder and an encoder would make of them, however they arrive.

use proptest::prelude::*;
use wsproto::{Decoder, Limits, MessageKind, Opcode, Role, Violation, push_frame};

use crate::wire::{LIMITS, ROLES, Seen, frame, frame_with_key, owned};

/// What a server says to these pieces: messages come back, pings are answered, and how it ended. With `in_place` as much
/// as can be is answered from where it lies; without, everything goes the way of events.
fn answers(pieces: &[&[u8]], limits: &Limits, in_place: bool) -> (Vec<u8>, Option<Seen>, u32) {
    let mut decoder = Decoder::new(Role::Server);
    let (mut said, mut end, mut turned) = (Vec::new(), None, 0);
    let mut assembly = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut rest = 0;
        if in_place {
            let mut input = bytes.as_mut_slice();
            let echoed = decoder.echo(&mut input, limits);
            rest = input.len();
            assert!(echoed.frames.end <= bytes.len() - rest);
            assert_eq!(echoed.frames.is_empty(), echoed.messages == 0);
            said.extend_from_slice(&bytes[echoed.frames]);
            turned += echoed.messages;
            end = echoed.violation.map(Seen::Violation).or(end);
        }
        let at = if in_place { bytes.len() - rest } else { 0 };
        let mut input = &mut bytes[at..];
        loop {
            match decoder.decode(&mut input, &mut assembly, limits).map(|event| event.map(owned)) {
                Ok(None) => break,
                Ok(Some(Seen::Message { kind: MessageKind::Text, payload, .. })) => {
                    push_frame(&mut said, Opcode::Text, &payload, None);
                }
                Ok(Some(Seen::Message { payload, .. })) => {
                    push_frame(&mut said, Opcode::Binary, &payload, None);
                }
                Ok(Some(Seen::Ping(payload))) => push_frame(&mut said, Opcode::Pong, &payload, None),
                Ok(Some(other)) => end = Some(other),
                Err(violation) => end = Some(Seen::Violation(violation)),
            }
        }
        if !decoder.is_partial() {
            assembly = Vec::new();
        }
    }
    (said, end, turned)
}

#[track_caller]
fn check(pieces: &[&[u8]], turned: u32) {
    let expected = answers(pieces, &LIMITS, false);
    let (said, end, messages) = answers(pieces, &LIMITS, true);
    assert!(said == expected.0, "{} bytes said, {} expected", said.len(), expected.0.len());
    assert_eq!((end, messages), (expected.1, turned));
}

#[test]
fn runs_of_every_length_become_adjacent() {
    let payload: Vec<u8> = (0..70_000_u32).map(|index| (index * 7 + index / 251) as u8).collect();
    for len in (0..=300).chain([511, 512, 513, 640, 4_096, 16_384, 65_535]) {
        let mut bytes = Vec::new();
        for more in 0..8 {
            let payload = &payload[more..more + len.min(65_535)];
            bytes.extend(frame_with_key(Role::Server, 0x82, payload, [1, 0xF0, 77, more as u8]));
        }
        check(&[&bytes], 8);
    }
}

#[test]
fn only_whole_plain_messages_at_the_front_are_turned() {
    let server = |first: u8, payload: &[u8]| frame(Role::Server, first, payload);
    let (text, binary) = (server(0x81, b"text"), server(0x82, &[0xFF; 200]));
    let ping = server(0x89, b"ping");
    check(&[&[&text[..], &binary, &ping, &text].concat()], 2);
    check(&[&[&ping[..], &text].concat()], 0);
    check(&[&server(0x01, b"frag"), &server(0x80, b"ment"), &text], 1);
    check(&[&text[..text.len() - 1], &[text[text.len() - 1]], &text], 1);
    check(&[&[&text[..], &server(0x82, &vec![0; 70_000]), &text].concat()], 1);
    check(&[&[&text[..], &server(0x88, b"\x03\xe8"), &text].concat()], 1);
    check(&[b"", &text, b"", &text], 2);
    // What cannot be decoded is left to be found by the decoder.
    check(&[&[&text[..], &frame(Role::Client, 0x81, b"unmasked")].concat()], 1);
    check(&[&[&text[..], &server(0x82, &vec![0; 100_001])].concat()], 1);
}

#[test]
fn text_is_checked_before_it_is_said() {
    let server = |payload: &[u8]| frame(Role::Server, 0x81, payload);
    check(&[&[server("grün €😀".as_bytes()), server("é".repeat(200).as_bytes())].concat()], 2);
    let mut decoder = Decoder::new(Role::Server);
    let mut bytes = [server(b"good"), server(b"bad \xFF"), server(b"never heard")].concat();
    let mut input = bytes.as_mut_slice();
    let echoed = decoder.echo(&mut input, &LIMITS);
    assert_eq!((echoed.messages, echoed.violation), (1, Some(Violation::InvalidUtf8)));
    assert!(input.is_empty(), "nothing more is heard");
    assert_eq!(&bytes[echoed.frames], b"\x81\x04good");
    let mut after = server(b"after");
    let mut input = after.as_mut_slice();
    assert_eq!(decoder.echo(&mut input, &LIMITS).messages, 0);
    assert_eq!(decoder.decode(&mut input, &mut Vec::new(), &LIMITS), Ok(None));
}

#[test]
fn a_client_turns_nothing() {
    for role in ROLES {
        let mut bytes = frame(role, 0x82, b"bytes");
        let mut input = bytes.as_mut_slice();
        let echoed = Decoder::new(role).echo(&mut input, &LIMITS);
        assert_eq!(echoed.messages, u32::from(role == Role::Server));
        assert_eq!(input.is_empty(), role == Role::Server);
    }
}

/// A frame: mostly whole messages, also fragments, control frames, and text that is none.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let lens = prop_oneof![4 => 0_usize..140, 4 => 0_usize..700, 1 => 0_usize..70_000];
    let whole = (prop::sample::select(&[0x81_u8, 0x82, 0x82][..]), lens, any::<u8>(), any::<[u8; 4]>())
        .prop_map(|(first, len, seed, key)| {
            let byte = |index: usize| (index as u8).wrapping_mul(31).wrapping_add(seed);
            let payload: Vec<u8> =
                (0..len).map(|index| if first == 0x81 { byte(index) & 0x7F } else { byte(index) }).collect();
            frame_with_key(Role::Server, first, &payload, key)
        });
    let text = ("\\PC{0,80}", any::<[u8; 4]>())
        .prop_map(|(text, key)| frame_with_key(Role::Server, 0x81, text.as_bytes(), key));
    let control = (prop::sample::select(&[0x89_u8, 0x8A][..]), prop::collection::vec(any::<u8>(), 0..=125))
        .prop_map(|(first, payload)| frame(Role::Server, first, &payload));
    let fragments = (prop::sample::select(&[1_u8, 2][..]), "[ -~]{0,200}", "[ -~]{0,200}", any::<bool>())
        .prop_map(|(opcode, head, tail, pinged)| {
            let ping = if pinged { frame(Role::Server, 0x89, b"between") } else { Vec::new() };
            let head = frame(Role::Server, opcode, head.as_bytes());
            [head, ping, frame(Role::Server, 0x80, tail.as_bytes())].concat()
        });
    let faulty = prop::sample::select(vec![
        frame(Role::Server, 0x81, b"\xC3\x28"),
        frame(Role::Server, 0x88, b"\x03\xE8bye"),
        frame(Role::Server, 0x83, b"reserved"),
        vec![0x82, 0xFE, 0, 125],
    ]);
    prop_oneof![20 => whole, 5 => text, 3 => control, 2 => fragments, 1 => faulty]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_split_is_answered_as_by_events(
        frames in prop::collection::vec(frames(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        narrow: bool,
    ) {
        let bytes = frames.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let limits = if narrow { Limits { frame_bytes: 600, ..LIMITS } } else { LIMITS };
        let (said, end, _) = answers(&pieces, &limits, true);
        let expected = answers(&pieces, &limits, false);
        prop_assert!(said == expected.0, "{} bytes said, {} expected", said.len(), expected.0.len());
        prop_assert_eq!(end, expected.1);
    }
}
