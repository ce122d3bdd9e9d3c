//! What passes between nodes, read from the wire: which links were up when, and that nothing crosses twice.
//!
//! Invariants: looks at frames as they are sent, so it knows no more than the wire does; with a saboteur it may change
//! them, otherwise bytes pass as they are.
//!
//! What must hold of every publication: it has one position, and a position has one publication; it crosses from one node to
//! another at most once as `Publish` (but for answers that the asked node does not own the channel) and at most once as
//! `Deliver`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use roadstead_protocol::RELAY_FRAME_BYTES_MAX;
use roadstead_protocol::relay::{Body, Greeting, Outcome, Relay, read_frame};

use crate::guest::id_of;
use crate::network::{Way, Wire};
use crate::oracle::{MessageId, Wrong};
use crate::saboteur::Saboteur;

/// All links of a fleet.
#[derive(Debug)]
pub(crate) struct Links {
    /// The port of links, the same on every node.
    port: u16,
    streams: BTreeMap<(u32, bool), Vec<u8>>,
    sessions: BTreeMap<u32, Session>,
    crossings: Crossings,
    saboteur: Option<Saboteur>,
    wrong: Option<Wrong>,
}

/// A connection of two nodes.
#[derive(Clone, Copy, Debug)]
struct Session {
    hosts: [IpAddr; 2],
    /// Which of the pair's links, and how many there are.
    place: (u8, u8),
    ready_at: Option<Duration>,
    closed_at: Option<Duration>,
}

/// What has crossed from node to node.
#[derive(Debug, Default)]
struct Crossings {
    /// Publications asked for: asked by, asked of, request.
    requests: BTreeMap<(IpAddr, IpAddr, u64), MessageId>,
    published: BTreeMap<(MessageId, IpAddr, IpAddr), i32>,
    delivered: BTreeMap<(MessageId, IpAddr, IpAddr), Duration>,
    positions: BTreeMap<MessageId, Place>,
    publications: BTreeMap<(String, Place), MessageId>,
    frames: BTreeMap<&'static str, u64>,
}

/// A position, and the node that gave it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    owner: IpAddr,
    epoch: u32,
    sequence: u64,
}

impl Links {
    /// Watches connections to `port`.
    #[must_use]
    pub(crate) fn new(port: u16, saboteur: Option<Saboteur>) -> Self {
        Self {
            port,
            streams: BTreeMap::new(),
            sessions: BTreeMap::new(),
            crossings: Crossings::default(),
            saboteur,
            wrong: None,
        }
    }

    /// What was seen that may not be, once.
    ///
    /// # Errors
    /// [`Wrong`]: the first such thing.
    pub(crate) fn check(&mut self) -> Result<(), Wrong> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    /// Whether every link of the two hosts was up all the time.
    #[must_use]
    pub(crate) fn were_up(&self, one: IpAddr, other: IpAddr, from: Duration, until: Duration) -> bool {
        let hosts = pair(one, other);
        let between = || self.sessions.values().filter(|session| session.hosts == hosts);
        let is_whole = |session: &&Session| {
            session.ready_at.is_some_and(|at| at <= from) && session.closed_at.is_none_or(|at| at > until)
        };
        let whole: Vec<(u8, u8)> = between().filter(is_whole).map(|session| session.place).collect();
        let links = whole.iter().map(|(_, links)| *links).max().unwrap_or(0);
        links > 0 && (0..links).all(|index| whole.iter().any(|place| place.0 == index))
    }

    /// Whether every link of the two hosts is up.
    #[must_use]
    pub(crate) fn are_up(&self, one: IpAddr, other: IpAddr, now: Duration) -> bool {
        self.were_up(one, other, now, now)
    }

    /// The nodes to which the publication was delivered by link.
    #[must_use]
    pub(crate) fn delivered_to(&self, id: MessageId) -> Vec<IpAddr> {
        let of_it = self.crossings.delivered.keys().filter(|(other, ..)| *other == id);
        of_it.map(|(_, _, to)| *to).collect()
    }

    /// Frames by kind.
    #[must_use]
    pub(crate) fn frames(&self) -> &BTreeMap<&'static str, u64> {
        &self.crossings.frames
    }

    /// How often the saboteur struck.
    #[must_use]
    pub(crate) fn strikes(&self) -> u64 {
        self.saboteur.as_ref().map_or(0, Saboteur::strikes)
    }

    /// Reads the whole frames of a stream; returns what goes on.
    fn read(&mut self, now: Duration, way: Way, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.streams.remove(&(way.connection, way.is_forward)).unwrap_or_default();
        stream.extend_from_slice(bytes);
        let mut taken = 0;
        let mut passed = Vec::new();
        loop {
            match read_frame(&stream[taken..], RELAY_FRAME_BYTES_MAX) {
                Ok(Some((frame, len))) => {
                    let whole = &stream[taken..taken + len];
                    match (&frame.body, &mut self.saboteur) {
                        (Body::Relay(relay), Some(saboteur)) => {
                            saboteur.pass(now, way, (frame.view, relay), whole, &mut passed);
                        }
                        _ => passed.extend_from_slice(whole),
                    }
                    taken += len;
                    if let Err(wrong) = self.note(now, way, &frame.body) {
                        self.wrong.get_or_insert(wrong);
                    }
                }
                Ok(None) => break,
                Err(malformed) => {
                    let wrong = Wrong(format!("{way:?} carries a malformed frame: {malformed}"));
                    self.wrong.get_or_insert(wrong);
                    taken = stream.len();
                    break;
                }
            }
        }
        stream.drain(..taken);
        self.streams.insert((way.connection, way.is_forward), stream);
        // A saboteur needs whole frames; without one, bytes are cut as the writer cut them.
        if self.saboteur.is_some() { passed } else { bytes.to_vec() }
    }

    fn note(&mut self, now: Duration, way: Way, body: &Body<'_>) -> Result<(), Wrong> {
        let (from, to) = (way.from.ip(), way.to.ip());
        match *body {
            Body::Greeting(Greeting::Hello { index, links, .. }) => {
                let hosts = pair(from, to);
                let session = Session { hosts, place: (index, links), ready_at: None, closed_at: None };
                self.sessions.insert(way.connection, session);
                Ok(())
            }
            Body::Greeting(Greeting::Ready) => {
                if let Some(session) = self.sessions.get_mut(&way.connection) {
                    session.ready_at = Some(now);
                }
                Ok(())
            }
            Body::Greeting(_) => Ok(()),
            Body::Relay(ref relay) => self.crossings.note(now, from, to, relay),
            Body::Unknown(kind) => Err(Wrong(format!("{way:?} carries a frame of unknown kind {kind}"))),
        }
    }
}

impl Crossings {
    fn note(&mut self, now: Duration, from: IpAddr, to: IpAddr, relay: &Relay<'_>) -> Result<(), Wrong> {
        *self.frames.entry(name_of(relay)).or_default() += 1;
        match *relay {
            Relay::Publish { request, publication, .. } => {
                let Some(id) = id_of(publication.data) else { return Ok(()) };
                self.requests.insert((from, to, request), id);
                let crossed = self.published.entry((id, from, to)).or_default();
                *crossed += 1;
                if *crossed > 1 {
                    return Err(Wrong(format!("{id:?} crosses from {from} to {to} twice as a Publish")));
                }
            }
            Relay::Published { request, outcome: Outcome::NotOwner } => {
                if let Some(id) = self.requests.remove(&(to, from, request)) {
                    *self.published.entry((id, to, from)).or_default() -= 1;
                }
            }
            Relay::Deliver { channel, position, publication } => {
                let Some(id) = id_of(publication.data) else { return Ok(()) };
                if self.delivered.insert((id, from, to), now).is_some() {
                    return Err(Wrong(format!("{id:?} crosses from {from} to {to} twice as a Deliver")));
                }
                let place = Place { owner: from, epoch: position.epoch, sequence: position.sequence };
                let earlier = self.positions.insert(id, place).filter(|earlier| *earlier != place);
                if let Some(earlier) = earlier {
                    return Err(Wrong(format!("{id:?} has two positions: {earlier:?} and {place:?}")));
                }
                let other = self.publications.insert((channel.to_owned(), place), id);
                if let Some(other) = other.filter(|other| *other != id) {
                    return Err(Wrong(format!("{place:?} of {channel} is held by {other:?} and {id:?}")));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Wire for Links {
    fn taps(&self, _from: SocketAddr, to: SocketAddr) -> bool {
        to.port() == self.port
    }

    fn carry(&mut self, now: Duration, way: Way, bytes: &[u8]) -> Vec<u8> {
        self.read(now, way, bytes)
    }

    fn close(&mut self, now: Duration, connection: u32) {
        self.streams.remove(&(connection, true));
        self.streams.remove(&(connection, false));
        if let Some(session) = self.sessions.get_mut(&connection) {
            session.closed_at = Some(now);
        }
    }
}

fn pair(one: IpAddr, other: IpAddr) -> [IpAddr; 2] {
    [one.min(other), one.max(other)]
}

fn name_of(relay: &Relay<'_>) -> &'static str {
    match relay {
        Relay::Ping => "ping",
        Relay::Pong => "pong",
        Relay::Announce { .. } => "announce",
        Relay::Top { .. } => "top",
        Relay::Withdraw { .. } => "withdraw",
        Relay::NotOwner { .. } => "not owner",
        Relay::Publish { .. } => "publish",
        Relay::Published { .. } => "published",
        Relay::Deliver { .. } => "deliver",
        Relay::Enter { .. } => "enter",
        Relay::Leave { .. } => "leave",
        Relay::Complete { .. } => "complete",
        Relay::Digest { .. } => "digest",
        Relay::Locate { .. } => "locate",
        Relay::Located { .. } => "located",
        Relay::Revocations { .. } => "revocations",
        Relay::Revocation { .. } => "revocation",
        Relay::RevocationsAfter { .. } => "revocations after",
        Relay::RevocationsSent { .. } => "revocations sent",
        Relay::Read { .. } => "read",
        Relay::Found { .. } => "found",
        Relay::Errand { .. } => "errand",
        Relay::ErrandDone { .. } => "errand done",
    }
}
