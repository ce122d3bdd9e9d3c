//! The same routers with histories: whoever knows its position never has a hole behind it, however it comes and goes.

use std::collections::BTreeMap;

use super::{Client, Run, Seat, World, id_of, owned_by};
use crate::flow::{Claim, Position, Standing, Wish};
use crate::settings::{History, RecoveryMode, Settings};

/// What is where in which stream, as anybody was told.
#[derive(Default)]
pub(super) struct Ledger {
    keeps: bool,
    /// One in so many deliveries between shards or nodes is lost; 0: none is.
    loses_one_in: usize,
    known: BTreeMap<(usize, u32, u64), (u32, u32)>,
    pub(super) recovered: usize,
    pub(super) failed: usize,
    pub(super) insufficient: usize,
}

impl Ledger {
    /// Somebody was told what is at a position: everybody is told the same.
    pub(super) fn note(&mut self, number: usize, position: Position, id: (u32, u32)) {
        let there = *self.known.entry((number, position.epoch, position.sequence)).or_insert(id);
        assert_eq!(there, id, "channel {number} at {position:?}");
    }

    /// What a client wishes its subscription to be.
    pub(super) fn wish(&self, client: &Client, number: usize) -> Option<Wish> {
        let since =
            client.known.get(&number).map(|known| Claim { epoch: Some(known.epoch), offset: known.sequence });
        self.keeps.then_some(Wish {
            recoverable: true,
            since,
            mode: RecoveryMode::Stream,
            limit: 1_000,
            refuses_unrecovered: false,
        })
    }
}

impl World {
    fn keeping(seed: u64, nodes: usize, history: History) -> Self {
        let mut world = Self::new(seed, nodes);
        let mut settings = Settings::default();
        settings.channel.history = history;
        for router in world.routers.iter_mut().flatten() {
            router.keep(&settings);
        }
        world.ledger.keeps = true;
        world
    }

    pub(super) fn loses(&mut self) -> bool {
        let one_in = self.ledger.loses_one_in;
        one_in > 0 && self.below(one_in) == 0
    }

    /// A subscription begins: what it is given leads from what its client had to where it goes on.
    pub(super) fn begin(&mut self, slot: u32, number: usize, standing: &Standing) {
        let found = &standing.found;
        if let Some(since) = standing.wish.since {
            if found.recovered {
                self.ledger.recovered += 1;
                assert_eq!(since.epoch, Some(found.position.epoch));
                let mut at = Position { sequence: since.offset, ..found.position };
                for stored in &found.publications {
                    at.sequence += 1;
                    assert_eq!(stored.offset, at.sequence);
                    self.ledger.note(number, at, id_of(&stored.publication));
                }
                assert_eq!(at, found.position, "channel {number}: a recovery ends at the top");
            } else {
                self.ledger.failed += 1;
                assert!(found.publications.is_empty());
            }
        }
        let client = &mut self.clients[slot as usize];
        client.known.insert(number, found.position);
        client.runs.entry(number).or_default().position = Some(found.position);
    }

    /// A subscription would have missed something: its client may come back.
    pub(super) fn end_insufficient(&mut self, node: usize, shard: usize, slot: u32, tag: u32) {
        let mut seat = std::mem::replace(&mut self.clients[slot as usize].seat, Seat::EMPTY);
        let ended = self.routers[node][shard].end_insufficient(&mut seat, tag, self.now_ms);
        self.clients[slot as usize].seat = seat;
        let (name, _) = ended.expect("who is visited is there");
        let number: usize = name.strip_prefix("channel-").unwrap().parse().unwrap();
        self.clients[slot as usize].runs.remove(&number);
        self.ledger.insufficient += 1;
    }

    fn position(&self, at: usize, number: usize) -> Option<Position> {
        self.clients[at].runs.get(&number).and_then(|run: &Run| run.position)
    }
}

const KEPT: History = History { size: 1_000, bytes: 1 << 20, ttl_ms: 6_000_000, meta_ttl_ms: 60_000_000 };
const CHANNELS: usize = 4;

fn run(seed: u64, nodes: usize, faults: bool, loses_one_in: usize) -> World {
    let mut world = World::keeping(seed, nodes, KEPT);
    world.rest();
    (0..nodes * 3).for_each(|_| world.join());
    world.ledger.loses_one_in = loses_one_in;
    for _ in 0..2_000 {
        world.act(CHANNELS, faults);
    }
    world.ledger.loses_one_in = 0;
    world.examine(CHANNELS);
    for number in 0..CHANNELS {
        let positions: Vec<_> =
            (0..world.clients.len()).filter_map(|at| world.position(at, number)).collect();
        assert!(positions.windows(2).all(|two| two[0] == two[1]), "seed {seed}: {positions:?}");
    }
    world.empty(CHANNELS);
    world
}

#[test]
fn a_quiet_fleet_recovers_everybody() {
    let mut recovered = 0;
    for seed in 0..20 {
        let world = run(seed, 3, false, 0);
        assert_eq!((world.ledger.failed, world.ledger.insufficient), (0, 0), "seed {seed}");
        recovered += world.ledger.recovered;
    }
    assert!(recovered > 200, "{recovered}");
}

#[test]
fn what_is_lost_on_the_way_is_never_a_silent_gap() {
    let (mut recovered, mut insufficient) = (0, 0);
    for seed in 100..160 {
        let world = run(seed, 1 + seed as usize % 3, false, 20);
        assert_eq!(world.ledger.failed, 0, "seed {seed}");
        recovered += world.ledger.recovered;
        insufficient += world.ledger.insufficient;
    }
    assert!(recovered > 600 && insufficient > 300, "{recovered} {insufficient}");
}

#[test]
fn a_shaken_fleet_leaves_nobody_with_a_gap() {
    let (mut recovered, mut failed, mut insufficient) = (0, 0, 0);
    for seed in 200..320 {
        let world = run(seed, 2 + seed as usize % 3, true, 40);
        recovered += world.ledger.recovered;
        failed += world.ledger.failed;
        insufficient += world.ledger.insufficient;
    }
    assert!(recovered > 150 && failed > 500 && insufficient > 500, "{recovered} {failed} {insufficient}");
}

#[test]
fn the_last_publication_is_missed_by_nobody_for_long() {
    let mut world = World::keeping(9, 2, KEPT);
    world.rest();
    let number = owned_by(&world, 1);
    for (node, shard) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        world.clients.push(Client::new(node, shard, world.clients.len()));
        let at = world.clients.len() - 1;
        world.subscribe(at, number);
        world.rest();
    }
    world.ledger.loses_one_in = 1;
    world.publish(2, number);
    world.rest();
    world.ledger.loses_one_in = 0;
    for _ in 0..100 {
        world.pass(1_000);
        while world.move_one() {}
    }
    let live: Vec<bool> = (0..4).map(|at| world.position(at, number).is_some()).collect();
    assert_eq!(
        (live, world.ledger.insufficient),
        (vec![false, false, true, false], 3),
        "the owner's own shard has it"
    );
    (0..4).filter(|at| *at != 2).for_each(|at| world.subscribe(at, number));
    world.rest();
    assert_eq!((world.ledger.recovered, world.ledger.failed), (3, 0));
    let top = world.position(2, number);
    assert!((0..4).all(|at| world.position(at, number) == top && top.is_some()));
}

#[test]
fn a_stream_outlives_its_subscribers_and_not_its_owner() {
    let mut world = World::keeping(11, 2, KEPT);
    world.rest();
    let number = owned_by(&world, 1);
    world.clients.push(Client::new(0, 1, 0));
    world.subscribe(0, number);
    world.rest();
    world.unsubscribe(0, number);
    world.rest();
    let before = world.clients[0].known[&number];
    let ids: Vec<_> = (0..3).map(|_| world.publish(0, number)).collect();
    (0..3).for_each(|_| world.rest());
    assert!(world.routers.iter().flatten().all(|router| router.channels() == 0), "no record is left");
    world.subscribe(0, number);
    world.rest();
    assert_eq!((world.ledger.recovered, world.ledger.failed), (1, 0));
    assert_eq!(world.position(0, number), Some(Position { sequence: before.sequence + 3, ..before }));
    assert!(ids.iter().all(|id| world.ledger.known.values().any(|known| known == id)));
    // The channel goes to the other node and back: what was kept is not true any more.
    world.unsubscribe(0, number);
    world.rest();
    for active in [false, true] {
        world.active[1] = active;
        (0..2).for_each(|node| world.tell_view(node));
        if !active {
            // The review of a node may still be under way when the next View comes.
            world.move_one();
        }
    }
    world.rest();
    world.subscribe(0, number);
    world.rest();
    assert_eq!((world.ledger.recovered, world.ledger.failed), (1, 1));
    assert_ne!(world.position(0, number).unwrap().epoch, before.epoch);
}
