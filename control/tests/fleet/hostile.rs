//! A node that has the cluster's key but says nonsense: no panic, nothing without bound, and the fleet recovers.

use proptest::prelude::*;
use roadstead_control::{ClusterKeys, ClusterName, Incarnation, Member, NodeName, Sealer};

use crate::network::{self, EPOCH, Network, seconds};

/// What the third node of a fleet would be, and what it seals with.
fn rogue(network: &Network) -> (Member, Sealer) {
    let own = Member {
        incarnation: Incarnation(EPOCH + 5),
        name: NodeName::new("node-2").expect("a name"),
        ..network.settings(2, 2).own
    };
    let keys = ClusterKeys::parse(network::KEY).expect("keys");
    let cluster = ClusterName::new("test").expect("a name");
    let sealer = Sealer::new(&keys, &cluster, own.id(), own.incarnation, 7);
    (own, sealer)
}

/// A body with a true record of its sender, and any content.
fn body(own: &Member, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    own.encode(&mut record);
    let length = u16::try_from(record.len()).expect("a short record");
    [&[kind], &length.to_le_bytes()[..], &record, content].concat()
}

/// A life as it stands in messages.
fn life(id: u32, incarnation: u64, port: u8) -> Vec<u8> {
    [&id.to_le_bytes()[..], &incarnation.to_le_bytes(), &[4, 10, 0, 0, port, 0xe8, 0x1c]].concat()
}

/// Content for a kind: raw bytes, or a message of the membership protocol about nodes that exist.
fn content(ids: [u32; 3]) -> impl Strategy<Value = (u8, Vec<u8>)> {
    let any_life = (0..4_usize, 0..8_u64, 1..5_u8).prop_map(move |(which, incarnation, port)| {
        life(ids.get(which).copied().unwrap_or(77), EPOCH + incarnation, port)
    });
    let update = (any_life.clone(), 0..3_u16, 0..3_u8)
        .prop_map(|(life, objections, state)| [&life[..], &objections.to_le_bytes(), &[state]].concat());
    let updates = proptest::collection::vec(update, 0..12);
    let kinds = (any_life.clone(), 0..13_u8, any_life, any::<u8>(), updates);
    let message = kinds.prop_map(move |(to, tag, about, number, updates)| {
        let own = life(ids[2], EPOCH + 5, 3);
        let mut message = [&own[..], &0_u16.to_le_bytes(), &to, &[tag]].concat();
        match tag {
            1 | 2 => message.push(number),
            3..=6 => message.extend_from_slice(&[&about[..], &[number]].concat()),
            _ => {}
        }
        if tag != 7 {
            message.extend_from_slice(&(updates.len() as u16).to_be_bytes());
            message.extend(updates.concat());
        }
        let length = (message.len() as u16).to_le_bytes();
        (1, [&length[..], &message].concat())
    });
    let raw = (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..64));
    let greeting = (2..4_u8, 0..5_u32, 0..3_u8, 0..4_usize, 0..8_u64).prop_map(
        move |(kind, living, known, which, incarnation)| {
            let id = ids.get(which).copied().unwrap_or(77);
            let about = [&id.to_le_bytes()[..], &(EPOCH + incarnation).to_le_bytes()].concat();
            (kind, [&living.to_le_bytes()[..], &[0; 4], &[known], &about].concat())
        },
    );
    prop_oneof![1 => raw, 4 => message, 1 => greeting]
}

fn check(contents: &[(u8, Vec<u8>)]) {
    let mut network = Network::fleet(3, 2, 2);
    network.run(seconds(12));
    let (own, mut sealer) = rogue(&network);
    for (kind, content) in contents {
        let datagram = sealer.seal(&body(&own, *kind, content));
        network.inject(0, own.address, &datagram);
        network.run(std::time::Duration::from_millis(20));
    }
    assert!(network.nodes[0].fleet.members().len() <= 6);
    network.run(seconds(60));
    assert!(network.agree(&[0, 1]), "{:?} and {:?}", network.seen_by(0), network.seen_by(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nonsense_from_within_does_not_last(contents in {
        let ids = ["node-0", "node-1", "node-2"].map(|name| NodeName::new(name).expect("a name").id().0);
        proptest::collection::vec(content(ids), 1..40)
    }) {
        check(&contents);
    }

    #[test]
    fn bytes_from_anywhere_change_nothing(datagrams in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..1_500), 1..20,
    )) {
        let mut network = Network::fleet(3, 2, 2);
        network.run(seconds(12));
        for datagram in &datagrams {
            network.inject(0, network::address(9), datagram);
        }
        prop_assert_eq!(network.nodes[0].fleet.tally().rejected(), datagrams.len() as u64);
        prop_assert!(network.agree(&[0, 1]));
    }
}
