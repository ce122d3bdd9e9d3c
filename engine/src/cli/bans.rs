//! `bans` and `sources`: whom a running node has banned, and which sources stand out.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::asking::{Said, ask_node, show};
use super::fleet::{escaped, table};
use super::{Exit, QueryArguments, complain};

pub(super) const AFTER: &str = "\
Bans are of the node that is asked; each node of a fleet has its own, and a restart forgets them. Who is always to be refused
belongs into guard.deny, who never into guard.exempt.

Examples:
  roadstead bans                                the bans that hold, and for how long
  roadstead bans lift 192.0.2.7                 let it in again; of IPv6, any address of the network stands for it

Exit codes: 0 done, 1 no answer, or there was no such ban, 2 wrong usage";

/// `bans`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BansArguments {
    /// What to do.
    #[command(subcommand)]
    pub action: Option<BansAction>,
    /// Which node to ask, and the form of the answer.
    #[command(flatten)]
    pub query: QueryArguments,
}

/// What can be done with bans.
#[derive(Debug, Subcommand)]
pub enum BansAction {
    /// Take a ban back, and forget what led to it
    Lift {
        /// An address, or a network such as 2001:db8::/64
        source: String,
        /// Which node to ask, and the form of the answer.
        #[command(flatten)]
        query: QueryArguments,
    },
}

/// Lists bans or takes one back.
#[must_use]
pub fn bans(arguments: &BansArguments) -> Exit {
    match &arguments.action {
        None => ask(&arguments.query, "GET", "/bans", bans_text),
        Some(BansAction::Lift { source, query }) => {
            ask(query, "DELETE", &format!("/bans?source={}", escaped(source)), lifted_text)
        }
    }
}

/// Lists the sources that stand out.
#[must_use]
pub fn sources(arguments: &QueryArguments) -> Exit {
    ask(arguments, "GET", "/sources", sources_text)
}

fn ask(query: &QueryArguments, method: &str, path: &str, text: fn(&Value) -> String) -> Exit {
    match ask_node(query, method, path).and_then(Said::ok) {
        Ok(said) => show(query, &said, text),
        Err(reason) => {
            complain(&reason);
            Exit::Failure
        }
    }
}

fn bans_text(said: &Value) -> String {
    let rows: Vec<[String; 3]> = list(&said["bans"])
        .map(|ban| [word(&ban["source"]), format!("{} s", ban["left_s"]), ban["times"].to_string()])
        .collect();
    if rows.is_empty() {
        return "nobody is banned".into();
    }
    let more = said["count"].as_u64().unwrap_or(0).saturating_sub(rows.len() as u64);
    let rest = if more > 0 { format!("\nand {more} more") } else { String::new() };
    table(["source", "ends in", "times"], rows) + &rest
}

fn lifted_text(said: &Value) -> String {
    format!("{} is not banned any more", word(&said["lifted"]))
}

fn sources_text(said: &Value) -> String {
    let mut text = format!("{} sources are remembered, {} are banned", said["sources"], said["banned"]);
    for (measure, top) in said["by"].as_object().into_iter().flatten() {
        let rows: Vec<[String; 4]> = list(top)
            .map(|source| {
                let value =
                    if source[measure].is_null() { &source["lately"][measure] } else { &source[measure] };
                [
                    word(&source["source"]),
                    value.to_string(),
                    source["connections"].to_string(),
                    source["points"].to_string(),
                ]
            })
            .collect();
        if !rows.is_empty() {
            text += &format!("\n\nby {}:\n", measure.replace('_', " "));
            text += &table(["source", "lately", "connections", "points"], rows);
        }
    }
    text
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bans_are_a_table() {
        assert_eq!(bans_text(&json!({ "count": 0, "bans": [] })), "nobody is banned");
        let said = json!({ "count": 3, "bans": [
            { "source": "192.0.2.7", "left_s": 59, "times": 1 },
            { "source": "2001:db8::/64", "left_s": 7, "times": 3 },
        ] });
        assert_eq!(
            bans_text(&said),
            "source         ends in  times\n192.0.2.7      59 s     1\n2001:db8::/64  7 s      3\nand 1 more"
        );
    }

    #[test]
    fn sources_are_tables_by_what_they_stand_out_in() {
        let source = json!({ "source": "192.0.2.7", "connections": 3, "points": 12.5, "lately": { "connects": 40.0 } });
        let said = json!({ "sources": 9, "banned": 1,
            "by": { "connects": [source], "points": [source], "refused": [] } });
        assert_eq!(
            sources_text(&said),
            "9 sources are remembered, 1 are banned\n\n\
             by connects:\nsource     lately  connections  points\n192.0.2.7  40.0    3            12.5\n\n\
             by points:\nsource     lately  connections  points\n192.0.2.7  12.5    3            12.5"
        );
    }
}
