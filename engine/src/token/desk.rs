//! Where slow verifications are done: a few threads, and each shard's way to them and back.
//!
//! Invariants: a shard never waits, it hands in a job if there is room and asks later what became of it; there is always room for
//! a verdict, since a job is taken only if there is; a verdict names the connection that asked, generation and all, and belongs
//! to no other; a token whose key is being fetched keeps no verifier waiting, and such tokens take at most half of a desk's room.
//!
//! ```text
//! shard 0 ── jobs ──┐                 ┌── verdicts, wake ──> shard 0
//! shard 1 ── jobs ──┴─> verifiers ────┴── verdicts, wake ──> shard 1
//!                          │  ^
//!          key is fetched  v  │  fetch has ended
//!                         RemoteKeys
//! ```

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::remote::{Resume, Wait};
use super::{ConnectionClaims, Flaw, SubscriptionClaims, TokenError, Verifier, Wake};
use crate::flow::Key;
use crate::limits::VERIFICATIONS_WAITING_MAX;

/// What a token is shown for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To open a session, or to let it go on.
    Connection,
    /// To open a channel, or to let a subscription go on.
    Subscription,
}

/// What a token says, by its purpose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claims {
    /// Of a connection token.
    Connection(ConnectionClaims),
    /// Of a subscription token.
    Subscription(SubscriptionClaims),
}

/// A token to judge.
#[derive(Debug)]
pub struct Job {
    /// Who shows it.
    pub by: Key,
    /// What for.
    pub purpose: Purpose,
    /// The token.
    pub token: Box<str>,
    /// Unix time at which it is shown, seconds.
    pub now_s: u64,
    /// Whether its times count.
    pub ignores_time: bool,
    /// Who judges it.
    pub verifier: Arc<Verifier>,
}

/// What became of a token.
#[derive(Debug)]
pub struct Verdict {
    /// Who has shown it.
    pub by: Key,
    /// What it says.
    pub judged: Result<Claims, TokenError>,
}

/// One shard's way to the verifiers.
#[derive(Debug)]
pub struct Desk {
    jobs: Sender<(usize, Job)>,
    verdicts: Receiver<Verdict>,
    place: usize,
    /// Jobs handed in whose verdict was not taken yet.
    open: usize,
    open_max: usize,
}

impl Desk {
    /// Hands in a job; false if there is no room.
    #[must_use]
    pub fn hand_in(&mut self, job: Job) -> bool {
        // The queue has room for all desks' open jobs, so it refuses nothing before it is closed.
        let is_taken = self.open < self.open_max && self.jobs.try_send((self.place, job)).is_ok();
        self.open += usize::from(is_taken);
        is_taken
    }

    /// The next verdict, if there is one.
    pub fn poll(&mut self) -> Option<Verdict> {
        if self.open == 0 {
            return None;
        }
        let verdict = self.verdicts.try_recv().ok()?;
        self.open -= 1;
        Some(verdict)
    }

    /// Whether a verdict waits to be taken.
    #[must_use]
    pub fn has_verdicts(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// Jobs handed in whose verdict was not taken yet.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }
}

/// Starts `threads` verifiers for as many desks as there are ways to wake a shard.
///
/// # Errors
/// A thread could not be started.
pub fn open_desks(threads: usize, wakes: Vec<Wake>) -> io::Result<Vec<Desk>> {
    let open_max = (VERIFICATIONS_WAITING_MAX / wakes.len().max(1)).max(1);
    let (jobs, waiting) = bounded(open_max * wakes.len());
    let mut desks = Vec::with_capacity(wakes.len());
    let mut ways = Vec::with_capacity(wakes.len());
    for (place, wake) in wakes.into_iter().enumerate() {
        let (verdicts_in, verdicts) = bounded(open_max);
        desks.push(Desk { jobs: jobs.clone(), verdicts, place, open: 0, open_max });
        let keyless = AtomicUsize::new(0);
        ways.push(Way { verdicts: verdicts_in, wake, keyless, keyless_max: open_max / 2 });
    }
    let ways: Arc<[Way]> = ways.into();
    for thread in 0..threads.max(1) {
        let (waiting, ways) = (waiting.clone(), Arc::clone(&ways));
        let verifier = thread::Builder::new().name(format!("verifier-{thread}"));
        verifier.spawn(move || work(&waiting, &ways))?;
    }
    Ok(desks)
}

struct Way {
    verdicts: Sender<Verdict>,
    wake: Wake,
    /// Jobs that wait for their key to be fetched.
    keyless: AtomicUsize,
    keyless_max: usize,
}

impl Way {
    /// Makes room for a job that waits for its key; false if there is none.
    fn keep(&self) -> bool {
        let has_room = self.keyless.fetch_add(1, Ordering::Relaxed) < self.keyless_max;
        if !has_room {
            self.release();
        }
        has_room
    }

    fn release(&self) {
        self.keyless.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Until no desk is left.
fn work(waiting: &Receiver<(usize, Job)>, ways: &Arc<[Way]>) {
    for (place, job) in waiting {
        answer(place, Arc::new(job), ways);
    }
}

/// Gives the verdict on a job, now or when its key may have been fetched.
fn answer(place: usize, job: Arc<Job>, ways: &Arc<[Way]>) {
    let judged = judge(&job);
    let way = &ways[place];
    if judged == Err(TokenError::Unavailable) && way.keep() {
        let resume: Resume = {
            let (job, ways) = (Arc::clone(&job), Arc::clone(ways));
            Box::new(move || {
                ways[place].release();
                answer(place, job, &ways);
            })
        };
        match job.verifier.wait(job.purpose, &job.token, job.now_s, resume) {
            Wait::Begun => return,
            Wait::Over(resume) => return resume(),
            Wait::Refused => way.release(),
        }
    }
    // A desk that is gone needs no verdict, and one that is there has room for it.
    let _ = way.verdicts.try_send(Verdict { by: job.by, judged });
    (way.wake)();
}

/// A fault in what parses strangers' tokens costs its token only; the hook has logged it.
fn judge(job: &Job) -> Result<Claims, TokenError> {
    let judge = || job.verifier.judge(job.purpose, &job.token, job.now_s, job.ignores_time);
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or(Err(TokenError::Invalid(Flaw::Malformed)))
}
