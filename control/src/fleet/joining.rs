//! When a node looks for others: until it has found its fleet, and ever after for those it has lost.
//!
//! Invariants: never gives up; asks so often at first and less often later; a node that hears anybody does not start a
//! fleet.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use crate::chance::Chance;
use crate::limits::{SEEDS_MAX, START_AFTER};

/// The pause between rounds of greetings of a node that knows nobody, at first and at last.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The same for a node that may start the fleet: it must not take a pause of its own for silence.
const SEED_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a node that has heard somebody, who did not let it in, waits for a sign before it starts the fleet after all.
const SILENCE: Duration = Duration::from_secs(10);

/// How often a node that has found its fleet greets one address where a seed or a lost node might be: the parts of a fleet
/// find each other again within a few of these.
const HEAL_PAUSE: Duration = Duration::from_secs(1);

/// How often it asks another for everybody it knows, at first and at last.
const SYNC_PAUSE_MIN: Duration = Duration::from_millis(500);
const SYNC_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often a node that finds nobody says so.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(5);

/// The schedule.
pub(crate) struct Joining {
    seeds: Vec<SocketAddr>,
    /// The node's own address is among the seeds that were given.
    is_seed: bool,
    alone: bool,
    began_at: Duration,
    heard_at: Option<Duration>,
    complain_at: Duration,
    greet_at: Duration,
    greet_pause: Duration,
    heal_at: Duration,
    sync_at: Duration,
    sync_pause: Duration,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// Nobody is there: be the first.
    Start,
    /// Say that so many seeds do not answer.
    Complain(usize),
    /// Greet whoever is at these addresses.
    Greet(Vec<SocketAddr>),
    /// Ask a living node for everybody it knows.
    Sync,
}

impl Joining {
    pub(crate) fn new(now: Duration, own: SocketAddr, mut seeds: Vec<SocketAddr>, alone: bool) -> Self {
        let is_seed = seeds.contains(&own);
        seeds.retain(|seed| *seed != own);
        seeds.truncate(SEEDS_MAX);
        Self {
            seeds,
            is_seed,
            alone,
            began_at: now,
            heard_at: None,
            complain_at: now + COMPLAINT_PAUSE,
            greet_at: now,
            greet_pause: PAUSE_MIN,
            heal_at: now,
            sync_at: now,
            sync_pause: SYNC_PAUSE_MIN,
        }
    }

    /// Somebody is there, though perhaps nobody who lets this node in.
    pub(crate) fn hear(&mut self, now: Duration) {
        self.heard_at = Some(now);
    }

    pub(crate) fn is_seed_address(&self, address: SocketAddr) -> bool {
        self.seeds.contains(&address)
    }

    /// What is due for a node that has no fleet yet.
    pub(crate) fn due_without_fleet(&mut self, now: Duration, chance: &mut Chance) -> Vec<Task> {
        let mut tasks = Vec::new();
        let start_at = self.heard_at.map_or(self.began_at + START_AFTER, |at| at + SILENCE);
        if self.alone || self.is_seed && now >= start_at {
            tasks.push(Task::Start);
        } else if now >= self.complain_at {
            self.complain_at = now + COMPLAINT_PAUSE;
            if self.heard_at.is_none_or(|at| now >= at + COMPLAINT_PAUSE) {
                tasks.push(Task::Complain(self.seeds.len()));
            }
        }
        tasks.extend(self.due_greeting(now, chance, &[]));
        tasks
    }

    /// What is due for a node whose fleet is itself, with addresses of the dead.
    pub(crate) fn due_in_solitude(
        &mut self,
        now: Duration,
        chance: &mut Chance,
        dead: &[SocketAddr],
    ) -> Vec<Task> {
        (self.sync_at, self.sync_pause) = (now, SYNC_PAUSE_MIN);
        self.due_greeting(now, chance, dead).into_iter().collect()
    }

    /// What is due for a node that knows others, at the addresses `living`.
    pub(crate) fn due_among_others(
        &mut self,
        now: Duration,
        chance: &mut Chance,
        living: &BTreeSet<SocketAddr>,
        dead: &[SocketAddr],
    ) -> Vec<Task> {
        (self.greet_at, self.greet_pause) = (now, PAUSE_MIN);
        let mut tasks = Vec::new();
        if now >= self.heal_at {
            self.heal_at = now + chance.jitter(HEAL_PAUSE);
            let lost: Vec<SocketAddr> =
                self.seeds.iter().chain(dead).filter(|address| !living.contains(address)).copied().collect();
            tasks.extend(chance.pick(&lost).map(|address| Task::Greet(vec![*address])));
        }
        if now >= self.sync_at {
            self.sync_at = now + chance.jitter(self.sync_pause);
            self.sync_pause = (self.sync_pause * 2).min(SYNC_PAUSE_MAX);
            tasks.push(Task::Sync);
        }
        tasks
    }

    /// Has everybody asked for all they know soon, as after joining.
    pub(crate) fn sync_soon(&mut self, now: Duration) {
        (self.sync_at, self.sync_pause) = (now, SYNC_PAUSE_MIN);
    }

    fn due_greeting(&mut self, now: Duration, chance: &mut Chance, dead: &[SocketAddr]) -> Option<Task> {
        if now < self.greet_at {
            return None;
        }
        self.greet_at = now + chance.jitter(self.greet_pause);
        self.greet_pause = (self.greet_pause * 2).min(if self.is_seed { SEED_PAUSE_MAX } else { PAUSE_MAX });
        let addresses: BTreeSet<SocketAddr> = self.seeds.iter().chain(dead).copied().collect();
        let addresses = chance.pick_many(addresses.into_iter().collect(), SEEDS_MAX);
        (!addresses.is_empty()).then_some(Task::Greet(addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// When a node with these seeds starts its fleet, within 20 s, having heard somebody at these seconds.
    fn started_at(seeds: &[u16], alone: bool, heard: &[u64]) -> Option<u64> {
        let seeds = seeds.iter().map(|port| address(*port)).collect();
        let (mut joining, mut chance) =
            (Joining::new(Duration::ZERO, address(1), seeds, alone), Chance::new(1));
        (0..200).find(|tenths| {
            let now = Duration::from_millis(tenths * 100);
            if tenths % 10 == 0 && heard.contains(&(tenths / 10)) {
                joining.hear(now);
            }
            joining.due_without_fleet(now, &mut chance).contains(&Task::Start)
        })
    }

    #[test]
    fn only_a_seed_that_hears_nobody_starts_a_fleet() {
        assert_eq!(started_at(&[1, 2], false, &[]), Some(30));
        assert_eq!(started_at(&[1, 2], false, &[1, 3]), Some(130));
        assert_eq!(started_at(&[2, 3], false, &[]), None);
        assert_eq!(started_at(&[], false, &[]), None);
        assert_eq!(started_at(&[2, 3], true, &[]), Some(0));
    }

    #[test]
    fn greetings_never_end_and_complaints_come_each_five_seconds() {
        let mut chance = Chance::new(1);
        let mut joining = Joining::new(Duration::ZERO, address(1), vec![address(2), address(3)], false);
        let (mut greetings, mut complaints) = (Vec::new(), Vec::new());
        for tenths in 0..600 {
            for task in joining.due_without_fleet(Duration::from_millis(tenths * 100), &mut chance) {
                match task {
                    Task::Greet(addresses) => {
                        assert_eq!(addresses.len(), 2);
                        greetings.push(tenths);
                    }
                    Task::Complain(seeds) => {
                        assert_eq!(seeds, 2);
                        complaints.push(tenths);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(greetings.windows(2).all(|pair| pair[1] - pair[0] <= 65), "{greetings:?}");
        assert!(greetings.iter().filter(|at| **at < 30).count() >= 3, "{greetings:?}");
        assert!(greetings.last() > Some(&530));
        assert_eq!(complaints, (1..12).map(|at| at * 50).collect::<Vec<_>>());
    }
}
