//! What is said on a link that is up: interest, publications, and where users are.

use super::located::LocatedEntries;
use super::malformed::Malformed;
use super::stream::{Found, Reading};
use super::wire::{Reader, Writer};

/// A place in a channel's sequence.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// Which order this is a place in; 0: none is known.
    pub epoch: u32,
    /// The last publication ordered, from 1; 0: none yet.
    pub sequence: u64,
}

/// One message between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relay<'a> {
    /// Answered by `Pong`, so that a silent peer is told from an idle one.
    Ping,
    /// Answers `Ping`.
    Pong,
    /// The sender's hub wants the channel; answered by `Top` or `NotOwner`.
    Announce {
        /// The channel.
        channel: &'a str,
        /// Numbers the question, from 1; its answer repeats it.
        ask: u32,
        /// What the sender has of it.
        position: Position,
    },
    /// The owner has added the sender to the channel's interested nodes; publications above the position follow.
    Top {
        /// The channel.
        channel: &'a str,
        /// The number of the `Announce`.
        ask: u32,
        /// The last publication ordered.
        position: Position,
    },
    /// The sender's hub wants the channel no more.
    Withdraw {
        /// The channel.
        channel: &'a str,
    },
    /// The sender does not own the channel (any more); an answer, or said unasked.
    NotOwner {
        /// The channel.
        channel: &'a str,
        /// The number of the `Announce`; 0: said unasked.
        ask: u32,
    },
    /// To be ordered and delivered; answered by `Published`.
    Publish {
        /// The sender's number for it.
        request: u64,
        /// The channel.
        channel: &'a str,
        /// What.
        publication: RelayedPublication<'a>,
    },
    /// How a `Publish` ended.
    Published {
        /// The number of the `Publish`.
        request: u64,
        /// How.
        outcome: Outcome,
    },
    /// A publication of a channel that the receiver announced, from the channel's owner.
    Deliver {
        /// The channel.
        channel: &'a str,
        /// Its place.
        position: Position,
        /// What.
        publication: RelayedPublication<'a>,
    },
    /// A connection of a user exists on the sender.
    Enter {
        /// Counts what this hub says to the receiver's in this session, from 1.
        sequence: u64,
        /// The user.
        user: &'a str,
        /// The connection, as the sender numbers it: slot below, generation above.
        connection: u64,
        /// The sender's shard that holds it.
        shard: u16,
        /// For how long it exists, seconds.
        age_s: u32,
    },
    /// A connection of a user is gone.
    Leave {
        /// As in `Enter`.
        sequence: u64,
        /// The user.
        user: &'a str,
        /// The connection.
        connection: u64,
    },
    /// One hub has told another everything that exists, in this session.
    Complete {
        /// The sender's hub shard.
        from_hub: u16,
        /// The receiver's hub shard.
        to_hub: u16,
        /// As in `Enter`.
        sequence: u64,
    },
    /// What one hub believes to have told another: counts and sums of hashes.
    Digest {
        /// The sender's hub shard.
        from_hub: u16,
        /// The receiver's hub shard.
        to_hub: u16,
        /// Announced channels: count, sum.
        interests: (u64, u64),
        /// Announced connections: count, sum.
        entries: (u64, u64),
    },
    /// What the sender knows of revocations: count and sum of hashes.
    Revocations {
        /// Count, sum.
        digest: (u64, u64),
    },
    /// A token, or a user's tokens, were taken back.
    Revocation {
        /// Of what.
        subject: RevokedSubject<'a>,
        /// Of a user: tokens issued before this, Unix seconds; of a token: 0.
        issued_before_s: u64,
        /// Until when it is in force, Unix seconds.
        until_s: u64,
    },
    /// Asks for the revocations behind a subject, tokens before users, each in the order of their bytes. Answered by `Revocation`,
    /// any number of times, and `RevocationsSent`.
    RevocationsAfter {
        /// Behind which; `None`: from the first on.
        subject: Option<RevokedSubject<'a>>,
    },
    /// A part of what was asked for was sent.
    RevocationsSent {
        /// Whether there are others behind it.
        more: bool,
    },
    /// Where is this user? Answered by `Located`.
    Locate {
        /// The sender's number for it.
        request: u64,
        /// The user.
        user: &'a str,
    },
    /// Answers `Locate`.
    Located {
        /// The number of the `Locate`.
        request: u64,
        /// Whether the sender could answer.
        outcome: Outcome,
        /// The user's connections.
        entries: LocatedEntries<'a>,
    },
    /// The sender's hub wants something of a channel's stream; answered by `Found`.
    Read {
        /// The sender's number for it.
        request: u64,
        /// The channel.
        channel: &'a str,
        /// What.
        reading: Reading,
    },
    /// Answers `Read`, behind every `Deliver` that was sent before the stream was read.
    Found {
        /// The number of the `Read`.
        request: u64,
        /// The channel.
        channel: &'a str,
        /// What was found, or the error code that the client gets.
        found: Result<Found<'a>, u32>,
    },
    /// An errand of the server API; answered by `ErrandDone`.
    Errand {
        /// The sender's number for it.
        request: u64,
        /// The receiver's shard, where the errand is not about a user.
        shard: u16,
        /// What, as JSON.
        errand: &'a [u8],
    },
    /// Answers `Errand`.
    ErrandDone {
        /// The number of the `Errand`.
        request: u64,
        /// What came of it, as JSON.
        report: &'a [u8],
    },
}

/// What a revocation is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokedSubject<'a> {
    /// A token, by its id.
    Token(&'a str),
    /// A user.
    User(&'a str),
}

/// How a request to an owner ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As asked.
    Accepted,
    /// Refused, with the error code that the client gets.
    Refused(u32),
    /// The receiver of the request does not own the channel.
    NotOwner,
}

/// A publication and who published it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct RelayedPublication<'a> {
    /// The payload, as received.
    pub data: &'a [u8],
    /// User of the publishing client; empty: anonymous, or no client.
    pub user: &'a str,
    /// Client id of the publishing client; empty: no client.
    pub client: &'a str,
    /// Its connection info, raw JSON.
    pub conn_info: Option<&'a [u8]>,
}

impl<'a> Relay<'a> {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Ping => 16,
            Self::Pong => 17,
            Self::Announce { .. } => 18,
            Self::Top { .. } => 19,
            Self::Withdraw { .. } => 20,
            Self::NotOwner { .. } => 21,
            Self::Publish { .. } => 22,
            Self::Published { .. } => 23,
            Self::Deliver { .. } => 24,
            Self::Enter { .. } => 25,
            Self::Leave { .. } => 26,
            Self::Complete { .. } => 27,
            Self::Digest { .. } => 28,
            Self::Locate { .. } => 29,
            Self::Located { .. } => 30,
            Self::Revocations { .. } => 31,
            Self::Revocation { .. } => 32,
            Self::RevocationsAfter { .. } => 33,
            Self::RevocationsSent { .. } => 34,
            Self::Read { .. } => 35,
            Self::Found { .. } => 36,
            Self::Errand { .. } => 40,
            Self::ErrandDone { .. } => 41,
        }
    }

    /// Reads the body of a message; `None`: `kind` is none of a message.
    pub(super) fn read(kind: u8, reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        Ok(Some(match kind {
            16 => Self::Ping,
            17 => Self::Pong,
            18 => {
                Self::Announce { channel: reader.name()?, ask: reader.u32()?, position: reader.position()? }
            }
            19 => Self::Top { channel: reader.name()?, ask: reader.u32()?, position: reader.position()? },
            20 => Self::Withdraw { channel: reader.name()? },
            21 => Self::NotOwner { channel: reader.name()?, ask: reader.u32()? },
            22 => Self::Publish {
                request: reader.u64()?,
                channel: reader.name()?,
                publication: RelayedPublication::read(reader)?,
            },
            23 => Self::Published { request: reader.u64()?, outcome: Outcome::read(reader)? },
            24 => Self::Deliver {
                channel: reader.name()?,
                position: reader.position()?,
                publication: RelayedPublication::read(reader)?,
            },
            25 => Self::Enter {
                sequence: reader.u64()?,
                user: reader.name()?,
                connection: reader.u64()?,
                shard: reader.u16()?,
                age_s: reader.u32()?,
            },
            26 => Self::Leave { sequence: reader.u64()?, user: reader.name()?, connection: reader.u64()? },
            27 => Self::Complete { from_hub: reader.u16()?, to_hub: reader.u16()?, sequence: reader.u64()? },
            28 => Self::Digest {
                from_hub: reader.u16()?,
                to_hub: reader.u16()?,
                interests: reader.pair()?,
                entries: reader.pair()?,
            },
            29 => Self::Locate { request: reader.u64()?, user: reader.name()? },
            30 => Self::Located {
                request: reader.u64()?,
                outcome: Outcome::read(reader)?,
                entries: LocatedEntries::read(reader)?,
            },
            31 => Self::Revocations { digest: reader.pair()? },
            32 => Self::Revocation {
                subject: RevokedSubject::read(reader)?.ok_or(Malformed::Value)?,
                issued_before_s: reader.u64()?,
                until_s: reader.u64()?,
            },
            33 => Self::RevocationsAfter { subject: RevokedSubject::read(reader)? },
            34 => match reader.u8()? {
                more @ (0 | 1) => Self::RevocationsSent { more: more == 1 },
                _ => return Err(Malformed::Value),
            },
            35 => Self::Read {
                request: reader.u64()?,
                channel: reader.name()?,
                reading: Reading::read(reader)?,
            },
            36 => {
                Self::Found { request: reader.u64()?, channel: reader.name()?, found: Found::read(reader)? }
            }
            40 => Self::Errand { request: reader.u64()?, shard: reader.u16()?, errand: reader.bytes()? },
            41 => Self::ErrandDone { request: reader.u64()?, report: reader.bytes()? },
            _ => return Ok(None),
        }))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match *self {
            Self::Ping | Self::Pong => {}
            Self::Announce { channel, ask, position } | Self::Top { channel, ask, position } => {
                writer.name(channel);
                writer.u32(ask);
                writer.position(position);
            }
            Self::Withdraw { channel } => writer.name(channel),
            Self::NotOwner { channel, ask } => {
                writer.name(channel);
                writer.u32(ask);
            }
            Self::Publish { request, channel, publication } => {
                writer.u64(request);
                writer.name(channel);
                publication.write(writer);
            }
            Self::Published { request, outcome } => {
                writer.u64(request);
                outcome.write(writer);
            }
            Self::Deliver { channel, position, publication } => {
                writer.name(channel);
                writer.position(position);
                publication.write(writer);
            }
            Self::Enter { sequence, user, connection, shard, age_s } => {
                writer.u64(sequence);
                writer.name(user);
                writer.u64(connection);
                writer.u16(shard);
                writer.u32(age_s);
            }
            Self::Leave { sequence, user, connection } => {
                writer.u64(sequence);
                writer.name(user);
                writer.u64(connection);
            }
            Self::Complete { from_hub, to_hub, sequence } => {
                writer.u16(from_hub);
                writer.u16(to_hub);
                writer.u64(sequence);
            }
            Self::Digest { from_hub, to_hub, interests, entries } => {
                writer.u16(from_hub);
                writer.u16(to_hub);
                writer.pair(interests);
                writer.pair(entries);
            }
            Self::Locate { request, user } => {
                writer.u64(request);
                writer.name(user);
            }
            Self::Revocations { digest } => writer.pair(digest),
            Self::Revocation { subject, issued_before_s, until_s } => {
                RevokedSubject::write(Some(subject), writer);
                writer.u64(issued_before_s);
                writer.u64(until_s);
            }
            Self::RevocationsAfter { subject } => RevokedSubject::write(subject, writer),
            Self::RevocationsSent { more } => writer.u8(more.into()),
            Self::Read { request, channel, reading } => {
                writer.u64(request);
                writer.name(channel);
                reading.write(writer);
            }
            Self::Found { request, channel, ref found } => {
                writer.u64(request);
                writer.name(channel);
                Found::write(found, writer);
            }
            Self::Errand { request, shard, errand } => {
                writer.u64(request);
                writer.u16(shard);
                writer.bytes(errand);
            }
            Self::ErrandDone { request, report } => {
                writer.u64(request);
                writer.bytes(report);
            }
            Self::Located { request, outcome, entries } => {
                writer.u64(request);
                outcome.write(writer);
                entries.write(writer);
            }
        }
    }
}

impl<'a> RevokedSubject<'a> {
    /// 0: none; 1: a token and its id; 2: a user and its name.
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        match reader.u8()? {
            0 => Ok(None),
            1 => Ok(Some(Self::Token(reader.name()?))),
            2 => Ok(Some(Self::User(reader.name()?))),
            _ => Err(Malformed::Value),
        }
    }

    fn write(subject: Option<Self>, writer: &mut Writer<'_>) {
        let (kind, name) = match subject {
            None => return writer.u8(0),
            Some(Self::Token(id)) => (1, id),
            Some(Self::User(user)) => (2, user),
        };
        writer.u8(kind);
        writer.name(name);
    }
}

impl Outcome {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(Self::Accepted),
            1 => reader.u32().map(Self::Refused),
            2 => Ok(Self::NotOwner),
            _ => Err(Malformed::Value),
        }
    }

    fn write(self, writer: &mut Writer<'_>) {
        match self {
            Self::Accepted => writer.u8(0),
            Self::Refused(code) => {
                writer.u8(1);
                writer.u32(code);
            }
            Self::NotOwner => writer.u8(2),
        }
    }
}

impl<'a> RelayedPublication<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            user: reader.name()?,
            client: reader.name()?,
            conn_info: reader.optional_bytes()?,
            data: reader.bytes()?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.name(self.user);
        writer.name(self.client);
        writer.optional_bytes(self.conn_info);
        writer.bytes(self.data);
    }
}
