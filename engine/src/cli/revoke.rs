//! `revoke` and `revocations`: takes tokens back on the whole fleet, and shows what was taken back.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;

use super::asking::{Said, ask_node, show};
use super::fleet::{escaped, table};
use super::token::{Lifetime, lifetime};
use super::{Exit, QueryArguments, complain};

pub(super) const AFTER: &str = "\
Whoever is connected by what is revoked is closed with 3500, and refused when it comes back, on every node of the fleet: at once where
there is a link, else as soon as there is one. Of a user, tokens are revoked that were issued (iat) before now, and those that do not
say when; one issued later is good. --for says how long it is remembered: as long as the tokens in question could live.

Examples:
  roadstead revoke --token-id 5f0c6a1e
  roadstead revoke --user ann --for 7d
  roadstead revoke --user ann --issued-before 1764000000 --until 1764600000
  roadstead revocations

Exit codes: 0 in force and on disk (or no data_dir is set), 1 not done, or not on disk, 2 wrong usage";

/// `revoke`.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["token_id", "user"])]
pub struct RevokeArguments {
    /// The token with this id (jti)
    #[arg(long, value_name = "ID")]
    pub token_id: Option<String>,
    /// All tokens of this user, connection and subscription tokens
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only tokens of the user that were issued before this, in Unix seconds [default: now]
    #[arg(long, value_name = "UNIX_SECONDS", conflicts_with = "token_id")]
    pub issued_before: Option<u64>,
    /// How long it is in force, such as 12h or 30d
    #[arg(long = "for", value_name = "TIME", default_value = "30d", value_parser = span)]
    pub span_s: u64,
    /// Until when it is in force, in Unix seconds
    #[arg(long, value_name = "UNIX_SECONDS", conflicts_with = "span_s")]
    pub until: Option<u64>,
    /// Which node, and the form of the answer.
    #[command(flatten)]
    pub query: QueryArguments,
}

/// Takes a token, or a user's tokens, back.
#[must_use]
pub fn revoke(arguments: &RevokeArguments) -> Exit {
    match ask_node(&arguments.query, "POST", &path(arguments)).and_then(Said::ok) {
        Ok(said) => {
            if said["durable"] != true {
                complain("data_dir is not set: when all nodes have ended, nobody knows of it any more");
            }
            show(&arguments.query, &said, revoked_text)
        }
        Err(reason) => {
            complain(&reason);
            Exit::Failure
        }
    }
}

/// Lists what is revoked.
#[must_use]
pub fn revocations(arguments: &QueryArguments) -> Exit {
    match ask_node(arguments, "GET", "/revocations").and_then(Said::ok) {
        Ok(said) => show(arguments, &said, revocations_text),
        Err(reason) => {
            complain(&reason);
            Exit::Failure
        }
    }
}

fn path(arguments: &RevokeArguments) -> String {
    let mut path = String::from("/revocations?");
    let _ = match arguments.until {
        Some(until) => write!(path, "until={until}"),
        None => write!(path, "for_s={}", arguments.span_s),
    };
    let texts = [("token_id", &arguments.token_id), ("user", &arguments.user)];
    for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
        let _ = write!(path, "&{key}={}", escaped(text));
    }
    if let Some(issued_before) = arguments.issued_before {
        let _ = write!(path, "&issued_before={issued_before}");
    }
    path
}

fn span(text: &str) -> Result<u64, String> {
    match lifetime(text)? {
        Lifetime(Some(span_s)) => Ok(span_s),
        Lifetime(None) => Err("it must end: say for how long, such as 30d".into()),
    }
}

fn revoked_text(said: &Value) -> String {
    let revoked = &said["revoked"];
    let until = left(&revoked["until"]);
    match (revoked["user"].as_str(), revoked["token_id"].as_str()) {
        (Some(user), _) => {
            format!("revoked for {until}: tokens of {user} issued before {}", revoked["issued_before"])
        }
        (_, id) => format!("revoked for {until}: token {}", id.unwrap_or_default()),
    }
}

fn revocations_text(said: &Value) -> String {
    let list = said["revocations"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = list.iter().map(|row| {
        let (kind, name) = match row["user"].as_str() {
            Some(user) => ("user", user),
            None => ("token", row["token_id"].as_str().unwrap_or_default()),
        };
        let issued = row["issued_before"].as_u64().map_or("-".into(), |at| at.to_string());
        [kind.into(), name.into(), issued, left(&row["until"])]
    });
    let mut text = table(["revoked", "name", "issued before", "for"], rows.collect());
    let count = said["count"].as_u64().unwrap_or(0);
    if count > list.len() as u64 {
        let _ = write!(text, "\n{} of {count}", list.len());
    }
    text
}

/// The time until then.
fn left(until: &Value) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    super::query::span(&Value::from(until.as_u64().unwrap_or(0).saturating_sub(now_s)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: RevokeArguments,
    }

    #[test]
    fn lines_become_questions() {
        for (line, expected) in [
            ("--token-id a&b", Some("/revocations?for_s=2592000&token_id=a%26b")),
            ("--user ann --for 1h", Some("/revocations?for_s=3600&user=ann")),
            ("--user ann --issued-before 7 --until 9", Some("/revocations?until=9&user=ann&issued_before=7")),
            ("", None),
            ("--user ann --token-id a", None),
            ("--token-id a --issued-before 7", None),
            ("--user ann --for never", None),
            ("--user ann --for 1h --until 9", None),
        ] {
            let words = std::iter::once("revoke").chain(line.split_ascii_whitespace());
            let read = Line::try_parse_from(words).ok();
            assert_eq!(read.map(|read| path(&read.arguments)).as_deref(), expected, "{line}");
        }
    }
}
