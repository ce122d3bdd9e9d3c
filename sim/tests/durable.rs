//! The log over the simulated disk, under many seeds.
//!
//! A failure prints the command that replays it: `ROADSTEAD_SEED=… cargo test -p roadstead-sim --test durable`.

mod seeds;

use roadstead_sim::durable::{Summary, run, run_on_a_liar};

/// Seeds 0 up to this run each time.
const FIXED: u64 = 400;
/// Seeds that found something once.
/// - 1795579262582669636: a sync failed, the process began again, and took what the kernel showed it for durable.
const KEPT: &[u64] = &[1_795_579_262_582_669_636];
/// Seeds of this very moment, besides.
const FRESH: u64 = 50;

#[test]
fn fixed_seeds() {
    let runs = seeds::run_all("durable", (0..FIXED).chain(KEPT.iter().copied()), run);
    if runs.len() == 1 {
        println!("{:#?}", runs[0]);
        return;
    }
    // The seeds reach what they are to reach.
    let count = |reached: fn(&Summary) -> bool| runs.iter().filter(|run| reached(run)).count();
    assert!(count(|run| run.acknowledged > 100) > 200, "publications are acknowledged");
    assert!(count(|run| run.failed > 0) > 200, "appends fail");
    assert!(count(|run| run.power_losses > 2) > 200, "the power fails");
    assert!(count(|run| run.torn > 0) > 50, "groups break off");
    assert!(count(|run| run.cleaned > 0) > 100, "segments are cleaned");
    assert!(count(|run| run.compared > 100) > 200, "publications are compared");
}

#[test]
fn fresh_seeds() {
    seeds::run_all("durable", seeds::fresh(FRESH), run);
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let found = (0..50).filter(|seed| run_on_a_liar(*seed).is_err()).count();
    assert!(found > 45, "only {found} of 50 seeds would find a missing sync");
}
