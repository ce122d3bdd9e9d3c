//! What is remembered of the sources that connections come from: how many there are, how fast they come, what they did wrong, and
//! until when a source is banned.
//!
//! One table for the whole node. A source's connections land on all shards, by the hash of their ports, so a share of a bound for
//! each shard would refuse some at a fraction of it; and what is remembered here changes when a connection begins, ends or does
//! something wrong, never with a message. So it is one table in [`PARTITIONS`] parts, each behind a lock that is held for some
//! tens of nanoseconds, and two shards meet there about once in as many connections.
//!
//! Invariants: bounded in entries, and memory is taken as sources come; an entry with connections, or with a ban, is never
//! given up for another source; where every entry that is looked at is one of these, a newcomer is let in unremembered and counted:
//! whoever has so many addresses is bounded by the node's own limits, as before. Which entries compete depends on a secret key.
//!
//! What is given up is what has least to remember among some: points, a bucket that is not full, a ban that was. Somebody with many
//! addresses can make the table forget those who did little; to make it forget himself he must do more wrong from each of
//! the others than he did from the one, and is banned there.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use slab::Slab;

use super::{Ban, Refused, Signal, Watched};
use crate::bucket::{Bucket, Rate};
use crate::limits::{SOURCES_COMPARED, SOURCES_EACH_MAX};
use crate::names::NameHasher;
use crate::prefix::Prefix;
use crate::settings::Guard;

/// Parts of the table, a power of two: more than shards, so that two rarely want the same one.
const PARTITIONS: usize = 64;

/// Bits of a place that say where in its part it is.
const INDEX_BITS: u32 = 20;

const _: () = assert!(SOURCES_EACH_MAX < 1 << INDEX_BITS && PARTITIONS <= 1 << (u32::BITS - INDEX_BITS - 1));

/// An entry's place in the table. It stays good while a connection is counted there.
pub(super) type Place = u32;

/// One source.
#[derive(Debug)]
struct Source {
    prefix: Prefix,
    bans: u8,
    connections: u32,
    connects: Bucket,
    banned_until_ms: u64,
    /// The signals are as they were at this time.
    seen_ms: u64,
    /// How often each thing was done, half of it forgotten in each half-life.
    signals: [f32; Signal::ALL.len()],
}

impl Source {
    fn new(prefix: Prefix, now_ms: u64) -> Self {
        Self {
            prefix,
            bans: 0,
            connections: 0,
            connects: Bucket::default(),
            banned_until_ms: 0,
            seen_ms: now_ms,
            signals: [0.0; Signal::ALL.len()],
        }
    }

    fn is_banned(&self, now_ms: u64) -> bool {
        self.banned_until_ms > now_ms
    }

    /// Forgets what time forgets.
    fn fade(&mut self, rules: &Guard, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.seen_ms);
        if passed_ms > 0 {
            let half_lives = passed_ms as f32 / (rules.ban_half_life_s.max(1) as f32 * 1_000.0);
            let kept = (-half_lives).exp2();
            self.signals.iter_mut().for_each(|count| *count *= kept);
            self.seen_ms = now_ms;
        }
        // Who stayed out of trouble for as long as the longest ban begins anew.
        if now_ms > self.banned_until_ms + u64::from(rules.ban_max_s) * 1_000 {
            self.bans = 0;
        }
    }

    fn count(&mut self, signal: Signal) {
        self.signals[signal as usize] += 1.0;
    }

    /// Forgets what it did wrong.
    fn forgive(&mut self) {
        for signal in Signal::ALL.iter().filter(|signal| signal.points() > 0.0) {
            self.signals[*signal as usize] = 0.0;
        }
    }

    fn points(&self) -> f32 {
        Signal::ALL.iter().zip(self.signals).map(|(signal, count)| signal.points() * count).sum()
    }

    /// What would be lost with it; `None`: it must stay.
    fn worth(&self, now_ms: u64) -> Option<f32> {
        if self.connections > 0 || self.is_banned(now_ms) {
            return None;
        }
        // The measure is the same for all that are compared; the configured half-life is not needed for an order.
        let half_lives = now_ms.saturating_sub(self.seen_ms) as f32 / 60_000.0;
        let wrong = (self.points() + f32::from(self.bans) * 100.0) * (-half_lives).exp2();
        Some(wrong + if self.connects.is_full(now_ms) { 0.0 } else { 1.0 })
    }

    fn watched(&self, now_ms: u64) -> Watched {
        Watched {
            source: self.prefix,
            connections: self.connections,
            points: self.points(),
            signals: self.signals,
            banned_ms: self.banned_until_ms.saturating_sub(now_ms),
        }
    }

    fn ban(&self, now_ms: u64) -> Ban {
        Ban {
            source: self.prefix,
            left_ms: self.banned_until_ms.saturating_sub(now_ms),
            times: self.bans,
            signals: self.signals,
        }
    }
}

#[derive(Debug, Default)]
struct Partition {
    sources: Slab<Source>,
    by_prefix: HashTable<u32>,
    /// Where entries are compared next.
    hand: usize,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    hasher: NameHasher,
    partitions: Vec<Mutex<Partition>>,
    each_max: usize,
}

impl Table {
    /// An empty one for `sources_max` sources. Its keys are secret.
    pub(super) fn new(sources_max: u32, keys: (u64, u64)) -> Self {
        Self {
            hasher: NameHasher::new(keys),
            partitions: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
            each_max: (sources_max as usize).div_ceil(PARTITIONS).clamp(1, SOURCES_EACH_MAX),
        }
    }

    /// A connection begins: whether it may, and where it is counted (`None`: there is no room to remember it).
    pub(super) fn enter(
        &self,
        prefix: Prefix,
        is_exempt: bool,
        rules: &Guard,
        now_ms: u64,
    ) -> Result<Option<Place>, Refused> {
        let hash = self.hasher.hash_one(prefix);
        let number = self.number(hash);
        let mut partition = self.lock(number);
        let Some(index) = partition.find_or_add(prefix, hash, &self.hasher, self.each_max, now_ms) else {
            return Ok(None);
        };
        let source = &mut partition.sources[index as usize];
        source.fade(rules, now_ms);
        let verdict = if is_exempt { Ok(()) } else { judge(source, rules, now_ms) };
        source.count(if verdict.is_ok() { Signal::Connect } else { Signal::Refused });
        verdict?;
        source.connections += 1;
        Ok(Some((number as u32) << INDEX_BITS | index))
    }

    /// A connection that was counted at `place` ended.
    pub(super) fn leave(&self, place: Place) {
        if let Some(source) = self.at(place).0.sources.get_mut(index_of(place)) {
            source.connections = source.connections.saturating_sub(1);
        }
    }

    /// A connection that is counted at `place` did something wrong. Some: its source is banned because of it.
    pub(super) fn blame(&self, place: Place, signal: Signal, rules: &Guard, now_ms: u64) -> Option<Ban> {
        let mut partition = self.at(place).0;
        let source = partition.sources.get_mut(index_of(place))?;
        source.fade(rules, now_ms);
        source.count(signal);
        if rules.ban_points == 0 || source.is_banned(now_ms) || source.points() < rules.ban_points as f32 {
            return None;
        }
        if rules.exempt.holds(source.prefix.first()) {
            return None;
        }
        let seconds = u64::from(rules.ban_s).checked_shl(u32::from(source.bans)).unwrap_or(u64::MAX);
        source.banned_until_ms = now_ms + seconds.clamp(1, u64::from(rules.ban_max_s.max(1))) * 1_000;
        source.bans = (source.bans + 1).min(31);
        let ban = source.ban(now_ms);
        // What led to this ban does not lead to the next one.
        source.forgive();
        Some(ban)
    }

    /// Takes a ban back, and forgets what led to it. False: there was none.
    pub(super) fn lift(&self, prefix: Prefix, now_ms: u64) -> bool {
        let hash = self.hasher.hash_one(prefix);
        let mut partition = self.lock(self.number(hash));
        let Some(index) = partition.find(prefix, hash) else { return false };
        let source = &mut partition.sources[index as usize];
        let was_banned = source.is_banned(now_ms);
        (source.banned_until_ms, source.bans) = (0, 0);
        source.forgive();
        was_banned
    }

    /// Looks at every source, one part after the other.
    pub(super) fn visit(&self, rules: &Guard, now_ms: u64, mut visit: impl FnMut(&Watched, Option<Ban>)) {
        for number in 0..PARTITIONS {
            for (_, source) in &mut self.lock(number).sources {
                source.fade(rules, now_ms);
                let ban = source.is_banned(now_ms).then(|| source.ban(now_ms));
                visit(&source.watched(now_ms), ban);
            }
        }
    }

    fn number(&self, hash: u64) -> usize {
        // The table within a part uses the other end of the hash.
        (hash >> 32) as usize % self.partitions.len()
    }

    fn lock(&self, number: usize) -> MutexGuard<'_, Partition> {
        self.partitions[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, place: Place) -> (MutexGuard<'_, Partition>, usize) {
        (self.lock((place >> INDEX_BITS) as usize % PARTITIONS), index_of(place))
    }
}

fn index_of(place: Place) -> usize {
    (place & ((1 << INDEX_BITS) - 1)) as usize
}

/// What speaks against a connection of this source.
fn judge(source: &mut Source, rules: &Guard, now_ms: u64) -> Result<(), Refused> {
    if source.is_banned(now_ms) && rules.ban_points > 0 {
        return Err(Refused::Banned { left_ms: source.banned_until_ms - now_ms });
    }
    if rules.connections_per_source > 0 && source.connections >= rules.connections_per_source {
        return Err(Refused::Connections);
    }
    if let Some(rate) = Rate::new(rules.connects_per_s, rules.burst_s) {
        source.connects.take(rate, now_ms, 1).map_err(|left_ms| Refused::Rate { left_ms })?;
    }
    Ok(())
}

impl Partition {
    fn find(&self, prefix: Prefix, hash: u64) -> Option<u32> {
        self.by_prefix.find(hash, |&index| self.sources[index as usize].prefix == prefix).copied()
    }

    fn find_or_add(
        &mut self,
        prefix: Prefix,
        hash: u64,
        hasher: &NameHasher,
        max: usize,
        now_ms: u64,
    ) -> Option<u32> {
        if let Some(index) = self.find(prefix, hash) {
            return Some(index);
        }
        if self.sources.len() >= max {
            self.make_room(hasher, now_ms)?;
        }
        let index = self.sources.insert(Source::new(prefix, now_ms)) as u32;
        let sources = &self.sources;
        self.by_prefix.insert_unique(hash, index, |&other| hasher.hash_one(sources[other as usize].prefix));
        Some(index)
    }

    /// Gives up the entry that has least to remember among the next few. `None`: all of them must stay.
    fn make_room(&mut self, hasher: &NameHasher, now_ms: u64) -> Option<()> {
        let places = self.sources.capacity().max(1);
        let compared = (0..SOURCES_COMPARED.min(places)).map(|step| (self.hand + step) % places);
        let worths = compared.filter_map(|place| Some((self.sources.get(place)?.worth(now_ms)?, place)));
        let least = worths.min_by(|(one, _), (other, _)| one.total_cmp(other));
        self.hand = (self.hand + SOURCES_COMPARED) % places;
        let (_, place) = least?;
        let prefix = self.sources.remove(place).prefix;
        if let Ok(entry) =
            self.by_prefix.find_entry(hasher.hash_one(prefix), |&index| index as usize == place)
        {
            entry.remove();
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn source(number: u32) -> Prefix {
        Prefix::of(IpAddr::V4(Ipv4Addr::from(number)), 32, 64)
    }

    fn rules() -> Guard {
        Guard { connections_per_source: 3, ban_points: 10, ban_s: 60, ban_max_s: 200, ..Guard::default() }
    }

    /// Enters and leaves.
    fn pass(table: &Table, number: u32, rules: &Guard, now_ms: u64) -> Result<(), Refused> {
        let place = table.enter(source(number), false, rules, now_ms)?;
        place.into_iter().for_each(|place| table.leave(place));
        Ok(())
    }

    /// Does wrong until banned: how often, and for how long.
    fn until_banned(table: &Table, number: u32, rules: &Guard, now_ms: u64) -> (u32, u64) {
        let place = table.enter(source(number), true, rules, now_ms).expect("exempt").expect("room");
        let found = (1..100)
            .find_map(|times| Some((times, table.blame(place, Signal::Handshake, rules, now_ms)?.left_ms)));
        table.leave(place);
        found.expect("banned")
    }

    #[test]
    fn connections_are_capped_and_come_back() {
        let (table, rules) = (Table::new(100, (1, 2)), rules());
        let enter = |number| table.enter(source(number), false, &rules, 0);
        let places: Vec<Place> = (0..3).map(|_| enter(7).expect("let in").expect("room")).collect();
        assert_eq!(enter(7), Err(Refused::Connections));
        assert!(enter(8).is_ok(), "another source");
        assert!(table.enter(source(7), true, &rules, 0).is_ok(), "exempt");
        table.leave(places[0]);
        table.leave(places[1]);
        assert!(enter(7).is_ok());
        assert_eq!(enter(7), Err(Refused::Connections), "the exempt one counts");
    }

    #[test]
    fn counts_are_what_is_open_whoever_comes_and_goes() {
        let (table, rules) = (Table::new(4_096, (5, 6)), rules());
        let mut open: Vec<(u32, Place)> = Vec::new();
        let mut random = 0x1234_5678_9abc_def1_u64;
        for now_ms in 0..50_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (number, choice) = ((random >> 20) as u32 % 40, random as usize);
            if random >> 60 < 7 && !open.is_empty() {
                table.leave(open.swap_remove(choice % open.len()).1);
                continue;
            }
            let there = open.iter().filter(|(other, _)| *other == number).count();
            match table.enter(source(number), false, &rules, now_ms) {
                Ok(place) => open.push((number, place.expect("room"))),
                Err(refused) => assert_eq!((refused, there), (Refused::Connections, 3)),
            }
            assert!(open.iter().filter(|(other, _)| *other == number).count() <= 3);
        }
        let mut counted = 0;
        table.visit(&rules, 50_000, |watched, _| counted += watched.connections as usize);
        assert_eq!(counted, open.len());
    }

    #[test]
    fn connects_are_paced() {
        let table = Table::new(100, (1, 2));
        let rules = Guard { connects_per_s: 2, burst_s: 3, ..Guard::default() };
        let passed = (0..20).filter(|_| pass(&table, 7, &rules, 1_000).is_ok()).count();
        assert_eq!(passed, 6);
        assert_eq!(pass(&table, 7, &rules, 1_100), Err(Refused::Rate { left_ms: 400 }));
        assert_eq!(pass(&table, 7, &rules, 1_500), Ok(()));
        assert_eq!(pass(&table, 8, &rules, 1_100), Ok(()));
    }

    #[test]
    fn bans_double_end_and_are_forgotten() {
        let (table, rules) = (Table::new(100, (1, 2)), rules());
        assert_eq!(until_banned(&table, 7, &rules, 0), (10, 60_000));
        assert_eq!(pass(&table, 7, &rules, 20_000), Err(Refused::Banned { left_ms: 40_000 }));
        assert_eq!(pass(&table, 8, &rules, 20_000), Ok(()));
        assert_eq!(pass(&table, 7, &rules, 60_000), Ok(()), "it is over");
        assert_eq!(until_banned(&table, 7, &rules, 60_000), (10, 120_000), "the next is twice as long");
        assert_eq!(until_banned(&table, 7, &rules, 180_000), (10, 200_000), "and there is a longest one");
        assert_eq!(until_banned(&table, 7, &rules, 580_001), (10, 60_000), "who stayed well begins anew");
        assert!(table.lift(source(7), 580_002) && !table.lift(source(7), 580_002));
        assert_eq!(pass(&table, 7, &rules, 580_003), Ok(()));
        assert_eq!(until_banned(&table, 7, &rules, 580_004).1, 60_000, "a lifted ban is none");
    }

    #[test]
    fn points_fade() {
        let (table, rules) = (Table::new(100, (1, 2)), rules());
        let place = table.enter(source(7), false, &rules, 0).expect("let in").expect("room");
        let blame = |now_ms| table.blame(place, Signal::Handshake, &rules, now_ms);
        assert!((0..9).all(|_| blame(0).is_none()));
        assert!(blame(60_000).is_none(), "half of the nine is gone");
        let mut points = 0.0;
        table.visit(&rules, 60_000, |watched, ban| {
            assert!(ban.is_none());
            points = watched.points;
        });
        assert!((points - 5.5).abs() < 0.01, "{points}");
    }

    #[test]
    fn nobody_is_freed_by_many_others() {
        let (table, rules) = (Table::new(2_000, (3, 4)), rules());
        until_banned(&table, 7, &rules, 0);
        let kept = table.enter(source(8), false, &rules, 0).expect("let in").expect("room");
        let suspect = table.enter(source(9), false, &rules, 0).expect("let in").expect("room");
        assert!((0..9).all(|_| table.blame(suspect, Signal::Handshake, &rules, 0).is_none()));
        table.leave(suspect);
        for number in 100..50_000 {
            assert!(pass(&table, number, &rules, 10).is_ok());
        }
        let mut sources = 0;
        table.visit(&rules, 20, |_, _| sources += 1);
        assert!(sources <= 2_000 + PARTITIONS, "{sources}");
        assert!(matches!(pass(&table, 7, &rules, 20), Err(Refused::Banned { .. })));
        assert_eq!(
            table.enter(source(8), false, &rules, 20),
            Ok(Some(kept)),
            "who is connected is remembered"
        );
        let again = table.enter(source(9), false, &rules, 20).expect("let in").expect("room");
        let is_banned = (0..2).any(|_| table.blame(again, Signal::Handshake, &rules, 20).is_some());
        assert!(is_banned, "and so is who did wrong");
    }

    #[test]
    fn a_table_full_of_connections_lets_others_in_unremembered() {
        let (table, rules) = (Table::new(PARTITIONS as u32, (3, 4)), rules());
        let places: Vec<Option<Place>> =
            (0..1_000).map(|number| table.enter(source(number), false, &rules, 0).expect("let in")).collect();
        let remembered = places.iter().flatten().count();
        assert!(remembered <= PARTITIONS && remembered > PARTITIONS / 2, "{remembered}");
        places.into_iter().flatten().for_each(|place| table.leave(place));
        assert!(
            table.enter(source(5_000), false, &rules, 0).expect("let in").is_some(),
            "there is room again"
        );
    }
}
