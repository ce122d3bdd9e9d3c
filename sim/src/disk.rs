//! The simulated disk: what was written and not synced may be gone after a crash, in part or in whole.
//!
//! Invariants: what was synced is there after any crash; what a crash leaves of the rest follows from the seed. A disk can be told to
//! fail, to be full, and to lie about its syncs.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roadstead_engine::log::{Disk, SegmentFile};

use crate::random::Random;

/// What a crash keeps or loses as one.
const SECTOR_BYTES: usize = 512;

/// A file: what all processes see, and what of it is durable.
#[derive(Clone, Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Seen, and never to be durable: a sync of it has failed.
    lost: Range<usize>,
}

impl Content {
    fn sync(&mut self) {
        self.durable.clone_from(&self.seen);
        if let Some(lost) = self.durable.get_mut(self.lost.clone()) {
            lost.fill(0);
        }
    }
}

#[derive(Debug, Default)]
struct Platter {
    /// What all processes see: a name, and the number of its content.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    contents: Vec<Content>,
    /// Bytes of all files together; beyond, the disk is full.
    capacity: usize,
    /// So many further writes and syncs go well.
    failing_in: Option<u32>,
    /// How many of them fail then.
    failing_for: u32,
    /// Syncs do nothing, and say they did.
    lies: bool,
}

impl Platter {
    fn used(&self) -> usize {
        self.names.values().map(|content| self.contents[*content].seen.len()).sum()
    }

    /// Whether this one goes wrong.
    fn fails(&mut self) -> bool {
        match self.failing_in {
            Some(0) if self.failing_for > 0 => {
                self.failing_for -= 1;
                true
            }
            Some(0) => {
                self.failing_in = None;
                false
            }
            Some(left) => {
                self.failing_in = Some(left - 1);
                false
            }
            None => false,
        }
    }
}

/// A disk that several lives of a process have after each other. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    platter: Arc<Mutex<Platter>>,
}

/// An open file of one.
#[derive(Debug)]
pub struct SimFile {
    platter: Arc<Mutex<Platter>>,
    content: usize,
}

impl SimDisk {
    /// An empty disk that holds so many bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let platter = Platter { capacity, ..Platter::default() };
        Self { platter: Arc::new(Mutex::new(platter)) }
    }

    /// The power fails: names and bytes that were not synced are gone, or not, as chance has it, sector by sector.
    pub fn lose_power(&self, random: &mut Random) {
        let mut platter = lock(&self.platter);
        let mut names = platter.durable_names.clone();
        let seen = platter.names.clone();
        for (name, content) in &seen {
            if !names.contains_key(name) && random.chance(500) {
                names.insert(name.clone(), *content);
            }
        }
        names.retain(|name, _| seen.contains_key(name) || random.chance(500));
        for content in &mut platter.contents {
            content.durable = survivors(content, random);
            content.seen = content.durable.clone();
            content.lost = 0..0;
        }
        platter.names = names.clone();
        platter.durable_names = names;
        platter.failing_in = None;
    }

    /// After so many further writes and syncs, so many fail.
    pub fn fail(&self, after: u32, times: u32) {
        let mut platter = lock(&self.platter);
        (platter.failing_in, platter.failing_for) = (Some(after), times);
    }

    /// Holds so many bytes from now on.
    pub fn resize(&self, capacity: usize) {
        lock(&self.platter).capacity = capacity;
    }

    /// Syncs do nothing from now on, and nobody is told.
    pub fn lie(&self) {
        lock(&self.platter).lies = true;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> usize {
        lock(&self.platter).used()
    }
}

/// What a crash leaves of a file.
fn survivors(content: &Content, random: &mut Random) -> Vec<u8> {
    let Content { seen, durable, .. } = content;
    if seen == durable {
        return durable.clone();
    }
    // The length is the old one, the new one, or one between.
    let (short, long) = (seen.len().min(durable.len()), seen.len().max(durable.len()));
    let length = random.within(short..=long);
    let mut left = vec![0; length];
    for (place, sector) in left.chunks_mut(SECTOR_BYTES).enumerate() {
        let at = place * SECTOR_BYTES;
        let source = if random.chance(500) { seen } else { durable };
        if let Some(bytes) = source.get(at..) {
            let bytes = &bytes[..bytes.len().min(sector.len())];
            sector[..bytes.len()].copy_from_slice(bytes);
        }
    }
    left
}

fn lock(platter: &Mutex<Platter>) -> MutexGuard<'_, Platter> {
    platter.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn broken() -> io::Error {
    io::Error::other("the simulated disk failed")
}

impl Disk for SimDisk {
    type File = SimFile;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.platter).names.keys().cloned().collect())
    }

    fn create(&mut self, name: &str) -> io::Result<SimFile> {
        let mut platter = lock(&self.platter);
        if platter.fails() {
            return Err(broken());
        }
        if platter.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = platter.contents.len();
        platter.contents.push(Content::default());
        platter.names.insert(name.into(), content);
        Ok(SimFile { platter: Arc::clone(&self.platter), content })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let content = *lock(&self.platter).names.get(name).ok_or_else(missing)?;
        Ok(SimFile { platter: Arc::clone(&self.platter), content })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut platter = lock(&self.platter);
        if platter.fails() {
            return Err(broken());
        }
        platter.names.remove(name).map(|_| ()).ok_or_else(missing)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut platter = lock(&self.platter);
        if platter.fails() {
            return Err(broken());
        }
        if !platter.lies {
            platter.durable_names = platter.names.clone();
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let platter = lock(&self.platter);
        Ok(platter.capacity.saturating_sub(platter.used()) as u64)
    }
}

impl SegmentFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.platter).contents[self.content].seen.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let platter = lock(&self.platter);
        let at = at as usize;
        let source = platter.contents[self.content].seen.get(at..at + bytes.len());
        bytes.copy_from_slice(source.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut platter = lock(&self.platter);
        let (failed, room) = (platter.fails(), platter.capacity.saturating_sub(platter.used()));
        let Content { seen, lost, .. } = &mut platter.contents[self.content];
        let at = at as usize;
        let over = seen.len().checked_sub(at).expect("files have no holes");
        let fits = bytes.len().min(over + room);
        // A write that fails has written some of it.
        let written = if failed { fits / 2 } else { fits };
        let over = over.min(written);
        seen[at..at + over].copy_from_slice(&bytes[..over]);
        seen.extend(&bytes[over..written]);
        // What is written once more is no longer taken for clean.
        if at <= lost.start {
            lost.start = lost.start.max(at + written).min(lost.end);
        }
        match (failed, fits < bytes.len()) {
            (true, _) => Err(broken()),
            (false, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = lock(&self.platter);
        if platter.fails() {
            // As kernels do: what was to be synced counts as clean from now on, and is on no disk.
            let content = &mut platter.contents[self.content];
            content.lost = content.durable.len()..content.seen.len().max(content.durable.len());
            return Err(broken());
        }
        if !platter.lies {
            platter.contents[self.content].sync();
        }
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut platter = lock(&self.platter);
        if platter.fails() {
            return Err(broken());
        }
        let content = &mut platter.contents[self.content];
        content.seen.truncate(length as usize);
        content.lost.start = content.lost.start.min(content.seen.len());
        content.lost.end = content.lost.end.min(content.seen.len());
        Ok(())
    }
}
