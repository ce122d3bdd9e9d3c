//! However the bytes of a connection are split, the events are the same, and they are those of a model.

use proptest::prelude::*;
use wsproto::{Decoder, Limits, MessageKind, Role, Violation};

use crate::wire::{ROLES, Seen, decode, frame_with_key};

const LIMITS: Limits = Limits { frame_bytes: 700, message_bytes: 1000, fragments: 5 };

/// What a peer does next. Every violation ends the sequence.
#[derive(Debug, Clone)]
enum Deed {
    Message { kind: MessageKind, fragments: Vec<Vec<u8>>, controls: Vec<Control> },
    Control(Control),
    Raw(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Control {
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

impl Control {
    fn encode(&self, role: Role, key: [u8; 4]) -> Vec<u8> {
        match self {
            Self::Ping(payload) => frame_with_key(role, 0x89, payload, key),
            Self::Pong(payload) => frame_with_key(role, 0x8A, payload, key),
            Self::Close(payload) => frame_with_key(role, 0x88, payload, key),
        }
    }

    fn expected(&self) -> Seen {
        match self {
            Self::Ping(payload) => Seen::Ping(payload.clone()),
            Self::Pong(payload) => Seen::Pong(payload.clone()),
            Self::Close(payload) if payload.is_empty() => Seen::Close(None),
            Self::Close(payload) if payload.len() == 1 => Seen::Violation(Violation::CloseTooShort),
            Self::Close(payload) => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                if !wsproto::is_peer_code(code) {
                    return Seen::Violation(Violation::CloseCode(code));
                }
                match String::from_utf8(payload[2..].to_vec()) {
                    Ok(reason) => Seen::Close(Some((code, reason))),
                    Err(_) => Seen::Violation(Violation::CloseReasonUtf8),
                }
            }
        }
    }
}

/// The first fault of a text that arrives as these fragments, as the number of the fragment that shows it.
fn fault(fragments: &[Vec<u8>]) -> Option<usize> {
    let mut text = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        text.extend(fragment);
        match std::str::from_utf8(&text) {
            Err(error) if error.error_len().is_some() => return Some(index),
            Err(_) if index + 1 == fragments.len() => return Some(index),
            _ => {}
        }
    }
    None
}

/// The bytes of a sequence, and the events by the book. `Raw` bytes have no model: `None`.
fn play(role: Role, deeds: &[Deed], key: [u8; 4]) -> (Vec<u8>, Option<Vec<Seen>>) {
    let (mut bytes, mut events) = (Vec::new(), Some(Vec::new()));
    let mut expect = |event: Option<Seen>| match event {
        Some(event) => events.iter_mut().for_each(|events| events.push(event.clone())),
        None => events = None,
    };
    for deed in deeds {
        match deed {
            Deed::Raw(raw) => {
                bytes.extend(raw);
                expect(None);
            }
            Deed::Control(control) => {
                bytes.extend(control.encode(role, key));
                expect(Some(control.expected()));
            }
            Deed::Message { kind, fragments, controls } => {
                let fault = if *kind == MessageKind::Text { fault(fragments) } else { None };
                let opcode = if *kind == MessageKind::Text { 1 } else { 2 };
                let mut sum = 0;
                for (index, fragment) in fragments.iter().enumerate() {
                    let fin = index + 1 == fragments.len();
                    let first = u8::from(fin) << 7 | if index == 0 { opcode } else { 0 };
                    bytes.extend(frame_with_key(role, first, fragment, key));
                    sum += fragment.len();
                    if index >= LIMITS.fragments as usize {
                        expect(Some(Seen::Violation(Violation::TooManyFragments)));
                    }
                    if fragment.len() > LIMITS.frame_bytes as usize {
                        expect(Some(Seen::Violation(Violation::FrameTooLong)));
                    }
                    if sum > LIMITS.message_bytes as usize {
                        expect(Some(Seen::Violation(Violation::MessageTooLong)));
                    }
                    if fault == Some(index) {
                        expect(Some(Seen::Violation(Violation::InvalidUtf8)));
                    }
                    if let (false, Some(control)) = (fin, controls.get(index)) {
                        bytes.extend(control.encode(role, key));
                        expect(Some(control.expected()));
                    }
                }
                expect(Some(Seen::Message { kind: *kind, compressed: false, payload: fragments.concat() }));
            }
        }
    }
    // The first end is the end.
    if let Some(events) = &mut events {
        let is_end = |event: &Seen| matches!(event, Seen::Close(_) | Seen::Violation(_));
        let end = events.iter().position(is_end).map_or(events.len(), |end| end + 1);
        events.truncate(end);
    }
    (bytes, events)
}

fn control() -> impl Strategy<Value = Control> {
    let payload = || prop::collection::vec(any::<u8>(), 0..=125);
    let code = prop::sample::select(&[1000_u16, 1001, 1005, 1011, 2000, 3000, 4999, 5000][..]);
    prop_oneof![
        6 => payload().prop_map(Control::Ping),
        6 => payload().prop_map(Control::Pong),
        1 => (code, prop_oneof!["[a-zé€]{0,30}".prop_map(String::into_bytes), payload().prop_map(|mut reason| {
            reason.truncate(123);
            reason
        })]).prop_map(|(code, reason)| Control::Close([&code.to_be_bytes()[..], &reason].concat())),
        1 => prop::collection::vec(any::<u8>(), 0..2).prop_map(Control::Close),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    // Text is cut into fragments anywhere, within characters too; now and then a byte of it is broken.
    let text = (
        "[a-z ]{0,200}|[a-zé€😀]{0,60}|\\PC{0,30}",
        prop::collection::vec(0_usize..300, 0..6),
        any::<Option<u8>>(),
    )
        .prop_map(|(text, cuts, broken)| {
            let mut bytes = text.into_bytes();
            if let (Some(broken @ 0xE0..), Some(byte)) = (broken, bytes.last_mut()) {
                *byte = broken;
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec()).collect::<Vec<_>>()
        })
        .prop_map(|fragments| (MessageKind::Text, fragments));
    let binary = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5)
        .prop_map(|fragments| (MessageKind::Binary, fragments));
    let long = (650_usize..750).prop_map(|len| (MessageKind::Binary, vec![vec![0x5A; len]]));
    let message = (prop_oneof![4 => text, 4 => binary, 1 => long], prop::collection::vec(control(), 0..4))
        .prop_map(|((kind, fragments), controls)| Deed::Message { kind, fragments, controls });
    prop_oneof![
        8 => message,
        3 => control().prop_map(Deed::Control),
    ]
}

/// Pieces of the given lengths, over and over.
fn pieces<'b>(bytes: &'b [u8], lens: &[usize]) -> Vec<&'b [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for len in lens.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*len).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_split_gives_the_events_of_the_model(
        deeds in prop::collection::vec(deed(), 0..8),
        key: [u8; 4],
        lens in prop::collection::vec(prop_oneof![1_usize..4, 1_usize..40, 1_usize..600], 1..12),
    ) {
        for role in ROLES {
            let (bytes, expected) = play(role, &deeds, key);
            let at_once = decode(&mut Decoder::new(role), [bytes.as_slice()], &LIMITS);
            prop_assert_eq!(Some(&at_once), expected.as_ref());
            let split = decode(&mut Decoder::new(role), pieces(&bytes, &lens), &LIMITS);
            prop_assert_eq!(&split, &at_once);
        }
    }

    #[test]
    fn any_split_of_anything_gives_the_same(
        mut deeds in prop::collection::vec(deed(), 0..4),
        raw in prop::collection::vec(any::<u8>(), 0..40),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        key: [u8; 4],
        rsv1: bool,
        lens in prop::collection::vec(1_usize..60, 1..12),
    ) {
        deeds.push(Deed::Raw(raw));
        for role in ROLES {
            let (mut bytes, _) = play(role, &deeds, key);
            for (index, flip) in &flips {
                if !bytes.is_empty() {
                    let index = index.index(bytes.len());
                    bytes[index] ^= flip;
                }
            }
            let decode_pieces = |pieces: Vec<&[u8]>| {
                let mut decoder = Decoder::new(role);
                if rsv1 {
                    decoder.allow_rsv1();
                }
                decode(&mut decoder, pieces, &LIMITS)
            };
            let at_once = decode_pieces(vec![&bytes]);
            prop_assert_eq!(decode_pieces(pieces(&bytes, &lens)), at_once.clone());
            // One by one, text that is cut off is known to be faulty no earlier than it is.
            prop_assert_eq!(decode_pieces(pieces(&bytes, &[1])), at_once);
        }
    }
}
