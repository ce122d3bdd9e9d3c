//! A node of 64 shards on a machine with fewer cores: every shard serves, and a publication reaches the sessions of all.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::node::Node;
use crate::surroundings::Folder;
use wsproto::{Opcode, push_frame};

/// With so many, a shard is left out once in fifty runs, and eight of them never.
const SESSIONS: usize = 500;
const PUBLICATIONS: usize = 20;
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client whose server sends frames below 126 bytes or with a length of two bytes, never masked.
struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    fn open(to: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(to).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        .expect("sent");
        let mut client = Self { stream, heard: Vec::new() };
        while !client.heard.windows(4).any(|end| end == b"\r\n\r\n") {
            client.read();
        }
        assert!(client.heard.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&client.heard));
        let end = client.heard.windows(4).position(|end| end == b"\r\n\r\n").expect("found") + 4;
        client.heard.drain(..end);
        client
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes).expect("something comes in time");
        assert!(count > 0, "the server closed");
        self.heard.extend_from_slice(&bytes[..count]);
    }

    fn say(&mut self, text: &str) {
        let mut frame = Vec::new();
        push_frame(&mut frame, Opcode::Text, text.as_bytes(), Some([1, 2, 3, 4]));
        self.stream.write_all(&frame).expect("sent");
    }

    /// The next message, one of perhaps several lines.
    fn hear(&mut self) -> String {
        loop {
            let (head, len) = match self.heard[..] {
                [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
                [_, len, ..] if len < 126 => (2, usize::from(len)),
                _ => (usize::MAX / 2, 0),
            };
            if self.heard.len() >= head + len {
                let payload = self.heard[head..head + len].to_vec();
                self.heard.drain(..head + len);
                return String::from_utf8(payload).expect("text");
            }
            self.read();
        }
    }
}

fn serves_on_64_shards(backend: &str) {
    let folder = Folder::new("many-shards");
    let node = Node::start_on(&folder, backend, 64, &["--insecure", "--echo"]);
    let address = node.address("listen");
    assert!(node.ready.ends_with(&format!("io={backend} shards=64\n")), "{}", node.ready);

    let mut shards = BTreeSet::new();
    let mut sessions: Vec<Client> = (0..SESSIONS)
        .map(|_| {
            let mut client = Client::open(address, "/connection/websocket");
            client.say(r#"{"id":1,"connect":{}}"#);
            let connected = client.hear();
            let id = connected
                .split("\"client\":\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .expect("an id");
            shards.insert(id.rsplit('-').nth(3).expect("a shard").to_owned());
            client.say(r#"{"id":2,"subscribe":{"channel":"all"}}"#);
            assert!(client.hear().contains("\"subscribe\""));
            client
        })
        .collect();
    assert!(shards.len() > 56, "the kernel spreads connections: {shards:?}");

    for number in 0..PUBLICATIONS {
        sessions[0].say(&format!(
            r#"{{"id":{},"publish":{{"channel":"all","data":"number {number}."}}}}"#,
            number + 3
        ));
    }
    for client in &mut sessions {
        let mut next = 0;
        while next < PUBLICATIONS {
            for line in client.hear().lines().filter(|line| line.starts_with("{\"push\"")) {
                assert!(line.contains(&format!("\"number {next}.\"")), "{next} is next, not {line}");
                next += 1;
            }
        }
    }

    let mut echoes: Vec<Client> = (0..SESSIONS).map(|_| Client::open(address, "/echo")).collect();
    for (number, client) in echoes.iter_mut().enumerate() {
        client.say(&format!("message {number}"));
    }
    for (number, client) in echoes.iter_mut().enumerate() {
        assert_eq!(client.hear(), format!("message {number}"));
    }
    drop((sessions, echoes));
    node.signal("TERM");
    let (exit, _, log) = node.end();
    assert_eq!(exit, Some(0), "{log}");
}

#[test]
fn serves_on_64_shards_over_epoll() {
    serves_on_64_shards("epoll");
}

#[test]
fn serves_on_64_shards_over_io_uring() {
    serves_on_64_shards("io_uring");
}
