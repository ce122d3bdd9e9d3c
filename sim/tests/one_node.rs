//! One node under many seeds: a fixed set, and a few fresh ones each time.
//!
//! A failure prints the command that replays it: `ROADSTEAD_SEED=… cargo test -p roadstead-sim --test one_node`.

mod seeds;

use roadstead_sim::one_node::{Summary, run};

/// Seeds 0 up to this run each time.
const FIXED: u64 = 150;
/// Seeds that found something once.
const KEPT: &[u64] = &[];
/// Seeds of this very moment, besides.
const FRESH: u64 = 20;

#[test]
fn fixed_seeds() {
    let runs = seeds::run_all("one_node", (0..FIXED).chain(KEPT.iter().copied()), run);
    if runs.len() == 1 {
        println!("{:#?}", runs[0]);
        return;
    }
    // The seeds reach what they are to reach.
    let count = |reached: fn(&Summary) -> bool| runs.iter().filter(|run| reached(run)).count();
    assert!(count(|run| run.heard > 100) > 50, "publications are heard");
    assert!(count(|run| run.blocked > 0) > 10, "sends block");
    assert!(count(|run| run.closed > 0) > 10, "clients are closed");
    assert!(count(|run| run.refused > 0) > 3, "publications are refused");
    assert!(count(|run| run.lost > 0) > 3, "publications are lost");
    assert!(count(|run| run.recoveries.0 > 3) > 20, "clients recover");
    assert!(count(|run| run.recoveries.1 > 0) > 3, "clients are told that they cannot");
}

#[test]
fn fresh_seeds() {
    seeds::run_all("one_node", seeds::fresh(FRESH), run);
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
