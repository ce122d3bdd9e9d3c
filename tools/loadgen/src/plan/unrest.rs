//! What is done to connections on purpose: slowness, storms, coming and going.

use super::nanos;
use crate::arguments::ScenarioFlags;
use crate::random::Random;
use crate::schedule::Nanos;

/// Share of slow subscribers of the scenario that is about them.
const SLOW_SHARE: f64 = 0.1;

/// The same where they are one trouble among others.
const SLOW_SHARE_MIXED: f64 = 0.01;

/// Share that a storm cuts off.
const STORM_SHARE: f64 = 0.5;

/// Share of the connections that leave in a second.
const CHURN_SHARE: f64 = 0.01;

/// The unrest of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unrest {
    /// Share of subscribers that do not keep up.
    pub(crate) slow_share: f64,
    /// Bytes per second that each of them reads; 0: none.
    pub(crate) slow_read: u64,
    /// Cutting off many at once.
    pub(crate) storm: Option<Storm>,
    /// Subscribers that leave per second, over all threads.
    pub(crate) churn_rate: f64,
    /// Whether connections that the server ends come back.
    pub(crate) reconnects: bool,
    /// Pauses before they do.
    pub(crate) backoff: Backoff,
}

/// When how many are cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Storm {
    /// Share of the subscribers.
    pub(crate) share: f64,
    /// From the first message on.
    pub(crate) after: Nanos,
    /// To the next storm.
    pub(crate) every: Option<Nanos>,
}

/// Full jitter: any pause up to a bound that doubles with each attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Backoff {
    /// The bound of the first attempt.
    pub(crate) min: Nanos,
    /// What the bound grows to.
    pub(crate) max: Nanos,
}

impl Backoff {
    /// The pause before attempt `attempt` (from 1).
    pub(crate) fn pause(&self, attempt: u8, random: &mut Random) -> Nanos {
        let doublings = u32::from(attempt.saturating_sub(1)).min(62);
        let bound = self.min.saturating_mul(1 << doublings).min(self.max);
        ((u128::from(random.next()) * u128::from(bound)) >> 64) as Nanos
    }
}

impl Unrest {
    /// What the flags ask for, or the scenario is about.
    ///
    /// # Errors
    /// What is wrong, as a sentence for the user.
    pub(crate) fn new(scenario: &ScenarioFlags) -> Result<Self, String> {
        let flags = scenario.flags();
        let (is_slow, is_storm) =
            (matches!(scenario, ScenarioFlags::Slow(_)), matches!(scenario, ScenarioFlags::Storm(_)));
        let (is_churn, is_mixed) =
            (matches!(scenario, ScenarioFlags::Churn(_)), matches!(scenario, ScenarioFlags::Mixed(_)));
        let slow_default = if is_slow {
            SLOW_SHARE
        } else if is_mixed {
            SLOW_SHARE_MIXED
        } else {
            0.0
        };
        let share = flags.storm_share.unwrap_or(if is_storm { STORM_SHARE } else { 0.0 });
        let churn_default =
            if is_churn || is_mixed { CHURN_SHARE * f64::from(flags.connections) } else { 0.0 };
        let every = flags.storm_every.map(nanos);
        if every == Some(0) {
            return Err("--storm-every must be longer than nothing".to_owned());
        }
        let unrest = Self {
            slow_share: flags.slow_share.unwrap_or(slow_default),
            slow_read: flags.slow_read as u64,
            storm: (share > 0.0).then(|| Storm { share, after: nanos(flags.storm_after), every }),
            churn_rate: flags.churn_rate.unwrap_or(churn_default),
            reconnects: flags.reconnect,
            backoff: Backoff { min: nanos(flags.backoff_min), max: nanos(flags.backoff_max) },
        };
        let is_fixed = matches!(scenario, ScenarioFlags::Connect(_) | ScenarioFlags::Echo(_));
        if is_fixed && !unrest.is_calm() {
            return Err(format!(
                "{} keeps its connections: slow, storm, churn and --reconnect need another scenario",
                scenario.name()
            ));
        }
        Ok(unrest)
    }

    /// Whether nothing is done to connections.
    #[must_use]
    pub(crate) fn is_calm(&self) -> bool {
        self.slow_share == 0.0 && self.storm.is_none() && self.churn_rate == 0.0 && !self.reconnects
    }

    /// Whether subscriber `number` does not keep up.
    pub(super) fn is_slow(&self, number: u32) -> bool {
        let up_to = |number: f64| (number * self.slow_share).floor();
        self.slow_share > 0.0 && up_to(f64::from(number) + 1.0) > up_to(f64::from(number))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    fn unrest(line: &str) -> Unrest {
        let line = format!("loadgen {line} --url ws://a/ --connections 200");
        Unrest::new(&Arguments::try_parse_from(line.split(' ')).unwrap().scenario).unwrap()
    }

    #[test]
    fn scenarios_bring_their_unrest() {
        assert!(unrest("fanout").is_calm() && unrest("direct").is_calm() && unrest("idle").is_calm());
        assert_eq!((unrest("slow").slow_share, unrest("slow --slow-share 30%").slow_share), (0.1, 0.3));
        assert_eq!((unrest("churn").churn_rate, unrest("mixed").churn_rate), (2.0, 2.0));
        assert_eq!(unrest("storm").storm, Some(Storm { share: 0.5, after: 1_000_000_000, every: None }));
        assert!(unrest("storm --storm-share 0").is_calm());
        assert!(!unrest("idle --reconnect").is_calm());
    }

    #[test]
    fn slow_subscribers_are_a_share() {
        for (share, expected) in [(0.0, 0), (0.1, 100), (0.25, 250), (1.0, 1_000)] {
            let unrest = Unrest { slow_share: share, ..unrest("idle") };
            assert_eq!((0..1_000).filter(|number| unrest.is_slow(*number)).count(), expected, "{share}");
        }
    }

    #[test]
    fn pauses_are_anything_up_to_a_doubling_bound() {
        let backoff = Backoff { min: 100, max: 1_000 };
        let mut random = Random::new(5);
        for (attempt, bound) in [(1, 100), (2, 200), (4, 800), (5, 1_000), (255, 1_000)] {
            let pauses: Vec<_> = (0..1_000).map(|_| backoff.pause(attempt, &mut random)).collect();
            assert!(pauses.iter().all(|pause| *pause < bound), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause < bound / 10), "{attempt}: jitter is full");
            assert!(pauses.iter().any(|pause| *pause >= bound - bound / 10), "{attempt}");
        }
    }
}
