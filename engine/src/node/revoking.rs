//! The thread that keeps what is revoked: takes it from operators and from other nodes, writes it, and tells every shard.
//!
//! Invariants: what an operator is told is done was written, where there is a file; what cannot be written is in force all the same,
//! and said to be unwritten; shards never wait for it, and one whose mailbox is full is told later.
//!
//! ```text
//! admin ──────┐                                            ┌──> Order::Revoke, each shard; news of operators to other nodes
//! other nodes ┴─> requests ─> set, bounded ─> file, fsync ─┴──> answer
//! ```

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Failure;
use super::revocation_file::RevocationFile;
use super::shards::Voice;
use crate::admin::{Revoked, RevokedAnswer};
use crate::limits::REVOCATIONS_WAITING_MAX;
use crate::revocations::{Revocation, Revocations};
use crate::settings::Settings;
use crate::shard::{Order, Revoker};

/// Between two looks for what is over, and for what could not be written.
const LOOK: Duration = Duration::from_secs(60);
/// After a shard took no order.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two lines about the same trouble.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

enum Request {
    Operator(Revocation, RevokedAnswer),
    Nodes(Vec<Revocation>),
}

/// The thread, seen from outside. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub(super) struct Revoking {
    requests: Sender<Request>,
    shown: Arc<Shown>,
}

#[derive(Debug)]
struct Shown {
    set: Mutex<Arc<Revocations>>,
    is_written: AtomicBool,
    is_durable: bool,
}

impl Revoking {
    /// Takes an operator's wish; false: too many wait.
    pub(super) fn revoke(&self, revocation: Revocation, answer: RevokedAnswer) -> bool {
        self.requests.try_send(Request::Operator(revocation, answer)).is_ok()
    }

    /// What is revoked now, and whether the disk has all of it (`None`: there is no file).
    pub(super) fn shown(&self) -> (Arc<Revocations>, Option<bool>) {
        let set = Arc::clone(&self.shown.set.lock().unwrap_or_else(PoisonError::into_inner));
        (set, self.shown.is_durable.then(|| self.shown.is_written.load(Ordering::Relaxed)))
    }

    /// The way of what other nodes have revoked. Full: it is asked for again.
    pub(super) fn revoker(&self) -> Revoker {
        let requests = self.requests.clone();
        Revoker(Arc::new(move |heard| drop(requests.try_send(Request::Nodes(heard)))))
    }
}

/// A thread that is not running yet: shards are made from what it knows.
pub(super) struct Waiting {
    handle: Revoking,
    heard: Receiver<Request>,
    file: Option<RevocationFile>,
    set: Revocations,
}

/// Reads what is on disk.
pub(super) fn prepare(settings: &Settings) -> Result<Waiting, Failure> {
    let (file, set) = match &settings.data_dir {
        Some(folder) => {
            let (file, set) = RevocationFile::open(folder).map_err(Failure::Demand)?;
            tracing::info!("{} revocations read from {}", set.len(), folder.display());
            (Some(file), set)
        }
        None => (None, Revocations::default()),
    };
    let (requests, heard) = bounded(REVOCATIONS_WAITING_MAX);
    let shown = Shown {
        set: Mutex::new(Arc::new(set.clone())),
        is_written: AtomicBool::new(true),
        is_durable: file.is_some(),
    };
    Ok(Waiting { handle: Revoking { requests, shown: Arc::new(shown) }, heard, file, set })
}

impl Waiting {
    pub(super) fn handle(&self) -> Revoking {
        self.handle.clone()
    }

    /// Starts the thread, with shards that know the present set.
    pub(super) fn start(self, voice: Voice) -> Result<(), Failure> {
        let thread = Thread {
            told: vec![0; usize::from(voice.shards())],
            voice,
            shown: self.handle.shown,
            heard: self.heard,
            file: self.file,
            set: self.set,
            number: 0,
            news: Vec::new(),
            complained: None,
        };
        let started = thread::Builder::new().name("revocations".into()).spawn(move || thread.run());
        started.map(drop).map_err(|error| Failure::start("cannot start the thread of revocations", &error))
    }
}

struct Thread {
    heard: Receiver<Request>,
    file: Option<RevocationFile>,
    set: Revocations,
    shown: Arc<Shown>,
    voice: Voice,
    /// Counts the sets, and which one each shard was told.
    number: u64,
    told: Vec<u64>,
    /// Made here since shard 0 was told.
    news: Vec<Revocation>,
    complained: Option<Instant>,
}

impl Thread {
    fn run(mut self) {
        loop {
            let is_told = self.told.iter().all(|told| *told == self.number);
            let first = match self.heard.recv_timeout(if is_told { LOOK } else { PAUSE }) {
                Ok(first) => Some(first),
                Err(error) if error.is_timeout() => None,
                // Everybody who could ask is gone.
                Err(_) => return,
            };
            let batch: Vec<Request> = first.into_iter().chain(self.heard.try_iter()).collect();
            self.take(batch);
            self.tell_shards();
        }
    }

    /// Takes everything that waits as one change, so that it is written once.
    fn take(&mut self, batch: Vec<Request>) {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut is_changed = self.set.forget(now_s);
        let mut answers = Vec::new();
        let mut wished = 0;
        for request in batch {
            match request {
                Request::Operator(revocation, answer) => match self.set.add(&revocation) {
                    Ok(changed) => {
                        is_changed |= changed;
                        wished += 1;
                        self.news.extend(changed.then_some(revocation));
                        answers.push(answer);
                    }
                    // Whoever asked may have gone, here and below.
                    Err(_) => drop(answer.send(Revoked::Full)),
                },
                Request::Nodes(heard) => {
                    for revocation in heard.iter().filter(|revocation| revocation.terms.until_s > now_s) {
                        match self.set.add(revocation) {
                            Ok(changed) => is_changed |= changed,
                            Err(_) => self.complain("other nodes have revoked more than there is room for"),
                        }
                    }
                }
            }
        }
        if is_changed {
            self.number += 1;
            *self.shown.set.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(self.set.clone());
        }
        let is_written = self.shown.is_written.load(Ordering::Relaxed);
        let written = if is_changed || !is_written { self.write() } else { Ok(()) };
        self.shown.is_written.store(written.is_ok(), Ordering::Relaxed);
        if let Err(error) = &written {
            self.complain(&format!(
                "what is revoked cannot be written, and is lost with this process: {error}"
            ));
        }
        if wished > 0 {
            tracing::info!("{wished} revocations by operators; {} in force", self.set.len());
        }
        for answer in answers {
            let outcome = match &written {
                Ok(()) => Revoked::Done { is_durable: self.file.is_some() },
                Err(error) => Revoked::Unwritten(error.to_string()),
            };
            drop(answer.send(outcome));
        }
    }

    fn write(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.write(&self.set))
    }

    /// Gives the set to every shard that does not have it yet.
    fn tell_shards(&mut self) {
        if self.told.iter().all(|told| *told == self.number) {
            return;
        }
        let set = Arc::clone(&self.shown.set.lock().unwrap_or_else(PoisonError::into_inner));
        for (shard, told) in self.told.iter_mut().enumerate().filter(|(_, told)| **told != self.number) {
            let news = if shard == 0 { self.news.as_slice().into() } else { [].into() };
            if self.voice.order_one(shard, Order::Revoke { set: Arc::clone(&set), news }) {
                *told = self.number;
                if shard == 0 {
                    self.news.clear();
                }
            }
        }
    }

    fn complain(&mut self, words: &str) {
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::error!("{words}");
        }
    }
}
