//! Asks on their way to shards, and back.
//!
//! Invariants: each shard has a bounded number of them in hand, and a further one waits its turn, in order, for a bounded time; an
//! answer finds only the ask that it is for; whoever stops waiting leaves nothing behind once the shard has answered.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use roadstead_control::hub_shard;
use roadstead_protocol::ErrorCode;
use slab::Slab;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::flow::{Ask, Asked, Report, Told};
use crate::limits::{API_ADMISSION_MS, API_ANSWER_MS, API_ASKS_MAX};

/// All asks of a node.
pub(super) struct Asks {
    shards: Vec<(Sender<Asked>, Arc<Semaphore>)>,
    wake: Arc<dyn Fn(u16) + Send + Sync>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: Slab<Waiting>,
    number: u32,
}

struct Waiting {
    number: u32,
    answer: oneshot::Sender<Result<Report, ErrorCode>>,
    /// Its place at the shard.
    _room: OwnedSemaphorePermit,
}

/// An ask that a shard has.
#[derive(Debug)]
pub(super) struct Answer(oneshot::Receiver<Result<Report, ErrorCode>>);

impl Answer {
    /// Waits for the shard. One that does not answer in time leaves the outcome unknown.
    pub(super) async fn wait(self) -> Result<Report, ErrorCode> {
        match timeout(Duration::from_millis(API_ANSWER_MS), self.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(ErrorCode::Internal),
        }
    }
}

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asks")
    }
}

impl Asks {
    pub(super) fn new(shards: Vec<Sender<Asked>>, wake: Arc<dyn Fn(u16) + Send + Sync>) -> Self {
        let shards = shards.into_iter().map(|sender| (sender, Arc::new(Semaphore::new(API_ASKS_MAX))));
        Self { shards: shards.collect(), wake, open: Mutex::default() }
    }

    /// The shard that is the hub of a channel.
    pub(super) fn hub(&self, channel: &str) -> u16 {
        hub_shard(channel.as_bytes(), self.shards.len() as u16)
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> u16 {
        self.shards.len() as u16
    }

    /// Hands an ask to a shard.
    ///
    /// # Errors
    /// It has too much in hand for too long, or it is gone: nothing was asked.
    pub(super) async fn ask(&self, shard: u16, ask: Ask) -> Result<Answer, ErrorCode> {
        let (sender, admission) = &self.shards[usize::from(shard)];
        let room = match Arc::clone(admission).try_acquire_owned() {
            Ok(room) => room,
            Err(_) => {
                let patience = Duration::from_millis(API_ADMISSION_MS);
                let admitted = timeout(patience, Arc::clone(admission).acquire_owned()).await;
                admitted.ok().and_then(Result::ok).ok_or(ErrorCode::TooManyRequests)?
            }
        };
        let (answer, answered) = oneshot::channel();
        let ticket = self.open().add(answer, room);
        if sender.try_send(Asked { ticket, ask }).is_err() {
            self.open().take(ticket);
            return Err(ErrorCode::Internal);
        }
        (self.wake)(shard);
        Ok(Answer(answered))
    }

    /// Passes on what shards tell, for ever.
    pub(super) async fn hear(&self, told: &Receiver<Told>, woken: UnixStream) -> io::Result<()> {
        woken.set_nonblocking(true)?;
        let woken = tokio::net::UnixStream::from_std(woken)?;
        let mut signals = [0; 256];
        loop {
            woken.readable().await?;
            // What was told before a signal is seen behind it.
            match woken.try_read(&mut signals) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            while let Ok(Told { ticket, outcome }) = told.try_recv() {
                if let Some(waiting) = self.open().take(ticket) {
                    // Who asked may have stopped waiting.
                    let _ = waiting.answer.send(outcome);
                }
            }
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Names it: number (32 bits), place (32).
    fn add(&mut self, answer: oneshot::Sender<Result<Report, ErrorCode>>, room: OwnedSemaphorePermit) -> u64 {
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        let place = self.all.insert(Waiting { number, answer, _room: room }) as u64;
        u64::from(number) << 32 | place
    }

    fn take(&mut self, ticket: u64) -> Option<Waiting> {
        let place = (ticket & 0xffff_ffff) as usize;
        let waiting = self.all.get(place)?;
        (u64::from(waiting.number) == ticket >> 32).then(|| self.all.remove(place))
    }
}
