//! Frames of ours: encoded, masked, decoded again.
//!
//! An input is one byte that picks opcode, mask and RSV1, four bytes of key, one byte of offset, and the payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsproto::{Decoder, Event, Limits, MessageKind, Opcode, Role, Violation, frame_header, mask, utf8};

const LIMITS: Limits = Limits { frame_bytes: 1 << 20, message_bytes: 1 << 20, fragments: 4 };

fuzz_target!(|bytes: &[u8]| {
    let [pick, k0, k1, k2, k3, offset, payload @ ..] = bytes else { return };
    let key = [*k0, *k1, *k2, *k3];
    check_mask(payload, key, usize::from(*offset));

    let opcode =
        [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong, Opcode::Close][usize::from(pick % 5)];
    let masked = pick & 0x40 != 0;
    let rsv1 = pick & 0x80 != 0 && !opcode.is_control();
    let payload = if opcode.is_control() { &payload[..payload.len().min(125)] } else { payload };

    let (mask, role) = if masked { (Some(key), Role::Server) } else { (None, Role::Client) };
    let mut wire = frame_header(opcode, true, rsv1, payload.len(), mask).to_vec();
    let start = wire.len();
    wire.extend_from_slice(payload);
    mask::apply(&mut wire[start..], mask.unwrap_or_default(), 0);

    let mut decoder = Decoder::new(role);
    decoder.allow_rsv1();
    let (mut input, mut assembly) = (wire.as_mut_slice(), Vec::new());
    let is_text = std::str::from_utf8(payload).is_ok();
    assert_eq!(utf8::is_valid(payload), is_text);
    match decoder.decode(&mut input, &mut assembly, &LIMITS) {
        Ok(Some(Event::Message { kind, compressed, payload: decoded })) => {
            assert_eq!((kind == MessageKind::Text, compressed), (opcode == Opcode::Text, rsv1));
            assert_eq!(decoded, payload);
            assert!(kind == MessageKind::Binary || compressed || is_text);
        }
        Ok(Some(Event::Ping(decoded))) => assert_eq!((opcode, decoded), (Opcode::Ping, payload)),
        Ok(Some(Event::Pong(decoded))) => assert_eq!((opcode, decoded), (Opcode::Pong, payload)),
        Ok(Some(Event::Close(frame))) => {
            let said = frame.map(|frame| [&frame.code.to_be_bytes()[..], frame.reason.as_bytes()].concat());
            assert_eq!((opcode, said.unwrap_or_default().as_slice()), (Opcode::Close, payload));
        }
        Ok(None) => panic!("a whole frame is an event"),
        Err(Violation::InvalidUtf8) => assert!(opcode == Opcode::Text && !rsv1 && !is_text),
        Err(violation) => assert_eq!(opcode, Opcode::Close, "{violation}"),
    }
    assert!(assembly.is_empty(), "a frame that lies whole in the input is lent from there");
});

fn check_mask(payload: &[u8], key: [u8; 4], offset: usize) {
    let expected: Vec<u8> =
        payload.iter().enumerate().map(|(index, byte)| byte ^ key[(index + offset) % 4]).collect();
    let mut applied = payload.to_vec();
    mask::apply(&mut applied, key, offset);
    assert_eq!(applied, expected);
    let mut copied = vec![0; payload.len()];
    mask::copy(&mut copied, payload, key, offset);
    assert_eq!(copied, expected);
}
