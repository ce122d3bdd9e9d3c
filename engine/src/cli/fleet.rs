//! `nodes` and `where`: who is in the fleet, and where a user is, asked at one running node.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::asking::{Said, ask_node, show};
use super::{Exit, QueryArguments, complain};

pub(super) const WHERE_AFTER: &str = "\
The node asks the one that owns the user, so any node of the fleet can be asked.

Examples:
  roadstead where --user ada
  roadstead where --user ada --output json

Exit codes: 0 answered (also if the user is connected nowhere), 1 no answer, 2 wrong usage, 3 partial answer";

/// `where`.
#[derive(Debug, Args)]
pub struct WhereArguments {
    /// The user
    #[arg(long)]
    pub user: String,
    /// Which node to ask, and the form of the answer.
    #[command(flatten)]
    pub query: QueryArguments,
}

/// Lists the members of the fleet.
#[must_use]
pub fn nodes(arguments: &QueryArguments) -> Exit {
    ask(arguments, "/nodes", nodes_text)
}

/// Lists the connections of a user.
#[must_use]
pub fn where_is(arguments: &WhereArguments) -> Exit {
    ask(&arguments.query, &format!("/connections?user={}", escaped(&arguments.user)), connections_text)
}

fn ask(arguments: &QueryArguments, path: &str, text: fn(&Value) -> String) -> Exit {
    match ask_node(arguments, "GET", path).and_then(Said::ok) {
        Ok(said) => {
            let answered = show(arguments, &said, text);
            if said["complete"] == true {
                return answered;
            }
            complain(
                "the answer may not be whole: a node does not answer at present, or this one is still joining",
            );
            answered.and(Exit::Partial)
        }
        Err(reason) => {
            complain(&reason);
            Exit::Failure
        }
    }
}

/// In the form of a query's value (RFC 3986 section 2.1).
pub(super) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(all, "{}", byte as char)
            }
            _ => write!(all, "%{byte:02X}"),
        };
        all
    })
}

fn nodes_text(said: &Value) -> String {
    let rows = said["nodes"].as_array().into_iter().flatten().map(|node| {
        let text = |key: &str| node[key].as_str().unwrap_or("-").to_owned();
        let state = match node["state"].as_str() {
            Some("alive") if node["in_view"] == false => "not in the View".into(),
            Some("alive") if node["draining"] == true => "draining".into(),
            Some("alive") if node["active"] == false => "waiting".into(),
            _ => text("state"),
        };
        let share = format!("{:.1} %", node["ownership"].as_f64().unwrap_or(0.0) * 100.0);
        let is_there = !matches!(node["state"].as_str(), Some("down" | "left"));
        let connections = node["connections"].as_u64().filter(|_| is_there);
        let connections = connections.map_or("-".into(), |count| count.to_string());
        [
            text("name"),
            text("id"),
            state,
            text("region"),
            connections,
            share,
            text("address"),
            text("version"),
        ]
    });
    let heads = ["name", "id", "state", "region", "connections", "owns", "address", "version"];
    table(heads, rows.collect())
}

fn connections_text(said: &Value) -> String {
    let rows: Vec<[String; 4]> = said["connections"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|found| {
            let text = |key: &str| found[key].as_str().unwrap_or("-").to_owned();
            let number = |key: &str| found[key].as_u64().unwrap_or(0);
            [text("node"), number("shard").to_string(), text("client"), format!("{} s", number("age_s"))]
        })
        .collect();
    if rows.is_empty() {
        return format!("{} is connected nowhere", said["user"].as_str().unwrap_or("the user"));
    }
    table(["node", "shard", "client", "age"], rows)
}

/// Columns as wide as what is in them.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: Vec<[String; N]>) -> String {
    let heads = heads.map(str::to_owned);
    let width =
        |column: usize| rows.iter().chain([&heads]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    [&heads].into_iter().chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn users_are_escaped() {
        for (user, expected) in [("ada", "ada"), ("a b&c", "a%20b%26c"), ("ä", "%C3%A4")] {
            assert_eq!(escaped(user), expected);
        }
    }

    #[test]
    fn nodes_are_a_table() {
        let said = json!({ "nodes": [
            { "name": "a", "id": "1", "state": "alive", "region": "fra", "connections": 12, "ownership": 0.5,
              "address": "10.0.0.1:7800", "version": "0.1.0" },
            { "name": "longer", "id": "2", "state": "alive", "draining": true, "region": "fra", "ownership": 0.0 },
            { "name": "c", "id": "3", "state": "left", "draining": true, "region": "fra", "connections": 7 },
            { "name": "d", "id": "4", "state": "alive", "in_view": false, "active": false, "draining": true },
            { "name": "e", "id": "5", "state": "alive", "in_view": true, "active": false, "draining": false },
        ] });
        let text = nodes_text(&said);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[0],
            "name    id  state            region  connections  owns    address        version"
        );
        assert_eq!(rows[1], "a       1   alive            fra     12           50.0 %  10.0.0.1:7800  0.1.0");
        assert_eq!(rows[2], "longer  2   draining         fra     -            0.0 %   -              -");
        assert_eq!(rows[3], "c       3   left             fra     -            0.0 %   -              -");
        assert_eq!(rows[4], "d       4   not in the View  -       -            0.0 %   -              -");
        assert_eq!(rows[5], "e       5   waiting          -       -            0.0 %   -              -");
    }

    #[test]
    fn a_user_who_is_nowhere_is_said_so() {
        assert_eq!(
            connections_text(&json!({ "user": "ada", "connections": [] })),
            "ada is connected nowhere"
        );
        let said =
            json!({ "user": "ada", "connections": [{ "node": "a", "shard": 1, "client": "x", "age_s": 5 }] });
        assert_eq!(connections_text(&said), "node  shard  client  age\na     1      x       5 s");
    }
}
