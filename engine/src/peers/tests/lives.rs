//! Nodes that come, go, restart and are taken for dead: the links follow the roster, life by life.

use roadstead_control::{Incarnation, Member};

use super::super::{Loss, Peers, PeersEvent, PeersParts, Refusal, Said};
use super::samples;
use super::world::{World, member, names, parts, roster};
use crate::flow::LinkChange;

#[test]
fn a_node_that_leaves_the_view_loses_its_links_and_one_that_joins_gets_them() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let members = world.fleet(3, 2);
        world.run(2_000);
        world.tell(&roster(2, &members[..2]));
        world.run(1_000);
        let left: Vec<LinkChange> = (0..4).flat_map(|number| world.up(number)).collect();
        assert_eq!(left.len(), 4);
        assert!(left.iter().all(|link| link.node != members[2].id()));
        let departed: u64 = (0..4).map(|number| world.lost(number, Loss::Departed)).sum();
        assert!(departed > 0 && (0..4).all(|number| world.rooms[number].events.is_empty()), "{seed}");
        world.tell(&roster(3, &members));
        world.run(3_000);
        let total: usize = (0..6).map(|number| world.up(number).len()).sum();
        assert_eq!(total, 3 * 2 * 2, "seed {seed}");
    }
}

#[test]
fn a_restarted_node_is_met_in_its_new_life_only() {
    for (seed, restarted) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        let mut world = World::new(seed);
        let mut members = world.fleet(2, 1);
        world.run(1_000);
        let before = world.up(1 - restarted)[0];
        // A process in the place of the old one; its peer learns of the new life a while later.
        let (name, now_ms) = (members[restarted].name.clone(), world.now_ms);
        world.replace(restarted, Peers::new(PeersParts { seed: 77, ..parts(&name, 6, 1) }, now_ms));
        members[restarted] = member(&name, 6, 1, world.rooms[restarted].address);
        let both = roster(2, &members);
        world.rooms[restarted].peers.handle_roster(&both, world.now_ms);
        world.run(2_000);
        assert!(world.up(0).is_empty() || world.up(1).is_empty(), "not before both know");
        world.rooms[1 - restarted].peers.handle_roster(&both, world.now_ms);
        world.run(3_000);
        let after = world.up(1 - restarted)[0];
        assert_eq!(after.incarnation, Incarnation(6));
        assert!(after.session > before.session, "or the same parcels would be good in both lives");
        assert_eq!(world.say(1 - restarted, &before, samples().remove(0)), Said::Void);
        assert_eq!(world.up(restarted).len(), 1);
    }
}

#[test]
fn a_new_life_of_ones_own_ends_every_link_and_dials_anew() {
    let mut world = World::new(3);
    let mut members = world.fleet(3, 1);
    world.run(1_000);
    let old: Vec<u64> = world.up(1).iter().map(|link| link.session).collect();
    members[1] = Member { incarnation: Incarnation(9), ..members[1].clone() };
    world.tell(&roster(2, &members));
    assert_eq!(old.len(), 2);
    world.run(3_000);
    assert_eq!(world.lost(1, Loss::Renewed), 2);
    let seen_by_others = [world.up(0), world.up(2)].concat();
    let renewed = seen_by_others.iter().filter(|link| link.node == members[1].id());
    assert_eq!(renewed.map(|link| link.incarnation).collect::<Vec<_>>(), [Incarnation(9); 2]);
    assert_eq!(world.up(1).len(), 2);
}

#[test]
fn a_later_session_on_another_shard_ends_the_earlier_one() {
    let mut world = World::new(12);
    let members = world.fleet(2, 2);
    world.run(1_000);
    let (number, earlier) = (2..4)
        .find_map(|number| world.up(number).first().map(|link| (number, *link)))
        .expect("a link at the acceptor");
    let peers = &mut world.rooms[number].peers;
    let now_ms = world.now_ms;
    let later = LinkChange { session: earlier.session + 7, carrier: Some(60), ..earlier };
    // What is told by oneself, of another life, or of an earlier session changes nothing.
    for nothing in [
        LinkChange { carrier: earlier.carrier, ..later },
        LinkChange { incarnation: Incarnation(4), ..later },
        LinkChange { carrier: None, ..later },
        LinkChange { session: earlier.session, ..later },
    ] {
        peers.handle_change(&nothing, now_ms);
        assert_eq!(peers.poll_change(), None, "{nothing:?}");
    }
    peers.handle_change(&later, now_ms);
    assert_eq!(peers.poll_change(), Some(LinkChange { carrier: None, ..earlier }));
    assert_eq!(peers.take_tally().lost[Loss::Superseded as usize], 1);
    assert_eq!(members.len(), 2);
}

#[test]
fn a_sibling_that_falls_silent_is_superseded_by_the_next_session() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        world.fleet(2, 2);
        world.run(1_000);
        // One shard of the acceptor stands still: its dialler gives up, dials again, and may meet the other shard.
        world.rooms[2].is_frozen = true;
        world.run(30_000);
        world.rooms[2].is_frozen = false;
        world.run(30_000);
        let sessions = |numbers: [usize; 2], world: &World| {
            let mut up: Vec<_> = numbers.iter().flat_map(|&number| world.up(number)).collect();
            up.sort_by_key(|link| link.index);
            up.iter().map(|link| (link.index, link.session)).collect::<Vec<_>>()
        };
        assert_eq!(sessions([0, 1], &world), sessions([2, 3], &world), "seed {seed}");
        assert_eq!(sessions([0, 1], &world).len(), 2);
    }
}

#[test]
fn an_unreachable_node_is_tried_at_growing_intervals_and_told_of_rarely() {
    let mut peers = Peers::new(parts(&names(2)[0], 5, 1), 0);
    let gone = member(&names(2)[1], 5, 1, ([127, 0, 0, 1], 1).into());
    let own = member(&names(2)[0], 5, 1, ([127, 0, 0, 1], 2).into());
    peers.handle_roster(&roster(1, &[own.clone(), gone]), 0);
    let (mut now_ms, mut dialled_ms, mut pauses, mut slot) = (0, 0, Vec::new(), 0);
    while now_ms < 120_000 {
        now_ms = peers.poll_timeout_ms().expect("something is due");
        peers.tick(now_ms);
        assert!(now_ms == 0 || peers.poll_dial(now_ms - 1).is_none());
        let Some(dial) = peers.poll_dial(now_ms) else { continue };
        pauses.push(now_ms - dialled_ms);
        dialled_ms = now_ms;
        assert_eq!(peers.poll_dial(now_ms), None, "one at a time");
        // In turn: no slot, refused by the system, refused before a word.
        match pauses.len() % 3 {
            0 => peers.dialled(dial.ticket, None, now_ms),
            way => {
                slot += 1;
                peers.dialled(dial.ticket, Some(slot), now_ms);
                assert!(peers.carries(slot));
                if way == 1 {
                    peers.connected(slot, now_ms);
                    assert!(peers.poll_send().is_some());
                }
                peers.end(slot, now_ms);
            }
        }
    }
    assert_eq!(pauses[0], 0, "at once at first");
    assert!(pauses[1..].iter().all(|pause_ms| (100..=5_000).contains(pause_ms)), "{pauses:?}");
    assert!((25..80).contains(&pauses.len()), "{} tries in two minutes", pauses.len());
    let told = std::iter::from_fn(|| peers.poll_event()).collect::<Vec<_>>();
    assert!((6..=12).contains(&told.len()), "{}", told.len());
    assert!(told.iter().all(|event| matches!(event, PeersEvent::Unreachable { .. })));
    // It leaves the View: nobody is dialled any more.
    peers.handle_roster(&roster(2, &[own]), now_ms);
    assert_eq!((peers.poll_dial(now_ms + 60_000), peers.take_tally().up), (None, 0));
}

#[test]
fn a_refused_link_that_lingers_does_not_dial_a_second_time() {
    let mut peers = Peers::new(parts(&names(2)[0], 5, 1), 0);
    let own = member(&names(2)[0], 5, 1, ([127, 0, 0, 1], 2).into());
    let other = member(&names(2)[1], 5, 1, ([127, 0, 0, 1], 1).into());
    peers.handle_roster(&roster(1, &[own.clone(), other.clone()]), 0);
    let dial = peers.poll_dial(0).expect("a dial");
    peers.dialled(dial.ticket, Some(1), 0);
    peers.connected(1, 0);
    peers.hear(1, &[0; 32], 0, &mut Vec::new());
    assert!(peers.carries(1), "it says why first");
    let again = peers.poll_dial(500).expect("and dials again meanwhile");
    let own = Member { incarnation: Incarnation(6), ..own };
    peers.handle_roster(&roster(2, &[own, other]), 600);
    assert_eq!((peers.poll_close(), peers.poll_dial(10_000)), (Some(1), None), "one dial is on its way");
    peers.dialled(again.ticket, None, 10_000);
    assert!(peers.poll_dial(20_000).is_some());
}

#[test]
fn a_dial_that_is_answered_too_late_is_closed() {
    let mut peers = Peers::new(parts(&names(2)[0], 5, 1), 0);
    let own = member(&names(2)[0], 5, 1, ([127, 0, 0, 1], 2).into());
    let other = member(&names(2)[1], 5, 1, ([127, 0, 0, 1], 1).into());
    peers.handle_roster(&roster(1, &[own.clone(), other]), 0);
    let dial = peers.poll_dial(0).expect("a dial");
    peers.handle_roster(&roster(2, &[own]), 1);
    peers.dialled(dial.ticket, Some(5), 2);
    assert_eq!((peers.poll_close(), peers.carries(5)), (Some(5), false));
    // An answer to nothing, and a socket that ends before anybody was asked to close it.
    peers.dialled(999, Some(6), 3);
    peers.end(6, 3);
    assert_eq!((peers.poll_close(), peers.carries(6)), (None, false));
    assert_eq!(peers.take_tally().refused[Refusal::Timeout as usize], 0);
}
