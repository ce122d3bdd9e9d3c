//! Idempotency keys: what was published by one, for some minutes, in memory.
//!
//! Invariants: bounded in number and time; of several publications by one key to one channel one is done, and the others end as it
//! does; one that was refused, or whose outcome is unknown, is not remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Outcome;
use crate::limits::{API_IDEMPOTENCY_KEYS_MAX, API_IDEMPOTENCY_MS};

type Name = (Box<str>, Box<str>);
type Ending = watch::Receiver<Option<Outcome>>;

/// What was published, by channel and key.
#[derive(Debug, Default)]
pub(super) struct Idempotency(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: HashMap<Name, (u64, Ending)>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, u64, Name)>,
    number: u64,
}

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Seen {
    /// Nothing: its outcome is to be told to this.
    New(Telling),
    /// It was used; the outcome is there, or comes.
    Again(Ending),
}

/// Tells the outcome of what was done first.
#[derive(Debug)]
pub(super) struct Telling {
    name: Name,
    number: u64,
    ending: watch::Sender<Option<Outcome>>,
}

impl Idempotency {
    /// Looks for a key of a channel, and notes it.
    pub(super) fn look(&self, channel: &str, key: &str, now: Instant) -> Seen {
        let mut known = self.known();
        known.forget(now);
        let name: Name = (channel.into(), key.into());
        if let Some((_, ending)) = known.all.get(&name) {
            return Seen::Again(ending.clone());
        }
        let (told, ending) = watch::channel(None);
        known.number += 1;
        let number = known.number;
        known.all.insert(name.clone(), (number, ending));
        known.order.push_back((now + Duration::from_millis(API_IDEMPOTENCY_MS), number, name.clone()));
        Seen::New(Telling { name, number, ending: told })
    }

    /// It has ended.
    pub(super) fn tell(&self, telling: Telling, outcome: Outcome) {
        if outcome.is_err() {
            self.known().remove(&telling.name, telling.number);
        }
        let _ = telling.ending.send(Some(outcome));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, now: Instant) {
        while let Some((until, ..)) = self.order.front()
            && (*until <= now || self.order.len() >= API_IDEMPOTENCY_KEYS_MAX)
        {
            if let Some((_, number, name)) = self.order.pop_front() {
                self.remove(&name, number);
            }
        }
    }

    fn remove(&mut self, name: &Name, number: u64) {
        if self.all.get(name).is_some_and(|(known, _)| *known == number) {
            self.all.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use roadstead_protocol::ErrorCode;
    use serde_json::json;

    use super::*;

    fn is_new(seen: &Seen) -> bool {
        matches!(seen, Seen::New(_))
    }

    #[test]
    fn a_key_counts_for_its_channel_and_its_time() {
        let (keys, now) = (Idempotency::default(), Instant::now());
        let Seen::New(telling) = keys.look("a", "k", now) else { panic!("nothing is known") };
        let Seen::Again(ending) = keys.look("a", "k", now) else { panic!("it is known") };
        assert!(is_new(&keys.look("b", "k", now)) && is_new(&keys.look("a", "l", now)));
        assert_eq!(*ending.borrow(), None);
        keys.tell(telling, Ok(json!({})));
        assert_eq!(*ending.borrow(), Some(Ok(json!({}))));
        let later = now + Duration::from_millis(API_IDEMPOTENCY_MS);
        assert!(!is_new(&keys.look("a", "k", later - Duration::from_millis(1))));
        assert!(is_new(&keys.look("a", "k", later)));
    }

    #[test]
    fn what_was_refused_can_be_tried_again() {
        let (keys, now) = (Idempotency::default(), Instant::now());
        let Seen::New(telling) = keys.look("a", "k", now) else { panic!("nothing is known") };
        keys.tell(telling, Err(ErrorCode::TooManyRequests));
        assert!(is_new(&keys.look("a", "k", now)));
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let (keys, now) = (Idempotency::default(), Instant::now());
        for number in 0..=API_IDEMPOTENCY_KEYS_MAX {
            keys.look("a", &number.to_string(), now);
        }
        assert!(keys.known().all.len() <= API_IDEMPOTENCY_KEYS_MAX);
        assert!(!is_new(&keys.look("a", &API_IDEMPOTENCY_KEYS_MAX.to_string(), now)));
        assert!(is_new(&keys.look("a", "0", now)));
    }
}
