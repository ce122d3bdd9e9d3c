//! Masking (RFC 6455 section 5.3): the wide kernels do what one byte at a time would.

use proptest::prelude::*;
use wsproto::mask;

fn masked_one_by_one(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
    bytes.iter().enumerate().map(|(index, byte)| byte ^ key[index.wrapping_add(offset) % 4]).collect()
}

#[track_caller]
fn check(bytes: &[u8], key: [u8; 4], offset: usize) {
    let expected = masked_one_by_one(bytes, key, offset);
    let mut applied = bytes.to_vec();
    mask::apply(&mut applied, key, offset);
    assert_eq!(applied, expected, "applied to {} bytes at {offset}", bytes.len());
    let mut copied = vec![0xEE; bytes.len()];
    mask::copy(&mut copied, bytes, key, offset);
    assert_eq!(copied, expected, "copied {} bytes at {offset}", bytes.len());
}

#[test]
fn every_short_length_at_every_offset_and_alignment() {
    let bytes: Vec<u8> = (0..700_u32).map(|index| (index * 7 + index / 251) as u8).collect();
    for len in (0..=300).chain([511, 512, 513, 640]) {
        for offset in 0..5 {
            for start in [0, 1, 3, 7, 31] {
                check(&bytes[start..start + len], [0x12, 0xF4, 0x56, 0x9A], offset);
            }
        }
    }
}

#[test]
fn the_example_of_the_standard() {
    // RFC 6455 section 5.7: a masked "Hello".
    let mut bytes = *b"\x7f\x9f\x4d\x51\x58";
    mask::apply(&mut bytes, [0x37, 0xfa, 0x21, 0x3d], 0);
    assert_eq!(&bytes, b"Hello");
}

#[test]
fn offsets_count_round() {
    check(b"0123456789abcdef", [1, 2, 3, 4], usize::MAX);
    check(b"0123456789abcdef", [1, 2, 3, 4], usize::MAX - 2);
}

proptest! {
    #[test]
    fn long_runs(bytes in prop::collection::vec(any::<u8>(), 0..5000), key: [u8; 4], offset in 0_usize..9) {
        check(&bytes, key, offset);
    }

    #[test]
    fn pieces_are_masked_as_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..600), key: [u8; 4], cut in 0_usize..600) {
        let cut = cut.min(bytes.len());
        let mut pieces = bytes.clone();
        let (head, tail) = pieces.split_at_mut(cut);
        mask::apply(head, key, 0);
        mask::apply(tail, key, cut);
        prop_assert_eq!(pieces, masked_one_by_one(&bytes, key, 0));
    }
}
