//! What is accepted from a client, and what is not.

use std::borrow::Cow;

use roadstead_protocol::*;

fn read(encoding: Encoding, message: &[u8]) -> Vec<Result<Command<'_>, Malformed>> {
    commands(encoding, message).collect()
}

fn read_json(message: &str) -> Vec<Result<Command<'_>, Malformed>> {
    read(Encoding::Json, message.as_bytes())
}

fn publish<'a>(id: u32, channel: &'a str, data: &'a [u8]) -> Command<'a> {
    let publish =
        PublishRequest { channel: channel.into(), data: Cow::Borrowed(data), ..PublishRequest::default() };
    Command { id, request: Request::Publish(publish) }
}

#[test]
fn json_that_is_accepted() {
    let empty = |id| Command { id, request: Request::Empty };
    let cases = [
        ("{}", empty(0)),
        (" {} ", empty(0)),
        ("{}\r", empty(0)),
        (r#"{"id":0}"#, empty(0)),
        (r#"{"id":4294967295}"#, empty(u32::MAX)),
        (r#"{"id":null}"#, empty(0)),
        // Unknown fields are ignored, however they nest.
        (r#"{"id":7,"unknown":[{"a":[1,2,{"b":null}]},"x"],"later":{}}"#, empty(7)),
        (r#"{"id":7,"publish":null}"#, empty(7)),
        (r#"{"publish":{"data":1,"channel":"a","x":{"y":[]}},"id":7}"#, publish(7, "a", b"1")),
        (r#"{"id":7,"publish":{}}"#, publish(7, "", b"")),
        (r#"{"id":7,"publish":{"channel":null}}"#, publish(7, "", b"")),
        // A payload is lent as it was written, and null is one.
        (r#"{"id":7,"publish":{"channel":"a","data":null}}"#, publish(7, "a", b"null")),
        (r#"{"id":7,"publish":{"channel":"a","data": [ 1 , 2.50 ] }}"#, publish(7, "a", b"[ 1 , 2.50 ]")),
        (r#"{"id":7,"publish":{"channel":"a","data":"\ud800"}}"#, publish(7, "a", br#""\ud800""#)),
        (r#"{"id":7,"publish":{"channel":"a","data":1e999}}"#, publish(7, "a", b"1e999")),
        // Escapes in names and strings.
        (r#"{"id":7,"publi\u0073h":{"channel":"\u0061\n\"","data":1}}"#, publish(7, "a\n\"", b"1")),
        // The first in tag order counts, wherever it stands.
        (r#"{"id":7,"rpc":{"method":"m"},"publish":{"channel":"a","data":1}}"#, publish(7, "a", b"1")),
        (r#"{"id":7,"publish":{"channel":"a","data":1},"rpc":{"method":"m"}}"#, publish(7, "a", b"1")),
        // A field that comes twice replaces itself.
        (
            r#"{"id":6,"publish":{"channel":"b"},"id":7,"publish":{"channel":"a","data":1}}"#,
            publish(7, "a", b"1"),
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(read_json(message), [Ok(expected)], "{message}");
    }
}

#[test]
fn json_that_is_malformed() {
    let cases = [
        ("", Malformed::Empty),
        ("\n", Malformed::Empty),
        (" ", Malformed::Json),
        ("null", Malformed::Json),
        ("[]", Malformed::Json),
        ("1", Malformed::Json),
        ("{", Malformed::Json),
        ("{}{}", Malformed::Json),
        ("{} x", Malformed::Json),
        (r#"{"id":-1}"#, Malformed::Json),
        (r#"{"id":4294967296}"#, Malformed::Json),
        (r#"{"id":1.0}"#, Malformed::Json),
        (r#"{"id":"1"}"#, Malformed::Json),
        (r#"{"id":1,}"#, Malformed::Json),
        (r#"{"id":1,"publish":1}"#, Malformed::Json),
        (r#"{"id":1,"publish":["a",1]}"#, Malformed::Json),
        (r#"{"id":1,"publish":{"channel":1}}"#, Malformed::Json),
        (r#"{"id":1,"publish":{"channel":["a"]}}"#, Malformed::Json),
        (r#"{"id":1,"publish":{"channel":"\ud800"}}"#, Malformed::Json),
        (r#"{"id":1,"publish":{"data":tru}}"#, Malformed::Json),
        (r#"{"id":1,"publish":{"data":[1,]}}"#, Malformed::Json),
        (r#"{"id":1,"subscribe":{"offset":-1}}"#, Malformed::Json),
        (r#"{"id":1,"subscribe":{"offset":18446744073709551616}}"#, Malformed::Json),
        (r#"{"id":1,"subscribe":{"recover":1}}"#, Malformed::Json),
        (r#"{"id":1,"history":{"since":[]}}"#, Malformed::Json),
        (r#"{"id":1,"connect":{"subs":{"a":1}}}"#, Malformed::Json),
        (r#"{"id":1,"connect":{"headers":{"a":1}}}"#, Malformed::Json),
        (r#"{"id":1,"unknown":nul}"#, Malformed::Json),
    ];
    for (message, expected) in cases {
        assert_eq!(read_json(message), [Err(expected)], "{message}");
    }
    assert_eq!(read(Encoding::Json, b"{\"id\":1,\"x\":\"\xff\"}"), [Err(Malformed::NotUtf8)]);
}

#[test]
fn nothing_follows_a_malformed_command() {
    let first = publish(1, "a", b"1");
    let line = r#"{"id":1,"publish":{"channel":"a","data":1}}"#;
    assert_eq!(read_json(&format!("{line}\nx\n{line}")), [Ok(first.clone()), Err(Malformed::Json)]);
    assert_eq!(read_json(&format!("{line}\n\n{line}")), [Ok(first.clone()), Err(Malformed::Empty)]);
    assert_eq!(read_json(&format!("{line}\n\n")), [Ok(first.clone()), Err(Malformed::Empty)]);
    assert_eq!(read_json(&format!("\n{line}")), [Err(Malformed::Empty)]);
    assert_eq!(read_json(&format!("{line}\n")), [Ok(first)]);
    let pong = Ok(Command { id: 0, request: Request::Empty });
    assert_eq!(read(Encoding::Protobuf, &[0, 1, 0xff, 0]), [pong, Err(Malformed::Protobuf)]);
}

#[test]
fn protobuf_that_is_accepted() {
    let empty = |id| Command { id, request: Request::Empty };
    let cases: &[(&[u8], Command<'_>)] = &[
        (&[0], empty(0)),
        (&[2, 8, 7], empty(7)),
        // A length and a number may be longer than they need to be.
        (&[0x82, 0x00, 8, 7], empty(7)),
        (&[3, 8, 0x87, 0x00], empty(7)),
        (&[6, 8, 0xff, 0xff, 0xff, 0xff, 0x0f], empty(u32::MAX)),
        // Unknown fields of every wire type: varint, 64 bits, bytes, a group within a group, 32 bits.
        (
            &[
                26, 0x10, 1, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x9a, 1, 1, 0, 0x1b, 0x1b, 0x1c, 0x1c, 0x1d, 1, 2,
                3, 4, 8, 7,
            ],
            empty(7),
        ),
        (&[10, 8, 7, 0x3a, 6, 0x0a, 1, b'a', 0x12, 1, b'1'], publish(7, "a", b"1")),
        // rpc first on the wire, publish first in tag order.
        (&[12, 0x6a, 0, 0x3a, 6, 0x0a, 1, b'a', 0x12, 1, b'1', 8, 7], publish(7, "a", b"1")),
        (&[10, 8, 7, 0x3a, 6, 0x12, 1, b'1', 0x0a, 1, b'a'], publish(7, "a", b"1")),
    ];
    for (message, expected) in cases {
        assert_eq!(read(Encoding::Protobuf, message), [Ok(expected.clone())], "{message:?}");
    }
}

#[test]
fn protobuf_that_is_malformed() {
    let cases: &[(&[u8], Malformed)] = &[
        (&[], Malformed::Empty),
        // A length past the end, cut short, or absurd.
        (&[1], Malformed::Protobuf),
        (&[0x80], Malformed::Protobuf),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Malformed::Protobuf),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Malformed::Protobuf),
        // A key alone, tag 0, a wire type that does not exist, the end of a group that did not begin.
        (&[1, 8], Malformed::Protobuf),
        (&[2, 0, 0], Malformed::Protobuf),
        (&[2, 0x0f, 0], Malformed::Protobuf),
        (&[1, 0x1c], Malformed::Protobuf),
        // An id of 2^32, which must not pass for a pong.
        (&[6, 8, 0x80, 0x80, 0x80, 0x80, 0x10], Malformed::Protobuf),
        // Wrong wire types.
        (&[2, 0x0a, 0], Malformed::Protobuf),
        (&[2, 0x38, 0], Malformed::Protobuf),
        (&[4, 0x3a, 2, 0x08, 1], Malformed::Protobuf),
        (&[5, 0x0d, 1, 2, 3, 4], Malformed::Protobuf),
        // A field past the end of its message.
        (&[4, 0x3a, 2, 0x0a, 1], Malformed::Protobuf),
        (&[4, 0x3a, 3, 0x0a, 0], Malformed::Protobuf),
        (&[5, 0x3a, 3, 0x0a, 1, 0xff], Malformed::NotUtf8),
    ];
    for (message, expected) in cases {
        assert_eq!(read(Encoding::Protobuf, message), [Err(*expected)], "{message:?}");
    }
}

#[test]
fn pongs() {
    let is_pong = |message: &str| read_json(message).remove(0).unwrap().is_pong();
    assert!(is_pong("{}"));
    assert!(is_pong(r#"{"publish":{"channel":"a","data":1}}"#));
    assert!(is_pong(r#"{"unknown":1}"#));
    assert!(!is_pong(r#"{"send":{"data":1}}"#));
    assert!(!is_pong(r#"{"id":1}"#));
}

#[test]
fn strings_and_payloads_are_borrowed() {
    let message = br#"{"id":1,"publish":{"channel":"news","data":{"a":1}}}"#;
    let Some(Ok(Command { request: Request::Publish(publish), .. })) =
        commands(Encoding::Json, message).next()
    else {
        panic!("not a publish");
    };
    assert!(matches!(publish.channel, Cow::Borrowed("news")));
    assert!(matches!(publish.data, Cow::Borrowed(br#"{"a":1}"#)));
}

#[test]
fn the_fields_of_connect() {
    let message = concat!(
        r##"{"id":1,"connect":{"token":"t","data":{"a":1},"subs":{"#1":{"recover":true,"offset":9,"epoch":"e"},"##,
        r#""b":{},"c":null},"name":"js","version":"2","headers":{"X-A":"1","x-\u0062":"2"},"flag":1,"dict":"d"}}"#
    );
    let remembered =
        SubscribeRequest { recover: true, offset: 9, epoch: "e".into(), ..SubscribeRequest::default() };
    let connect = ConnectRequest {
        token: "t".into(),
        data: Cow::Borrowed(br#"{"a":1}"#),
        subs: vec![
            ("#1".into(), remembered),
            ("b".into(), SubscribeRequest::default()),
            ("c".into(), SubscribeRequest::default()),
        ],
        name: "js".into(),
        version: "2".into(),
        headers: vec![("X-A".into(), "1".into()), ("x-b".into(), "2".into())],
    };
    assert_eq!(read_json(message), [Ok(Command { id: 1, request: Request::Connect(connect) })]);
}

#[test]
fn a_tags_filter_is_seen_but_not_read() {
    let filter_of = |encoding, message| match commands(encoding, message).next() {
        Some(Ok(Command { request: Request::Subscribe(subscribe), .. })) => subscribe.filter,
        other => panic!("{other:?}"),
    };
    let message = br#"{"id":1,"subscribe":{"channel":"a","tf":{"op":"","key":"k"}}}"#;
    assert_eq!(filter_of(Encoding::Json, message), Some(Cow::Borrowed(&br#"{"op":"","key":"k"}"#[..])));
    assert_eq!(filter_of(Encoding::Json, br#"{"id":1,"subscribe":{"tf":null}}"#), None);
    assert_eq!(filter_of(Encoding::Protobuf, &[6, 8, 1, 0x2a, 2, 0x6a, 0]), Some(Cow::Borrowed(&[][..])));
    assert_eq!(filter_of(Encoding::Protobuf, &[4, 8, 1, 0x2a, 0]), None);
}

/// Entries of a map are counted: one past the limit is refused, in both encodings.
#[test]
fn maps_are_bounded() {
    fn connect(subs_count: usize, headers_count: usize) -> Command<'static> {
        let name = |at: usize| Cow::<str>::Owned(at.to_string());
        let connect = ConnectRequest {
            subs: (0..subs_count).map(|at| (name(at), SubscribeRequest::default())).collect(),
            headers: (0..headers_count).map(|at| (name(at), name(at))).collect(),
            ..ConnectRequest::default()
        };
        Command { id: 1, request: Request::Connect(connect) }
    }
    for encoding in Encoding::ALL {
        let fits = connect(CONNECT_SUBS_MAX, CONNECT_HEADERS_MAX);
        let mut message = Vec::new();
        push_command(&mut message, encoding, &fits);
        assert_eq!(read(encoding, &message), [Ok(fits)]);
        for command in [connect(CONNECT_SUBS_MAX + 1, 0), connect(0, CONNECT_HEADERS_MAX + 1)] {
            message.clear();
            push_command(&mut message, encoding, &command);
            assert!(matches!(read(encoding, &message)[..], [Err(Malformed::TooMany | Malformed::Json)]));
        }
    }
}

/// A thread with a small stack reads what nests as deep as a message is long.
#[test]
fn depth_costs_no_stack() {
    let read_all = || {
        let depth = 60_000;
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for message in [
            format!(r#"{{"id":1,"publish":{{"channel":"a","data":{nested}}}}}"#),
            format!(r#"{{"id":1,"unknown":{nested}}}"#),
            format!(r#"{{"id":1,"publish":{{"unknown":{nested}}}}}"#),
        ] {
            assert!(read_json(&message)[0].is_ok());
        }
        for open in ["[", "{\"a\":", r#"{"publish":"#, r#"{"connect":{"subs":{"a":"#] {
            assert_eq!(read_json(&open.repeat(depth)), [Err(Malformed::Json)]);
        }
        assert_eq!(json_data(nested.as_bytes()), Ok(Cow::Borrowed(nested.as_bytes())));
        assert_eq!(json_data("[".repeat(depth).as_bytes()), Err(NotJson));

        // Groups within groups, behind the length 60,000 in three bytes.
        let mut groups = vec![0xe0, 0xd4, 0x03];
        groups.resize(3 + depth, 0x1b);
        assert_eq!(read(Encoding::Protobuf, &groups), [Err(Malformed::Protobuf)]);
    };
    let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn(read_all).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_replys_client_side_refuses_nonsense() {
    for message in ["", "[]", "{\"id\":-1}", r#"{"push":[]}"#, r#"{"push":{"pub":1}}"#, "{}\n\n{}"] {
        assert!(replies(Encoding::Json, message.as_bytes()).any(|reply| reply.is_err()), "{message}");
    }
    for message in [&[][..], &[1], &[2, 0x22, 1], &[2, 0x20, 1]] {
        assert!(replies(Encoding::Protobuf, message).any(|reply| reply.is_err()), "{message:?}");
    }
}
