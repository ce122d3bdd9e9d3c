//! `drain`: takes a running node out of service, or back.

use clap::Args;
use serde_json::Value;

use super::asking::{Said, ask_node};
use super::{Exit, Output, QueryArguments, answer, complain};

pub(super) const AFTER: &str = "\
A draining node fails /ready and hands its channels to the other nodes at once; it accepts clients for another
shutdown.ready_delay_ms, then closes those it has, spread over shutdown.window_ms or longer (shutdown.max_rate), and ends with
exit code 0. SIGTERM does the same. The command returns at once; --status tells how far it is.

Examples:
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
    /// Which node, and the form of the answer.
    #[command(flatten)]
    pub query: QueryArguments,
}

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
        Ok(said) => match arguments.query.output.output {
            Output::Json => answer(&said.to_string()),
            Output::Text => answer(&text(&said)),
        },
        Err(reason) => {
            complain(&reason);
            Exit::Failure
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
