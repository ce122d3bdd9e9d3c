//! What the machine and a process use: memory of both sides of the system call, and processor time.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::drive::idle::Memory;
use crate::kernel::CpuClock;

/// One look.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Look {
    /// Resident memory of the process, bytes.
    pub process_bytes: u64,
    /// Memory that the kernel uses for itself, bytes; see [`kernel_bytes`].
    pub kernel_bytes: u64,
}

impl Look {
    /// At a process and the machine, now.
    pub fn at(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string("/proc/meminfo")?;
        Ok(Self { process_bytes: Memory::of(pid)?.rss, kernel_bytes: kernel_bytes(&text) })
    }
}

/// What the kernel uses for itself by `/proc/meminfo` (proc(5)): slabs (sockets, their files and polls), stacks, page
/// tables, per-processor memory and vmalloc (tables of descriptors).
fn kernel_bytes(meminfo: &str) -> u64 {
    let kib = |name: &str| {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
    };
    ["Slab", "KernelStack", "PageTables", "Percpu", "VmallocUsed"].iter().map(|name| kib(name)).sum::<u64>()
        * 1024
}

/// Processor time of a process from some moment on.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    clock: CpuClock,
    used: Duration,
    begun: Instant,
}

impl Stopwatch {
    /// Begins.
    pub fn start(pid: u32) -> io::Result<Self> {
        let clock = CpuClock::of(pid)?;
        Ok(Self { clock, used: clock.read()?, begun: Instant::now() })
    }

    /// Cores in use on average since the start.
    pub fn cores(&self) -> io::Result<f64> {
        Ok((self.clock.read()? - self.used).as_secs_f64() / self.begun.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_memory_is_the_sum_of_its_kinds() {
        let text = "MemTotal: 9 kB\nSlab:  100 kB\nSReclaimable: 50 kB\nKernelStack: 20 kB\nPageTables: 3 kB\n\
                    VmallocUsed: 4 kB\nPercpu: 1 kB\n";
        assert_eq!(kernel_bytes(text), 128 * 1024);
    }
}
