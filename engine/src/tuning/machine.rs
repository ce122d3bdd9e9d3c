//! What this machine is: what /proc and /sys say, below one folder.
//!
//! Invariant: what cannot be read is absent, never guessed.

use std::fs;
use std::path::PathBuf;

use super::table::{Place, Setting};
use crate::admission::ListenDrops;

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Self::below("/")
    }

    /// The one whose /proc and /sys are below `root`.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Memory of the machine, KiB; 0 if that cannot be told.
    #[must_use]
    pub fn memory_kib(&self) -> i64 {
        self.meminfo("MemTotal:").unwrap_or(0)
    }

    /// Memory that this process can have at most, bytes: of the machine, or of the tightest control group that it is in.
    #[must_use]
    pub fn memory_max_bytes(&self) -> Option<u64> {
        let machine = u64::try_from(self.meminfo("MemTotal:")?).ok()? << 10;
        let groups =
            self.groups().iter().filter_map(|group| self.number(&format!("{group}/memory.max"))).min();
        Some(groups.and_then(|group| u64::try_from(group).ok()).map_or(machine, |group| machine.min(group)))
    }

    /// Memory of this process that is resident, bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let kib: u64 = word_after(&self.text("/proc/self/status")?, "VmRSS:", 0)?.parse().ok()?;
        Some(kib << 10)
    }

    /// Connections that the kernel dropped at listeners, in the network namespace of this process (`TcpExt` of netstat).
    #[must_use]
    pub fn listen_drops(&self) -> Option<ListenDrops> {
        let netstat = self.text("/proc/self/net/netstat")?;
        let mut rows = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, numbers) = (rows.next()?, rows.next()?);
        let number = |name: &str| {
            let place = names.split_ascii_whitespace().position(|word| word == name)?;
            numbers.split_ascii_whitespace().nth(place)?.parse().ok()
        };
        Some(ListenDrops { overflows: number("ListenOverflows")?, drops: number("ListenDrops")? })
    }

    /// One page, KiB; 4, as almost everywhere, if that cannot be told.
    #[must_use]
    pub fn page_kib(&self) -> i64 {
        let maps = self.text("/proc/self/smaps").unwrap_or_default();
        word_after(&maps, "KernelPageSize:", 0).and_then(|word| word.parse().ok()).unwrap_or(4)
    }

    /// The hard limit of open files of the calling process.
    #[must_use]
    pub fn open_files(&self) -> Option<i64> {
        self.limit_of_files(1)
    }

    /// The soft limit of open files of the calling process, which it may raise to the hard one.
    #[must_use]
    pub fn open_files_soft(&self) -> Option<i64> {
        self.limit_of_files(0)
    }

    fn limit_of_files(&self, column: usize) -> Option<i64> {
        let limits = self.text("/proc/self/limits")?;
        let word = word_after(&limits, "Max open files", column)?;
        if word == "unlimited" { Some(i64::MAX) } else { word.parse().ok() }
    }

    /// Memory that can be had, KiB: of the machine, or of the control groups that this process is in.
    fn available_kib(&self) -> Option<i64> {
        let machine = self.meminfo("MemAvailable:")?;
        Some(self.group_kib().map_or(machine, |group| machine.min(group)))
    }

    /// What the tightest control group (version 2) above this process has left, KiB.
    fn group_kib(&self) -> Option<i64> {
        let left = |group: &String| {
            let number = |file: &str| self.number(&format!("{group}/{file}"));
            Some((number("memory.max")? - number("memory.current")?) / 1_024)
        };
        self.groups().iter().filter_map(left).min()
    }

    /// The folders of the control groups (version 2) that this process is in, from its own upwards.
    fn groups(&self) -> Vec<String> {
        let groups = self.text("/proc/self/cgroup").unwrap_or_default();
        let mut path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let mut folders = Vec::new();
        while !path.is_empty() {
            folders.push(format!("/sys/fs/cgroup/{path}"));
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
        folders
    }

    /// The number that a file holds.
    fn number(&self, path: &str) -> Option<i64> {
        self.line(path)?.parse().ok()
    }

    /// What a setting is now, with single spaces; `None` where this kernel does not have it.
    pub(super) fn is_now(&self, setting: &Setting) -> Option<String> {
        match &setting.place {
            Place::File(path) => self.line(path),
            Place::OpenFiles => self.open_files().map(|limit| limit.to_string()),
            Place::Memory => self.available_kib().map(|kib| kib.to_string()),
        }
    }

    /// Whether a setting counts here.
    pub(super) fn matters(&self, setting: &Setting) -> bool {
        let Some(path) = &setting.unless else { return true };
        self.line(path).is_some_and(|line| line != "0")
    }

    /// A setting below /proc/sys, by its name.
    pub(super) fn sysctl(&self, name: &str) -> Option<String> {
        self.line(&format!("/proc/sys/{}", name.replace('.', "/")))
    }

    /// Whether this process has a capability, by its number in linux/capability.h.
    pub(super) fn may(&self, capability: u32) -> Option<bool> {
        let status = self.text("/proc/self/status")?;
        let held = u64::from_str_radix(word_after(&status, "CapEff:", 0)?, 16).ok()?;
        Some(held >> capability & 1 == 1)
    }

    fn meminfo(&self, label: &str) -> Option<i64> {
        word_after(&self.text("/proc/meminfo")?, label, 0)?.parse().ok()
    }

    /// The first line of a file, with single spaces.
    fn line(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let line = text.lines().next()?;
        Some(line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// Where a file of this machine is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// Word number `column`, from 0, after `label` in the line that begins with it.
fn word_after<'a>(text: &'a str, label: &str, column: usize) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(label))?.split_ascii_whitespace().nth(column)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine of some files, below a folder of its own, which goes with it.
    pub(in crate::tuning) struct MadeUp {
        pub(in crate::tuning) machine: Machine,
    }

    impl MadeUp {
        pub(in crate::tuning) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("roadstead-machine-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, text).expect("written");
            }
            Self { machine: Machine::below(root) }
        }
    }

    impl Drop for MadeUp {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.machine.root);
        }
    }

    const MEMORY: (&str, &str) =
        ("proc/meminfo", "MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable:   8000 kB\n");

    #[test]
    fn the_tightest_group_counts() {
        const GROUP: (&str, &str) = ("proc/self/cgroup", "1:name=x:/y\n0::/system.slice/roadstead.service\n");
        const NOW: (&str, &str) =
            ("sys/fs/cgroup/system.slice/roadstead.service/memory.current", "1048576\n");
        const MOST: &str = "sys/fs/cgroup/system.slice/roadstead.service/memory.max";
        const ABOVE: &str = "sys/fs/cgroup/system.slice/memory.max";
        const NOW_ABOVE: (&str, &str) = ("sys/fs/cgroup/system.slice/memory.current", "2097152\n");
        for (name, files, available) in [
            ("none", &[MEMORY][..], Some(8_000)),
            ("unlimited", &[MEMORY, GROUP, NOW, (MOST, "max\n")], Some(8_000)),
            ("limited", &[MEMORY, GROUP, NOW, (MOST, "5242880\n")], Some(4_096)),
            (
                "above",
                &[MEMORY, GROUP, NOW, (MOST, "5242880\n"), NOW_ABOVE, (ABOVE, "3145728\n")],
                Some(1_024),
            ),
            ("wide", &[MEMORY, GROUP, NOW, (MOST, "99999999999\n")], Some(8_000)),
            ("absent", &[GROUP], None),
        ] {
            assert_eq!(MadeUp::new(name, files).machine.available_kib(), available, "{name}");
        }
    }

    #[test]
    fn memory_and_dropped_connections_are_read() {
        const GROUP: (&str, &str) = ("proc/self/cgroup", "0::/system.slice/roadstead.service\n");
        const MOST: (&str, &str) = ("sys/fs/cgroup/system.slice/memory.max", "4194304\n");
        const STATUS: (&str, &str) = ("proc/self/status", "Name:\tx\nVmRSS:\t  5 kB\n");
        const NETSTAT: (&str, &str) = (
            "proc/self/net/netstat",
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 2 3\nIpExt: InOctets\nIpExt: 4\n",
        );
        let all = MadeUp::new("room", &[MEMORY, GROUP, MOST, STATUS, NETSTAT]);
        assert_eq!(all.machine.memory_max_bytes(), Some(4 << 20));
        assert_eq!(all.machine.resident_bytes(), Some(5 << 10));
        assert_eq!(all.machine.listen_drops(), Some(ListenDrops { overflows: 2, drops: 3 }));
        let none = MadeUp::new("no-room", &[MEMORY]);
        assert_eq!(none.machine.memory_max_bytes(), Some(9_000 << 10));
        assert_eq!((none.machine.resident_bytes(), none.machine.listen_drops()), (None, None));
    }

    #[test]
    fn limits_pages_and_capabilities_are_read() {
        let made_up = MadeUp::new(
            "all",
            &[
                (
                    "proc/self/limits",
                    "Max open files            1024                 unlimited            files\n",
                ),
                ("proc/self/status", "Name:\tx\nCapEff:\t0000000000000400\n"),
                ("proc/self/smaps", "00-01 r--p\nSize:  8 kB\nKernelPageSize:       64 kB\n"),
                ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ],
        );
        let machine = &made_up.machine;
        assert_eq!((machine.open_files_soft(), machine.open_files()), (Some(1_024), Some(i64::MAX)));
        assert_eq!((machine.may(10), machine.may(11)), (Some(true), Some(false)));
        assert_eq!(machine.page_kib(), 64);
        assert_eq!(machine.sysctl("net.ipv4.ip_local_port_range").as_deref(), Some("32768 60999"));
        assert_eq!(machine.sysctl("net.ipv4.tcp_mem"), None);
        assert_eq!(machine.memory_kib(), 0);
    }
}
