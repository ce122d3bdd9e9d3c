//! What a peer's bytes do: greet, raise a link, bring parcels, or end it.
//!
//! Invariants: a peer's bytes never fail this node; a socket that is refused is told why once and not read any more.

use roadstead_control::Incarnation;
use roadstead_protocol::relay::{Body, Frame, Greeting, Malformed, Relay};

use super::events::{Concern, Loss, PeersEvent, Refusal, Refused, Side, printable};
use super::greeting::{Agreed, Greeter, WelcomeSaid, same_life};
use super::link::Stage;
use super::queue::Queue;
use super::{Ended, Peers, wire};
use crate::flow::Parcel;
use crate::limits::{PEER_PING_MS, PEER_REFUSED_MS};

/// How TLS begins (RFC 8446 section 5.1): read as the length of a greeting it is longer than any.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 3];

/// Why what was read in place of a greeting is none.
fn no_greeting(malformed: Malformed, expects_hello: bool) -> Refused {
    match malformed {
        Malformed::Long { bytes, .. } if expects_hello && bytes.to_le_bytes().starts_with(&TLS_HANDSHAKE) => {
            let words = "the other node speaks TLS on links, and this one has no cluster.tls_certificate";
            Refused::new(Refusal::Tls, words)
        }
        malformed => malformed.into(),
    }
}

/// What a frame came to.
enum Heard {
    /// Nothing more to do.
    Taken,
    /// The peer wants to know whether we are there.
    Ping,
    /// A kind that is not known.
    Skipped,
    /// The dialler is believed: its session is to be judged.
    Proven(Agreed),
    /// The acceptor is ready.
    Ready(Agreed),
    /// The other node refuses.
    Refused(Refused),
}

/// Why the link cannot go on.
enum Broken {
    Greeting(Refused),
    Link(Loss),
}

impl From<Refused> for Broken {
    fn from(refused: Refused) -> Self {
        Self::Greeting(refused)
    }
}

impl Peers {
    /// The socket in `slot` brought `bytes`; parcels in them are appended to `heard`.
    pub fn hear(&mut self, slot: u32, bytes: &[u8], now_ms: u64, heard: &mut Vec<Parcel>) {
        self.now_ms = now_ms;
        let Some(key) = self.links.key(slot) else { return };
        self.tally.received_bytes += bytes.len() as u64;
        self.links[key].heard_ms = now_ms;
        let mut rest = bytes;
        loop {
            match self.hear_next(key, &mut rest, heard) {
                Ok(None) => return,
                Ok(Some(what)) => {
                    if !self.act(key, what) {
                        return;
                    }
                }
                Err(Broken::Greeting(refused)) => return self.refuse(key, refused),
                Err(Broken::Link(loss)) => return self.lose(key, loss),
            }
        }
    }

    /// Takes the next frame; `None`: there is no whole one.
    fn hear_next(
        &mut self,
        key: usize,
        rest: &mut &[u8],
        heard: &mut Vec<Parcel>,
    ) -> Result<Option<Heard>, Broken> {
        let link = &mut self.links[key];
        let frame_bytes_max = link.frame_bytes_max();
        if matches!(link.stage, Stage::Refused) {
            return Ok(None);
        }
        let (is_up, expects_hello) = (link.session().is_some(), link.expects_hello());
        let frame = match link.inbound.next(rest, frame_bytes_max) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(malformed) if is_up => return Err(Broken::Link(malformed.into())),
            Err(malformed) => return Err(Broken::Greeting(no_greeting(malformed, expects_hello))),
        };
        self.tally.received_frames += 1;
        let Stage::Up(agreed) = &link.stage else {
            return greet(&mut self.own, &mut link.stage, &mut link.queue, &frame).map(Some);
        };
        match frame.body {
            Body::Relay(Relay::Ping) => Ok(Some(Heard::Ping)),
            Body::Relay(relay) => {
                heard.extend(wire::owned(&relay).map(|relayed| Parcel {
                    node: agreed.node,
                    index: agreed.index,
                    session: agreed.session,
                    view: frame.view,
                    carrier: self.shard,
                    relayed,
                }));
                Ok(Some(Heard::Taken))
            }
            Body::Unknown(_) => Ok(Some(Heard::Skipped)),
            Body::Greeting(_) => Err(Broken::Link(Loss::Malformed)),
        }
    }

    /// Does what a frame asks for; false: nothing more is read.
    fn act(&mut self, key: usize, what: Heard) -> bool {
        match what {
            Heard::Taken => {}
            Heard::Skipped => self.tally.skipped_frames += 1,
            Heard::Ping => {
                let view = self.view();
                self.links[key].queue.pong(view);
            }
            Heard::Proven(agreed) => {
                let judged = self.links[key].confirms(&agreed.peer).and_then(|()| self.judge(&agreed));
                if let Err(refused) = judged {
                    self.refuse(key, refused);
                    return false;
                }
                self.remember(agreed.node, agreed.index, (agreed.incarnation, agreed.session));
                self.links[key].queue.greet(&Greeting::Ready);
                self.raise(key, agreed);
            }
            Heard::Ready(agreed) => self.raise(key, agreed),
            Heard::Refused(refused) => {
                self.tell_refused(key, Side::There, refused);
                self.links.close(key);
                return false;
            }
        }
        self.links.speak(key);
        true
    }

    /// Whether a proven dialler may have its session.
    fn judge(&self, agreed: &Agreed) -> Result<(), Refused> {
        let peer = &agreed.peer;
        if agreed.node == self.own.node {
            let words = format!("the name {peer}, or its id, is that of {} already", self.own.name);
            return Err(Refused::new(Refusal::Duplicate, words));
        }
        if agreed.node > self.own.node {
            return Err(Refused::new(Refusal::Malformed, "of two nodes the one with the smaller id dials"));
        }
        let roster = self.roster.as_ref();
        let Some(member) = roster.and_then(|roster| roster.member(agreed.node)) else {
            return Err(Refused::new(Refusal::NotInView, format!("{peer} is not in the View")));
        };
        if member.name != *peer {
            let words = format!("the id of {peer} is that of {} already", member.name);
            return Err(Refused::new(Refusal::Duplicate, words));
        }
        same_life(peer, agreed.incarnation, member.incarnation)?;
        let (life, latest) =
            self.sessions.get(&(agreed.node, agreed.index)).copied().unwrap_or((Incarnation(0), 0));
        if life == agreed.incarnation && agreed.session <= latest {
            return Err(Refused::new(Refusal::Stale, format!("a later session of {peer} is known")));
        }
        Ok(())
    }

    /// The link is up; an earlier session of it is over.
    fn raise(&mut self, key: usize, agreed: Agreed) {
        if let Some(earlier) = self.links.find(agreed.node, agreed.index) {
            self.lose(earlier, Loss::Superseded);
        }
        self.changes.push_back(self.change(&agreed, Some(self.shard)));
        self.tally.sessions += 1;
        self.links.raise(key, agreed);
        let link = &mut self.links[key];
        (link.since_ms, link.pinged_ms) = (self.now_ms, self.now_ms);
        self.wake_at(self.now_ms + PEER_PING_MS);
    }

    /// Says why not.
    pub(super) fn refuse(&mut self, key: usize, refused: Refused) {
        self.turn_away(key, refused, true);
    }

    /// Leaves the socket open for a moment, so that what is said on it is heard: why not, if `says`, or what TLS says.
    pub(super) fn turn_away(&mut self, key: usize, refused: Refused, says: bool) {
        let text = printable(&refused.words);
        let link = &mut self.links[key];
        if says {
            link.queue.greet(&Greeting::Refuse { code: refused.why.code(), text: &text });
        }
        self.tell_refused(key, Side::Here, refused);
        let due_ms = self.now_ms + PEER_REFUSED_MS;
        let link = &mut self.links[key];
        (link.stage, link.due_ms) = (Stage::Refused, due_ms);
        self.links.speak(key);
        self.wake_at(due_ms);
    }

    /// Counts and tells of a link that will not come up, and dials it again later if it was dialled.
    pub(super) fn tell_refused(&mut self, key: usize, side: Side, refused: Refused) {
        let Refused { why, words } = refused;
        let link = &self.links[key];
        self.tally.refused[why as usize] += 1;
        let concern = match &link.target {
            Some(target) => Concern::Peer(target.name.id()),
            None => Concern::Stranger(link.address.ip()),
        };
        let (peer, address) = (link.peer().cloned(), link.address);
        let ended = if why.passes() { Ended::Unseen } else { Ended::Failed };
        // Of Views that differ the dialler tells, if they do for long: whatever changes in a fleet is seen here before there.
        let is_told = match &link.target {
            Some(target) => self.dialling.ended(target, ended, self.now_ms),
            None => !why.passes(),
        };
        if is_told {
            self.events.push(concern, self.now_ms, || PeersEvent::Refused {
                peer,
                address,
                side,
                why,
                words,
            });
        }
    }
}

/// A frame before the link is up.
fn greet(
    own: &mut Greeter,
    stage: &mut Stage,
    queue: &mut Queue,
    frame: &Frame<'_>,
) -> Result<Heard, Broken> {
    let Body::Greeting(greeting) = &frame.body else {
        return Err(Refused::new(Refusal::Malformed, "no greeting, before the link is up").into());
    };
    if let Greeting::Refuse { code, text } = greeting {
        return Ok(Heard::Refused(Refused::new(Refusal::of_code(*code), printable(text))));
    }
    let say = |answer: &Greeting<'_>| queue.greet(answer);
    match std::mem::replace(stage, Stage::Refused) {
        Stage::HelloSaid(said) => *stage = Stage::ProofSaid(said.hear(own, greeting, say)?),
        Stage::ProofSaid(said) => return Ok(Heard::Ready(said.hear(greeting)?)),
        Stage::HelloAwaited => *stage = Stage::WelcomeSaid(WelcomeSaid::answer(own, greeting, say)?),
        Stage::WelcomeSaid(said) => {
            let agreed = said.hear(own, greeting);
            *stage = Stage::WelcomeSaid(said);
            return Ok(Heard::Proven(agreed?));
        }
        Stage::Connecting | Stage::Up(_) | Stage::Refused => {
            return Err(Refused::new(Refusal::Malformed, "a greeting out of its turn").into());
        }
    }
    Ok(Heard::Taken)
}
