//! A peer's bytes after the handshake, at once and in pieces.
//!
//! An input is one byte of settings, one byte of piece lengths, and what the peer sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsproto::{
    Closing, Decoder, Event, Limits, Opcode, Role, Violation, is_peer_code, push_close, push_frame,
};

const LIMITS: Limits = Limits { frame_bytes: 500, message_bytes: 900, fragments: 6 };
const KEPT_BYTES_MAX: usize = 900 + 125;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(bool, bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

fuzz_target!(|bytes: &[u8]| {
    let [settings, pieces, sent @ ..] = bytes else { return };
    let role = if settings & 1 == 0 { Role::Server } else { Role::Client };
    let rsv1 = settings & 2 != 0;
    // Two lengths in turn: 1 to 16, and 1 to 61.
    let lens = [usize::from(pieces & 15) + 1, usize::from(pieces >> 4) * 4 + 1];

    let at_once = decode(role, rsv1, sent, &[sent.len().max(1)]);
    assert_eq!(decode(role, rsv1, sent, &lens), at_once);
    assert_eq!(decode(role, rsv1, sent, &[1]), at_once);
    echo(sent, &at_once, role, rsv1);
});

/// The messages at the front, turned into their echo in place, are those that the decoder tells.
fn echo(sent: &[u8], events: &[Seen], role: Role, rsv1: bool) {
    let mut decoder = Decoder::new(role);
    if rsv1 {
        decoder.allow_rsv1();
    }
    let mut bytes = sent.to_vec();
    let mut input = bytes.as_mut_slice();
    let echoed = decoder.echo(&mut input, &LIMITS);
    let mut expected = Vec::new();
    for event in &events[..echoed.messages as usize] {
        let Seen::Message(is_text, false, payload) = event else { panic!("no message: {event:?}") };
        let opcode = if *is_text { Opcode::Text } else { Opcode::Binary };
        push_frame(&mut expected, opcode, payload, None);
    }
    assert_eq!(bytes[echoed.frames], expected);
    if let Some(violation) = echoed.violation {
        assert_eq!(events.get(echoed.messages as usize), Some(&Seen::Violation(violation)));
    }
}

fn decode(role: Role, rsv1: bool, sent: &[u8], lens: &[usize]) -> Vec<Seen> {
    let mut decoder = Decoder::new(role);
    if rsv1 {
        decoder.allow_rsv1();
    }
    let (mut seen, mut closing, mut assembly, mut received) = (Vec::new(), Closing::Open, Vec::new(), 0);
    let (mut rest, mut lens) = (sent, lens.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(lens.next().map_or(1, |len| *len).min(rest.len()));
        (rest, received) = (after, received + piece.len());
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        loop {
            match decoder.decode(&mut input, &mut assembly, &LIMITS) {
                Ok(Some(event)) => {
                    assert!(closing.receives(), "an event after the end");
                    seen.push(own(event, &mut closing));
                }
                Ok(None) => break,
                Err(violation) => {
                    assert!(closing.fail(), "a violation after the end");
                    push_close(&mut Vec::new(), Some(violation.close_code()), violation.reason(), None);
                    seen.push(Seen::Violation(violation));
                }
            }
        }
        assert!(input.is_empty());
        assert!(assembly.len() <= received.min(KEPT_BYTES_MAX));
        if !decoder.is_partial() {
            assembly = Vec::new();
        }
    }
    seen
}

fn own(event: Event<'_>, closing: &mut Closing) -> Seen {
    match event {
        Event::Message { kind, compressed, payload } => {
            let is_text = kind == wsproto::MessageKind::Text;
            assert!(!is_text || compressed || std::str::from_utf8(payload).is_ok());
            assert!(payload.len() <= LIMITS.message_bytes as usize);
            Seen::Message(is_text, compressed, payload.to_vec())
        }
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close(frame) => {
            closing.received(frame);
            assert!(frame.is_none_or(|frame| is_peer_code(frame.code) && frame.reason.len() <= 123));
            Seen::Close(frame.map(|frame| (frame.code, frame.reason.to_owned())))
        }
    }
}
