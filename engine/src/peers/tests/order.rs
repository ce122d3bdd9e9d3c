//! Whatever happens to the pipes: within a session what is heard is what was said, in order, from its first word on, and
//! both ends tell the same story of ups and downs.

use std::collections::BTreeMap;

use roadstead_control::NodeId;

use super::super::Said;
use super::world::{World, roster};
use crate::flow::{LinkChange, Relayed};

/// From node, to node, index, session.
type Session = (NodeId, NodeId, u8, u64);

#[test]
fn each_session_hears_a_beginning_of_what_was_said_in_it() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.capacity = [usize::MAX, 500, 50][(seed % 3) as usize];
        let members = world.fleet(3, 2);
        let owner = |number: usize| members[number / 2].id();
        let mut said: BTreeMap<Session, Vec<Relayed>> = BTreeMap::new();
        let mut count = 0;
        let mut number_of_view = 1;
        for _ in 0..400 {
            for number in 0..6 {
                for link in world.up(number) {
                    count += 1;
                    let relayed = Relayed::Leave { sequence: count, user: "u".into(), connection: count };
                    // Deep in its queue or not, a parcel is kept or the session ends.
                    if world.say(number, &link, relayed.clone()) == Said::Taken {
                        let session = (owner(number), link.node, link.index, link.session);
                        said.entry(session).or_default().push(relayed);
                    }
                }
            }
            disturb(&mut world, &members, &mut number_of_view);
            let ms = 10 * (1 + world.chance.below(30) as u64);
            world.run(ms);
        }
        world.is_silent = false;
        world.rooms.iter_mut().for_each(|room| room.is_frozen = false);
        world.tell(&roster(number_of_view + 1, &members));
        world.run(20_000);

        let mut heard: BTreeMap<Session, Vec<Relayed>> = BTreeMap::new();
        for (number, room) in world.rooms.iter().enumerate() {
            for parcel in &room.heard {
                let session = (parcel.node, owner(number), parcel.index, parcel.session);
                heard.entry(session).or_default().push(parcel.relayed.clone());
            }
        }
        assert!(!heard.is_empty(), "seed {seed}");
        for (session, heard) in &heard {
            let said = said.get(session).expect("a session that was spoken in");
            assert!(heard.len() <= said.len() && heard[..] == said[..heard.len()], "seed {seed} {session:?}");
        }
        let end = |number, link: &LinkChange| (owner(number), link.node, link.index, link.session);
        let ends: Vec<Session> = (0..6)
            .flat_map(|number| world.up(number).iter().map(|link| end(number, link)).collect::<Vec<_>>())
            .collect();
        assert_eq!(ends.len(), 12, "seed {seed}: in the end all is well");
        for (session, said) in &said {
            let stands = ends.contains(session);
            let whole = heard.get(session).map_or(0, Vec::len) == said.len();
            assert!(whole || !stands, "seed {seed} {session:?}: what stands has lost nothing");
        }
    }
}

fn disturb(world: &mut World, members: &[roadstead_control::Member], number_of_view: &mut u64) {
    match world.chance.below(60) {
        0 => world.is_silent = !world.is_silent,
        1 => {
            let number = world.chance.below(6);
            world.rooms[number].is_frozen = !world.rooms[number].is_frozen;
        }
        2 => {
            *number_of_view += 1;
            let left = world.chance.below(4);
            let there: Vec<_> = (0..3).filter(|&number| number != left).map(|n| members[n].clone()).collect();
            world.tell(&roster(*number_of_view, &there));
        }
        3 if !world.wires.is_empty() => {
            let wire = world.chance.below(world.wires.len());
            world.cut(wire);
        }
        _ => {}
    }
}
