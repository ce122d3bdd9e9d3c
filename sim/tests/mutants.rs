//! What the oracle is worth: every deliberately broken rule is found by some seed.

use roadstead_sim::fleet::run_with;
use roadstead_sim::{Mutant, Wrong};

/// Seeds tried for a mutant before it counts as not found.
const SEEDS: u64 = 12;

#[test]
fn every_mutant_is_found() {
    let mut unfound = Vec::new();
    for mutant in Mutant::ALL {
        let (mut struck, mut found) = (0, None);
        for seed in 0..SEEDS {
            match run_with(seed, Some(mutant)) {
                Ok(summary) => struck += u64::from(summary.strikes > 0),
                Err(Wrong(what)) => {
                    found = Some((seed, what));
                    break;
                }
            }
        }
        match found {
            Some((seed, what)) => println!("{mutant:?}: seed {seed}: {}", what.lines().next().unwrap_or("")),
            None => unfound.push(format!("{mutant:?}, which struck in {struck} runs")),
        }
    }
    assert!(unfound.is_empty(), "not found: {unfound:?}");
}
