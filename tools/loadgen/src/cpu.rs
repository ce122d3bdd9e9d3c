//! Processor time of a thread, read from `/proc` (the scheduler's nanosecond account).

use std::fs;

use crate::schedule::Nanos;

/// Processor time that the calling thread has used; 0 where the kernel does not tell.
#[must_use]
pub(crate) fn thread_time() -> Nanos {
    fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| parse_schedstat(&text))
        .unwrap_or(0)
}

/// The first of three numbers: time on a processor in nanoseconds (proc(5), Documentation/scheduler/sched-stats).
fn parse_schedstat(text: &str) -> Option<Nanos> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_the_time_on_a_processor() {
        assert_eq!(parse_schedstat("123456789 42 7\n"), Some(123_456_789));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_schedstat("x 1 2"), None);
    }

    #[test]
    fn time_never_runs_backwards() {
        let before = thread_time();
        assert!(thread_time() >= before);
    }
}
