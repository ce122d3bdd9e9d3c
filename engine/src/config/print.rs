//! The configuration as people and programs read it: each key, its value, its origin. Secrets are redacted.

use std::fmt::Write;

use serde_json::{Value, json};

use super::setting;
use super::{Configuration, Origin, Problem};

/// TOML that can be used as a configuration file, with the origin of each value as a comment. What is not set and
/// what is secret is commented out.
#[must_use]
pub fn print_text(configuration: &Configuration) -> String {
    let mut settings = configuration.settings.clone();
    let lines: Vec<(String, String)> = setting::all(&configuration.settings)
        .map(|setting| {
            let (key, value) = (setting.key(), setting.show(&mut settings));
            let line = match value {
                Value::Null => format!("# {key} is not set"),
                _ if setting.is_secret() => format!("# {key} = {}", value.as_str().unwrap_or_default()),
                _ => format!("{key} = {value}"),
            };
            (line, origin(configuration, &key).to_string())
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
    let rows = setting::all(&configuration.settings).map(|setting| {
        let key = setting.key();
        json!({
            "key": key,
            "value": setting.show(&mut settings),
            "origin": origin(configuration, &key).to_string(),
            "default": setting.show(&mut defaults),
            "allowed": setting.allowed(),
            "reload": setting.is_live(),
            "doc": setting.doc(),
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
