//! The admin interface over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::*;
use crate::flow::{LocatedEntry, Unlocated};
use crate::health::{DrainPhase, DrainStatus, State};
use roadstead_control::{
    ClusterName, FleetTally, Incarnation, Member, MemberState, MemberStatus, NodeId, NodeName, Region,
    Roster, Standing, Version, View, Weight,
};

pub(super) fn subject(shards: usize) -> Subject {
    Subject {
        name: "test".into(),
        io: "epoll".into(),
        listen: Vec::new(),
        tls: false,
        insecure: true,
        echo: false,
        counters: (0..shards).map(|_| Arc::new(Counters::default())).collect(),
        health: Arc::new(Health::new(shards, 0)),
        admission: Arc::new(Admission::new(shards as u16, 0, false, false)),
        guards: Arc::new(Guards::new(Arc::default(), (1, 2))),
        started: Instant::now(),
        wishes: Wishes(Arc::new(|wish, granted| {
            let phase = if wish == Wish::Cancel { DrainPhase::Serving } else { DrainPhase::Announced };
            let exits = wish == Wish::Drain { exits: true };
            granted.send(Some(DrainStatus { phase, exits, connections: 7, left_ms: 40_000 })).is_ok()
        })),
        revocations: RevocationDesk {
            revoke: Arc::new(|_, answer| answer.send(Revoked::Done { is_durable: true }).is_ok()),
            standing: Arc::new(|| (Arc::default(), Some(true))),
        },
        key_sets: KeySetDesk(Arc::new(Vec::new)),
        node: NodeName::new("test").expect("a name"),
        region: Region::new("here").expect("a name"),
        finder: Finder(Arc::new(|user| match user {
            "ada" => Ok(vec![LocatedEntry { node: NodeId(7), shard: 1, connection: 1 << 56 | 5, age_s: 60 }]),
            "bob" => Err(Unlocated::NoAnswer),
            _ => Ok(Vec::new()),
        })),
        fleet: None,
    }
}

/// A server API without shards.
fn nobody_answers() -> ApiParts {
    let (_, woken) = UnixStream::pair().expect("sockets");
    ApiParts {
        asks: Vec::new(),
        wake: Arc::new(|_| ()),
        told: crossbeam_channel::never(),
        woken,
        keys: ApiKeys::new(&crate::settings::Settings::default()),
    }
}

/// A fleet of this node and another, which is suspected; a third is down.
pub(super) fn fleet() -> FleetSubject {
    let member = |name: &str| Member {
        name: NodeName::new(name).expect("a name"),
        incarnation: Incarnation(5),
        revision: 0,
        address: ([127, 0, 0, 1], 7800).into(),
        region: Region::new("here").expect("a name"),
        weight: Weight::default(),
        version: Version(0, 1, 0),
        shards: 2,
        draining: false,
        settled: false,
        connections: 70,
    };
    let status = |name, state| MemberStatus { member: member(name), state };
    let view = View::new(3, ["test", "other"].map(|name| member(name).in_view())).expect("two nodes");
    let mut members = vec![member("test"), member("other")];
    members.sort_by_key(Member::id);
    let picture = Picture {
        standing: Standing::Serving,
        members: vec![
            status("test", MemberState::Alive),
            status("other", MemberState::Suspect),
            status("gone", MemberState::Down),
        ],
        roster: Some(Arc::new(Roster { view, members })),
        tally: FleetTally { datagrams_received: 11, rejected_key: 2, deaths: 1, ..FleetTally::default() },
    };
    FleetSubject {
        cluster: ClusterName::new("roadstead").expect("a name"),
        pictures: Pictures(Arc::new(move || picture.clone())),
        shares: Shares::default(),
    }
}

fn get(stream: impl Read + Write, path: &str, headers: &str) -> (u16, String, String) {
    request(stream, "GET", path, headers)
}

fn request(mut stream: impl Read + Write, method: &str, path: &str, headers: &str) -> (u16, String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

#[test]
fn doors_answer_as_their_rules_say() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = tcp.local_addr().expect("an address");
    let path = std::env::temp_dir().join(format!("roadstead-admin-{}.sock", std::process::id()));
    let unix = socket::bind(&path).expect("bound");
    let subject = subject(1);
    let health = Arc::clone(&subject.health);
    let doors = Doors { tcp: Some(tcp), key: Some(Secret::new("k")), unix: Some(unix), api: None };
    start(doors, subject, nobody_answers()).expect("started");
    let over_tcp =
        |path: &str, headers: &str| get(TcpStream::connect(address).expect("connected"), path, headers);
    let over_unix = |uri: &str| get(UnixStream::connect(&path).expect("connected"), uri, "Host: node\r\n");

    assert_eq!(over_tcp("/ready", "Host: x\r\n").0, 503);
    health.set_state(State::Serving);
    for (path, headers, status) in [
        ("/ready", "Host: x\r\n", 200),
        ("/live", "Host: x\r\n", 200),
        ("/health", "Host: x\r\n", 200),
        ("/", "Host: x\r\n", 200),
        ("/page.js", "Host: x\r\n", 200),
        ("/status", "Host: x\r\n", 401),
        ("/metrics", "Host: x\r\n", 401),
        ("/shards", "Host: x\r\nX-API-Key: wrong\r\n", 401),
        ("/status", "Host: x\r\nX-API-Key: k\r\n", 200),
        ("/metrics", "Host: x\r\nAuthorization: apikey k\r\n", 200),
        ("/nothing", "Host: x\r\nX-API-Key: k\r\n", 404),
        ("/nodes", "Host: x\r\n", 401),
        ("/nodes", "Host: x\r\nX-API-Key: k\r\n", 200),
        ("/connections?user=ada", "Host: x\r\n", 401),
        ("/connections?user=ada", "Host: x\r\nX-API-Key: k\r\n", 200),
        ("/connections?user=bob", "Host: x\r\nX-API-Key: k\r\n", 503),
        ("/connections?user=", "Host: x\r\nX-API-Key: k\r\n", 400),
        ("/connections", "Host: x\r\nX-API-Key: k\r\n", 400),
        ("/connections?user=a&user=b", "Host: x\r\nX-API-Key: k\r\n", 400),
        ("/health", "", 400),
        ("/health", "Host: x\r\nHost: x\r\n", 400),
    ] {
        let (code, head, body) = over_tcp(path, headers);
        assert_eq!(code, status, "{path} {headers}");
        if code == 400 {
            let said: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert!(
                said["error"].is_string() && head.contains("application/json"),
                "{path} {headers}: {said}"
            );
        }
    }
    let (_, head, body) = over_tcp("/", "Host: x\r\n");
    assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(!body.contains("<script>") && !body.contains("style="), "no inline code passes the policy");
    health.set_state(State::Draining);
    assert_eq!(over_tcp("/ready", "Host: x\r\n").0, 503);

    let (status, _, body) = over_unix("/status");
    assert_eq!(status, 200);
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status["state"], "draining");
    assert_eq!(over_unix("/shards").0, 200);
    for (method, uri, phase, exit) in [
        ("POST", "/drain", "announced", true),
        ("POST", "/drain?exit=false", "announced", false),
        ("DELETE", "/drain", "serving", false),
        ("GET", "/drain", "serving", false),
    ] {
        let stream = UnixStream::connect(&path).expect("connected");
        let (status, _, body) = request(stream, method, uri, "Host: node\r\n");
        assert_eq!(status, 200, "{method} {uri}: {body}");
        let drain: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((&drain["phase"], &drain["exit"]), (&phase.into(), &exit.into()), "{method} {uri}");
    }
    let stream = TcpStream::connect(address).expect("connected");
    assert_eq!(request(stream, "POST", "/drain", "Host: x\r\n").0, 401, "it takes the key");
    std::fs::remove_file(&path).expect("removed");
}

#[test]
fn users_are_found_with_the_ids_that_their_clients_have() {
    let path = std::env::temp_dir().join(format!("roadstead-admin-users-{}.sock", std::process::id()));
    let unix = socket::bind(&path).expect("bound");
    let doors = Doors { unix: Some(unix), ..Doors::default() };
    start(doors, subject(2), nobody_answers()).expect("started");
    let ask = |uri: &str| {
        let stream = UnixStream::connect(&path).expect("connected");
        let (_, _, body) = get(stream, uri, "Host: node\r\n");
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
    };
    let found = ask("/connections?user=ada");
    assert_eq!(found["connections"][0]["client"], "00000007-0001-0000-0005-000000000000");
    assert_eq!(
        (&found["connections"][0]["shard"], &found["connections"][0]["age_s"]),
        (&json!(1), &json!(60))
    );
    assert_eq!(ask("/connections?user=nobody")["connections"], json!([]));
    let nodes = ask("/nodes");
    assert_eq!((&nodes["fleet"], &nodes["nodes"][0]["name"]), (&json!(null), &json!("test")));
    let _ = std::fs::remove_file(&path);
}

#[test]
fn silent_connections_keep_nobody_out() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = tcp.local_addr().expect("an address");
    let doors = Doors { tcp: Some(tcp), ..Doors::default() };
    start(doors, subject(1), nobody_answers()).expect("started");
    let connect = || {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        stream
    };
    let mut silent: Vec<TcpStream> = (0..ADMIN_CONNECTIONS_MAX + 8).map(|_| connect()).collect();
    for path in ["/live", "/health", "/metrics"] {
        assert_eq!(get(connect(), path, "Host: localhost\r\n").0, 200, "{path}");
    }
    // Those that have waited longest made room; the last still has its place.
    assert_eq!(silent.remove(0).read(&mut [0; 1]).expect("closed"), 0);
    assert_eq!(get(silent.pop().expect("the last"), "/health", "Host: localhost\r\n").0, 200);
}

#[test]
fn a_head_that_trickles_in_is_given_up() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = tcp.local_addr().expect("an address");
    tcp.set_nonblocking(true).expect("set");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(tcp).expect("taken");
            let routes = routes(Arc::new(subject(1)));
            connections::serve(listener, routes, Duration::from_millis(200), ADMIN_CONNECTIONS_MAX).await
        })
    });
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_millis(5))).expect("set");
    stream.write_all(b"GET /health HTTP/1.1\r\nX: ").expect("sent");
    // Each byte comes long before the time is over.
    for _ in 0..4_000 {
        let is_over = stream.write_all(b"a").is_err() || matches!(stream.read(&mut [0; 256]), Ok(0));
        if is_over {
            return;
        }
    }
    panic!("the head may trickle for ever");
}
