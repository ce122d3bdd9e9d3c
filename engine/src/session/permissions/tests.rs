//! Tables: names, users and rules in, decisions out. Each row of the model has its row here.

use super::*;
use crate::names::NameHasher;
use crate::settings::{History, NamePattern, RecoveryMode};

const HASHER: fn() -> NameHasher = || NameHasher::new((1, 2));
const NONE: Channel = Channel {
    allow_subscribe_for_client: false,
    allow_subscribe_for_anonymous: false,
    allow_publish_for_client: false,
    allow_publish_for_subscriber: false,
    allow_publish_for_anonymous: false,
    allow_user_limited_channels: false,
    channel_regex: None,
    history: History::NONE,
    force_positioning: false,
    allow_positioning: false,
    force_recovery: false,
    allow_recovery: false,
    force_recovery_mode: RecoveryMode::Stream,
    auto_cache_recover: false,
    allow_history_for_client: false,
    allow_history_for_subscriber: false,
    allow_history_for_anonymous: false,
};
const EVERYTHING: Channel = Channel {
    allow_subscribe_for_client: true,
    allow_subscribe_for_anonymous: true,
    allow_publish_for_client: true,
    allow_publish_for_subscriber: true,
    allow_publish_for_anonymous: true,
    allow_user_limited_channels: true,
    channel_regex: None,
    history: History { size: 10, ttl_ms: 1_000, ..History::NONE },
    allow_history_for_client: true,
    allow_history_for_subscriber: true,
    allow_history_for_anonymous: true,
    ..NONE
};

/// Rules under which channels without a namespace may do nothing, and those of `ns` what `rules` say.
fn permissions(insecure: bool, rules: &Channel) -> Permissions<NameHasher> {
    let namespaces = [("ns".to_owned(), rules.clone())].into();
    Permissions::new(&Settings { insecure, namespaces, ..Settings::default() }, HASHER())
}

/// The same with the rules for channels without a namespace.
fn plain(insecure: bool, rules: &Channel) -> Permissions<NameHasher> {
    Permissions::new(&Settings { insecure, channel: rules.clone(), ..Settings::default() }, HASHER())
}

#[test]
fn names_have_parts() {
    for (name, namespace, rest, is_private, listed) in [
        ("news", None, "news", false, None),
        ("$news", None, "$news", true, None),
        ("ns:news", Some("ns"), "news", false, None),
        ("$ns:news", Some("ns"), "news", true, None),
        ("$$ns:news", Some("$ns"), "news", true, None),
        ("ns:a:b", Some("ns"), "a:b", false, None),
        (":news", Some(""), "news", false, None),
        ("ns:", Some("ns"), "", false, None),
        ("$", None, "$", true, None),
        ("n$", None, "n$", false, None),
        ("#1", None, "#1", false, Some(vec!["1"])),
        ("d#1,2", None, "d#1,2", false, Some(vec!["1", "2"])),
        ("d#1#2", None, "d#1#2", false, Some(vec!["2"])),
        ("d#", None, "d#", false, Some(vec![""])),
        ("ns:d#1", Some("ns"), "d#1", false, Some(vec!["1"])),
        ("d#ns:1", Some("d#ns"), "1", false, Some(vec!["ns:1"])),
    ] {
        let read = ChannelName::new(name);
        assert_eq!((read.namespace, read.rest, read.is_private()), (namespace, rest, is_private), "{name}");
        assert_eq!(read.listed().map(Iterator::collect::<Vec<_>>), listed, "{name}");
    }
}

#[test]
fn the_first_rule_that_fits_decides_who_subscribes() {
    use Refusal::{NotAllowed, Private, Token, UnknownNamespace, Unlisted};
    use TokenVerdict::{Absent, Denies, Grants};
    let for_client = Channel { allow_subscribe_for_client: true, ..NONE };
    let for_anonymous = Channel { allow_subscribe_for_anonymous: true, ..for_client.clone() };
    let anonymous_alone = Channel { allow_subscribe_for_anonymous: true, ..NONE };
    let limited = Channel { allow_user_limited_channels: true, ..NONE };
    let limited_too = Channel { allow_user_limited_channels: true, ..for_anonymous.clone() };
    let (bad, old) = (ErrorCode::PermissionDenied, ErrorCode::TokenExpired);
    for (rules, insecure, name, user, token, expected) in [
        // Nothing is allowed of itself.
        (&NONE, false, "ns:a", "ann", Absent, Err(NotAllowed)),
        (&NONE, false, "ns:a", "", Absent, Err(NotAllowed)),
        (&NONE, true, "ns:a", "", Absent, Ok(())),
        // An unknown namespace is unknown to everybody, token or not; in development mode there is none.
        (&EVERYTHING, false, "other:a", "ann", Absent, Err(UnknownNamespace)),
        (&EVERYTHING, false, "other:a", "ann", Grants, Err(UnknownNamespace)),
        (&EVERYTHING, false, "$other:a", "ann", Absent, Err(UnknownNamespace)),
        (&EVERYTHING, false, ":a", "ann", Absent, Err(UnknownNamespace)),
        (&EVERYTHING, false, "NS:a", "ann", Absent, Err(UnknownNamespace)),
        (&NONE, true, "other:a", "", Absent, Ok(())),
        // Private: a token, whatever else is allowed.
        (&EVERYTHING, false, "$ns:a", "ann", Absent, Err(Private)),
        (&EVERYTHING, true, "$ns:a", "ann", Absent, Err(Private)),
        (&EVERYTHING, false, "$ns:a#ann", "ann", Absent, Err(Private)),
        (&NONE, false, "$ns:a", "ann", Grants, Ok(())),
        (&NONE, true, "$ns:a", "", Grants, Ok(())),
        // A token decides alone, for better and for worse.
        (&NONE, false, "ns:a", "ann", Grants, Ok(())),
        (&NONE, false, "ns:a", "", Grants, Ok(())),
        (&NONE, false, "ns:a#bob", "ann", Grants, Ok(())),
        (&EVERYTHING, false, "ns:a", "ann", Denies(bad), Err(Token(bad))),
        (&EVERYTHING, true, "ns:a", "ann", Denies(bad), Err(Token(bad))),
        (&EVERYTHING, false, "ns:a", "ann", Denies(old), Err(Token(old))),
        (&EVERYTHING, false, "ns:a#ann", "ann", Denies(bad), Err(Token(bad))),
        (&EVERYTHING, false, "$ns:a", "ann", Denies(bad), Err(Token(bad))),
        // Limited to users: those listed behind the last #, where the namespace knows such channels.
        (&limited, false, "ns:a#ann", "ann", Absent, Ok(())),
        (&limited, false, "ns:#ann", "ann", Absent, Ok(())),
        (&limited, false, "ns:a#bob,ann", "ann", Absent, Ok(())),
        (&limited, false, "ns:a#bob", "ann", Absent, Err(Unlisted)),
        (&limited, false, "ns:a#ann#bob", "ann", Absent, Err(Unlisted)),
        (&limited, false, "ns:a#anna", "ann", Absent, Err(Unlisted)),
        (&limited, false, "ns:a#an", "ann", Absent, Err(Unlisted)),
        (&limited, false, "ns:a# ann", "ann", Absent, Err(Unlisted)),
        (&limited, false, "ns:a#Ann", "ann", Absent, Err(Unlisted)),
        (&limited, false, "ns:a#", "", Absent, Err(Unlisted)),
        (&limited, false, "ns:a#ann,", "", Absent, Err(Unlisted)),
        (&limited, false, "ns:a#ann,bob", "ann,bob", Absent, Err(Unlisted)),
        (&limited, false, "ns:a", "ann", Absent, Err(NotAllowed)),
        (&limited, true, "ns:a#bob", "ann", Absent, Ok(())),
        // Open channels do not open those that are limited.
        (&limited_too, false, "ns:a#bob", "ann", Absent, Err(Unlisted)),
        (&limited_too, false, "ns:a#bob", "", Absent, Err(Unlisted)),
        (&for_anonymous, false, "ns:a#ann", "ann", Absent, Err(Unlisted)),
        // Open to users, and to those without a user.
        (&for_client, false, "ns:a", "ann", Absent, Ok(())),
        (&for_client, false, "ns:a", "", Absent, Err(NotAllowed)),
        (&for_client, true, "ns:a", "", Absent, Ok(())),
        (&for_anonymous, false, "ns:a", "", Absent, Ok(())),
        (&anonymous_alone, false, "ns:a", "", Absent, Err(NotAllowed)),
        (&anonymous_alone, false, "ns:a", "ann", Absent, Err(NotAllowed)),
        // Publishing is another matter.
        (
            &Channel { allow_subscribe_for_client: false, ..EVERYTHING },
            false,
            "ns:a",
            "ann",
            Absent,
            Err(NotAllowed),
        ),
    ] {
        let decided = permissions(insecure, rules).may_subscribe(name, user, token);
        assert_eq!(decided, expected, "{name} by {user:?}, {token:?}, insecure: {insecure}, {rules:?}");
        // Channels without a namespace have rules of their own, and they are read in the same way.
        if let Some(name) = name.strip_prefix("ns:") {
            let decided = plain(insecure, rules).may_subscribe(name, user, token);
            assert_eq!(decided, expected, "{name} by {user:?}, {token:?}, insecure: {insecure}, {rules:?}");
            assert!(permissions(false, rules).may_subscribe(name, user, Absent).is_err(), "{name}");
        }
    }
}

#[test]
fn the_first_rule_that_fits_decides_who_publishes() {
    use Publisher::{Any, Subscriber};
    use Refusal::{NotAllowed, UnknownNamespace};
    let for_client = Channel { allow_publish_for_client: true, ..NONE };
    let for_subscriber = Channel { allow_publish_for_subscriber: true, ..NONE };
    let both = Channel { allow_publish_for_subscriber: true, ..for_client.clone() };
    let anonymous = |rules: &Channel| Channel { allow_publish_for_anonymous: true, ..rules.clone() };
    let subscribing =
        Channel { allow_publish_for_client: false, allow_publish_for_subscriber: false, ..EVERYTHING };
    for (rules, insecure, name, user, expected) in [
        (&NONE, false, "ns:a", "ann", Err(NotAllowed)),
        (&NONE, true, "ns:a", "", Ok(Any)),
        (&subscribing, false, "ns:a", "ann", Err(NotAllowed)),
        (&EVERYTHING, false, "other:a", "ann", Err(UnknownNamespace)),
        (&NONE, true, "other:a", "", Ok(Any)),
        (&for_client, false, "ns:a", "ann", Ok(Any)),
        (&for_client, false, "ns:a", "", Err(NotAllowed)),
        (&anonymous(&for_client), false, "ns:a", "", Ok(Any)),
        (&for_subscriber, false, "ns:a", "ann", Ok(Subscriber)),
        (&for_subscriber, false, "ns:a", "", Err(NotAllowed)),
        (&anonymous(&for_subscriber), false, "ns:a", "", Ok(Subscriber)),
        (&anonymous(&NONE), false, "ns:a", "", Err(NotAllowed)),
        (&both, false, "ns:a", "ann", Ok(Any)),
        (&for_subscriber, true, "ns:a", "", Ok(Any)),
        // Names decide who receives, not who sends.
        (&for_client, false, "$ns:a", "ann", Ok(Any)),
        (&for_client, false, "ns:#bob", "ann", Ok(Any)),
    ] {
        let decided = permissions(insecure, rules).may_publish(name, user);
        assert_eq!(decided, expected, "{name} by {user:?}, insecure: {insecure}, {rules:?}");
    }
}

#[test]
fn names_must_be_allowed_whoever_asks() {
    let pattern = |text: &str| Channel { channel_regex: Some(NamePattern::new(text).unwrap()), ..EVERYTHING };
    let long = format!("ns:{}", "a".repeat(253));
    for (rules, name, is_good) in [
        (EVERYTHING, "ns:a", true),
        (EVERYTHING, "ns:/a*&b", true),
        (EVERYTHING, "ns:\u{e9}", false),
        (EVERYTHING, &long[..255], true),
        (EVERYTHING, &long, false),
        (pattern("^[a-z]+$"), "ns:abc", true),
        (pattern("^[a-z]+$"), "ns:abc1", false),
        (pattern("^[a-z]+$"), "ns:", false),
        (pattern("^[a-z]+$"), "ns:ns:abc", false),
        (pattern("abc"), "ns:xabcx", true),
        (pattern("^\\pL+$"), "ns:\u{e9}t\u{e9}", true),
        (pattern("."), &long, false),
    ] {
        for insecure in [false, true] {
            let permissions = permissions(insecure, &rules);
            let expected = if is_good { Ok(()) } else { Err(Refusal::Name) };
            let case = format!("{name}, insecure: {insecure}, {:?}", rules.channel_regex);
            assert_eq!(permissions.may_subscribe(name, "ann", TokenVerdict::Absent), expected, "{case}");
            assert_eq!(permissions.may_publish(name, "ann").map(drop), expected, "{case}");
            let granted = permissions.may_subscribe(name, "ann", TokenVerdict::Grants);
            assert_eq!(granted, expected, "a token is for a channel that can be: {case}");
            assert_eq!(permissions.may_be_subscribed(name, 0), expected, "{case}");
        }
    }
    assert_eq!(
        permissions(true, &EVERYTHING).may_be_subscribed("ns:a", 1),
        Err(Refusal::NotAllowed),
        "no such kind"
    );
    // Without a namespace the pattern reads all of the name, its $ too.
    let rules = pattern("^\\$?[a-z]+$");
    assert!(plain(false, &rules).may_subscribe("$abc", "ann", TokenVerdict::Grants).is_ok());
}

#[test]
fn patterns_are_bounded() {
    for (text, is_good) in [
        ("^a$", true),
        ("", false),
        ("(", false),
        (&"a".repeat(1_024), true),
        (&"a".repeat(1_025), false),
        ("(a{1000}){1000}", false),
        ("(?:a?){64}a{64}", true),
    ] {
        assert_eq!(NamePattern::new(text).is_ok(), is_good, "{} bytes", text.len());
    }
    // What takes exponential time elsewhere: a name of 255 bytes is read in a moment, or the test never ends.
    let hard = NamePattern::new("^(a+)+$").unwrap();
    assert!(!hard.matches(&format!("{}!", "a".repeat(254))));
}

#[test]
fn who_may_read_a_history() {
    const KEEPS: Channel = Channel { history: EVERYTHING.history, ..NONE };
    let for_client = Channel { allow_history_for_client: true, ..KEEPS };
    let for_subscriber = Channel { allow_history_for_subscriber: true, ..KEEPS };
    let for_all = Channel { allow_history_for_anonymous: true, ..for_client.clone() };
    let (any, subscriber) = (Ok(Reader::Any), Ok(Reader::Subscriber));
    let (denied, off) = (Err(ErrorCode::PermissionDenied), Err(ErrorCode::NotAvailable));
    for (insecure, rules, user, expected) in [
        (false, &NONE, "ann", off),
        (true, &NONE, "ann", off),
        (false, &KEEPS, "ann", denied),
        (true, &KEEPS, "", any),
        (false, &for_client, "ann", any),
        (false, &for_client, "", denied),
        (false, &for_all, "", any),
        (false, &for_subscriber, "ann", subscriber),
        (false, &for_subscriber, "", denied),
        (false, &EVERYTHING, "", any),
    ] {
        assert_eq!(permissions(insecure, rules).may_read("ns:a", user), expected, "{rules:?} {user:?}");
        assert_eq!(plain(insecure, rules).may_read("a", user), expected, "{rules:?} {user:?}");
    }
    assert_eq!(permissions(false, &EVERYTHING).may_read("other:a", "ann"), Err(ErrorCode::UnknownChannel));
    assert_eq!(plain(false, &EVERYTHING).may_read("\u{fc}", "ann"), Err(ErrorCode::BadRequest));
}
