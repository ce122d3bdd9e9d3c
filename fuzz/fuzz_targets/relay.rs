//! What a peer node sends, before and after it has greeted.
//!
//! An input is one byte that picks the limit of a frame, and what the peer sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_protocol::relay::{Body, Frame, Malformed, Relay, push_greeting, push_relay, read_frame};
use roadstead_protocol::{GREETING_BYTES_MAX, RELAY_FRAME_BYTES_MAX};

/// Bytes of a frame's length, kind and View number.
const HEAD_BYTES: usize = 4 + 1 + 8;

fuzz_target!(|bytes: &[u8]| {
    let [pick, sent @ ..] = bytes else { return };
    let frame_bytes_max = if pick & 1 == 0 { GREETING_BYTES_MAX } else { RELAY_FRAME_BYTES_MAX };
    let mut rest = sent;
    while let Ok(Some((frame, taken))) = read_whole(rest, frame_bytes_max) {
        assert!((HEAD_BYTES..=4 + frame_bytes_max).contains(&taken));
        check(&frame, &rest[..taken]);
        rest = &rest[taken..];
    }
});

/// Reads the first frame; it is the same however much of the next ones is there, and absent while a part is missing.
fn read_whole(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let read = read_frame(bytes, frame_bytes_max);
    if let Ok(Some((frame, taken))) = read {
        assert_eq!(read_frame(&bytes[..taken], frame_bytes_max), Ok(Some((frame, taken))));
        assert_eq!(read_frame(&bytes[..taken - 1], frame_bytes_max), Ok(None));
    }
    read
}

/// What was understood is written in one way. Greetings alone may have had bytes behind them, and a View number.
fn check(frame: &Frame<'_>, bytes: &[u8]) {
    let mut again = Vec::new();
    match frame.body {
        Body::Unknown(_) => {}
        Body::Greeting(greeting) => {
            push_greeting(&mut again, &greeting).expect("no longer than it came");
            assert_eq!(again[HEAD_BYTES..], bytes[HEAD_BYTES..again.len()]);
        }
        Body::Relay(relay) => {
            push_relay(&mut again, frame.view, &relay).expect("no longer than it came");
            assert_eq!(again, bytes);
            if let Relay::Located { entries, .. } = relay {
                assert_eq!(entries.iter().count(), entries.len());
            }
        }
    }
}
