//! What a full link does: publications go back, deliveries are dropped, what must not be lost is kept, or the link ends.

use std::sync::Arc;

use super::super::{Loss, Said};
use super::world::{QUEUE_BYTES, World, names, parcel};
use crate::flow::{LinkChange, Position, Publication, Relayed};

fn publication(bytes: usize) -> Arc<Publication> {
    Arc::new(Publication { data: vec![7; bytes], user: "u".into(), client: String::new(), conn_info: None })
}

fn publish(bytes: usize) -> Relayed {
    Relayed::Publish { request: 1, channel: "c".into(), publication: publication(bytes) }
}

fn deliver(sequence: u64, bytes: usize) -> Relayed {
    let position = Position { epoch: 1, sequence };
    Relayed::Deliver { channel: "c".into(), position, publication: publication(bytes) }
}

fn withdraw() -> Relayed {
    Relayed::Withdraw { channel: "c".into() }
}

/// Two nodes; the first one's link, whose socket is full.
fn blocked() -> (World, LinkChange, u32) {
    let mut world = World::new(8);
    world.fleet(2, 1);
    world.run(1_000);
    let slot = world.slot_of(0, names(2)[1].id());
    world.rooms[0].peers.block(slot);
    let link = world.up(0)[0];
    (world, link, slot)
}

#[test]
fn a_full_queue_refuses_publications_and_drops_deliveries() {
    let (mut world, link, slot) = blocked();
    let mut taken = 0;
    while world.say(0, &link, deliver(taken + 1, 200)) == Said::Taken {
        taken += 1;
    }
    assert_eq!(taken, 17, "each takes 238 bytes, and room for 266 is asked for");
    assert_eq!(world.say(0, &link, deliver(99, 200)), Said::Dropped);
    let parcel = parcel(&link, publish(200));
    assert_eq!(world.rooms[0].peers.say(parcel.clone()), Said::Refused(parcel));
    assert_eq!(world.say(0, &link, withdraw()), Said::Taken, "what must not be lost is");
    assert!(world.rooms[0].peers.poll_send().is_none(), "nothing is sent on a full socket");
    world.rooms[0].peers.drain(slot);
    world.run(200);
    let heard: Vec<_> = world.rooms[1].heard.drain(..).map(|parcel| parcel.relayed).collect();
    let expected: Vec<_> = (1..=taken).map(|sequence| deliver(sequence, 200)).chain([withdraw()]).collect();
    assert_eq!(heard, expected);
    let tally = &world.rooms[0].tally;
    assert_eq!((tally.dropped, tally.publish_refused), (2, 1));
    assert_eq!(world.say(0, &link, publish(200)), Said::Taken, "there is room again");
}

#[test]
fn what_must_not_be_lost_has_twice_the_room_and_then_ends_the_link() {
    let (mut world, link, _) = blocked();
    let frame_bytes = 4 + 1 + 8 + 2 + 1;
    for _ in 0..2 * QUEUE_BYTES / frame_bytes {
        assert_eq!(world.say(0, &link, withdraw()), Said::Taken);
    }
    assert_eq!(world.say(0, &link, withdraw()), Said::Void, "one too many");
    let down = LinkChange { carrier: None, ..link };
    assert_eq!(world.rooms[0].peers.poll_change(), Some(down));
    assert!(world.rooms[0].peers.poll_close().is_some());
    assert_eq!(world.say(0, &link, withdraw()), Said::Void, "and what is said after it is void");
    let tally = world.rooms[0].peers.take_tally();
    assert_eq!((tally.lost[Loss::Overflow as usize], tally.void), (1, 1));
}

#[test]
fn a_message_of_any_size_passes_when_nothing_else_waits() {
    let (mut world, link, slot) = blocked();
    assert_eq!(world.say(0, &link, publish(50 * QUEUE_BYTES)), Said::Taken);
    assert_eq!(world.say(0, &link, deliver(1, 1)), Said::Dropped);
    let frame_bytes = 4 + 1 + 8 + 2 + 1;
    for _ in 0..QUEUE_BYTES / frame_bytes {
        assert_eq!(world.say(0, &link, withdraw()), Said::Taken, "it does not use up others' room");
    }
    world.rooms[0].peers.drain(slot);
    world.run(500);
    assert_eq!(world.rooms[1].heard.len(), 1 + QUEUE_BYTES / frame_bytes);
    assert_eq!((world.up(0).len(), world.rooms[0].changes.len()), (1, 1));
}

#[test]
fn what_no_frame_can_carry_is_given_back_or_dropped() {
    let (mut world, link, _) = blocked();
    let long: Arc<str> = "c".repeat(70_000).into();
    let publish = Relayed::Publish { request: 1, channel: long.clone(), publication: publication(1) };
    assert!(matches!(world.say(0, &link, publish), Said::Refused(_)));
    assert_eq!(world.say(0, &link, Relayed::Withdraw { channel: long }), Said::Dropped);
    assert_eq!(world.say(0, &link, withdraw()), Said::Taken);
}

#[test]
fn everything_said_in_a_turn_leaves_as_one_payload() {
    let mut world = World::new(8);
    world.fleet(2, 1);
    world.run(1_000);
    let (link, slot) = (world.up(0)[0], world.slot_of(0, names(2)[1].id()));
    for sequence in 1..=10 {
        assert_eq!(world.say(0, &link, deliver(sequence, 100)), Said::Taken);
    }
    let peers = &mut world.rooms[0].peers;
    let (to, payload) = peers.poll_send().expect("a payload");
    assert_eq!((to, peers.poll_send().is_none()), (slot, true));
    assert!(payload.len() > 1_000);
}

#[test]
fn slow_pipes_block_and_drain_and_lose_nothing_that_was_taken() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.capacity = 64;
        world.fleet(2, 1);
        world.run(2_000);
        let link = world.up(0)[0];
        let mut expected = Vec::new();
        for sequence in 1..=300 {
            let bytes = world.chance.below(300);
            if world.say(0, &link, deliver(sequence, bytes)) == Said::Taken {
                expected.push(deliver(sequence, bytes));
            }
            let ms = 10 * world.chance.below(2) as u64;
            world.run(ms);
        }
        world.run(5_000);
        let heard: Vec<_> = world.rooms[1].heard.drain(..).map(|parcel| parcel.relayed).collect();
        assert!(heard == expected, "seed {seed}: {} heard, {} taken", heard.len(), expected.len());
        assert_eq!(world.rooms[0].tally.dropped + expected.len() as u64, 300);
    }
}
