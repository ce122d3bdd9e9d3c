//! Runs of many seeds, on all cores, and with what each failure needs to be replayed.
//!
//! The environment may say more: `ROADSTEAD_SEED` is the only seed to run; `ROADSTEAD_SEEDS` is how many fresh ones are
//! run, and `ROADSTEAD_SECONDS` for how long new ones are begun.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use roadstead_sim::Wrong;

/// Runs the seed of the environment alone, or all `seeds`, until the time is over; panics with what each failure needs to
/// be replayed.
#[allow(clippy::print_stdout, reason = "a batch says how large it was")]
pub(crate) fn run_all<S: Send>(
    test: &str,
    seeds: impl Iterator<Item = u64> + Send,
    run: impl Fn(u64) -> Result<S, Wrong> + Sync,
) -> Vec<S> {
    let asked = number("ROADSTEAD_SEED");
    let seconds = number("ROADSTEAD_SECONDS").filter(|_| asked.is_none());
    let (begun, time) = (Instant::now(), seconds.map(Duration::from_secs));
    let seeds = Mutex::new(asked.into_iter().chain(seeds.filter(|_| asked.is_none())));
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while time.is_none_or(|time| begun.elapsed() < time) {
                    let Some(seed) = seeds.lock().expect("no thread panics with it").next() else { break };
                    let result = run_one(test, seed, &run);
                    results.lock().expect("no thread panics with it").push((seed, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics with it");
    results.sort_by_key(|(seed, _)| *seed);
    println!("{} runs of {test} in {:.0?}", results.len(), begun.elapsed());
    let (runs, failures): (Vec<_>, Vec<_>) =
        results.into_iter().map(|(_, result)| result).partition(Result::is_ok);
    let failures: Vec<String> = failures.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} runs failed:\n{}", failures.len(), failures.join("\n"));
    runs.into_iter().flatten().collect()
}

fn run_one<S>(test: &str, seed: u64, run: impl Fn(u64) -> Result<S, Wrong>) -> Result<S, String> {
    let what = match catch_unwind(AssertUnwindSafe(|| run(seed))) {
        Ok(Ok(summary)) => return Ok(summary),
        Ok(Err(Wrong(what))) => what,
        Err(_) => "a panic, printed above".into(),
    };
    Err(format!(
        "seed {seed}: {what}\n    ROADSTEAD_SEED={seed} cargo test -p roadstead-sim --test {test} fixed_seeds"
    ))
}

/// Seeds of this very moment: `count`, or as many as the environment says.
pub(crate) fn fresh(count: u64) -> impl Iterator<Item = u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    (0..number("ROADSTEAD_SEEDS").unwrap_or(count)).map(move |number| now.wrapping_add(number))
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
