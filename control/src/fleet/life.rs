//! One life of a node as the membership protocol names it, and how that protocol's messages look in bytes.
//!
//! Invariants: of two lives of one node the later one wins, everywhere; nothing longer than what is there is read, and no
//! list of updates is believed to be longer than its bytes.

use core::net::SocketAddr;

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};

use crate::limits::INCARNATION_MAX;
use crate::node::{Incarnation, NodeId};
use crate::wire::{Malformed, Reader, push_address};

/// A life: which node, which life of it, and where it is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: SocketAddr,
}

/// What is known of a life, as the protocol spreads it. The number counts the objections of the life against suspicions.
pub(crate) type Update = Member<Life>;

/// Writes and reads the protocol's messages.
#[derive(Default)]
pub(crate) struct GossipCodec {
    scratch: Vec<u8>,
}

/// A message taken apart, so that its updates can be judged before they count.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) sender: Life,
    header: &'a [u8],
    pub(crate) updates: Option<Vec<Update>>,
}

impl foca::Identity for Life {
    type Addr = NodeId;

    /// A new incarnation needs the time, which only the caller knows.
    fn renew(&self) -> Option<Self> {
        None
    }

    fn addr(&self) -> NodeId {
        self.id
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, self.address) > (adversary.incarnation, adversary.address)
    }
}

impl<'a> Parts<'a> {
    /// Takes a whole message apart.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let header = read_header(&mut reader)?;
        let (head, rest) = message.split_at(message.len() - reader.rest().len());
        if header.message == Message::Broadcast || header.message == Message::Announce && !rest.is_empty() {
            return Err(Malformed);
        }
        if rest.is_empty() {
            return Ok(Self { sender: header.src, header: head, updates: None });
        }
        let count = u16::from_be_bytes(reader.u16()?.to_le_bytes());
        let updates = (0..count).map(|_| read_member(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        if !reader.rest().is_empty() {
            return Err(Malformed);
        }
        Ok(Self { sender: header.src, header: head, updates: Some(updates) })
    }

    /// The message again, with the updates as they are now.
    pub(crate) fn to_message(&self) -> Vec<u8> {
        let mut message = self.header.to_vec();
        if let Some(updates) = &self.updates {
            let count = u16::try_from(updates.len()).expect("no more than were read");
            message.extend_from_slice(&count.to_be_bytes());
            updates.iter().for_each(|update| push_member(&mut message, update));
        }
        message
    }
}

impl Codec<Life> for GossipCodec {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Life>, buf: impl BufMut) -> Result<(), Malformed> {
        self.scratch.clear();
        push_header(&mut self.scratch, header);
        put(&self.scratch, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Life>, Malformed> {
        take(buf, read_header)
    }

    fn encode_member(&mut self, member: &Update, buf: impl BufMut) -> Result<(), Malformed> {
        self.scratch.clear();
        push_member(&mut self.scratch, member);
        put(&self.scratch, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Update, Malformed> {
        take(buf, read_member)
    }
}

fn put(bytes: &[u8], mut buf: impl BufMut) -> Result<(), Malformed> {
    if buf.remaining_mut() < bytes.len() {
        return Err(Malformed);
    }
    buf.put_slice(bytes);
    Ok(())
}

fn take<T>(
    mut buf: impl Buf,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = Reader::new(buf.chunk());
    let value = read(&mut reader)?;
    let taken = buf.chunk().len() - reader.rest().len();
    buf.advance(taken);
    Ok(value)
}

fn push_life(out: &mut Vec<u8>, life: &Life) {
    out.extend_from_slice(&life.id.0.to_le_bytes());
    out.extend_from_slice(&life.incarnation.0.to_le_bytes());
    push_address(out, life.address);
}

fn read_life(reader: &mut Reader<'_>) -> Result<Life, Malformed> {
    let life = Life {
        id: NodeId(reader.u32()?),
        incarnation: Incarnation(reader.u64()?),
        address: reader.address()?,
    };
    if life.incarnation.0 >= INCARNATION_MAX { Err(Malformed) } else { Ok(life) }
}

fn push_member(out: &mut Vec<u8>, member: &Update) {
    push_life(out, member.id());
    out.extend_from_slice(&member.incarnation().to_le_bytes());
    out.push(match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
}

fn read_member(reader: &mut Reader<'_>) -> Result<Update, Malformed> {
    let (life, objections) = (read_life(reader)?, reader.u16()?);
    let state = match reader.u8()? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(Malformed),
    };
    Ok(Member::new(life, objections, state))
}

fn push_header(out: &mut Vec<u8>, header: &Header<Life>) {
    push_life(out, &header.src);
    out.extend_from_slice(&header.src_incarnation.to_le_bytes());
    push_life(out, &header.dst);
    let (tag, about, number) = match &header.message {
        Message::Ping(number) => (1, None, Some(*number)),
        Message::Ack(number) => (2, None, Some(*number)),
        Message::PingReq { target, probe_number } => (3, Some(target), Some(*probe_number)),
        Message::IndirectPing { origin, probe_number } => (4, Some(origin), Some(*probe_number)),
        Message::IndirectAck { target, probe_number } => (5, Some(target), Some(*probe_number)),
        Message::ForwardedAck { origin, probe_number } => (6, Some(origin), Some(*probe_number)),
        Message::Announce => (7, None, None),
        Message::Feed => (8, None, None),
        Message::Gossip => (9, None, None),
        Message::Broadcast => (10, None, None),
        Message::TurnUndead => (11, None, None),
    };
    out.push(tag);
    about.into_iter().for_each(|life| push_life(out, life));
    out.extend(number);
}

fn read_header(reader: &mut Reader<'_>) -> Result<Header<Life>, Malformed> {
    let (src, src_incarnation, dst) = (read_life(reader)?, reader.u16()?, read_life(reader)?);
    let message = match reader.u8()? {
        1 => Message::Ping(reader.u8()?),
        2 => Message::Ack(reader.u8()?),
        3 => Message::PingReq { target: read_life(reader)?, probe_number: reader.u8()? },
        4 => Message::IndirectPing { origin: read_life(reader)?, probe_number: reader.u8()? },
        5 => Message::IndirectAck { target: read_life(reader)?, probe_number: reader.u8()? },
        6 => Message::ForwardedAck { origin: read_life(reader)?, probe_number: reader.u8()? },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::Broadcast,
        11 => Message::TurnUndead,
        _ => return Err(Malformed),
    };
    Ok(Header { src, src_incarnation, dst, message })
}

#[cfg(test)]
mod tests {
    use foca::Identity as _;

    use super::*;

    fn life(id: u32, incarnation: u64) -> Life {
        Life {
            id: NodeId(id),
            incarnation: Incarnation(incarnation),
            address: SocketAddr::from(([127, 0, 0, 1], 7400)),
        }
    }

    #[test]
    fn every_message_survives_the_wire() {
        let target = life(3, 3);
        let far = Life { address: "[2001:db8::1]:9".parse().unwrap(), ..life(4, 4) };
        let messages = [
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { target, probe_number: 3 },
            Message::IndirectPing { origin: far, probe_number: 4 },
            Message::IndirectAck { target: far, probe_number: 5 },
            Message::ForwardedAck { origin: target, probe_number: 6 },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        for message in messages {
            let header = Header { src: life(1, 1), src_incarnation: 9, dst: far, message };
            let mut bytes = Vec::new();
            push_header(&mut bytes, &header);
            assert_eq!(read_header(&mut Reader::new(&bytes)), Ok(header.clone()));
            for cut in 0..bytes.len() {
                assert!(read_header(&mut Reader::new(&bytes[..cut])).is_err(), "{header:?} cut at {cut}");
            }
            let has_place = !matches!(header.message, Message::Broadcast);
            assert_eq!(Parts::read(&bytes).is_ok(), has_place, "{header:?}");
        }
    }

    #[test]
    fn updates_can_be_taken_out() {
        let header =
            Header { src: life(1, 1), src_incarnation: 0, dst: life(2, 2), message: Message::Gossip };
        let mut bytes = Vec::new();
        push_header(&mut bytes, &header);
        bytes.extend_from_slice(&2_u16.to_be_bytes());
        let updates = [Member::new(life(3, 3), 1, State::Suspect), Member::new(life(4, 4), 0, State::Down)];
        updates.iter().for_each(|update| push_member(&mut bytes, update));
        let mut parts = Parts::read(&bytes).unwrap();
        assert_eq!(parts.updates.as_deref(), Some(&updates[..]));
        assert_eq!(parts.to_message(), bytes);
        parts.updates.as_mut().unwrap().remove(0);
        let fewer = parts.to_message();
        assert_eq!(Parts::read(&fewer).unwrap().updates.as_deref(), Some(&updates[1..]));
        bytes.push(0);
        assert!(Parts::read(&bytes).is_err(), "nothing may follow the updates");
    }

    #[test]
    fn the_later_life_wins_and_incarnations_have_an_end() {
        assert!(life(1, 2).win_addr_conflict(&life(1, 1)));
        assert!(!life(1, 1).win_addr_conflict(&life(1, 2)));
        let mut bytes = Vec::new();
        push_life(&mut bytes, &life(1, INCARNATION_MAX));
        assert!(read_life(&mut Reader::new(&bytes)).is_err());
    }
}
