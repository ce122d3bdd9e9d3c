//! Memory of this process, read from `/proc`.

use std::fs;

/// Resident memory in bytes; 0 where the kernel does not tell.
#[must_use]
pub(crate) fn resident_bytes() -> u64 {
    parse(&fs::read_to_string("/proc/self/status").unwrap_or_default()).unwrap_or(0)
}

/// Reads `VmRSS` of proc_pid_status(5), in KiB there.
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(parse("Name:\tx\nVmRSS:\t    1234 kB\nRssAnon:\t 9 kB\n"), Some(1_234 * 1_024));
        assert_eq!(parse("VmRSS:\t12 MB\n"), None);
        assert_eq!(parse(""), None);
        assert!(resident_bytes() > 1 << 20);
    }
}
