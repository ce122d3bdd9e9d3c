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

/// From now on a panic is logged, and one of a shard ends the process: its connections' state is unknown.
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
        logging.flush(LAST_WORDS);
    }));
}

/// Ends the process now, with its last words written.
pub(super) fn abort(why: &str, logging: &Logging) -> ! {
    tracing::error!("{why}");
    logging.flush(LAST_WORDS);
    process::abort()
}
