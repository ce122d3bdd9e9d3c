//! Links come up, carry, go down, and come again.

use super::super::{Loss, Refusal, Said};
use super::samples;
use super::world::{KEY, OTHER_KEY};
use super::world::{World, keys, member, names, parts, roster};
use crate::peers::PeersParts;

#[test]
fn two_nodes_agree_on_their_link() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        let members = world.fleet(2, 1);
        world.run(2_000);
        let (dialler, acceptor) = (world.up(0), world.up(1));
        assert_eq!((dialler.len(), acceptor.len()), (1, 1), "seed {seed}");
        assert_eq!((dialler[0].node, acceptor[0].node), (members[1].id(), members[0].id()));
        assert_eq!(dialler[0].incarnation, members[1].incarnation);
        assert_eq!((dialler[0].session, dialler[0].links), (6, 1), "links are clamped to shards");
        assert_eq!((dialler[0].session, dialler[0].index), (acceptor[0].session, acceptor[0].index));
        assert!(world.rooms.iter().all(|room| room.events.is_empty() && room.tally.up == 1));
    }
}

#[test]
fn everything_said_is_heard_at_the_other_end() {
    let mut world = World::new(1);
    let members = world.fleet(2, 1);
    world.run(2_000);
    for (from, to) in [(0, 1), (1, 0)] {
        let (link, back) = (world.up(from)[0], world.up(to)[0]);
        for relayed in samples() {
            assert_eq!(world.say(from, &link, relayed), Said::Taken);
        }
        world.run(500);
        let heard = std::mem::take(&mut world.rooms[to].heard);
        assert_eq!(heard.iter().map(|parcel| parcel.relayed.clone()).collect::<Vec<_>>(), samples());
        for parcel in heard {
            assert_eq!(
                (parcel.node, parcel.index, parcel.session),
                (members[from].id(), back.index, back.session)
            );
            assert_eq!((parcel.view, parcel.carrier), (1, 0));
        }
    }
}

#[test]
fn links_are_spread_over_the_diallers_shards() {
    let mut world = World::new(7);
    world.fleet(3, 4);
    world.run(3_000);
    // Node 0 dials 1 and 2, node 1 dials 2; 4 links each, link i from shard i.
    for (number, dialled) in [(0, 2), (1, 2), (2, 2), (3, 2), (4, 1), (7, 1)] {
        let shard = (number % 4) as u8;
        let mine: Vec<_> = world.up(number).into_iter().filter(|link| link.index == shard).collect();
        assert!(mine.len() >= dialled, "{number}: {mine:?}");
        assert!(mine.iter().all(|link| link.links == 4 && link.shards == 4));
    }
    let total: usize = (0..12).map(|number| world.up(number).len()).sum();
    assert_eq!(total, 3 * 4 * 2, "each link has two ends");
}

#[test]
fn links_are_no_more_than_either_node_has_shards() {
    for (shards, expected) in [([4, 1], 1), ([1, 4], 1), ([4, 2], 2), ([2, 4], 2), ([4, 4], 4)] {
        let mut world = World::new(8);
        let names = names(2);
        let rooms = [0, 1].map(|number| world.add(|| parts(&names[number], 5, shards[number])));
        let members = [0, 1]
            .map(|number| member(&names[number], 5, shards[number], world.rooms[rooms[number]].address));
        world.tell(&roster(1, &members));
        world.run(3_000);
        let mut links: Vec<(u8, u8)> = (0..usize::from(shards[0]))
            .flat_map(|room| world.up(room))
            .map(|link| (link.index, link.links))
            .collect();
        links.sort_unstable();
        assert_eq!(links, (0..expected).map(|index| (index, expected)).collect::<Vec<_>>(), "{shards:?}");
    }
}

#[test]
fn keys_change_while_the_fleet_runs() {
    let (old, both, new) =
        (KEY.to_owned(), format!("{OTHER_KEY}\n{KEY}"), format!("{OTHER_KEY}\n# the old one is gone"));
    for (first, second, expected) in
        [(&old, &both, 0), (&both, &old, 0), (&both, &both, 1), (&both, &new, 1), (&new, &old, 0)]
    {
        let mut world = World::new(3);
        let names = names(2);
        let given = |name, text: &str| PeersParts { keys: keys(text), ..parts(name, 5, 1) };
        let a = world.add(|| given(&names[0], first));
        let b = world.add(|| given(&names[1], second));
        let members = [(0, a), (1, b)].map(|(n, room)| member(&names[n], 5, 1, world.rooms[room].address));
        world.tell(&roster(1, &members));
        world.run(1_000);
        // The first key proves and all verify: a node with a new first key waits for the others to have it too.
        assert_eq!(world.up(a).len(), expected, "{first} {second}");
    }
}

#[test]
fn a_broken_link_comes_again_with_a_later_session() {
    let mut world = World::new(11);
    world.fleet(2, 1);
    world.run(1_000);
    let before = world.up(0)[0];
    world.is_silent = true;
    world.run(6_200);
    assert_eq!((world.up(0).len(), world.up(1).len()), (0, 0));
    assert_eq!((world.lost(0, Loss::Silent), world.lost(1, Loss::Silent)), (1, 1));
    world.is_silent = false;
    world.run(8_000);
    let after = world.up(0)[0];
    assert!(after.session > before.session && after.node == before.node);
    assert_eq!(world.up(1)[0].session, after.session);
    assert_eq!(world.say(0, &before, samples().remove(0)), Said::Void);
    world.run(50);
    assert_eq!(world.rooms[0].tally.void, 1);
}

#[test]
fn quiet_links_stay_up() {
    let mut world = World::new(5);
    world.fleet(3, 1);
    world.run(120_000);
    assert!((0..3).all(|number| world.up(number).len() == 2 && world.rooms[number].changes.len() == 2));
    let asked = world.rooms[0].tally.sent_frames;
    assert!((100..250).contains(&asked), "a ping or an answer each 2 s on each of 2 links, not {asked}");
    assert!(world.rooms.iter().all(|room| room.tally.refused.iter().sum::<u64>() == 0));
    assert_eq!(world.refused(0, Refusal::Timeout), 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut world = World::new(seed);
        world.fleet(3, 2);
        world.run(3_000);
        world.is_silent = true;
        world.run(7_000);
        world.is_silent = false;
        world.run(8_000);
        world.rooms.into_iter().map(|room| (room.said_bytes, room.changes, room.tally)).collect::<Vec<_>>()
    };
    assert!(run(9) == run(9));
    assert!(run(9) != run(10));
}
