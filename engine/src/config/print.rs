//! The configuration as people and programs read it: each key, its value, its origin. Secrets are redacted.

use std::fmt::Write;

use serde_json::{Value, json};

use super::table::TABLE;
use super::{Configuration, Origin, Problem};

/// TOML that can be used as a configuration file, with the origin of each value as a comment. What is not set and
/// what is secret is commented out.
#[must_use]
pub fn print_text(configuration: &Configuration) -> String {
    let mut settings = configuration.settings.clone();
    let lines: Vec<(String, String)> = TABLE
        .iter()
        .map(|row| {
            let value = row.slot.show(&mut settings);
            let secret = super::is_secret(row.key);
            let line = match value {
                Value::Null => format!("# {} is not set", row.key),
                _ if secret => format!("# {} = {}", row.key, value.as_str().unwrap_or_default()),
                _ => format!("{} = {value}", row.key),
            };
            (line, origin(configuration, row.key).to_string())
        })
        .collect();
    let width = lines.iter().map(|(line, _)| line.len()).filter(|width| *width <= 60).max().unwrap_or(0);
    lines.iter().fold(String::new(), |mut text, (line, origin)| {
        let _ = writeln!(text, "{line:width$}  # {origin}");
        text
    })
}

/// One object for each setting: key, value, origin, default, what is allowed, meaning.
#[must_use]
pub fn print_json(configuration: &Configuration) -> Value {
    let mut settings = configuration.settings.clone();
    let mut defaults = crate::settings::Settings::default();
    let rows = TABLE.iter().map(|row| {
        json!({
            "key": row.key,
            "value": row.slot.show(&mut settings),
            "origin": origin(configuration, row.key).to_string(),
            "default": row.slot.show(&mut defaults),
            "allowed": row.slot.allowed(),
            "reload": row.live,
            "doc": row.doc,
        })
    });
    json!({ "valid": true, "warnings": configuration.warnings, "settings": rows.collect::<Vec<_>>() })
}

/// The problems of a configuration that is not valid.
#[must_use]
pub fn problems_json(problems: &[Problem]) -> Value {
    let rows = problems.iter().map(|problem| {
        json!({
            "key": problem.key,
            "value": problem.value,
            "origin": problem.origin.as_ref().map(ToString::to_string),
            "reason": problem.reason,
        })
    });
    json!({ "valid": false, "problems": rows.collect::<Vec<_>>() })
}

fn origin<'a>(configuration: &'a Configuration, key: &str) -> &'a Origin {
    configuration.origins.get(key).unwrap_or(&Origin::Default)
}
