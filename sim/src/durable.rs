//! A log on the simulated disk: groups, reads, trims, failures, crashes and losses of power by seed, and what must hold after each.
//!
//! Invariants checked: what was acknowledged and is to be kept is read as it was written; nothing is read that was not submitted there;
//! an epoch and a top that were acknowledged are there after a crash; a failed append is nowhere, unless the power went before the disk
//! was well again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use roadstead_engine::log::{After, Append, Kept, Log, Options, Read, Retention, Store, Trim};

use crate::disk::SimDisk;
use crate::oracle::Wrong;
use crate::random::Random;

const CHANNELS: usize = 6;
const STEPS: usize = 160;
const CAPACITY: usize = 4 << 20;
/// More than any group here takes.
const GROUP_BYTES_MAX: u64 = 12_000;

/// What a run has reached.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Publications acknowledged.
    pub acknowledged: u64,
    /// Appends that failed.
    pub failed: u64,
    /// Losses of power.
    pub power_losses: u64,
    /// Starts after a process was killed or ended in order.
    pub restarts: u64,
    /// Starts that found a group which had broken off.
    pub torn: u64,
    /// Segments cleaned.
    pub cleaned: u64,
    /// Publications compared after being read.
    pub compared: u64,
}

/// Channel, epoch, offset, data.
type Submission = (Arc<str>, u32, u64, Arc<[u8]>);

/// What is known of a channel from outside.
#[derive(Clone, Debug)]
struct Model {
    epoch: u32,
    /// Last offset acknowledged.
    top: u64,
    /// Highest offset ever submitted in this epoch.
    tried: u64,
    floor: u64,
    retention: Retention,
    kept: BTreeMap<u64, (u64, Arc<[u8]>)>,
    /// Appends that failed while the disk may have kept them.
    doubtful: bool,
}

impl Model {
    /// Retention at a time.
    fn expire(&mut self, unix_ms: u64) {
        while self.kept.len() as u64 > self.retention.count {
            self.kept.pop_first();
        }
        let Self { floor, retention, kept, .. } = self;
        // Retention takes from the oldest on, and stops at the first that is wanted.
        while let Some((offset, (published_ms, _))) = kept.first_key_value()
            && (*offset < *floor || published_ms.saturating_add(retention.age_ms) <= unix_ms)
        {
            kept.pop_first();
        }
    }

    /// What is to be read at a time.
    fn expected(&mut self, unix_ms: u64) -> Vec<Kept> {
        self.expire(unix_ms);
        let all = self.kept.iter();
        all.map(|(offset, (unix_ms, data))| Kept { offset: *offset, unix_ms: *unix_ms, data: data.clone() })
            .collect()
    }
}

struct Run {
    random: Random,
    disk: SimDisk,
    options: Options,
    store: Option<Store<SimDisk>>,
    models: BTreeMap<Arc<str>, Model>,
    submitted: HashSet<Submission>,
    unix_ms: u64,
    epochs: u32,
    summary: Summary,
}

/// One run.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<Summary, Wrong> {
    run_on(seed, SimDisk::new(CAPACITY)).map_err(Wrong)
}

/// The same over a disk that does not sync: what does not hold then shows that a missing sync would be found.
///
/// # Errors
/// What did not hold, as it should be.
pub fn run_on_a_liar(seed: u64) -> Result<Summary, Wrong> {
    let disk = SimDisk::new(CAPACITY);
    disk.lie();
    run_on(seed, disk).map_err(Wrong)
}

fn run_on(seed: u64, disk: SimDisk) -> Result<Summary, String> {
    let mut random = Random::new(seed);
    let segment_bytes = random.within(1_500..=12_000) as u32;
    let bytes_max = if random.chance(300) { u64::from(segment_bytes) * 12 } else { 2 << 20 };
    let options = Options { bytes_max, free_bytes_min: 8_192, segment_bytes, entries_max: 1 << 20 };
    let mut run = Run {
        random,
        disk,
        options,
        store: None,
        models: BTreeMap::new(),
        submitted: HashSet::new(),
        unix_ms: 1_000_000,
        epochs: 0,
        summary: Summary::default(),
    };
    run.open()?;
    for step in 0..STEPS {
        run.step().map_err(|why| format!("step {step}: {why}"))?;
    }
    run.power_loss()?;
    run.compare_all()?;
    Ok(run.summary)
}

impl Run {
    fn open(&mut self) -> Result<(), String> {
        self.store = None;
        let secret = self.random.bits();
        let store = Store::open(self.disk.clone(), self.options, secret, self.unix_ms)
            .map_err(|error| format!("cannot be opened: {error}"))?;
        if let Some(damage) = store.ledger().damage().first() {
            return Err(format!("damage that nobody did: {damage:?}"));
        }
        self.summary.torn += u64::from(store.ledger().torn().is_some());
        self.store = Some(store);
        Ok(())
    }

    fn store(&mut self) -> &mut Store<SimDisk> {
        self.store.as_mut().expect("opened after each end")
    }

    fn step(&mut self) -> Result<(), String> {
        self.unix_ms += self.random.below(50) as u64;
        match self.random.below(100) {
            0..60 => self.append(),
            60..66 => self.compare_all(),
            66..70 => self.trim(),
            70..85 => {
                let unix_ms = self.unix_ms;
                for _ in 0..self.random.within(1..=8) {
                    self.store().tend(unix_ms);
                }
                self.models.values_mut().for_each(|model| model.expire(unix_ms));
                self.summary.cleaned += self.store().take_tally().cleaned;
                Ok(())
            }
            85..90 => self.fail_for_a_while(),
            90..93 => self.fill(),
            93..97 => self.restart(),
            _ => self.power_loss(),
        }
    }

    fn retention(&mut self) -> Retention {
        match self.random.below(3) {
            0 => Retention { count: self.random.within(1..=20) as u64, ..Retention::ALL },
            1 => Retention { age_ms: self.random.within(50..=3_000) as u64, ..Retention::ALL },
            _ => Retention { count: 100, ..Retention::ALL },
        }
    }

    /// An append that makes sense, after what was submitted before in the same group.
    fn compose(&mut self, channel: &Arc<str>, pending: Option<(u32, u64)>) -> Append {
        let known =
            self.models.get(channel).map(|model| (model.epoch, model.top, model.tried, model.retention));
        let begins = known.is_none() || (pending.is_none() && self.random.chance(30));
        let (epoch, after, mut offset, retention) = match (known, pending) {
            (Some((epoch, _, tried, retention)), Some((pending_epoch, pending_top)))
                if epoch == pending_epoch =>
            {
                (epoch, After::Offset(pending_top), tried.max(pending_top), retention)
            }
            (Some((epoch, top, tried, retention)), None) if !begins => {
                (epoch, After::Offset(top), tried, retention)
            }
            (_, Some((epoch, top))) => (epoch, After::Offset(top), top, self.retention()),
            _ => {
                self.epochs += 1;
                (self.epochs, After::Start(0), 0, self.retention())
            }
        };
        let retention = if self.random.chance(50) { self.retention() } else { retention };
        let count = self.random.within(1..=4);
        let publications = (0..count).map(|_| {
            offset += 1;
            let length = self.random.below(400);
            let data: Arc<[u8]> = (0..length).map(|_| self.random.bits() as u8).collect();
            self.submitted.insert((channel.clone(), epoch, offset, data.clone()));
            Kept { offset, unix_ms: self.unix_ms, data }
        });
        let publications = publications.collect();
        Append { channel: channel.clone(), epoch, after, publications, retention }
    }

    fn append(&mut self) -> Result<(), String> {
        let mut pending: BTreeMap<Arc<str>, (u32, u64)> = BTreeMap::new();
        let mut group = Vec::new();
        for _ in 0..self.random.within(1..=5) {
            let channel: Arc<str> = format!("channel-{}", self.random.below(CHANNELS)).into();
            let append = self.compose(&channel, pending.get(&channel).copied());
            let top = append.publications.last().map_or(0, |kept| kept.offset);
            pending.insert(channel, (append.epoch, top));
            group.push(append);
        }
        let unix_ms = self.unix_ms;
        for append in &group {
            if let Some(model) = self.models.get_mut(&append.channel) {
                model.expire(unix_ms);
            }
        }
        let answers = self.store().append(&group, unix_ms);
        let mut broken = HashSet::new();
        for (append, answer) in group.into_iter().zip(answers) {
            match answer {
                Ok(top) => {
                    if broken.contains(&append.channel) {
                        return Err(format!("{}: acknowledged behind a failed one", append.channel));
                    }
                    self.acknowledge(append, top);
                }
                Err(_) => {
                    self.summary.failed += 1;
                    if let Some(model) = self.models.get_mut(&append.channel) {
                        model.doubtful = true;
                        if model.epoch == append.epoch {
                            let tried = append.publications.last().map_or(0, |kept| kept.offset);
                            model.tried = model.tried.max(tried);
                        }
                    }
                    broken.insert(append.channel);
                }
            }
        }
        // Of several retentions in one group the last counts.
        self.models.values_mut().for_each(|model| model.expire(unix_ms));
        Ok(())
    }

    fn acknowledge(&mut self, append: Append, top: u64) {
        let Append { channel, epoch, after, publications, retention } = append;
        self.summary.acknowledged += publications.len() as u64;
        let fresh =
            Model { epoch, top: 0, tried: 0, floor: 0, retention, kept: BTreeMap::new(), doubtful: false };
        let model = self.models.entry(channel).or_insert_with(|| fresh.clone());
        if matches!(after, After::Start(_)) {
            *model = fresh;
        }
        (model.top, model.tried, model.retention) = (top, model.tried.max(top), retention);
        model.doubtful = false;
        let kept = publications.into_iter().map(|kept| (kept.offset, (kept.unix_ms, kept.data)));
        model.kept.extend(kept);
    }

    fn compare_all(&mut self) -> Result<(), String> {
        for channel in self.models.keys().cloned().collect::<Vec<_>>() {
            self.compare(&channel)?;
        }
        Ok(())
    }

    /// What is kept of a channel against what should be.
    fn compare(&mut self, channel: &Arc<str>) -> Result<(), String> {
        let (unix_ms, reverse) = (self.unix_ms, self.random.chance(300));
        let mut since = if reverse { u64::MAX } else { 0 };
        let mut found = Vec::new();
        let position = loop {
            let count = self.random.within(1..=40);
            let read = Read { channel: channel.clone(), epoch: None, since, reverse, count };
            let read = self.store().read(&read, unix_ms);
            let read = read.map_err(|why| format!("{channel}: cannot be read: {why:?}"))?;
            if read.damaged > 0 {
                return Err(format!("{channel}: damage that nobody did"));
            }
            since = read.publications.last().map_or(since, |kept| kept.offset);
            found.extend(read.publications);
            if !read.has_more {
                break read.position;
            }
        };
        if reverse {
            found.reverse();
        }
        let model = self.models.get_mut(channel).expect("asked for what is there");
        let expected = model.expected(unix_ms);
        self.summary.compared += expected.len() as u64;
        if (position.epoch, position.sequence) != (model.epoch, model.top) || found != expected {
            let offsets = |kept: &[Kept]| kept.iter().map(|kept| kept.offset).collect::<Vec<_>>();
            return Err(format!(
                "{channel}: at {position:?} with {:?}, where {}:{} with {:?} was acknowledged",
                offsets(&found),
                model.epoch,
                model.top,
                offsets(&expected)
            ));
        }
        Ok(())
    }

    fn trim(&mut self) -> Result<(), String> {
        let channel: Arc<str> = format!("channel-{}", self.random.below(CHANNELS)).into();
        let Some(top) = self.models.get(&channel).map(|model| model.top) else { return Ok(()) };
        let below = self.random.within(0..=top as usize + 1) as u64;
        let unix_ms = self.unix_ms;
        let trim = Trim { channel: channel.clone(), below, retention: None };
        let trimmed = self.store().trim(&trim, unix_ms);
        let model = self.models.get_mut(&channel).expect("it was there");
        match trimmed {
            Ok(()) => model.floor = model.floor.max(below),
            Err(_) => model.doubtful = true,
        }
        Ok(())
    }

    /// The disk fails, in the middle of something, and mostly gets well again.
    fn fail_for_a_while(&mut self) -> Result<(), String> {
        let (after, times) = (self.random.below(4) as u32, self.random.within(1..=6) as u32);
        self.disk.fail(after, times);
        for _ in 0..self.random.within(1..=4) {
            self.append()?;
        }
        if self.random.chance(400) {
            return self.power_loss();
        }
        self.disk.fail(0, 0);
        // It recovers by itself: the next group goes through.
        let failed = self.summary.failed;
        self.append()?;
        let full = self.disk.used() as u64 + GROUP_BYTES_MAX > self.options.bytes_max;
        if self.summary.failed > failed && !full {
            return Err("it does not recover from a disk that is well again".into());
        }
        Ok(())
    }

    /// The disk is full, reads go on, and then there is room again.
    fn fill(&mut self) -> Result<(), String> {
        self.disk.resize(self.disk.used() + self.random.below(9_000));
        for _ in 0..3 {
            self.append()?;
        }
        self.compare_all()?;
        self.disk.resize(CAPACITY);
        Ok(())
    }

    /// The process ends, in order or not, and the machine stays up.
    fn restart(&mut self) -> Result<(), String> {
        if self.random.chance(500) {
            self.store().close();
        }
        self.summary.restarts += 1;
        self.disk.fail(0, 0);
        self.open()?;
        self.adopt()
    }

    fn power_loss(&mut self) -> Result<(), String> {
        self.summary.power_losses += 1;
        self.store = None;
        self.disk.lose_power(&mut self.random.split());
        self.open()?;
        self.adopt()
    }

    /// What is there at a start: what was acknowledged, and of what was not only what may be.
    fn adopt(&mut self) -> Result<(), String> {
        let unix_ms = self.unix_ms;
        self.models.values_mut().for_each(|model| model.expire(unix_ms));
        let recorded = self.store().recorded();
        let recorded: BTreeMap<_, _> =
            recorded.into_iter().map(|recorded| (recorded.channel, recorded.position)).collect();
        for channel in recorded.keys() {
            if !self.models.contains_key(channel) && !self.submitted.iter().any(|(name, ..)| name == channel)
            {
                return Err(format!("{channel} was never there"));
            }
        }
        for channel in self.models.keys().cloned().collect::<Vec<_>>() {
            let model = self.models.get(&channel).expect("just named").clone();
            let there = recorded.get(&channel);
            let same = there.is_some_and(|at| (at.epoch, at.sequence) == (model.epoch, model.top));
            if !same && !model.doubtful {
                return Err(format!(
                    "{channel}: {there:?}, where {}:{} was acknowledged",
                    model.epoch, model.top
                ));
            }
            if model.doubtful {
                self.settle(&channel, &model)?;
            }
        }
        // Channels whose first append failed: they may be there, with what was submitted.
        for channel in
            recorded.keys().filter(|name| !self.models.contains_key(*name)).cloned().collect::<Vec<_>>()
        {
            let (epoch, retention) = (0, Retention::ALL);
            let kept = BTreeMap::new();
            let model = Model { epoch, top: 0, tried: 0, floor: 0, retention, kept, doubtful: true };
            self.settle(&channel, &model)?;
        }
        Ok(())
    }

    /// Looks whether a channel whose last request failed is as it was before, or after some of what failed; goes on from there.
    fn settle(&mut self, channel: &Arc<str>, before: &Model) -> Result<(), String> {
        let unix_ms = self.unix_ms;
        let read =
            Read { channel: channel.clone(), epoch: None, since: 0, reverse: false, count: usize::MAX };
        let found = self.store().read(&read, unix_ms).map_err(|why| format!("{channel}: {why:?}"))?;
        let position = found.position;
        for kept in &found.publications {
            let key = (channel.clone(), position.epoch, kept.offset, kept.data.clone());
            if !self.submitted.contains(&key) {
                return Err(format!("{channel}: {} was invented", kept.offset));
            }
        }
        if position.epoch == before.epoch && position.sequence < before.top {
            return Err(format!("{channel}: {position:?}, where {} was acknowledged", before.top));
        }
        if position.epoch == 0 && before.top > 0 {
            return Err(format!("{channel} is gone"));
        }
        let recorded = self.store().recorded().into_iter().find(|recorded| recorded.channel == *channel);
        let Some(recorded) = recorded else { return Ok(()) };
        if position.epoch == before.epoch
            && recorded.retention == before.retention
            && found.floor <= before.floor + 1
        {
            let mut before = before.clone();
            let missing = before.expected(unix_ms).into_iter().find(|kept| {
                kept.offset >= found.publications.first().map_or(u64::MAX, |first| first.offset)
                    && !found.publications.contains(kept)
            });
            if let Some(missing) = missing {
                return Err(format!("{channel}: {} was acknowledged and is gone", missing.offset));
            }
        }
        let kept = found.publications.iter().map(|kept| (kept.offset, (kept.unix_ms, kept.data.clone())));
        let tried = if position.epoch == before.epoch { before.tried } else { 0 };
        let model = Model {
            epoch: position.epoch,
            top: position.sequence,
            tried: tried.max(position.sequence),
            floor: found.floor,
            retention: recorded.retention,
            kept: kept.collect(),
            doubtful: false,
        };
        self.models.insert(channel.clone(), model);
        Ok(())
    }
}
