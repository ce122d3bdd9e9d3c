//! Whole runs of the program against a server that behaves, or misbehaves in one way: exit code and result.

mod agents;
mod hub;
mod outputs;
mod secure;
mod server;
mod unrest;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use roadstead_io::{Choice, Kind, select};
use serde_json::Value;

use crate::agents::{
    agents_share_a_run, an_agent_that_cannot_play_says_why, an_agent_with_another_key_is_refused,
};
use crate::secure::{
    certificates_are_checked, tls_carries_everything, tls_sessions_are_resumed_where_asked_for,
};
use crate::server::{Behaviour, Server};
use crate::unrest::*;

/// What a run came to.
struct Run {
    code: i32,
    result: Value,
    said: String,
}

impl Run {
    fn number(&self, path: &str) -> u64 {
        let value = self.result.pointer(path).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{path} is no number in {}", self.result))
    }

    fn errors(&self) -> Vec<(&str, u64)> {
        let errors = self.result["errors"].as_array().expect("errors");
        errors
            .iter()
            .map(|error| (error["kind"].as_str().expect("a kind"), error["count"].as_u64().expect("a count")))
            .collect()
    }

    fn assert_ok(&self) {
        assert_eq!(self.code, 0, "{}", self.said);
        assert_eq!(self.result["ok"], true);
        assert_eq!((self.number("/connections/failed"), self.number("/messages/lost")), (0, 0));
        assert_eq!(self.number("/connections/closed"), self.number("/connections/planned"));
        assert!(self.errors().is_empty());
    }

    fn assert_failed(&self) {
        assert_eq!(self.code, 1, "{}", self.said);
        assert_eq!(self.result["ok"], false);
        assert!(!self.result["faults"].as_array().expect("faults").is_empty());
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Epoll => "epoll",
        Kind::Uring => "io_uring",
    }
}

/// Runs the program on `kind` against `url` with `line` as its other words.
fn run_against(kind: Kind, url: &str, line: &str) -> Run {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let file = format!("result-{}-{}.json", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(line.split_whitespace())
        .args(["--url", url, "--io", name(kind), "--json"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let json = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}: {said}"));
    std::fs::remove_file(&file).expect("its own file");
    let result = serde_json::from_str(&json).expect("JSON");
    Run { code: output.status.code().expect("an exit code"), result, said }
}

fn run(kind: Kind, behaviour: Behaviour, line: &str) -> Run {
    let server = Server::start(kind, behaviour);
    run_against(kind, &server.url(), line)
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod on_epoll { $(#[test] fn $test() { super::$test(roadstead_io::Kind::Epoll); })* }
        mod on_uring { $(#[test] fn $test() { if super::has_uring() { super::$test(roadstead_io::Kind::Uring); } })* }
    };
}

fn has_uring() -> bool {
    select(Choice::Uring).map_err(|unavailable| eprintln!("skipped: {unavailable}")).is_ok()
}

suite!(
    connections_open_and_close,
    connections_can_be_cut_at_the_end,
    an_echo_at_a_rate_is_complete,
    an_echo_in_a_closed_loop_is_complete,
    every_size_comes_back,
    large_messages_block_and_come_back,
    several_threads_share_a_run,
    pings_are_answered,
    fragments_are_joined,
    lost_messages_are_counted,
    repeated_messages_are_counted,
    swapped_messages_are_counted,
    damaged_messages_are_counted,
    a_refused_upgrade_names_its_status,
    a_silent_server_times_out,
    a_cut_connection_is_a_failure,
    a_close_names_its_code,
    a_violation_is_named,
    a_server_that_does_not_close_is_noticed,
    a_full_server_is_noticed,
    nobody_listens,
    subscribers_hold_their_connections,
    fan_out_is_complete,
    fan_out_in_a_closed_loop_is_complete,
    several_urls_are_told_apart,
    lost_deliveries_are_counted,
    refused_publications_are_counted,
    connections_are_held_before_and_after,
    channels_can_be_chosen_by_a_law,
    users_write_to_each_other,
    several_subscriptions_are_checked_each,
    a_storm_is_survived,
    churn_loses_nothing,
    slow_clients_are_apart,
    everything_at_once_is_complete,
    ended_connections_come_back,
    who_cannot_come_back_is_a_failure,
    the_raw_payload_can_be_text,
    tls_carries_everything,
    tls_sessions_are_resumed_where_asked_for,
    certificates_are_checked,
    agents_share_a_run,
    an_agent_with_another_key_is_refused,
    an_agent_that_cannot_play_says_why,
);

fn connections_open_and_close(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "connect --connections 300 --rate 3000");
    run.assert_ok();
    assert_eq!((run.number("/connections/opened"), run.number("/connections/closed")), (300, 300));
    assert_eq!(run.number("/latency_us/handshake/count"), 300);
}

/// A server that answers no close frame shows that none is sent.
fn connections_can_be_cut_at_the_end(kind: Kind) {
    let run = run(kind, Behaviour::Deaf, "idle --connections 50 --duration 100ms --cut");
    run.assert_ok();
}

fn an_echo_at_a_rate_is_complete(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "echo --connections 20 --rate 2000 --duration 1");
    run.assert_ok();
    let sent = run.number("/messages/sent");
    assert!((1_998..=2_000).contains(&sent), "{sent} of 2,000");
    assert_eq!(run.number("/messages/received"), sent);
    assert_eq!(run.number("/latency_us/message/count"), sent);
}

fn an_echo_in_a_closed_loop_is_complete(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "echo --connections 10 --depth 8 --duration 500ms --warmup 100ms");
    run.assert_ok();
    let sent = run.number("/messages/sent");
    assert!(sent >= 80, "{sent}");
    assert_eq!(run.number("/messages/received"), sent);
    assert!(run.number("/latency_us/message/count") < sent, "the warm-up is not measured");
}

fn every_size_comes_back(kind: Kind) {
    for size in [0, 1, 5, 125, 126, 65_535, 65_536] {
        let line = format!("echo --connections 3 --depth 3 --duration 100ms --size {size}");
        let run = run(kind, Behaviour::Echo, &line);
        run.assert_ok();
        assert!(run.number("/messages/sent") >= 9);
    }
}

fn large_messages_block_and_come_back(kind: Kind) {
    let run =
        run(kind, Behaviour::Echo, "echo --connections 4 --depth 4 --duration 500ms --size 4MiB --drain 30");
    run.assert_ok();
    assert!(run.number("/messages/sent") >= 16);
}

fn several_threads_share_a_run(kind: Kind) {
    let server = Server::start(kind, Behaviour::Echo);
    let run =
        run_against(kind, &server.url(), "echo --connections 31 --rate 3000 --duration 500ms --threads 3");
    run.assert_ok();
    assert_eq!(run.number("/connections/opened"), 31);
    let sent = run.number("/messages/sent");
    assert!((1_497..=1_503).contains(&sent), "{sent} of 1,500");
}

fn pings_are_answered(kind: Kind) {
    let run = run(kind, Behaviour::EchoAfterPong, "echo --connections 8 --rate 100 --duration 500ms");
    run.assert_ok();
    assert_eq!(run.number("/messages/pings"), 8);
}

fn fragments_are_joined(kind: Kind) {
    let run = run(kind, Behaviour::Fragment, "echo --connections 3 --depth 2 --duration 200ms --size 70000");
    run.assert_ok();
    assert_eq!(run.number("/messages/pings"), 2 * run.number("/messages/received"));
}

fn lost_messages_are_counted(kind: Kind) {
    for remainder in [0, 5, 9] {
        let line = "echo --connections 2 --rate 200 --duration 500ms --drain 200ms";
        let run = run(kind, Behaviour::Forget(remainder), line);
        run.assert_failed();
        let (sent, lost) = (run.number("/messages/sent"), run.number("/messages/lost"));
        assert_eq!((lost, run.number("/messages/received")), (sent / 10, sent - sent / 10));
        assert_eq!(run.number("/messages/duplicated") + run.number("/messages/reordered"), 0);
    }
}

fn repeated_messages_are_counted(kind: Kind) {
    let run = run(kind, Behaviour::Repeat, "echo --connections 2 --rate 200 --duration 500ms");
    run.assert_failed();
    let sent = run.number("/messages/sent");
    assert_eq!((run.number("/messages/duplicated"), run.number("/messages/lost")), (sent / 10, 0));
}

fn swapped_messages_are_counted(kind: Kind) {
    // One message more than a multiple of ten on the connection, so that none waits for its successor.
    let run = run(kind, Behaviour::Swap, "echo --connections 1 --rate 202 --duration 500ms");
    run.assert_failed();
    assert_eq!((run.number("/messages/sent"), run.number("/messages/reordered")), (101, 10));
    assert_eq!((run.number("/messages/lost"), run.number("/messages/duplicated")), (0, 0));
}

fn damaged_messages_are_counted(kind: Kind) {
    let run = run(kind, Behaviour::Damage, "echo --connections 2 --rate 200 --duration 500ms --drain 200ms");
    run.assert_failed();
    assert_eq!(run.number("/messages/corrupt"), run.number("/messages/sent") / 10);
}

fn a_refused_upgrade_names_its_status(kind: Kind) {
    let run = run(kind, Behaviour::Refuse(503), "connect --connections 20");
    run.assert_failed();
    assert_eq!(run.errors(), [("status_503", 20)]);
    assert_eq!((run.number("/connections/opened"), run.number("/connections/failed")), (0, 20));
    assert!(run.said.contains("HTTP/1.1 503"), "{}", run.said);
}

fn a_silent_server_times_out(kind: Kind) {
    let run = run(kind, Behaviour::Ignore, "idle --connections 5 --timeout 300ms --duration 1");
    run.assert_failed();
    assert_eq!(run.errors(), [("timeout_upgrading", 5)]);
}

fn a_cut_connection_is_a_failure(kind: Kind) {
    let run = run(kind, Behaviour::Cut, "idle --connections 5 --duration 300ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("cut", 5)]);
    assert_eq!(run.number("/connections/dropped"), 5);
}

fn a_close_names_its_code(kind: Kind) {
    let run =
        run(kind, Behaviour::Close(3008), "echo --connections 4 --rate 1000 --duration 500ms --drain 100ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("closed_3008", 4)]);
    assert!(run.number("/messages/lost") >= 4, "the tenth message of each connection");
    assert!(run.said.contains("enough"), "the reason is shown: {}", run.said);
}

fn a_violation_is_named(kind: Kind) {
    let run = run(kind, Behaviour::Violate, "idle --connections 5 --duration 300ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("violation_1002", 5)]);
    assert_eq!(run.number("/connections/dropped"), 5);
}

fn a_server_that_does_not_close_is_noticed(kind: Kind) {
    let run = run(kind, Behaviour::Deaf, "connect --connections 3");
    run.assert_failed();
    assert_eq!((run.number("/connections/opened"), run.number("/connections/unclean")), (3, 3));
    assert_eq!(run.errors(), [("timeout_closing", 3)]);
}

/// The connections beyond what the server takes wait in its backlog until they time out.
fn a_full_server_is_noticed(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "idle --connections 1010 --timeout 4 --duration 200ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("timeout_upgrading", 10)]);
    assert_eq!(run.number("/connections/opened"), 1_000);
}

fn nobody_listens(kind: Kind) {
    let run = run_against(kind, "ws://127.0.0.1:1/", "echo --connections 3 --duration 1");
    run.assert_failed();
    assert_eq!(run.errors(), [("refused", 3)]);
}

fn subscribers_hold_their_connections(kind: Kind) {
    for encoding in ["", "--protobuf"] {
        let line = format!("idle --connections 50 --subscribe --channels 7 --duration 300ms {encoding}");
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        assert_eq!((run.number("/latency_us/login/count"), run.number("/messages/pings")), (50, 50));
    }
}

fn fan_out_is_complete(kind: Kind) {
    for flags in ["", "--protobuf", "--channels 5 --publishers 2", "--channels 2 --publishers 5 --threads 2"]
    {
        let line = format!("fanout --connections 40 --rate 100 --duration 500ms {flags}");
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        let sent = run.number("/messages/sent");
        assert!((48..=50).contains(&sent), "{sent} of 50");
        assert_eq!(run.number("/messages/answered"), sent);
        assert_eq!(run.number("/messages/received"), run.number("/messages/expected"));
        if !flags.contains("--channels") {
            assert_eq!(run.number("/messages/received"), 40 * sent);
        }
    }
}

fn fan_out_in_a_closed_loop_is_complete(kind: Kind) {
    for flags in ["", "--depth 4 --publishers 2 --channels 3 --threads 2"] {
        let run = run(
            kind,
            Behaviour::Hub(0),
            &format!("fanout --connections 30 --rate 0 --duration 300ms {flags}"),
        );
        run.assert_ok();
        assert!(run.number("/messages/sent") > 4);
    }
}

fn lost_deliveries_are_counted(kind: Kind) {
    let line = "fanout --connections 10 --rate 100 --duration 500ms --drain 200ms";
    let run = run(kind, Behaviour::Hub(7), line);
    run.assert_failed();
    let expected = run.number("/messages/expected");
    assert_eq!(expected, 10 * run.number("/messages/sent"));
    assert_eq!(run.number("/messages/lost"), expected / 7);
    assert_eq!(run.number("/messages/answered"), run.number("/messages/sent"));
}

/// Three publishers and twelve subscribers on two channels: each URL has a publisher and two readers of each channel,
/// so that a third of all deliveries stay on their URL.
fn several_urls_are_told_apart(kind: Kind) {
    for flags in ["--rate 300", "--rate 300 --protobuf --threads 2", "--rate 0 --depth 2"] {
        let server = Server::start(kind, Behaviour::Hub(0));
        let line = format!("fanout --connections 12 --channels 2 --publishers 3 --duration 500ms {flags}");
        let run = run_against(kind, &server.urls(), &line);
        run.assert_ok();
        let received = run.number("/messages/received");
        for url in 0..3 {
            let number = |name: &str| run.number(&format!("/urls/{url}/{name}"));
            assert_eq!((number("planned"), number("opened"), number("failed")), (5, 5, 0));
            assert_eq!((number("received"), number("expected")), (received / 3, received / 3));
            assert!(number("sent") > 0);
        }
        let (same, other) = (
            run.number("/latency_us/message_same_url/count"),
            run.number("/latency_us/message_other_url/count"),
        );
        assert_eq!((same + other, other), (received, 2 * same));
        assert!(
            run.said.contains("other URL") && run.said.contains("?second   opened 5 of 5"),
            "{}",
            run.said
        );
    }

    let server = Server::start(kind, Behaviour::Hub(0));
    let publish_url = server.url().replace("query", "second");
    let line = format!("fanout --connections 6 --rate 100 --duration 500ms --publish-url {publish_url}");
    let run = run_against(kind, &server.urls(), &line);
    run.assert_ok();
    let sent: Vec<_> = (0..3).map(|url| run.number(&format!("/urls/{url}/sent"))).collect();
    assert_eq!(sent, [0, run.number("/messages/sent"), 0]);

    let server = Server::start(kind, Behaviour::Echo);
    let run = run_against(kind, &server.urls(), "echo --connections 7 --rate 300 --duration 500ms");
    run.assert_ok();
    let opened: Vec<_> = (0..3).map(|url| run.number(&format!("/urls/{url}/opened"))).collect();
    assert_eq!(opened, [3, 2, 2]);
    let of_urls: u64 = (0..3).map(|url| run.number(&format!("/urls/{url}/received"))).sum();
    assert_eq!(of_urls, run.number("/messages/received"));
}

fn refused_publications_are_counted(kind: Kind) {
    let run = run(kind, Behaviour::RefusePublish, "fanout --connections 10 --rate 100 --duration 500ms");
    run.assert_failed();
    let sent = run.number("/messages/sent");
    assert_eq!(run.errors(), [("publish_error_103", sent)]);
    assert_eq!((run.number("/messages/refused"), run.number("/messages/lost")), (sent, 0));
}

fn connections_are_held_before_and_after(kind: Kind) {
    let line =
        "fanout --connections 5 --rate 100 --duration 300ms --hold 300ms --hold-after 200ms --progress json";
    let run = run(kind, Behaviour::Hub(0), line);
    run.assert_ok();
    let phases: Vec<Value> = run
        .said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &Value| event["event"] == "phase")
        .collect();
    let names: Vec<_> = phases.iter().map(|event| event["phase"].as_str().expect("a name")).collect();
    assert_eq!(names, ["opening", "holding", "running", "draining", "resting", "closing"]);
    let at = |index: usize| phases[index]["at"].as_f64().expect("seconds");
    assert!(at(2) - at(1) >= 0.3 && at(5) - at(4) >= 0.2, "{phases:?}");
    assert_eq!(phases[4]["open"], 6);
    assert!(run.number("/generator/memory_bytes") > 0);
}

fn channels_can_be_chosen_by_a_law(kind: Kind) {
    for laws in ["--pick random", "--pick zipf", "--spread zipf:1.2 --pick zipf:0.5", "--spread zipf"] {
        let line = format!(
            "fanout --connections 40 --channels 10 --publishers 2 --rate 400 --duration 500ms {laws}"
        );
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        assert_eq!(run.number("/messages/reordered") + run.number("/messages/duplicated"), 0);
        assert!(run.number("/messages/received") > 0);
    }
}

fn the_raw_payload_can_be_text(kind: Kind) {
    run(kind, Behaviour::Echo, "echo --connections 3 --depth 3 --duration 100ms --size 1000 --text")
        .assert_ok();
}

#[test]
fn usage_has_its_own_exit_code() {
    for line in ["", "dance", "echo", "echo --url http://127.0.0.1/", "fanout --url ws://127.0.0.1/ --size 3"]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(!output.stderr.is_empty());
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
