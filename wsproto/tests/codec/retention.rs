//! What is lent from where, and what stays in memory between calls.

use wsproto::{Assembly, Decoder, Event, Full, Limits, Role, Violation};

use crate::wire::{LIMITS, ROLES, Seen, binary, frame, owned};

/// An assembly of a fixed size that counts what is asked of it.
struct Block {
    bytes: Vec<u8>,
    room: usize,
    pushed: usize,
}

impl Block {
    fn new(room: usize) -> Self {
        Self { bytes: Vec::new(), room, pushed: 0 }
    }
}

impl Assembly for Block {
    fn push(&mut self, len: usize) -> Result<&mut [u8], Full> {
        if self.bytes.len() + len > self.room {
            return Err(Full);
        }
        self.pushed += len;
        Assembly::push(&mut self.bytes, len)
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }
}

fn decode_into(decoder: &mut Decoder, bytes: &[u8], block: &mut Block) -> Vec<Seen> {
    let mut bytes = bytes.to_vec();
    let mut input = bytes.as_mut_slice();
    let mut seen = Vec::new();
    loop {
        match decoder.decode(&mut input, block, &LIMITS) {
            Ok(Some(event)) => seen.push(owned(event)),
            Ok(None) => return seen,
            Err(violation) => seen.push(Seen::Violation(violation)),
        }
    }
}

#[test]
fn whole_frames_never_touch_the_assembly() {
    for role in ROLES {
        let mut block = Block::new(0);
        for len in [0, 20, 125, 126, 1000, 70_000] {
            let payload = vec![b'x'; len];
            for first in [0x81, 0x82] {
                let seen = decode_into(&mut Decoder::new(role), &frame(role, first, &payload), &mut block);
                assert!(matches!(&seen[..], [Seen::Message { payload: lent, .. }] if *lent == payload));
            }
        }
        let control = [frame(role, 0x89, &[1; 125]), frame(role, 0x8A, b""), frame(role, 0x88, b"")].concat();
        assert_eq!(decode_into(&mut Decoder::new(role), &control, &mut block).len(), 3);
        assert_eq!(block.pushed, 0);
    }
}

#[test]
fn a_lent_payload_lies_in_the_input() {
    let mut bytes = frame(Role::Server, 0x82, b"payload");
    let range = bytes.as_ptr_range();
    let (mut input, mut assembly) = (bytes.as_mut_slice(), Vec::new());
    let event = Decoder::new(Role::Server).decode(&mut input, &mut assembly, &LIMITS);
    let Ok(Some(Event::Message { payload, .. })) = event else { panic!("{event:?}") };
    assert_eq!(payload, b"payload");
    assert!(range.contains(&payload.as_ptr()));
}

#[test]
fn memory_follows_what_arrives_not_what_is_declared() {
    let bytes = frame(Role::Server, 0x82, &[0; 90_000]);
    let mut decoder = Decoder::new(Role::Server);
    let mut block = Block::new(usize::MAX);
    // 4 of 14 header bytes, then the rest of the header, then 10 of 90,000 payload bytes.
    for (piece, pushed) in [(&bytes[..4], 0), (&bytes[4..14], 0), (&bytes[14..24], 10)] {
        assert_eq!(decode_into(&mut decoder, piece, &mut block), []);
        assert_eq!(block.pushed, pushed);
        assert_eq!(decoder.is_partial(), pushed > 0);
        assert!(!decoder.is_between_messages());
    }
}

#[test]
fn a_split_control_frame_lies_behind_the_message_and_goes() {
    for role in ROLES {
        let mut decoder = Decoder::new(role);
        let mut block = Block::new(1000);
        assert_eq!(decode_into(&mut decoder, &frame(role, 0x02, b"first "), &mut block), []);
        for round in 0..20 {
            let ping = frame(role, 0x89, &[round; 100]);
            let (head, tail) = ping.split_at(50);
            assert_eq!(decode_into(&mut decoder, head, &mut block), []);
            assert!(decoder.is_partial());
            assert_eq!(decode_into(&mut decoder, tail, &mut block), [Seen::Ping(vec![round; 100])]);
            assert_eq!(block.bytes, b"first ", "nothing of the ping is left");
        }
        let seen = decode_into(&mut decoder, &frame(role, 0x80, b"last"), &mut block);
        assert_eq!(seen, [binary(b"first last")]);
        assert!(!decoder.is_partial() && decoder.is_between_messages());
        assert!(block.bytes.is_empty());
    }
}

#[test]
fn a_split_control_frame_alone_needs_the_assembly_only_until_it_is_whole() {
    let mut decoder = Decoder::new(Role::Server);
    let mut block = Block::new(1000);
    let ping = frame(Role::Server, 0x89, b"ping!");
    assert_eq!(decode_into(&mut decoder, &ping[..8], &mut block), []);
    assert!(decoder.is_partial());
    assert_eq!(decode_into(&mut decoder, &ping[8..], &mut block), [Seen::Ping(b"ping!".to_vec())]);
    assert!(!decoder.is_partial());
    // A fresh assembly may take over.
    let seen = decode_into(&mut decoder, &frame(Role::Server, 0x82, b"next"), &mut Block::new(0));
    assert_eq!(seen, [binary(b"next")]);
}

#[test]
fn a_full_assembly_ends_the_connection() {
    for (room, len, fits) in [(100, 100, true), (100, 101, false), (0, 1, false)] {
        let bytes = frame(Role::Server, 0x02, &vec![7; len]);
        let mut decoder = Decoder::new(Role::Server);
        let seen = decode_into(&mut decoder, &bytes, &mut Block::new(room));
        let expected: &[Seen] = if fits { &[] } else { &[Seen::Violation(Violation::NoRoom)] };
        assert_eq!(seen, expected);
        assert_eq!(decoder.is_partial(), fits);
    }
    assert_eq!(Violation::NoRoom.close_code(), 1013);
}

#[test]
fn nothing_is_needed_after_the_end() {
    for end in [frame(Role::Server, 0x88, b""), frame(Role::Server, 0x83, b"")] {
        let mut decoder = Decoder::new(Role::Server);
        let mut block = Block::new(1000);
        let bytes = [frame(Role::Server, 0x01, b"never finished"), end].concat();
        assert_eq!(decode_into(&mut decoder, &bytes, &mut block).len(), 1);
        assert!(!decoder.is_partial());
        assert_eq!(decode_into(&mut decoder, &frame(Role::Server, 0x81, b"late"), &mut block), []);
        assert!(block.bytes.len() <= b"never finished".len());
    }
}

#[test]
fn an_empty_input_is_no_event() {
    let mut decoder = Decoder::new(Role::Client);
    for _ in 0..3 {
        assert_eq!(decoder.decode(&mut [].as_mut_slice(), &mut Vec::new(), &LIMITS), Ok(None));
        assert!(decoder.is_between_messages());
    }
}

#[test]
fn an_event_is_complete_although_more_follows() {
    // The input is taken up to the event, not beyond.
    let limits = Limits { ..LIMITS };
    let (first, second) = (frame(Role::Server, 0x82, b"one"), frame(Role::Server, 0x82, b"two"));
    let mut bytes = [first, second.clone()].concat();
    let mut input = bytes.as_mut_slice();
    let mut assembly = Vec::new();
    let mut decoder = Decoder::new(Role::Server);
    let event = decoder.decode(&mut input, &mut assembly, &limits).map(|event| event.map(owned));
    assert_eq!(event, Ok(Some(binary(b"one"))));
    assert_eq!(input, second);
}
