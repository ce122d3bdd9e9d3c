//! What is revoked at one node of a fleet: who is closed and refused on every node, what a node learns that was away, and what is left
//! after all have ended.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::fleet::{Node, ask_to_connect_as, connect_as, eventually, free_address};
use crate::surroundings::Folder;

/// A close frame of the server with code 3500.
const CLOSED: [u8; 4] = [0x88, 15, 0x0d, 0xac];

fn start(folder: &Folder, name: &str, own: SocketAddr, seeds: &[SocketAddr], more: &[&str]) -> Node {
    let data = format!("data_dir={}", folder.path(&format!("{name}-data")));
    let arguments = [&["--set", &data, "--set", "shutdown.window_ms=0"], more].concat();
    Node::start(folder, name, own, seeds, &arguments)
}

/// Whether the server ends this connection by saying that its token is not valid.
fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let mut byte = [0];
    while !rest.ends_with(&CLOSED) {
        match stream.read(&mut byte) {
            Ok(1) => rest.push(byte[0]),
            _ => return false,
        }
    }
    let mut reason = [0; 13];
    stream.read_exact(&mut reason).is_ok() && &reason == b"invalid token"
}

fn revocations(node: &Node) -> (u64, String) {
    let (exit, said) = node.ask(&["revocations"]);
    assert_eq!(exit, Some(0), "{}", node.log());
    (said["count"].as_u64().expect("a number"), said["digest"].as_str().expect("a text").to_owned())
}

fn agree(nodes: &[Node], count: u64) {
    eventually("all know the same", || {
        let known: Vec<_> = nodes.iter().map(revocations).collect();
        known.iter().all(|one| *one == known[0]) && known[0].0 == count
    });
}

#[test]
fn what_is_revoked_at_one_node_is_revoked_at_all() {
    let folder = Folder::new("revocations");
    let addresses = [free_address(), free_address(), free_address()];
    let names = ["a", "b", "c"];
    let mut nodes: Vec<Node> = names
        .into_iter()
        .zip(addresses)
        .map(|(name, address)| start(&folder, name, address, &addresses, &[]))
        .collect();
    nodes.iter_mut().for_each(Node::wait_ready);
    let listens: Vec<String> = nodes.iter().map(|node| node.field("listen")).collect();

    let anns: Vec<_> = listens.iter().map(|listen| connect_as("ann", listen).1).collect();
    let (client, _bob) = connect_as("bob", &listens[1]);
    let (exit, said) = nodes[0].ask(&["revoke", "--user", "ann", "--for", "1h"]);
    assert_eq!((exit, &said["durable"], &said["revoked"]["user"]), (Some(0), &true.into(), &"ann".into()));
    for (ann, name) in anns.into_iter().zip(names) {
        assert!(is_closed(ann), "on {name}");
    }
    agree(&nodes, 1);
    for listen in &listens {
        assert!(is_closed(ask_to_connect_as("ann", listen)), "she comes back");
    }
    let (_, said) = nodes[2].ask(&["where", "--user", "bob"]);
    assert_eq!(said["connections"][0]["client"], client.as_str(), "he stays");

    // One is away, and comes back with what it knew.
    drop(nodes.pop());
    for number in 0..4 {
        let (exit, _) = nodes[number % 2].ask(&["revoke", "--token-id", &format!("t-{number}")]);
        assert_eq!(exit, Some(0));
    }
    nodes.push(start(&folder, "c", addresses[2], &addresses, &[]));
    nodes[2].wait_ready();
    assert!(nodes[2].log().contains("1 revocations read from"), "{}", nodes[2].log());
    let known = 5;
    agree(&nodes, known);
    let listen = nodes[2].field("listen");
    assert!(is_closed(ask_to_connect_as("ann", &listen)));

    // All end, and one that starts alone still knows.
    for mut node in nodes.drain(..) {
        node.terminate();
        assert_eq!(node.end(), Some(0), "{}", node.log());
    }
    let mut alone = start(&folder, "b", addresses[1], &[], &["--alone"]);
    alone.wait_ready();
    assert_eq!(revocations(&alone).0, known);
    assert!(is_closed(ask_to_connect_as("ann", &alone.field("listen"))));
    let (status, metrics) = alone.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        &format!("roadstead_revocations {known}"),
        "roadstead_revocations_unwritten 0",
        "roadstead_revoked_total{kind=\"connect\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn a_broken_file_stops_the_start_and_says_what_to_do() {
    let folder = Folder::new("revocations");
    let own = free_address();
    let mut node = start(&folder, "a", own, &[], &["--alone"]);
    node.wait_ready();
    assert_eq!(node.ask(&["revoke", "--user", "ann"]).0, Some(0));
    let taken = format!("data_dir={}", folder.path("a-data"));
    let mut second = start(&folder, "second", free_address(), &[], &["--alone", "--set", &taken]);
    assert_eq!(second.end(), Some(78), "the folder is taken: {}", second.log());
    assert!(second.log().contains("in use by another process"), "{}", second.log());
    drop(node);

    let path = folder.path("a-data/revocations");
    let good = fs::read_to_string(&path).expect("written");
    for broken in [good.replace("ann", "eve"), good[..good.len() - 5].to_owned(), String::new()] {
        fs::write(&path, &broken).expect("written");
        let mut node = start(&folder, "a", own, &[], &["--alone"]);
        assert_eq!(node.end(), Some(78), "{}", node.log());
        assert!(node.log().contains(&path) && node.log().contains("move it away"), "{}", node.log());
    }
    fs::write(&path, good).expect("written");
    let mut node = start(&folder, "a", own, &[], &["--alone"]);
    node.wait_ready();
    let (_, said) = node.ask(&["revocations"]);
    assert_eq!((&said["revocations"][0]["user"], &said["durable"]), (&Value::from("ann"), &true.into()));
}
