//! A closed loop of echoes: what comes back is replaced, until it is drained; nothing may be missing then.

use std::io;
use std::time::{Duration, Instant};

use super::rate::{Clocks, Cost};
use super::{Period, Rate};
use crate::kernel::Events;
use crate::limits;

/// Messages that came back.
#[derive(Debug, Default)]
pub(super) struct Returned {
    /// Since the start.
    total: u64,
    /// Those that were not replaced, once draining.
    drained: Option<u64>,
}

impl Returned {
    /// Counts `messages`; how many of them are to be replaced.
    pub(super) fn count(&mut self, messages: usize) -> usize {
        self.total += messages as u64;
        match &mut self.drained {
            Some(drained) => {
                *drained += messages as u64;
                0
            }
            None => messages,
        }
    }
}

/// Connections with messages outstanding.
pub(super) trait ClosedLoop {
    /// Waits for events, a tenth of a second at most, counts what came back and says what replaces it.
    ///
    /// # Errors
    /// A connection failed.
    fn turn(&mut self, events: &mut Events) -> io::Result<()>;

    /// What came back so far.
    fn returned(&mut self) -> &mut Returned;

    /// Measures messages that come back to a loop that has `outstanding` of them under way.
    ///
    /// # Errors
    /// A connection failed, or messages did not come back.
    fn measure(&mut self, clocks: &Clocks, period: &Period, outstanding: u64) -> io::Result<Rate> {
        self.run(period.warm_up)?;
        let (before, counted) = (clocks.mark()?, self.returned().total);
        self.run(period.measured)?;
        let (after, returned) = (clocks.mark()?, self.returned().total);
        self.drain(outstanding)?;
        let mut cost = Cost::default();
        cost.add(&before, &after);
        Ok(cost.rate(returned - counted))
    }

    /// Goes on for so long.
    ///
    /// # Errors
    /// A connection failed, or nothing came back for long.
    fn run(&mut self, time: Duration) -> io::Result<()> {
        let mut events = Events::new();
        let end = Instant::now() + time;
        let mut seen = (self.returned().total, Instant::now());
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.turn(&mut events)?;
            if self.returned().total > seen.0 {
                seen = (self.returned().total, now);
            } else if now - seen.1 > Duration::from_secs(limits::STALL_S) {
                return Err(io::Error::other("no message came back any more"));
            }
        }
    }

    /// Waits for everything outstanding: a message that never comes back is a fault of the server.
    ///
    /// # Errors
    /// A connection failed, or messages did not come back.
    fn drain(&mut self, outstanding: u64) -> io::Result<()> {
        self.returned().drained = Some(0);
        let mut events = Events::new();
        let end = Instant::now() + Duration::from_secs(limits::STALL_S);
        while let Some(drained) = self.returned().drained.filter(|drained| *drained < outstanding) {
            if Instant::now() >= end {
                let lost = outstanding - drained;
                return Err(io::Error::other(format!(
                    "{lost} of {outstanding} last messages did not come back"
                )));
            }
            self.turn(&mut events)?;
        }
        Ok(())
    }
}
