//! What a datagram says once it is open: a kind, the sender's own record, and the kind's content.
//!
//! Invariants: a kind that a later version adds is told from nonsense; nothing is copied while reading.
//!
//! ```text
//! kind 1 | length 2, record of the sender | content
//! ```

use core::net::SocketAddr;

use crate::node::{Incarnation, NodeId};
use crate::wire::{Malformed, Reader};

/// What one node says to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said<'a> {
    /// A message of the membership protocol, and records after it.
    Membership { message: &'a [u8], records: Records<'a> },
    /// Who are you, and do you know me?
    Hello(Greeting),
    /// The answer to a hello.
    Welcome(Greeting),
    /// Are you there? The sender's link to you broke, or it suspects you.
    Ping(Ping),
    /// Yes.
    Pong { token: u64 },
    /// Which records the sender misses.
    Want { lives: Vec<(NodeId, Incarnation)> },
    /// News of members.
    News { records: Records<'a> },
    /// Records that were missed; no news.
    Answer { records: Records<'a> },
    /// The sender goes.
    Bye,
    /// A node is refused.
    Refusal(Refused),
    /// Something that a later version says.
    Unknown,
}

/// What two nodes that meet tell each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Greeting {
    /// Living nodes that the sender knows, itself among them.
    pub(crate) living: u32,
    /// The least id of these. With `living` it ranks parts of a fleet that do not know each other.
    pub(crate) least: NodeId,
    /// The life at the other end, as far as the sender knows it, and whether it takes it for dead.
    pub(crate) about: Option<(NodeId, Incarnation, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ping {
    pub(crate) token: u64,
    /// Who is asked: another life does not answer.
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    /// The suspicion that the sender has: objections that it knows of.
    pub(crate) suspicion: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    /// [`crate::fleet::Grounds`] by its code.
    pub(crate) code: u8,
    /// Which life is refused. 0 where the sender could not open what it heard.
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    /// The latest life of that node that the sender knows, and where it is.
    pub(crate) latest: Incarnation,
    pub(crate) holder: Option<SocketAddr>,
}

/// Records, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Records<'a>(&'a [u8]);

/// The sender's record, and what it says.
pub(crate) fn read(body: &[u8]) -> Result<(&[u8], Said<'_>), Malformed> {
    let mut reader = Reader::new(body);
    let kind = reader.u8()?;
    let length = usize::from(reader.u16()?);
    let own = reader.bytes(length)?;
    let said = match kind {
        1 => {
            let length = usize::from(reader.u16()?);
            Said::Membership { message: reader.bytes(length)?, records: read_records(reader.rest())? }
        }
        2 => Said::Hello(read_greeting(&mut reader)?),
        3 => Said::Welcome(read_greeting(&mut reader)?),
        4 => Said::Ping(read_ping(&mut reader)?),
        5 => Said::Pong { token: reader.u64()? },
        6 => {
            let count = reader.u16()?;
            let life = |reader: &mut Reader<'_>| Ok((NodeId(reader.u32()?), Incarnation(reader.u64()?)));
            Said::Want { lives: (0..count).map(|_| life(&mut reader)).collect::<Result<_, _>>()? }
        }
        7 => Said::News { records: read_records(reader.rest())? },
        8 => Said::Answer { records: read_records(reader.rest())? },
        9 => Said::Bye,
        10 => Said::Refusal(read_refused(&mut reader)?),
        0 => return Err(Malformed),
        _ => Said::Unknown,
    };
    Ok((own, said))
}

/// A body of `kind` with the sender's record.
fn begin(kind: u8, own: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    body.push(kind);
    let length = u16::try_from(own.len()).expect("records are shorter than 64 KiB");
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(own);
    body
}

/// The body that says `said`. Records are as they are within it.
pub(crate) fn write(own: &[u8], said: &Said<'_>) -> Vec<u8> {
    match said {
        Said::Membership { message, records } => {
            let mut body = begin_membership(own, message);
            body.extend_from_slice(records.0);
            body
        }
        Said::Hello(greeting) => push_greeting(begin(2, own), greeting),
        Said::Welcome(greeting) => push_greeting(begin(3, own), greeting),
        Said::Ping(ping) => push_ping(begin(4, own), ping),
        Said::Pong { token } => {
            let mut body = begin(5, own);
            body.extend_from_slice(&token.to_le_bytes());
            body
        }
        Said::Want { lives } => {
            let mut body = begin(6, own);
            body.extend_from_slice(&u16::try_from(lives.len()).unwrap_or(u16::MAX).to_le_bytes());
            for (id, incarnation) in lives.iter().take(usize::from(u16::MAX)) {
                push_life(&mut body, *id, *incarnation);
            }
            body
        }
        Said::News { records } => [begin(7, own).as_slice(), records.0].concat(),
        Said::Answer { records } => [begin(8, own).as_slice(), records.0].concat(),
        Said::Bye => begin(9, own),
        Said::Refusal(refused) => push_refused(begin(10, own), refused),
        Said::Unknown => begin(u8::MAX, own),
    }
}

/// Begins a body with a message of the membership protocol; records may follow.
pub(crate) fn begin_membership(own: &[u8], message: &[u8]) -> Vec<u8> {
    let mut body = begin(1, own);
    let length = u16::try_from(message.len()).expect("messages are shorter than a datagram");
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(message);
    body
}

impl<'a> Records<'a> {
    /// None.
    pub(crate) const NONE: Self = Self(&[]);

    /// Each record's bytes.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new(self.0);
        core::iter::from_fn(move || {
            let length = reader.u16().ok()?;
            reader.bytes(usize::from(length)).ok()
        })
    }
}

fn read_records(bytes: &[u8]) -> Result<Records<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        let length = reader.u16()?;
        reader.bytes(usize::from(length))?;
    }
    Ok(Records(bytes))
}

fn push_life(body: &mut Vec<u8>, id: NodeId, incarnation: Incarnation) {
    body.extend_from_slice(&id.0.to_le_bytes());
    body.extend_from_slice(&incarnation.0.to_le_bytes());
}

fn push_greeting(mut body: Vec<u8>, greeting: &Greeting) -> Vec<u8> {
    body.extend_from_slice(&greeting.living.to_le_bytes());
    body.extend_from_slice(&greeting.least.0.to_le_bytes());
    match greeting.about {
        None => body.push(0),
        Some((id, incarnation, is_dead)) => {
            body.push(if is_dead { 2 } else { 1 });
            push_life(&mut body, id, incarnation);
        }
    }
    body
}

fn read_greeting(reader: &mut Reader<'_>) -> Result<Greeting, Malformed> {
    let (living, least) = (reader.u32()?, NodeId(reader.u32()?));
    let about = match reader.u8()? {
        0 => None,
        known @ (1 | 2) => Some((NodeId(reader.u32()?), Incarnation(reader.u64()?), known == 2)),
        _ => return Err(Malformed),
    };
    Ok(Greeting { living, least, about })
}

fn push_ping(mut body: Vec<u8>, ping: &Ping) -> Vec<u8> {
    body.extend_from_slice(&ping.token.to_le_bytes());
    push_life(&mut body, ping.id, ping.incarnation);
    body.push(u8::from(ping.suspicion.is_some()));
    body.extend_from_slice(&ping.suspicion.unwrap_or(0).to_le_bytes());
    body
}

fn read_ping(reader: &mut Reader<'_>) -> Result<Ping, Malformed> {
    let (token, id, incarnation) = (reader.u64()?, NodeId(reader.u32()?), Incarnation(reader.u64()?));
    let (is_suspected, objections) = (reader.u8()? != 0, reader.u16()?);
    Ok(Ping { token, id, incarnation, suspicion: is_suspected.then_some(objections) })
}

fn push_refused(mut body: Vec<u8>, refused: &Refused) -> Vec<u8> {
    body.push(refused.code);
    push_life(&mut body, refused.id, refused.incarnation);
    body.extend_from_slice(&refused.latest.0.to_le_bytes());
    body.push(u8::from(refused.holder.is_some()));
    refused.holder.into_iter().for_each(|holder| crate::wire::push_address(&mut body, holder));
    body
}

fn read_refused(reader: &mut Reader<'_>) -> Result<Refused, Malformed> {
    Ok(Refused {
        code: reader.u8()?,
        id: NodeId(reader.u32()?),
        incarnation: Incarnation(reader.u64()?),
        latest: Incarnation(reader.u64()?),
        holder: if reader.u8()? == 0 { None } else { Some(reader.address()?) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_said_survives_the_wire() {
        let life = (NodeId(7), Incarnation(70));
        let records = Records(&[3, 0, 1, 2, 3, 1, 0, 9]);
        assert_eq!(records.iter().collect::<Vec<_>>(), [&[1, 2, 3][..], &[9]]);
        let refused =
            Refused { code: 10, id: life.0, incarnation: life.1, latest: Incarnation(71), holder: None };
        let everything = [
            Said::Membership { message: b"message", records },
            Said::Hello(Greeting { living: 3, least: life.0, about: None }),
            Said::Welcome(Greeting { living: 3, least: life.0, about: Some((life.0, life.1, true)) }),
            Said::Ping(Ping { token: 5, id: life.0, incarnation: life.1, suspicion: Some(2) }),
            Said::Ping(Ping { token: 5, id: life.0, incarnation: life.1, suspicion: None }),
            Said::Pong { token: 5 },
            Said::Want { lives: vec![life, life] },
            Said::News { records },
            Said::Answer { records },
            Said::Bye,
            Said::Refusal(refused),
            Said::Refusal(Refused { holder: Some("[::1]:9".parse().unwrap()), ..refused }),
        ];
        for said in everything {
            let body = write(b"own", &said);
            assert_eq!(read(&body), Ok((&b"own"[..], said.clone())));
            let holds_lists =
                matches!(said, Said::Membership { .. } | Said::News { .. } | Said::Answer { .. });
            for cut in 0..body.len() {
                assert!(read(&body[..cut]).is_err() || holds_lists, "{said:?} cut at {cut}");
            }
        }
        assert_eq!(read(&write(b"own", &Said::Unknown)), Ok((&b"own"[..], Said::Unknown)));
        assert_eq!(read(&[0, 0, 0]), Err(Malformed));
    }
}
