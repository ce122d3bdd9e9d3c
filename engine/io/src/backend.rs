//! Chooses a back end: what was asked for, what the kernel allows, and the words that say so.

use std::fmt;
use std::str::FromStr;

use crate::{Uring, Waker, limits};

/// How a back end is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sockets at most, accepted and connected together. Slots are below this number. Address space for their records
    /// is reserved at once, memory is used as slots are.
    pub sockets_max: u32,
    /// The waker to listen to; `None`: the back end makes its own. Give one where other threads must know the waker
    /// before the back end exists, and always with `own_descriptor_table`.
    pub waker: Option<Waker>,
    /// epoll only: gives the *calling thread* a descriptor table of its own, so that `RLIMIT_NOFILE` binds each thread
    /// and not the process.
    ///
    /// From then on a descriptor that this thread opens does not exist for other threads, and the other way round;
    /// what was open before is open in both tables, and closing it in one does not close it in the other. Therefore:
    /// make all threads' wakers first (a waker made later cannot be signalled from here), make the back end as the
    /// thread's first act, and only then [`crate::bind`] its listeners, on this thread: a listener bound before would
    /// stay open, unattended, in the tables of the others. The table ends with the thread.
    pub own_descriptor_table: bool,
    /// io_uring only: sockets per ring. `None`: as many as `RLIMIT_NOFILE` allows. When they are used up a further
    /// ring is added.
    pub ring_sockets: Option<u32>,
}

impl Options {
    /// Options for `sockets_max` sockets (at most 16,777,216), everything else as it is best by default.
    #[must_use]
    pub fn new(sockets_max: u32) -> Self {
        let sockets_max = sockets_max.clamp(1, limits::SOCKETS_MAX);
        Self { sockets_max, waker: None, own_descriptor_table: false, ring_sockets: None }
    }
}

/// What the operator asks for (`--io`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring where the kernel allows it, else epoll.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

impl FromStr for Choice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "auto" => Ok(Self::Auto),
            "io_uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            other => Err(UnknownChoice(other.into())),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// A word that names no back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownChoice(String);

impl fmt::Display for UnknownChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown io back end {:?}: it is one of auto, io_uring, epoll", self.0)
    }
}

impl std::error::Error for UnknownChoice {}

/// A back end that exists here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Uring`].
    Uring,
    /// [`crate::Epoll`].
    Epoll,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// What was taken, and why where that is not plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The back end.
    pub kind: Kind,
    /// A sentence for each thing that an operator may want to know: a feature dropped, a fallback and its cause.
    pub notes: Vec<String>,
}

/// io_uring was demanded where it is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    reason: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; or choose another back end (--io auto or --io epoll)", self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// Probes the kernel and chooses.
///
/// # Errors
/// [`Choice::Uring`] where the kernel forbids it or lacks something: what is missing and what to do.
pub fn select(choice: Choice) -> Result<Selected, Unavailable> {
    if choice == Choice::Epoll {
        return Ok(Selected { kind: Kind::Epoll, notes: Vec::new() });
    }
    match (Uring::probe(), choice) {
        (Ok(notes), _) => Ok(Selected { kind: Kind::Uring, notes }),
        (Err(reason), Choice::Uring) => Err(Unavailable { reason }),
        (Err(reason), _) => Ok(Selected { kind: Kind::Epoll, notes: vec![format!("{reason}: using epoll")] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_what_they_print() {
        for choice in [Choice::Auto, Choice::Uring, Choice::Epoll] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let error = "kqueue".parse::<Choice>().expect_err("unknown");
        assert!(error.to_string().contains("kqueue") && error.to_string().contains("io_uring"));
    }

    #[test]
    fn epoll_is_always_to_be_had_and_auto_says_why_it_fell_back() {
        assert_eq!(select(Choice::Epoll), Ok(Selected { kind: Kind::Epoll, notes: Vec::new() }));
        let auto = select(Choice::Auto).expect("auto always finds one");
        match select(Choice::Uring) {
            Ok(forced) => assert_eq!(forced.kind, auto.kind),
            Err(unavailable) => {
                assert_eq!(auto.kind, Kind::Epoll);
                assert!(!auto.notes.is_empty() && unavailable.to_string().contains("--io"));
            }
        }
    }
}
