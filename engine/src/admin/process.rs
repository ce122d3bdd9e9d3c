//! What the kernel knows of this process, from `/proc` (proc(5)).
//!
//! Invariant: what cannot be read is absent, never zero.

use std::fs;

/// User-space clock ticks a second: 100 on every Linux architecture that runs Rust (time(7), USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// Numbers of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_s: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) descriptors: Option<u64>,
    pub(super) descriptors_max: Option<u64>,
    pub(super) start_s: Option<f64>,
}

pub(super) fn read() -> Process {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut process = parse(&text("/proc/self/stat"), &text("/proc/stat"), &text("/proc/self/status"));
    process.descriptors = descriptors();
    process.descriptors_max = soft_limit(&text("/proc/self/limits"));
    process
}

fn parse(stat: &str, machine: &str, status: &str) -> Process {
    // The command's name, in parentheses, may hold anything; the numbers follow its last parenthesis. Field numbers
    // are those of proc(5), which counts the process id as 1 and the name as 2.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let boot_s = machine.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let in_status = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Process {
        cpu_s: field(14).zip(field(15)).map(|(user, system)| (user + system) as f64 / TICKS_PER_S),
        resident_bytes: in_status("VmRSS").map(|kib| kib << 10),
        virtual_bytes: in_status("VmSize").map(|kib| kib << 10),
        threads: in_status("Threads"),
        start_s: field(22).zip(boot_s).map(|(ticks, boot_s)| boot_s + ticks as f64 / TICKS_PER_S),
        ..Process::default()
    }
}

/// Since Linux 6.2 the size of the directory is the number of open descriptors; before, they must be counted.
fn descriptors() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok(),
        count => Some(count),
    }
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_text_is_understood() {
        let stat =
            "7 (a) b) R 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 3 0 200 4096 5 18446744073709551615";
        let process =
            parse(stat, "cpu 1\nbtime 1000\n", "Name:\ta\nVmSize:\t 8 kB\nVmRSS:\t  4 kB\nThreads:\t3\n");
        let expected = Process {
            cpu_s: Some(2.0),
            resident_bytes: Some(4096),
            virtual_bytes: Some(8192),
            threads: Some(3),
            start_s: Some(1002.0),
            ..Process::default()
        };
        assert_eq!(process, expected);
        assert_eq!(
            soft_limit("Limit  Soft\nMax open files            1024     524288    files\n"),
            Some(1024)
        );
        assert_eq!(soft_limit("Max open files            unlimited     unlimited    files\n"), None);
        assert_eq!(parse("", "", ""), Process::default());
    }

    #[test]
    fn this_process_is_readable() {
        let process = read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 0));
        assert!(process.descriptors.is_some_and(|count| count > 2));
        assert!(process.start_s.is_some());
    }
}
