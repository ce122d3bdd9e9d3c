//! Frames by chance, for properties.

use proptest::prelude::*;
use roadstead_protocol::relay::{
    Greeting, LocatedEntries, LocatedEntry, Outcome, Oversized, Position, RefuseCode, Relay,
    RelayedPublication, RevokedSubject, push_greeting, push_relay,
};

/// What frames borrow.
#[derive(Clone, Debug)]
pub(crate) struct AnyFrame {
    kind: u8,
    number: u64,
    other: u64,
    name: String,
    name_second: String,
    data: Vec<u8>,
    entries: Vec<(u32, u16, u64, u32)>,
}

pub(crate) fn any_frame() -> impl Strategy<Value = AnyFrame> {
    let data = proptest::collection::vec(any::<u8>(), 0..40);
    let entries = proptest::collection::vec(any::<(u32, u16, u64, u32)>(), 0..4);
    (0_u8..26, any::<u64>(), any::<u64>(), ".{0,12}", ".{0,5}", data, entries).prop_map(
        |(kind, number, other, name, name_second, data, entries)| AnyFrame {
            kind,
            number,
            other,
            name,
            name_second,
            data,
            entries,
        },
    )
}

/// A message or greeting as its sender has it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Said<'a> {
    Greeting(Greeting<'a>),
    Relay(u64, Relay<'a>),
}

impl Said<'_> {
    pub(crate) fn push(&self, out: &mut Vec<u8>) -> Result<(), Oversized> {
        match self {
            Self::Greeting(greeting) => push_greeting(out, greeting),
            Self::Relay(view, relay) => push_relay(out, *view, relay),
        }
    }
}

impl AnyFrame {
    pub(crate) fn entries(&self) -> Vec<LocatedEntry> {
        let entry = |&(node, shard, connection, age_s)| LocatedEntry { node, shard, connection, age_s };
        self.entries.iter().map(entry).collect()
    }

    /// The frame, over the values of [`AnyFrame::entries`].
    pub(crate) fn said<'a>(&'a self, entries: &'a [LocatedEntry]) -> Said<'a> {
        let (channel, user): (&str, &str) = (&self.name, &self.name);
        let (request, sequence, connection) = (self.number, self.number, self.other);
        let (short, byte) = (self.other as u16, self.other as u8);
        let position = Position { epoch: self.other as u32, sequence: self.number };
        let publication = RelayedPublication {
            data: &self.data,
            user: &self.name_second,
            client: &self.name,
            conn_info: (byte & 1 == 1).then_some(&self.data[self.data.len() / 2..]),
        };
        let outcome = match byte % 3 {
            0 => Outcome::Accepted,
            1 => Outcome::Refused(self.number as u32),
            _ => Outcome::NotOwner,
        };
        let relay = match self.kind {
            0 => {
                return Said::Greeting(Greeting::Hello {
                    versions: (short, 1),
                    hash_version: 2,
                    cluster: &self.name,
                    node: &self.name_second,
                    incarnation: self.number,
                    shards: short,
                    index: byte,
                    links: 3,
                    session: self.other,
                    nonce: [byte; 16],
                });
            }
            1 => {
                return Said::Greeting(Greeting::Welcome {
                    version: short,
                    cluster: &self.name,
                    node: &self.name_second,
                    incarnation: self.number,
                    shards: 1,
                    nonce: [byte; 16],
                    proof: [byte; 32],
                });
            }
            2 => return Said::Greeting(Greeting::Proof { proof: [byte; 32] }),
            3 => return Said::Greeting(Greeting::Ready),
            4 => return Said::Greeting(Greeting::Refuse { code: RefuseCode::NotInView, text: &self.name }),
            5 => Relay::Ping,
            6 => Relay::Pong,
            7 => Relay::Announce { channel, ask: self.other as u32, position },
            8 => Relay::Top { channel, ask: self.other as u32, position },
            9 => Relay::Withdraw { channel },
            10 => Relay::NotOwner { channel, ask: self.other as u32 },
            11 => Relay::Publish { request, channel, publication },
            12 => Relay::Published { request, outcome },
            13 => Relay::Deliver { channel, position, publication },
            14 => Relay::Enter { sequence, user, connection, shard: short, age_s: self.number as u32 },
            15 => Relay::Leave { sequence, user, connection },
            16 => Relay::Complete { from_hub: short, to_hub: 7, sequence },
            17 => Relay::Digest {
                from_hub: short,
                to_hub: 7,
                interests: (self.number, self.other),
                entries: (self.other, 5),
            },
            18 => Relay::Locate { request, user },
            19 => Relay::Revocations { digest: (self.number, self.other) },
            20 => Relay::Revocation {
                subject: if byte & 1 == 1 {
                    RevokedSubject::Token(channel)
                } else {
                    RevokedSubject::User(user)
                },
                issued_before_s: self.number,
                until_s: self.other,
            },
            21 => Relay::RevocationsAfter { subject: (byte & 1 == 1).then_some(RevokedSubject::User(user)) },
            22 => Relay::RevocationsSent { more: byte & 1 == 1 },
            23 => Relay::Errand { request, shard: short, errand: &self.data },
            24 => Relay::ErrandDone { request, report: &self.data },
            _ => Relay::Located { request, outcome, entries: LocatedEntries::of(entries) },
        };
        Said::Relay(self.number ^ self.other, relay)
    }
}
