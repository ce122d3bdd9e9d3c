//! Whoever does not belong is kept out, on grounds that are told, and disturbs nobody.

use roadstead_control::{ClusterKeys, ClusterName, Duty, FleetEvent, Grounds, Region, Roster, Standing};

use crate::network::{self, Network, Process, seconds, settled};

#[test]
fn a_second_node_of_a_name_is_refused_and_the_first_not_disturbed() {
    let mut network = settled(50, 3);
    let mut settings = network.settings(1, 3);
    settings.own.address = network::address(77);
    let impostor = network.start_as(settings);
    network.run(seconds(60));
    let name = network.nodes[1].fleet.own().name.to_string();
    let grounds = Grounds::Duplicate { name: name.into() };
    assert!(network.agree(&[0, 1, 2]));
    for at in 0..3 {
        assert_eq!(network.nodes[at].rosters.len(), 1);
        assert!(network.nodes[at].fleet.tally().rejected_duplicate > 0);
        assert!(network.nodes[at].events.iter().any(
            |(_, event)| matches!(event, FleetEvent::Refused { grounds: found, .. } if *found == grounds)
        ));
    }
    assert_eq!(network.nodes[impostor].fleet.standing(), Standing::Joining);
    assert!(network.nodes[impostor].rosters.is_empty());
    assert!(network.nodes[impostor].events.iter().any(
        |(_, event)| matches!(event, FleetEvent::RefusedBy { grounds: found, .. } if *found == grounds)
    ));

    network.nodes[1].state = Process::Killed;
    network.run_while_not(seconds(30), |network| network.agree(&[0, 2, impostor])).expect("the name is free");
}

#[test]
fn two_nodes_of_a_name_that_join_at_once_end_as_one() {
    for seed in 0..10 {
        let mut network = settled(510 + seed, 6);
        // Each joins through another part of the fleet while the parts do not hear each other.
        network.split(&[0, 1, 2]);
        let mut first = network.settings(9, 0);
        first.seeds = vec![network::address(0)];
        network.split(&[0, 1, 2]);
        let first = network.start_as(first);
        let mut second = network.settings(9, 0);
        second.own.address = network::address(78);
        second.own.incarnation.0 += 50;
        second.seeds = vec![network::address(4)];
        let second = network.start_as(second);
        network.split(&[0, 1, 2, first]);
        network.run(seconds(2));
        network.split(&[]);
        network.run(seconds(40));
        let winner = network.nodes[first].fleet.own().incarnation.0;
        for at in 0..6 {
            let seen: Vec<_> = network.seen_by(at).into_iter().filter(|(name, _)| name == "node-9").collect();
            assert_eq!(seen, [("node-9".to_owned(), winner)], "seed {seed}, seen by {at}");
        }
        assert!(network.nodes[second].fleet.tally().refused_by_others > 0);
    }
}

#[test]
fn strangers_are_refused_each_on_its_own_grounds() {
    let mut network = settled(52, 3);
    let mut other_key = network.settings(60, 3);
    other_key.keys = ClusterKeys::parse(network::OTHER_KEY).unwrap();
    let mut other_cluster = network.settings(61, 3);
    other_cluster.cluster = ClusterName::new("prod").unwrap();
    let mut other_region = network.settings(62, 3);
    other_region.own.region = Region::new("nyc").unwrap();
    // This one could start a fleet of its own, but hears that somebody is there.
    let mut own_seed = network.settings(63, 3);
    own_seed.seeds.push(own_seed.own.address);
    own_seed.keys = other_key.keys.clone();
    let strangers =
        [other_key, other_cluster, other_region, own_seed].map(|stranger| network.start_as(stranger));
    network.run(seconds(60));
    assert!(network.agree(&[0, 1, 2]));
    for at in 0..3 {
        let (node, tally) = (&network.nodes[at], network.nodes[at].fleet.tally());
        assert!(
            tally.rejected_key > 5 && tally.rejected_cluster > 5 && tally.rejected_region > 5,
            "{tally:?}"
        );
        assert_eq!(node.rosters.len(), 1);
        let refusals =
            node.events.iter().filter(|(_, event)| matches!(event, FleetEvent::Refused { .. })).count();
        assert!((3..3 * 15).contains(&refusals), "{refusals} events");
    }
    let expected = [
        Grounds::Key,
        Grounds::Cluster,
        Grounds::Region { theirs: Region::new("nyc").unwrap() },
        Grounds::Key,
    ];
    for (at, grounds) in strangers.into_iter().zip(expected) {
        let node = &network.nodes[at];
        // Of these only the one of another region can read what it is told.
        let is_proven = matches!(grounds, Grounds::Region { .. });
        assert_eq!(node.fleet.standing(), Standing::Joining, "{grounds:?}");
        assert_eq!(node.fleet.tally().refused_unproven > 0, !is_proven);
        assert!(
            node.events.iter().any(|(_, event)| match event {
                FleetEvent::RefusedBy { grounds: found, .. } => *found == grounds && is_proven,
                FleetEvent::RefusedUnproven { grounds: found, .. } => *found == grounds && !is_proven,
                _ => false,
            }),
            "{grounds:?}: {:?}",
            node.events
        );
    }
}

#[test]
fn bad_datagrams_are_counted_and_change_nothing() {
    let mut network = settled(53, 3);
    network.recorded = Some(Vec::new());
    network.run(seconds(12));
    let recorded = network.recorded.take().unwrap();
    network.run(seconds(1));
    let from = network::address(99);
    let mut expected = network.nodes[0].fleet.tally();
    let mut good: Vec<&Vec<u8>> = Vec::new();
    good.extend(recorded.iter().filter(|(_, to, _)| *to == network::address(0)).map(|(_, _, bytes)| bytes));
    good.truncate(50);
    for bytes in &good {
        // Lost ones are new to it, so each is handed over twice.
        network.inject(0, from, bytes);
        network.inject(0, from, bytes);
        network.inject(0, from, &bytes[..bytes.len() / 2]);
        network.inject(0, from, &bytes[..30]);
        let mut flipped = (*bytes).clone();
        flipped[60] ^= 4;
        flipped[34] ^= 0x80;
        flipped[41] ^= 0x80;
        network.inject(0, from, &flipped);
        let mut version = (*bytes).clone();
        version[2] = 77;
        network.inject(0, from, &version);
        let mut hash = (*bytes).clone();
        hash[4] = 77;
        network.inject(0, from, &hash);
        network.inject(0, from, &[bytes.as_slice(), &[0; 1_400]].concat());
        network.inject(0, from, b"");
    }
    let tally = network.nodes[0].fleet.tally();
    let count = good.len() as u64;
    assert!(count == 50 && tally.rejected_replayed >= expected.rejected_replayed + count);
    expected.rejected_malformed += 2 * count;
    expected.rejected_forged += count;
    expected.rejected_version += count;
    expected.rejected_hash_version += count;
    expected.rejected_oversized += count;
    assert_eq!(tally.rejected_malformed, expected.rejected_malformed);
    assert_eq!(tally.rejected_version, expected.rejected_version);
    assert_eq!(tally.rejected_hash_version, expected.rejected_hash_version);
    assert_eq!(tally.rejected_oversized, expected.rejected_oversized);
    assert!(tally.rejected_forged >= expected.rejected_forged, "those flipped, and halves of unseen ones");
    network.run(seconds(30));
    assert!(network.agree(&[0, 1, 2]));
    assert_eq!(network.nodes[0].rosters.len(), 1);
    let logged =
        network.nodes[0].events.iter().filter(|(_, event)| matches!(event, FleetEvent::Refused { .. }));
    assert!(logged.count() <= 6 * 4);
}

#[test]
fn what_an_earlier_life_said_does_no_harm_when_played_again() {
    let mut network = settled(54, 3);
    network.recorded = Some(Vec::new());
    network.run(seconds(20));
    network.nodes[1].state = Process::Killed;
    network.run(seconds(10));
    let recorded = network.recorded.take().unwrap();
    let again = network.start(0, 3);
    network.nodes[0].state = Process::Killed;
    network.run_while_not(seconds(20), |network| network.agree(&[again, 2])).expect("it is back");
    let before = network.nodes[again].rosters.len();
    for (_, _, bytes) in &recorded {
        network.inject(again, network::address(1), bytes);
        network.inject(2, network::address(1), bytes);
    }
    network.run(seconds(30));
    assert!(network.agree(&[again, 2]), "{:?}", network.seen_by(again));
    // A process that has just started cannot tell that it is old news; the dead do not answer, and own nothing meanwhile.
    let dead = network.nodes[1].fleet.own().id();
    let later = &network.nodes[again].rosters[before..];
    let is_believed = |roster: &Roster| roster.view.node(dead).is_some_and(|node| node.duty != Duty::Waiting);
    assert!(!later.iter().any(|(_, roster)| is_believed(roster)), "the dead stay dead");
    assert_eq!(network.nodes[again].fleet.tally().rejoins + network.nodes[2].fleet.tally().rejoins, 0);
}

#[test]
fn a_refusal_that_does_not_open_is_noise_unless_a_node_could_have_sent_it() {
    let mut network = settled(55, 2);
    // Magic, another version, and the flag that makes it a refusal.
    let refusal = [&b"rG"[..], &[9, 1], &[0; 60]].concat();
    let heard = |network: &Network| {
        let node = &network.nodes[0];
        let told =
            node.events.iter().filter(|(_, event)| matches!(event, FleetEvent::RefusedUnproven { .. }));
        (told.count() as u64, node.fleet.tally().refused_unproven, node.fleet.tally().refused_by_others)
    };
    network.inject(0, network::address(99), &refusal);
    network.run(seconds(1));
    assert_eq!(heard(&network), (0, 0, 0));
    network.inject(0, network::address(1), &refusal);
    network.run(seconds(1));
    assert_eq!(heard(&network), (1, 1, 0));
    assert_eq!(network.nodes[0].fleet.tally().rejected_version, 2);
    assert!(network.agree(&[0, 1]));
}
