//! Real nodes as a fleet: they find each other, are asked about each other and about users, and leave.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::surroundings::{Folder, roadstead};
use roadstead_engine::settings::Secret;
use roadstead_engine::token::{Grant, Signer, mint};
use serde_json::Value;
use wsproto::{Opcode, push_frame};

const SECRET: &str = "a secret of thirty-two bytes, or more";
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address whose port is free for datagrams and streams.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = udp.local_addr().expect("an address");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A running node; ended hard if a test fails.
pub(crate) struct Node {
    name: String,
    process: Child,
    stdout: BufReader<ChildStdout>,
    socket: String,
    log: String,
    ready: String,
}

impl Node {
    pub(crate) fn start(
        folder: &Folder,
        name: &str,
        cluster: SocketAddr,
        seeds: &[SocketAddr],
        more: &[&str],
    ) -> Self {
        let (socket, log) = (folder.path(&format!("{name}.sock")), folder.path(&format!("{name}.log")));
        let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        let (key, cluster, seeds) = (folder.path("key"), cluster.to_string(), seeds.join(","));
        if !fs::exists(&key).expect("looked") {
            let made = roadstead(&["cluster-key"]).output().expect("it runs");
            folder.file("key", std::str::from_utf8(&made.stdout).expect("UTF-8"));
        }
        let secret = format!("token.hmac_secret={SECRET}");
        let arguments = [
            &["serve", "--insecure", "--shards", "2", "--io", "epoll", "--node-name", name][..],
            &["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--admin-socket", &socket],
            &["--cluster-listen", &cluster, "--cluster-key-file", &key, "--set", &secret],
            if seeds.is_empty() { &[] } else { &["--join", &seeds] },
            more,
        ];
        let mut command = roadstead(&arguments.concat());
        let stderr = fs::File::create(&log).expect("a log");
        let mut process = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("it starts");
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        Self { name: name.into(), process, stdout, socket, log, ready: String::new() }
    }

    pub(crate) fn wait_ready(&mut self) {
        self.stdout.read_line(&mut self.ready).expect("a line");
        assert!(self.ready.starts_with("roadstead ready "), "{}", self.log());
    }

    pub(crate) fn field(&self, name: &str) -> String {
        let field = self.ready.split_ascii_whitespace().find_map(|field| field.strip_prefix(name));
        field.and_then(|field| field.strip_prefix('=')).expect("a field").to_owned()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// What the command line says of this node, as JSON, and its exit code.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let flags = ["--admin-socket", &self.socket, "--output", "json"];
        let output = roadstead(&[arguments, &flags].concat()).output().expect("it runs");
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.field("admin")).expect("connected");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
    }

    pub(crate) fn terminate(&self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().expect("sh runs");
        assert!(sent.success());
    }

    pub(crate) fn end(&mut self) -> Option<i32> {
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Connects as a user in the client protocol; the client id that the node gave, and the open socket.
pub(crate) fn connect_as(user: &str, listen: &str) -> (String, TcpStream) {
    let mut stream = ask_to_connect_as(user, listen);
    let (mut heard, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte).expect("answered");
        heard.push(byte[0]);
        let text = String::from_utf8_lossy(&heard);
        if let Some((_, rest)) = text.split_once("\"client\":\"")
            && let Some((client, _)) = rest.split_once('"')
        {
            return (client.to_owned(), stream);
        }
    }
}

/// The same, up to the question.
pub(crate) fn ask_to_connect_as(user: &str, listen: &str) -> TcpStream {
    let grant = Grant { user, ..Grant::default() };
    let token = mint(&Signer::with_secret(&Secret::new(SECRET)), &grant).expect("signed");
    let mut stream = TcpStream::connect(listen).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    write!(
        stream,
        "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .expect("sent");
    let mut frame = Vec::new();
    let connect = format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}");
    push_frame(&mut frame, Opcode::Text, connect.as_bytes(), Some([1, 2, 3, 4]));
    stream.write_all(&frame).expect("sent");
    stream
}

#[test]
fn nodes_find_each_other_and_a_user_and_leave() {
    let folder = Folder::new("fleet");
    let addresses = [free_address(), free_address(), free_address()];
    let mut nodes: Vec<Node> = ["a", "b", "c"]
        .into_iter()
        .zip(addresses)
        .map(|(name, address)| Node::start(&folder, name, address, &addresses, &[]))
        .collect();
    nodes.iter_mut().for_each(Node::wait_ready);
    for (node, address) in nodes.iter().zip(addresses) {
        assert_eq!((node.field("node"), node.field("cluster")), (node.name.clone(), address.to_string()));
        let (exit, said) = node.ask(&["nodes"]);
        assert_eq!(
            (exit, &said["fleet"], &said["standing"]),
            (Some(0), &"roadstead".into(), &"serving".into())
        );
        let rows = said["nodes"].as_array().expect("a list");
        let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(rows.iter().all(|row| row["state"] == "alive" && row["in_view"] == true), "{rows:?}");
        let owned: f64 = rows.iter().filter_map(|row| row["ownership"].as_f64()).sum();
        assert!((owned - 1.0).abs() < 1e-9, "{rows:?}");
        let (_, metrics) = node.get("/metrics");
        let series = format!(
            "roadstead_node_info{{node=\"{}\",region=\"default\",cluster=\"roadstead\"}} 1",
            node.name
        );
        assert!(metrics.contains(&series) && metrics.contains("roadstead_fleet_view_nodes 3"), "{metrics}");
        let status: Value = serde_json::from_str(&node.get("/status").1).expect("JSON");
        assert_eq!(status["fleet"]["members"].as_array().map(Vec::len), Some(3));
    }

    let (client, stream) = connect_as("ann", &nodes[0].field("listen"));
    for node in &nodes {
        eventually("ann is found", || {
            let (exit, said) = node.ask(&["where", "--user", "ann"]);
            let found = said["connections"].as_array().cloned().unwrap_or_default();
            exit == Some(0)
                && found.len() == 1
                && found[0]["client"] == client.as_str()
                && found[0]["node"] == "a"
        });
        let (exit, said) = node.ask(&["where", "--user", "nobody"]);
        assert_eq!((exit, said["connections"].as_array().map(Vec::len)), (Some(0), Some(0)));
    }
    drop(stream);
    eventually("ann is gone", || {
        nodes[2].ask(&["where", "--user", "ann"]).1["connections"] == Value::Array(vec![])
    });

    let (exit, _) = nodes[2].ask(&["drain"]);
    assert_eq!((exit, nodes[2].end()), (Some(0), Some(0)), "{}", nodes[2].log());
    for node in &nodes[..2] {
        eventually("c has left", || {
            let (_, said) = node.ask(&["nodes"]);
            let rows = said["nodes"].as_array().cloned().unwrap_or_default();
            rows.iter().all(|row| row["name"] != "c" || (row["state"] == "left" && row["in_view"] == false))
        });
        assert_eq!(node.get("/ready").0, 200);
        assert!(node.log().contains("node c left"), "{}", node.log());
    }
    for mut node in nodes.drain(..2) {
        node.terminate();
        assert_eq!(node.end(), Some(0), "{}", node.log());
    }
}

#[test]
fn a_node_that_finds_nobody_asks_on_and_says_so() {
    let folder = Folder::new("fleet");
    let (own, seed) = (free_address(), free_address());
    let mut node = Node::start(&folder, "lonely", own, &[seed], &[]);
    eventually("the complaint", || {
        node.log().contains(&format!("none of 1 seeds answers, asking on: {seed}"))
    });
    let (exit, said) = node.ask(&["nodes"]);
    assert_eq!((exit, &said["standing"], &said["view"]), (Some(3), &"joining".into(), &Value::Null));
    let (exit, said) = node.ask(&["status"]);
    assert_eq!((exit, &said["state"], &said["ready"]), (Some(0), &"joining".into(), &false.into()));
    node.terminate();
    assert_eq!(node.end(), Some(0), "{}", node.log());
    let mut said = String::new();
    node.stdout.read_to_string(&mut said).expect("UTF-8");
    assert_eq!(said, "", "it was never ready");
}

#[test]
fn a_node_that_is_told_to_serves_alone() {
    let folder = Folder::new("fleet");
    let mut node =
        Node::start(&folder, "alone", "127.0.0.1:0".parse().expect("an address"), &[], &["--alone"]);
    node.wait_ready();
    assert_eq!(node.get("/ready").0, 200);
    let (exit, said) = node.ask(&["nodes"]);
    assert_eq!((exit, &said["nodes"][0]["ownership"]), (Some(0), &1.0.into()));
    let (client, _stream) = connect_as("bob", &node.field("listen"));
    let (exit, said) = node.ask(&["where", "--user", "bob"]);
    assert_eq!((exit, &said["connections"][0]["client"]), (Some(0), &client.into()));
    node.terminate();
    assert_eq!(node.end(), Some(0), "{}", node.log());
}

#[test]
fn a_cluster_address_in_use_is_named() {
    let folder = Folder::new("fleet");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let mut node = Node::start(&folder, "late", address, &[], &["--alone"]);
    assert_eq!(node.end(), Some(1));
    let log = node.log();
    assert!(log.contains(&address.to_string()) && log.contains("port in use by another process"), "{log}");
}
