//! One value as a source gave it, where it came from, and what can be wrong with it.

use std::fmt;
use std::path::PathBuf;

use super::{is_secret, spelling};
use crate::settings::REDACTED;

/// A value before the table has looked at it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// TOML boolean.
    Flag(bool),
    /// TOML integer.
    Whole(i64),
    /// TOML string.
    Text(String),
    /// TOML array of strings.
    List(Vec<String>),
    /// The empty section of a namespace.
    Section,
    /// A TOML value that no setting takes, as text.
    Other(String),
    /// Environment and flags have only words; the table decides what they mean. Lists are separated by commas.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Text(value) | Self::Word(value) => write!(f, "{value:?}"),
            Self::List(values) => write!(f, "{values:?}"),
            Self::Section => f.write_str("a table"),
            Self::Other(value) => f.write_str(value),
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program itself.
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line of the key.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A key with a value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dotted key, such as `limits.connections`.
    pub key: String,
    /// What was given.
    pub value: Value,
    /// Who gave it.
    pub origin: Origin,
}

impl Entry {
    /// The entry of a command line flag.
    #[must_use]
    pub fn flag(name: &str, key: &str, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: Value::Word(value.into()), origin: Origin::Flag(name.into()) }
    }

    pub(super) fn problem(&self, reason: impl Into<String>) -> Problem {
        let hidden = is_secret(&self.key)
            || spelling::sounds_secret(&self.key)
            || names_a_user(&self.value.to_string());
        Problem {
            key: Some(self.key.clone()),
            value: Some(if hidden { REDACTED.into() } else { self.value.to_string() }),
            origin: Some(self.origin.clone()),
            reason: reason.into(),
        }
    }
}

/// Whether it looks like an address with a user, and a password perhaps.
fn names_a_user(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(_, rest)| rest.split(['/', '?']).next().is_some_and(|host| host.contains('@')))
}

/// Why a configuration is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, where one is concerned.
    pub key: Option<String>,
    /// The value as given, secrets redacted.
    pub value: Option<String>,
    /// Who gave it.
    pub origin: Option<Origin>,
    /// What is wrong and what is allowed.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, "{key} = {value}: ")?,
            (Some(key), None) => write!(f, "{key}: ")?,
            _ => {}
        }
        f.write_str(&self.reason)
    }
}
