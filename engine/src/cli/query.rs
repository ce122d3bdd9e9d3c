//! `status` and `shards`: questions to a running node through its Unix socket.

use std::fmt::Write as _;

use serde_json::Value;

use super::asking::{Said, ask_node, show};
use super::{Exit, QueryArguments, complain};

/// Prints what the node says of itself.
#[must_use]
pub fn status(arguments: &QueryArguments) -> Exit {
    ask(arguments, "/status", status_text)
}

/// Prints each shard.
#[must_use]
pub fn shards(arguments: &QueryArguments) -> Exit {
    ask(arguments, "/shards", shards_text)
}

fn ask(arguments: &QueryArguments, path: &str, text: fn(&Value) -> String) -> Exit {
    let said = match ask_node(arguments, "GET", path).and_then(Said::ok) {
        Ok(said) => said,
        Err(reason) => {
            complain(&reason);
            return Exit::Failure;
        }
    };
    let answered = show(arguments, &said, text);
    if said["complete"] == true {
        answered
    } else {
        complain("a shard did not answer in time; its numbers are old");
        answered.and(Exit::Partial)
    }
}

fn status_text(status: &Value) -> String {
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    let counter = |name: &str| status["counters"][format!("roadstead_{name}")].as_u64().unwrap_or(0);
    let process = &status["process"];
    let listen: Vec<&str> =
        status["listen"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let rows = [
        ("node", format!("{}, version {}, up {}", text("node"), text("version"), span(&status["uptime_s"]))),
        (
            "state",
            format!("{}{}", text("state"), if status["ready"] == true { ", ready" } else { ", not ready" }),
        ),
        ("listen", format!("{}{}", listen.join(" "), if status["tls"] == true { " (TLS)" } else { "" })),
        (
            "io",
            format!("{}, {} of {} shards answer", text("io"), status["shards_answering"], status["shards"]),
        ),
        ("connections", format!("{} of {}", counter("connections"), counter("connections_max"))),
        ("sessions", counter("sessions").to_string()),
        ("subscriptions", counter("subscriptions").to_string()),
        ("messages", format!("{} received", counter("messages_received_total"))),
        ("deliveries", counter("deliveries_total").to_string()),
        ("memory", format!("{} MiB", process["resident_bytes"].as_u64().unwrap_or(0) >> 20)),
        ("descriptors", format!("{} of {}", process["descriptors"], process["descriptors_max"])),
    ];
    rows.iter().fold(String::new(), |mut all, (name, value)| {
        let _ = writeln!(all, "{name:<14} {value}");
        all
    })
}

fn shards_text(said: &Value) -> String {
    const COLUMNS: [&str; 4] = ["connections", "sessions", "subscriptions", "deliveries_total"];
    let mut text = String::from("shard  answers");
    for column in COLUMNS {
        let _ = write!(text, "  {:>13}", column.trim_end_matches("_total"));
    }
    for row in said["shards"].as_array().into_iter().flatten() {
        let answers = if row["answering"] == true { "yes" } else { "no" };
        let _ = write!(text, "\n{:>5}  {answers:>7}", row["shard"].as_u64().unwrap_or(0));
        for column in COLUMNS {
            let value = row["counters"][format!("roadstead_{column}")].as_u64().unwrap_or(0);
            let _ = write!(text, "  {value:>13}");
        }
    }
    text
}

pub(super) fn span(seconds: &Value) -> String {
    let seconds = seconds.as_u64().unwrap_or(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spans() {
        for (seconds, text) in [(0, "0 s"), (61, "1 min 1 s"), (3_600, "1 h 0 min"), (90_000, "1 d 1 h")] {
            assert_eq!(span(&json!(seconds)), text);
        }
    }

    #[test]
    fn shards_are_a_table() {
        let said = json!({ "complete": false, "shards": [
            { "shard": 0, "answering": true, "counters": { "roadstead_connections": 12 } },
            { "shard": 1, "answering": false, "counters": {} },
        ] });
        let text = shards_text(&said);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
        assert_eq!(rows[0], ["shard", "answers", "connections", "sessions", "subscriptions", "deliveries"]);
        assert_eq!(rows[1], ["0", "yes", "12", "0", "0", "0"]);
        assert_eq!(rows[2], ["1", "no", "0", "0", "0", "0"]);
    }
}
