//! Nodes find each other, see deaths in time and heal, over a network that loses, delays and reorders.

use std::time::Duration;

use roadstead_control::{Duty, FleetEvent, MemberState, Standing};

use crate::network::{Network, Process, seconds, settled};

/// How long until no running node's View has `gone` any more.
fn time_until_gone(network: &mut Network, gone: usize, limit: Duration) -> Option<Duration> {
    let name = network.nodes[gone].fleet.own().name.to_string();
    network.run_while_not(limit, |network| {
        network.running().all(|at| at == gone || !network.seen_by(at).iter().any(|(seen, _)| *seen == name))
    })
}

#[test]
fn nodes_started_together_have_the_same_first_roster_within_15_seconds() {
    for (seed, count, seeds) in [(1, 2, 2), (2, 3, 3), (3, 3, 1), (4, 10, 3), (5, 10, 10), (6, 50, 3)] {
        let mut network = Network::fleet(seed, count, seeds);
        network.run(seconds(15));
        let all: Vec<usize> = (0..count).collect();
        assert!(network.agree(&all), "{count} nodes with {seeds} seeds: {:?}", network.seen_by(0));
        for node in &network.nodes {
            assert_eq!(node.rosters.len(), 1, "the first roster is complete");
            assert_eq!(node.fleet.standing(), Standing::Serving);
            assert_eq!(node.fleet.tally().rejected(), 0, "{:?}", node.events);
            assert_eq!(node.fleet.tally().deaths, 0);
            assert_eq!(node.fleet.members().len(), count);
        }
    }
}

#[test]
fn nodes_join_through_any_seed_that_lives_and_one_by_one() {
    let mut network = Network::new(7);
    for number in 0..6 {
        network.start(number, 3);
        network.run(seconds(3));
    }
    network.nodes[0].state = Process::Killed;
    network.nodes[1].state = Process::Killed;
    network.run(seconds(10));
    let late = network.start(6, 3);
    network.run(seconds(2));
    assert_eq!(network.nodes[late].fleet.standing(), Standing::Settling, "it has found the third seed");
    network.run(seconds(15));
    assert!(network.agree(&[2, 3, 4, 5, 6]), "{:?}", network.seen_by(late));
}

#[test]
fn a_node_without_anybody_keeps_asking_and_starts_only_if_it_is_a_seed() {
    let mut network = Network::new(8);
    network.start(3, 2);
    network.run(seconds(21));
    let complaint = FleetEvent::NoSeedAnswers { seeds: 2 };
    assert_eq!(network.nodes[0].events.iter().filter(|(_, event)| *event == complaint).count(), 4);
    assert_eq!(network.nodes[0].fleet.standing(), Standing::Joining);
    assert!(network.nodes[0].rosters.is_empty());

    let seed = network.start(0, 2);
    network.run(seconds(1));
    assert!(network.nodes.iter().all(|node| node.fleet.standing() == Standing::Settling || seed == 1));
    network.run(seconds(20));
    assert!(network.agree(&[0, 1]));

    let mut network = Network::new(9);
    network.start(0, 1);
    network.run(seconds(2));
    assert_eq!(network.nodes[0].fleet.standing(), Standing::Joining);
    network.run(seconds(12));
    assert_eq!(network.nodes[0].fleet.standing(), Standing::Serving);
    assert_eq!(network.nodes[0].events[0].1, FleetEvent::StartedFleet);

    let mut network = Network::new(10);
    let alone = network.start_as(roadstead_control::FleetSettings { alone: true, ..network.settings(0, 0) });
    network.run(seconds(11));
    assert!(network.agree(&[alone]));
}

#[test]
fn a_death_is_seen_by_all_within_5_seconds() {
    let mut times = Vec::new();
    for seed in 0..40 {
        let count = [3, 5, 10, 20][seed as usize % 4];
        let mut network = settled(100 + seed, count);
        let victim = network.random() as usize % count;
        network.nodes[victim].state = Process::Killed;
        let took = time_until_gone(&mut network, victim, seconds(8)).expect("it is seen");
        times.push(took);
        assert!(took <= seconds(6), "{count} nodes, seed {seed}: {took:?}");
        let others: Vec<usize> = (0..count).filter(|at| *at != victim).collect();
        network.run(seconds(20));
        assert!(network.agree(&others), "nobody else was hurt");
        assert!(others.iter().all(|at| network.nodes[*at].fleet.tally().rejoins == 0));
    }
    times.sort();
    assert!(times[times.len() / 2] <= seconds(4), "{times:?}");
    assert!(times[times.len() * 9 / 10] <= seconds(5), "{times:?}");
}

#[test]
fn a_broken_link_makes_it_quicker() {
    for seed in 0..20 {
        let count = [3, 10][seed as usize % 2];
        let mut network = settled(200 + seed, count);
        network.nodes[0].state = Process::Killed;
        let gone = network.nodes[0].fleet.own().clone();
        network.run(Duration::from_millis(5));
        for at in 1..count {
            let now = network.now;
            network.nodes[at].fleet.handle_link_lost(now, gone.id(), gone.incarnation);
        }
        let took = time_until_gone(&mut network, 0, seconds(6)).expect("it is seen");
        assert!(took <= Duration::from_millis(3_200), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_broken_link_to_a_living_node_does_no_harm() {
    let mut network = settled(31, 5);
    network.loss_percent = 5;
    for _ in 0..20 {
        let gone = network.nodes[0].fleet.own().clone();
        for at in 1..5 {
            let now = network.now;
            network.nodes[at].fleet.handle_link_lost(now, gone.id(), gone.incarnation);
        }
        network.run(seconds(2));
    }
    assert!(network.agree(&[0, 1, 2, 3, 4]));
    assert!(network.nodes.iter().all(|node| node.rosters.len() == 1 && node.fleet.tally().deaths == 0));
    assert!(network.nodes[1].fleet.tally().hints >= 15);
}

#[test]
fn a_lossy_network_kills_nobody() {
    let mut network = settled(32, 10);
    network.loss_percent = 20;
    network.delay_ms = (0, 60);
    network.run(seconds(120));
    let deaths: u64 = network.nodes.iter().map(|node| node.fleet.tally().deaths).sum();
    assert_eq!(deaths, 0);
    assert!(network.agree(&(0..10).collect::<Vec<_>>()));
}

#[test]
fn a_frozen_node_comes_back_as_a_later_life_and_blames_nobody() {
    let mut network = settled(33, 5);
    let before = network.nodes[2].fleet.own().incarnation;
    network.nodes[2].state = Process::Frozen;
    time_until_gone(&mut network, 2, seconds(6)).expect("it is seen");
    network.run(seconds(4));
    network.nodes[2].state = Process::Running;
    let all = [0, 1, 2, 3, 4];
    network.run_while_not(seconds(16), |network| network.agree(&all)).expect("it is back");
    let own = network.nodes[2].fleet.own();
    assert!(own.incarnation > before);
    assert!(network.nodes[2].events.iter().any(|(_, event)| matches!(event, FleetEvent::Rejoining { .. })));
    assert_eq!(network.nodes[2].fleet.tally().deaths, 0, "it was away itself, and blames nobody");
    assert!([0, 1, 3, 4].iter().all(|at| network.nodes[*at].fleet.tally().rejoins == 0));
}

#[test]
fn a_node_that_was_taken_for_dead_is_of_use_at_once() {
    let mut network = settled(63, 4);
    network.nodes[2].state = Process::Frozen;
    time_until_gone(&mut network, 2, seconds(6)).expect("it is seen");
    network.run(seconds(1));
    network.nodes[2].state = Process::Running;
    let before = network.nodes[2].fleet.own().incarnation;
    network
        .run_while_not(seconds(4), |network| network.nodes[2].fleet.own().incarnation > before)
        .expect("it learns of it");
    // From now on it does not say that it serves unless others can have links with this life of it.
    let own = network.nodes[2].fleet.own().clone();
    let duty = |network: &Network, at: usize| {
        let (_, roster) = network.nodes[at].rosters.last()?;
        roster.view.node(own.id()).filter(|node| node.incarnation == own.incarnation).map(|node| node.duty)
    };
    let is_known = |network: &Network| (0..4).all(|at| duty(network, at) == Some(Duty::Waiting));
    network.run_while_not(seconds(3), is_known).expect("it is in every View, and owns nothing");
    assert_eq!(network.nodes[2].fleet.standing(), Standing::Serving);
    network.run_while_not(seconds(12), |network| network.agree(&[0, 1, 2, 3])).expect("it owns its share");
}

#[test]
fn a_cut_off_node_gives_way_to_the_fleet() {
    for seed in 0..5 {
        let mut network = settled(340 + seed, 5);
        network.split(&[2]);
        network.run(seconds(30));
        assert_eq!(network.seen_by(2).len(), 1);
        assert_eq!(network.seen_by(0).len(), 4);
        network.split(&[]);
        let all = [0, 1, 2, 3, 4];
        network.run_while_not(seconds(20), |network| network.agree(&all)).expect("they are one again");
        assert!(network.nodes[2].fleet.tally().rejoins >= 1);
        for at in [0, 1, 3, 4] {
            assert_eq!(network.nodes[at].fleet.tally().rejoins, 0, "the larger part stays as it is");
            let smallest = network.nodes[at].rosters.iter().map(|(_, roster)| roster.members.len()).min();
            assert_eq!(smallest, Some(4), "and is never without its owners");
        }
    }
}

#[test]
fn the_parts_of_a_fleet_find_each_other_again() {
    for seed in 0..5 {
        let mut network = settled(40 + seed, 10);
        network.split(&[0, 3, 5, 7, 9]);
        network.run(seconds(60));
        assert!((0..10).all(|at| network.seen_by(at).len() == 5));
        network.split(&[]);
        let all: Vec<usize> = (0..10).collect();
        let took =
            network.run_while_not(seconds(40), |network| network.agree(&all)).expect("they are one again");
        assert!(took <= seconds(25), "{took:?}");
        let stayed = (0..10).filter(|at| network.nodes[*at].fleet.tally().rejoins == 0).count();
        assert!(stayed >= 5, "one part stays as it is: {stayed}");
    }
}

#[test]
fn a_restarted_node_takes_its_own_place_at_once() {
    let mut network = settled(35, 3);
    network.nodes[1].state = Process::Killed;
    network.run(Duration::from_millis(800));
    let again = network.start(1, 3);
    network
        .run_while_not(seconds(3), |network| network.seen_by(0).len() == 2 && network.seen_by(2).len() == 2)
        .expect("the earlier life is over as soon as the later one speaks");
    network.run_while_not(seconds(16), |network| network.agree(&[0, 2, again])).expect("it is back");
    assert_eq!(network.nodes[0].fleet.tally().rejected_duplicate, 0);
}

#[test]
fn a_node_whose_clock_went_back_gets_a_later_incarnation() {
    let mut network = settled(36, 3);
    let before = network.nodes[1].fleet.own().incarnation;
    network.nodes[1].state = Process::Killed;
    network.run(Duration::from_millis(800));
    let mut settings = network.settings(1, 3);
    settings.own.incarnation.0 -= 86_400_000;
    let again = network.start_as(settings);
    network.run_while_not(seconds(25), |network| network.agree(&[0, 2, again])).expect("it is back");
    assert!(network.nodes[again].fleet.own().incarnation > before);
}

#[test]
fn a_drain_and_its_end_are_seen_by_all() {
    let mut network = settled(37, 10);
    let now = network.now;
    network.nodes[4].fleet.set_draining(now, true);
    let id = network.nodes[4].fleet.own().id();
    let active = |network: &Network, at: usize| {
        network.nodes[at]
            .rosters
            .last()
            .is_some_and(|(_, roster)| roster.view.node(id).is_some_and(|node| node.duty == Duty::Active))
    };
    let took = network
        .run_while_not(seconds(2), |network| (0..10).all(|at| !active(network, at)))
        .expect("the drain is seen");
    assert!(took <= Duration::from_millis(600), "{took:?}");
    assert!((0..10).all(|at| network.seen_by(at).len() == 10), "it stays in the View");
    let now = network.now;
    network.nodes[4].fleet.set_draining(now, false);
    network.run(seconds(2));
    let record = |network: &Network| network.nodes[4].fleet.own().draining;
    assert!(record(&network), "who loses it now and finds it again is to take it for what the others do");
    network.run_while_not(seconds(10), |network| active(network, 4)).expect("its own View changes first");
    assert!(!record(&network));
    network.run(seconds(2));
    assert!((0..10).all(|at| active(&network, at)));

    let late = network.start(10, 3);
    let now = network.now;
    network.nodes[4].fleet.set_draining(now, true);
    network.run(seconds(13));
    assert!(!active(&network, late), "one who joins later learns it too");
}

#[test]
fn who_leaves_is_gone_at_once_and_does_not_count_as_dead() {
    let mut network = settled(38, 5);
    let now = network.now;
    network.nodes[1].fleet.leave(now);
    network.pump();
    network.nodes[1].state = Process::Killed;
    let took = time_until_gone(&mut network, 1, seconds(2)).expect("it is gone");
    assert!(took <= seconds(1), "{took:?}");
    let name = network.nodes[1].fleet.own().name.clone();
    for at in [0, 2, 3, 4] {
        let statuses = network.nodes[at].fleet.members();
        let status = statuses.iter().find(|status| status.member.name == name).expect("it is still listed");
        assert_eq!(status.state, MemberState::Left);
        assert!(network.nodes[at].events.iter().any(
            |(_, event)| matches!(event, FleetEvent::MemberDown { name: gone, left: true, .. } if *gone == name)
        ));
    }
    assert_eq!(network.nodes[1].fleet.poll_timeout(), None);
}

#[test]
fn connections_are_gossiped_now_and_then() {
    let mut network = settled(39, 5);
    for round in 0..300 {
        let now = network.now;
        network.nodes[0].fleet.set_connections(now, 1_000 + round);
        network.run(Duration::from_millis(100));
    }
    network.run(seconds(15));
    let name = network.nodes[0].fleet.own().name.clone();
    for node in &network.nodes {
        let statuses = node.fleet.members();
        let status = statuses.iter().find(|status| status.member.name == name).expect("it is listed");
        assert_eq!(status.member.connections, 1_299);
        assert!(status.member.revision <= 6, "{}", status.member.revision);
        assert_eq!(node.rosters.len(), 1, "load never makes a View");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut network = Network::fleet(seed, 8, 3);
        network.loss_percent = 5;
        network.run(seconds(20));
        network.nodes[3].state = Process::Killed;
        network.run(seconds(10));
        network.trace
    };
    assert_eq!(run(60), run(60));
    assert_ne!(run(60), run(61));
}

#[test]
fn a_quiet_fleet_says_little() {
    let mut network = settled(61, 10);
    let sent =
        |network: &Network| network.nodes.iter().map(|node| node.fleet.tally().datagrams_sent).sum::<u64>();
    let before = sent(&network);
    let events: usize = network.nodes.iter().map(|node| node.events.len()).sum();
    network.run(seconds(60));
    let each_second = (sent(&network) - before) / 10 / 60;
    assert!(each_second <= 12, "{each_second} datagrams a second and node");
    assert_eq!(network.nodes.iter().map(|node| node.events.len()).sum::<usize>(), events);
}
