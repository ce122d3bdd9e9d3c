//! What befalls a fleet: partitions, hosts that freeze, die and return, nodes that drain.
//!
//! Invariants: at most a few at a time; every fault has an end; one node at least is whole, or drains like all others.

use std::net::IpAddr;
use std::time::Duration;

use super::Run;
use crate::host::Host;
use crate::random::Random;

/// When the next fault comes, and which are under way.
#[derive(Debug)]
pub(super) struct Faults {
    /// Mean time between two, milliseconds; 0: never one.
    pause_ms: usize,
    next_at: Duration,
    under_way: Vec<(Duration, Fault)>,
    /// Kinds of this run: a run of one kind alone goes deeper than one of all.
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Partition,
    Deafen,
    Freeze,
    Kill,
    PowerOff,
    Drain,
    DrainAll,
    Stay,
    Restart,
    Reset,
}

/// Something that will end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Paths are closed.
    Paths,
    /// The host's process does not run.
    Frozen(usize),
    /// The host has no process.
    Dead(usize),
    /// The host has no power.
    Dark(usize),
    /// The node owns nothing.
    Draining(usize),
    /// Every node wants to leave.
    AllDraining,
    /// The node sends its clients away and will change its mind.
    Wavering(usize),
    /// The node leaves, its clients first.
    Leaving(usize),
    /// Connections were reset, which is over at once.
    Reset,
}

const KINDS: [Kind; 10] = [
    Kind::Partition,
    Kind::Deafen,
    Kind::Freeze,
    Kind::Kill,
    Kind::PowerOff,
    Kind::Drain,
    Kind::DrainAll,
    Kind::Stay,
    Kind::Restart,
    Kind::Reset,
];

/// Faults at one time.
const AT_ONCE: usize = 2;

impl Faults {
    pub(super) fn none() -> Self {
        Self { pause_ms: 0, next_at: Duration::MAX, under_way: Vec::new(), kinds: Vec::new() }
    }

    pub(super) fn drawn(random: &mut Random, nodes: usize) -> Self {
        if random.chance(250) || nodes == 1 {
            return Self::none();
        }
        let kinds = match random.below(2) {
            0 => vec![KINDS[random.below(KINDS.len())]],
            _ => KINDS.to_vec(),
        };
        let pause_ms = [2_000, 6_000, 15_000][random.below(3)];
        Self { pause_ms, next_at: Duration::ZERO, under_way: Vec::new(), kinds }
    }

    pub(super) fn are_none(&self) -> bool {
        self.pause_ms == 0
    }

    fn involves(&self, number: usize) -> bool {
        self.under_way.iter().any(|(_, fault)| match *fault {
            Fault::Paths | Fault::Reset | Fault::AllDraining => false,
            Fault::Frozen(other)
            | Fault::Dead(other)
            | Fault::Dark(other)
            | Fault::Draining(other)
            | Fault::Wavering(other)
            | Fault::Leaving(other) => other == number,
        })
    }
}

impl Fault {
    fn is_drain(self) -> bool {
        matches!(self, Self::Draining(_) | Self::AllDraining | Self::Wavering(_) | Self::Leaving(_))
    }
}

impl Run {
    /// Ends what is over, and begins something if it is time.
    pub(super) fn bring_faults(&mut self) {
        let now = self.now();
        if self.faults.are_none() {
            return;
        }
        let over: Vec<(Duration, Fault)> =
            self.faults.under_way.extract_if(.., |(until, _)| *until <= now).collect();
        for (_, fault) in over {
            self.end(fault);
        }
        if self.faults.next_at > now {
            return;
        }
        let pause = self.random.within(1..=2 * self.faults.pause_ms);
        let is_first = self.faults.next_at == Duration::ZERO;
        self.faults.next_at = now + Duration::from_millis(pause as u64);
        if !is_first && self.faults.under_way.len() < AT_ONCE {
            self.begin();
        }
    }

    /// Ends all faults at once.
    pub(super) fn end_faults(&mut self) {
        for (_, fault) in std::mem::take(&mut self.faults.under_way) {
            self.end(fault);
        }
        self.world.heal();
    }

    fn begin(&mut self) {
        let number = self.random.below(self.hosts.len());
        let whole = (0..self.hosts.len()).filter(|&other| other != number && !self.faults.involves(other));
        if self.faults.involves(number) || !self.hosts[number].is_on() || whole.count() == 0 {
            return;
        }
        let kind = self.faults.kinds[self.random.below(self.faults.kinds.len())];
        let is_drain = matches!(kind, Kind::Drain | Kind::DrainAll | Kind::Stay | Kind::Restart);
        if is_drain && self.faults.under_way.iter().any(|(_, fault)| *fault == Fault::AllDraining) {
            return;
        }
        let longest_freeze_ms = [4_000, 30_000][self.random.below(2)];
        let ms = match kind {
            Kind::Freeze => self.random.within(100..=longest_freeze_ms),
            _ => self.random.within(300..=18_000),
        };
        let fault = match kind {
            Kind::Partition | Kind::Deafen => {
                let sides: Vec<bool> = self.hosts.iter().map(|_| self.random.chance(500)).collect();
                let side = |which: bool| -> Vec<IpAddr> {
                    let hosts = self.hosts.iter().zip(&sides).filter(|(_, side)| **side == which);
                    hosts.map(|(host, _)| host.ip()).collect()
                };
                let (one, other) = (side(true), side(false));
                if one.is_empty() || other.is_empty() {
                    return;
                }
                self.tell(&format!("{kind:?} of {one:?} and {other:?} for {ms} ms"));
                if kind == Kind::Partition {
                    self.world.partition(&one, &other);
                } else {
                    self.world.deafen(&one, &other);
                }
                Fault::Paths
            }
            Kind::Reset => {
                let other = self.random.below(self.hosts.len());
                self.tell(&format!("links of {number} and {other} are reset"));
                self.world.reset_between(self.hosts[number].ip(), self.hosts[other].ip());
                Fault::Reset
            }
            Kind::Freeze => {
                self.hosts[number].freeze(Duration::from_millis(ms as u64));
                Fault::Frozen(number)
            }
            Kind::Kill => {
                self.hosts[number].kill();
                Fault::Dead(number)
            }
            Kind::PowerOff => {
                self.hosts[number].power_off();
                Fault::Dark(number)
            }
            Kind::Drain => {
                self.hosts[number].drain(true);
                Fault::Draining(number)
            }
            Kind::DrainAll => {
                if self.faults.under_way.iter().any(|(_, fault)| fault.is_drain()) {
                    return;
                }
                self.hosts.iter_mut().for_each(|host| host.drain(true));
                Fault::AllDraining
            }
            Kind::Stay => {
                self.hosts[number].drain(true);
                self.hosts[number].send_away(Duration::from_millis(2 * ms as u64));
                Fault::Wavering(number)
            }
            Kind::Restart => {
                self.hosts[number].drain(true);
                self.hosts[number].send_away(Duration::from_millis(ms as u64 / 2));
                Fault::Leaving(number)
            }
        };
        if !matches!(fault, Fault::Paths | Fault::Reset) {
            self.tell(&format!("{fault:?} for {ms} ms"));
        }
        self.faults_done += 1;
        self.faults.under_way.push((self.now() + Duration::from_millis(ms as u64), fault));
    }

    fn end(&mut self, fault: Fault) {
        self.tell(&format!("{fault:?} is over"));
        match fault {
            Fault::Reset => {}
            Fault::Paths => {
                if !self.faults.under_way.iter().any(|(_, fault)| *fault == Fault::Paths) {
                    self.world.heal();
                }
            }
            Fault::Frozen(number) => self.hosts[number].freeze(Duration::ZERO),
            Fault::Dead(number) => self.hosts[number].start(),
            Fault::Dark(number) => {
                self.hosts[number].power_on();
                self.hosts[number].start();
            }
            Fault::Draining(number) => self.hosts[number].drain(false),
            Fault::AllDraining => self.hosts.iter_mut().for_each(|host| host.drain(false)),
            Fault::Wavering(number) => self.hosts[number].stay(),
            Fault::Leaving(number) => self.leave_and_return(number),
        }
    }

    /// The node says goodbye, ends in its time, and a new process takes its place.
    fn leave_and_return(&mut self, number: usize) {
        self.hosts[number].leave();
        let until = self.now() + Duration::from_secs(10);
        let ended = self.wait_until(until, "a node does not end", |run| !run.hosts[number].is_on());
        if let Err(wrong) = ended {
            self.wrong.get_or_insert(wrong);
            Host::kill(&mut self.hosts[number]);
        }
        self.hosts[number].start();
    }
}
