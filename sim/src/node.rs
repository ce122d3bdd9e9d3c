//! One node: the engine's real shards over simulated sockets, each run when its thread would run.
//!
//! Invariants: a shard turns only if its wait would have ended (an event, a wake, its timeout), so that a
//! lost wake-up is a hang here as it would be there; shards run in an order drawn anew each time, and at
//! times one is kept from running.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use roadstead_control::NodeId;
use roadstead_engine::counters::{Counters, Metric};
use roadstead_engine::flow::Now;
use roadstead_engine::settings::Settings;
use roadstead_engine::shard::{Order, Shard, ShardParts, Turned, connections_of_shard};
use roadstead_engine::siblings::{Siblings, Wake};
use roadstead_engine::token::Verifier;

use crate::back_end::SimIo;
use crate::random::Random;
use crate::world::World;

/// Unix time at the beginning of a world, milliseconds: any fixed moment serves.
const UNIX_MS: u64 = 1_700_000_000_000;

/// A node of several shards.
#[derive(Debug)]
pub struct Node {
    world: World,
    random: Random,
    shards: Vec<Seat>,
    /// How often a shard that could run does not, per mille.
    stalls: usize,
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

impl Node {
    /// A node at `address` with the given settings, whose shards listen there together.
    #[must_use]
    pub fn new(world: &World, address: SocketAddr, settings: &Settings, stalls: usize) -> Self {
        let mut random = world.random();
        let settings = Arc::new(settings.clone());
        let verifier = Arc::new(Verifier::new(&settings.token));
        let slots_max = connections_of_shard(&settings, settings.shards) + 4;
        let mut ios: Vec<SimIo> =
            (0..settings.shards).map(|_| world.back_end(address.ip(), slots_max)).collect();
        ios.iter_mut().for_each(|io| io.listen_at(address));
        let mailboxes: Vec<_> = ios
            .iter()
            .map(|_| crossbeam_channel::bounded(settings.limits.mailbox_messages as usize))
            .collect();
        let senders: Vec<(_, Wake)> =
            mailboxes.iter().zip(&ios).map(|((sender, _), io)| (sender.clone(), io.wake())).collect();
        let inboxes = mailboxes.into_iter().map(|(_, inbox)| inbox);
        let shards = (0..).zip(ios).zip(inboxes).map(|((index, io), inbox)| {
            let (orders, orders_received) = crossbeam_channel::unbounded();
            let counters = Arc::new(Counters::default());
            let parts = ShardParts {
                index,
                shards: settings.shards,
                node: NodeId(1),
                roster: None,
                fleet: None,
                settings: Arc::clone(&settings),
                verifier: Arc::clone(&verifier),
                tls: None,
                siblings: Siblings::new(inbox, senders.clone()),
                orders: orders_received,
                listeners: vec![0],
                counters: Arc::clone(&counters),
                seeds: [random.bits(), random.bits(), random.bits()],
            };
            let shard = Shard::new(io, parts, now(world));
            Seat { shard, counters, orders, turned_at: world.now(), wakes_at: None, finished: false }
        });
        let shards = shards.collect();
        Self { world: world.clone(), random, shards, stalls }
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
        ran
    }

    /// When the next shard wakes by itself.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.shards.iter().filter(|seat| !seat.finished).filter_map(|seat| seat.wakes_at).min()
    }

    /// Tells all shards to end.
    pub fn stop(&mut self) {
        for seat in &mut self.shards {
            // A shard that has finished no longer listens.
            let _ = seat.orders.send(Order::Stop);
            (seat.shard.io().wake())();
        }
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

fn now(world: &World) -> Now {
    let ms = world.now().as_millis() as u64;
    Now { ms, unix_ms: UNIX_MS + ms }
}
