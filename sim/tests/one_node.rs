//! One node under many seeds: a fixed set, and a few fresh ones each time.
//!
//! A failure prints the command that replays it: `ROADSTEAD_SEED=… cargo test -p roadstead-sim --test one_node`.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use roadstead_sim::Wrong;
use roadstead_sim::one_node::{Summary, run};

/// Seeds 0 up to this run each time.
const FIXED: u64 = 150;
/// Seeds that found something once.
const KEPT: &[u64] = &[];
/// Seeds of this very moment, besides.
const FRESH: u64 = 20;

/// Runs the seed of the environment alone, or all `seeds`; panics with what each failure needs to be replayed.
fn run_all(seeds: impl Iterator<Item = u64>) -> Vec<Summary> {
    let asked = env::var("ROADSTEAD_SEED").ok().map(|seed| seed.parse().expect("ROADSTEAD_SEED is a number"));
    let seeds: Vec<u64> = asked.map_or_else(|| seeds.collect(), |seed| vec![seed]);
    let (runs, failures): (Vec<_>, Vec<_>) = seeds.into_iter().map(run_one).partition(Result::is_ok);
    let failures: Vec<String> = failures.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} runs failed:\n{}", failures.len(), failures.join("\n"));
    runs.into_iter().flatten().collect()
}

fn run_one(seed: u64) -> Result<Summary, String> {
    let what = match catch_unwind(AssertUnwindSafe(|| run(seed))) {
        Ok(Ok(summary)) => return Ok(summary),
        Ok(Err(Wrong(what))) => what,
        Err(_) => "a panic, printed above".into(),
    };
    Err(format!("seed {seed}: {what}\n    ROADSTEAD_SEED={seed} cargo test -p roadstead-sim --test one_node"))
}

#[test]
fn fixed_seeds() {
    let runs = run_all((0..FIXED).chain(KEPT.iter().copied()));
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
}

#[test]
fn fresh_seeds() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    run_all((0..FRESH).map(|number| now.wrapping_add(number)));
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..5 {
        assert_eq!(run_one(seed), run_one(seed), "seed {seed}");
    }
}
