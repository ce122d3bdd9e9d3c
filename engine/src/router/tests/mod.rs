//! Routers of several nodes, wired by plain queues: every order in which views, links and messages can come, by seed.

mod streams;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use roadstead_control::{Incarnation, Member, NodeId, NodeName, Region, Roster, Version, View, Weight};
use roadstead_protocol::{Encoding, ErrorCode};

use super::links::Route;
use super::{Message, Outlet, Post, Router, RouterSettings, Seat};
use crate::flow::{
    Answer, Command, Delivery, Key, LinkChange, Ordered, Parcel, Position, Publication, Relayed,
};
use crate::names::NameHasher;

const SHARDS: u16 = 2;
const LINKS: u8 = 2;

/// What is on its way between two shards, of one node or of two.
#[derive(Debug)]
enum Mail {
    Message(Message),
    Inward(Parcel),
    Change(LinkChange),
}

#[derive(Default)]
pub(super) struct Posted {
    messages: Vec<(u16, Message)>,
    parcels: Vec<Parcel>,
    resets: Vec<Route>,
}

impl Post for Posted {
    fn post(&mut self, shard: u16, message: Message) -> Result<(), Message> {
        self.messages.push((shard, message));
        Ok(())
    }

    fn has_room(&self, _shard: u16) -> bool {
        true
    }

    fn relay(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        self.parcels.push(parcel);
        Ok(())
    }

    fn reset(&mut self, link: Route) {
        self.resets.push(link);
    }
}

/// A subscription as its client sees it: from the answer to its end.
#[derive(Debug, Default)]
struct Run {
    is_answered: bool,
    heard: Vec<(u32, u32)>,
    /// Of one that knows it.
    position: Option<Position>,
}

struct Client {
    node: usize,
    shard: usize,
    key: Key,
    seat: Seat,
    /// By channel.
    runs: BTreeMap<usize, Run>,
    /// Where it was last, by channel.
    known: BTreeMap<usize, Position>,
    published: u32,
    asked: BTreeMap<u32, Asked>,
    asks: u32,
}

impl Client {
    fn new(node: usize, shard: usize, slot: usize) -> Self {
        Self {
            node,
            shard,
            key: Key { slot: slot as u32, generation: 1 },
            seat: Seat::EMPTY,
            runs: BTreeMap::new(),
            known: BTreeMap::new(),
            published: 0,
            asked: BTreeMap::new(),
            asks: 0,
        }
    }
}

enum Asked {
    Subscribe(usize),
    Publish(u32),
    Unsubscribe(usize),
}

struct World {
    random: u64,
    now_ms: u64,
    members: Vec<Member>,
    routers: Vec<Vec<Router<NameHasher, ()>>>,
    /// Between shards of one node, by node, from and to.
    mail: BTreeMap<(usize, u16, u16), VecDeque<Mail>>,
    /// Between nodes, by from, to and link: session and what.
    links: BTreeMap<(usize, usize, u8), VecDeque<(u64, Parcel)>>,
    sessions: BTreeMap<(usize, usize, u8), (u64, bool)>,
    active: Vec<bool>,
    views: Vec<u64>,
    clients: Vec<Client>,
    refused: BTreeSet<(u32, u32)>,
    accepted: BTreeSet<(u32, u32)>,
    /// Answered with a temporary error: they may have been ordered, then or later, by a node that still owned the channel.
    unknown: BTreeSet<(u32, u32)>,
    ledger: streams::Ledger,
}

fn id_of(publication: &Publication) -> (u32, u32) {
    let text = std::str::from_utf8(&publication.data).unwrap();
    let (by, count) = text.split_once(' ').unwrap();
    (by.parse().unwrap(), count.parse().unwrap())
}

fn channel(number: usize) -> Arc<str> {
    Arc::from(format!("channel-{number}"))
}

fn member(number: usize) -> Member {
    Member {
        name: NodeName::new(&format!("node-{number}")).unwrap(),
        incarnation: Incarnation(1),
        revision: 0,
        address: ([127, 0, 0, 1], 7800 + number as u16).into(),
        region: Region::new("here").unwrap(),
        weight: Weight::default(),
        version: Version(0, 1, 0),
        shards: SHARDS,
        draining: false,
        settled: false,
        connections: 0,
    }
}

impl World {
    fn new(seed: u64, nodes: usize) -> Self {
        let members: Vec<Member> = (0..nodes).map(member).collect();
        let routers = members.iter().map(|member| {
            let router = |shard| {
                let settings = RouterSettings {
                    node: member.id(),
                    shard,
                    shards: SHARDS,
                    alone: false,
                    connections_max: 100,
                    channels_per_client: 100,
                    seed: seed ^ u64::from(member.id().0) << 8 ^ u64::from(shard),
                };
                Router::new(settings, NameHasher::new((1, 2)))
            };
            (0..SHARDS).map(router).collect()
        });
        let mut world = Self {
            random: seed.wrapping_mul(2).wrapping_add(0x9e37_79b9),
            now_ms: 1_000,
            routers: routers.collect(),
            members,
            mail: BTreeMap::new(),
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            active: vec![true; nodes],
            views: vec![0; nodes],
            clients: Vec::new(),
            refused: BTreeSet::new(),
            accepted: BTreeSet::new(),
            unknown: BTreeSet::new(),
            ledger: streams::Ledger::default(),
        };
        for node in 0..nodes {
            world.tell_view(node);
            for other in node + 1..nodes {
                for index in 0..LINKS {
                    world.raise_link(node, other, index);
                }
            }
        }
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % bound
    }

    fn number_of(&self, id: NodeId) -> usize {
        self.members.iter().position(|member| member.id() == id).unwrap()
    }

    /// Lets a router work, takes out what it says, and delivers.
    fn with(
        &mut self,
        node: usize,
        shard: usize,
        work: impl FnOnce(&mut Router<NameHasher, ()>, &mut Outlet<'_, Posted>),
    ) {
        self.work(node, shard, work);
        self.walk(node, shard);
    }

    /// The same for a client's router and seat.
    fn with_seat(
        &mut self,
        at: usize,
        work: impl FnOnce(&mut Router<NameHasher, ()>, &mut Seat, &mut Outlet<'_, Posted>),
    ) {
        let (node, shard) = (self.clients[at].node, self.clients[at].shard);
        let mut seat = std::mem::replace(&mut self.clients[at].seat, Seat::EMPTY);
        self.work(node, shard, |router, out| work(router, &mut seat, out));
        self.clients[at].seat = seat;
        self.walk(node, shard);
    }

    fn work(
        &mut self,
        node: usize,
        shard: usize,
        work: impl FnOnce(&mut Router<NameHasher, ()>, &mut Outlet<'_, Posted>),
    ) {
        let (mut posted, mut deliveries) = (Posted::default(), Vec::new());
        let mut out = Outlet { now_ms: self.now_ms, post: &mut posted, deliveries: &mut deliveries };
        work(&mut self.routers[node][shard], &mut out);
        assert!(posted.resets.is_empty(), "nothing that is said in a session is missing in it");
        for (to, message) in posted.messages {
            if matches!(message, Message::Deliver { .. }) && self.loses() {
                continue;
            }
            self.mail.entry((node, shard as u16, to)).or_default().push_back(Mail::Message(message));
        }
        for parcel in posted.parcels {
            if matches!(parcel.relayed, Relayed::Deliver { .. }) && self.loses() {
                continue;
            }
            let to = self.number_of(parcel.node);
            let link = (node.min(to), node.max(to), parcel.index);
            if self.sessions.get(&link) == Some(&(parcel.session, true)) {
                self.links.entry((node, to, parcel.index)).or_default().push_back((parcel.session, parcel));
            }
        }
        for delivery in deliveries {
            self.answer(node, shard, delivery);
        }
    }

    fn walk(&mut self, node: usize, shard: usize) {
        loop {
            let (mut heard, mut ends) = (Vec::new(), Vec::new());
            let step = self.routers[node][shard].step(100, |tag, name, walk, subscribers| {
                for &subscriber in subscribers {
                    let skipped = walk.skipped(subscriber);
                    if walk.is_gap() && skipped == 0 && subscriber.is_positioned() {
                        ends.push((subscriber.slot(), tag));
                    }
                    for ordered in walk.publications.iter().skip(skipped) {
                        heard.push((subscriber.slot(), name.to_owned(), ordered.clone()));
                    }
                }
            });
            if step.is_none() {
                return;
            }
            for (slot, name, ordered) in heard {
                self.hear(slot, &name, &ordered);
            }
            for (slot, tag) in ends {
                self.end_insufficient(node, shard, slot, tag);
            }
        }
    }

    fn hear(&mut self, slot: u32, name: &str, ordered: &Ordered) {
        let number: usize = name.strip_prefix("channel-").unwrap().parse().unwrap();
        let id = id_of(&ordered.publication);
        assert!(!self.refused.contains(&id), "{id:?} was refused and is delivered");
        let client = &mut self.clients[slot as usize];
        let Some(run) = client.runs.get_mut(&number) else { return };
        let last = run.heard.iter().rev().find(|(by, _)| *by == id.0);
        let is_late = self.unknown.contains(&id) && !run.heard.contains(&id);
        assert!(is_late || last.is_none_or(|last| last.1 < id.1), "{id:?} comes after {last:?} in {name}");
        run.heard.push(id);
        if let Some(position) = &mut run.position {
            assert!(ordered.position.follows(*position), "{name}: {position:?}, then {:?}", ordered.position);
            *position = ordered.position;
            client.known.insert(number, *position);
            self.ledger.note(number, ordered.position, id);
        }
    }

    fn answer(&mut self, node: usize, shard: usize, delivery: Delivery) {
        let client = &mut self.clients[delivery.to.slot as usize];
        assert_eq!((client.node, client.shard), (node, shard));
        match (client.asked.remove(&delivery.id).expect("one answer to a question"), delivery.answer) {
            (Asked::Subscribe(channel), Answer::Subscribed(standing)) => {
                client.runs.entry(channel).or_default().is_answered = true;
                if let Some(standing) = standing {
                    self.begin(delivery.to.slot, channel, &standing);
                }
            }
            (Asked::Subscribe(channel), Answer::Refused(ErrorCode::Internal)) => {
                client.runs.remove(&channel);
            }
            (Asked::Unsubscribe(channel), Answer::Unsubscribed { .. }) => {
                client.runs.remove(&channel);
            }
            (Asked::Publish(number), Answer::Published) => {
                self.accepted.insert((delivery.to.slot, number));
            }
            (Asked::Publish(number), Answer::Refused(ErrorCode::TooManyRequests)) => {
                self.refused.insert((delivery.to.slot, number));
            }
            (Asked::Publish(number), Answer::Refused(ErrorCode::Internal)) => {
                self.unknown.insert((delivery.to.slot, number));
            }
            (_, answer) => panic!("an answer that fits no question: {answer:?}"),
        }
    }

    fn tell_view(&mut self, node: usize) {
        self.views[node] += 1;
        let nodes = self.members.iter().zip(&self.active).map(|(member, &active)| {
            let mut member = member.clone();
            member.draining = !active;
            member
        });
        let mut members: Vec<Member> = nodes.collect();
        members.sort_by_key(Member::id);
        let view = View::new(self.views[node], members.iter().map(Member::in_view)).unwrap();
        let roster = Roster { view, members };
        for shard in 0..SHARDS {
            // Each shard hears of it at its own time.
            self.routers[node][usize::from(shard)].handle_roster(&roster);
        }
    }

    fn raise_link(&mut self, low: usize, high: usize, index: u8) {
        let session = self.sessions.get(&(low, high, index)).map_or(1, |(session, _)| session + 1);
        self.sessions.insert((low, high, index), (session, true));
        self.links.remove(&(low, high, index));
        self.links.remove(&(high, low, index));
        self.tell_link(low, high, index, session, true);
        self.tell_link(high, low, index, session, true);
    }

    fn cut_link(&mut self, low: usize, high: usize, index: u8) {
        let Some((session, up)) = self.sessions.get_mut(&(low, high, index)) else { return };
        if std::mem::replace(up, false) {
            let session = *session;
            self.links.remove(&(low, high, index));
            self.links.remove(&(high, low, index));
            self.tell_link(low, high, index, session, false);
            self.tell_link(high, low, index, session, false);
        }
    }

    /// The carrier learns it at once, the other shards by mail.
    fn tell_link(&mut self, node: usize, other: usize, index: u8, session: u64, up: bool) {
        let carrier = u16::from(index) % SHARDS;
        let change = LinkChange {
            node: self.members[other].id(),
            incarnation: Incarnation(1),
            index,
            links: LINKS,
            shards: SHARDS,
            session,
            carrier: up.then_some(carrier),
        };
        self.with(node, usize::from(carrier), |router, out| router.handle_link(&change, out));
        for shard in (0..SHARDS).filter(|&shard| shard != carrier) {
            self.mail.entry((node, carrier, shard)).or_default().push_back(Mail::Change(change));
        }
    }

    /// One thing that is on its way arrives.
    fn move_one(&mut self) -> bool {
        let mail: Vec<_> =
            self.mail.iter().filter(|(_, queue)| !queue.is_empty()).map(|(at, _)| *at).collect();
        let links: Vec<_> =
            self.links.iter().filter(|(_, queue)| !queue.is_empty()).map(|(at, _)| *at).collect();
        if mail.is_empty() && links.is_empty() {
            return false;
        }
        let chosen = self.below(mail.len() + links.len());
        if let Some(&(node, from, to)) = mail.get(chosen) {
            let mail = self.mail.get_mut(&(node, from, to)).unwrap().pop_front().unwrap();
            self.with(node, usize::from(to), |router, out| match mail {
                Mail::Message(message) => router.hear(message, out),
                Mail::Inward(parcel) => router.hear_node(parcel, out),
                Mail::Change(change) => router.handle_link(&change, out),
            });
            return true;
        }
        let (from, to, index) = links[chosen - mail.len()];
        let (session, parcel) = self.links.get_mut(&(from, to, index)).unwrap().pop_front().unwrap();
        let carrier = u16::from(index) % SHARDS;
        let parcel = Parcel { node: self.members[from].id(), session, carrier, ..parcel };
        let hub = parcel.relayed.hub(SHARDS);
        if hub == carrier {
            self.with(to, usize::from(hub), |router, out| router.hear_node(parcel, out));
        } else {
            self.mail.entry((to, carrier, hub)).or_default().push_back(Mail::Inward(parcel));
        }
        true
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for node in 0..self.routers.len() {
            for shard in 0..usize::from(SHARDS) {
                self.with(node, shard, |router, out| router.tick(out));
                let router = &mut self.routers[node][shard];
                let mut ends: Vec<_> = std::iter::from_fn(|| router.poll_overdue(self.now_ms)).collect();
                ends.extend(std::iter::from_fn(|| router.poll_refused()));
                for (key, place, code) in ends {
                    self.with_seat(key.slot as usize, |router, seat, out| {
                        router.give_up(key, seat, place, code, out);
                    });
                }
            }
        }
    }

    fn join(&mut self) {
        let (node, shard) = (self.below(self.routers.len()), self.below(usize::from(SHARDS)));
        self.clients.push(Client::new(node, shard, self.clients.len()));
    }

    fn ask(&mut self, at: usize, asked: Asked, command: impl FnOnce(Key, u32) -> Command) {
        let client = &mut self.clients[at];
        client.asks += 1;
        client.asked.insert(client.asks, asked);
        let command = command(client.key, client.asks);
        self.with_seat(at, |router, seat, out| router.decide(command, seat, out));
    }

    fn subscribe(&mut self, at: usize, number: usize) {
        let client = &mut self.clients[at];
        let about =
            |asked: &Asked| matches!(asked, Asked::Subscribe(of) | Asked::Unsubscribe(of) if *of == number);
        if client.runs.contains_key(&number) || client.asked.values().any(about) {
            return;
        }
        client.runs.insert(number, Run::default());
        let wish = self.ledger.wish(&self.clients[at], number);
        self.ask(at, Asked::Subscribe(number), |by, id| Command::Subscribe {
            by,
            id: Some(id),
            channel: channel(number),
            encoding: Encoding::Json,
            verdict: Ok(None),
            wish,
        });
    }

    fn unsubscribe(&mut self, at: usize, number: usize) {
        if self.clients[at].runs.get(&number).is_some_and(|run| run.is_answered) {
            self.ask(at, Asked::Unsubscribe(number), |by, id| Command::Unsubscribe {
                by,
                id,
                channel: channel(number),
            });
        }
    }

    fn publish(&mut self, at: usize, number: usize) -> (u32, u32) {
        self.clients[at].published += 1;
        let id = (at as u32, self.clients[at].published);
        let publication = Arc::new(Publication {
            data: format!("{} {}", id.0, id.1).into_bytes(),
            user: Arc::from(""),
            client: String::new(),
            conn_info: None,
        });
        self.ask(at, Asked::Publish(id.1), |by, id| Command::Publish {
            by,
            id,
            channel: channel(number),
            publication,
            must_subscribe: false,
        });
        id
    }

    /// Everything that is on its way arrives, and all pauses pass.
    fn rest(&mut self) {
        for _ in 0..60 {
            while self.move_one() {}
            self.pass(100);
        }
        for (at, client) in self.clients.iter().enumerate() {
            assert!(client.asked.is_empty(), "client {at} waits for an answer");
        }
    }

    fn act(&mut self, channels: usize, faults: bool) {
        let at = self.below(self.clients.len());
        let number = self.below(channels);
        match self.below(40) {
            0..5 => self.subscribe(at, number),
            5..7 => self.unsubscribe(at, number),
            7..20 => drop(self.publish(at, number)),
            20..36 => {
                self.move_one();
            }
            36 => {
                let ms = self.below(if faults { 400 } else { 20 }) as u64;
                self.pass(ms);
            }
            37 if faults => {
                let node = self.below(self.active.len());
                self.active[node] =
                    !self.active[node] || self.active.iter().filter(|active| **active).count() < 2;
                let told = self.below(self.active.len());
                self.tell_view(told);
            }
            38 if faults => {
                let told = self.below(self.active.len());
                self.tell_view(told);
            }
            39 if faults => {
                let (one, other) = (self.below(self.routers.len()), self.below(self.routers.len()));
                let index = self.below(usize::from(LINKS)) as u8;
                let (low, high) = (one.min(other), one.max(other));
                match self.sessions.get(&(low, high, index)) {
                    Some((_, true)) => self.cut_link(low, high, index),
                    Some((_, false)) => self.raise_link(low, high, index),
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// Everybody agrees again; then each node's word reaches every subscriber of each channel, once and in order.
    fn examine(&mut self, channels: usize) {
        let cut: Vec<_> = self.sessions.iter().filter(|(_, (_, up))| !up).map(|(at, _)| *at).collect();
        for (low, high, index) in cut {
            self.raise_link(low, high, index);
        }
        for node in 0..self.routers.len() {
            self.tell_view(node);
        }
        self.rest();
        for number in 0..channels {
            for node in 0..self.routers.len() {
                let Some(at) = self.clients.iter().position(|client| client.node == node) else { continue };
                let id = self.publish(at, number);
                self.rest();
                assert!(self.accepted.contains(&id), "node {node} cannot publish to channel {number}");
                for (at, client) in self.clients.iter().enumerate() {
                    if let Some(run) = client.runs.get(&number) {
                        assert!(run.is_answered);
                        let node = client.node;
                        assert_eq!(
                            run.heard.last(),
                            Some(&id),
                            "client {at} of node {node} in channel {number}"
                        );
                    }
                }
            }
        }
    }

    /// Whoever leaves leaves nothing behind.
    fn empty(&mut self, channels: usize) {
        for at in 0..self.clients.len() {
            for number in 0..channels {
                self.unsubscribe(at, number);
            }
        }
        for _ in 0..4 {
            self.rest();
        }
        for (node, routers) in self.routers.iter().enumerate() {
            for (shard, router) in routers.iter().enumerate() {
                assert_eq!(
                    (router.channels(), router.subscriptions(), router.publishes_waiting()),
                    (0, 0, 0),
                    "{node}.{shard}"
                );
            }
        }
    }
}

fn run(seed: u64, nodes: usize, faults: bool) -> (usize, usize) {
    const CHANNELS: usize = 5;
    let mut world = World::new(seed, nodes);
    world.rest();
    (0..nodes * 3).for_each(|_| world.join());
    for _ in 0..1_500 {
        world.act(CHANNELS, faults);
    }
    world.examine(CHANNELS);
    if !faults {
        assert_eq!((world.refused.len(), world.unknown.len()), (0, 0));
    }
    world.empty(CHANNELS);
    (world.accepted.len(), world.unknown.len() + world.refused.len())
}

#[test]
fn a_quiet_fleet_loses_nothing() {
    for seed in 0..20 {
        run(seed, 3, false);
    }
}

#[test]
fn a_shaken_fleet_keeps_order_and_comes_to_rest() {
    let (mut accepted, mut failed) = (0, 0);
    for seed in 100..200 {
        let (some, others) = run(seed, 2 + seed as usize % 3, true);
        (accepted, failed) = (accepted + some, failed + others);
    }
    assert!(accepted > 20_000 && failed > 100, "{accepted} accepted, {failed} not");
}

/// A channel whose hub on every node is shard 0, and that `owner` owns.
fn owned_by(world: &World, owner: usize) -> usize {
    let view = View::new(1, world.members.iter().map(Member::in_view)).unwrap();
    let is_it = |number: &usize| {
        let name = channel(*number);
        let id = roadstead_control::owner(&view, name.as_bytes()).unwrap();
        roadstead_control::hub_shard(name.as_bytes(), SHARDS) == 0 && world.number_of(id) == owner
    };
    (0..100).find(is_it).unwrap()
}

#[test]
fn nobody_new_is_told_that_he_is_subscribed_while_the_owner_cannot_be_reached() {
    let mut world = World::new(5, 2);
    world.rest();
    let number = owned_by(&world, 1);
    for shard in [1, 1, 0] {
        world.clients.push(Client::new(0, shard, world.clients.len()));
    }
    let is_answered =
        |world: &World, at: usize| world.clients[at].runs.get(&number).map(|run| run.is_answered);
    world.subscribe(0, number);
    world.rest();
    assert_eq!(is_answered(&world, 0), Some(true));
    (0..LINKS).for_each(|index| world.cut_link(0, 1, index));
    world.rest();
    world.subscribe(1, number);
    world.subscribe(2, number);
    while world.move_one() {}
    assert_eq!((is_answered(&world, 1), is_answered(&world, 2)), (Some(false), Some(false)), "held");
    (0..LINKS).for_each(|index| world.raise_link(0, 1, index));
    world.rest();
    assert_eq!((is_answered(&world, 1), is_answered(&world, 2)), (Some(true), Some(true)));
    let id = world.publish(2, number);
    world.rest();
    assert!((0..3).all(|at| world.clients[at].runs[&number].heard == [id]));
}
