//! Several agents steered from one controller, on this machine.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use roadstead_io::Kind;

use crate::server::{Behaviour, Server};
use crate::{name, run_against};

/// A file with a key, removed at the end.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(key: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let file = format!("key-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(&path, key).expect("written");
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

/// An agent, ended with its test.
struct Agent {
    child: Child,
    address: String,
}

impl Agent {
    fn start(key: &KeyFile) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["agent", "--listen", "127.0.0.1:0", "--key", key.path()])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let line = lines.next().expect("a line").expect("text");
        let address = line.rsplit(' ').next().expect("an address").to_owned();
        // Reading on keeps its stderr open.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const KEY: &str = "0123456789abcdef0123456789abcdef\n";

pub(crate) fn agents_share_a_run(kind: Kind) {
    let key = KeyFile::new(KEY);
    let agents = [Agent::start(&key), Agent::start(&key)];
    let addresses = format!("{},{}", agents[0].address, agents[1].address);
    let server = Server::start(kind, Behaviour::Hub(0));
    let steered = format!("--agents {addresses} --agents-key {}", key.path());
    for line in [
        "fanout --connections 21 --channels 4 --rate 200 --duration 600ms --hold 200ms",
        // The agents serve the next controller as they did the first.
        "direct --connections 10 --rate 200 --duration 600ms --protobuf",
    ] {
        let run = run_against(kind, &server.url(), &format!("{line} {steered}"));
        run.assert_ok();
        let sent = run.number("/messages/sent");
        assert!((115..=125).contains(&sent), "{sent}");
        assert_eq!(run.number("/generator/threads") % 2, 0);
        let latencies = if line.starts_with("direct") { "direct" } else { "message" };
        assert_eq!(
            run.number(&format!("/latency_us/{latencies}/count")),
            run.number("/messages/received"),
            "histograms are added up"
        );
        assert!(run.result["generator"]["io"].as_str().expect("text").contains(name(kind)));
    }
}

pub(crate) fn an_agent_with_another_key_is_refused(kind: Kind) {
    let (key, other) = (KeyFile::new(KEY), KeyFile::new("another0123456789abcdef0123456789abcdef"));
    let agent = Agent::start(&key);
    let server = Server::start(kind, Behaviour::Echo);
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["connect", "-n", "4", "--url", &server.url()])
        .args(["--agents", &agent.address, "--agents-key", other.path()])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another key"), "{said}");
}

/// What an agent says against a plan reaches who gave it.
pub(crate) fn an_agent_that_cannot_play_says_why(kind: Kind) {
    let key = KeyFile::new(KEY);
    let agent = Agent::start(&key);
    let server = Server::start(kind, Behaviour::Echo);
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["connect", "-n", "4", "--source", "::1", "--url", &server.url()])
        .args(["--agents", &agent.address, "--agents-key", key.path()])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&agent.address) && said.contains("address families"), "{said}");
}
