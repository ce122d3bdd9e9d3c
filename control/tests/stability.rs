//! Losses are published at once, gains when they have lasted, and no node delays another.

use std::time::Duration;

use proptest::prelude::*;
use roadstead_control::limits::{STABILITY_BATCH, STABILITY_WINDOW};
use roadstead_control::{Duty, Incarnation, NodeId, Stability, View, ViewNode, Weight};

const OWN: u32 = 1;

fn node(id: u32) -> ViewNode {
    ViewNode { id: NodeId(id), incarnation: Incarnation(1), weight: Weight::default(), duty: Duty::Active }
}

fn later_life(node: ViewNode) -> ViewNode {
    ViewNode { incarnation: Incarnation(node.incarnation.0 + 1), ..node }
}

fn heavy(node: ViewNode) -> ViewNode {
    ViewNode { weight: Weight::new(1_000).expect("a weight"), ..node }
}

fn draining(node: ViewNode) -> ViewNode {
    ViewNode { duty: Duty::Draining, ..node }
}

fn waiting(node: ViewNode) -> ViewNode {
    ViewNode { duty: Duty::Waiting, ..node }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What membership reports, `Tick` for letting time pass.
#[derive(Clone, Copy)]
enum Report {
    Alive(ViewNode),
    Settled(ViewNode),
    Dead(u32, u64),
    Tick,
}
use Report::{Alive, Dead, Settled, Tick};

/// A fleet of three that settled at 10 s; then reports at seconds, and the View expected right after each.
fn check(script: &[(u64, Report, Option<&[ViewNode]>)]) {
    let mut stability = Stability::new(Duration::ZERO, node(OWN));
    stability.handle_alive(seconds(1), node(2), false).expect("there is room");
    stability.handle_alive(seconds(1), node(3), false).expect("there is room");
    let first = stability.poll_view(seconds(10)).expect("the first window has passed");
    assert_eq!(first.nodes(), [node(1), node(2), node(3)]);
    for (step, &(at, report, expected)) in script.iter().enumerate() {
        match report {
            Alive(node) => stability.handle_alive(seconds(at), node, false).expect("there is room"),
            Settled(node) => stability.handle_alive(seconds(at), node, true).expect("there is room"),
            Dead(id, incarnation) => stability.handle_dead(NodeId(id), Incarnation(incarnation)),
            Tick => {}
        }
        let view = stability.poll_view(seconds(at));
        assert_eq!(view.as_ref().map(View::nodes), expected, "step {step} at {at} s");
        assert!(stability.poll_view(seconds(at)).is_none(), "a View is published once, step {step}");
    }
}

#[test]
fn nothing_before_the_first_window() {
    let mut stability = Stability::new(seconds(5), node(OWN));
    assert_eq!(stability.poll_timeout(), Some(seconds(15)));
    stability.handle_alive(seconds(6), node(2), false).unwrap();
    stability.handle_dead(NodeId(2), Incarnation(1));
    stability.handle_alive(seconds(14), node(3), false).unwrap();
    assert!(stability.poll_view(seconds(14)).is_none());
    let view = stability.poll_view(seconds(15)).unwrap();
    assert_eq!((view.number(), view.nodes()), (1, &[node(OWN), waiting(node(3))][..]));
    assert_eq!(stability.poll_timeout(), Some(seconds(24)));
}

#[test]
fn the_first_view_relies_on_those_who_have_waited() {
    let mut stability = Stability::new(seconds(0), node(OWN));
    for (at, id, settled) in [(2, 2, false), (3, 3, false), (5, 4, true)] {
        stability.handle_alive(seconds(at), node(id), settled).unwrap();
    }
    let first = stability.poll_view(seconds(10)).unwrap();
    assert_eq!(first.nodes(), [node(OWN), node(2), waiting(node(3)), node(4)], "it lives, and has waited");
    assert_eq!(stability.poll_view(seconds(13)).unwrap().nodes(), [node(OWN), node(2), node(3), node(4)]);
}

#[test]
fn a_death_is_published_at_once() {
    check(&[(20, Dead(2, 1), Some(&[node(1), node(3)])), (60, Tick, None)]);
}

#[test]
fn a_drain_is_published_at_once_and_its_end_waits() {
    check(&[
        (20, Alive(draining(node(2))), Some(&[node(1), draining(node(2)), node(3)])),
        (21, Alive(draining(node(2))), None),
        (30, Alive(node(2)), None),
        (39, Tick, None),
        (40, Tick, Some(&[node(1), node(2), node(3)])),
    ]);
}

#[test]
fn a_join_waits() {
    check(&[
        (20, Alive(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4))])),
        (25, Alive(node(4)), None),
        (29, Tick, None),
        (30, Tick, Some(&[node(1), node(2), node(3), node(4)])),
    ]);
}

#[test]
fn a_join_that_does_not_last_owns_nothing() {
    check(&[
        (20, Alive(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4))])),
        (25, Dead(4, 1), Some(&[node(1), node(2), node(3)])),
        (60, Tick, None),
    ]);
}

#[test]
fn a_weight_waits_and_is_forgotten_when_it_returns() {
    check(&[
        (20, Alive(heavy(node(2))), None),
        (25, Alive(node(2)), None),
        (40, Tick, None),
        (50, Alive(heavy(node(2))), None),
        (60, Tick, Some(&[node(1), heavy(node(2)), node(3)])),
    ]);
}

#[test]
fn a_restart_is_a_death_and_a_join() {
    check(&[
        (20, Alive(later_life(node(2))), Some(&[node(1), waiting(later_life(node(2))), node(3)])),
        (21, Alive(node(2)), None),
        (22, Dead(2, 1), None),
        (30, Tick, Some(&[node(1), later_life(node(2)), node(3)])),
    ]);
}

#[test]
fn joins_that_are_close_move_ownership_once() {
    check(&[
        (20, Alive(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4))])),
        (22, Alive(node(5)), Some(&[node(1), node(2), node(3), waiting(node(4)), waiting(node(5))])),
        (
            25,
            Alive(node(6)),
            Some(&[node(1), node(2), node(3), waiting(node(4)), waiting(node(5)), waiting(node(6))]),
        ),
        (30, Tick, Some(&[node(1), node(2), node(3), node(4), node(5), waiting(node(6))])),
        (35, Tick, Some(&[node(1), node(2), node(3), node(4), node(5), node(6)])),
    ]);
}

#[test]
fn a_flapping_node_delays_nobody() {
    check(&[
        (20, Alive(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4))])),
        (21, Alive(node(5)), Some(&[node(1), node(2), node(3), waiting(node(4)), waiting(node(5))])),
        (24, Dead(4, 1), Some(&[node(1), node(2), node(3), waiting(node(5))])),
        (26, Alive(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4)), waiting(node(5))])),
        (28, Dead(4, 1), Some(&[node(1), node(2), node(3), waiting(node(5))])),
        (31, Tick, Some(&[node(1), node(2), node(3), node(5)])),
    ]);
}

#[test]
fn a_new_life_of_this_node_waits_and_keeps_its_place() {
    check(&[
        (20, Alive(later_life(node(1))), Some(&[waiting(later_life(node(1))), node(2), node(3)])),
        (29, Tick, None),
        (30, Tick, Some(&[later_life(node(1)), node(2), node(3)])),
    ]);
}

#[test]
fn who_has_settled_need_only_show_that_it_lives() {
    check(&[
        (20, Alive(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4))])),
        (22, Settled(node(4)), None),
        (24, Tick, None),
        (25, Tick, Some(&[node(1), node(2), node(3), node(4)])),
        (26, Settled(draining(node(4))), Some(&[node(1), node(2), node(3), draining(node(4))])),
        (27, Alive(node(4)), None),
        (28, Settled(node(4)), Some(&[node(1), node(2), node(3), node(4)])),
        (30, Settled(later_life(node(3))), Some(&[node(1), node(2), waiting(later_life(node(3))), node(4)])),
        (31, Dead(3, 2), Some(&[node(1), node(2), node(4)])),
        // A share is another matter: that it was the same for long is not said.
        (32, Settled(heavy(node(2))), None),
        (42, Tick, Some(&[node(1), heavy(node(2)), node(4)])),
    ]);
}

#[test]
fn a_newcomer_that_drains_while_it_waits_waits_no_longer() {
    check(&[
        (20, Alive(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4))])),
        (26, Alive(draining(node(4))), None),
        (27, Alive(node(4)), None),
        (28, Alive(draining(node(4))), None),
        (30, Tick, Some(&[node(1), node(2), node(3), draining(node(4))])),
        // It was relied upon as draining; that it is active again must last.
        (31, Alive(node(4)), None),
        (41, Tick, Some(&[node(1), node(2), node(3), node(4)])),
    ]);
}

#[test]
fn a_view_for_another_reason_takes_nobody_along_who_has_not_shown_that_it_lives() {
    check(&[
        (20, Settled(node(4)), Some(&[node(1), node(2), node(3), waiting(node(4))])),
        (23, Dead(3, 1), Some(&[node(1), node(2), waiting(node(4))])),
        (24, Tick, None),
        (25, Tick, Some(&[node(1), node(2), node(4)])),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn views_keep_their_promises(
        reports in proptest::collection::vec((0_u64..4_000, 2_u32..6, 0_u8..5, 1_u64..4), 1..120),
    ) {
        let mut stability = Stability::new(Duration::ZERO, node(OWN));
        let mut now = Duration::ZERO;
        // For each node: what membership said last, and since when it says so; a node that has never been relied upon may
        // begin or end a drain meanwhile.
        let mut said: std::collections::BTreeMap<u32, (ViewNode, Duration)> = Default::default();
        let mut published: Vec<ViewNode> = Vec::new();
        let mut number = 0;
        for (pause_ms, id, kind, incarnation) in reports {
            now += Duration::from_millis(pause_ms);
            let known = said.get(&id).copied();
            let life = ViewNode { incarnation: Incarnation(incarnation), ..node(id) };
            let stale = known.is_some_and(|(known, _)| known.incarnation > life.incarnation);
            if kind == 0 {
                stability.handle_dead(life.id, life.incarnation);
                if !stale {
                    said.remove(&id);
                }
            } else {
                let report = match kind { 1 => draining(life), 2 => heavy(life), _ => life };
                stability.handle_alive(now, report, false).unwrap();
                if !stale && known.is_none_or(|(known, _)| known != report) {
                    let unproven = !published.iter().any(|shown| shown.id == life.id && shown.duty != Duty::Waiting);
                    let since = known
                        .filter(|(known, _)| unproven && *known == ViewNode { duty: known.duty, ..report })
                        .map_or(now, |(_, since)| since);
                    said.insert(id, (report, since));
                }
            }
            let Some(view) = stability.poll_view(now) else { continue };
            number += 1;
            prop_assert_eq!(view.number(), number);
            for shown in view.nodes().iter().filter(|shown| shown.id.0 != OWN) {
                let (report, since) = said.get(&shown.id.0).copied().expect("the dead are not in a View");
                prop_assert_eq!(shown.incarnation, report.incarnation, "no earlier life is in a View");
                let keeps = shown.duty == Duty::Active && published.contains(shown);
                prop_assert!(report.duty == Duty::Active || !keeps, "a drain is published at once");
                let gains = number > 1 && shown.duty == Duty::Active && !published.contains(shown);
                prop_assert!(!gains || now + STABILITY_BATCH >= since + STABILITY_WINDOW, "gained after {:?}", now - since);
            }
            published = view.nodes().to_vec();
        }
        let quiet = now + STABILITY_WINDOW;
        let last = stability.poll_view(quiet).map_or(published, |view| view.nodes().to_vec());
        let truth: Vec<ViewNode> =
            std::iter::once(node(OWN)).chain(said.values().map(|&(report, _)| report)).collect();
        prop_assert_eq!(last, truth, "after quiet, the View is what membership says");
        prop_assert!(stability.poll_view(quiet + STABILITY_WINDOW).is_none());
    }
}
