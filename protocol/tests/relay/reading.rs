//! What is read of a peer's bytes, and what is refused.

use roadstead_protocol::relay::{
    Body, Frame, Greeting, LocatedEntries, LocatedEntry, Malformed, Outcome, Oversized, Relay,
    RelayedPublication, push_greeting, push_relay, read_frame,
};
use roadstead_protocol::{GREETING_BYTES_MAX, RELAY_FRAME_BYTES_MAX};

/// A frame of a kind with this body.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = (9 + body.len() as u32).to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend([0; 8]);
    frame.extend(body);
    frame
}

fn read(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    read_frame(bytes, RELAY_FRAME_BYTES_MAX)
}

#[test]
fn an_incomplete_frame_needs_more() {
    let mut frame = Vec::new();
    push_relay(&mut frame, 1, &Relay::Locate { request: 1, user: "ada" }).expect("small");
    for len in 0..frame.len() {
        assert_eq!(read(&frame[..len]), Ok(None), "{len}");
    }
}

#[test]
fn the_length_is_judged_before_anything_is_kept() {
    let long = |bytes| Err(Malformed::Long { bytes, bytes_max: 100 });
    let cases = [
        (0_u32, Err(Malformed::Short)),
        (8, Err(Malformed::Short)),
        (9, Ok(None)),
        (100, Ok(None)),
        (101, long(101)),
        (u32::MAX, long(u32::MAX as usize)),
    ];
    for (len, expected) in cases {
        assert_eq!(read_frame(&len.to_le_bytes(), 100), expected, "{len}");
    }
}

#[test]
fn a_greeting_fits_its_limit() {
    let name = "n".repeat(63);
    let hello = Greeting::Hello {
        versions: (1, 1),
        hash_version: 1,
        cluster: &name,
        node: &name,
        incarnation: 1,
        shards: 64,
        index: 0,
        links: 4,
        session: 1,
        nonce: [1; 16],
    };
    let mut frame = Vec::new();
    push_greeting(&mut frame, &hello).expect("names of nodes are short");
    assert!(matches!(read_frame(&frame, GREETING_BYTES_MAX), Ok(Some((_, taken))) if taken == frame.len()));
}

#[test]
fn unknown_kinds_are_skipped() {
    for kind in [0, 6, 15, 37, 255] {
        let frame = framed(kind, b"whatever");
        let (read, taken) = read(&frame).expect("well formed").expect("whole");
        assert_eq!((read.body, taken), (Body::Unknown(kind), frame.len()));
    }
}

#[test]
fn bodies_are_read_to_their_end() {
    let zeros = [0; 64];
    let cases: &[(u8, &[u8], Malformed)] = &[
        (16, b"x", Malformed::Trailing),
        (20, b"\x01\x00ab", Malformed::Trailing),
        (20, b"\x03\x00ab", Malformed::Cut),
        (20, b"\x03", Malformed::Cut),
        (20, b"", Malformed::Cut),
        (20, b"\x01\x00\xff", Malformed::NotUtf8),
        (23, &zeros[..8], Malformed::Cut),
        (23, b"\x00\x00\x00\x00\x00\x00\x00\x00\x03", Malformed::Value),
        (23, b"\x00\x00\x00\x00\x00\x00\x00\x00\x01\x6f\x00\x00", Malformed::Cut),
        // A publication: no names, then a presence byte that is none; a payload that is announced and not there.
        (22, b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02", Malformed::Value),
        (22, b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff", Malformed::Cut),
        // As many connections as can be counted, and none there.
        (30, b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff", Malformed::Cut),
        (30, b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00seventeen bytes..", Malformed::Cut),
        (3, &zeros[..31], Malformed::Cut),
        (5, b"\x01\x02\x00n", Malformed::Cut),
    ];
    for (kind, body, expected) in cases {
        assert_eq!(read(&framed(*kind, body)), Err(*expected), "{kind} {body:?}");
    }
}

#[test]
fn a_later_greeting_may_say_more() {
    let mut frame = framed(3, &[7; 32]);
    frame.extend(b"more");
    frame[0] += 4;
    let expected = Frame { view: 0, body: Body::Greeting(Greeting::Proof { proof: [7; 32] }) };
    assert_eq!(read(&frame), Ok(Some((expected, frame.len()))));
}

#[test]
fn what_no_peer_could_read_is_not_written() {
    let name = "n".repeat(usize::from(u16::MAX) + 1);
    let fits = &name[1..];
    let data = vec![0; RELAY_FRAME_BYTES_MAX];
    let publish = |data, conn_info| Relay::Publish {
        request: 1,
        channel: "c",
        publication: RelayedPublication { data, conn_info, ..RelayedPublication::default() },
    };
    let overhead = 9 + 8 + 3 + 2 + 2 + 1 + 4;
    let entry = LocatedEntry { node: 1, shard: 1, connection: 1, age_s: 1 };
    let entries = vec![entry; RELAY_FRAME_BYTES_MAX / 18 + 1];
    let cases = [
        (Relay::Withdraw { channel: fits }, Ok(())),
        (Relay::Withdraw { channel: &name }, Err(Oversized)),
        (publish(&data[overhead..], None), Ok(())),
        (publish(&data[overhead - 1..], None), Err(Oversized)),
        (publish(b"1", Some(&data)), Err(Oversized)),
        (publish(&data[..1 << 20], Some(&data[1 << 20..])), Err(Oversized)),
        (
            Relay::Located { request: 1, outcome: Outcome::Accepted, entries: LocatedEntries::of(&entries) },
            Err(Oversized),
        ),
    ];
    for (at, (relay, expected)) in cases.iter().enumerate() {
        let mut out = b"before".to_vec();
        assert_eq!(push_relay(&mut out, 1, relay), *expected, "{at}");
        match expected {
            Ok(()) => {
                let frame = Frame { view: 1, body: Body::Relay(*relay) };
                assert!(read(&out[6..]) == Ok(Some((frame, out.len() - 6))), "{at}");
            }
            Err(Oversized) => assert_eq!(out, b"before", "{at}"),
        }
    }
}
