//! Bytes that are no greeting, no frame, or nothing at all: the socket ends, and nothing else does.

use core::net::SocketAddr;

use roadstead_protocol::relay::{Relay, push_relay};
use roadstead_protocol::{GREETING_BYTES_MAX, RELAY_FRAME_BYTES_MAX};

use super::super::{Loss, Peers, PeersEvent, Refusal, Said};
use super::samples;
use super::world::{Chance, World, names, parts, roster};
use crate::limits::{PEER_GREETING_MS, PEER_GREETING_PLACE_MS, PEER_GREETINGS_MAX, PEER_REFUSED_MS};

fn acceptor() -> Peers {
    Peers::new(parts(&names(2)[1], 5, 1), 0)
}

fn stranger(number: u32) -> SocketAddr {
    SocketAddr::from((number.to_be_bytes(), 9))
}

fn held_bytes(peers: &Peers) -> usize {
    peers.links.iter().map(|(_, link)| link.inbound.held_bytes()).sum()
}

#[test]
fn garbage_in_place_of_a_greeting_is_refused_and_kept_from_memory() {
    let mut wrong_kind = Vec::new();
    push_relay(&mut wrong_kind, 1, &Relay::Ping).unwrap();
    let long = (GREETING_BYTES_MAX as u32 + 1).to_le_bytes();
    let unknown = [&9u32.to_le_bytes()[..], &[200; 9]].concat();
    let cases: [(&[u8], Refusal); 7] = [
        // A hello of TLS, however it was cut on its way.
        (b"\x16\x03\x01\x00\x25\x01\xff\xd6\x08", Refusal::Tls),
        (b"GET / HTTP/1.1\r\n\r\n", Refusal::Oversized),
        (&[0; 64], Refusal::Malformed),
        (&[255; 64], Refusal::Oversized),
        (&long, Refusal::Oversized),
        (&wrong_kind, Refusal::Malformed),
        (&unknown, Refusal::Malformed),
    ];
    for (bytes, why) in cases {
        for piece in [1, 3, bytes.len()] {
            let mut peers = acceptor();
            assert!(peers.accept(7, stranger(1), 100));
            let mut heard = Vec::new();
            for piece in bytes.chunks(piece) {
                peers.hear(7, piece, 100, &mut heard);
            }
            let (slot, _) = peers.poll_send().expect("it is told why");
            assert_eq!((slot, peers.poll_send().is_none()), (7, true));
            // What a refused socket says is not read, and what it fails to read does not keep it.
            peers.hear(7, &vec![1; 1 << 20], 101, &mut heard);
            assert_eq!((peers.poll_close(), peers.poll_change(), heard.len()), (None, None, 0));
            peers.tick(100 + PEER_REFUSED_MS);
            assert_eq!((peers.poll_close(), peers.carries(7)), (Some(7), false));
            let tally = peers.take_tally();
            assert_eq!(tally.refused[why as usize], 1, "{bytes:?}");
            assert_eq!(tally.refused.iter().sum::<u64>(), 1);
            assert_eq!(peers.poll_timeout_ms(), None);
        }
    }
}

#[test]
fn an_unproven_socket_makes_nobody_keep_more_than_a_greeting() {
    let mut peers = acceptor();
    assert!(peers.accept(7, stranger(1), 0));
    let announced = [&(GREETING_BYTES_MAX as u32).to_le_bytes()[..], &[1; GREETING_BYTES_MAX - 1]].concat();
    for byte in announced {
        peers.hear(7, &[byte], 0, &mut Vec::new());
    }
    assert!(peers.poll_send().is_none());
    assert!(held_bytes(&peers) <= 2 * (GREETING_BYTES_MAX + 3));
    peers.hear(7, &[1], PEER_GREETING_MS - 1, &mut Vec::new());
    assert!(peers.poll_send().is_some(), "now it is a whole frame, and wrong");
}

#[test]
fn who_does_not_greet_in_time_is_closed() {
    for says in [&b""[..], &[40, 0]] {
        let mut peers = acceptor();
        assert!(peers.accept(7, stranger(1), 50));
        assert_eq!(peers.poll_timeout_ms(), Some(50 + PEER_GREETING_MS));
        peers.hear(7, says, 60, &mut Vec::new());
        peers.tick(49 + PEER_GREETING_MS);
        assert_eq!(peers.poll_close(), None);
        peers.tick(50 + PEER_GREETING_MS);
        assert_eq!((peers.poll_close(), peers.carries(7)), (Some(7), false));
        assert_eq!(peers.take_tally().refused[Refusal::Timeout as usize], 1);
        assert!(matches!(peers.poll_event(), Some(PeersEvent::Refused { why: Refusal::Timeout, .. })));
    }
}

#[test]
fn strangers_hold_so_many_places_and_not_for_long() {
    let mut peers = acceptor();
    for number in 0..PEER_GREETINGS_MAX as u32 {
        assert!(peers.accept(number, stranger(number), 10));
    }
    assert!(!peers.accept(90_000, stranger(1), 10 + PEER_GREETING_PLACE_MS - 1));
    assert_eq!((peers.carries(90_000), peers.poll_close()), (false, None));
    assert!(peers.accept(90_001, stranger(1), 10 + PEER_GREETING_PLACE_MS));
    assert_eq!(peers.poll_close(), Some(0), "the oldest makes place");
    assert_eq!(peers.take_tally().refused[Refusal::Limit as usize], 2);
    for number in 1..PEER_GREETINGS_MAX as u32 {
        peers.end(number, 2_000);
    }
    assert!(peers.accept(90_002, stranger(1), 2_000));
}

#[test]
fn a_floods_log_is_bounded() {
    let mut peers = acceptor();
    for number in 0..2_000 {
        assert!(peers.accept(number, stranger(number), 10));
        peers.hear(number, &[0; 32], 10, &mut Vec::new());
        peers.end(number, 10);
    }
    assert_eq!(peers.take_tally().refused[Refusal::Malformed as usize], 2_000);
    assert!(std::iter::from_fn(|| peers.poll_event()).count() <= 64);
}

#[test]
fn a_greeting_heard_on_the_wire_helps_nobody() {
    let mut world = World::new(4);
    let members = world.fleet(2, 1);
    world.run(300);
    let [said_by_acceptor, said_by_dialler] = world.wires[0].got.clone();
    let present = world.up(1)[0];
    // Everything that the dialler said, again: the acceptor draws another nonce.
    let (acceptor, now_ms) = (&mut world.rooms[1].peers, world.now_ms);
    assert!(acceptor.accept(900, stranger(1), now_ms));
    let mut heard = Vec::new();
    acceptor.hear(900, &said_by_dialler, now_ms, &mut heard);
    assert!(heard.is_empty() && acceptor.poll_change().is_none(), "{present:?} stays");
    assert_eq!(acceptor.take_tally().refused[Refusal::Key as usize], 1);
    acceptor.end(900, now_ms);
    // Everything that the acceptor said, to a dialler that tries again: it draws another nonce too.
    let mut dialler = Peers::new(parts(&names(2)[0], 5, 1), now_ms);
    dialler.handle_roster(&roster(1, &members), now_ms);
    let dial = dialler.poll_dial(now_ms).expect("it dials at once");
    dialler.dialled(dial.ticket, Some(901), now_ms);
    dialler.connected(901, now_ms);
    dialler.hear(901, &said_by_acceptor, now_ms, &mut heard);
    assert!(heard.is_empty() && dialler.poll_change().is_none());
    assert_eq!(dialler.take_tally().refused[Refusal::Key as usize], 1);
    // And what the acceptor said, back to it: it does not greet itself.
    let acceptor = &mut world.rooms[1].peers;
    assert!(acceptor.accept(902, stranger(1), now_ms));
    acceptor.hear(902, &said_by_acceptor, now_ms, &mut heard);
    assert_eq!(acceptor.take_tally().refused[Refusal::Malformed as usize], 1);
}

#[test]
fn a_frame_that_cannot_be_read_ends_its_link_alone() {
    let long = (RELAY_FRAME_BYTES_MAX as u32 + 1).to_le_bytes();
    let cut = [&10u32.to_le_bytes()[..], &[18, 0, 0, 0, 0, 0, 0, 0, 0, 9]].concat();
    let greeting = [&9u32.to_le_bytes()[..], &[4, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    for (bytes, why) in [(&long[..], Loss::Oversized), (&cut, Loss::Malformed), (&greeting, Loss::Malformed)]
    {
        let mut world = World::new(6);
        world.fleet(3, 1);
        world.run(1_000);
        let before = world.up(1);
        let lost = before[0];
        let mut good = Vec::new();
        push_relay(&mut good, 3, &Relay::Withdraw { channel: "x" }).unwrap();
        let mut heard = Vec::new();
        let slot = world.slot_of(1, lost.node);
        let now_ms = world.now_ms;
        world.rooms[1].peers.hear(slot, &[&good[..], bytes, &good].concat(), now_ms, &mut heard);
        assert_eq!(heard.len(), 1, "what came before it is heard, what comes after it is not");
        world.run(20);
        assert_eq!(world.lost(1, why), 1, "{why:?}");
        assert!(world.up(1).contains(&before[1]) && !world.up(1).contains(&lost));
        assert!(matches!(world.rooms[1].events[..], [PeersEvent::Lost { why: told, .. }] if told == why));
        world.run(3_000);
        assert_eq!(world.up(1).len(), 2, "and it comes again");
    }
}

#[test]
fn kinds_of_a_later_version_are_skipped() {
    let mut world = World::new(6);
    world.fleet(2, 1);
    world.run(1_000);
    let (slot, now_ms) = (world.slot_of(1, names(2)[0].id()), world.now_ms);
    let mut bytes = [&12u32.to_le_bytes()[..], &[201, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]].concat();
    push_relay(&mut bytes, 3, &Relay::Withdraw { channel: "x" }).unwrap();
    let mut heard = Vec::new();
    world.rooms[1].peers.hear(slot, &bytes, now_ms, &mut heard);
    world.run(100);
    assert_eq!((heard.len(), world.rooms[1].tally.skipped_frames, world.up(1).len()), (1, 1, 1));
}

#[test]
fn a_large_frame_takes_memory_as_it_comes_and_gives_it_back() {
    let mut world = World::new(6);
    world.fleet(2, 1);
    world.run(1_000);
    let (slot, now_ms) = (world.slot_of(1, names(2)[0].id()), world.now_ms);
    let peers = &mut world.rooms[1].peers;
    let mut heard = Vec::new();
    // 60 MiB are announced, 100 bytes come.
    peers.hear(slot, &(60u32 << 20).to_le_bytes(), now_ms, &mut heard);
    peers.hear(slot, &[24; 100], now_ms, &mut heard);
    assert!((104..=208).contains(&held_bytes(peers)));
    for _ in 0..60 {
        peers.hear(slot, &vec![24; 1 << 20], now_ms + 2_100, &mut heard);
    }
    // The announced length is there: it is a Deliver that makes no sense.
    assert!(heard.is_empty() && peers.poll_change().is_some_and(|change| change.carrier.is_none()));
    assert_eq!(held_bytes(peers), 0);
}

#[test]
fn a_frame_that_came_in_pieces_leaves_nothing_behind() {
    let mut world = World::new(6);
    world.fleet(2, 1);
    world.run(1_000);
    let (slot, now_ms) = (world.slot_of(1, names(2)[0].id()), world.now_ms);
    let peers = &mut world.rooms[1].peers;
    let mut bytes = Vec::new();
    push_relay(&mut bytes, 3, &Relay::Withdraw { channel: "x" }).unwrap();
    let mut heard = Vec::new();
    for piece in bytes.chunks(5) {
        peers.hear(slot, piece, now_ms, &mut heard);
    }
    assert_eq!((heard.len(), held_bytes(peers)), (1, 0));
}

#[test]
fn pings_without_end_are_answered_once_a_turn() {
    let mut world = World::new(6);
    world.fleet(2, 1);
    world.run(1_000);
    let (slot, now_ms) = (world.slot_of(1, names(2)[0].id()), world.now_ms);
    let peers = &mut world.rooms[1].peers;
    let mut pings = Vec::new();
    for _ in 0..10_000 {
        push_relay(&mut pings, 0, &Relay::Ping).unwrap();
    }
    peers.hear(slot, &pings, now_ms, &mut Vec::new());
    let (_, payload) = peers.poll_send().expect("an answer");
    let mut pong = Vec::new();
    push_relay(&mut pong, 1, &Relay::Pong).unwrap();
    assert_eq!(*payload, pong);
    // A socket that takes nothing still costs one answer.
    peers.block(slot);
    peers.hear(slot, &pings, now_ms, &mut Vec::new());
    peers.hear(slot, &pings, now_ms, &mut Vec::new());
    assert!(peers.poll_send().is_none());
    peers.drain(slot);
    assert_eq!(peers.poll_send().map(|(_, payload)| payload.len()), Some(pong.len()));
}

#[test]
fn no_byte_of_a_running_link_can_do_more_than_end_it() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        world.fleet(2, 1);
        world.run(500);
        let mut chance = Chance(seed);
        let link = world.up(0)[0];
        for relayed in samples() {
            assert_eq!(world.say(0, &link, relayed), Said::Taken);
        }
        let (_, payload) = world.rooms[0].peers.poll_send().expect("what was said");
        let mut bytes = payload.to_vec();
        for _ in 0..chance.below(4) {
            let place = chance.below(bytes.len());
            bytes[place] = chance.below(256) as u8;
        }
        bytes.truncate(chance.below(bytes.len()) + 1);
        let (slot, now_ms) = (world.slot_of(1, names(2)[0].id()), world.now_ms);
        let mut heard = Vec::new();
        for piece in bytes.chunks(chance.below(400) + 1) {
            world.rooms[1].peers.hear(slot, piece, now_ms, &mut heard);
        }
        assert!(heard.len() <= samples().len());
        world.run(8_000);
        assert_eq!(world.up(0).len(), world.up(1).len(), "seed {seed}");
    }
}
