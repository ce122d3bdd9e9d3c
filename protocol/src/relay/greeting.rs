//! What is said before a link is up: who is there, which version both speak, and that both have the cluster's key.

use super::malformed::Malformed;
use super::wire::{Reader, Writer};

/// A greeting. Proofs are over the greetings before them; what they are computed from is not decided here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeting<'a> {
    /// The dialler's first word.
    Hello {
        /// The relay versions it speaks, least and greatest.
        versions: (u16, u16),
        /// Its version of everything that is placed by hash; must be the acceptor's.
        hash_version: u16,
        /// Its cluster's name.
        cluster: &'a str,
        /// Its node name.
        node: &'a str,
        /// Which life of the node.
        incarnation: u64,
        /// Its shards.
        shards: u16,
        /// Which link of the pair this is, from 0.
        index: u8,
        /// How many links the pair has.
        links: u8,
        /// The link's session: rises with each attempt of this life at this index.
        session: u64,
        /// Random, for the acceptor's proof.
        nonce: [u8; 16],
    },
    /// The acceptor's answer.
    Welcome {
        /// The version to speak, within the dialler's.
        version: u16,
        /// Its cluster's name.
        cluster: &'a str,
        /// Its node name.
        node: &'a str,
        /// Which life of the node.
        incarnation: u64,
        /// Its shards.
        shards: u16,
        /// Random, for the dialler's proof.
        nonce: [u8; 16],
        /// That it has a key of the cluster.
        proof: [u8; 32],
    },
    /// The dialler's proof that it has a key of the cluster.
    Proof {
        /// The proof.
        proof: [u8; 32],
    },
    /// The link is up.
    Ready,
    /// The acceptor will not have the link.
    Refuse {
        /// Why.
        code: RefuseCode,
        /// Why, for the operator of the other node.
        text: &'a str,
    },
}

/// Why an acceptor refused a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefuseCode {
    /// No relay version in common, or placement by another hash.
    Version,
    /// Another cluster's name.
    Cluster,
    /// The proof was made with a key that is not known here.
    Key,
    /// The dialler's life is not in the acceptor's View (yet, or any more).
    NotInView,
    /// The dialler has the acceptor's own name, or an id that is the acceptor's.
    Duplicate,
    /// A later life of the dialler, or this session or a later one, was seen.
    Stale,
    /// More links than the acceptor serves.
    Limit,
    /// The greeting made no sense.
    Malformed,
    /// A reason that this build does not know.
    Other(u8),
}

impl<'a> Greeting<'a> {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Welcome { .. } => 2,
            Self::Proof { .. } => 3,
            Self::Ready => 4,
            Self::Refuse { .. } => 5,
        }
    }

    /// Reads the body of a greeting; `None`: `kind` is none of a greeting.
    pub(super) fn read(kind: u8, reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        Ok(Some(match kind {
            1 => Self::Hello {
                versions: (reader.u16()?, reader.u16()?),
                hash_version: reader.u16()?,
                cluster: reader.name()?,
                node: reader.name()?,
                incarnation: reader.u64()?,
                shards: reader.u16()?,
                index: reader.u8()?,
                links: reader.u8()?,
                session: reader.u64()?,
                nonce: reader.array()?,
            },
            2 => Self::Welcome {
                version: reader.u16()?,
                cluster: reader.name()?,
                node: reader.name()?,
                incarnation: reader.u64()?,
                shards: reader.u16()?,
                nonce: reader.array()?,
                proof: reader.array()?,
            },
            3 => Self::Proof { proof: reader.array()? },
            4 => Self::Ready,
            5 => Self::Refuse { code: RefuseCode::of_number(reader.u8()?), text: reader.name()? },
            _ => return Ok(None),
        }))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match *self {
            Self::Hello {
                versions,
                hash_version,
                cluster,
                node,
                incarnation,
                shards,
                index,
                links,
                session,
                nonce,
            } => {
                writer.u16(versions.0);
                writer.u16(versions.1);
                writer.u16(hash_version);
                writer.name(cluster);
                writer.name(node);
                writer.u64(incarnation);
                writer.u16(shards);
                writer.u8(index);
                writer.u8(links);
                writer.u64(session);
                writer.array(&nonce);
            }
            Self::Welcome { version, cluster, node, incarnation, shards, nonce, proof } => {
                writer.u16(version);
                writer.name(cluster);
                writer.name(node);
                writer.u64(incarnation);
                writer.u16(shards);
                writer.array(&nonce);
                writer.array(&proof);
            }
            Self::Proof { proof } => writer.array(&proof),
            Self::Ready => {}
            Self::Refuse { code, text } => {
                writer.u8(code.number());
                writer.name(text);
            }
        }
    }
}

impl RefuseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::Cluster => 2,
            Self::Key => 3,
            Self::NotInView => 4,
            Self::Duplicate => 5,
            Self::Stale => 6,
            Self::Limit => 7,
            Self::Malformed => 8,
            Self::Other(number) => number,
        }
    }

    const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Version,
            2 => Self::Cluster,
            3 => Self::Key,
            4 => Self::NotInView,
            5 => Self::Duplicate,
            6 => Self::Stale,
            7 => Self::Limit,
            8 => Self::Malformed,
            other => Self::Other(other),
        }
    }
}
