//! Files in the style of Centrifugo's documentation, and what becomes of their keys.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::*;

fn verdicts(import: &Import) -> BTreeMap<&str, (Verdict, Option<&str>)> {
    import.findings.iter().map(|f| (f.key.as_str(), (f.verdict, f.ours.as_deref()))).collect()
}

/// Imports, and sees that the result is read by the program as it was meant.
fn imported(given: &Json) -> (Import, Settings) {
    let import = import_centrifugo(given);
    assert_eq!(import.problems, Vec::<String>::new(), "{}", import.text);
    let mut problems = Vec::new();
    let entries = file::parse(Path::new("imported"), &import.text, &mut problems);
    let configuration = settle(vec![entries], problems).unwrap_or_else(|problems| panic!("{problems:?}"));
    (import, configuration.settings)
}

#[test]
fn version_5_is_read() {
    let (import, settings) = imported(&json!({
        "port": "8001",
        "address": "10.0.0.7",
        "internal_port": 9001,
        "token_hmac_secret_key": "a secret of thirty-two bytes \"!\" \\",
        "token_audience": "web",
        "allowed_origins": ["https://example.com"],
        "api_key": "",
        "admin": false,
        "prometheus": true,
        "ping_interval": "20s",
        "pong_timeout": "5s",
        "client_channel_limit": 64,
        "client_queue_max_size": 2_097_152,
        "client_stale_close_delay": "7500ms",
        "websocket_compression": true,
        "allow_subscribe_for_client": true,
        "user_subscribe_to_personal": true,
        "engine": "redis",
        "redis_address": "127.0.0.1:6379",
        "proxy_connect_endpoint": "http://127.0.0.1:3000/connect",
        "uni_grpc": false,
        "namespaces": [
            { "name": "chat", "allow_subscribe_for_client": true, "allow_publish_for_subscriber": true, "channel_regex": "^[a-z]+$" },
            { "name": "empty" },
            { "name": "no.dots", "allow_subscribe_for_client": true },
        ],
    }));
    assert_eq!(settings.listen, vec!["10.0.0.7:8001".parse().expect("an address")]);
    assert_eq!(settings.admin, Some("127.0.0.1:9001".parse().expect("an address")));
    assert_eq!(
        (settings.client.ping_s, settings.client.pong_timeout_s, settings.client.stale_close_s),
        (20, 5, 8)
    );
    assert_eq!((settings.limits.channels_per_client, settings.limits.outbox_bytes), (64, 2 << 20));
    assert!(settings.compression.enabled && settings.client.user_personal_channel);
    assert!(settings.channel.allow_subscribe_for_client && !settings.channel.allow_publish_for_client);
    assert!(settings.namespaces["chat"].allow_publish_for_subscriber);
    assert!(settings.namespaces["chat"].channel_regex.is_some() && settings.namespaces.contains_key("empty"));
    assert_eq!(settings.namespaces.len(), 2);
    let verdicts = verdicts(&import);
    for (key, verdict, ours) in [
        ("port", Verdict::Mapped, Some("listen")),
        ("internal_port", Verdict::Changed, Some("admin")),
        ("token_hmac_secret_key", Verdict::Mapped, Some("token.hmac_secret")),
        ("api_key", Verdict::Mapped, None),
        ("admin", Verdict::Mapped, None),
        ("prometheus", Verdict::Changed, None),
        ("client_stale_close_delay", Verdict::Changed, Some("client.stale_close_s")),
        ("allow_subscribe_for_client", Verdict::Mapped, Some("channel.allow_subscribe_for_client")),
        ("engine", Verdict::Unsupported, None),
        ("redis_address", Verdict::Unsupported, None),
        ("proxy_connect_endpoint", Verdict::Unsupported, None),
        ("uni_grpc", Verdict::Mapped, None),
        ("namespaces[chat].channel_regex", Verdict::Mapped, Some("namespace.chat.channel_regex")),
        ("namespaces[no.dots]", Verdict::Unsupported, None),
    ] {
        assert_eq!(verdicts.get(key), Some(&(verdict, ours)), "{key}");
    }
    let shown = format!("{:?}", import.findings);
    assert!(
        !shown.contains("thirty-two") && import.text.contains("thirty-two"),
        "secrets are in the file only"
    );
}

#[test]
fn version_6_is_read() {
    let (import, settings) = imported(&json!({
        "http_server": { "port": 8000, "tls": { "enabled": false, "cert_pem_file": "a.pem", "key_pem_file": "a.key" } },
        "log": { "level": "trace" },
        "client": {
            "allowed_origins": ["*"],
            "token": { "hmac_secret_key": "a secret of at least thirty-two bytes", "issuer": "me" },
            "subscription_token": { "enabled": true, "hmac_secret_key": "another one of at least thirty-two bytes" },
            "expired_close_delay": "30s",
            "allow_anonymous_connect_without_token": true,
            "connection_limit": 0,
        },
        "channel": {
            "without_namespace": { "allow_publish_for_client": true },
            "namespaces": [{ "name": "news", "allow_subscribe_for_client": true, "unheard_of": 1 }],
            "private_prefix": "$",
            "user_boundary": "@",
        },
        "engine": { "type": "memory" },
        "websocket": { "message_size_limit": 131_072, "write_timeout": "2s" },
        "admin": { "enabled": true, "password": "hush", "secret": "hush" },
        "consumers": [],
    }));
    assert_eq!(settings.listen.len(), 2, "everywhere, as Centrifugo does");
    assert!(settings.tls.certificate.is_none() && settings.client.allow_anonymous);
    assert!(settings.subscription_token.enabled && settings.channel.allow_publish_for_client);
    assert_eq!((settings.limits.message_bytes, settings.limits.slow_close_ms), (131_072, 2_000));
    assert_eq!(settings.client.token_grace_s, 30);
    let verdicts = verdicts(&import);
    for (key, verdict) in [
        ("http_server.tls.cert_pem_file", Verdict::Mapped),
        ("client.connection_limit", Verdict::Changed),
        ("channel.namespaces[news].unheard_of", Verdict::Unsupported),
        ("channel.private_prefix", Verdict::Mapped),
        ("channel.user_boundary", Verdict::Unsupported),
        ("engine.type", Verdict::Mapped),
        ("admin.enabled", Verdict::Changed),
        ("admin.password", Verdict::Unsupported),
        ("consumers", Verdict::Mapped),
        ("websocket.write_timeout", Verdict::Changed),
    ] {
        assert_eq!(verdicts.get(key).map(|(verdict, _)| *verdict), Some(verdict), "{key}");
    }
}

#[test]
fn what_does_not_go_with_the_rest_is_taken_back() {
    let (import, settings) =
        imported(&json!({ "ping_interval": "10s", "pong_timeout": "20s", "tls": true, "tls_cert": "a.pem" }));
    let taken_back: Vec<&str> = import
        .findings
        .iter()
        .filter(|finding| finding.note.contains("does not go with the rest"))
        .map(|finding| finding.key.as_str())
        .collect();
    assert_eq!(taken_back, ["pong_timeout", "tls_cert"]);
    assert_eq!(settings.client.ping_s, 10);
}

#[test]
fn values_that_are_not_taken_are_said() {
    let (import, _) = imported(&json!({
        "port": "http",
        "client_channel_limit": "many",
        "channel_max_length": 1_000,
        "log_level": "loud",
        "token_rsa_public_key": "-----BEGIN PUBLIC KEY-----",
        "token_audience_regex": "(",
        "namespaces": { "name": "chat" },
        "tls_key": "x",
    }));
    let verdicts = verdicts(&import);
    for key in ["port", "client_channel_limit", "channel_max_length", "log_level", "token_rsa_public_key"] {
        assert_eq!(verdicts.get(key).map(|(verdict, _)| *verdict), Some(Verdict::Unsupported), "{key}");
    }
    assert_eq!(import.findings.len(), 8, "each key has a finding");
}

#[test]
fn rows_are_named_once_and_point_at_something() {
    for rows in [NODE, CHANNEL] {
        let mut names: Vec<&str> = rows.iter().flat_map(|row| row.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a key has one row");
    }
    let known = |row: &&Row| match row.fate {
        Fate::Same(ours, _) | Fate::Differs(ours, ..) => setting::find(ours).is_some(),
        _ => false,
    };
    assert!(NODE.iter().filter(known).count() >= 30, "renamed settings are renamed here too");
    let fixed =
        NODE.iter().filter_map(|row| if let Fate::Fixed(ours, _) = row.fate { Some(ours) } else { None });
    fixed.for_each(|ours| assert!(serde_json::from_str::<Json>(ours).is_ok(), "{ours}"));
}

#[test]
fn files_are_read_by_their_names() {
    for (name, text, said) in [
        ("c.json", "{\"port\": 1}", Ok(json!({ "port": 1 }))),
        ("c", "{}", Ok(json!({}))),
        (
            "c.toml",
            "port = 1\n[client]\ninsecure = true",
            Ok(json!({ "port": 1, "client": { "insecure": true } })),
        ),
        ("c.json", "{\"port\": }", Err("line 1")),
        ("c.json", "[]", Err("no object")),
        ("c.toml", "port", Err("not valid TOML")),
        ("c.yaml", "port: 1", Err("yq")),
    ] {
        match (read_centrifugo(Path::new(name), text), said) {
            (Ok(read), Ok(wanted)) => assert_eq!(read, wanted),
            (Err(reason), Err(words)) => assert!(reason.contains(words), "{reason}"),
            (read, _) => panic!("{name}: {read:?}"),
        }
    }
}
