//! What a running node does with strangers: whom it refuses, how it says so, whom it bans, and whose word it takes for where a
//! client comes from.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::node::{Node, answer_of};
use crate::surroundings::{Folder, roadstead};

/// Far more than anything here takes; tests that wait for longer have failed.
const PATIENCE: Duration = Duration::from_secs(20);
const BACK_ENDS: [&str; 2] = ["epoll", "io_uring"];

/// The request of a client whom, according to these header lines, proxies have passed on.
fn request(headers: &str) -> Vec<u8> {
    format!(
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .into_bytes()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// A head, or what came of it before the end.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        match stream.read(&mut byte) {
            Ok(1) => head.extend(byte),
            _ => break,
        }
    }
    String::from_utf8(head).expect("UTF-8")
}

/// Status and `Retry-After` of an answer; (0, 0): closed without one.
fn verdict(head: &str) -> (u16, u64) {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let retry = head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    (status, retry.map_or(0, |seconds| seconds.parse().expect("seconds")))
}

/// Sends it and gives the connection with the answer's verdict.
fn ask(address: SocketAddr, sent: &[u8]) -> (TcpStream, (u16, u64)) {
    let mut stream = connect(address);
    // Who is refused at once may be gone before all of it is sent.
    let _ = stream.write_all(sent);
    let verdict = verdict(&head(&mut stream));
    (stream, verdict)
}

fn status(address: SocketAddr, sent: &[u8]) -> u16 {
    ask(address, sent).1.0
}

/// Tries until it is answered so.
fn wait_for(address: SocketAddr, sent: &[u8], status: u16) -> TcpStream {
    let end = Instant::now() + PATIENCE;
    loop {
        let (stream, (said, _)) = ask(address, sent);
        if said == status {
            return stream;
        }
        assert!(Instant::now() < end, "{said} and never {status}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn arguments<'a>(io: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--insecure", "--echo", "--io", io, "--set", "guard.exempt="];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    arguments
}

/// Waits for a series of the metrics to have this value.
fn wait_for_metric(node: &Node, series: &str, value: u64) {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = answer_of(node.address("admin"), "/metrics");
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        if found.and_then(|found| found.parse().ok()) == Some(value) {
            return;
        }
        assert!(Instant::now() < end, "{series} is {found:?}, not {value}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn refused(reason: &str) -> String {
    format!("roadstead_guard_refused_total{{reason=\"{reason}\"}}")
}

/// What a command says to the node of this folder: exit code and output.
fn command(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String) {
    let socket = folder.path("admin.sock");
    let done = roadstead(&[arguments, &["--admin-socket", &socket]].concat()).output().expect("it runs");
    (done.status.code(), String::from_utf8(done.stdout).expect("UTF-8"))
}

#[test]
fn a_source_has_so_many_connections() {
    let folder = Folder::new("guards");
    for io in BACK_ENDS {
        let node = Node::start(&folder, &arguments(io, &["guard.connections_per_source=3"]));
        let listen = node.address("listen");
        let mut served: Vec<TcpStream> = (0..3).map(|_| wait_for(listen, &request(""), 101)).collect();
        assert_eq!(ask(listen, &request("")).1, (429, 10), "{io}");
        wait_for_metric(&node, &refused("connections"), 1);
        served.pop();
        served.push(wait_for(listen, &request(""), 101));
        // Many of them at once are refused without a word, and harm nobody.
        let mut silent: Vec<TcpStream> = (0..200).map(|_| connect(listen)).collect();
        for stream in &mut served {
            stream.write_all(b"\x81\x83\0\0\0\0abc").expect("sent");
            let mut echoed = [0; 5];
            stream.read_exact(&mut echoed).expect("echoed");
        }
        let closed = silent.iter_mut().map(|stream| stream.read(&mut [0; 1]));
        assert!(closed.filter(|read| matches!(read, Ok(0))).count() > 150, "{io}");
        node.signal("TERM");
        let log = node.end().2;
        assert!(log.contains("their source has guard.connections_per_source connections"), "{log}");
    }
}

#[test]
fn shards_count_a_source_together() {
    let folder = Folder::new("guards");
    let arguments =
        ["--insecure", "--echo", "--set", "guard.exempt=", "--set", "guard.connections_per_source=20"];
    let node = Node::start_on(&folder, "epoll", 4, &arguments);
    let listen = node.address("listen");
    let _served: Vec<TcpStream> = (0..20).map(|_| wait_for(listen, &request(""), 101)).collect();
    for _ in 0..20 {
        assert_eq!(status(listen, &request("")), 429);
    }
}

#[test]
fn a_source_of_ipv6_is_a_network() {
    let folder = Folder::new("guards");
    let mut given = arguments("epoll", &["guard.connections_per_source=2", "guard.ban_points=1"]);
    given.extend(["--listen", "[::1]:0"]);
    let node = Node::start(&folder, &given);
    let v6 = node.addresses("listen").into_iter().find(SocketAddr::is_ipv6).expect("an address of IPv6");
    let _served: Vec<TcpStream> = (0..2).map(|_| wait_for(v6, &request(""), 101)).collect();
    assert_eq!(status(v6, &request("")), 429);
    assert!(command(&folder, &["sources"]).1.contains("::/64"));
    let mut wrong = wait_for(node.address("listen"), &request(""), 101);
    wrong.write_all(b"\x81\x03abc").expect("sent");
    wrong.read_to_end(&mut Vec::new()).expect("closed");
    assert_eq!(status(node.address("listen"), &request("")), 403);
    let bans = command(&folder, &["bans", "--output", "json"]).1;
    assert!(
        bans.contains("\"127.0.0.1\"") && !bans.contains("::/64"),
        "the other source is not banned: {bans}"
    );
}

#[test]
fn connections_of_a_source_are_paced() {
    let folder = Folder::new("guards");
    let rules = ["guard.connects_per_s=1", "guard.burst_s=5"];
    let node = Node::start(&folder, &arguments("epoll", &rules));
    let listen = node.address("listen");
    let answers: Vec<(u16, u64)> = (0..30).map(|_| ask(listen, &request("")).1).collect();
    assert!(answers[..5].iter().all(|answer| *answer == (101, 0)), "{answers:?}");
    assert!(answers.contains(&(429, 1)), "{answers:?}");
    wait_for(listen, &request(""), 101);
}

#[test]
fn lists_decide_who_is_let_in() {
    let folder = Folder::new("guards");
    for (lists, status_expected) in [
        (&["guard.deny=127.0.0.0/8"][..], 403),
        (&["guard.deny=10.0.0.0/8,::1"], 101),
        (&["guard.allow=192.0.2.0/24"], 403),
        (&["guard.allow=127.0.0.1,192.0.2.0/24"], 101),
        (&["guard.allow=127.0.0.1", "guard.deny=127.0.0.1"], 403),
    ] {
        let node = Node::start(&folder, &arguments("epoll", lists));
        assert_eq!(status(node.address("listen"), &request("")), status_expected, "{lists:?}");
    }
}

#[test]
fn pages_of_other_hosts_are_refused() {
    let folder = Folder::new("guards");
    let origins = ["client.allowed_origins=https://app.example,https://*.below.example"];
    let node = Node::start(&folder, &arguments("epoll", &origins));
    for (origin, expected) in [
        ("https://app.example", 101),
        ("https://a.b.below.example", 101),
        ("https://below.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost", 101),
    ] {
        let asked = request(&format!("Origin: {origin}\r\n"));
        assert_eq!(status(node.address("listen"), &asked), expected, "{origin}");
    }
    wait_for_metric(&node, &refused("origin"), 3);
}

#[test]
fn a_reload_changes_the_lists() {
    let folder = Folder::new("guards");
    let config = folder.file("roadstead.toml", "");
    let node = Node::start(&folder, &["--insecure", "--echo", "--config", &config]);
    let mut served = wait_for(node.address("listen"), &request(""), 101);
    folder.file("roadstead.toml", "[guard]\ndeny = [\"127.0.0.1\"]\n");
    node.signal("HUP");
    wait_for(node.address("listen"), &request(""), 403);
    served.write_all(b"\x81\x83\0\0\0\0abc").expect("sent");
    served.read_exact(&mut [0; 5]).expect("who is here stays");
    folder.file("roadstead.toml", "");
    node.signal("HUP");
    wait_for(node.address("listen"), &request(""), 101);
}

#[test]
fn who_does_wrong_is_banned_for_a_while() {
    let folder = Folder::new("guards");
    for io in BACK_ENDS {
        let node = Node::start(&folder, &arguments(io, &["guard.ban_points=12", "guard.ban_s=600"]));
        let listen = node.address("listen");
        let mut served = wait_for(listen, &request(""), 101);
        // Three paths that are not there and two frames without a mask are 13 points, but for what fades meanwhile.
        for _ in 0..3 {
            assert_eq!(status(listen, b"GET /.env HTTP/1.1\r\nHost: a\r\n\r\n"), 404, "{io}");
        }
        for _ in 0..2 {
            let mut wrong = wait_for(listen, &request(""), 101);
            wrong.write_all(b"\x81\x03abc").expect("sent");
            let mut said = Vec::new();
            wrong.read_to_end(&mut said).expect("closed");
            assert_eq!(&said[2..4], 1_002_u16.to_be_bytes(), "{io}");
        }
        let (_, (status_said, retry_s)) = ask(listen, &request(""));
        assert_eq!(status_said, 403, "{io}");
        assert!((590..=600).contains(&retry_s), "{io}: {retry_s}");
        served.write_all(b"\x81\x83\0\0\0\0abc").expect("sent");
        served.read_exact(&mut [0; 5]).expect("who is here stays");
        wait_for_metric(&node, &refused("banned"), 1);
        wait_for_metric(&node, "roadstead_guard_bans_total", 1);
        wait_for_metric(&node, "roadstead_guard_banned", 1);
        wait_for_metric(&node, "roadstead_guard_faults_total{kind=\"frame\"}", 2);

        let (code, text) = command(&folder, &["bans"]);
        assert!(code == Some(0) && text.contains("127.0.0.1"), "{text}");
        let (code, text) = command(&folder, &["sources"]);
        assert!(code == Some(0) && text.contains("1 are banned") && text.contains("by connects:"), "{text}");
        assert_eq!(command(&folder, &["bans", "lift", "192.0.2.1"]).0, Some(1), "not banned");
        assert_eq!(command(&folder, &["bans", "lift", "nobody"]).0, Some(1));
        let (code, text) = command(&folder, &["bans", "lift", "127.0.0.1"]);
        assert_eq!((code, text.trim()), (Some(0), "127.0.0.1 is not banned any more"));
        assert_eq!(status(listen, &request("")), 101, "{io}");
        assert_eq!(command(&folder, &["bans"]).1.trim(), "nobody is banned");
        node.signal("TERM");
        let log = node.end().2;
        assert!(
            log.contains("127.0.0.1 is banned for 600 s: 3 handshake failures, 2 invalid frames"),
            "{log}"
        );
    }
}

#[test]
fn bad_tokens_for_channels_are_remembered_of_their_source() {
    let folder = Folder::new("guards");
    for io in BACK_ENDS {
        let node = Node::start(&folder, &arguments(io, &["guard.ban_points=5", "guard.ban_s=600"]));
        let listen = node.address("listen");
        let client = String::from_utf8(request("")).expect("text").replace("/echo", "/connection/websocket");
        let (mut stream, _) = ask(listen, client.as_bytes());
        // Three bad ones are 6 points; one more is behind them, and who is here stays.
        for command in [
            r#"{"id":1,"connect":{}}"#,
            r#"{"id":2,"subscribe":{"channel":"a","token":"a.b.c"}}"#,
            r#"{"id":3,"subscribe":{"channel":"b","token":"a.b.c"}}"#,
            r#"{"id":4,"subscribe":{"channel":"c","token":"a.b.c"}}"#,
            r#"{"id":5,"subscribe":{"channel":"d","token":"a.b.c"}}"#,
        ] {
            let head = [0x81, 0x80 | command.len() as u8, 0, 0, 0, 0];
            stream.write_all(&[&head, command.as_bytes()].concat()).expect("sent");
        }
        let mut heard = String::new();
        while !heard.contains(r#"{"id":5,"error":{"code":103"#) {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).expect("answers");
            assert!(count > 0, "{io}: closed after {heard}");
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        wait_for(listen, &request(""), 403);
        wait_for_metric(&node, "roadstead_guard_faults_total{kind=\"token\"}", 4);
    }
}

#[test]
fn only_trusted_proxies_say_whom_they_speak_for() {
    let folder = Folder::new("guards");
    let deny = "guard.deny=192.0.2.0/24";
    let (trusted, none) = ("proxy.trusted=127.0.0.1,10.0.0.0/8", "proxy.trusted=");
    for (trusted, header, headers, expected) in [
        (trusted, "x-forwarded-for", "", 101),
        (trusted, "x-forwarded-for", "X-Forwarded-For: 198.51.100.1\r\n", 101),
        (trusted, "x-forwarded-for", "X-Forwarded-For: 192.0.2.1\r\n", 403),
        (trusted, "x-forwarded-for", "X-Forwarded-For: 198.51.100.1, 192.0.2.1\r\n", 403),
        (trusted, "x-forwarded-for", "X-Forwarded-For: 192.0.2.1, 198.51.100.1\r\n", 101),
        (trusted, "x-forwarded-for", "X-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 10.1.2.3\r\n", 403),
        (trusted, "x-forwarded-for", "Forwarded: for=192.0.2.1\r\n", 101),
        (trusted, "forwarded", "Forwarded: for=198.51.100.1, for=192.0.2.1;proto=https\r\n", 403),
        (trusted, "forwarded", "X-Forwarded-For: 192.0.2.1\r\n", 101),
        (trusted, "off", "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n", 101),
        (none, "x-forwarded-for", "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n", 101),
    ] {
        let header = format!("proxy.header={header}");
        let node = Node::start(&folder, &arguments("epoll", &[deny, trusted, &header]));
        assert_eq!(
            status(node.address("listen"), &request(headers)),
            expected,
            "{trusted} {header} {headers}"
        );
    }
}

/// The PROXY header of version 2 for a client.
fn binary_header(client: Ipv4Addr) -> Vec<u8> {
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [&fixed[..], &client.octets(), &[127, 0, 0, 1], &[0x12, 0x34, 0, 80]].concat()
}

#[test]
fn proxies_introduce_their_clients() {
    let folder = Folder::new("guards");
    for io in BACK_ENDS {
        let rules = [
            "guard.deny=192.0.2.0/24",
            "guard.connections_per_source=2",
            "proxy.trusted=127.0.0.1",
            "proxy.listen=127.0.0.1:0",
        ];
        let node = Node::start(&folder, &arguments(io, &rules));
        let [direct, proxied] = node.addresses("listen")[..] else { panic!("{}", node.ready) };
        let line = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n").into_bytes();
        let with = |header: Vec<u8>, headers: &str| [header, request(headers)].concat();
        for (sent, expected) in [
            (with(line("198.51.100.1"), ""), 101),
            (with(line("192.0.2.1"), ""), 403),
            (with(binary_header(Ipv4Addr::new(198, 51, 100, 1)), ""), 101),
            (with(binary_header(Ipv4Addr::new(192, 0, 2, 1)), ""), 403),
            (with(b"PROXY UNKNOWN\r\n".to_vec(), ""), 101),
            (with(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), ""), 101),
            // A client cannot speak for another one, whether it is introduced or not.
            (with(line("198.51.100.1"), "X-Forwarded-For: 192.0.2.1\r\n"), 101),
            (with(line("192.0.2.1"), "X-Forwarded-For: 198.51.100.1\r\n"), 403),
            // A second header is no request.
            (with([line("198.51.100.1"), line("198.51.100.1")].concat(), ""), 400),
            (request(""), 0),
            (with(b"PROXY TCP4 192.0.2.1\r\n".to_vec(), ""), 0),
        ] {
            assert_eq!(status(proxied, &sent), expected, "{io}: {:?}", String::from_utf8_lossy(&sent));
        }
        wait_for_metric(&node, &refused("proxy_header"), 2);
        assert_eq!(status(direct, &with(line("198.51.100.1"), "")), 400, "{io}: nobody is introduced there");

        // Byte by byte.
        let mut stream = connect(proxied);
        stream.set_nodelay(true).expect("set");
        for byte in with(line("203.0.113.1"), "") {
            stream.write_all(&[byte]).expect("sent");
        }
        assert_eq!(verdict(&head(&mut stream)), (101, 0), "{io}");
        // Counted by client, not by proxy.
        let of = |last: u8| with(binary_header(Ipv4Addr::new(203, 0, 113, last)), "");
        let mut served = vec![stream, wait_for(proxied, &of(1), 101)];
        assert_eq!(status(proxied, &of(1)), 429, "{io}");
        served.extend((2..20).map(|last| wait_for(proxied, &of(last), 101)));
        drop(served);
        wait_for(proxied, &of(1), 101);
    }
}

#[test]
fn who_is_no_trusted_proxy_is_not_heard() {
    let folder = Folder::new("guards");
    let rules = ["proxy.trusted=192.0.2.1", "proxy.listen=127.0.0.1:0"];
    let node = Node::start(&folder, &arguments("epoll", &rules));
    let proxied = node.addresses("listen")[1];
    let introduced = [b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n".to_vec(), request("")].concat();
    assert_eq!(status(proxied, &introduced), 0);
    wait_for_metric(&node, &refused("no_proxy"), 1);
    assert_eq!(status(node.addresses("listen")[0], &request("")), 101);
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let folder = Folder::new("guards");
    let rules = ["proxy.trusted=127.0.0.1", "proxy.listen=127.0.0.1:0", "client.handshake_timeout_s=1"];
    let node = Node::start(&folder, &arguments("epoll", &rules));
    for begun in [&b""[..], b"PROXY TCP4 198.51.100.1", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\0"] {
        let mut stream = connect(node.addresses("listen")[1]);
        stream.write_all(begun).expect("sent");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("closed in time");
        assert!(said.is_empty(), "{said:?}");
    }
}

#[test]
fn listeners_open_again_as_they_were() {
    let folder = Folder::new("guards");
    let rules = ["proxy.trusted=127.0.0.1", "proxy.listen=127.0.0.1:0", "guard.deny=192.0.2.1"];
    let node = Node::start(&folder, &arguments("epoll", &rules));
    let [direct, proxied] = node.addresses("listen")[..] else { panic!("{}", node.ready) };
    assert_eq!(command(&folder, &["drain", "--no-exit", "--wait"]).0, Some(0));
    assert_eq!(command(&folder, &["drain", "--cancel"]).0, Some(0));
    let introduced = |client: &str| {
        [format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n").into_bytes(), request("")].concat()
    };
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(direct).is_err() || TcpStream::connect(proxied).is_err() {
        assert!(Instant::now() < end, "not open again");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(status(direct, &request("")), 101);
    assert_eq!(status(proxied, &introduced("198.51.100.1")), 101);
    assert_eq!(status(proxied, &introduced("192.0.2.1")), 403);
    assert_eq!(status(proxied, &request("")), 0);
}

#[test]
fn loopback_is_exempt_by_default() {
    let folder = Folder::new("guards");
    let strict = ["--set", "guard.connections_per_source=1", "--set", "guard.ban_points=1"];
    let node = Node::start(&folder, &[&["--insecure", "--echo"][..], &strict].concat());
    let listen = node.address("listen");
    assert!(IpAddr::is_loopback(&listen.ip()));
    let served: Vec<TcpStream> = (0..5).map(|_| wait_for(listen, &request(""), 101)).collect();
    for _ in 0..5 {
        assert_eq!(status(listen, b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"), 404);
    }
    assert_eq!((status(listen, &request("")), served.len()), (101, 5));
}
