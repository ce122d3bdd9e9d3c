//! The environment: `ROADSTEAD_LIMITS__CONNECTIONS` is `limits.connections`; `__` separates, case does not matter.
//!
//! Invariant: every variable that begins with the prefix is a setting, is known here, or is an error.

use std::ffi::OsString;
use std::path::PathBuf;

use super::entry::{Entry, Origin, Problem, Value};
use super::spelling;

const PREFIX: &str = "ROADSTEAD_";
/// Names the configuration file where no `--config` does.
pub(super) const FILE_VARIABLE: &str = "ROADSTEAD_CONFIG";

/// The file that the environment names.
pub(super) fn file(variables: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, path) = variables.iter().find(|(name, path)| name == FILE_VARIABLE && !path.is_empty())?;
    Some(path.into())
}

/// The entries of the environment, sorted by name: the order of variables means nothing.
pub(super) fn entries(variables: &[(OsString, OsString)], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if name == FILE_VARIABLE || is_service_link(name) {
            continue;
        }
        let key = key(name);
        let origin = Origin::Environment(name.into());
        match value.to_str() {
            Some(value) => entries.push(Entry { key, value: Value::Word(value.into()), origin }),
            None => problems.push(Problem {
                key: Some(key),
                value: None,
                origin: Some(origin),
                reason: "the value is not UTF-8".into(),
            }),
        }
    }
    entries.retain(|entry| {
        let known = super::setting::find(&entry.key).is_some();
        if !known {
            problems.push(spelling::unknown(entry));
        }
        known
    });
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}

/// The variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn key(variable: &str) -> String {
    variable[PREFIX.len()..].replace("__", ".").to_ascii_lowercase()
}

/// Kubernetes puts `ROADSTEAD_SERVICE_HOST`, `ROADSTEAD_PORT_8000_TCP_ADDR` and the like into every container
/// beside a service named roadstead. They say nothing to us.
fn is_service_link(name: &str) -> bool {
    let ends = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_TCP", "_UDP"];
    let holds = ["_SERVICE_PORT_", "_TCP_", "_UDP_"];
    ends.iter().any(|end| name.ends_with(end)) || holds.iter().any(|part| name.contains(part))
}
