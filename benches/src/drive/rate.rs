//! A rate per second of server CPU: the figure that compares servers that do not fill their core equally.

use std::fs;
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
    /// Cores kept busy by anything else on the machine: above a few hundredths, the run was disturbed.
    pub others_core_share: f64,
}

/// Reads the clocks of the server (one process or several), the driver and the whole machine.
pub struct Clocks {
    servers: Vec<CpuClock>,
    client: CpuClock,
}

/// The clocks at one moment.
pub struct Mark {
    at: Instant,
    server: Duration,
    client: Duration,
    machine: Duration,
}

/// Costs added up over one or several periods.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    wall: Duration,
    server: Duration,
    client: Duration,
    machine: Duration,
}

impl Clocks {
    /// Those of one server that this process drives.
    pub fn of_server(pid: u32) -> io::Result<Self> {
        Ok(Self { servers: vec![CpuClock::of(pid)?], client: CpuClock::own() })
    }

    /// Those of several servers that another process drives.
    pub fn of_servers(pids: impl IntoIterator<Item = u32>, driver: u32) -> io::Result<Self> {
        let servers = pids.into_iter().map(CpuClock::of).collect::<io::Result<_>>()?;
        Ok(Self { servers, client: CpuClock::of(driver)? })
    }

    /// What they show now; of several servers the sum.
    pub fn mark(&self) -> io::Result<Mark> {
        let server = self.servers.iter().map(CpuClock::read).sum::<io::Result<_>>()?;
        let client = self.client.read()?;
        Ok(Mark {
            at: Instant::now(),
            server,
            client,
            machine: machine_busy(&fs::read_to_string("/proc/stat")?),
        })
    }
}

/// Time all cores together were not idle: `/proc/stat` (proc(5)), whose unit is 10 ms.
fn machine_busy(stat: &str) -> Duration {
    const IDLE: usize = 3;
    const IO_WAIT: usize = 4;
    const STEAL: usize = 7;
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).take(STEAL + 1).map(|field| field.parse().unwrap_or(0u64));
    let busy: u64 = ticks.enumerate().filter(|(at, _)| ![IDLE, IO_WAIT].contains(at)).map(|(_, t)| t).sum();
    Duration::from_millis(busy * 10)
}

impl Mark {
    /// Wall time between two marks.
    pub fn since(&self, earlier: &Mark) -> Duration {
        self.at - earlier.at
    }
}

impl Cost {
    /// Wall time.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// Adds the period between two marks.
    pub fn add(&mut self, from: &Mark, to: &Mark) {
        self.wall += to.at - from.at;
        self.server += to.server.saturating_sub(from.server);
        self.client += to.client.saturating_sub(from.client);
        self.machine += to.machine.saturating_sub(from.machine);
    }

    /// The rate of `operations` done for this cost.
    pub fn rate(&self, operations: u64) -> Rate {
        let [seconds, server, client, machine] =
            [self.wall, self.server, self.client, self.machine].map(|time| time.as_secs_f64());
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
            others_core_share: share((machine - server - client).max(0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_read_without_its_idle_time() {
        // user nice system idle iowait irq softirq steal guest guest_nice
        let stat = "cpu  10 1 20 5000 300 2 3 4 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(machine_busy(stat), Duration::from_millis((10 + 1 + 20 + 2 + 3 + 4) * 10));
    }

    #[test]
    fn a_rate_divides_by_the_time_of_the_server() {
        let cost = Cost {
            wall: Duration::from_secs(2),
            server: Duration::from_secs(1),
            client: Duration::from_secs(2),
            machine: Duration::from_millis(3500),
        };
        let rate = cost.rate(1000);
        assert_eq!([rate.per_server_cpu_second, rate.per_second], [1000.0, 500.0]);
        assert_eq!([rate.server_core_share, rate.client_core_share], [0.5, 1.0]);
        assert_eq!((rate.client_saturated, rate.others_core_share), (true, 0.25));
    }
}
