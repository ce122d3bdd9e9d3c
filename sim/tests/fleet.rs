//! Fleets under many seeds: a fixed set, and a few fresh ones each time.
//!
//! A failure prints the command that replays it.

mod seeds;

use roadstead_sim::fleet::{Summary, run};

/// Seeds 0 up to this run each time.
const FIXED: u64 = 60;
/// Seeds that found something once.
const KEPT: &[u64] = &[
    // Two nodes of parts that overlap, equally large, took each other for dead for ever.
    1_795_519_200_791_510_893,
];
/// Seeds of this very moment, besides.
const FRESH: u64 = 12;

#[test]
fn fixed_seeds() {
    let runs: Vec<Summary> = seeds::run_all("fleet", (0..FIXED).chain(KEPT.iter().copied()), run);
    if let [run] = &runs[..] {
        println!("{run:#?}");
        return;
    }
    // The seeds reach what they are to reach.
    let count = |reached: fn(&Summary) -> bool| runs.iter().filter(|run| reached(run)).count();
    assert!(count(|run| run.heard > 100) > 10, "publications are heard");
    assert!(count(|run| run.faults > 0) > 10, "faults come");
    assert!(count(|run| run.faults == 0) > 3, "some fleets are calm");
    assert!(count(|run| run.revoked > 3) > 10, "operators revoke");
    let has_caught_up = |run: &Summary| run.frames.iter().any(|(name, _)| *name == "revocations after");
    assert!(count(has_caught_up) > 3, "nodes ask for what they have missed");
    assert!(count(|run| run.recoveries.0 > 3) > 10, "clients recover");
    assert!(count(|run| run.recoveries.1 > 3) > 3, "clients are told that they cannot");
    let crosses = |run: &Summary| run.frames.iter().any(|(name, count)| *name == "deliver" && *count > 50);
    assert!(count(crosses) > 10, "publications cross from node to node");
}

#[test]
fn fresh_seeds() {
    seeds::run_all("fleet", seeds::fresh(FRESH), run);
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..2 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
