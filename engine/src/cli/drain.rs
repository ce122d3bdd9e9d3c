//! `drain`: takes a running node out of service, or back.

use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::asking::{Said, ask_node, show};
use super::{Exit, Output, QueryArguments, answer, complain};

pub(super) const AFTER: &str = "\
A draining node fails /ready and hands its channels to the other nodes at once; it accepts clients for another
shutdown.ready_delay_ms, then closes those it has, spread over shutdown.window_ms or longer (shutdown.max_rate), and ends with
exit code 0. SIGTERM does the same. The command returns at once; --status tells how far it is, and --wait waits.

Examples:
  roadstead drain --wait                        until the node has ended, or with --no-exit until it has no client
  roadstead drain --no-exit                     keep the process when no client is left
  roadstead drain --status --output json
  roadstead drain --cancel                      serve again

Exit codes: 0 done, 1 not done or no answer, 2 wrong usage";

/// `drain`.
#[derive(Debug, Args)]
pub struct DrainArguments {
    /// Only say how far the drain is
    #[arg(long, conflicts_with_all = ["cancel", "no_exit"])]
    pub status: bool,
    /// Take the drain back: serve again
    #[arg(long, conflicts_with = "no_exit")]
    pub cancel: bool,
    /// Stay when no client is left, not ready, until SIGTERM or --cancel
    #[arg(long)]
    pub no_exit: bool,
    /// Wait until the node has ended (with --no-exit: until it is drained), and say how far it is meanwhile
    #[arg(long, conflicts_with_all = ["status", "cancel"])]
    pub wait: bool,
    /// Which node, and the form of the answer.
    #[command(flatten)]
    pub query: QueryArguments,
}

/// Between two questions of `--wait`.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two lines while the phase stays.
const LOOKS_PER_LINE: u32 = 25;
/// Questions in a row without an answer that show that a node has ended.
const SILENT_MAX: u32 = 5;

/// Begins, shows or cancels a drain.
#[must_use]
pub fn run(arguments: &DrainArguments) -> Exit {
    let (method, path) = match (arguments.status, arguments.cancel, arguments.no_exit) {
        (true, ..) => ("GET", "/drain"),
        (_, true, _) => ("DELETE", "/drain"),
        (.., true) => ("POST", "/drain?exit=false"),
        _ => ("POST", "/drain"),
    };
    match ask_node(&arguments.query, method, path).and_then(Said::ok) {
        Ok(said) if arguments.wait => wait(&arguments.query, said),
        Ok(said) => show(&arguments.query, &said, text),
        Err(reason) => {
            complain(&reason);
            Exit::Failure
        }
    }
}

/// Follows a drain to its end.
fn wait(query: &QueryArguments, mut drain: Value) -> Exit {
    let mut looks = 0;
    let mut silent = 0;
    loop {
        match Outcome::of(&drain) {
            Outcome::UnderWay => {}
            Outcome::Drained => return show(query, &drain, text),
            Outcome::Cancelled => {
                complain(&format!("the drain was taken back: {}", text(&drain)));
                return Exit::Failure;
            }
        }
        if looks % LOOKS_PER_LINE == 0 && silent == 0 {
            let shown = show(query, &drain, text);
            if shown != Exit::Ok {
                return shown;
            }
        }
        looks += 1;
        thread::sleep(LOOK);
        match ask_node(query, "GET", "/drain").and_then(Said::ok) {
            Ok(next) => {
                if next["phase"] != drain["phase"] {
                    looks = 0;
                }
                (drain, silent) = (next, 0);
            }
            Err(_) if silent < SILENT_MAX => silent += 1,
            Err(_) => {
                let node = drain["node"].as_str().unwrap_or("the node");
                return match query.output.output {
                    Output::Json => Exit::Ok,
                    Output::Text => answer(&format!("{node} has ended")),
                };
            }
        }
    }
}

/// What a drain has come to, for who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// It goes on; also when all clients are gone and the process has yet to end.
    UnderWay,
    /// No client is left, and the process stays.
    Drained,
    /// The node serves again.
    Cancelled,
}

impl Outcome {
    fn of(drain: &Value) -> Self {
        match drain["phase"].as_str() {
            Some("serving") => Self::Cancelled,
            Some("drained") if drain["exit"] != true => Self::Drained,
            _ => Self::UnderWay,
        }
    }
}

fn text(drain: &Value) -> String {
    let node = drain["node"].as_str().unwrap_or("the node");
    let clients = drain["connections"].as_u64().unwrap_or(0);
    let left_s = drain["left_ms"].as_u64().unwrap_or(0).div_ceil(1_000);
    let then = if drain["exit"] == true { "the process ends" } else { "the process stays" };
    match drain["phase"].as_str().unwrap_or_default() {
        "serving" => format!("{node} is not draining: {clients} connections"),
        "announced" => format!(
            "{node} is draining: not ready, still accepting; {clients} connections are closed within {left_s} s, then {then}"
        ),
        "closing" => format!("{node} is draining: {clients} connections left, {left_s} s, then {then}"),
        "drained" => format!("{node} is drained: {clients} connections left, {then}"),
        phase => format!("{node} is {phase}: {clients} connections left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_waits_knows_when_it_is_over() {
        for (phase, exit, expected) in [
            ("announced", true, Outcome::UnderWay),
            ("closing", false, Outcome::UnderWay),
            ("drained", true, Outcome::UnderWay),
            ("stopping", true, Outcome::UnderWay),
            ("drained", false, Outcome::Drained),
            ("serving", false, Outcome::Cancelled),
        ] {
            assert_eq!(Outcome::of(&json!({ "phase": phase, "exit": exit })), expected, "{phase} {exit}");
        }
    }

    #[test]
    fn every_phase_is_a_sentence() {
        for (phase, exit, words) in [
            ("serving", false, "not draining"),
            (
                "announced",
                true,
                "still accepting; 7 connections are closed within 41 s, then the process ends",
            ),
            ("closing", false, "7 connections left, 41 s, then the process stays"),
            ("drained", false, "is drained"),
            ("stopping", true, "is stopping"),
        ] {
            let drain = json!({
                "node": "a", "phase": phase, "exit": exit, "connections": 7, "left_ms": 40_001
            });
            assert!(text(&drain).contains(words), "{}", text(&drain));
        }
    }
}
