//! What a fleet makes of a datagram.
//!
//! Invariants: who is refused changes nothing but counts; a refusal is never answered; only the node itself is believed about
//! its life beyond what membership says.

use core::net::SocketAddr;
use core::time::Duration;

use foca::{Member as Known, State};

use crate::fleet::datagram::{self, Greeting, Ping, Refused, Said};
use crate::fleet::life::{Life, Parts};
use crate::fleet::membership::transmissions_for;
use crate::fleet::peers::{Take, Verdict};
use crate::fleet::records::push_record;
use crate::fleet::{Fleet, FleetEvent, Grounds, life_of};
use crate::limits::INCARNATION_MAX;
use crate::member::Member;
use crate::node::{Incarnation, NodeId};
use crate::seal::{BODY_BYTES_MAX, Opened, Unopened};

/// Records that are asked for at once.
pub(super) const WANTED_MAX: usize = 64;

/// Datagrams that answer one such request.
const ANSWERS_MAX: usize = 8;

impl Fleet {
    pub(super) fn handle_unopened(&mut self, now: Duration, from: SocketAddr, unopened: Unopened) {
        let Unopened { grounds, is_refusal } = unopened;
        let is_stranger = matches!(
            grounds,
            Grounds::Version { .. } | Grounds::HashVersion { .. } | Grounds::Cluster | Grounds::Key
        );
        if is_stranger && self.joining.is_seed_address(from) {
            self.joining.hear(now);
        }
        if is_stranger && is_refusal {
            self.tally.reject(&grounds);
            // From anywhere else it is noise.
            if self.joining.is_seed_address(from) || self.peers.at(from).is_some() {
                self.tally.refused_unproven += 1;
                self.events.push_refusal(now, &mut self.tally, FleetEvent::RefusedUnproven { from, grounds });
            }
        } else if is_stranger {
            let nobody = Refused {
                code: 0,
                id: NodeId(0),
                incarnation: Incarnation(0),
                latest: Incarnation(0),
                holder: None,
            };
            self.refuse(now, from, grounds, nobody);
        } else {
            self.reject(now, from, grounds);
        }
    }

    pub(super) fn handle_opened(&mut self, now: Duration, from: SocketAddr, opened: &Opened) {
        let Ok((record, said)) = datagram::read(&opened.body) else {
            return self.reject(now, from, Grounds::Malformed);
        };
        let speaks_for_itself = |member: &Member| {
            (member.id(), member.incarnation) == (opened.sender, opened.incarnation)
                && member.incarnation.0 < INCARNATION_MAX
        };
        let Some(sender) = Member::decode(record).ok().filter(speaks_for_itself) else {
            return self.reject(now, from, Grounds::Malformed);
        };
        let life = life_of(&sender);
        if life.id == self.own.id() && life.address == self.own.address {
            return self.handle_own(life);
        }
        self.joining.hear(now);
        if let Said::Refusal(refused) = said {
            return self.handle_refusal(now, from, &refused);
        }
        if !self.admit(now, from, &sender) {
            return;
        }
        self.learn(now, record, true);
        self.handle_said(now, from, life, said);
    }

    fn handle_said(&mut self, now: Duration, from: SocketAddr, life: Life, said: Said<'_>) {
        match said {
            Said::Membership { message, records } => {
                self.handle_membership(now, from, life, message);
                records.iter().for_each(|record| self.learn(now, record, true));
            }
            Said::Hello(greeting) => {
                let welcome = self.greeting(Some(life));
                self.say(life.address, &Said::Welcome(welcome));
                self.meet(now, life, greeting);
            }
            Said::Welcome(greeting) => self.meet(now, life, greeting),
            Said::Ping(ping) => self.handle_ping(now, life, ping),
            Said::Pong { token } => self.hints.answered(token),
            Said::Want { lives } => self.answer_want(life.address, &lives),
            Said::News { records } => records.iter().for_each(|record| self.learn(now, record, true)),
            Said::Answer { records } => records.iter().for_each(|record| self.learn(now, record, false)),
            Said::Bye => self.handle_bye(now, life),
            Said::Refusal(_) => {}
            Said::Unknown => self.tally.unknown += 1,
        }
    }

    /// A datagram under this node's own name from its own address: an echo, or another life of it. One that is later shows
    /// that the clock went back between two starts.
    fn handle_own(&mut self, life: Life) {
        self.tally.reflected += 1;
        if life.incarnation > self.own.incarnation {
            self.outlive(life.incarnation, None);
        }
    }

    /// Whether a node may be in this fleet; if not, it is told.
    fn admit(&mut self, now: Duration, from: SocketAddr, sender: &Member) -> bool {
        let life = life_of(sender);
        let refused = |grounds: &Grounds, latest: Incarnation, holder: Option<SocketAddr>| Refused {
            code: grounds.code(),
            id: life.id,
            incarnation: life.incarnation,
            latest,
            holder,
        };
        let name = || sender.name.as_str().into();
        let (grounds, latest, holder) = if sender.region != self.own.region {
            (Grounds::Region { theirs: sender.region.clone() }, Incarnation(0), None)
        } else if life.id == self.own.id() {
            (Grounds::Duplicate { name: name() }, self.own.incarnation, Some(self.own.address))
        } else {
            match self.peers.judge_sender(&life) {
                Verdict::Welcome => return true,
                Verdict::Duplicate(holder) => {
                    (Grounds::Duplicate { name: name() }, Incarnation(0), Some(holder))
                }
                Verdict::Ended(latest) => (Grounds::Ended, latest, None),
                Verdict::Full => {
                    self.tally.full += 1;
                    return false;
                }
            }
        };
        let refused = refused(&grounds, latest, holder);
        self.refuse(now, from, grounds, refused);
        false
    }

    /// Counts a refusal, logs it, and tells whoever was refused, if there were not too many.
    fn refuse(&mut self, now: Duration, from: SocketAddr, grounds: Grounds, refused: Refused) {
        if self.refusals_left > 0 {
            self.refusals_left -= 1;
            let refused = Refused { code: grounds.code(), ..refused };
            let body = datagram::write(&self.own_record, &Said::Refusal(refused));
            let sealed = self.sealer.seal_refusal(&body);
            self.send(from, sealed);
        }
        self.reject(now, from, grounds);
    }

    fn reject(&mut self, now: Duration, from: SocketAddr, grounds: Grounds) {
        self.tally.reject(&grounds);
        self.events.push_refusal(now, &mut self.tally, FleetEvent::Refused { from, grounds });
    }

    fn note_refused_by(&mut self, now: Duration, from: SocketAddr, grounds: Grounds) {
        self.tally.refused_by_others += 1;
        self.events.push_refusal(now, &mut self.tally, FleetEvent::RefusedBy { from, grounds });
    }

    /// Somebody who can be believed refuses this node, or an earlier life of it.
    fn handle_refusal(&mut self, now: Duration, from: SocketAddr, refused: &Refused) {
        let is_meant = (refused.id, refused.incarnation) == (self.own.id(), self.own.incarnation);
        let grounds = match refused.code {
            5 => Grounds::Cluster,
            6 => Grounds::Key,
            9 if is_meant => Grounds::Region { theirs: self.own.region.clone() },
            10 if is_meant => Grounds::Duplicate { name: self.own.name.as_str().into() },
            11 if is_meant => {
                let latest = Incarnation(refused.latest.0.min(INCARNATION_MAX - 1));
                return self.outlive(latest, None);
            }
            _ => return,
        };
        self.note_refused_by(now, from, grounds);
    }

    /// Takes up a record, of the sender or of a third node.
    fn learn(&mut self, now: Duration, record: &[u8], is_news: bool) {
        let Ok(member) = Member::decode(record) else {
            self.tally.reject(&Grounds::Malformed);
            return;
        };
        if member.region != self.own.region || member.id() == self.own.id() {
            return;
        }
        let Ok(Some(key)) = self.records.learn(record) else { return };
        let life = life_of(&member);
        if self.peers.is_up(&life) {
            if is_news {
                self.records.spread(key, transmissions_for(self.peers.living_count() + 1));
            }
            self.report(now, life);
        }
    }

    fn handle_membership(&mut self, now: Duration, from: SocketAddr, life: Life, message: &[u8]) {
        let Some(mut parts) = Parts::read(message).ok().filter(|parts| parts.sender == life) else {
            return self.reject(now, from, Grounds::Malformed);
        };
        let updates = parts.updates.take();
        let before = updates.as_ref().map_or(0, Vec::len);
        parts.updates = updates.map(|updates| {
            updates.into_iter().filter(|update| self.takes_update(now, from, update)).collect()
        });
        if parts.updates.as_ref().map_or(0, Vec::len) == before {
            self.membership.handle_message(now, message);
        } else {
            self.membership.handle_message(now, &parts.to_message());
        }
    }

    /// Whether the membership protocol gets to see what was said about a third node, or about this one.
    fn takes_update(&mut self, now: Duration, from: SocketAddr, update: &Known<Life>) -> bool {
        let life = *update.id();
        let own = life_of(&self.own);
        if life == own {
            return true;
        }
        if life.id == own.id {
            if life.address == own.address {
                self.handle_own(life);
            } else if update.state() != State::Down {
                // Another part of the fleet has let in a node of this name.
                let grounds = Grounds::Duplicate { name: self.own.name.as_str().into() };
                self.note_refused_by(now, from, grounds);
            }
            return false;
        }
        match self.peers.judge_update(update) {
            Take::Yes => true,
            Take::No => false,
            Take::Over(later) => {
                let objections = self.membership.state(&later).map_or(0, |(_, objections)| objections);
                self.membership.apply(now, Known::new(later, objections, State::Down), false);
                self.settle(now);
                self.membership.forget_dead(later);
                self.peers.forget(later.id);
                true
            }
        }
    }

    /// Two nodes meet: they come to know each other, or the one of the smaller part gives way.
    fn meet(&mut self, now: Duration, life: Life, greeting: Greeting) {
        let is_dead_here = self.membership.state(&life).is_some_and(|(state, _)| state == State::Down);
        let own = (self.own.id(), self.own.incarnation);
        let (knows_us, thinks_us_dead) = match greeting.about {
            Some((id, incarnation, is_dead)) if (id, incarnation) == own => (true, is_dead),
            _ => (false, false),
        };
        if thinks_us_dead {
            let ours = self.greeting(None);
            // Parts that overlap can be equal: then the ids of the two decide.
            let size = (ours.living, ours.least, self.own.id());
            let gives_way = !is_dead_here || size < (greeting.living, greeting.least, life.id);
            if gives_way {
                self.outlive(self.own.incarnation, Some(life));
            }
        } else if !(is_dead_here || knows_us && self.peers.is_up(&life)) {
            self.membership.announce(now, life);
        }
    }

    fn handle_ping(&mut self, now: Duration, from: Life, ping: Ping) {
        let own = life_of(&self.own);
        if (ping.id, ping.incarnation) != (own.id, own.incarnation) {
            return;
        }
        self.say(from.address, &Said::Pong { token: ping.token });
        if let Some(objections) = ping.suspicion {
            self.membership.apply(now, Known::new(own, objections, State::Suspect), true);
            self.membership.announce(now, from);
        }
    }

    fn handle_bye(&mut self, now: Duration, life: Life) {
        let Some(peer) = self.peers.get_mut(life.id).filter(|peer| peer.life == life) else { return };
        peer.has_left = true;
        if let Some((State::Alive | State::Suspect, objections)) = self.membership.state(&life) {
            self.membership.apply(now, Known::new(life, objections, State::Down), true);
        }
    }

    fn answer_want(&mut self, to: SocketAddr, lives: &[(NodeId, Incarnation)]) {
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        for record in lives.iter().take(WANTED_MAX).filter_map(|key| self.records.bytes(*key)) {
            if !bodies.last_mut().is_some_and(|body| push_record(body, record, BODY_BYTES_MAX)) {
                let mut body =
                    datagram::write(&self.own_record, &Said::Answer { records: datagram::Records::NONE });
                push_record(&mut body, record, BODY_BYTES_MAX);
                bodies.push(body);
            }
        }
        for body in bodies.into_iter().take(ANSWERS_MAX) {
            let sealed = self.sealer.seal(&body);
            self.send(to, sealed);
        }
    }
}
