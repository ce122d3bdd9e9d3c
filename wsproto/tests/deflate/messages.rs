//! Messages there and back, the examples of RFC 7692 section 7.2.3, and what is none.

use proptest::prelude::*;
use wsproto::deflate::{Deflater, Inflater, Window, fits_window};
use wsproto::{MessageKind, Violation};

const BYTES_MAX: usize = 1 << 20;

fn inflate(payload: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut out = Vec::new();
    Inflater::default().inflate(payload, MessageKind::Text, BYTES_MAX, None, &mut out).map(|()| out)
}

/// Deflated like a peer that leans on its earlier messages.
fn deflate_all(messages: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut stream = zlib_rs::Deflate::new(6, false, 15);
    let deflate = |message: &&[u8]| {
        if message.is_empty() {
            return vec![0x00]; // section 7.2.3.6
        }
        let (mut out, before) = (vec![0; message.len() + 64], stream.total_out());
        stream.compress(message, &mut out, zlib_rs::DeflateFlush::SyncFlush).unwrap();
        out.truncate((stream.total_out() - before) as usize - 4);
        out
    };
    messages.iter().map(deflate).collect()
}

#[test]
fn the_examples_of_the_standard() {
    for (name, payload) in [
        ("one block", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..]),
        ("no compression", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
        ("a last block", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        ("two blocks", &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]),
    ] {
        assert_eq!(inflate(payload).unwrap(), b"Hello", "{name}");
    }
    assert_eq!(inflate(&[0x00]).unwrap(), b"", "an empty message");
    let (mut inflater, mut window, mut out) = (Inflater::default(), Window::new(15), Vec::new());
    for payload in [&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0xf2, 0x00, 0x11, 0x00, 0x00]] {
        inflater.inflate(payload, MessageKind::Text, BYTES_MAX, Some(&mut window), &mut out).unwrap();
        assert_eq!(out, b"Hello", "the second leans on the first");
    }
    let second = inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00]);
    assert_eq!(second, Err(Violation::NotDeflated), "it leans on nothing that is there");
}

#[test]
fn size_is_limited_while_it_grows() {
    let bomb = deflate_all(&[&vec![b' '; 8 << 20]]).remove(0);
    assert!(bomb.len() < 16 << 10);
    let (mut inflater, mut out) = (Inflater::default(), Vec::new());
    let mut inflate = |bytes_max: usize| {
        inflater.inflate(&bomb, MessageKind::Text, bytes_max, None, &mut out).map(|()| out.len())
    };
    assert_eq!(inflate(8 << 20), Ok(8 << 20), "just allowed");
    assert_eq!(inflate((8 << 20) - 1), Err(Violation::MessageTooLong));
    let mut small = Vec::new();
    let refused = Inflater::default().inflate(&bomb, MessageKind::Text, 1000, None, &mut small);
    assert_eq!(refused, Err(Violation::MessageTooLong));
    assert!(
        small.capacity() < 32 << 10,
        "{} bytes were made for a message of at most 1000",
        small.capacity()
    );
}

#[test]
fn text_is_checked_after_it_is_inflated() {
    let long = "\u{e4}".repeat(50_000);
    let mut bad = long.clone().into_bytes();
    bad[40_000] = 0xff;
    let mut cut = long.clone().into_bytes();
    cut.pop();
    let (mut inflater, mut out) = (Inflater::default(), Vec::new());
    for (message, is_text) in [(long.as_bytes(), true), (&bad, false), (&cut, false)] {
        let deflated = deflate_all(&[message]).remove(0);
        let text = inflater.inflate(&deflated, MessageKind::Text, BYTES_MAX, None, &mut out);
        assert_eq!(text, if is_text { Ok(()) } else { Err(Violation::InvalidUtf8) });
        inflater.inflate(&deflated, MessageKind::Binary, BYTES_MAX, None, &mut out).unwrap();
        assert!(out == message);
    }
}

#[test]
fn what_is_no_message_is_refused() {
    for payload in [&[0x07][..], &[0xff; 10], b"plain text, not deflated"] {
        assert_eq!(inflate(payload), Err(Violation::NotDeflated), "{payload:x?}");
    }
}

#[test]
fn only_what_gets_smaller_is_deflated() {
    let mut deflater = Deflater::new(6);
    assert_eq!(deflater.deflate(b""), None);
    assert_eq!(deflater.deflate(b"short"), None);
    let mut random = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    })
    .take(10_000)
    .collect();
    assert_eq!(deflater.deflate(&noise), None);
    let deflated = deflater.deflate(&[b'a'; 1_000_000]).unwrap().to_vec();
    assert_eq!(inflate(&deflated).unwrap(), [b'a'; 1_000_000]);
    assert!(deflater.deflate(b"short").is_none(), "a large one before it does not matter");
}

#[test]
fn a_message_reaches_no_farther_back_than_it_is_long() {
    // Two halves that differ from each other in nothing, so that the second is found at the largest distance.
    let half: Vec<u8> = (0..128_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let message = [&half[..], &half].concat();
    assert!(fits_window(message.len(), 8) && !fits_window(message.len() + 1, 8));
    let deflated = Deflater::new(9).deflate(&message).unwrap().to_vec();
    let mut small = zlib_rs::Inflate::new(false, 8);
    // In pieces, so that the window is what the stream has to reach back into.
    let mut out = Vec::new();
    let mut rest = &deflated[..];
    while out.len() < message.len() {
        let (mut piece, before_in, before_out) = ([0; 16], small.total_in(), small.total_out());
        small.decompress(rest, &mut piece, zlib_rs::InflateFlush::SyncFlush).unwrap();
        rest = &rest[(small.total_in() - before_in) as usize..];
        out.extend_from_slice(&piece[..(small.total_out() - before_out) as usize]);
    }
    assert!(out == message);
}

/// Messages that repeat themselves and each other.
fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        prop::sample::select(vec![&b"{\"push\":{\"channel\":\"news\"}}"[..], b"aaaaaaaaaaaaaaaa", b"xyz"])
            .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    let message = prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat());
    prop::collection::vec(message, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_comes_back(messages in messages(), level in 1..=9_u8) {
        let (mut deflater, mut inflater, mut out) = (Deflater::new(level), Inflater::default(), Vec::new());
        for message in &messages {
            if let Some(deflated) = deflater.deflate(message) {
                prop_assert!(deflated.len() < message.len());
                inflater.inflate(deflated, MessageKind::Binary, BYTES_MAX, None, &mut out).unwrap();
                prop_assert_eq!(&out, message);
            }
        }
    }

    #[test]
    fn every_message_that_leans_on_others_comes_back(messages in messages()) {
        let lent: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let (mut inflater, mut window, mut out) = (Inflater::default(), Window::new(15), Vec::new());
        for (message, deflated) in messages.iter().zip(deflate_all(&lent)) {
            inflater.inflate(&deflated, MessageKind::Binary, BYTES_MAX, Some(&mut window), &mut out).unwrap();
            prop_assert_eq!(&out, message);
        }
    }

    #[test]
    fn no_bytes_make_more_than_is_allowed(payload in prop::collection::vec(any::<u8>(), 0..200), bytes_max in 0..5000_usize) {
        let mut out = Vec::new();
        if Inflater::default().inflate(&payload, MessageKind::Binary, bytes_max, None, &mut out).is_ok() {
            prop_assert!(out.len() <= bytes_max);
        }
        prop_assert!(out.capacity() <= 2 * bytes_max + 1024);
    }
}
