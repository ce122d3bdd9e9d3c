//! One node: the engine's real shards over simulated sockets, each run when its thread would run.
//!
//! Invariants: a shard turns only if its wait would have ended (an event, a wake, its timeout), so that a
//! lost wake-up is a hang here as it would be there; shards run in an order drawn anew each time, and at
//! times one is kept from running.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use roadstead_control::{Digest, NodeId};
use roadstead_engine::admission::Admission;
use roadstead_engine::counters::{Counters, METRICS, Metric};
use roadstead_engine::flow::Now;
use roadstead_engine::guards::Guards;
use roadstead_engine::revocations::{Revocation, Revocations};
use roadstead_engine::settings::Settings;
use roadstead_engine::shard::mail::Mail;
use roadstead_engine::shard::{
    FleetParts, Order, Relisten, Revoker, Shard, ShardParts, Turned, connections_of_shard,
};
use roadstead_engine::siblings::{Siblings, Wake};
use roadstead_engine::token::{Remotes, Verifier};

use crate::back_end::SimIo;
use crate::random::Random;
use crate::world::World;

/// Unix time at the beginning of a world, milliseconds: any fixed moment serves.
pub const UNIX_MS: u64 = 1_700_000_000_000;

/// A node of several shards.
#[derive(Debug)]
pub struct Node {
    world: World,
    random: Random,
    shards: Vec<Seat>,
    /// How often a shard that could run does not, per mille.
    stalls: usize,
    passages: Vec<Passage>,
    /// What is revoked; without a disk, for one life.
    revocations: Revocations,
    /// What other nodes have revoked, until the next round.
    heard: Arc<Mutex<Vec<Revocation>>>,
}

/// Sockets of a shard beyond its connections: refusals, and links to other nodes.
const SPARE_SLOTS: u32 = 64;

/// Mail that is not yet in its mailbox.
#[derive(Debug)]
struct Passage {
    from: Receiver<Mail>,
    to: Sender<Mail>,
}

impl Passage {
    /// Puts another mailbox before one: what is sent goes there, and reaches the inbox through the passage.
    fn before(ends: &mut (Sender<Mail>, Receiver<Mail>), outer: (Sender<Mail>, Receiver<Mail>)) -> Self {
        let to = std::mem::replace(&mut ends.0, outer.0);
        Self { from: outer.1, to }
    }
}

#[derive(Debug)]
struct Seat {
    shard: Shard<SimIo>,
    counters: Arc<Counters>,
    orders: Sender<Order>,
    /// When it turned last, and so began to wait.
    turned_at: Duration,
    /// When its present wait ends by itself; `None`: it has not begun to wait.
    wakes_at: Option<Duration>,
    finished: bool,
}

/// What a node is made from.
#[derive(Debug)]
pub struct NodeParts {
    /// Where its shards listen together for clients.
    pub address: SocketAddr,
    /// Its settings.
    pub settings: Settings,
    /// How often a shard that could run does not, per mille.
    pub stalls: usize,
    /// Its id.
    pub id: NodeId,
    /// Where its shards listen for other nodes, and what they need for them.
    pub fleet: Option<(SocketAddr, FleetParts)>,
    /// Whether its mail passes through the hands of [`Node::tamper`].
    pub tampers: bool,
}

impl Node {
    /// A node.
    #[must_use]
    pub fn new(world: &World, parts: NodeParts) -> Self {
        let NodeParts { address, settings, stalls, id, fleet, tampers } = parts;
        let mut random = world.random();
        let settings = Arc::new(settings);
        let verifier = Arc::new(Verifier::load(&settings, &Remotes::default()).expect("no keys in files"));
        let slots_max = connections_of_shard(&settings, settings.shards) + SPARE_SLOTS;
        let mut ios: Vec<SimIo> =
            (0..settings.shards).map(|_| world.back_end(address.ip(), slots_max)).collect();
        for io in &mut ios {
            let _number = io.listen_at(address);
            if let Some((links, _)) = &fleet {
                let _number = io.listen_at(*links);
            }
        }
        let mailbox = || crossbeam_channel::bounded::<Mail>(settings.limits.mailbox_messages as usize);
        let mut mailboxes: Vec<_> = ios.iter().map(|_| mailbox()).collect();
        let passages = if tampers {
            mailboxes.iter_mut().map(|ends| Passage::before(ends, mailbox())).collect()
        } else {
            Vec::new()
        };
        let senders: Vec<(_, Wake)> =
            mailboxes.iter().zip(&ios).map(|((sender, _), io)| (sender.clone(), io.wake())).collect();
        let admission = Arc::new(Admission::new(settings.shards, 0, false, false));
        let guards = Arc::new(Guards::new(Arc::clone(&settings), (u64::from(id.0), 1)));
        let heard: Arc<Mutex<Vec<Revocation>>> = Arc::default();
        let inboxes = mailboxes.into_iter().map(|(_, inbox)| inbox);
        let shards = (0..).zip(ios).zip(inboxes).map(|((index, io), inbox)| {
            let (orders, orders_received) = crossbeam_channel::unbounded();
            let counters = Arc::new(Counters::default());
            let parts = ShardParts {
                index,
                shards: settings.shards,
                node: id,
                roster: None,
                fleet: fleet.as_ref().map(|(_, links)| links.clone()),
                settings: Arc::clone(&settings),
                verifier: Arc::clone(&verifier),
                desk: None,
                revocations: Arc::default(),
                revoker: Some(revoker(&heard)),
                tls: None,
                siblings: Siblings::new(inbox, senders.clone()),
                orders: orders_received,
                listeners: vec![0],
                counters: Arc::clone(&counters),
                admission: Arc::clone(&admission),
                guards: Arc::clone(&guards),
                seeds: [random.bits(), random.bits(), random.bits()],
            };
            let mut shard = Shard::new(io, parts, now(world));
            let relisten = move |io: &mut SimIo| Ok(vec![io.listen_at(address)]);
            shard.set_relisten(Relisten(Box::new(relisten)));
            Seat { shard, counters, orders, turned_at: world.now(), wakes_at: None, finished: false }
        });
        let shards = shards.collect();
        let revocations = Revocations::default();
        Self { world: world.clone(), random, shards, stalls, passages, revocations, heard }
    }

    /// Hands over mail, but for news of links when `withholds` says so.
    pub fn tamper(&mut self, mut withholds: impl FnMut() -> bool) {
        for (passage, seat) in self.passages.iter().zip(&mut self.shards) {
            while !passage.to.is_full()
                && let Ok(mail) = passage.from.try_recv()
            {
                if matches!(mail, Mail::Link(_)) && withholds() {
                    continue;
                }
                // A shard that has finished takes no mail.
                let _ = passage.to.try_send(mail);
                (seat.shard.io().wake())();
            }
        }
    }

    /// Tells one shard something.
    pub fn order(&mut self, shard: u16, order: Order) {
        let seat = &mut self.shards[usize::from(shard)];
        // A shard that has finished no longer listens.
        let _ = seat.orders.send(order);
        (seat.shard.io().wake())();
    }

    /// Tells every shard something.
    pub fn order_all(&mut self, order: impl Fn() -> Order) {
        (0..self.shards.len() as u16).for_each(|shard| self.order(shard, order()));
    }

    /// Lets every shard run whose wait has ended; returns how many did, or may have to next time.
    ///
    /// # Panics
    /// Where a shard panics: that is what a simulation is for.
    pub fn run(&mut self) -> usize {
        let mut order: Vec<usize> = (0..self.shards.len()).collect();
        self.random.shuffle(&mut order);
        let mut ran = 0;
        for at in order {
            let stalls = self.random.chance(self.stalls);
            ran += usize::from(stalls || self.shards[at].run(&self.world));
        }
        let heard = std::mem::take(&mut *self.heard.lock().expect("nobody has panicked"));
        self.take_over(&heard, &[]);
        ran
    }

    /// An operator revokes something here.
    pub fn revoke(&mut self, revocation: &Revocation) {
        let news = std::slice::from_ref(revocation);
        self.take_over(news, news);
    }

    /// What is revoked, in short.
    #[must_use]
    pub fn revocations(&self) -> Digest {
        self.revocations.digest()
    }

    fn take_over(&mut self, revocations: &[Revocation], news: &[Revocation]) {
        let add = |revocation: &&Revocation| self.revocations.add(revocation) == Ok(true);
        if revocations.iter().filter(add).count() > 0 {
            let set = Arc::new(self.revocations.clone());
            self.order_all(|| Order::Revoke { set: Arc::clone(&set), news: news.into() });
        }
    }

    /// When the next shard wakes by itself.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.shards.iter().filter(|seat| !seat.finished).filter_map(|seat| seat.wakes_at).min()
    }

    /// Tells all shards to end.
    pub fn stop(&mut self) {
        self.order_all(|| Order::Stop);
    }

    /// Whether all shards have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shards.iter().all(|seat| seat.finished)
    }

    /// Whether nothing of any client is left on any shard.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.shards.iter().all(|seat| seat.shard.is_vacant())
    }

    /// A metric, all shards together.
    #[must_use]
    pub fn sum(&self, metric: Metric) -> u64 {
        self.shards.iter().map(|seat| seat.counters.get(metric)).sum()
    }

    /// Publications lost between publisher and subscriber, all reasons and shards together.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let rows = METRICS.iter().filter(|row| row.name == "roadstead_publications_dropped_total");
        rows.map(|row| self.sum(row.metric)).sum()
    }

    /// The gauge and its bound, where a shard is beyond it.
    #[must_use]
    pub fn beyond_limits(&self) -> Option<(Metric, u64, u64)> {
        const BOUNDED: [(Metric, Metric); 3] = [
            (Metric::Connections, Metric::ConnectionsMax),
            (Metric::InboundBytes, Metric::InboundBytesMax),
            (Metric::MailboxMessages, Metric::MailboxMessagesMax),
        ];
        let values = self.shards.iter().flat_map(|seat| {
            BOUNDED.map(|(metric, bound)| (metric, seat.counters.get(metric), seat.counters.get(bound)))
        });
        values.into_iter().find(|&(_, value, bound)| value > bound)
    }
}

impl Seat {
    /// Waits, and turns if the wait has ended. Returns whether it has.
    fn run(&mut self, world: &World) -> bool {
        if self.finished {
            return false;
        }
        self.shard.wait().expect("simulated sockets do not fail as a whole");
        let waited = self.shard.io().waited();
        let turned_at = self.turned_at;
        let sleeps_until = || turned_at + waited.timeout.unwrap_or(Duration::MAX / 2);
        let wakes_at = *self.wakes_at.get_or_insert_with(sleeps_until);
        if !waited.has_events && wakes_at > world.now() {
            return false;
        }
        self.turned_at = world.now();
        self.wakes_at = None;
        self.finished = self.shard.turn(now(world)) == Turned::Finished;
        true
    }
}

/// What a shard gives on is heard in the next round.
fn revoker(heard: &Arc<Mutex<Vec<Revocation>>>) -> Revoker {
    let heard = Arc::clone(heard);
    Revoker(Arc::new(move |news| heard.lock().expect("nobody has panicked").extend(news)))
}

fn now(world: &World) -> Now {
    let ms = world.now().as_millis() as u64;
    Now { ms, unix_ms: UNIX_MS + ms }
}
