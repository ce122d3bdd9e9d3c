//! The real binary as operators run it: configuration errors, exit codes, a node from start to stop.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use crate::node::{Node, status_of};
use crate::surroundings::{Folder, roadstead};
use serde_json::Value;

pub(crate) const SECRET: &str = "a secret of thirty-two bytes, or more";

pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    said(roadstead(arguments).output().expect("it runs"))
}

fn said(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("it was not killed"), text(output.stdout), text(output.stderr))
}

#[test]
fn usage_is_taught() {
    for (arguments, code, words) in [
        (&["--help"][..], 0, "Exit codes: 0 done"),
        (&["serve", "--help"], 0, "roadstead ready listen="),
        (&["token", "--help"], 0, "token.hmac_secret"),
        (&["--version"], 0, "roadstead 0."),
        (&["version"], 0, "roadstead 0."),
        (&["version", "--output", "json"], 0, "\"version\":"),
        (&[], 2, "Usage"),
        (&["sail"], 2, "unrecognized subcommand"),
        (&["serve", "--sail"], 2, "unexpected argument"),
        (&["serve", "--set", "shards"], 2, "a key and a value are wanted"),
        (&["drain", "--help"], 0, "shutdown.ready_delay_ms"),
        (&["drain", "--status", "--cancel"], 2, "cannot be used with"),
        (&["token"], 2, "--user"),
        (&["config", "import"], 2, "<FILE>"),
        (&["config", "import", "--help"], 0, "Exit codes: 0 no key is unsupported"),
        (&["token", "--user", "u", "--ttl", "1"], 2, "1h"),
        (&["token", "--user", "u", "--data", "1"], 2, "--channel"),
        (&["token", "inspect", "--help"], 0, "somebody else has signed it"),
        (&["token", "inspect"], 2, "TOKEN"),
    ] {
        let (exit, out, err) = run(arguments);
        assert_eq!(exit, code, "{arguments:?}: {err}");
        assert!(format!("{out}{err}").contains(words), "{arguments:?}: {out}{err}");
    }
}

#[test]
fn configurations_of_centrifugo_are_imported() {
    let folder = Folder::new("import");
    let old = folder.file(
        "centrifugo.json",
        r#"{
            "client": {
                "token": { "hmac_secret_key": "thirty-two bytes and some more of them" },
                "allowed_origins": ["https://app.example"],
                "ping_interval": "20s"
            },
            "channel": { "namespaces": [{ "name": "chat", "allow_subscribe_for_client": true }] },
            "prometheus": { "enabled": true }
        }"#,
    );
    let new = folder.path("roadstead.toml");
    let (exit, out, err) = run(&["config", "import", &old, "--to", &new]);
    assert_eq!(exit, 0, "{out}{err}");
    assert!(out.contains("mapped       client.ping_interval -> client.ping_s"), "{out}");
    assert!(
        out.contains("changed      prometheus.enabled: ")
            && out.contains("5 mapped, 1 changed, 0 unsupported"),
        "{out}"
    );
    assert!(!out.contains("thirty-two") && !err.contains("thirty-two"), "{out}{err}");
    let mode = fs::metadata(&new).expect("it was written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (exit, out, err) = run(&["config", "check", "--config", &new]);
    assert_eq!((exit, out.trim()), (0, "the configuration is valid"), "{err}");
    let (_, out, _) = run(&["config", "print", "--config", &new]);
    assert!(out.contains("namespace.chat.allow_subscribe_for_client = true"), "{out}");

    let (exit, _, err) = run(&["config", "import", &old, "--to", &new]);
    assert!(exit == 1 && err.contains("cannot write"), "nothing is overwritten: {err}");
    assert_eq!(run(&["config", "import", &old, "--strict"]).0, 1, "something is changed");
    let (exit, out, err) = run(&["config", "import", &old]);
    assert!(exit == 0 && out.contains("[namespace.chat]") && err.contains("mapped, 1 changed"), "{out}{err}");

    let redis = folder.file("redis.toml", "engine = \"redis\"\nredis_address = \"127.0.0.1:6379\"\n");
    let (exit, out, err) = run(&["config", "import", &redis, "--output", "json"]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((exit, &report["unsupported"]), (1, &serde_json::json!(2)), "{out}{err}");
    assert_eq!(report["keys"][0]["verdict"], "unsupported");
    for (name, text, words) in [
        ("broken.json", "{", "not valid JSON, at line 1"),
        ("c.yaml", "port: 8000", "yq -o=json"),
        ("list.json", "[]", "no object"),
    ] {
        let (exit, _, err) = run(&["config", "import", &folder.file(name, text)]);
        assert!(exit == 78 && err.contains(words), "{name}: {exit} {err}");
    }
    assert_eq!(run(&["config", "import", &folder.path("none.json")]).0, 78);
}

#[test]
fn configurations_are_judged() {
    let folder = Folder::new("cli");
    for (text, flags, words) in [
        (
            "[limits]\nconnections = 0",
            &[][..],
            &["roadstead.toml:2", "limits.connections = 0", "from 1 to"][..],
        ),
        (
            "[limits]\nconections = 1",
            &[],
            &["limits.conections = 1", "nearest known key is limits.connections"],
        ),
        ("", &["--shards", "0"], &["flag --shards", "shards", "from 1 to"]),
        ("", &["--set", "log.levl=info"], &["flag --set", "nearest known key is log.level"]),
        ("", &["--set", "zzz.yyy=1"], &["zzz.yyy = \"1\": unknown key (`roadstead config print` lists all)"]),
        ("", &["--listen", "[::ffff:127.0.0.1]:8000"], &["listen", "write 127.0.0.1:8000"]),
        ("", &["--insecure", "--listen", "0.0.0.0:0"], &["insecure", "0.0.0.0:0", "--insecure-force"]),
        ("", &["--admin", "0.0.0.0:0"], &["admin", "admin_key"]),
        ("admin = \"127.0.0.1:1\"\nlisten", &[], &["roadstead.toml:2", "not valid TOML"]),
        ("tls.certificate = \"c.pem\"", &[], &["tls.certificate", "tls.key"]),
        (
            "[tls]\ncertificate = \"no.pem\"\nkey = \"no.key\"",
            &[],
            &["tls.certificate", "no.pem", "No such file"],
        ),
        ("", &["--join", "127.0.0.1:7800"], &["flag --join", "cluster.join", "--cluster-listen"]),
        (
            "[cluster]\nkey_file = \"keys\"",
            &["--cluster-listen", "127.0.0.1:7800", "--alone"],
            &["roadstead.toml:2", "cluster.key_file", "cannot read keys"],
        ),
        ("", &["--node-name", "Gate 1"], &["flag --node-name", "node.name", "63 characters"]),
    ] {
        let file = folder.file("roadstead.toml", text);
        for command in [&["config", "check"][..], &["config", "print"], &["serve"]] {
            let (exit, out, err) = run(&[command, &["--config", &file], flags].concat());
            assert_eq!((exit, out.as_str()), (78, ""), "{command:?} {text} {flags:?}: {err}");
            for word in words {
                assert!(err.contains(word), "{command:?} {text} {flags:?}: {word} is not in: {err}");
            }
        }
    }
}

#[test]
fn problems_have_a_form_for_programs() {
    let (exit, out, _) =
        run(&["config", "check", "--set", "shards=0", "--set", "echo=2", "--output", "json"]);
    assert_eq!(exit, 78);
    let said: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(said["valid"], false);
    let keys: Vec<_> =
        said["problems"].as_array().expect("a list").iter().map(|p| p["key"].as_str()).collect();
    assert_eq!(keys, [Some("shards"), Some("echo")]);
}

#[test]
fn printing_tells_origins_and_hides_secrets() {
    let folder = Folder::new("cli");
    let file = folder.file("roadstead.toml", &format!("[token]\nhmac_secret = \"{SECRET}\"\n"));
    let mut command = roadstead(&["config", "print", "--shards", "3", "--output", "json"]);
    command.env("ROADSTEAD_CONFIG", &file).env("ROADSTEAD_CLIENT__PING_S", "20");
    let (exit, out, err) = said(command.output().expect("it runs"));
    assert_eq!(exit, 0, "{err}");
    assert!(!out.contains(SECRET));
    let printed: Value = serde_json::from_str(&out).expect("JSON");
    let settings = printed["settings"].as_array().expect("a list");
    for (key, value, origin) in [
        ("token.hmac_secret", Value::from("<redacted>"), format!("file {file}:2")),
        ("client.ping_s", Value::from(20), "env ROADSTEAD_CLIENT__PING_S".to_owned()),
        ("shards", Value::from(3), "flag --shards".to_owned()),
        ("echo", Value::from(false), "default".to_owned()),
    ] {
        let setting = settings.iter().find(|setting| setting["key"] == key).expect(key);
        assert_eq!((&setting["value"], setting["origin"].as_str()), (&value, Some(origin.as_str())), "{key}");
    }
}

#[test]
fn the_example_configuration_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/roadstead.toml");
    let text = fs::read_to_string(&file).expect("the example");
    let folder = Folder::new("cli");
    let secret = folder.file("hmac-secret", SECRET);
    let settings = ["config", "check", "--config", file.to_str().expect("UTF-8")];
    let (exit, _, err) =
        run(&[&settings[..], &["--set", &format!("token.hmac_secret_file={secret}")]].concat());
    assert_eq!(exit, 0, "{err}");
    let (_, printed, _) = run(&["config", "print", "--output", "json"]);
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    for setting in printed["settings"].as_array().expect("a list") {
        let name = setting["key"].as_str().and_then(|key| key.rsplit('.').next()).expect("a name");
        assert!(text.contains(name), "the example leaves out {}", setting["key"]);
    }
}

#[test]
fn fleet_keys_are_made_and_checked() {
    let folder = Folder::new("cli");
    let (exit, first, err) = run(&["cluster-key"]);
    assert_eq!(exit, 0, "{err}");
    let (_, second, _) = run(&["cluster-key"]);
    assert_ne!(first, second);
    let fleet = ["--cluster-listen", "127.0.0.1:7800", "--join", "127.0.0.1:7800,127.0.0.1:7801"];
    for (content, code, words) in [
        (format!("{first}{second}"), 0, "the configuration is valid"),
        (format!("{first}\n{first}"), 78, "line 5 repeats an earlier key"),
        (first.replace('=', "!"), 78, "line 2 is not base64"),
        (String::new(), 78, "holds no key"),
    ] {
        let file = folder.file("key", &content);
        let (exit, out, err) = run(&[&["config", "check", "--cluster-key-file", &file][..], &fleet].concat());
        assert_eq!(exit, code, "{err}");
        assert!(format!("{out}{err}").contains(words), "{out}{err}");
        if code != 0 {
            assert!(err.contains(&file), "{err}");
        }
        let key = first.lines().nth(1).expect("the key");
        assert!(!err.contains(key.trim_end_matches('=')), "no key is shown: {err}");
    }
}

#[test]
fn an_answer_that_is_lost_is_a_failure() {
    for command in [&["config", "print"][..], &["config", "check"], &["cluster-key"], &["version"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
        let (exit, _, err) = said(roadstead(command).stdout(full).output().expect("it runs"));
        assert_eq!(exit, 1, "{command:?}: {err}");
        assert!(err.contains("cannot write the answer"), "{command:?}: {err}");
    }
    // Whoever reads no further has what it wanted.
    let (reader, writer) = std::io::pipe().expect("made");
    drop(reader);
    let (exit, _, err) = said(roadstead(&["config", "print"]).stdout(writer).output().expect("it runs"));
    assert_eq!(exit, 0, "{err}");
}

#[test]
fn a_limit_that_leaves_no_room_is_a_demand_that_cannot_be_met() {
    let folder = Folder::new("cli");
    let socket = folder.path("admin.sock");
    let serve = [
        "serve",
        "--insecure",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "off",
        "--shards",
        "1",
        "--io",
        "epoll",
    ];
    let node = roadstead(&[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]).arg(node.get_program()).args(serve);
    let (exit, out, err) = said(limited.args(["--admin-socket", &socket]).output().expect("it runs"));
    assert_eq!((exit, out.as_str()), (78, ""), "{err}");
    assert!(err.contains("leaves no room for clients"), "{err}");
}

#[test]
fn without_a_node_queries_fail() {
    let folder = Folder::new("cli");
    for command in ["status", "shards", "drain"] {
        let (exit, out, err) = run(&[command, "--admin-socket", &folder.path("nothing.sock")]);
        assert_eq!((exit, out.as_str()), (1, ""));
        assert!(err.contains("nothing.sock"), "{err}");
    }
}

/// Something that answers as a node would, one time.
fn answer_once(path: &str, answer: &'static str) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("bound");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("asked");
        let mut asked = [0; 256];
        assert!(stream.read(&mut asked).expect("a request") > 0);
        stream.write_all(answer.as_bytes()).expect("answered");
    })
}

#[test]
fn a_node_that_keeps_silent_is_said_to_do_so() {
    let folder = Folder::new("cli");
    let socket = folder.path("silent.sock");
    let _silent = UnixListener::bind(&socket).expect("bound");
    let (exit, out, err) = run(&["status", "--admin-socket", &socket]);
    assert_eq!((exit, out.as_str()), (1, ""));
    assert!(err.contains("did not answer within 5 s") && !err.contains("os error"), "{err}");
}

#[test]
fn answers_that_are_not_whole_are_told_by_the_exit_code() {
    let folder = Folder::new("cli");
    for (index, (answer, code, words)) in [
        ("HTTP/1.0 200 OK\r\n\r\n{\"complete\":true}", 0, ""),
        ("HTTP/1.0 200 OK\r\n\r\n{\"complete\":false,\"shards\":[]}", 3, "did not answer in time"),
        ("HTTP/1.0 200 OK\r\n\r\nhello", 1, "not JSON"),
        ("HTTP/1.0 500 Oh\r\n\r\n", 1, "500 Oh"),
        ("", 1, "not complete"),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = folder.path(&format!("{index}.sock"));
        let node = answer_once(&socket, answer);
        let (exit, _, err) = run(&["shards", "--admin-socket", &socket]);
        assert_eq!(exit, code, "{answer}: {err}");
        assert!(err.contains(words), "{answer}: {err}");
        node.join().expect("it answered");
    }
}

/// Until the node says that it has read its configuration again.
fn wait_for_reload(socket: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, out, err) = run(&["status", "--admin-socket", socket, "--output", "json"]);
        let status: Value = serde_json::from_str(&out).expect("JSON");
        if status["reloads"]["applied"] == 1 {
            return;
        }
        assert!(Instant::now() < end, "no reload: {out}{err}");
    }
}

#[test]
fn a_node_answers_reloads_and_stops() {
    let folder = Folder::new("cli");
    let config = folder.file("roadstead.toml", "[client]\nping_s = 20\n");
    let node = Node::start(&folder, &["--insecure", "--config", &config, "--log-format", "json"]);
    let (listen, admin) = (node.address("listen"), node.address("admin"));
    assert_eq!(node.ready, format!("roadstead ready listen={listen} admin={admin} io=epoll shards=1\n"));

    let socket = folder.path("admin.sock");
    let (exit, out, err) = run(&["status", "--admin-socket", &socket, "--output", "json"]);
    assert_eq!(exit, 0, "{err}");
    let status: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&status["state"], &status["shards"]), (&Value::from("serving"), &Value::from(1)));
    let mut query = roadstead(&["shards"]);
    let (exit, out, _) = said(query.env("ROADSTEAD_ADMIN_SOCKET", &socket).output().expect("it runs"));
    assert_eq!((exit, out.lines().count()), (0, 2), "{out}");

    let (exit, _, err) = run(&["serve", "--insecure", "--listen", &listen.to_string(), "--admin", "off"]);
    assert_eq!(exit, 1, "{err}");
    assert!(err.contains("in use") && err.contains(&listen.to_string()), "{err}");

    folder.file("roadstead.toml", "[client]\nping_s = 10\n[log]\nlevel = \"warn\"\n");
    node.signal("HUP");
    wait_for_reload(&socket);
    node.signal("TERM");
    let (exit, out, log) = node.end();
    assert_eq!((exit, out.as_str()), (Some(0), ""), "{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert!(log.contains("only a restart applies it: client.ping_s"), "{log}");
    assert!(!Path::new(&socket).exists(), "the socket's file goes with its node");
}

#[test]
fn the_second_signal_does_not_wait_for_clients() {
    let folder = Folder::new("cli");
    let patience = ["--set", "shutdown.close_ms=300000", "--set", "client.close_timeout_s=60"];
    let node = Node::start(&folder, &[&["--insecure"][..], &patience].concat());
    let mut client = TcpStream::connect(node.address("listen")).expect("connected");
    let upgrade = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(upgrade.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 101");

    node.signal("TERM");
    // The close frame ends what the client hears; it does not answer, so the node waits.
    let end = Instant::now() + Duration::from_secs(20);
    while status_of(node.address("admin"), "/ready") != "503" {
        assert!(Instant::now() < end, "it does not drain");
    }
    node.signal("TERM");
    let (exit, _, log) = node.end();
    assert_eq!(exit, Some(1), "{log}");
    assert!(log.contains("told to stop a second time"), "{log}");
}

#[test]
fn a_drain_is_shown_taken_back_and_ends_the_process() {
    let folder = Folder::new("cli");
    let slow = ["--set", "shutdown.ready_delay_ms=600000", "--set", "shutdown.close_ms=100"];
    let mut node = Node::start(&folder, &[&["--insecure"][..], &slow].concat());
    let admin = node.address("admin");
    let socket = folder.path("admin.sock");
    let drain = |arguments: &[&str]| {
        let flags = ["--admin-socket", &socket, "--output", "json"];
        let (exit, out, err) = run(&[&["drain"], arguments, &flags].concat());
        assert_eq!(exit, 0, "{arguments:?}: {err}");
        let said: Value = serde_json::from_str(&out).expect("JSON");
        (said["phase"].as_str().expect("a phase").to_owned(), said["exit"] == true)
    };
    let is = |phase: &str, exits| (phase.to_owned(), exits);
    assert_eq!(drain(&["--status"]), is("serving", false));
    assert_eq!(drain(&["--cancel"]), is("serving", false));
    assert_eq!(status_of(admin, "/ready"), "200");
    assert_eq!(drain(&["--no-exit"]), is("announced", false));
    assert_eq!(status_of(admin, "/ready"), "503");
    assert_eq!(drain(&[]), is("announced", true));
    assert_eq!(drain(&["--cancel"]), is("serving", false));
    assert_eq!(status_of(admin, "/ready"), "200");

    // A signal is a wish to exit like any other: it can be taken back, and the next one is a first one again.
    node.signal("TERM");
    let end = Instant::now() + Duration::from_secs(20);
    while drain(&["--status"]).0 != "announced" {
        assert!(Instant::now() < end, "the signal is not heard");
    }
    assert_eq!(drain(&["--cancel"]), is("serving", false));
    assert!(node.runs());
    let (exit, out, _) = run(&["drain", "--admin-socket", &socket, "--no-exit"]);
    assert_eq!(exit, 0);
    assert!(out.contains("still accepting"), "{out}");
    node.signal("TERM");
    while !drain(&["--status"]).1 {
        assert!(Instant::now() < end, "the signal is not heard");
    }
    node.signal("TERM");
    let (exit, _, log) = node.end();
    assert_eq!(exit, Some(1), "{log}");
    assert!(log.contains("the drain is cancelled: serving again"), "{log}");
}

#[test]
fn a_drained_node_stays_as_long_as_it_is_wanted() {
    let folder = Folder::new("cli");
    let node = Node::start(&folder, &["--insecure"]);
    let socket = folder.path("admin.sock");
    let status = || run(&["drain", "--status", "--admin-socket", &socket, "--output", "json"]).1;
    let (exit, ..) = run(&["drain", "--no-exit", "--admin-socket", &socket]);
    assert_eq!(exit, 0);
    let end = Instant::now() + Duration::from_secs(20);
    while !status().contains("\"drained\"") {
        assert!(Instant::now() < end, "it is not drained");
    }
    assert_eq!(status_of(node.address("admin"), "/ready"), "503");
    let (exit, ..) = run(&["drain", "--admin-socket", &socket]);
    assert_eq!(exit, 0);
    let (exit, _, log) = node.end();
    assert_eq!(exit, Some(0), "{log}");
    assert!(log.contains("drained; the process stays"), "{log}");
}

#[test]
fn a_socket_in_use_is_not_taken_over() {
    let folder = Folder::new("cli");
    let node = Node::start(&folder, &["--insecure"]);
    let socket = folder.path("admin.sock");
    let (exit, _, err) =
        run(&["serve", "--insecure", "--listen", "127.0.0.1:0", "--admin", "off", "--admin-socket", &socket]);
    assert_eq!(exit, 1, "{err}");
    assert!(err.contains("another node serves it; choose another with --admin-socket"), "{err}");
    node.signal("TERM");
    assert_eq!(node.end().0, Some(0));
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced() {
    let folder = Folder::new("cli");
    let file = folder.file("notes.txt", "precious");
    let long = folder.path(&"x".repeat(120));
    for (socket, words) in [(&file, "is not a socket"), (&long, "at most 107")] {
        let listen = ["serve", "--insecure", "--listen", "127.0.0.1:0", "--admin", "off"];
        let (exit, out, err) = run(&[&listen[..], &["--admin-socket", socket]].concat());
        assert_eq!((exit, out.as_str()), (78, ""), "{err}");
        assert!(err.contains(words) && err.contains(socket.as_str()), "{err}");
    }
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
}

#[test]
fn an_admin_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = Folder::new("cli");
    let arguments = ["serve", "--insecure", "--listen", "127.0.0.1:0", "--admin", &address];
    let (exit, out, err) = run(&[&arguments[..], &["--admin-socket", &folder.path("a.sock")]].concat());
    assert_eq!((exit, out.as_str()), (1, ""), "{err}");
    assert!(err.contains(&address) && err.contains("in use"), "{err}");
}

#[test]
fn the_page_is_served_to_loopback_names_only() {
    let folder = Folder::new("cli");
    let node = Node::start(&folder, &["--insecure"]);
    for (host, status) in [("localhost", "200"), ("evil.example", "403")] {
        let mut stream = TcpStream::connect(node.address("admin")).expect("connected");
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert_eq!(answer.split(' ').nth(1), Some(status), "{host}");
    }
    node.signal("INT");
    assert_eq!(node.end().0, Some(0));
}
