//! Messages that say they are deflated, one after the other through one inflater, with a limit.
//!
//! An input is one byte for the limit, one for the window, one for the length of the first message, and the messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsproto::MessageKind;
use wsproto::deflate::{Deflater, Inflater, Window};

fuzz_target!(|bytes: &[u8]| {
    let [limit, window, cut, payload @ ..] = bytes else { return };
    let bytes_max = 1usize << (limit % 20);
    let kind = if limit & 128 == 0 { MessageKind::Binary } else { MessageKind::Text };
    let bits = 8 + window % 8;
    let (first, second) = payload.split_at(usize::from(*cut).min(payload.len()));

    let (mut inflater, mut out) = (Inflater::default(), Vec::new());
    let alone = inflater.inflate(first, kind, bytes_max, None, &mut out).map(|()| out.clone());
    assert!(out.len() <= bytes_max + 1, "what is kept is not more than tells that there is more");
    if let Ok(plain) = &alone {
        assert!(plain.len() <= bytes_max);
        assert!(kind == MessageKind::Binary || std::str::from_utf8(plain).is_ok());
        // What it is deflated to again comes back.
        if let Some(deflated) = Deflater::new(4).deflate(plain) {
            let mut again = Vec::new();
            assert_eq!(inflater.inflate(deflated, kind, bytes_max, None, &mut again), Ok(()));
            assert_eq!(&again, plain);
        }
    }
    // Messages of others leave nothing behind, be they faulty or not.
    let mut fresh = Vec::new();
    let expected = Inflater::default().inflate(second, kind, bytes_max, None, &mut fresh).map(|()| fresh);
    let found = inflater.inflate(second, kind, bytes_max, None, &mut out).map(|()| out.clone());
    assert_eq!(found, expected);

    // Who leans on earlier messages does so within the window.
    let mut window = Window::new(bits);
    for message in [first, second, first] {
        if inflater.inflate(message, kind, bytes_max, Some(&mut window), &mut out).is_err() {
            break;
        }
        assert!(window.capacity() <= 1 << bits && out.len() <= bytes_max);
    }
});
