//! How a node fails: in words, or at once.

use std::fmt;
use std::io;
use std::panic;
use std::process;
use std::thread;
use std::time::Duration;

use crate::logging::Logging;

/// Threads with this prefix are shards.
pub(super) const SHARD_THREAD: &str = "shard-";

/// The thread that follows the fleet.
pub(super) const CONTROL_THREAD: &str = "control";

/// How long the last words may take before the process aborts.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a node did not run, or ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The configuration demands what this machine does not have; a restart would not help.
    Demand(String),
    /// It could not start; later it might.
    Start(String),
    /// It failed while it served.
    Serving(String),
    /// It was told twice to stop and did not wait for its clients.
    Interrupted,
}

impl Failure {
    pub(super) fn start(what: &str, error: &io::Error) -> Self {
        Self::Start(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Demand(reason) | Self::Start(reason) => write!(f, "cannot start: {reason}"),
            Self::Serving(reason) => write!(f, "ended: {reason}"),
            Self::Interrupted => f.write_str("ended at once: told to stop a second time"),
        }
    }
}

impl std::error::Error for Failure {}

/// From now on a panic is logged. One of a shard ends the process, since its connections' state is unknown, and so does one of the
/// control thread: a node that does not follow its fleet must not serve.
pub(super) fn abort_when_a_shard_panics(logging: Logging) {
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(thread = name, place, "panic: {words}");
        if name.starts_with(SHARD_THREAD) {
            abort("a shard panicked; its state is unknown, the process aborts", &logging);
        }
        if name == CONTROL_THREAD {
            abort(
                "the control thread panicked; the node cannot follow its fleet, the process aborts",
                &logging,
            );
        }
        logging.flush(LAST_WORDS);
    }));
}

/// Ends the process now, with its last words written.
pub(super) fn abort(why: &str, logging: &Logging) -> ! {
    tracing::error!("{why}");
    logging.flush(LAST_WORDS);
    process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging;
    use crate::settings::Settings;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const VICTIM: &str = "ROADSTEAD_TEST_PANICKING_THREAD";

    /// Run in a process of its own by the test below.
    fn panic_on(thread_name: String) {
        let logging = logging::start(&Settings::default().log).expect("started");
        abort_when_a_shard_panics(logging);
        let panicking = thread::Builder::new().name(thread_name).spawn(|| panic!("the mast is broken"));
        assert!(panicking.expect("spawned").join().is_err());
    }

    #[test]
    fn only_a_shards_panic_ends_the_process() {
        if let Ok(thread_name) = std::env::var(VICTIM) {
            return panic_on(thread_name);
        }
        let test = "node::failure::tests::only_a_shards_panic_ends_the_process";
        for (thread_name, aborts) in [("shard-0", true), (CONTROL_THREAD, true), ("admin", false)] {
            let mut child = Command::new(std::env::current_exe().expect("this test"));
            let output =
                child.args([test, "--exact", "--nocapture"]).env(VICTIM, thread_name).output().expect("ran");
            let log = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal() == Some(6), aborts, "{log}");
            assert!(log.contains("panic: the mast is broken") && log.contains(thread_name), "{log}");
            assert_eq!(log.contains("the process aborts"), aborts, "{log}");
        }
    }
}
