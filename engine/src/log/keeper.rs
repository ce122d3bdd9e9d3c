//! The thread that the log works on, and each shard's way to it and back.
//!
//! Invariants: a shard never waits, it hands in a job if there is room and asks later what became of it; there is always room for
//! an answer, since a job is taken only if there is; jobs of a shard are answered in the order of its appends; while one group is
//! synced, the next one gathers.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Log;
use super::tally::LogTally;
use super::values::{Answer, Append, Job, Outcome, Request};
use crate::limits::{
    LOG_GROUP_APPENDS_MAX, LOG_GROUP_BYTES, LOG_JOB_OVERHEAD_BYTES, LOG_QUEUE_BYTES_MAX, LOG_QUEUE_JOBS_MAX,
    LOG_TEND_MS,
};

/// Wakes a shard that has an answer to hear.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// One shard's way to the log.
#[derive(Debug)]
pub struct Desk {
    jobs: Sender<(usize, usize, Job)>,
    answers: Receiver<(usize, Answer)>,
    place: usize,
    /// Jobs handed in whose answer was not taken yet, and their bytes.
    open: usize,
    open_bytes: usize,
    open_max: usize,
    bytes_max: usize,
}

impl Desk {
    /// Hands in a job.
    ///
    /// # Errors
    /// Too much waits, so it comes back: a temporary error for whoever asked ([`super::Failure::Busy`]).
    pub fn hand_in(&mut self, job: Job) -> Result<(), Job> {
        let bytes = weight(&job);
        // One job of any size has room, or a large one would never be taken.
        if self.open >= self.open_max || (self.open > 0 && self.open_bytes + bytes > self.bytes_max) {
            return Err(job);
        }
        // The queue has room for all desks' open jobs, so it refuses nothing before it is closed.
        self.jobs.try_send((self.place, bytes, job)).map_err(|refused| refused.into_inner().2)?;
        self.open += 1;
        self.open_bytes += bytes;
        Ok(())
    }

    /// The next answer, if there is one.
    pub fn poll(&mut self) -> Option<Answer> {
        if self.open == 0 {
            return None;
        }
        let (bytes, answer) = self.answers.try_recv().ok()?;
        self.open -= 1;
        self.open_bytes -= bytes;
        Some(answer)
    }

    /// Whether an answer waits to be taken.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Jobs handed in whose answer was not taken yet.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }
}

fn weight(job: &Job) -> usize {
    LOG_JOB_OVERHEAD_BYTES
        + match &job.request {
            Request::Append(append) => {
                let data = append.publications.iter().map(|kept| LOG_JOB_OVERHEAD_BYTES + kept.data.len());
                data.sum()
            }
            Request::Read(_) | Request::Trim(_) => 0,
        }
}

/// The thread. It ends when no desk is left, with everything written that was handed in.
#[derive(Debug)]
pub struct Keeper {
    thread: JoinHandle<()>,
    tallies: Receiver<LogTally>,
}

impl Keeper {
    /// What was done since this was last asked, if something was: asked now and then.
    pub fn poll_tally(&self) -> Option<LogTally> {
        self.tallies.try_recv().ok()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in order.
    pub fn join(self) -> io::Result<()> {
        self.thread.join().map_err(|_| io::Error::other("the log's thread panicked"))
    }
}

/// Starts the thread of a log, with as many desks as there are ways to wake a shard.
///
/// # Errors
/// The thread could not be started.
pub fn open_desks(log: impl Log + 'static, wakes: Vec<Wake>) -> io::Result<(Vec<Desk>, Keeper)> {
    let open_max = (LOG_QUEUE_JOBS_MAX / wakes.len().max(1)).max(1);
    let bytes_max = LOG_QUEUE_BYTES_MAX / wakes.len().max(1);
    let (jobs, waiting) = bounded(open_max * wakes.len());
    let mut desks = Vec::with_capacity(wakes.len());
    let mut ways = Vec::with_capacity(wakes.len());
    for (place, wake) in wakes.into_iter().enumerate() {
        let (answers_in, answers) = bounded(open_max);
        let jobs = jobs.clone();
        desks.push(Desk { jobs, answers, place, open: 0, open_bytes: 0, open_max, bytes_max });
        ways.push(Way { answers: answers_in, wake, is_new: false });
    }
    let (tallies_in, tallies) = bounded(1);
    let mut work = Work { log, waiting, ways, tallies: tallies_in, group: Vec::new(), asked: Vec::new() };
    let thread = thread::Builder::new().name("log".into()).spawn(move || work.run())?;
    Ok((desks, Keeper { thread, tallies }))
}

struct Way {
    answers: Sender<(usize, Answer)>,
    wake: Wake,
    /// Something was answered that the shard was not woken for yet.
    is_new: bool,
}

/// Whose job it was, what it weighs, its number.
type Asked = (usize, usize, u64);

struct Work<L> {
    log: L,
    waiting: Receiver<(usize, usize, Job)>,
    ways: Vec<Way>,
    tallies: Sender<LogTally>,
    group: Vec<Append>,
    asked: Vec<Asked>,
}

impl<L: Log> Work<L> {
    fn run(&mut self) {
        let mut tended = Instant::now();
        let mut is_behind = false;
        loop {
            let pause = if is_behind { 0 } else { LOG_TEND_MS };
            match self.waiting.recv_timeout(Duration::from_millis(pause)) {
                Ok(job) => self.take_turn(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if is_behind || tended.elapsed() >= Duration::from_millis(LOG_TEND_MS) {
                is_behind = self.log.tend(unix_ms());
                tended = Instant::now();
                self.tell_tally();
            }
        }
        self.log.close();
    }

    /// Everything that waits, as one group.
    fn take_turn(&mut self, first: (usize, usize, Job)) {
        let began = Instant::now();
        let (mut reads, mut trims, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some((place, job_bytes, Job { ticket, request })) = next {
            bytes += job_bytes;
            let asked = (place, job_bytes, ticket);
            match request {
                Request::Append(append) => {
                    self.group.push(append);
                    self.asked.push(asked);
                }
                Request::Read(read) => reads.push((asked, read)),
                Request::Trim(trim) => trims.push((asked, trim)),
            }
            let taken = self.group.len() + reads.len() + trims.len();
            let is_full = taken >= LOG_GROUP_APPENDS_MAX || bytes >= LOG_GROUP_BYTES;
            next = if is_full { None } else { self.waiting.try_recv().ok() };
        }
        self.append(began);
        for (asked, read) in reads {
            let found = self.log.read(&read, unix_ms());
            self.answer(asked, found.map_or_else(Outcome::Failed, Outcome::Read));
        }
        for (asked, trim) in trims {
            let trimmed = self.log.trim(&trim, unix_ms());
            self.answer(asked, trimmed.map_or_else(Outcome::Failed, |()| Outcome::Trimmed));
        }
        self.wake();
    }

    fn append(&mut self, began: Instant) {
        if self.group.is_empty() {
            return;
        }
        let answers = self.log.append(&self.group, unix_ms());
        self.group.clear();
        self.log.tally().count_group(began.elapsed().as_micros() as u64);
        let asked = std::mem::take(&mut self.asked);
        for (asked, answer) in asked.into_iter().zip(answers) {
            self.answer(asked, answer.map_or_else(Outcome::Failed, Outcome::Appended));
        }
    }

    fn answer(&mut self, (place, bytes, ticket): Asked, outcome: Outcome) {
        let way = &mut self.ways[place];
        // A desk that is gone needs no answer, and one that is there has room for it.
        let _ = way.answers.try_send((bytes, Answer { ticket, outcome }));
        way.is_new = true;
    }

    fn wake(&mut self) {
        for way in self.ways.iter_mut().filter(|way| way.is_new) {
            way.is_new = false;
            (way.wake)();
        }
    }

    /// Where the last one was not taken yet, this one goes on counting.
    fn tell_tally(&mut self) {
        if self.tallies.is_empty() {
            let mut tally = self.log.take_tally();
            tally.waiting = self.waiting.len() as u64;
            let _ = self.tallies.try_send(tally);
        }
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
