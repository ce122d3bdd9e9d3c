//! Who a node is: its name and its cluster's, the id that follows from it, and which of its lives this is.
//!
//! Invariants: an id is never handed out, it is the hash of a name, so a restarted node is the same owner
//! again; an incarnation is never reused by a node, so nothing of an earlier life is taken for the present
//! one.

use std::fmt;

use crate::hash::channel_hash;
use crate::limits::NODE_NAME_BYTES_MAX;

/// A node's name: 1 to 63 bytes of `a-z`, `0-9`, `-`, `.` and `_`; chosen by the operator, unique in the fleet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeName(Box<str>);

/// The name of the cluster that a node belongs to, by the rules of [`NodeName`]. Nodes of different clusters refuse each
/// other, even if they share a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterName(Box<str>);

/// Why a text is no [`NodeName`], [`ClusterName`] or [`crate::Region`]. The operator's mistake; shown to him.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    /// Nothing was given.
    Empty,
    /// More bytes than the limit.
    Long {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// A character that is not allowed.
    Character(char),
}

/// A node, in 32 bits that fit into connection ids: the hash of its name.
///
/// Two names of one fleet can share an id (about 1 in 10,000 for 1,000 nodes); that is refused like a
/// duplicate name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

/// One life of a node: larger is later. The process takes its start time (milliseconds of Unix time), given
/// from outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Incarnation(pub u64);

impl NodeName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`BadName`]: empty, too long, or with a character outside of the set.
    pub fn new(name: &str) -> Result<Self, BadName> {
        check(name, NODE_NAME_BYTES_MAX)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the node of this name: the upper half of the name's hash.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId((channel_hash(self.0.as_bytes()) >> 32) as u32)
    }
}

impl ClusterName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`BadName`]: empty, too long, or with a character outside of the set.
    pub fn new(name: &str) -> Result<Self, BadName> {
        check(name, NODE_NAME_BYTES_MAX)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The characters that need no quoting in labels, logs, file names and host names.
pub(crate) fn check(name: &str, bytes_max: usize) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > bytes_max {
        return Err(BadName::Long { bytes: name.len(), bytes_max });
    }
    match name.chars().find(|&c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.' | '_')) {
        Some(character) => Err(BadName::Character(character)),
        None => Ok(()),
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Long { bytes, bytes_max } => {
                write!(f, "has {bytes} bytes, at most {bytes_max} are allowed")
            }
            Self::Character(character) => {
                write!(f, "contains {character:?}, allowed are a-z, 0-9, '-', '.' and '_'")
            }
        }
    }
}

impl std::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "n".repeat(64);
        let cases: &[(&str, Result<(), BadName>)] = &[
            ("a", Ok(())),
            ("edge-1.fra_2", Ok(())),
            (&long[..63], Ok(())),
            ("", Err(BadName::Empty)),
            (&long, Err(BadName::Long { bytes: 64, bytes_max: 63 })),
            ("Edge", Err(BadName::Character('E'))),
            ("a b", Err(BadName::Character(' '))),
            ("a\n", Err(BadName::Character('\n'))),
            ("knöten", Err(BadName::Character('ö'))),
        ];
        for (name, expected) in cases {
            assert_eq!(NodeName::new(name).map(|_| ()), *expected, "{name:?}");
        }
    }

    #[test]
    fn an_id_follows_from_the_name_alone() {
        let id = |name| NodeName::new(name).unwrap().id();
        assert_eq!(id("a"), NodeId(0xc736_c5af));
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
        assert_eq!(id("a").to_string(), "c736c5af");
    }
}
