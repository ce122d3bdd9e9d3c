//! The bytes of every frame, written out by hand: nodes of two versions must read each other.

use roadstead_protocol::relay::{
    Body, Claim, Found, Frame, Greeting, LocatedEntries, LocatedEntry, Outcome, Position, Reading,
    RefuseCode, Relay, RelayedPublication, RevokedSubject, StoredPublications, push_greeting, push_relay,
    read_frame,
};
use roadstead_protocol::{GREETING_BYTES_MAX, RELAY_FRAME_BYTES_MAX};

const VIEW: u64 = 0x0102_0304_0506_0708;
const POSITION: Position = Position { epoch: 0x0a0b_0c0d, sequence: 9 };
const POSITION_BYTES: &str = "0d0c0b0a 0900000000000000";
const BARE: RelayedPublication<'_> =
    RelayedPublication { data: b"{}", user: "", client: "", conn_info: None };
const FULL: RelayedPublication<'_> =
    RelayedPublication { data: b"[1]", user: "ada", client: "c-1", conn_info: Some(b"7") };
const FULL_BYTES: &str = "0300 616461 0300 632d31 01 01000000 37 03000000 5b315d";

/// Bytes of digits, two each; spaces are for the reader.
fn bytes_of(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        digits.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16).expect("a digit")).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// The frame of a kind with this View number and body.
fn framed(kind: u8, view: u64, body: &str) -> Vec<u8> {
    let body = bytes_of(body);
    let mut frame = (9 + body.len() as u32).to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend(view.to_le_bytes());
    frame.extend(body);
    frame
}

#[test]
fn greetings_have_these_bytes() {
    let hello = Greeting::Hello {
        versions: (1, 2),
        hash_version: 3,
        cluster: "east",
        node: "a1",
        incarnation: 4,
        shards: 5,
        index: 6,
        links: 7,
        session: 8,
        nonce: [0xaa; 16],
    };
    let welcome = Greeting::Welcome {
        version: 2,
        cluster: "east",
        node: "b",
        incarnation: 1 << 40,
        shards: 64,
        nonce: [0xbb; 16],
        proof: [0xcc; 32],
    };
    let refuse = |code| Greeting::Refuse { code, text: "no" };
    let cases: &[(Greeting<'_>, u8, String)] = &[
        (
            hello,
            1,
            format!(
                "0100 0200 0300 0400 65617374 0200 6131 0400000000000000 0500 06 07 0800000000000000 {}",
                "aa".repeat(16)
            ),
        ),
        (
            welcome,
            2,
            format!(
                "0200 0400 65617374 0100 62 0000000000010000 4000 {} {}",
                "bb".repeat(16),
                "cc".repeat(32)
            ),
        ),
        (Greeting::Proof { proof: [0xdd; 32] }, 3, "dd".repeat(32)),
        (Greeting::Ready, 4, String::new()),
        (refuse(RefuseCode::Version), 5, "01 0200 6e6f".into()),
        (refuse(RefuseCode::Cluster), 5, "02 0200 6e6f".into()),
        (refuse(RefuseCode::Key), 5, "03 0200 6e6f".into()),
        (refuse(RefuseCode::NotInView), 5, "04 0200 6e6f".into()),
        (refuse(RefuseCode::Duplicate), 5, "05 0200 6e6f".into()),
        (refuse(RefuseCode::Stale), 5, "06 0200 6e6f".into()),
        (refuse(RefuseCode::Limit), 5, "07 0200 6e6f".into()),
        (refuse(RefuseCode::Malformed), 5, "08 0200 6e6f".into()),
        (refuse(RefuseCode::Other(200)), 5, "c8 0200 6e6f".into()),
    ];
    for (greeting, kind, body) in cases {
        let expected = framed(*kind, 0, body);
        let mut written = Vec::new();
        assert_eq!(push_greeting(&mut written, greeting), Ok(()));
        assert_eq!(written, expected, "{greeting:?}");
        let frame = Frame { view: 0, body: Body::Greeting(*greeting) };
        assert_eq!(read_frame(&expected, GREETING_BYTES_MAX), Ok(Some((frame, expected.len()))));
    }
}

#[test]
fn messages_have_these_bytes() {
    let entries = [
        LocatedEntry { node: 0xc736_c5af, shard: 2, connection: 0x0000_0003_0000_0004, age_s: 60 },
        LocatedEntry { node: 1, shard: 0, connection: 5, age_s: 0 },
    ];
    let located = |outcome, entries| Relay::Located { request: 7, outcome, entries };
    let published = |outcome| Relay::Published { request: 7, outcome };
    let read = |reading| Relay::Read { request: 7, channel: "a", reading };
    let page = |since, reverse| read(Reading::Page { since, limit: 5, reverse });
    let found = |found| Relay::Found { request: 7, channel: "a", found };
    let stored = [(9, FULL), (10, BARE)];
    const CLAIM: Claim = Claim { epoch: Some(0x8000_0001), offset: 3 };
    const CLAIM_BYTES: &str = "01 01000080 0300000000000000";
    let cases: &[(Relay<'_>, u8, String)] = &[
        (Relay::Ping, 16, String::new()),
        (Relay::Pong, 17, String::new()),
        (
            Relay::Announce { channel: "news", ask: 9, position: POSITION },
            18,
            format!("0400 6e657773 09000000 {POSITION_BYTES}"),
        ),
        (Relay::Announce { channel: "", ask: 0, position: Position::default() }, 18, "00".repeat(18)),
        (
            Relay::Top { channel: "news", ask: 9, position: POSITION },
            19,
            format!("0400 6e657773 09000000 {POSITION_BYTES}"),
        ),
        (Relay::Withdraw { channel: "é" }, 20, "0200 c3a9".into()),
        (Relay::NotOwner { channel: "#ada", ask: 0x0102 }, 21, "0400 23616461 02010000".into()),
        (
            Relay::Publish { request: 7, channel: "a", publication: FULL },
            22,
            format!("0700000000000000 0100 61 {FULL_BYTES}"),
        ),
        (
            Relay::Publish { request: 7, channel: "a", publication: BARE },
            22,
            "0700000000000000 0100 61 0000 0000 00 02000000 7b7d".into(),
        ),
        (published(Outcome::Accepted), 23, "0700000000000000 00".into()),
        (published(Outcome::Refused(111)), 23, "0700000000000000 01 6f000000".into()),
        (published(Outcome::NotOwner), 23, "0700000000000000 02".into()),
        (
            Relay::Deliver { channel: "a", position: POSITION, publication: FULL },
            24,
            format!("0100 61 {POSITION_BYTES} {FULL_BYTES}"),
        ),
        (
            Relay::Enter { sequence: 3, user: "ada", connection: 0x0000_0003_0000_0004, shard: 2, age_s: 60 },
            25,
            "0300000000000000 0300 616461 0400000003000000 0200 3c000000".into(),
        ),
        (
            Relay::Leave { sequence: 4, user: "ada", connection: 0x0000_0003_0000_0004 },
            26,
            "0400000000000000 0300 616461 0400000003000000".into(),
        ),
        (Relay::Complete { from_hub: 1, to_hub: 2, sequence: 5 }, 27, "0100 0200 0500000000000000".into()),
        (
            Relay::Digest { from_hub: 1, to_hub: 2, interests: (3, 4), entries: (5, u64::MAX) },
            28,
            "0100 0200 0300000000000000 0400000000000000 0500000000000000 ffffffffffffffff".into(),
        ),
        (Relay::Locate { request: 7, user: "ada" }, 29, "0700000000000000 0300 616461".into()),
        (located(Outcome::NotOwner, LocatedEntries::of(&[])), 30, "0700000000000000 02 00000000".into()),
        (
            located(Outcome::Accepted, LocatedEntries::of(&entries)),
            30,
            "0700000000000000 00 02000000 afc536c7 0200 0400000003000000 3c000000 \
             01000000 0000 0500000000000000 00000000"
                .into(),
        ),
        (Relay::Revocations { digest: (3, u64::MAX) }, 31, "0300000000000000 ffffffffffffffff".into()),
        (
            Relay::Revocation { subject: RevokedSubject::Token("t1"), issued_before_s: 0, until_s: 9 },
            32,
            "01 0200 7431 0000000000000000 0900000000000000".into(),
        ),
        (
            Relay::Revocation { subject: RevokedSubject::User("ada"), issued_before_s: 7, until_s: 9 },
            32,
            "02 0300 616461 0700000000000000 0900000000000000".into(),
        ),
        (Relay::RevocationsAfter { subject: None }, 33, "00".into()),
        (Relay::RevocationsAfter { subject: Some(RevokedSubject::Token("t1")) }, 33, "01 0200 7431".into()),
        (read(Reading::Top), 35, "0700000000000000 0100 61 00".into()),
        (
            read(Reading::Missed { since: CLAIM, limit: 300 }),
            35,
            format!("0700000000000000 0100 61 01 2c010000 {CLAIM_BYTES}"),
        ),
        (
            read(Reading::Latest { since: Claim { epoch: None, offset: 3 } }),
            35,
            "0700000000000000 0100 61 02 00 0300000000000000".into(),
        ),
        (page(None, false), 35, "0700000000000000 0100 61 03 05000000".into()),
        (page(Some(CLAIM), false), 35, format!("0700000000000000 0100 61 04 05000000 {CLAIM_BYTES}")),
        (page(None, true), 35, "0700000000000000 0100 61 05 05000000".into()),
        (page(Some(CLAIM), true), 35, format!("0700000000000000 0100 61 06 05000000 {CLAIM_BYTES}")),
        (found(Err(108)), 36, "0700000000000000 0100 61 00 6c000000".into()),
        (
            found(Ok(Found {
                position: POSITION,
                recovered: false,
                publications: StoredPublications::of(&[]),
            })),
            36,
            format!("0700000000000000 0100 61 01 {POSITION_BYTES} 00000000"),
        ),
        (
            found(Ok(Found {
                position: POSITION,
                recovered: true,
                publications: StoredPublications::of(&stored),
            })),
            36,
            format!(
                "0700000000000000 0100 61 02 {POSITION_BYTES} 02000000 0900000000000000 {FULL_BYTES} \
                 0a00000000000000 0000 0000 00 02000000 7b7d"
            ),
        ),
        (Relay::RevocationsSent { more: true }, 34, "01".into()),
        (Relay::RevocationsSent { more: false }, 34, "00".into()),
        (
            Relay::Errand { request: 7, shard: 2, errand: b"{}" },
            40,
            "0700000000000000 0200 02000000 7b7d".into(),
        ),
        (Relay::ErrandDone { request: 7, report: b"1" }, 41, "0700000000000000 01000000 31".into()),
    ];
    for (relay, kind, body) in cases {
        let expected = framed(*kind, VIEW, body);
        let mut written = Vec::new();
        assert_eq!(push_relay(&mut written, VIEW, relay), Ok(()));
        assert_eq!(written, expected, "{relay:?}");
        let frame = Frame { view: VIEW, body: Body::Relay(*relay) };
        assert_eq!(read_frame(&expected, RELAY_FRAME_BYTES_MAX), Ok(Some((frame, expected.len()))));
    }
}
