//! The program from outside: usage, help, signals, where its result goes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use roadstead_io::Kind;
use serde_json::Value;

use crate::server::{Behaviour, Server};

#[test]
fn usage_has_its_own_exit_code() {
    for line in [
        "",
        "dance",
        "echo",
        "echo --url http://127.0.0.1/",
        "fanout --url ws://127.0.0.1/ --size 3",
        "echo --url ws://127.0.0.1/ --agents 127.0.0.1:7900",
        "echo --url ws://127.0.0.1/ --agents 127.0.0.1:7900 --agents-key /nowhere",
        "agent --listen 127.0.0.1:0 --key /nowhere",
        "run /nowhere.toml",
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{line}");
    }
}

/// No reason is told twice, whether the command line or the kernel refuses the source.
#[test]
fn a_wrong_source_is_explained_once() {
    for (source, code, reason) in [
        ("somewhere", 2, "neither a count nor an IP address"),
        ("127.0.0.2,nowhere", 2, "\"nowhere\" is not an IP address"),
        ("127.0.0.9-127.0.0.2", 2, "the range ends before it begins"),
        // For documentation (RFC 5737): of no machine.
        ("192.0.2.1", 1, "Cannot assign requested address"),
    ] {
        let server = Server::start(Kind::Epoll, Behaviour::Echo);
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["connect", "-n", "1", "--io", "epoll", "--source", source, "--url", &server.url()])
            .output()
            .expect("runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.lines().any(|line| line.contains(reason)), "{said}");
        assert!(said.lines().all(|line| line.matches(reason).count() <= 1), "{said}");
        assert!(said.lines().all(|line| line.matches(source).count() <= 1), "{said}");
    }
}

#[test]
fn help_shows_examples() {
    for line in ["--help", "fanout --help"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0));
        assert!(said.contains("Examples:") && said.contains("Exit codes:"), "{said}");
    }
}

/// With `--json -` stdout holds the JSON and nothing else.
#[test]
fn json_can_go_to_stdout() {
    let server = Server::start(Kind::Epoll, Behaviour::Echo);
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["connect", "--connections", "3", "--json", "-", "--io", "epoll", "--url", &server.url()])
        .output()
        .expect("runs");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    assert_eq!((result["ok"].as_bool(), output.status.code()), (Some(true), Some(0)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("result        ok"));
}

/// SIGINT ends a run early, with its results.
#[test]
fn an_interrupted_run_reports() {
    let server = Server::start(Kind::Epoll, Behaviour::Echo);
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "echo",
            "--connections",
            "3",
            "--rate",
            "100",
            "--duration",
            "600",
            "--json",
            "-",
            "--io",
            "epoll",
        ])
        .args(["--url", &server.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    // Two lines of progress: it is in the middle of its work.
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert!(lines.by_ref().take(2).all(|line| line.expect("text").contains("running")));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    // Reading on keeps its stderr open.
    lines.for_each(drop);
    let output = child.wait_with_output().expect("it ends");
    let result: Value = serde_json::from_slice(&output.stdout).expect("a result");
    assert_eq!((result["interrupted"].as_bool(), result["ok"].as_bool()), (Some(true), Some(true)));
    assert_eq!(output.status.code(), Some(0));
    assert!(result["messages"]["received"].as_u64().expect("a number") >= 100);
}
