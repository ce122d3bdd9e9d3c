//! Keys that somebody else keeps: the last good set, how old it is, and what is asked for and not in it.
//!
//! Invariants: whoever fetches and whoever verifies meet here and nowhere else, and no shard comes here; keys are used for a
//! bounded time after they were last fetched; what is asked for is bounded in number and causes one fetch, not one each.
//!
//! ```text
//! kid ── in the set ──> keys
//!     ├─ a fetch that began after it was first asked for did not bring it ──> none such
//!     └─ else ──> later, and a fetch is wanted
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::Wake;
use super::keys::KeySet;
use crate::limits::KIDS_WANTED_MAX;

/// The keys at one address.
pub struct RemoteKeys {
    state: Mutex<State>,
    /// For so long after they were fetched keys are good, seconds.
    keep_s: u64,
    /// Tells whoever fetches that something is asked for.
    wanted: OnceLock<Wake>,
    fetches: [AtomicU64; Fetched::ALL.len()],
}

#[derive(Default)]
struct State {
    /// The last good keys, and when they were fetched, Unix seconds.
    last: Option<(Arc<KeySet>, u64)>,
    /// Asked for and not there.
    wanted: Vec<Box<str>>,
    /// Those of them that the running fetch may bring.
    awaited: Vec<Box<str>>,
    /// Those that the last fetch did not bring.
    absent: Vec<Box<str>>,
}

/// How a fetch ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// With keys.
    Good,
    /// Nobody answered: no address, no connection, no TLS.
    Unreachable,
    /// The answer did not come in time.
    Late,
    /// The answer was not 200.
    Status,
    /// The answer was too long.
    TooLong,
    /// The answer holds no keys that are of use.
    Malformed,
}

impl Fetched {
    /// Every one, with its word in metrics.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Good, "good"),
        (Self::Unreachable, "unreachable"),
        (Self::Late, "late"),
        (Self::Status, "status"),
        (Self::TooLong, "too_long"),
        (Self::Malformed, "malformed"),
    ];
}

/// What there is for a `kid`.
pub(super) enum Found {
    /// A set that names it.
    Keys(Arc<KeySet>),
    /// Nothing yet; it may come.
    Later,
    /// Nothing.
    Nothing,
}

impl RemoteKeys {
    /// No keys yet; once fetched, they are good for `keep_s` seconds without being fetched again.
    #[must_use]
    pub fn new(keep_s: u64) -> Self {
        Self {
            state: Mutex::default(),
            keep_s,
            wanted: OnceLock::new(),
            fetches: [const { AtomicU64::new(0) }; Fetched::ALL.len()],
        }
    }

    /// Whom to tell when keys are asked for that are not there. The first one told of counts.
    pub fn when_wanted(&self, wake: Wake) {
        let _ = self.wanted.set(wake);
    }

    pub(super) fn find(&self, kid: &str, now_s: u64) -> Found {
        let mut state = self.state();
        let good = state.last.as_ref().filter(|(_, at_s)| now_s.saturating_sub(*at_s) <= self.keep_s);
        let Some((set, _)) = good else {
            // Whoever fetches is at it already.
            return Found::Later;
        };
        if set.names(kid) {
            return Found::Keys(Arc::clone(set));
        }
        let holds = |list: &[Box<str>]| list.iter().any(|known| **known == *kid);
        if holds(&state.absent) {
            return Found::Nothing;
        }
        if !holds(&state.awaited) && !holds(&state.wanted) && state.wanted.len() < KIDS_WANTED_MAX {
            state.wanted.push(kid.into());
        }
        drop(state);
        if let Some(wake) = self.wanted.get() {
            wake();
        }
        Found::Later
    }

    /// Whether a fetch could bring what is asked for.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.state().wanted.is_empty()
    }

    /// A fetch begins.
    pub fn begin(&self) {
        let mut state = self.state();
        state.awaited = std::mem::take(&mut state.wanted);
    }

    /// A fetch brought `answer`, at Unix time `now_s`. Returns what is to be told of it.
    ///
    /// # Errors
    /// It holds no keys that are of use; the last good ones stay.
    pub fn take(&self, answer: &[u8], now_s: u64) -> Result<Change, String> {
        let set = match KeySet::read(answer) {
            Ok(set) => Arc::new(set),
            Err(why) => {
                self.fail(Fetched::Malformed);
                return Err(why);
            }
        };
        let mut state = self.state();
        let was = state.last.replace((Arc::clone(&set), now_s));
        state.absent = std::mem::take(&mut state.awaited);
        state.absent.retain(|kid| !set.names(kid));
        drop(state);
        self.count(Fetched::Good);
        let is_same = was.is_some_and(|(was, _)| was.kids().eq(set.kids()));
        Ok(Change { keys: set.kids().count(), skipped: set.skipped, is_same })
    }

    /// A fetch failed; what was asked for still is.
    pub fn fail(&self, how: Fetched) {
        let mut state = self.state();
        let awaited = std::mem::take(&mut state.awaited);
        state.wanted.extend(awaited);
        state.wanted.truncate(KIDS_WANTED_MAX);
        drop(state);
        self.count(how);
    }

    /// When the last good keys were fetched (Unix seconds) and how many there are; `None`: none were yet.
    #[must_use]
    pub fn last(&self) -> Option<(u64, usize)> {
        self.state().last.as_ref().map(|(set, at_s)| (*at_s, set.kids().count()))
    }

    /// For so long after they were fetched keys are good, seconds.
    #[must_use]
    pub fn keep_s(&self) -> u64 {
        self.keep_s
    }

    /// How many fetches ended in which way, in the order of [`Fetched::ALL`].
    #[must_use]
    pub fn fetches(&self) -> [u64; Fetched::ALL.len()] {
        std::array::from_fn(|place| self.fetches[place].load(Ordering::Relaxed))
    }

    fn count(&self, how: Fetched) {
        self.fetches[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a fetch changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Keys in use now.
    pub keys: usize,
    /// Keys of the set that are of no use here.
    pub skipped: usize,
    /// Whether they have the same names as before.
    pub is_same: bool,
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("last", &self.last()).finish_non_exhaustive()
    }
}
