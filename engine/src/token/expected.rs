//! Whom a token must be from or for: one name, or every name that fits a pattern.

use crate::settings::NamePattern;

/// A name, or a pattern for names.
#[derive(Debug)]
pub(super) enum Expected {
    /// Exactly this.
    Name(String),
    /// Whatever fits this.
    Pattern(NamePattern),
}

impl Expected {
    /// From what the settings say of either; `None`: nothing is expected.
    pub(super) fn new(name: Option<&str>, pattern: Option<&str>) -> Result<Option<Self>, String> {
        match (name, pattern) {
            (Some(name), _) => Ok(Some(Self::Name(name.to_owned()))),
            (None, Some(pattern)) => NamePattern::whole(pattern).map(|pattern| Some(Self::Pattern(pattern))),
            (None, None) => Ok(None),
        }
    }

    /// Whether it is this one.
    pub(super) fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(expected) => expected == name,
            Self::Pattern(pattern) => pattern.matches(name),
        }
    }
}
