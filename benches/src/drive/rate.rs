//! A rate per second of server CPU: the figure that compares servers that do not fill their core equally.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::kernel::CpuClock;
use crate::limits;

/// What was done between two marks, and what it cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rate {
    /// Messages, deliveries or connections, as the bench defines.
    pub operations: u64,
    /// Wall time.
    pub seconds: f64,
    /// User and system time of all threads of the server.
    pub server_cpu_seconds: f64,
    /// User and system time of the driver.
    pub client_cpu_seconds: f64,
    /// `operations / server_cpu_seconds`.
    pub per_server_cpu_second: f64,
    /// `operations / seconds`.
    pub per_second: f64,
    /// Share of a core the server used.
    pub server_core_share: f64,
    /// Share of its core the driver used.
    pub client_core_share: f64,
    /// The driver used all of its core: the server may have waited for it.
    pub client_saturated: bool,
}

/// Reads both clocks.
pub(super) struct Clocks {
    server: CpuClock,
    client: CpuClock,
}

/// The clocks at one moment.
pub(super) struct Mark {
    at: Instant,
    server: Duration,
    client: Duration,
}

/// Costs added up over one or several periods.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    wall: Duration,
    server: Duration,
    client: Duration,
}

impl Clocks {
    pub(super) fn of_server(pid: u32) -> io::Result<Self> {
        Ok(Self { server: CpuClock::of(pid)?, client: CpuClock::own() })
    }

    pub(super) fn mark(&self) -> io::Result<Mark> {
        Ok(Mark { at: Instant::now(), server: self.server.read()?, client: self.client.read()? })
    }
}

impl Mark {
    pub(super) fn since(&self, earlier: &Mark) -> Duration {
        self.at - earlier.at
    }
}

impl Cost {
    pub(super) fn wall(&self) -> Duration {
        self.wall
    }

    pub(super) fn add(&mut self, from: &Mark, to: &Mark) {
        self.wall += to.at - from.at;
        self.server += to.server.saturating_sub(from.server);
        self.client += to.client.saturating_sub(from.client);
    }

    /// The rate of `operations` done for this cost.
    pub(super) fn rate(&self, operations: u64) -> Rate {
        let [seconds, server, client] = [self.wall, self.server, self.client].map(|d| d.as_secs_f64());
        let per = |time: f64| if time > 0.0 { operations as f64 / time } else { 0.0 };
        let share = |time: f64| if seconds > 0.0 { time / seconds } else { 0.0 };
        Rate {
            operations,
            seconds,
            server_cpu_seconds: server,
            client_cpu_seconds: client,
            per_server_cpu_second: per(server),
            per_second: per(seconds),
            server_core_share: share(server),
            client_core_share: share(client),
            client_saturated: share(client) >= limits::SATURATED_SHARE,
        }
    }
}
