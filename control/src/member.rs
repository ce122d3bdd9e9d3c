//! What a node tells the fleet about itself.
//!
//! Invariants: only the node itself writes its record; of two records of one node the later one wins,
//! whichever arrives last; nothing here decides ownership but what [`Member::in_view`] copies.

use crate::limits::{REGION_BYTES_MAX, WEIGHT_DEFAULT, WEIGHT_MAX};
use crate::node::{BadName, Incarnation, NodeId, NodeName, check};
use crate::view::ViewNode;

/// Where a node stands: a name by the rules of [`NodeName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Region(Box<str>);

/// A node's share of the channels, relative to the others' weights: 1 to 10,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Weight(u16);

/// The version of a node's build: major, minor, patch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(pub u16, pub u16, pub u16);

/// A node's record of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name; the id follows from it.
    pub name: NodeName,
    /// Which life of the node wrote this.
    pub incarnation: Incarnation,
    /// Counts the records of this life: a change of anything below is a new revision.
    pub revision: u32,
    /// Where it stands.
    pub region: Region,
    /// Its share of the channels.
    pub weight: Weight,
    /// Its build.
    pub version: Version,
    /// Its shards, at least 1.
    pub shards: u16,
    /// It is leaving: it keeps its clients for now, takes no new ones and owns nothing.
    pub draining: bool,
    /// Client connections it holds. A hint for operators and balancers, never for ownership.
    pub connections: u32,
}

impl Region {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`BadName`]: empty, too long, or with a character outside of the set.
    pub fn new(name: &str) -> Result<Self, BadName> {
        check(name, REGION_BYTES_MAX)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Weight {
    /// A weight of 1 to [`WEIGHT_MAX`]; `None` outside of that. A node that shall own nothing drains.
    #[must_use]
    pub const fn new(weight: u16) -> Option<Self> {
        if weight == 0 || weight > WEIGHT_MAX { None } else { Some(Self(weight)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(WEIGHT_DEFAULT)
    }
}

impl Member {
    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.name.id()
    }

    /// Whether this record replaces `other`: same node, and of a later life or a later record of the same life.
    #[must_use]
    pub fn supersedes(&self, other: &Member) -> bool {
        self.name == other.name && (self.incarnation, self.revision) > (other.incarnation, other.revision)
    }

    /// What of it decides ownership.
    #[must_use]
    pub fn in_view(&self) -> ViewNode {
        ViewNode { id: self.id(), incarnation: self.incarnation, weight: self.weight, active: !self.draining }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, incarnation: u64, revision: u32) -> Member {
        Member {
            name: NodeName::new(name).expect("a name"),
            incarnation: Incarnation(incarnation),
            revision,
            region: Region::new("fra").expect("a name"),
            weight: Weight::default(),
            version: Version(0, 1, 0),
            shards: 2,
            draining: false,
            connections: 7,
        }
    }

    #[test]
    fn the_later_record_wins() {
        // (incarnation, revision) of the record, of the one known, whether it replaces it
        let cases = [
            ((1, 1), (1, 0), true),
            ((1, 0), (1, 0), false),
            ((1, 0), (1, 1), false),
            ((2, 0), (1, 9), true),
            ((1, 9), (2, 0), false),
        ];
        for ((incarnation, revision), (known_incarnation, known_revision), expected) in cases {
            let record = member("a", incarnation, revision);
            assert_eq!(record.supersedes(&member("a", known_incarnation, known_revision)), expected);
            assert!(!record.supersedes(&member("b", known_incarnation, known_revision)));
        }
    }

    #[test]
    fn load_never_reaches_the_view() {
        let quiet = member("a", 1, 0);
        let busy = Member { connections: 900_000, revision: 1, ..quiet.clone() };
        assert_eq!(quiet.in_view(), busy.in_view());
        let leaving = Member { draining: true, ..quiet.clone() };
        assert!(quiet.in_view().active && !leaving.in_view().active);
    }

    #[test]
    fn weights_and_regions_are_checked() {
        assert_eq!(Weight::new(0), None);
        assert_eq!(Weight::new(1).map(Weight::get), Some(1));
        assert_eq!(Weight::new(10_000).map(Weight::get), Some(10_000));
        assert_eq!(Weight::new(10_001), None);
        assert_eq!(Region::new("eu-1").unwrap().as_str(), "eu-1");
        assert_eq!(Region::new("EU"), Err(BadName::Character('E')));
    }
}
