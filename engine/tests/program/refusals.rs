//! What a running node answers to requests that it does not serve, and how long these keep others waiting.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::surroundings::Folder;

/// Far more than any answer takes; tests that wait for longer have failed.
const PATIENCE: Duration = Duration::from_secs(20);

const UPGRADE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Everything that the node says to `request`, until it ends the connection.
fn said_to(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).expect("sent");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("answered in time");
    String::from_utf8(said).expect("UTF-8")
}

/// A client that is served.
fn upgraded(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(UPGRADE.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

fn is_status(said: &str, status: &str) -> bool {
    said.starts_with(&format!("HTTP/1.1 {status} "))
}

#[test]
fn an_answer_to_head_has_no_body() {
    let folder = Folder::new("refusals");
    let node = Node::start(&folder, &["--insecure"]);
    let asked = |address: SocketAddr, method: &str, path: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        said_to(address, head.as_bytes())
    };
    let body = |said: &str| said.split_once("\r\n\r\n").expect("a whole head").1.to_owned();
    for (path, status) in [("/connection/websocket", "405"), ("/nothing", "404")] {
        let (head, put) =
            (asked(node.address("listen"), "HEAD", path), asked(node.address("listen"), "PUT", path));
        assert!(is_status(&head, status), "{head}");
        assert_eq!(body(&head), "");
        assert_ne!(body(&put), "");
    }
    for path in ["/", "/live", "/ready", "/health", "/metrics", "/status", "/shards", "/nodes", "/drain"] {
        let (head, get) =
            (asked(node.address("admin"), "HEAD", path), asked(node.address("admin"), "GET", path));
        assert!(is_status(&head, "200") && is_status(&get, "200"), "{path}: {head}{get}");
        assert_eq!(body(&head), "", "{path}");
        assert_ne!(body(&get), "", "{path}");
    }
}

#[test]
fn silent_connections_to_a_full_node_keep_nobody_from_its_503() {
    let folder = Folder::new("refusals");
    let full = ["--insecure", "--set", "limits.connections=1", "--set", "client.handshake_timeout_s=60"];
    for io in ["epoll", "io_uring"] {
        let node = Node::start(&folder, &[&full[..], &["--io", io]].concat());
        let listen = node.address("listen");
        let _served = upgraded(listen);

        // More than there are slots to refuse with: silent ones, half a request, and requests whose answer nobody reads.
        let _silent: Vec<TcpStream> = (0..64).map(|_| connect(listen)).collect();
        let _waiting: Vec<TcpStream> = (0..64)
            .map(|number| {
                let mut stream = connect(listen);
                stream
                    .write_all(&UPGRADE.as_bytes()[..if number % 2 == 0 { 20 } else { UPGRADE.len() }])
                    .expect("sent");
                stream
            })
            .collect();
        let mut late = connect(listen);
        late.write_all(UPGRADE.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 1];
            late.read_exact(&mut byte).expect("answered in time");
            head.extend(byte);
        }
        let head = String::from_utf8(head).expect("UTF-8");
        assert!(is_status(&head, "503") && head.contains("Retry-After: 1"), "{io}: {head}");
    }
}

#[test]
fn a_full_node_is_not_ready() {
    let folder = Folder::new("refusals");
    let full = ["--insecure", "--set", "limits.connections=2", "--set", "client.close_timeout_s=1"];
    let node = Node::start(&folder, &full);
    let admin = node.address("admin");
    let wait_for = |status: &str, state: &str| {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = said_to(admin, b"GET /ready HTTP/1.0\r\n\r\n");
            if said.split(' ').nth(1) == Some(status) && said.contains(&format!("\"state\":\"{state}\"")) {
                return;
            }
            assert!(Instant::now() < end, "not {status} {state}: {said}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("200", "serving");
    let (first, _second) = (upgraded(node.address("listen")), upgraded(node.address("listen")));
    wait_for("503", "full");
    drop(first);
    wait_for("200", "serving");
}
