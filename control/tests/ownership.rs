//! Ownership is the same on every machine, follows the weights, and moves no more than it must.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use roadstead_control::{Duty, Incarnation, NodeId, NodeName, View, ViewNode, Weight, owner, rank};

fn node(id: NodeId, weight: u16) -> ViewNode {
    let (incarnation, duty) = (Incarnation(1), Duty::Active);
    ViewNode { id, incarnation, weight: Weight::new(weight).expect("a weight"), duty }
}

fn named(name: &str) -> NodeId {
    NodeName::new(name).expect("a name").id()
}

fn view(nodes: impl IntoIterator<Item = ViewNode>) -> View {
    View::new(1, nodes).expect("distinct nodes")
}

fn channel(number: u32) -> Vec<u8> {
    format!("channel-{number}").into_bytes()
}

/// (channel, owner and standby of three equal nodes, owner when "a" has four times the weight)
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("", "c", "b", "c"),
    ("a", "c", "a", "a"),
    ("news", "c", "b", "c"),
    ("#42", "a", "b", "a"),
    ("chat:room-1", "a", "b", "a"),
    ("chat:room-2", "b", "c", "a"),
    ("chat:room-3", "a", "b", "a"),
    ("kanäle/über", "a", "b", "a"),
];

#[test]
fn owners_never_change() {
    let names = ["a", "b", "c"];
    let name = |id: NodeId| *names.iter().find(|name| named(name) == id).unwrap();
    let equal = view(names.map(|name| node(named(name), 100)));
    let uneven = view(names.map(|name| node(named(name), if name == "a" { 400 } else { 100 })));
    for &(channel, first, second, weighted) in TABLE {
        let rank = rank(&equal, channel.as_bytes()).unwrap();
        assert_eq!(name(rank.owner), first, "{channel}");
        assert_eq!(rank.standby.map(name), Some(second), "{channel}");
        assert_eq!(name(owner(&uneven, channel.as_bytes()).unwrap()), weighted, "{channel}");
    }
}

#[test]
fn small_views() {
    assert_eq!(rank(&view([]), b"news"), None);
    let one = NodeId(7);
    let alone = rank(&view([node(one, 1)]), b"news").unwrap();
    assert_eq!((alone.owner, alone.standby), (one, None));
    let draining = ViewNode { duty: Duty::Draining, ..node(NodeId(8), 10_000) };
    let beside_draining = rank(&view([node(one, 1), draining]), b"news").unwrap();
    assert_eq!((beside_draining.owner, beside_draining.standby), (one, None));
}

#[test]
fn channels_go_to_the_first_duty_that_any_node_has() {
    use Duty::{Active, Draining, Waiting};
    // (duties of nodes 0 to 2, who owns channels)
    for (duties, expected) in [
        ([Active, Active, Active], &[0, 1, 2][..]),
        ([Active, Draining, Waiting], &[0]),
        ([Draining, Draining, Draining], &[0, 1, 2]),
        ([Draining, Waiting, Draining], &[0, 2]),
        ([Waiting, Waiting, Waiting], &[0, 1, 2]),
    ] {
        let nodes = duties.iter().zip(0..).map(|(&duty, id)| ViewNode { duty, ..node(NodeId(id), 100) });
        let fleet = view(nodes);
        let owners: BTreeSet<u32> =
            (0..200).filter_map(|number| Some(owner(&fleet, &channel(number))?.0)).collect();
        assert_eq!(owners.into_iter().collect::<Vec<_>>(), expected, "{duties:?}");
    }
}

#[test]
fn owner_and_hub_are_independent() {
    use roadstead_control::hub_shard;
    let fleet = view((0..4).map(|id| node(NodeId(id), 100)));
    let mut counts = BTreeMap::new();
    for number in 0..16_000 {
        let channel = channel(number);
        *counts.entry((owner(&fleet, &channel).unwrap(), hub_shard(&channel, 4))).or_insert(0_u32) += 1;
    }
    assert_eq!(counts.len(), 16);
    assert!(counts.values().all(|count| (850..1_150).contains(count)), "1,000 expected of each: {counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_leaving_node_moves_only_its_channels_and_to_their_standby(
        ids in proptest::collection::btree_map(any::<u32>(), 1_u16..=10_000, 2..12),
        pick in any::<proptest::sample::Index>(),
        drains in any::<bool>(),
    ) {
        let leaving = NodeId(**pick.get(&ids.keys().collect::<Vec<_>>()));
        let nodes: Vec<ViewNode> = ids.iter().map(|(&id, &weight)| node(NodeId(id), weight)).collect();
        let before = view(nodes.clone());
        let after = if drains {
            let duty = |id| if id == leaving { Duty::Draining } else { Duty::Active };
            view(nodes.iter().map(|node| ViewNode { duty: duty(node.id), ..*node }))
        } else {
            view(nodes.iter().copied().filter(|node| node.id != leaving))
        };
        for number in 0..300 {
            let channel = channel(number);
            let was = rank(&before, &channel).unwrap();
            let is = owner(&after, &channel);
            prop_assert_eq!(is, if was.owner == leaving { was.standby } else { Some(was.owner) });
        }
    }

    #[test]
    fn more_weight_only_attracts(
        weights in proptest::collection::vec(1_u16..=5_000, 2..10),
        added in 1_u16..=5_000,
    ) {
        let nodes: Vec<ViewNode> = weights.iter().zip(0..).map(|(&weight, id)| node(NodeId(id), weight)).collect();
        let mut heavier = nodes.clone();
        heavier[0] = node(NodeId(0), weights[0] + added);
        let (before, after) = (view(nodes), view(heavier));
        for number in 0..300 {
            let channel = channel(number);
            let (was, is) = (owner(&before, &channel).unwrap(), owner(&after, &channel).unwrap());
            prop_assert!(is == was || is == NodeId(0), "{} moved from {} to {}", number, was, is);
        }
    }

    #[test]
    fn channels_are_shared_by_weight(weights in proptest::collection::vec(1_u16..=50, 2..9), salt in any::<u32>()) {
        let nodes = weights.iter().zip(0..).map(|(&weight, id)| node(NodeId(id ^ salt), weight));
        let fleet = view(nodes);
        let channels = 4_000;
        let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
        for number in 0..channels {
            *counts.entry(owner(&fleet, &channel(number)).unwrap()).or_default() += 1;
        }
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        for (id, &weight) in (0..).zip(&weights) {
            let share = f64::from(weight) / total;
            let expected = share * f64::from(channels);
            let deviation = (expected * (1.0 - share)).sqrt();
            let count = f64::from(counts.get(&NodeId(id ^ salt)).copied().unwrap_or(0));
            // Six standard deviations: by chance once in a thousand million.
            prop_assert!((count - expected).abs() <= 6.0 * deviation + 1.0, "{count} of {expected} expected");
        }
    }
}
