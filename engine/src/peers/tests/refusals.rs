//! Who may not have a link is told so, once, for the right reason; and the log and the metrics say the same on both sides.

use core::net::SocketAddr;

use roadstead_control::{HASH_VERSION, Incarnation, NodeName};
use roadstead_protocol::relay::{Body, Greeting, RELAY_VERSIONS, RefuseCode, push_greeting, read_frame};
use roadstead_protocol::{GREETING_BYTES_MAX, RELAY_FRAME_BYTES_MAX};

use super::super::greeting::{Greeter, Target};
use super::super::{Peers, PeersEvent, PeersParts, PeersTally, Refusal, Side};
use super::world::{OTHER_KEY, World, keys, member, names, parts, roster};

/// The reason of the Refuse frame in `bytes`, which must be the last of it.
fn refusal(bytes: &[u8]) -> Option<(RefuseCode, String)> {
    let mut rest = bytes;
    while let Some((frame, taken)) = read_frame(rest, RELAY_FRAME_BYTES_MAX).unwrap() {
        rest = &rest[taken..];
        if let Body::Greeting(Greeting::Refuse { code, text }) = frame.body {
            assert!(rest.is_empty(), "something follows a refusal");
            return Some((code, text.to_owned()));
        }
    }
    None
}

/// Two nodes that differ in what `change` does to the second; what both make of it.
fn differing(change: impl Fn(PeersParts) -> PeersParts) -> World {
    let mut world = World::new(21);
    let names = names(2);
    world.add(|| parts(&names[0], 5, 1));
    world.add(|| change(parts(&names[1], 5, 1)));
    let members: Vec<_> =
        (0..2).map(|number| member(&names[number], 5, 1, world.rooms[number].address)).collect();
    world.tell(&roster(1, &members));
    world.run(900);
    assert!((0..2).all(|number| world.rooms[number].changes.is_empty()));
    world
}

#[test]
fn another_key_is_refused_by_the_dialler_first() {
    let world = differing(|parts| PeersParts { keys: keys(OTHER_KEY), ..parts });
    assert!(world.told(0, Side::Here, Refusal::Key) && world.told(1, Side::There, Refusal::Key));
    assert!(world.refused(0, Refusal::Key) >= 2, "it goes on trying");
    assert_eq!(world.rooms[0].events.len(), 1, "and tells of it once in a while");
    let line = world.rooms[0].events[0].to_string();
    assert!(line.contains("refused") && line.contains("not in the cluster key file"), "{line}");
}

#[test]
fn another_cluster_is_refused() {
    let world = differing(|parts| PeersParts { cluster: "lake".into(), ..parts });
    assert!(world.told(1, Side::Here, Refusal::Cluster) && world.told(0, Side::There, Refusal::Cluster));
    let line = world.rooms[1].events[0].to_string();
    assert!(line.contains("\"harbour\" there") && line.contains("\"lake\" here"), "{line}");
}

/// An acceptor, and somebody who speaks to it by hand.
struct Door {
    peers: Peers,
    now_ms: u64,
    slot: u32,
}

impl Door {
    /// The node of the second name, in a View with the first in life 5.
    fn new() -> Self {
        let names = names(2);
        let mut peers = Peers::new(parts(&names[1], 5, 1), 0);
        let members = [member(&names[0], 5, 1, address()), member(&names[1], 5, 1, address())];
        peers.handle_roster(&roster(1, &members), 0);
        Self { peers, now_ms: 100, slot: 0 }
    }

    fn knock(&mut self) {
        self.slot += 1;
        assert!(self.peers.accept(self.slot, address(), self.now_ms));
    }

    fn tell(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        self.peers.hear(self.slot, bytes, self.now_ms, &mut heard);
        assert!(heard.is_empty(), "a parcel from nobody");
        let mut answer = Vec::new();
        while let Some((slot, payload)) = self.peers.poll_send() {
            assert_eq!(slot, self.slot);
            answer.extend_from_slice(&payload);
        }
        answer
    }

    fn say(&mut self, greeting: &Greeting<'_>) -> Vec<u8> {
        self.tell(&frame(greeting))
    }

    /// Greets as `greeter` would, to the end; the last answer.
    fn greet(&mut self, greeter: &mut Greeter, index: u8, session: u64) -> Vec<u8> {
        let names = names(2);
        self.knock();
        let target = Target { name: names[1].clone(), incarnation: Incarnation(5), index, links: 4 };
        let mut hello = Vec::new();
        let said = greeter.say_hello(target, session, |greeting| hello = frame(greeting));
        let welcome = self.tell(&hello);
        let (welcome, _) = read_frame(&welcome, GREETING_BYTES_MAX).unwrap().expect("an answer");
        let Body::Greeting(welcome) = welcome.body else { panic!("{welcome:?}") };
        let mut proof = Vec::new();
        said.hear(greeter, &welcome, |greeting| proof = frame(greeting)).expect("the acceptor is right");
        self.tell(&proof)
    }

    fn tally(&mut self) -> PeersTally {
        self.peers.take_tally()
    }
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_400))
}

fn frame(greeting: &Greeting<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_greeting(&mut bytes, greeting).unwrap();
    bytes
}

fn greeter(name: &NodeName, incarnation: u64) -> Greeter {
    Greeter {
        cluster: "harbour".into(),
        name: name.clone(),
        node: name.id(),
        incarnation: Incarnation(incarnation),
        shards: 4,
        keys: keys(super::world::KEY),
        seed: 9,
        nonces: 0,
    }
}

#[test]
fn what_a_stranger_says_is_judged_by_its_form_alone() {
    struct Said {
        versions: (u16, u16),
        hash_version: u16,
        node: &'static str,
        shards: u16,
        link: (u8, u8),
        session: u64,
    }
    let right = || Said {
        versions: RELAY_VERSIONS,
        hash_version: HASH_VERSION,
        node: "stranger",
        shards: 2,
        link: (0, 2),
        session: 1,
    };
    let cases = [
        (right(), None),
        (Said { versions: (RELAY_VERSIONS.0, 99), ..right() }, None),
        (Said { versions: (RELAY_VERSIONS.1 + 1, 99), ..right() }, Some(RefuseCode::Version)),
        (Said { versions: (0, RELAY_VERSIONS.0 - 1), ..right() }, Some(RefuseCode::Version)),
        (Said { hash_version: HASH_VERSION + 1, ..right() }, Some(RefuseCode::Version)),
        (Said { node: "", ..right() }, Some(RefuseCode::Malformed)),
        (Said { node: "Str\nanger", ..right() }, Some(RefuseCode::Malformed)),
        (Said { shards: 0, ..right() }, Some(RefuseCode::Malformed)),
        (Said { shards: 65, ..right() }, Some(RefuseCode::Malformed)),
        (Said { link: (2, 2), ..right() }, Some(RefuseCode::Malformed)),
        (Said { link: (0, 65), ..right() }, Some(RefuseCode::Malformed)),
        (Said { session: 0, ..right() }, Some(RefuseCode::Malformed)),
    ];
    for (number, (said, expected)) in cases.into_iter().enumerate() {
        let mut door = Door::new();
        door.knock();
        let answer = door.say(&Greeting::Hello {
            versions: said.versions,
            hash_version: said.hash_version,
            cluster: "harbour",
            node: said.node,
            incarnation: 5,
            shards: said.shards,
            index: said.link.0,
            links: said.link.1,
            session: said.session,
            nonce: [1; 16],
        });
        let refused = refusal(&answer);
        assert_eq!(refused.as_ref().map(|(code, _)| *code), expected, "case {number}");
        assert_eq!(door.tally().refused.iter().sum::<u64>(), u64::from(expected.is_some()));
        assert!(refused.is_none_or(|(_, text)| text.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
    }
}

#[test]
fn who_has_the_key_is_judged_by_the_view() {
    let [dialler, acceptor] = [0, 1].map(|number| names(2)[number].clone());
    let larger = ["f", "g", "h", "i", "j", "k", "l"]
        .into_iter()
        .map(|name| NodeName::new(name).unwrap())
        .find(|name| name.id() > acceptor.id());
    let smaller = ["f", "g", "h", "i", "j", "k", "l"]
        .into_iter()
        .map(|name| NodeName::new(name).unwrap())
        .find(|name| name.id() < acceptor.id());
    let (larger, smaller) = (larger.expect("one of them"), smaller.expect("one of them"));
    // who, which life, the reason
    let cases = [
        (&smaller, 5, RefuseCode::NotInView, Refusal::NotInView),
        (&dialler, 6, RefuseCode::NotInView, Refusal::NotInView),
        (&dialler, 4, RefuseCode::Stale, Refusal::Stale),
        (&acceptor, 5, RefuseCode::Duplicate, Refusal::Duplicate),
        (&acceptor, 6, RefuseCode::Duplicate, Refusal::Duplicate),
        (&larger, 5, RefuseCode::Malformed, Refusal::Malformed),
    ];
    for (name, incarnation, code, why) in cases {
        let mut door = Door::new();
        let answer = door.greet(&mut greeter(name, incarnation), 0, 1);
        assert_eq!(refusal(&answer).map(|(code, _)| code), Some(code), "{name} in life {incarnation}");
        assert_eq!(door.tally().refused[why as usize], 1);
        // Views that differ for a moment are counted and not told.
        let event = door.peers.poll_event();
        let is_told = matches!(&event, Some(PeersEvent::Refused { peer: Some(peer), side: Side::Here, why: told, .. })
            if (peer, *told) == (name, why));
        assert_eq!((event.is_some(), is_told), (!why.passes(), !why.passes()), "{event:?}");
        assert_eq!(door.peers.poll_change(), None);
    }
}

#[test]
fn sessions_only_rise() {
    let dialler = names(2)[0].clone();
    let mut door = Door::new();
    let mut greeter = greeter(&dialler, 5);
    // index, session, whether it comes up
    for (index, session, comes_up) in
        [(0, 3, true), (0, 3, false), (0, 2, false), (1, 2, true), (0, 4, true), (3, 1, true), (0, 4, false)]
    {
        let answer = door.greet(&mut greeter, index, session);
        let refused = refusal(&answer).map(|(code, _)| code);
        assert_eq!(refused, (!comes_up).then_some(RefuseCode::Stale), "{index} {session}");
        let mut changes = Vec::new();
        while let Some(change) = door.peers.poll_change() {
            changes.push((change.index, change.session, change.carrier.is_some()));
        }
        let superseded = if session == 4 && comes_up { vec![(0, 3, false)] } else { vec![] };
        let raised = if comes_up { vec![(index, session, true)] } else { vec![] };
        assert_eq!(changes, [superseded, raised].concat(), "the earlier one is down before the later is up");
    }
    assert_eq!(door.tally().up, 3);
}

#[test]
fn a_view_that_is_late_costs_a_second_at_most() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let names = names(2);
        let members: Vec<_> = (0..2)
            .map(|number| {
                let room = world.add(|| parts(&names[number], 5, 1));
                member(&names[number], 5, 1, world.rooms[room].address)
            })
            .collect();
        let both = roster(2, &members);
        world.rooms[0].peers.handle_roster(&both, world.now_ms);
        world.rooms[1].peers.handle_roster(&roster(1, &members[1..]), world.now_ms);
        world.run(14_000);
        assert!(world.refused(0, Refusal::NotInView) > 5 && world.up(0).is_empty());
        assert!(world.rooms.iter().all(|room| room.events.is_empty()), "it passes by itself");
        world.run(4_000);
        assert!(world.told(0, Side::There, Refusal::NotInView), "or it does not, and is told");
        assert!(world.rooms[1].events.is_empty(), "by the one that dials");
        world.rooms[1].peers.handle_roster(&both, world.now_ms);
        world.run(1_200);
        assert_eq!((world.up(0).len(), world.up(1).len()), (1, 1), "seed {seed}");
    }
}

#[test]
fn another_node_at_the_address_is_refused_by_the_dialler() {
    let mut world = World::new(2);
    let names = names(3);
    world.add(|| parts(&names[0], 5, 1));
    world.add(|| parts(&names[2], 5, 1));
    let moved = world.rooms[1].address;
    let members = [
        member(&names[0], 5, 1, world.rooms[0].address),
        member(&names[1], 5, 1, moved),
        member(&names[2], 5, 1, address()),
    ];
    world.tell(&roster(1, &members));
    world.run(18_000);
    assert!(world.told(0, Side::Here, Refusal::NotInView) && world.refused(1, Refusal::NotInView) > 5);
    assert!(world.up(0).is_empty() && world.up(1).is_empty());
    assert!(world.rooms[0].tally.unreachable > 0, "and nobody is where the third should be");
}
