//! Fan-out: one publisher keeps `window` publications outstanding; one is done when every subscriber has it.
//!
//! One table of descriptors may not hold all subscribers. Then as many threads as needed, each with a table of its own, take
//! a part of them each; the first one also publishes, and hears by a bell when another part has a publication.

mod part;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::part::{Part, Progress};
use super::opening::{self, Hear, Step};
use super::rate::{Clocks, Cost};
use super::{Period, Protocol, Rate, Server, wire};
use crate::floor;
use crate::kernel::{self, Events};
use crate::limits;

/// The channel everyone subscribes to.
pub const CHANNEL: &str = "bench";

/// The load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Subscribers, each on a connection of its own.
    pub subscribers: usize,
    /// Descriptor tables to spread them over. A floor has as many, each with an address of its own.
    pub tables: usize,
    /// Publications outstanding.
    pub window: usize,
    /// Bytes of a publication's data, at least 2: a JSON string with its quotes.
    pub data_bytes: usize,
    /// Bytes of one message of a floor: those of the push frame a server sends for the same data.
    pub floor_message_bytes: usize,
    /// Where the sessions are to be.
    pub placement: Placement,
}

/// The shards of Roadstead that sessions are to be on, which its session ids tell; anywhere if not given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Placement {
    /// The publisher.
    pub publisher: Option<u16>,
    /// All subscribers.
    pub subscribers: Option<u16>,
}

/// Deliveries (publications times subscribers) and their cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FanOutRate {
    /// The rate of deliveries.
    #[serde(flatten)]
    pub rate: Rate,
    /// Bytes one delivery took on the wire, from the first one received.
    pub delivery_bytes: usize,
}

/// Measures deliveries.
pub fn drive(server: &Server, load: &Load, period: &Period) -> io::Result<FanOutRate> {
    if load.tables == 0 || load.tables > load.subscribers {
        return Err(io::Error::other("there are fewer subscribers than tables"));
    }
    let clocks = Clocks::of_server(server.pid)?;
    let progress = Progress::new(load.tables)?;
    // Nobody opens a socket before everybody has a table of its own: a new table begins as a copy.
    let apart = Barrier::new(load.tables);
    thread::scope(|scope| {
        let (progress, apart) = (&progress, &apart);
        let work = move |table: usize| {
            let unshared = kernel::unshare_descriptors();
            apart.wait();
            unshared?;
            Part::open(server, load, table, progress)?.serve()
        };
        let workers: Vec<_> = (1..load.tables)
            .map(|table| {
                scope.spawn(move || {
                    let done = work(table);
                    // Whoever ends early ends all, and has the reason.
                    progress.stop();
                    done
                })
            })
            .collect();
        apart.wait();
        let measured = FanOut::open(server, load, progress)
            .and_then(|mut fan_out| fan_out.measure(load, period, &clocks));
        progress.stop();
        for worker in workers {
            worker.join().map_err(|_| io::Error::other("a thread of the driver panicked"))??;
        }
        measured
    })
}

struct FanOut<'p> {
    progress: &'p Progress,
    part: Part<'p>,
    publishers: Vec<OwnedFd>,
    subscribers: u64,
    /// Encoded publications, `load.window` of them in one piece.
    publications: Vec<u8>,
    publication_bytes: usize,
    window: u64,
}

impl<'p> FanOut<'p> {
    fn open(server: &'p Server, load: &Load, progress: &'p Progress) -> io::Result<Self> {
        let mut part = Part::open(server, load, 0, progress)?;
        let publishers = publishers(server, load)?;
        for publisher in &publishers {
            part.watch(publisher)?;
        }
        let publication = match server.protocol {
            Protocol::Raw => wire::letters(load.floor_message_bytes),
            Protocol::WebSocket => {
                let data = String::from_utf8_lossy(&wire::letters(load.data_bytes - 2)).into_owned();
                server.encoding.publication(CHANNEL, &data)
            }
        };
        progress.await_opened()?;
        Ok(Self {
            progress,
            part,
            publishers,
            subscribers: load.subscribers as u64,
            publications: publication.repeat(load.window),
            publication_bytes: publication.len(),
            window: 1,
        })
    }

    fn measure(&mut self, load: &Load, period: &Period, clocks: &Clocks) -> io::Result<FanOutRate> {
        // The first publication goes alone: its size is that of all later ones.
        self.publish(1)?;
        self.settle()?;
        self.window = load.window as u64;
        self.run(period.warm_up)?;
        let (before, counted) = (clocks.mark()?, self.progress.deliveries());
        self.run(period.measured)?;
        let (after, delivered) = (clocks.mark()?, self.progress.deliveries());
        self.settle()?;
        let mut cost = Cost::default();
        cost.add(&before, &after);
        let delivery_bytes = match self.progress.delivery_bytes() {
            0 => load.floor_message_bytes,
            seen => seen,
        };
        Ok(FanOutRate { rate: cost.rate(delivered - counted), delivery_bytes })
    }

    fn run(&mut self, time: Duration) -> io::Result<()> {
        let mut events = Events::new();
        let end = Instant::now() + time;
        let mut seen = (self.progress.deliveries(), Instant::now());
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.publish(self.window - (self.progress.published() - self.progress.done()))?;
            self.part.turn(&mut events)?;
            self.progress.check()?;
            let deliveries = self.progress.deliveries();
            if deliveries > seen.0 {
                seen = (deliveries, now);
            } else if now - seen.1 > Duration::from_secs(limits::STALL_S) {
                return Err(self.stalled());
            }
        }
    }

    /// Waits until everything published has reached everyone.
    fn settle(&mut self) -> io::Result<()> {
        let mut events = Events::new();
        let end = Instant::now() + Duration::from_secs(limits::STALL_S);
        while self.progress.done() < self.progress.published() {
            if Instant::now() >= end {
                return Err(self.stalled());
            }
            self.part.turn(&mut events)?;
            self.progress.check()?;
        }
        Ok(())
    }

    fn stalled(&self) -> io::Error {
        let expected = self.progress.published() * self.subscribers;
        io::Error::other(format!(
            "{} of {expected} deliveries arrived, then none",
            self.progress.deliveries()
        ))
    }

    fn publish(&mut self, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.progress.publish(count);
        let bytes = &self.publications[..count as usize * self.publication_bytes];
        for publisher in &self.publishers {
            if kernel::send(publisher.as_raw_fd(), bytes)? < bytes.len() {
                return Err(io::Error::other("the publisher's socket is full or closed"));
            }
        }
        Ok(())
    }
}

/// One for each table of a floor, whose tables share nothing; one for a server.
fn publishers(server: &Server, load: &Load) -> io::Result<Vec<OwnedFd>> {
    let source = opening::source_address(load.tables);
    match server.protocol {
        Protocol::Raw => {
            let role = |_| vec![role(floor::PUBLISHER)];
            let opened = server.addresses.iter().map(|to| opening::open(*to, source, 1, &role));
            Ok(opened.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
        }
        Protocol::WebSocket => {
            let opened =
                opening::open_on(server, source, 1, load.placement.publisher, &|_| server.connected(""))?;
            Ok(opened)
        }
    }
}

fn role(role: u8) -> Step {
    Step { say: vec![role], hear: Hear::Exactly(vec![role]) }
}
