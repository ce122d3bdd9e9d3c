//! Which encoding a connection gets, and what the handshake echoes.

use roadstead_protocol::{Encoding, Negotiated, negotiate};

const JSON: Option<&str> = Some("centrifuge-json");
const PROTOBUF: Option<&str> = Some("centrifuge-protobuf");

#[test]
fn query_and_offer() {
    use Encoding::{Json, Protobuf};
    type Case<'a> = (Option<&'a str>, &'a [&'a str], Encoding, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (None, &[], Json, None),
        (Some(""), &[], Json, None),
        (Some("format=json"), &[], Json, None),
        (Some("format=protobuf"), &[], Protobuf, None),
        (Some("cf_protocol=protobuf"), &[], Protobuf, None),
        (Some("a=b&format=protobuf&c"), &[], Protobuf, None),
        (Some("xformat=protobuf"), &[], Json, None),
        (Some("format=protobufx"), &[], Json, None),
        (None, &["centrifuge-protobuf"], Protobuf, PROTOBUF),
        (None, &["centrifuge-json"], Json, JSON),
        (None, &["centrifuge-json", "centrifuge-protobuf"], Json, JSON),
        (None, &["centrifuge-protobuf", "centrifuge-json"], Protobuf, PROTOBUF),
        (None, &["chat", "centrifuge-protobuf"], Protobuf, PROTOBUF),
        (None, &["chat"], Json, None),
        (None, &[""], Json, None),
        (None, &[" centrifuge-protobuf "], Protobuf, PROTOBUF),
        (None, &["Centrifuge-Protobuf"], Json, None),
        (Some("format=protobuf"), &["centrifuge-json", "centrifuge-protobuf"], Protobuf, PROTOBUF),
        // The query decides, and a client that offered something still gets one of its own words back.
        (Some("format=protobuf"), &["centrifuge-json"], Protobuf, JSON),
    ];
    for &(query, offered, encoding, subprotocol) in cases {
        let expected = Negotiated { encoding, subprotocol, frame_ping: false };
        assert_eq!(negotiate(query, offered.iter().copied()), expected, "{query:?} {offered:?}");
    }
}

#[test]
fn frame_ping() {
    assert!(negotiate(Some("cf_ws_frame_ping_pong=true"), []).frame_ping);
    assert!(negotiate(Some("format=protobuf&cf_ws_frame_ping_pong=true"), []).frame_ping);
    assert!(!negotiate(Some("cf_ws_frame_ping_pong=false"), []).frame_ping);
}

#[test]
fn frames_and_separators() {
    assert!(Encoding::Json.is_text());
    assert!(!Encoding::Protobuf.is_text());
    assert_eq!(Encoding::Json.separator(), b"\n");
    assert!(Encoding::Protobuf.separator().is_empty());
    assert_eq!(Encoding::ALL.map(|encoding| encoding as usize), [0, 1]);
    assert_eq!(Encoding::ALL.map(Encoding::name), ["json", "protobuf"]);
}
