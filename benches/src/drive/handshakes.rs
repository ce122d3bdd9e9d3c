//! Handshakes: connections opened and upgraded; their closing is not counted.
//!
//! Connections are opened in rounds that stay open until the round is full, since a process has no more
//! descriptors than that. CPU time between rounds (the closes) is left out on both sides.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::opening;
use super::rate::{Clocks, Cost};
use super::{Period, Rate, Server};
use crate::kernel::CpuClock;

/// Measures upgraded connections, in rounds of `round` connections until the period is over.
pub fn drive(server: &Server, round: usize, period: &Period) -> io::Result<Rate> {
    let clocks = Clocks::of_server(server.pid)?;
    let mut cost = Cost::default();
    let mut opened = 0;
    let mut rounds = 0;
    let mut warm_up = Duration::ZERO;
    while cost.wall() < period.measured {
        let source = opening::source_address(rounds);
        let before = clocks.mark()?;
        let sockets = opening::open(server.address(), source, round, &|_| vec![server.upgrade()])?;
        let after = clocks.mark()?;
        if warm_up < period.warm_up {
            warm_up += after.since(&before);
        } else {
            cost.add(&before, &after);
            opened += round as u64;
        }
        close(sockets, server.pid)?;
        rounds += 1;
    }
    Ok(cost.rate(opened))
}

/// Closes all and waits until the server has done its part: its CPU clock stands still.
fn close(sockets: Vec<OwnedFd>, pid: u32) -> io::Result<()> {
    drop(sockets);
    let clock = CpuClock::of(pid)?;
    let mut read = clock.read()?;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(20));
        let now = clock.read()?;
        if now - read < Duration::from_micros(500) {
            break;
        }
        read = now;
    }
    Ok(())
}
