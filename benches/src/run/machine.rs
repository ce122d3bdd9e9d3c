//! The machine and the build a run belongs to: figures without them mean nothing.

use std::fmt;
use std::fs;
use std::io;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::kernel;

/// What figures depend on. Nothing here names a person, a host or a path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// A hypervisor runs below this kernel.
    pub virtual_machine: bool,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Congestion control of the system. Driver and floors set cubic on their own sockets.
    pub congestion_control_default: String,
    /// Congestion controls the kernel has.
    pub congestion_controls: String,
    /// Hard limit of descriptors.
    pub descriptors_max: u64,
    /// One-minute load average before the run: other work on the machine disturbs figures.
    pub load_before: f64,
    /// Version of the compiler that built this program.
    pub rustc: String,
    /// Commit that this program was built from, and the others with it, with a mark if files were changed then. `unknown` outside
    /// of git, and of a build that is not optimised.
    pub revision: String,
}

impl Machine {
    /// This machine now.
    pub fn describe() -> io::Result<Self> {
        let cpu_info = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let line =
            |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let memory_kib: u64 = field(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
        let load = line("/proc/loadavg");
        Ok(Self {
            cpu: field(&cpu_info, "model name").to_owned(),
            cores: thread::available_parallelism()?.get(),
            virtual_machine: field(&cpu_info, "flags").split(' ').any(|flag| flag == "hypervisor"),
            memory_bytes: memory_kib * 1024,
            kernel: line("/proc/sys/kernel/osrelease"),
            congestion_control_default: line("/proc/sys/net/ipv4/tcp_congestion_control"),
            congestion_controls: line("/proc/sys/net/ipv4/tcp_available_congestion_control"),
            descriptors_max: kernel::raise_descriptor_limit()?,
            load_before: load.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or(0.0),
            rustc: env!("BENCHES_RUSTC").to_owned(),
            revision: env!("BENCHES_REVISION").to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    /// One line of prose.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} cores{}, {:.0} GiB), Linux {}, {}, commit {}.",
            self.cpu,
            self.cores,
            if self.virtual_machine { ", virtual" } else { "" },
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            self.rustc,
            self.revision,
        )
    }
}

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.unwrap_or("unknown").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "processor\t: 0\nmodel name\t: A CPU\nMemTotal:       24 kB\n";
        assert_eq!(
            [field(text, "model name"), field(text, "MemTotal"), field(text, "flags")],
            ["A CPU", "24 kB", "unknown"]
        );
    }
}
