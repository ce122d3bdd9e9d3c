//! What durable appends cost beside the disk alone: groups of the log against a bare write and fdatasync of as many bytes.
//!
//! Invariant: floor and log write to the same disk, in turns, and each acknowledgement that is counted follows a sync.

mod table;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use roadstead_engine::log::{
    After, Append, Desk, Folder, Job, Kept, Options, Outcome, Request, Retention, Store, open_desks,
};
use serde::{Deserialize, Serialize};

pub use table::summary;

/// Publishers of each step: each has a channel, and one publication outstanding.
pub const PUBLISHERS: [usize; 7] = [1, 16, 64, 256, 1_024, 4_096, 16_384];

/// Bytes of a record beside its data: the log's own and the channel's name.
pub const RECORD_BYTES: usize = 36 + CHANNEL_BYTES;
const CHANNEL_BYTES: usize = 16;

/// All measurements of a run, in the order in which they were made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DurableRun {
    /// Name of the run: date and title.
    pub name: String,
    /// Bytes of a publication's data.
    pub data_bytes: usize,
    /// Seconds of one measurement.
    pub seconds: f64,
    /// Measurements.
    pub samples: Vec<Sample>,
}

/// One step of one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Round, from 0.
    pub round: usize,
    /// Publishers.
    pub publishers: usize,
    /// Acknowledged appends in a second.
    pub rate: f64,
    /// Appends of a group, on average.
    pub group: f64,
    /// From handing in to hearing the acknowledgement, microseconds: median.
    pub p50_us: u64,
    /// The same, of the slowest hundredth.
    pub p99_us: u64,
    /// Appends in a second that a bare write and fdatasync of groups of as many bytes would make durable.
    pub floor_rate: f64,
    /// Median time of one of those, microseconds.
    pub floor_p50_us: u64,
    /// The slowest hundredth of them.
    pub floor_p99_us: u64,
}

/// One step: the log with so many publishers, then the floor with groups of the size that it had.
///
/// # Errors
/// The disk failed, or an append did.
pub fn measure(
    folder: &Path,
    round: usize,
    publishers: usize,
    data_bytes: usize,
    seconds: f64,
) -> io::Result<Sample> {
    let time = Duration::from_secs_f64(seconds);
    let Measured { rate, group, mut latencies_us } = log(&folder.join("log"), publishers, data_bytes, time)?;
    let bytes = (group.round() as usize).max(1) * (data_bytes + RECORD_BYTES);
    let mut floor_us = floor(&folder.join("floor"), bytes, time)?;
    let floor_seconds = floor_us.iter().sum::<u64>() as f64 / 1e6;
    let floor_rate = floor_us.len() as f64 * group / floor_seconds;
    let [p50_us, p99_us] = percentiles(&mut latencies_us);
    let [floor_p50_us, floor_p99_us] = percentiles(&mut floor_us);
    Ok(Sample { round, publishers, rate, group, p50_us, p99_us, floor_rate, floor_p50_us, floor_p99_us })
}

fn percentiles(values: &mut [u64]) -> [u64; 2] {
    values.sort_unstable();
    [50, 99].map(|percent| values.get(values.len() * percent / 100).copied().unwrap_or(0))
}

/// Times of a write and its sync, microseconds each.
fn floor(path: &Path, bytes: usize, time: Duration) -> io::Result<Vec<u64>> {
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    let block: Vec<u8> = (0..bytes).map(|place| (place * 131 % 251) as u8).collect();
    let (begun, mut at, mut times) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < time {
        let start = Instant::now();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        times.push(start.elapsed().as_micros() as u64);
        at += bytes as u64;
    }
    fs::remove_file(path)?;
    Ok(times)
}

struct Measured {
    rate: f64,
    group: f64,
    latencies_us: Vec<u64>,
}

/// A publisher: its channel, its last offset, when it handed in.
struct Publisher {
    channel: Arc<str>,
    offset: u64,
    since: Instant,
}

fn log(path: &Path, publishers: usize, data_bytes: usize, time: Duration) -> io::Result<Measured> {
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let folder = Folder::make(path).map_err(|error| failed(&error))?;
    let store = Store::open(folder, Options::default(), 1, 0).map_err(|error| failed(&error))?;
    let (wake, woken) = mpsc::channel();
    let wake: roadstead_engine::log::Wake = Arc::new(move || wake.send(()).unwrap_or(()));
    let (mut desks, keeper) = open_desks(store, vec![wake])?;
    let desk = &mut desks[0];
    let data: Arc<[u8]> = vec![b'x'; data_bytes].into();
    let mut all: Vec<_> = (0..publishers)
        .map(|number| Publisher {
            channel: format!("{number:0CHANNEL_BYTES$}").into(),
            offset: 0,
            since: Instant::now(),
        })
        .collect();
    let begun = Instant::now();
    let mut latencies_us = Vec::new();
    for (ticket, publisher) in all.iter_mut().enumerate() {
        publish(desk, ticket as u64, publisher, &data)?;
    }
    let (mut outstanding, mut groups, mut publications) = (publishers, 0, 0);
    while outstanding > 0 {
        woken.recv().map_err(|error| failed(&error))?;
        if let Some(tally) = keeper.poll_tally() {
            (groups, publications) = (groups + tally.groups, publications + tally.publications);
        }
        while let Some(answer) = desk.poll() {
            let publisher = &mut all[answer.ticket as usize];
            let Outcome::Appended(_) = answer.outcome else {
                return Err(io::Error::other(format!("an append failed: {:?}", answer.outcome)));
            };
            if begun.elapsed() < time {
                latencies_us.push(publisher.since.elapsed().as_micros() as u64);
                publish(desk, answer.ticket, publisher, &data)?;
            } else {
                outstanding -= 1;
            }
        }
    }
    drop(desks);
    keeper.join()?;
    fs::remove_dir_all(path)?;
    let group = publications as f64 / groups.max(1) as f64;
    Ok(Measured { rate: latencies_us.len() as f64 / time.as_secs_f64(), group, latencies_us })
}

fn publish(desk: &mut Desk, ticket: u64, publisher: &mut Publisher, data: &Arc<[u8]>) -> io::Result<()> {
    let before = publisher.offset;
    publisher.offset += 1;
    publisher.since = Instant::now();
    let append = Append {
        channel: Arc::clone(&publisher.channel),
        epoch: 1,
        after: if before == 0 { After::Start(0) } else { After::Offset(before) },
        publications: vec![Kept { offset: before + 1, unix_ms: 0, data: Arc::clone(data) }],
        retention: Retention { count: 1_000, ..Retention::ALL },
    };
    let taken = desk.hand_in(Job { ticket, request: Request::Append(append) });
    taken.map_err(|_| io::Error::other("the queue of the log is full"))
}
