//! What a node tells the fleet about itself.
//!
//! Invariants: only the node itself writes its record; of two records of one node the later one wins,
//! whichever arrives last; nothing here decides ownership but what [`Member::in_view`] copies.

use core::net::SocketAddr;

use crate::limits::{MEMBER_BYTES_MAX, REGION_BYTES_MAX, WEIGHT_DEFAULT, WEIGHT_MAX};
use crate::node::{BadName, Incarnation, NodeId, NodeName, check};
use crate::view::{Duty, ViewNode};
use crate::wire::{Malformed, Reader, push_address, push_text};

/// The version of a record's encoding. A later one only adds at the end.
const ENCODING: u8 = 1;

/// The bits of the flags.
const DRAINING: u8 = 1;
const SETTLED: u8 = 2;

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
    /// Where the fleet reaches it: gossip in datagrams, links in TCP, both at this address.
    pub address: SocketAddr,
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
    /// It has stayed as it is for a window, by its own count: others need not wait for it any more, whenever they heard of it.
    pub settled: bool,
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
        let duty = if self.draining { Duty::Draining } else { Duty::Active };
        ViewNode { id: self.id(), incarnation: self.incarnation, weight: self.weight, duty }
    }

    /// Appends the record as it is gossiped: version, name, incarnation, revision, address, region, weight, build, shards,
    /// flags, connections. Integers are little-endian, texts have a length of one byte before them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(ENCODING);
        push_text(out, self.name.as_str());
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.revision.to_le_bytes());
        push_address(out, self.address);
        push_text(out, self.region.as_str());
        out.extend_from_slice(&self.weight.get().to_le_bytes());
        for part in [self.version.0, self.version.1, self.version.2, self.shards] {
            out.extend_from_slice(&part.to_le_bytes());
        }
        let flag = |bit, is_set| if is_set { bit } else { 0 };
        out.push(flag(DRAINING, self.draining) | flag(SETTLED, self.settled));
        out.extend_from_slice(&self.connections.to_le_bytes());
    }

    /// Reads a record that fills `bytes`. What follows the known fields was added by a later version and is skipped, and so
    /// are unknown flags.
    ///
    /// # Errors
    /// [`Malformed`]: too long, cut short, of version 0, or with a value outside of its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MEMBER_BYTES_MAX {
            return Err(Malformed);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? < ENCODING {
            return Err(Malformed);
        }
        let mut member = Self {
            name: NodeName::new(reader.text()?).map_err(|_| Malformed)?,
            incarnation: Incarnation(reader.u64()?),
            revision: reader.u32()?,
            address: reader.address()?,
            region: Region::new(reader.text()?).map_err(|_| Malformed)?,
            weight: Weight::new(reader.u16()?).ok_or(Malformed)?,
            version: Version(reader.u16()?, reader.u16()?, reader.u16()?),
            shards: reader.u16()?,
            draining: false,
            settled: false,
            connections: 0,
        };
        let flags = reader.u8()?;
        (member.draining, member.settled) = (flags & DRAINING != 0, flags & SETTLED != 0);
        member.connections = reader.u32()?;
        if member.shards == 0 { Err(Malformed) } else { Ok(member) }
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
            address: SocketAddr::from(([127, 0, 0, 1], 7400)),
            region: Region::new("fra").expect("a name"),
            weight: Weight::default(),
            version: Version(0, 1, 0),
            shards: 2,
            draining: false,
            settled: true,
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
        assert_eq!((quiet.in_view().duty, leaving.in_view().duty), (Duty::Active, Duty::Draining));
    }

    #[test]
    fn records_survive_the_wire() {
        let longest = Member {
            name: NodeName::new(&"n".repeat(63)).unwrap(),
            region: Region::new(&"r".repeat(63)).unwrap(),
            address: "[2001:db8::7]:7400".parse().unwrap(),
            draining: true,
            ..member("a", u64::MAX, u32::MAX)
        };
        for record in [member("a", 1, 0), longest] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert!(bytes.len() <= 176);
            assert_eq!(Member::decode(&bytes), Ok(record.clone()));
            for cut in 0..bytes.len() {
                assert_eq!(Member::decode(&bytes[..cut]), Err(Malformed), "cut at {cut}");
            }
            bytes[0] += 1;
            bytes.extend_from_slice(b"of a later version");
            assert_eq!(Member::decode(&bytes), Ok(record));
            bytes.resize(MEMBER_BYTES_MAX + 1, 0);
            assert_eq!(Member::decode(&bytes), Err(Malformed));
        }
    }

    #[test]
    fn values_outside_of_their_limits_are_refused() {
        let record = member("a", 1, 0);
        let mut good = Vec::new();
        record.encode(&mut good);
        // (offset, byte): version, name, family of the address, region, weight, shards
        for (at, byte) in [(0, 0), (2, b'A'), (15, 5), (23, b'!'), (26, 0), (34, 0)] {
            let mut bad = good.clone();
            assert_ne!(bad[at], byte);
            bad[at] = byte;
            assert_eq!(Member::decode(&bad), Err(Malformed), "{byte} at {at}");
        }
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
