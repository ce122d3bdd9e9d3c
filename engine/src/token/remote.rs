//! Keys that somebody else keeps: the last good set, how long it counts, and who waits for a key that is not in it.
//!
//! Invariants: whoever fetches and whoever verifies meet here and nowhere else, and no shard comes here; keys count for a bounded
//! time after they were last fetched; tokens cause at most one fetch in [`JWKS_ASK_S`], for all of them together; whoever waits does so
//! for a fetch that is asked for or under way, and hears of its end, whatever it brought. Time is an argument.
//!
//! ```text
//! kid ── in the set, and the set is not too old ──────────────> keys
//!     ├─ not brought by a fetch that began after it was asked for, a moment ago ──> none such
//!     └─ else ──> waits for a fetch that is asked for or under way, or may be asked for now
//!              └─ none may: come back later
//! ```

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::keys::KeySet;
use crate::limits::{JWKS_ASK_S, KIDS_ABSENT_MAX};
use crate::settings::{Settings, Token, WebAddress};

/// The keys at one address.
pub struct RemoteKeys {
    source: KeySource,
    state: Mutex<State>,
    /// Asks for a fetch, ahead of its time.
    wish: Sender<()>,
    fetches: [AtomicU64; Fetched::ALL.len()],
    refused_unknown: AtomicU64,
    refused_keyless: AtomicU64,
}

/// Where keys are fetched from, and how long they count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySource {
    /// The kind of token that they are for: `connection` or `subscription`.
    pub tokens: &'static str,
    /// The setting that names the address.
    pub setting: &'static str,
    /// The address.
    pub address: WebAddress,
    /// Authorities (PEM) that it is trusted by, besides those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Between two fetches, seconds.
    pub refresh_s: u64,
    /// For so long after they were fetched keys count, seconds.
    pub max_age_s: u64,
}

/// The keys that somebody else keeps, by the kind of token that they are for.
#[derive(Clone, Debug, Default)]
pub struct Remotes {
    /// For connection tokens, and for subscription tokens where these have no keys of their own.
    pub connection: Option<Arc<RemoteKeys>>,
    /// For subscription tokens that have keys of their own.
    pub subscription: Option<Arc<RemoteKeys>>,
}

/// Hears that a fetch is asked for; closed when nobody needs the keys any more.
pub type Wishes = Receiver<()>;

/// Goes on with a token whose key may have come.
pub(super) type Resume = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    /// The last good keys, and when they were fetched, Unix seconds.
    last: Option<(Arc<KeySet>, u64)>,
    phase: Phase,
    /// When a token last caused a fetch, Unix seconds.
    asked_s: Option<u64>,
    /// Who waits for the end of a fetch. Bounded by those who hand in tokens.
    waiting: Vec<(Box<str>, Resume)>,
    /// The first so many of them asked before the running fetch began.
    awaited: usize,
    /// What the last fetch was asked for and did not bring.
    absent: Vec<Box<str>>,
    /// When that fetch, or the running one, began, Unix seconds.
    absent_s: u64,
    began_s: u64,
}

/// ```text
/// Idle ── a token ──> Asked ─┐
///   └── it is time ──────────┴──> UnderWay ── keys, or none ──> Idle
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Asked,
    UnderWay,
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
    /// It led elsewhere, too often or from HTTPS to HTTP.
    Redirected,
    /// The answer was too long.
    TooLong,
    /// The answer is not HTTP, or holds no keys that are of use.
    Malformed,
}

impl Fetched {
    /// Every one, with its word in metrics.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Good, "good"),
        (Self::Unreachable, "unreachable"),
        (Self::Late, "late"),
        (Self::Status, "status"),
        (Self::Redirected, "redirected"),
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

/// Whether one can wait for a key.
pub(super) enum Wait {
    /// Whoever asked hears of the end of a fetch.
    Begun,
    /// There is an answer already.
    Over(Resume),
    /// Nothing is fetched now.
    Refused,
}

/// What a fetch changed, and who waited for it.
pub struct Change {
    /// Keys in use now.
    pub keys: usize,
    /// Keys of the set that are of no use here.
    pub skipped: usize,
    /// Whether they have the same names as before.
    pub is_same: bool,
    /// Those who waited.
    pub waiters: Waiters,
}

/// Tokens that waited for a fetch. They must be heard again when it has ended.
#[must_use]
pub struct Waiters(Vec<Resume>);

impl Waiters {
    /// Goes on with each; one whose key came opens what it was shown for.
    pub fn resume(self) {
        self.0.into_iter().for_each(|resume| resume());
    }
}

impl RemoteKeys {
    /// Keys of `source`, and who hears that they are to be fetched. With `before`, the same address under other settings: what is
    /// known of it stays.
    #[must_use]
    pub fn new(source: KeySource, before: Option<&Self>) -> (Arc<Self>, Wishes) {
        let is_same = |before: &&Self| {
            before.source.address == source.address && before.source.ca_file == source.ca_file
        };
        let last = before.filter(is_same).and_then(|before| before.state().last.clone());
        let (wish, wishes) = bounded(1);
        let keys = Self {
            source,
            state: Mutex::new(State { last, ..State::default() }),
            wish,
            fetches: [const { AtomicU64::new(0) }; Fetched::ALL.len()],
            refused_unknown: AtomicU64::new(0),
            refused_keyless: AtomicU64::new(0),
        };
        (Arc::new(keys), wishes)
    }

    /// Where they are from.
    #[must_use]
    pub fn source(&self) -> &KeySource {
        &self.source
    }

    pub(super) fn find(&self, kid: &str, now_s: u64) -> Found {
        let found = self.look(&self.state(), kid, now_s);
        if matches!(found, Found::Nothing) {
            self.refused_unknown.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Waits for a key that was found to come later, if a fetch may bring it soon.
    pub(super) fn wait(&self, kid: &str, now_s: u64, resume: Resume) -> Wait {
        let mut state = self.state();
        if !matches!(self.look(&state, kid, now_s), Found::Later) {
            return Wait::Over(resume);
        }
        if state.phase == Phase::Idle {
            if state.asked_s.is_some_and(|asked_s| now_s.abs_diff(asked_s) < JWKS_ASK_S) {
                let refused = if self.is_current(&state, now_s) {
                    &self.refused_unknown
                } else {
                    &self.refused_keyless
                };
                refused.fetch_add(1, Ordering::Relaxed);
                return Wait::Refused;
            }
            state.asked_s = Some(now_s);
            state.phase = Phase::Asked;
            // Full: it is asked for already.
            let _ = self.wish.try_send(());
        }
        state.waiting.push((kid.into(), resume));
        Wait::Begun
    }

    fn look(&self, state: &State, kid: &str, now_s: u64) -> Found {
        let Some((set, _)) = state.last.as_ref().filter(|_| self.is_current(state, now_s)) else {
            return Found::Later;
        };
        if set.names(kid) {
            return Found::Keys(Arc::clone(set));
        }
        let is_fresh = now_s.abs_diff(state.absent_s) < JWKS_ASK_S;
        if is_fresh && state.absent.iter().any(|absent| **absent == *kid) {
            Found::Nothing
        } else {
            Found::Later
        }
    }

    fn is_current(&self, state: &State, now_s: u64) -> bool {
        // A clock that was set back is no reason to believe keys for longer.
        state.last.as_ref().is_some_and(|(_, at_s)| now_s.abs_diff(*at_s) <= self.source.max_age_s)
    }

    /// A fetch begins, at Unix time `now_s`.
    pub fn begin(&self, now_s: u64) {
        let mut state = self.state();
        state.phase = Phase::UnderWay;
        state.began_s = now_s;
        state.awaited = state.waiting.len();
    }

    /// The fetch that began last brought `answer`, at Unix time `now_s`.
    ///
    /// # Errors
    /// It holds no keys that are of use; the last good ones stay.
    pub fn take(&self, answer: &[u8], now_s: u64) -> Result<Change, (String, Waiters)> {
        let set = match KeySet::read(answer) {
            Ok(set) => Arc::new(set),
            Err(why) => return Err((why, self.fail(Fetched::Malformed))),
        };
        let mut state = self.state();
        let was = state.last.replace((Arc::clone(&set), now_s));
        let (awaited, waiting) = (state.awaited, std::mem::take(&mut state.waiting));
        state.absent = Vec::new();
        for (kid, _) in &waiting[..awaited] {
            let is_new = !set.names(kid) && !state.absent.contains(kid);
            if is_new && state.absent.len() < KIDS_ABSENT_MAX {
                state.absent.push(kid.clone());
            }
        }
        state.absent_s = state.began_s;
        state.phase = Phase::Idle;
        drop(state);
        self.count(Fetched::Good);
        let is_same = was.is_some_and(|(was, _)| was.kids().eq(set.kids()));
        let waiters = Waiters(waiting.into_iter().map(|(_, resume)| resume).collect());
        Ok(Change { keys: set.kids().count(), skipped: set.skipped, is_same, waiters })
    }

    /// The fetch that began last failed.
    pub fn fail(&self, how: Fetched) -> Waiters {
        let mut state = self.state();
        state.phase = Phase::Idle;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.count(how);
        Waiters(waiting.into_iter().map(|(_, resume)| resume).collect())
    }

    /// When the last good keys were fetched (Unix seconds) and how many there are; `None`: none were yet.
    #[must_use]
    pub fn last(&self) -> Option<(u64, usize)> {
        self.state().last.as_ref().map(|(set, at_s)| (*at_s, set.kids().count()))
    }

    /// Whether there are keys that count at Unix time `now_s`.
    #[must_use]
    pub fn has_keys(&self, now_s: u64) -> bool {
        self.is_current(&self.state(), now_s)
    }

    /// How many fetches ended in which way, in the order of [`Fetched::ALL`].
    #[must_use]
    pub fn fetches(&self) -> [u64; Fetched::ALL.len()] {
        std::array::from_fn(|place| self.fetches[place].load(Ordering::Relaxed))
    }

    /// Tokens that were refused: since their key is not in the set; and since there is none that counts.
    #[must_use]
    pub fn refused(&self) -> (u64, u64) {
        (self.refused_unknown.load(Ordering::Relaxed), self.refused_keyless.load(Ordering::Relaxed))
    }

    fn count(&self, how: Fetched) {
        self.fetches[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeySource {
    /// The sources that the settings name: of connection tokens, and of subscription tokens that have keys of their own.
    #[must_use]
    pub fn of(settings: &Settings) -> [Option<Self>; 2] {
        let own = &settings.subscription_token;
        let of = |tokens, setting, token: &Token| {
            Some(Self {
                tokens,
                setting,
                address: token.jwks_url.clone()?,
                ca_file: token.jwks_ca_file.clone(),
                refresh_s: token.jwks_refresh_s.into(),
                max_age_s: token.jwks_max_age_s.into(),
            })
        };
        let connection = of("connection", "token.jwks_url", &settings.token);
        let subscription = own.enabled.then(|| of("subscription", "subscription_token.jwks_url", &own.token));
        [connection, subscription.flatten()]
    }
}

impl Remotes {
    /// Those that the settings name, without a key: nobody fetches them.
    #[must_use]
    pub fn unfetched(settings: &Settings) -> Self {
        let [connection, subscription] =
            KeySource::of(settings).map(|source| source.map(|source| RemoteKeys::new(source, None).0));
        Self { connection, subscription }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RemoteKeys>> {
        self.connection.iter().chain(&self.subscription)
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("last", &self.last()).finish_non_exhaustive()
    }
}
