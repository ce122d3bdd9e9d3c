//! Whatever is written is read again, however it arrives; whatever is damaged fails at most.

use proptest::prelude::*;
use proptest::sample::Index;
use roadstead_protocol::RELAY_FRAME_BYTES_MAX;
use roadstead_protocol::relay::{Body, read_frame};

use crate::any_frame::{Said, any_frame};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn frames_survive_any_split(
        frames in proptest::collection::vec(any_frame(), 1..6),
        pieces in proptest::collection::vec(1_usize..40, 1..8),
    ) {
        let entries: Vec<_> = frames.iter().map(|frame| frame.entries()).collect();
        let said: Vec<Said<'_>> = frames.iter().zip(&entries).map(|(frame, list)| frame.said(list)).collect();
        let mut wire = Vec::new();
        for one in &said {
            prop_assert_eq!(one.push(&mut wire), Ok(()));
        }
        let (mut arrived, mut read, mut expected) = (0, 0, said.iter());
        for piece in pieces.iter().cycle() {
            while let Some((frame, taken)) = read_frame(&wire[read..arrived], RELAY_FRAME_BYTES_MAX).expect("ours") {
                let one = match frame.body {
                    Body::Greeting(greeting) => Said::Greeting(greeting),
                    Body::Relay(relay) => Said::Relay(frame.view, relay),
                    Body::Unknown(kind) => panic!("kind {kind} was never written"),
                };
                prop_assert_eq!(Some(&one), expected.next());
                read += taken;
            }
            if arrived == wire.len() {
                break;
            }
            arrived = wire.len().min(arrived + piece);
        }
        prop_assert_eq!((read, expected.next()), (wire.len(), None));
    }

    #[test]
    fn a_damaged_frame_is_read_or_refused(
        frame in any_frame(),
        damage in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Index>(),
    ) {
        let entries = frame.entries();
        let mut wire = Vec::new();
        prop_assert_eq!(frame.said(&entries).push(&mut wire), Ok(()));
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        for bytes in [&wire[..], &wire[..cut.index(wire.len())]] {
            let Ok(Some((frame, taken))) = read_frame(bytes, RELAY_FRAME_BYTES_MAX) else { continue };
            prop_assert!(taken <= bytes.len());
            // What was understood says the same when it is written: there is one way to write it. Greetings alone may
            // have had bytes behind them, and a View number.
            let mut again = Vec::new();
            match frame.body {
                Body::Unknown(_) => continue,
                Body::Greeting(greeting) => {
                    prop_assert_eq!(Said::Greeting(greeting).push(&mut again), Ok(()));
                    prop_assert!(again.len() <= taken);
                    let after_head = 13..again.len();
                    prop_assert_eq!(&again[after_head.clone()], &bytes[after_head]);
                }
                Body::Relay(relay) => {
                    prop_assert_eq!(Said::Relay(frame.view, relay).push(&mut again), Ok(()));
                    prop_assert_eq!(&again[..], &bytes[..taken]);
                }
            }
        }
    }
}
