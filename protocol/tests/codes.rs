//! The numbers and texts a client depends on, spelled out a second time.

use roadstead_protocol::{DisconnectCode, ErrorCode, Malformed, UnsubscribeCode};

#[test]
fn errors() {
    let expected = [
        (100, "internal server error", true),
        (101, "unauthorized", false),
        (102, "unknown channel", false),
        (103, "permission denied", false),
        (104, "method not found", false),
        (105, "already subscribed", false),
        (106, "limit exceeded", false),
        (107, "bad request", false),
        (108, "not available", false),
        (109, "token expired", false),
        (110, "expired", false),
        (111, "too many requests", true),
        (112, "unrecoverable position", false),
        (113, "concurrent pagination", true),
    ];
    assert_eq!(ErrorCode::ALL.map(|error| (error.code(), error.message(), error.temporary())), expected);
}

#[test]
fn unsubscribes() {
    let expected = [
        (2000, "server unsubscribe"),
        (2500, "insufficient state"),
        (2501, "subscription expired"),
        (2502, "state invalidated"),
    ];
    assert_eq!(UnsubscribeCode::ALL.map(|code| (code.code(), code.reason())), expected);
}

#[test]
fn disconnects() {
    let expected = [
        (3000, "connection closed"),
        (3001, "shutdown"),
        (3004, "internal server error"),
        (3005, "connection expired"),
        (3006, "subscription expired"),
        (3008, "slow"),
        (3009, "write error"),
        (3010, "insufficient state"),
        (3011, "force reconnect"),
        (3012, "no pong"),
        (3013, "too many requests"),
        (3014, "state invalidated"),
        (3500, "invalid token"),
        (3501, "bad request"),
        (3502, "stale"),
        (3503, "force disconnect"),
        (3504, "connection limit"),
        (3505, "channel limit"),
        (3506, "inappropriate protocol"),
        (3507, "permission denied"),
        (3508, "not available"),
        (3509, "too many errors"),
    ];
    assert_eq!(DisconnectCode::ALL.map(|code| (code.code(), code.reason())), expected);
}

#[test]
fn reasons_are_not_json() {
    for code in DisconnectCode::ALL {
        assert!(serde_json::from_str::<serde_json::Value>(code.reason()).is_err(), "{code:?}");
        assert_eq!(code.reconnects(), code.code() <= 3499);
    }
    let unflushed: Vec<_> = DisconnectCode::ALL.into_iter().filter(|code| !code.flushes()).collect();
    assert_eq!(unflushed, [DisconnectCode::ConnectionClosed, DisconnectCode::Slow]);
}

#[test]
fn malformed_messages_close_with_3501() {
    for malformed in
        [Malformed::Empty, Malformed::NotUtf8, Malformed::Json, Malformed::Protobuf, Malformed::TooMany]
    {
        assert_eq!(malformed.disconnect(), DisconnectCode::BadRequest);
        assert!(!malformed.to_string().is_empty());
    }
}
