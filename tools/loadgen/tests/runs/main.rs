//! Whole runs of the program against a server that behaves, or misbehaves in one way: exit code and result.

mod agents;
mod connections;
mod echo;
mod fan_out;
mod hub;
mod outputs;
mod program;
mod secure;
mod server;
mod unrest;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use roadstead_io::{Choice, Kind, select};
use serde_json::Value;

use crate::agents::*;
use crate::connections::*;
use crate::echo::*;
use crate::fan_out::*;
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
        let (failed, lost) = (self.number("/connections/failed"), self.number("/messages/lost"));
        assert_eq!((failed, lost), (0, 0), "{}", self.result);
        let (closed, planned) = (self.number("/connections/closed"), self.number("/connections/planned"));
        assert_eq!(closed, planned, "{}", self.result);
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
    an_agent_that_falls_silent_fails_the_run_and_frees_the_others,
    an_agent_that_never_speaks_is_named,
    strangers_do_not_hold_an_agent,
);
