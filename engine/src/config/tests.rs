//! Tables: sources in, values or problems out.

use std::path::Path;

use super::*;
use crate::limits::NAMESPACES_MAX;
use crate::settings::{Channel, NamePattern, Secret};

fn from_file(text: &str) -> (Settings, Vec<Problem>) {
    let (mut settings, mut origins, mut problems) = (Settings::default(), BTreeMap::new(), Vec::new());
    let entries = file::parse(Path::new("r.toml"), text, &mut problems);
    store(entries, &BTreeSet::new(), &mut settings, &mut origins, &mut problems);
    (settings, problems)
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Configuration, Vec<Problem>> {
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    load(&Sources { environment, ..Sources::default() })
}

fn from_flags(flags: &[(&str, &str)]) -> Result<Configuration, Vec<Problem>> {
    let flags = flags.iter().map(|(key, value)| Entry::flag("--set", key, *value)).collect();
    load(&Sources { flags, ..Sources::default() })
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn every_row_takes_its_own_default_back() {
    let named =
        Settings { namespaces: [("chat".to_owned(), Channel::default())].into(), ..Settings::default() };
    for setting in setting::all(&named) {
        let (mut settings, key) = (named.clone(), setting.key());
        let value = match setting.show(&mut settings) {
            serde_json::Value::Null => continue,
            serde_json::Value::Bool(flag) => Value::Flag(flag),
            serde_json::Value::Number(number) => Value::Whole(number.as_i64().expect("whole")),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| item.as_str().expect("text").to_owned()).collect())
            }
            other => panic!("{key}: {other}"),
        };
        assert_eq!(setting.store(&mut settings, &value, false), Ok(()), "{key}");
        assert_eq!(setting.show(&mut settings), setting.show(&mut named.clone()), "{key}");
        assert_eq!(setting::find(&key).map(|(found, _)| found.key()), Some(key));
    }
}

#[test]
fn keys_are_unique_and_match_their_variables() {
    let keys: Vec<_> = setting::keys("namespace.chat.x").collect();
    let unique: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(keys.len(), unique.len());
    for key in &keys {
        assert!(
            key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b)),
            "{key}"
        );
        assert!(!key.contains("__"), "{key}: __ separates in variables");
    }
}

#[test]
fn file_values_are_stored() {
    let (settings, problems) = from_file(
        r#"
        listen = ["127.0.0.1:1", "[::1]:2"]
        admin = "off"
        shards = 3
        io = "epoll"
        echo = true
        [limits]
        connections = 1_000
        message_bytes = "128KiB"
        [token]
        hmac_secret = "s"
        [client]
        allowed_origins = "https://a.example"
        [net]
        congestion = "bbr"
        "#,
    );
    assert_eq!(lines(&problems), "");
    assert_eq!(settings.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(settings.admin, None);
    assert_eq!(settings.shards, 3);
    assert_eq!(settings.io, roadstead_io::Choice::Epoll);
    assert!(settings.echo);
    assert_eq!(settings.limits.connections, 1_000);
    assert_eq!(settings.limits.message_bytes, 128 << 10);
    assert_eq!(settings.token.hmac_secret, Some(Secret::new("s")));
    assert_eq!(settings.client.allowed_origins, ["https://a.example"]);
    assert_eq!(settings.net.congestion, roadstead_io::Congestion::Named("bbr".into()));
}

#[test]
fn file_problems_name_place_key_value_and_what_is_allowed() {
    for (text, expected) in [
        (
            "[limits]\nconnections = 0\n",
            "file r.toml:2: limits.connections = 0: allowed is a whole number from 1 to 20000000\n",
        ),
        (
            "limits.connections = -5",
            "file r.toml:1: limits.connections = -5: allowed is a whole number from 1 to 20000000\n",
        ),
        (
            "\n\n[limits]\nconections = 5\n",
            "file r.toml:4: limits.conections = 5: unknown key; the nearest known key is limits.connections \
             (`roadstead config print` lists all)\n",
        ),
        ("insecure = \"yes\"", "file r.toml:1: insecure = \"yes\": allowed is true or false\n"),
        ("shards = 1.5", "file r.toml:1: shards = 1.5: allowed is a whole number from 1 to 64\n"),
        ("io = \"kqueue\"", "file r.toml:1: io = \"kqueue\": allowed is auto, io_uring or epoll\n"),
        (
            "listen = []",
            "file r.toml:1: listen = []: allowed is 1 to 16 IP addresses with ports, such as 127.0.0.1:8000 or \
             [::]:8000; host names are not looked up\n",
        ),
        (
            "admin = \"localhost\"",
            "file r.toml:1: admin = \"localhost\": allowed is an IP address with a port, such as 127.0.0.1:9000 or \
             [::1]:9000, or off\n",
        ),
        (
            "limits.outbox_bytes = \"1 elephant\"",
            "file r.toml:1: limits.outbox_bytes = \"1 elephant\": allowed is a number of bytes from 4096 to \
             1073741824, or such as \"64KiB\" or \"16MiB\"\n",
        ),
        (
            "node.name = \"Gate 1\"",
            "file r.toml:1: node.name = \"Gate 1\": allowed is 1 to 63 characters of a-z, 0-9, -, . and _\n",
        ),
        (
            "[cluster]\nname = \"Fleet\"",
            "file r.toml:2: cluster.name = \"Fleet\": allowed is 1 to 63 characters of a-z, 0-9, -, . and _\n",
        ),
        (
            "cluster.join = [\"gate-1:7800\"]",
            "file r.toml:1: cluster.join = [\"gate-1:7800\"]: allowed is 0 to 64 IP addresses with ports, such as \
             127.0.0.1:8000 or [::]:8000; host names are not looked up\n",
        ),
        (
            "[echoo]\n",
            "file r.toml:1: echoo = a table: unknown key; the nearest known key is echo (`roadstead config \
             print` lists all)\n",
        ),
        (
            "token.hmac_secrt = \"hidden\"",
            "file r.toml:1: token.hmac_secrt = <redacted>: unknown key; the nearest known key is \
             token.hmac_secret (`roadstead config print` lists all)\n",
        ),
        (
            "token.hmac_secret = \"\"",
            "file r.toml:1: token.hmac_secret = <redacted>: allowed is text that is not empty; or give its _file \
             form\n",
        ),
        (
            "token.hmac_secret = \"a\"\ntoken.hmac_secret_file = \"b\"\n",
            "file r.toml:2: token.hmac_secret_file = \"b\": token.hmac_secret is given too; give one of them\n",
        ),
    ] {
        assert_eq!(lines(&from_file(text).1), expected, "{text}");
    }
}

#[test]
fn syntax_errors_show_no_content() {
    let (_, problems) = from_file("echo = true\n[token]\nhmac_secret = \"hidden\n");
    let text = lines(&problems);
    assert!(text.starts_with("file r.toml:3: not valid TOML: "), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn all_problems_are_reported() {
    assert_eq!(from_file("shards = 0\necho = 1\nlimits.fragments = 0\n").1.len(), 3);
}

#[test]
fn environment_is_read_and_checked() {
    let read = from_environment(&[
        ("ROADSTEAD_LIMITS__CONNECTIONS", "77"),
        ("ROADSTEAD_LISTEN", "127.0.0.1:1, [::1]:2"),
        ("ROADSTEAD_ECHO", "true"),
        ("ROADSTEAD_SERVICE_HOST", "10.0.0.1"),
        ("ROADSTEAD_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("ROADSTEAD_PORT", "tcp://10.0.0.1:8000"),
        ("HOME", "/"),
    ])
    .expect("valid");
    assert_eq!(read.settings.limits.connections, 77);
    assert_eq!(read.settings.listen.len(), 2);
    assert!(read.settings.echo);
    assert_eq!(
        read.origins["limits.connections"],
        Origin::Environment("ROADSTEAD_LIMITS__CONNECTIONS".into())
    );

    let problems = from_environment(&[("ROADSTEAD_LIMITS__CONECTIONS", "77")]).expect_err("unknown");
    assert_eq!(
        lines(&problems),
        "env ROADSTEAD_LIMITS__CONECTIONS: limits.conections = \"77\": unknown key; the nearest known key is \
         ROADSTEAD_LIMITS__CONNECTIONS (`roadstead config print` lists all)\n"
    );
}

#[test]
fn later_sources_win() {
    let read = load(&Sources {
        environment: vec![
            ("ROADSTEAD_SHARDS".into(), "2".into()),
            ("ROADSTEAD_LOG__LEVEL".into(), "debug".into()),
            ("ROADSTEAD_TOKEN__HMAC_SECRET_FILE".into(), "/nonexistent".into()),
        ],
        flags: vec![Entry::flag("--shards", "shards", "4")],
        ..Sources::default()
    });
    assert_eq!(
        lines(&read.expect_err("file missing")),
        "env ROADSTEAD_TOKEN__HMAC_SECRET_FILE: token.hmac_secret_file = \"/nonexistent\": cannot read \
         /nonexistent: No such file or directory (os error 2)\n"
    );
    let read = load(&Sources {
        environment: vec![
            ("ROADSTEAD_SHARDS".into(), "2".into()),
            ("ROADSTEAD_LOG__LEVEL".into(), "debug".into()),
        ],
        flags: vec![Entry::flag("--shards", "shards", "4")],
        ..Sources::default()
    })
    .expect("valid");
    assert_eq!(read.settings.shards, 4);
    assert_eq!(read.origins["shards"], Origin::Flag("--shards".into()));
    assert_eq!(read.settings.log.level, crate::settings::LogLevel::Debug);
}

#[test]
fn a_secrets_file_that_is_not_used_need_not_be_there() {
    let read = load(&Sources {
        environment: vec![("ROADSTEAD_TOKEN__HMAC_SECRET_FILE".into(), "/nonexistent".into())],
        flags: vec![Entry::flag("--set", "token.hmac_secret", "s")],
        ..Sources::default()
    });
    assert_eq!(read.expect("valid").settings.token.hmac_secret, Some(Secret::new("s")));
}

#[test]
fn repeated_flags_make_one_list() {
    let read = from_flags(&[("listen", "127.0.0.1:1"), ("listen", "127.0.0.1:2")]).expect("valid");
    assert_eq!(read.settings.listen.len(), 2);
}

#[test]
fn values_must_fit_together() {
    for (flags, key) in [
        (&[("client.ping_s", "5"), ("client.pong_timeout_s", "5")][..], Some("client.pong_timeout_s")),
        (&[("client.ping_s", "0"), ("client.pong_timeout_s", "5")], None),
        (&[("tls.certificate", "c.pem")], Some("tls.certificate")),
        (&[("tls.key", "k.pem")], Some("tls.key")),
        (&[("tls.certificate", "c.pem"), ("tls.key", "k.pem")], None),
        (&[("tls.certificates", "c.pem:k.pem")], Some("tls.certificates")),
        (&[("tls.client_ca", "ca.pem")], Some("tls.client_ca")),
        (&[("tls.client_user", "dns")], Some("tls.client_user")),
        (&[("insecure", "true"), ("listen", "0.0.0.0:8000")], Some("insecure")),
        (&[("insecure", "true"), ("listen", "[::1]:8000")], None),
        (&[("insecure", "true"), ("listen", "[::ffff:127.0.0.1]:8000")], Some("listen")),
        (&[("admin", "[::ffff:127.0.0.1]:9000")], None),
        (&[("insecure", "true"), ("listen", "0.0.0.0:8000"), ("insecure_force", "true")], None),
        (&[("admin", "0.0.0.0:9000")], Some("admin")),
        (&[("admin", "0.0.0.0:9000"), ("admin_key", "k")], None),
        (&[("limits.outbox_bytes", "4096")], Some("limits.outbox_bytes")),
        (&[("limits.connections", "3"), ("shards", "4")], Some("limits.connections")),
        (&[("admin", "127.0.0.1:8000")], Some("listen")),
        (&[("listen", "127.0.0.1:0,127.0.0.1:0")], None),
        (
            &[("echo", "true"), ("limits.inbound_bytes_per_shard", "1MiB")],
            Some("limits.inbound_bytes_per_shard"),
        ),
    ] {
        let keys = match from_flags(flags) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().filter_map(|problem| problem.key).collect(),
        };
        assert_eq!(keys, Vec::from_iter(key.map(str::to_owned)), "{flags:?}");
    }
}

#[test]
fn printed_configuration_reads_back_without_secrets() {
    let read = from_flags(&[
        ("token.hmac_secret", "hidden"),
        ("token.audience", "a \"b\""),
        ("node.name", "gate-1"),
        ("shards", "3"),
        ("limits.message_bytes", "32KiB"),
    ])
    .expect("valid");
    let text = print_text(&read);
    assert!(!text.contains("hidden"), "{text}");
    assert!(text.contains("# token.hmac_secret = <redacted>"), "{text}");
    assert!(text.contains("# flag --set"), "{text}");
    assert!(!print_json(&read).to_string().contains("hidden"));

    let (mut again, problems) = from_file(&text);
    assert_eq!(lines(&problems), "");
    again.token.hmac_secret = Some(Secret::new("hidden"));
    assert_eq!(reload(&read.settings, &again).1, Changes::default());
}

#[test]
fn reload_tells_what_applies() {
    let links = ("cluster.links_per_peer", "1");
    let running = from_flags(&[("token.hmac_secret", "one"), links]).expect("valid").settings;
    let read = from_flags(&[("token.hmac_secret", "two"), ("log.level", "debug"), ("shards", "7"), links])
        .expect("valid");
    let (next, changes) = reload(&running, &read.settings);
    assert_eq!(changes.applied, ["log.level", "token.hmac_secret"]);
    assert_eq!(changes.need_restart, ["shards"]);
    assert_eq!(next.token.hmac_secret, Some(Secret::new("two")));
    assert_eq!(next.log.level, crate::settings::LogLevel::Debug);
    assert_eq!(next.shards, running.shards);
    assert_eq!(reload(&next, &read.settings).1.need_restart, ["shards"], "told again until the restart");
}

#[test]
fn namespaces_are_read_from_every_source() {
    let (settings, problems) = from_file(
        r#"
        [channel]
        allow_subscribe_for_client = true
        [namespace.chat]
        allow_publish_for_subscriber = true
        channel_regex = "^[a-z]+$"
        [namespace.team_1]
        allow_user_limited_channels = true
        [namespace.secret]
        [namespace.Other-1]
        "#,
    );
    assert_eq!(lines(&problems), "");
    assert!(settings.channel.allow_subscribe_for_client);
    assert_eq!(settings.namespaces.keys().collect::<Vec<_>>(), ["Other-1", "chat", "secret", "team_1"]);
    let chat = Channel {
        allow_publish_for_subscriber: true,
        channel_regex: Some(NamePattern::new("^[a-z]+$").expect("a pattern")),
        ..Channel::default()
    };
    assert_eq!(settings.namespaces["chat"], chat);
    assert!(settings.namespaces["team_1"].allow_user_limited_channels);
    assert_eq!(settings.namespaces["secret"], Channel::default());

    let read = from_environment(&[("ROADSTEAD_NAMESPACE__CHAT__ALLOW_SUBSCRIBE_FOR_CLIENT", "true")]);
    assert!(read.expect("valid").settings.namespaces["chat"].allow_subscribe_for_client);
    let read = from_flags(&[("namespace.chat.allow_subscribe_for_client", "false")]).expect("valid");
    assert_eq!(read.settings.namespaces["chat"], Channel::default(), "it is there");
    assert!(read.origins.contains_key("namespace.chat.allow_subscribe_for_client"));
}

#[test]
fn printed_namespaces_read_back() {
    let (settings, problems) = from_file(
        "[namespace.secret]\n[namespace.chat]\nchannel_regex = '^\"\\d\"$'\nallow_publish_for_client = true\n",
    );
    assert_eq!(lines(&problems), "");
    let read = Configuration { settings, origins: BTreeMap::new(), warnings: Vec::new() };
    let (again, problems) = from_file(&print_text(&read));
    assert_eq!(lines(&problems), "");
    assert_eq!((&again.channel, &again.namespaces), (&read.settings.channel, &read.settings.namespaces));
    let rows = print_json(&read)["settings"].as_array().expect("rows").clone();
    let row = rows.iter().find(|row| row["key"] == "namespace.chat.allow_publish_for_client").expect("a row");
    assert_eq!((&row["value"], &row["default"], &row["reload"]), (&true.into(), &false.into(), &true.into()));
}

#[test]
fn namespaces_that_cannot_be_are_refused() {
    for (text, expected) in [
        (
            "[namespace.chat]\nallow_subscrbe_for_client = true\n",
            "file r.toml:2: namespace.chat.allow_subscrbe_for_client = true: unknown key; the nearest known key is \
             namespace.chat.allow_subscribe_for_client (`roadstead config print` lists all)\n",
        ),
        (
            "[namespace.chat]\npresence = true\n",
            "file r.toml:2: namespace.chat.presence = true: unknown key (`roadstead config print` lists all)\n",
        ),
        (
            "[namespace.\"a b\"]\nallow_subscribe_for_client = true\n",
            "file r.toml:2: namespace.a b.allow_subscribe_for_client = true: \"a b\" is no name of a namespace: \
             allowed are 1 to 64 letters, digits, - and _\n",
        ),
        (
            "namespace.chat = 1\n",
            "file r.toml:1: namespace.chat = 1: allowed is a section of the file with its settings, or without any\n",
        ),
        (
            "channel.channel_regex = \"(\"\n",
            "file r.toml:1: channel.channel_regex = \"(\": allowed is a regular expression of 1 to 1024 bytes that \
             compiles to 262144 bytes at most\n",
        ),
    ] {
        assert_eq!(lines(&from_file(text).1), expected, "{text}");
    }
    let many: String = (0..=NAMESPACES_MAX).map(|n| format!("[namespace.n{n}]\n")).collect();
    let (settings, problems) = from_file(&many);
    assert_eq!(lines(&problems), "");
    let found = check::problems(&settings, &BTreeMap::new());
    assert_eq!(lines(&found), "default: namespace = 1025: allowed are 1024 namespaces\n");
}

#[test]
fn rules_of_channels_change_while_running() {
    let (running, _) = from_file("[namespace.a]\nallow_publish_for_client = true\n[namespace.b]\n");
    let (read, _) = from_file("[channel]\nallow_subscribe_for_client = true\n[namespace.a]\n[namespace.c]\n");
    let (next, changes) = reload(&running, &read);
    let applied = [
        "channel.allow_subscribe_for_client",
        "namespace.a.allow_publish_for_client",
        "namespace.b",
        "namespace.c",
    ];
    assert_eq!((changes.applied, changes.need_restart), (applied.map(str::to_owned).to_vec(), Vec::new()));
    assert_eq!((next.channel, next.namespaces), (read.channel, read.namespaces));
}

#[test]
fn rules_that_can_hardly_be_meant_are_said() {
    for (flags, words) in [
        (
            &[("channel.allow_subscribe_for_anonymous", "true")][..],
            "channel.allow_subscribe_for_anonymous does nothing",
        ),
        (
            &[("namespace.a.allow_publish_for_anonymous", "true")],
            "namespace.a.allow_publish_for_anonymous does nothing",
        ),
        (&[("namespace.a.channel_regex", "[a-z]")], "namespace.a.channel_regex allows every name"),
        (&[("channel.history_size", "9")], "channel keeps no history"),
        (&[("namespace.a.force_recovery", "true")], "namespace.a.force_recovery does nothing"),
        (
            &[
                ("channel.history_size", "9"),
                ("channel.history_ttl", "1h"),
                ("channel.history_meta_ttl", "1m"),
            ],
            "channel.history_meta_ttl is shorter",
        ),
    ] {
        let warnings = from_flags(flags).expect("valid").warnings;
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{flags:?}: {warnings:?}");
    }
}

/// A key file of this test's own, removed at its end.
struct KeyFile(std::path::PathBuf);

impl KeyFile {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("roadstead-keys-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const KEY: &str = "# a key\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";

#[test]
fn a_fleet_must_be_described_whole() {
    let (good, bad) = (KeyFile::new("good", KEY), KeyFile::new("bad", "# a key\nAQEB\n"));
    let (key, bad) = (("cluster.key_file", good.path()), ("cluster.key_file", bad.path()));
    let listen = ("cluster.listen", "127.0.0.1:7800");
    let join = ("cluster.join", "127.0.0.1:7800,127.0.0.1:7801");
    let alone = ("cluster.alone", "true");
    for (flags, expected) in [
        (&[listen, key, join][..], None),
        (&[listen, key, alone], None),
        (&[("cluster.listen", "0.0.0.0:7800"), ("cluster.advertise", "10.0.0.1:7800"), key, join], None),
        (&[join], Some(("cluster.join", "cluster.listen"))),
        (&[listen, join], Some(("cluster.listen", "roadstead cluster-key >> FILE"))),
        (&[listen, key], Some(("cluster.listen", "--alone"))),
        (&[listen, bad, join], Some(("cluster.key_file", "line 2 holds 3 bytes"))),
        (
            &[listen, ("cluster.key_file", "/nonexistent"), join],
            Some(("cluster.key_file", "roadstead cluster-key >> /nonexistent")),
        ),
        (&[("cluster.listen", "0.0.0.0:7800"), key, join], Some(("cluster.listen", "cluster.advertise"))),
        (
            &[listen, ("cluster.advertise", "[::]:7800"), key, join],
            Some(("cluster.advertise", "all interfaces")),
        ),
        (&[listen, ("cluster.advertise", "10.0.0.1:0"), key, join], Some(("cluster.advertise", "the port"))),
        (&[listen, key, ("cluster.join", "127.0.0.1:0")], Some(("cluster.join", "nobody"))),
        (&[("cluster.listen", "127.0.0.1:8000"), key, join], Some(("listen", "used twice"))),
        (&[("cluster.listen", "127.0.0.1:9000"), key, join], Some(("cluster.listen", "used twice"))),
        (
            &[
                listen,
                key,
                join,
                ("limits.message_bytes", "1MiB"),
                ("limits.outbox_bytes", "4MiB"),
                ("cluster.link_queue_bytes", "1MiB"),
            ],
            Some(("cluster.link_queue_bytes", "1114112")),
        ),
    ] {
        let found = from_flags(flags).err().unwrap_or_default();
        let keys: Vec<_> = found.iter().filter_map(|problem| problem.key.as_deref()).collect();
        assert_eq!(keys, Vec::from_iter(expected.map(|(key, _)| key)), "{flags:?}");
        if let Some((_, words)) = expected {
            assert!(lines(&found).contains(words), "{flags:?}: {}", lines(&found));
        }
    }
}

#[test]
fn what_a_fleet_would_not_use_is_said() {
    let open = KeyFile::new("open", KEY);
    std::fs::set_permissions(&open.0, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
    let key = ("cluster.key_file", open.path());
    let (listen, join) = (("cluster.listen", "127.0.0.1:7800"), ("cluster.join", "10.0.0.1:7800"));
    for (flags, words) in [
        (&[("cluster.alone", "true")][..], "cluster.alone does nothing without cluster.listen"),
        (&[key], "cluster.key_file does nothing without cluster.listen"),
        (&[listen, key, join], "chmod 0640"),
        (&[listen, key, join], "10.0.0.1:7800 cannot reach it"),
    ] {
        let warnings = from_flags(flags).expect("valid").warnings;
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{flags:?}: {warnings:?}");
    }
    std::fs::set_permissions(&open.0, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("set");
    let warnings = from_flags(&[listen, key, join]).expect("valid").warnings;
    assert!(!warnings.iter().any(|warning| warning.contains("chmod")), "{warnings:?}");
}

#[test]
fn some_defaults_follow_from_other_settings() {
    for (flags, delay_ms, window_ms, links) in [
        (&[("shards", "8")][..], 10_000, 30_000, 4),
        (&[("shards", "2")], 10_000, 30_000, 2),
        (&[("shards", "2"), ("cluster.links_per_peer", "3")], 10_000, 30_000, 3),
        (&[("shards", "1"), ("insecure", "true")], 0, 0, 1),
        (&[("shards", "1"), ("insecure", "true"), ("shutdown.window_ms", "700")], 0, 700, 1),
    ] {
        let settings = from_flags(flags).expect("valid").settings;
        let shutdown = &settings.shutdown;
        assert_eq!((shutdown.ready_delay_ms, shutdown.window_ms), (delay_ms, window_ms), "{flags:?}");
        assert_eq!(settings.cluster.links_per_peer, links, "{flags:?}");
    }
}

#[test]
fn seeds_are_one_list_however_given() {
    let read = from_flags(&[
        ("cluster.listen", "127.0.0.1:1"),
        ("cluster.join", "127.0.0.1:1,127.0.0.1:2"),
        ("cluster.join", "127.0.0.1:3"),
    ]);
    let problems = read.expect_err("no key");
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (settings, problems) = from_file("cluster.join = [\"127.0.0.1:1\", \"[::1]:2\"]");
    assert_eq!((lines(&problems).as_str(), settings.cluster.join.len()), ("", 2));
}
