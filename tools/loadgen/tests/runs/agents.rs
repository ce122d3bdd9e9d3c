//! Several agents steered from one controller, on this machine.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
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

/// A run on `agents` that fails; what it said.
fn failure_on(agents: &str, key: &KeyFile, line: &str) -> String {
    let output = controller(agents, key, line).stdout(Stdio::null()).output().expect("runs");
    assert_failed(&output)
}

fn controller(agents: &str, key: &KeyFile, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace()).args(["--agents", agents, "--agents-key", key.path()]);
    command
}

fn assert_failed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// Stopped in the middle of a run, as a machine that is lost without a word.
pub(crate) fn an_agent_that_falls_silent_fails_the_run_and_frees_the_others(kind: Kind) {
    let key = KeyFile::new(KEY);
    let agents = [Agent::start(&key), Agent::start(&key)];
    let addresses = format!("{},{}", agents[0].address, agents[1].address);
    let server = Server::start(kind, Behaviour::Echo);
    let url = server.url();
    let line =
        format!("echo -n 8 --rate 100 --duration 600 --agents-timeout 5 --url {url} --io {}", name(kind));
    let mut run = controller(&addresses, &key, &line)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut said = BufReader::new(run.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("running")), "it runs");
    let pid = agents[0].child.id().to_string();
    assert!(Command::new("kill").args(["-STOP", &pid]).status().expect("kill runs").success());
    let last = said.last().expect("a reason");
    assert_eq!(run.wait().expect("it ends").code(), Some(1));
    assert!(last.contains(&agents[0].address) && !last.contains(&agents[1].address), "{last}");
    assert!(last.contains("says nothing any more"), "{last}");
    // The other one has given the run up and plays for the next.
    let line = format!(
        "echo --rate 100 --duration 200ms --agents {} --agents-key {}",
        agents[1].address,
        key.path()
    );
    run_against(kind, &server.url(), &line).assert_ok();
}

/// The kernel takes the connection, and nobody speaks.
pub(crate) fn an_agent_that_never_speaks_is_named(kind: Kind) {
    let key = KeyFile::new(KEY);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let agent = Agent::start(&key);
    let silent_address = silent.local_addr().expect("an address").to_string();
    let server = Server::start(kind, Behaviour::Echo);
    let line = format!("connect -n 4 --agents-timeout 500ms --url {}", server.url());
    let said = failure_on(&format!("{},{silent_address}", agent.address), &key, &line);
    assert!(said.contains(&format!("agent {silent_address}: ")) && said.contains("says nothing"), "{said}");
}

/// Connections without the key, which say nothing or something else, more of them than an agent hears at once.
pub(crate) fn strangers_do_not_hold_an_agent(kind: Kind) {
    use std::io::Write;
    let key = KeyFile::new(KEY);
    let agent = Agent::start(&key);
    let strangers: Vec<_> = (0..150)
        .map(|number| {
            let mut stranger = TcpStream::connect(&agent.address).expect("an agent");
            let _ = stranger.write_all(if number % 2 == 0 { b"" } else { b"GET / HTTP/1.1" });
            stranger
        })
        .collect();
    let server = Server::start(kind, Behaviour::Echo);
    let line =
        format!("echo --rate 100 --duration 200ms --agents {} --agents-key {}", agent.address, key.path());
    run_against(kind, &server.url(), &line).assert_ok();
    drop(strangers);
}

pub(crate) fn an_agent_with_another_key_is_refused(kind: Kind) {
    let (key, other) = (KeyFile::new(KEY), KeyFile::new("another0123456789abcdef0123456789abcdef"));
    let agent = Agent::start(&key);
    let server = Server::start(kind, Behaviour::Echo);
    let said = failure_on(&agent.address, &other, &format!("connect -n 4 --url {}", server.url()));
    assert!(said.contains("another key"), "{said}");
}

/// What an agent says against a plan reaches who gave it.
pub(crate) fn an_agent_that_cannot_play_says_why(kind: Kind) {
    let key = KeyFile::new(KEY);
    let agent = Agent::start(&key);
    let server = Server::start(kind, Behaviour::Echo);
    let line = format!("connect -n 4 --source ::1 --url {}", server.url());
    let said = failure_on(&agent.address, &key, &line);
    assert!(said.contains(&agent.address) && said.contains("address families"), "{said}");
}
