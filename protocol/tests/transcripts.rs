//! Sessions as they are spoken on the wire, byte for byte, both ways.

use std::borrow::Cow;

use roadstead_protocol::*;

fn write(encoding: Encoding, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    if encoding.is_text() {
        assert!(!out.contains(&b'\n'), "a line feed inside a message");
    }
    out
}

/// The line must read as the command, and the command must be written as the line.
fn check_command(line: &str, request: Request<'_>, id: u32) {
    let command = Command { id, request };
    let read: Vec<_> = commands(Encoding::Json, line.as_bytes()).collect();
    assert_eq!(read, [Ok(command.clone())], "{line}");
    let written = write(Encoding::Json, |out| push_command(out, Encoding::Json, &command));
    assert_eq!(String::from_utf8_lossy(&written), line);
}

fn check_reply(line: &str, id: u32, reply: Reply<'_>) {
    let written = write(Encoding::Json, |out| push_reply(out, Encoding::Json, id, &reply));
    assert_eq!(String::from_utf8_lossy(&written), line);
}

fn check_push(line: &str, channel: &str, push: Push<'_>) {
    let written = write(Encoding::Json, |out| push_push(out, Encoding::Json, channel, &push));
    assert_eq!(String::from_utf8_lossy(&written), line);
}

fn connect(token: &str, name: &'static str) -> Request<'static> {
    let token = Cow::Owned(token.to_owned());
    Request::Connect(ConnectRequest { token, name: name.into(), ..ConnectRequest::default() })
}

#[test]
fn connect_refresh_and_pings() {
    check_command(r#"{"id":1,"connect":{"token":"eyJ0","name":"js"}}"#, connect("eyJ0", "js"), 1);
    let personal = SubscribeResult {
        recoverable: true,
        epoch: "kQzYwPab",
        offset: 3,
        positioned: true,
        ..SubscribeResult::default()
    };
    let subs = [("#77", personal)];
    let result = ConnectResult {
        client: "5f0c",
        version: "1.0.0",
        expires: true,
        ttl: 600,
        subs: &subs,
        ping: 25,
        pong: true,
        ..ConnectResult::default()
    };
    check_reply(
        concat!(
            r##"{"id":1,"connect":{"client":"5f0c","version":"1.0.0","expires":true,"ttl":600,"subs":{"#77":"##,
            r#"{"recoverable":true,"epoch":"kQzYwPab","offset":3,"positioned":true}},"ping":25,"pong":true}}"#
        ),
        1,
        Reply::Connect(&result),
    );
    assert_eq!(write(Encoding::Json, |out| push_ping(out, Encoding::Json)), b"{}");
    check_command("{}", Request::Empty, 0);
    check_command(r#"{"id":2,"refresh":{"token":"eyJ0new"}}"#, Request::Refresh("eyJ0new".into()), 2);
    let refreshed = RefreshResult { client: "5f0c", version: "1.0.0", expires: true, ttl: 600 };
    check_reply(
        r#"{"id":2,"refresh":{"client":"5f0c","version":"1.0.0","expires":true,"ttl":600}}"#,
        2,
        Reply::Refresh(&refreshed),
    );
}

#[test]
fn refused_connections() {
    check_reply(
        r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#,
        1,
        Reply::Error(ErrorCode::TokenExpired),
    );
    check_reply(
        r#"{"id":1,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
        1,
        Reply::Error(ErrorCode::Internal),
    );
    let close = DisconnectCode::InvalidToken;
    assert_eq!((close.code(), close.reason()), (3500, "invalid token"));
}

#[test]
fn subscribe_miss_two_and_recover() {
    let subscribe = SubscribeRequest {
        channel: "rides:9".into(),
        token: "eyJ0".into(),
        flag: 1,
        ..SubscribeRequest::default()
    };
    check_command(
        r#"{"id":3,"subscribe":{"channel":"rides:9","token":"eyJ0","flag":1}}"#,
        Request::Subscribe(subscribe.clone()),
        3,
    );
    let fresh = SubscribeResult {
        recoverable: true,
        epoch: "aBcDeFgH",
        offset: 41,
        positioned: true,
        ..SubscribeResult::default()
    };
    check_reply(
        r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"aBcDeFgH","offset":41,"positioned":true}}"#,
        3,
        Reply::Subscribe(&fresh),
    );
    let publication = Publication { data: br#"{"lat":1}"#, offset: 42, ..Publication::default() };
    check_push(
        r#"{"push":{"channel":"rides:9","pub":{"data":{"lat":1},"offset":42}}}"#,
        "rides:9",
        Push::Publication(&publication),
    );

    let one_frame = concat!(
        r#"{"id":7,"connect":{"token":"eyJ0"}}"#,
        "\n",
        r#"{"id":8,"subscribe":{"channel":"rides:9","token":"eyJ0","flag":1,"recover":true,"offset":42,"#,
        r#""epoch":"aBcDeFgH"}}"#
    );
    let again = SubscribeRequest { recover: true, offset: 42, epoch: "aBcDeFgH".into(), ..subscribe };
    let expected = [
        Ok(Command { id: 7, request: connect("eyJ0", "") }),
        Ok(Command { id: 8, request: Request::Subscribe(again) }),
    ];
    assert_eq!(commands(Encoding::Json, one_frame.as_bytes()).collect::<Vec<_>>(), expected);
    let with_line_feed = format!("{one_frame}\n");
    assert_eq!(commands(Encoding::Json, with_line_feed.as_bytes()).collect::<Vec<_>>(), expected);

    let missed = [
        Publication { data: br#"{"lat":2}"#, offset: 43, ..Publication::default() },
        Publication { data: br#"{"lat":3}"#, offset: 44, ..Publication::default() },
    ];
    let recovered =
        SubscribeResult { publications: &missed, recovered: true, offset: 42, was_recovering: true, ..fresh };
    check_reply(
        concat!(
            r#"{"id":8,"subscribe":{"recoverable":true,"epoch":"aBcDeFgH","publications":"#,
            r#"[{"data":{"lat":2},"offset":43},{"data":{"lat":3},"offset":44}],"#,
            r#""recovered":true,"offset":42,"positioned":true,"was_recovering":true}}"#
        ),
        8,
        Reply::Subscribe(&recovered),
    );
    let trimmed = SubscribeResult { offset: 544, was_recovering: true, ..fresh };
    check_reply(
        concat!(
            r#"{"id":8,"subscribe":{"recoverable":true,"epoch":"aBcDeFgH","offset":544,"positioned":true,"#,
            r#""was_recovering":true}}"#
        ),
        8,
        Reply::Subscribe(&trimmed),
    );
    check_reply(
        r#"{"id":8,"error":{"code":112,"message":"unrecoverable position"}}"#,
        8,
        Reply::Error(ErrorCode::UnrecoverablePosition),
    );
}

#[test]
fn publish_denial_and_history() {
    let publish = PublishRequest {
        channel: "chat:1".into(),
        data: Cow::Borrowed(br#"{"text":"hi"}"#),
        ..PublishRequest::default()
    };
    check_command(
        r#"{"id":9,"publish":{"channel":"chat:1","data":{"text":"hi"}}}"#,
        Request::Publish(publish),
        9,
    );
    let info = ClientInfo { user: "77", client: "91aa", ..ClientInfo::default() };
    let publication =
        Publication { data: br#"{"text":"hi"}"#, info: Some(info), offset: 5, ..Publication::default() };
    check_push(
        concat!(
            r#"{"push":{"channel":"chat:1","pub":{"data":{"text":"hi"},"info":{"user":"77","client":"91aa"},"#,
            r#""offset":5}}}"#
        ),
        "chat:1",
        Push::Publication(&publication),
    );
    check_reply(r#"{"id":9,"publish":{}}"#, 9, Reply::Publish);

    let denied =
        PublishRequest { channel: "alerts".into(), data: Cow::Borrowed(b"1"), ..PublishRequest::default() };
    check_command(r#"{"id":10,"publish":{"channel":"alerts","data":1}}"#, Request::Publish(denied), 10);
    check_reply(
        r#"{"id":10,"error":{"code":103,"message":"permission denied"}}"#,
        10,
        Reply::Error(ErrorCode::PermissionDenied),
    );

    let history = HistoryRequest {
        channel: "chat:1".into(),
        limit: 2,
        since: Some(StreamPosition { offset: 2, epoch: "Zz".into() }),
        reverse: false,
    };
    check_command(
        r#"{"id":11,"history":{"channel":"chat:1","limit":2,"since":{"offset":2,"epoch":"Zz"}}}"#,
        Request::History(history),
        11,
    );
    let publications = [
        Publication { data: br#"{"text":"c"}"#, offset: 3, ..Publication::default() },
        Publication { data: br#"{"text":"d"}"#, offset: 4, ..Publication::default() },
    ];
    check_reply(
        concat!(
            r#"{"id":11,"history":{"publications":[{"data":{"text":"c"},"offset":3},"#,
            r#"{"data":{"text":"d"},"offset":4}],"epoch":"Zz","offset":5}}"#
        ),
        11,
        Reply::History(&HistoryResult { publications: &publications, epoch: "Zz", offset: 5 }),
    );
}

#[test]
fn deltas_are_strings_in_json() {
    let payload = r#"{"n":1,"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;
    let full = write(Encoding::Json, |out| push_json_string(out, payload));
    let first = Publication { data: &full, offset: 1, epoch: "aBcDeFgH", ..Publication::default() };
    check_push(
        concat!(
            r#"{"push":{"channel":"d:1","pub":{"data":"{\"n\":1,\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}","#,
            r#""offset":1,"epoch":"aBcDeFgH"}}}"#
        ),
        "d:1",
        Push::Publication(&first),
    );
    let patch = write(Encoding::Json, |out| push_json_string(out, "h\n5@0,1:2b@6,2jzQ1F;"));
    let second = Publication { data: &patch, offset: 2, delta: true, ..Publication::default() };
    check_push(
        r#"{"push":{"channel":"d:1","pub":{"data":"h\n5@0,1:2b@6,2jzQ1F;","offset":2,"delta":true}}}"#,
        "d:1",
        Push::Publication(&second),
    );
}

#[test]
fn server_pushes() {
    let ann =
        ClientInfo { user: "80", client: "c0de", conn_info: br#"{"name":"Ann"}"#, ..ClientInfo::default() };
    check_push(
        concat!(
            r#"{"push":{"channel":"chat:1","join":{"info":{"user":"80","client":"c0de","#,
            r#""conn_info":{"name":"Ann"}}}}}"#
        ),
        "chat:1",
        Push::Join(&ann),
    );
    check_push(
        r#"{"push":{"message":{"data":{"maintenance":true}}}}"#,
        "",
        Push::Message(br#"{"maintenance":true}"#),
    );
    let code = UnsubscribeCode::InsufficientState;
    check_push(
        r#"{"push":{"channel":"chat:1","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
        "chat:1",
        Push::Unsubscribe { code: code.code(), reason: code.reason() },
    );
    let code = DisconnectCode::ForceDisconnect;
    check_push(
        r#"{"push":{"disconnect":{"code":3503,"reason":"force disconnect"}}}"#,
        "",
        Push::Disconnect { code: u32::from(code.code()), reason: code.reason() },
    );
    check_push(
        r#"{"push":{"refresh":{"expires":true,"ttl":300}}}"#,
        "",
        Push::Refresh { expires: true, ttl: 300 },
    );
    let subscribe =
        SubscribePush { recoverable: true, epoch: "x", offset: 3, positioned: true, data: br#"{"a":1}"# };
    check_push(
        concat!(
            r#"{"push":{"channel":"chat:1","subscribe":{"recoverable":true,"epoch":"x","offset":3,"#,
            r#""positioned":true,"data":{"a":1}}}}"#
        ),
        "chat:1",
        Push::Subscribe(&subscribe),
    );
}

#[test]
fn results_are_there_even_when_empty() {
    let cases = [
        (r#"{"id":4,"publish":{}}"#, Reply::Publish, &[4, 8, 4, 0x42, 0][..]),
        (r#"{"id":4,"unsubscribe":{}}"#, Reply::Unsubscribe, &[4, 8, 4, 0x3a, 0]),
        (r#"{"id":4,"connect":{}}"#, Reply::Connect(&ConnectResult::default()), &[4, 8, 4, 0x2a, 0]),
        (r#"{"id":4,"subscribe":{}}"#, Reply::Subscribe(&SubscribeResult::default()), &[4, 8, 4, 0x32, 0]),
        (r#"{"id":4,"rpc":{}}"#, Reply::Rpc(b""), &[4, 8, 4, 0x6a, 0]),
        (r#"{"id":4,"refresh":{}}"#, Reply::Refresh(&RefreshResult::default()), &[4, 8, 4, 0x72, 0]),
        (
            r#"{"id":4,"sub_refresh":{}}"#,
            Reply::SubRefresh(&SubRefreshResult::default()),
            &[4, 8, 4, 0x7a, 0],
        ),
        (
            r#"{"id":4,"presence":{"presence":{}}}"#,
            Reply::Presence(&PresenceResult::default()),
            &[4, 8, 4, 0x4a, 0],
        ),
        (
            r#"{"id":4,"presence_stats":{"num_clients":0,"num_users":0}}"#,
            Reply::PresenceStats(&PresenceStatsResult::default()),
            &[4, 8, 4, 0x52, 0],
        ),
        (
            r#"{"id":4,"history":{"publications":[],"epoch":"","offset":0}}"#,
            Reply::History(&HistoryResult::default()),
            &[4, 8, 4, 0x5a, 0],
        ),
    ];
    for (line, reply, bytes) in cases {
        check_reply(line, 4, reply);
        assert_eq!(write(Encoding::Protobuf, |out| push_reply(out, Encoding::Protobuf, 4, &reply)), bytes);
    }
}

#[test]
fn an_empty_server_side_subscription_is_kept() {
    let subs = [("a", SubscribeResult::default())];
    let result = ConnectResult { subs: &subs, ..ConnectResult::default() };
    check_reply(r#"{"id":1,"connect":{"subs":{"a":{}}}}"#, 1, Reply::Connect(&result));
    assert_eq!(
        write(Encoding::Protobuf, |out| push_reply(out, Encoding::Protobuf, 1, &Reply::Connect(&result))),
        [11, 8, 1, 0x2a, 7, 0x32, 5, 0x0a, 1, b'a', 0x12, 0]
    );
}

#[test]
fn the_client_info_of_an_anonymous_user_is_whole() {
    let publication = Publication { data: b"1", info: Some(ClientInfo::default()), ..Publication::default() };
    check_push(
        r#"{"push":{"channel":"c","pub":{"data":1,"info":{"user":"","client":""}}}}"#,
        "c",
        Push::Publication(&publication),
    );
}

#[test]
fn protobuf_bytes() {
    let encoding = Encoding::Protobuf;
    let first = Command { id: 1, request: connect("", "") };
    assert_eq!(write(encoding, |out| push_command(out, encoding, &first)), [4, 8, 1, 0x22, 0]);
    assert_eq!(commands(encoding, &[4, 8, 1, 0x22, 0]).collect::<Vec<_>>(), [Ok(first.clone())]);

    assert_eq!(write(encoding, |out| push_ping(out, encoding)), [0]);
    let pong = Command { id: 0, request: Request::Empty };
    assert_eq!(commands(encoding, &[0]).collect::<Vec<_>>(), [Ok(pong.clone())]);
    assert_eq!(write(encoding, |out| push_command(out, encoding, &pong)), [0]);

    let batch = [4, 8, 1, 0x22, 0, 0, 4, 8, 1, 0x22, 0];
    assert_eq!(commands(encoding, &batch).collect::<Vec<_>>(), [Ok(first.clone()), Ok(pong), Ok(first)]);
}

#[test]
fn the_client_side_reads_what_a_server_says() {
    let lines = concat!(
        "{}\n",
        r#"{"id":9,"publish":{}}"#,
        "\n",
        r#"{"id":10,"error":{"code":103,"message":"permission denied"}}"#,
        "\n",
        r#"{"push":{"channel":"chat:1","pub":{"data":{"text":"hi"},"info":{"user":"77","client":"a"},"offset":5}}}"#,
        "\n",
        r#"{"push":{"channel":"chat:1","join":{"info":{"user":"80","client":"c0de"}}}}"#,
        "\n",
        r#"{"id":11}"#
    );
    let expected = [
        ServerMessage::Ping,
        ServerMessage::Reply { id: 9, error: None, result: Some(Method::Publish) },
        ServerMessage::Reply { id: 10, error: Some((103, "permission denied".into())), result: None },
        ServerMessage::Publication {
            channel: "chat:1".into(),
            data: Cow::Borrowed(br#"{"text":"hi"}"#),
            offset: 5,
        },
        ServerMessage::Other,
        ServerMessage::Reply { id: 11, error: None, result: None },
    ];
    let read: Result<Vec<_>, _> = replies(Encoding::Json, lines.as_bytes()).collect();
    assert_eq!(read, Ok(expected.to_vec()));
    let bytes = [0, 4, 8, 4, 0x42, 0];
    let read: Result<Vec<_>, _> = replies(Encoding::Protobuf, &bytes).collect();
    let publish = ServerMessage::Reply { id: 4, error: None, result: Some(Method::Publish) };
    assert_eq!(read, Ok(vec![ServerMessage::Ping, publish]));
}
