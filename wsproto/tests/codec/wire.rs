//! Frames written byte by byte, apart from the crate's own encoder, and what a decoder makes of them.

use wsproto::{Decoder, Event, Limits, MessageKind, Role, Violation};

pub(crate) const ROLES: [Role; 2] = [Role::Server, Role::Client];
pub(crate) const LIMITS: Limits = Limits { frame_bytes: 100_000, message_bytes: 150_000, fragments: 8 };
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// An event that owns its payload, or the violation that ended the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Message { kind: MessageKind, compressed: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

pub(crate) fn text(payload: &str) -> Seen {
    message(MessageKind::Text, payload.as_bytes())
}

pub(crate) fn binary(payload: &[u8]) -> Seen {
    message(MessageKind::Binary, payload)
}

fn message(kind: MessageKind, payload: &[u8]) -> Seen {
    Seen::Message { kind, compressed: false, payload: payload.to_vec() }
}

/// A frame to a `role` with this first byte and a minimal length, masked as that role demands.
pub(crate) fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    frame_with_key(role, first, payload, KEY)
}

pub(crate) fn frame_with_key(role: Role, first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mask_bit = if role == Role::Server { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(mask_bit | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(mask_bit | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(mask_bit | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    if role == Role::Server {
        bytes.extend(key);
        bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        bytes.extend(payload);
    }
    bytes
}

/// Decodes `pieces` as they would arrive, with what an engine does around it: the assembly is given back as soon
/// as it is not needed. Checks on the way what must hold at every step.
pub(crate) fn decode<'p>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    limits: &Limits,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    let (mut assembly, mut received) = (Vec::new(), 0);
    for piece in pieces {
        received += piece.len();
        let mut bytes = piece.to_vec();
        let mut input = bytes.as_mut_slice();
        loop {
            match decoder.decode(&mut input, &mut assembly, limits) {
                Ok(Some(event)) => seen.push(owned(event)),
                Ok(None) => break,
                Err(violation) => seen.push(Seen::Violation(violation)),
            }
        }
        assert!(input.is_empty(), "all input is taken");
        assert!(assembly.len() <= received, "memory follows the bytes received");
        if decoder.is_partial() {
            assert!(!assembly.is_empty() && !decoder.is_between_messages());
        } else {
            assembly = Vec::new();
        }
    }
    seen
}

/// Decodes bytes that arrive at once.
pub(crate) fn decode_at_once(role: Role, bytes: &[u8]) -> Vec<Seen> {
    decode(&mut Decoder::new(role), [bytes], &LIMITS)
}

/// Decodes bytes that arrive one by one.
pub(crate) fn decode_trickle(role: Role, bytes: &[u8]) -> Vec<Seen> {
    decode(&mut Decoder::new(role), bytes.chunks(1), &LIMITS)
}

/// Both ways of arriving must show `expected`.
#[track_caller]
pub(crate) fn check(role: Role, bytes: &[u8], expected: &[Seen]) {
    assert_eq!(decode_at_once(role, bytes), expected, "at once, {role:?}");
    assert_eq!(decode_trickle(role, bytes), expected, "byte by byte, {role:?}");
}

pub(crate) fn owned(event: Event<'_>) -> Seen {
    match event {
        Event::Message { kind, compressed, payload } => {
            Seen::Message { kind, compressed, payload: payload.to_vec() }
        }
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close(frame) => Seen::Close(frame.map(|frame| (frame.code, frame.reason.to_owned()))),
    }
}
