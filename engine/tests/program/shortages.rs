//! What a node does that runs out of something: who is here is served on, who comes is refused or waits, the metrics and the
//! log say why, and it goes on by itself when there is room again. On both back ends.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::surroundings::Folder;

/// Far more than anything here takes; tests that wait for longer have failed.
const PATIENCE: Duration = Duration::from_secs(30);
const BACK_ENDS: [&str; 2] = ["epoll", "io_uring"];

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// A connection that has asked for `/echo`, and was not answered yet.
fn asking(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream
        .write_all(
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .expect("sent");
    stream
}

/// The status that a request is answered with. What follows the head stays unread.
fn status(stream: &mut TcpStream) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).expect("answered in time");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("UTF-8");
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// A client that is served.
fn served(address: SocketAddr) -> TcpStream {
    let mut stream = asking(address);
    assert_eq!(status(&mut stream), 101);
    stream
}

/// Tries until a client is served.
fn served_at_last(address: SocketAddr) -> TcpStream {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut stream = asking(address);
        match status(&mut stream) {
            101 => return stream,
            status => assert_eq!(status, 503),
        }
        assert!(Instant::now() < end, "refused all the time");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The client is served still.
fn assert_unharmed(stream: &mut TcpStream) {
    // A masked text frame; a mask of zeros leaves the text as it is.
    stream.write_all(b"\x81\x83\0\0\0\0abc").expect("sent");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("echoed");
    assert_eq!(&answer, b"\x81\x03abc");
}

/// One connection to the admin address, made while there was room for it.
struct Metrics(BufReader<TcpStream>);

impl Metrics {
    fn of(node: &Node) -> Self {
        Self(BufReader::new(connect(node.address("admin"))))
    }

    /// The value of a series now.
    fn value(&mut self, series: &str) -> u64 {
        self.0.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).expect("a text");
        let text = String::from_utf8(text).expect("UTF-8");
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{series} is not in {text}"))
    }

    /// Waits for a series to be as `fits` wants it.
    fn wait(&mut self, series: &str, fits: impl Fn(u64) -> bool) -> u64 {
        let end = Instant::now() + PATIENCE;
        loop {
            let value = self.value(series);
            if fits(value) {
                return value;
            }
            assert!(Instant::now() < end, "{series} stays {value}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn refused(reason: &str) -> String {
    format!("roadstead_connections_refused_total{{reason=\"{reason}\"}}")
}

/// Ends the node and looks for words in its log.
fn assert_logged(node: Node, words: &[&str]) {
    node.signal("TERM");
    let (code, _, log) = node.end();
    assert_eq!(code, Some(0), "{log}");
    for words in words {
        assert!(log.contains(words), "{words:?} is not in {log}");
    }
}

fn arguments<'a>(io: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--insecure", "--echo", "--io", io];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    arguments
}

/// What is the same wherever a bound of connections is reached: one more is refused and counted, nobody is harmed, and a
/// place that is free is taken.
fn assert_full(node: &Node, clients: &mut Vec<TcpStream>, reason: &str) {
    let mut metrics = Metrics::of(node);
    let listen = node.address("listen");
    let before = metrics.value(&refused(reason));
    assert_eq!(status(&mut asking(listen)), 503);
    metrics.wait(&refused(reason), |value| value > before);
    metrics.wait("roadstead_ready", |ready| ready == 0);
    clients.iter_mut().for_each(assert_unharmed);
    drop(clients.pop());
    clients.push(served_at_last(listen));
    clients.iter_mut().for_each(assert_unharmed);
}

#[test]
fn connections_run_out() {
    let folder = Folder::new("shortages");
    for io in BACK_ENDS {
        let node = Node::start(&folder, &arguments(io, &["limits.connections=3"]));
        let mut clients: Vec<TcpStream> = (0..3).map(|_| served(node.address("listen"))).collect();
        assert_full(&node, &mut clients, "connections");
        assert_logged(node, &["clients are refused with 503: limits.connections is reached", "full: 3 of 3"]);
    }
}

#[test]
fn the_descriptor_limit_allows_fewer_connections() {
    let folder = Folder::new("shortages");
    let arguments = arguments("epoll", &["limits.connections=1000"]);
    let node = Node::start_with_descriptors(&folder, 200, &arguments);
    let max = Metrics::of(&node).value("roadstead_connections_max");
    assert!((1..200).contains(&max), "{max}");
    let mut clients: Vec<TcpStream> = (0..max).map(|_| served(node.address("listen"))).collect();
    assert_full(&node, &mut clients, "descriptors");
    assert_logged(
        node,
        &["the descriptor limit of 200 is below", "the descriptor limit allows no more connections"],
    );
}

#[test]
fn rings_make_up_for_few_descriptors() {
    let folder = Folder::new("shortages");
    let arguments = arguments("io_uring", &["limits.connections=250"]);
    let node = Node::start_with_descriptors(&folder, 200, &arguments);
    let mut clients: Vec<TcpStream> = (0..250).map(|_| served(node.address("listen"))).collect();
    assert_full(&node, &mut clients, "connections");
}

#[test]
fn descriptors_run_out() {
    let folder = Folder::new("shortages");
    for io in BACK_ENDS {
        let arguments = arguments(io, &["limits.connections=250"]);
        // So few that the clients that come need a second ring on io_uring; enough for all of them on epoll.
        let limit = if io == "epoll" { 600 } else { 200 };
        let node = Node::start_with_descriptors(&folder, limit, &arguments);
        let listen = node.address("listen");
        let mut metrics = Metrics::of(&node);
        let mut first = served(listen);
        let open = metrics.value("process_open_fds");

        node.limit_descriptors(open + 2);
        let mut clients: Vec<TcpStream> = (0..240).map(|_| asking(listen)).collect();
        let series = "roadstead_accept_failures_total{reason=\"descriptors\"}";
        metrics.wait(series, |failures| failures > 0);
        assert_unharmed(&mut first);
        let accepted = metrics.value("roadstead_connections");
        assert!(accepted < 241, "{io}: some wait");

        node.limit_descriptors(limit);
        for client in &mut clients {
            assert_eq!(status(client), 101, "{io}");
            assert_unharmed(client);
        }
        assert_unharmed(&mut first);
        assert_logged(node, &["accepting pauses: out of file descriptors; clients wait in the backlog"]);
    }
}

#[test]
fn memory_runs_out() {
    const MIB: u64 = 1 << 20;
    let folder = Folder::new("shortages");
    for io in BACK_ENDS {
        let node = Node::start(&folder, &arguments(io, &["limits.memory_bytes=0"]));
        let resident = Metrics::of(&node).value("process_resident_memory_bytes");
        drop(node);

        let ceiling = format!("limits.memory_bytes={}", resident + 40 * MIB);
        let node = Node::start(&folder, &arguments(io, &[&ceiling]));
        let listen = node.address("listen");
        let mut metrics = Metrics::of(&node);
        let mut first = served(listen);
        // Messages that are never complete, of a MiB each. What pools keep of them, 8 MiB, leaves room.
        let mut hoard: Vec<TcpStream> = (0..70).map(|_| served(listen)).collect();
        for hoarder in &mut hoard {
            let mut frame = b"\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0".to_vec();
            frame.resize(frame.len() + MIB as usize - 1, 7);
            hoarder.write_all(&frame).expect("sent");
        }
        metrics.wait("roadstead_ready", |ready| ready == 0);
        assert_eq!(status(&mut asking(listen)), 503);
        metrics.wait(&refused("memory"), |refused| refused > 0);
        assert!(metrics.value("roadstead_memory_bytes") > metrics.value("roadstead_memory_bytes_max"));
        assert_unharmed(&mut first);

        drop(hoard);
        let mut last = served_at_last(listen);
        metrics.wait("roadstead_ready", |ready| ready == 1);
        assert_unharmed(&mut first);
        assert_unharmed(&mut last);
        // The log goes to a pipe once the shortage was looked at.
        assert_logged(node, &["new clients are refused until there is room", "welcome again"]);
    }
}

#[test]
fn the_backlog_runs_over() {
    let folder = Folder::new("shortages");
    for io in BACK_ENDS {
        let node = Node::start(&folder, &arguments(io, &["limits.connections=1", "net.backlog=16"]));
        let listen = node.address("listen");
        let mut metrics = Metrics::of(&node);
        let before = metrics.value("roadstead_listen_overflows_total");
        let mut first = served(listen);

        // Silent ones take the slots to refuse with, so accepting pauses; the kernel drops who does not fit into the backlog.
        let end = Instant::now() + PATIENCE;
        let mut silent = Vec::new();
        let pauses = "roadstead_accept_failures_total{reason=\"slots\"}";
        while metrics.value(pauses) == 0 || metrics.value("roadstead_listen_overflows_total") == before {
            for _ in 0..30 {
                match TcpStream::connect_timeout(&listen, Duration::from_millis(100)) {
                    Ok(stream) => silent.push(stream),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                }
            }
            assert!(Instant::now() < end, "{io}: {} connected", silent.len());
        }
        assert_unharmed(&mut first);

        drop(silent);
        assert_eq!(status(&mut asking(listen)), 503, "{io}: heard again");
        drop(first);
        assert_unharmed(&mut served_at_last(listen));
        assert_logged(
            node,
            &["an accept queue is full", "accepting pauses: even the slots to refuse with are in use"],
        );
    }
}
