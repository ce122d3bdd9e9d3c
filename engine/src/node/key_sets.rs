//! Key sets from addresses: a thread for each address, which fetches again and again, and what is said of it.
//!
//! Invariants: no shard comes here; a thread ends when nobody needs its keys any more; between two fetches there is always a pause, and
//! only tokens with new keys shorten it, as seldom as [`RemoteKeys`] allows; one address that is slow keeps no other waiting.
//!
//! ```text
//!            ┌── jwks_refresh_s, less a part by chance; after a failure 1 s, 2 s ... 60 s ──┐
//!            v                                                                              │
//!   fetch ───┴──> keys, or why there are none ──> those who waited are judged ── pause ─────┤
//!                                                                                a token ───┘
//! ```

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{RecvTimeoutError, Sender};

use super::happenings::Happening;
use super::shards;
use crate::admin::{KeySetDesk, KeySetStatus};
use crate::limits::JWKS_RETRY_S;
use crate::settings::{ClientUser, Settings};
use crate::token::{Failed, Fetched, KeySource, RemoteKeys, Remotes, Waiters, Wishes, download};

/// Between two lines about the same trouble.
const COMPLAIN_EVERY: Duration = Duration::from_secs(600);

/// The key sets of a node.
#[derive(Debug)]
pub(super) struct KeySets {
    remotes: Remotes,
    /// What others see of them.
    shown: Arc<Mutex<Remotes>>,
    told: Sender<Happening>,
}

/// Key sets that nobody fetches yet.
pub(super) struct Fresh {
    remotes: Remotes,
    new: Vec<(Weak<RemoteKeys>, Wishes)>,
}

impl Fresh {
    pub(super) fn remotes(&self) -> &Remotes {
        &self.remotes
    }
}

impl KeySets {
    /// None yet.
    pub(super) fn new(told: Sender<Happening>) -> Self {
        Self { remotes: Remotes::default(), shown: Arc::default(), told }
    }

    /// Those that `settings` name; nothing changes until [`KeySets::take`]. What is known of an address stays.
    pub(super) fn prepare(&self, settings: &Settings) -> Fresh {
        let [connection, subscription] = KeySource::of(settings);
        let mut new = Vec::new();
        let mut of = |source: Option<KeySource>, before: Option<&Arc<RemoteKeys>>| {
            let source = source?;
            if let Some(same) = before.filter(|before| *before.source() == source) {
                return Some(Arc::clone(same));
            }
            let (keys, wishes) = RemoteKeys::new(source, before.map(Arc::as_ref));
            new.push((Arc::downgrade(&keys), wishes));
            Some(keys)
        };
        let connection = of(connection, self.remotes.connection.as_ref());
        let subscription = of(subscription, self.remotes.subscription.as_ref());
        Fresh { remotes: Remotes { connection, subscription }, new }
    }

    /// Uses what was prepared, and begins to fetch what is new.
    pub(super) fn take(&mut self, fresh: Fresh) -> io::Result<()> {
        self.remotes = fresh.remotes;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = self.remotes.clone();
        for (keys, wishes) in fresh.new {
            let told = self.told.clone();
            let thread = thread::Builder::new().name("key-set".into());
            thread.spawn(move || fetch_again_and_again(&keys, &wishes, &told))?;
        }
        Ok(())
    }

    /// Whether nobody can be let in before the first keys have come: there is no other way in.
    pub(super) fn are_awaited(&self, settings: &Settings) -> bool {
        let has_other_way = settings.token.has_key_here()
            || settings.insecure
            || settings.client.allow_anonymous
            || settings.tls.client_user != ClientUser::Off;
        let keys = self.remotes.connection.as_ref();
        !has_other_way && keys.is_some_and(|keys| keys.last().is_none())
    }

    /// The way of operators to them.
    pub(super) fn desk(&self) -> KeySetDesk {
        let shown = Arc::clone(&self.shown);
        KeySetDesk(Arc::new(move || {
            let remotes = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            remotes.iter().map(|keys| status(keys)).collect()
        }))
    }
}

fn status(keys: &RemoteKeys) -> KeySetStatus {
    let (source, (refused_unknown, refused_keyless)) = (keys.source(), keys.refused());
    KeySetStatus {
        tokens: source.tokens,
        last: keys.last(),
        max_age_s: source.max_age_s,
        fetches: Fetched::ALL.iter().map(|(_, word)| *word).zip(keys.fetches()).collect(),
        refused_unknown,
        refused_keyless,
    }
}

/// Until nobody needs the keys.
fn fetch_again_and_again(keys: &Weak<RemoteKeys>, wishes: &Wishes, told: &Sender<Happening>) {
    let mut course = Course::default();
    loop {
        let Some(keys) = keys.upgrade() else { return };
        let pause = course.fetch(&keys, wishes, told);
        // Nothing here must keep them alive meanwhile.
        drop(keys);
        if wishes.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// How it went so far.
#[derive(Default)]
struct Course {
    /// Fetches that failed since the last good one.
    failures: u32,
    /// When trouble was last told of, and whether it was that keys do not count any more.
    complained: Option<(Instant, bool)>,
}

impl Course {
    /// Fetches once; returns how long to pause.
    fn fetch(&mut self, keys: &RemoteKeys, wishes: &Wishes, told: &Sender<Happening>) -> Duration {
        let is_first = keys.last().is_none();
        keys.begin(unix_s());
        // What asked for this one.
        while wishes.try_recv().is_ok() {}
        let (waiters, trouble) = match self.ask(keys) {
            Ok(waiters) => (waiters, None),
            Err((why, waiters)) => (waiters, Some(why)),
        };
        waiters.resume();
        if is_first && trouble.is_none() {
            // Full: the supervisor looks by itself within a second.
            let _ = told.try_send(Happening::Standing);
        }
        let source = keys.source();
        let Some(why) = trouble else {
            self.failures = 0;
            return by_chance(source.refresh_s, 10);
        };
        let pause = by_chance(pause_s(self.failures, source.refresh_s), 50);
        self.failures = self.failures.saturating_add(1);
        self.complain(keys, &why);
        pause
    }

    fn ask(&mut self, keys: &RemoteKeys) -> Result<Waiters, (String, Waiters)> {
        let source = keys.source();
        let answer = download(source).map_err(|(how, why): Failed| (why, keys.fail(how)))?;
        let change = keys.take(&answer, unix_s())?;
        let (setting, address) = (source.setting, &source.address);
        let useless = match change.skipped {
            0 => String::new(),
            skipped => format!("; {skipped} others are of no use here"),
        };
        if !change.is_same {
            tracing::info!("{setting}: {} keys from {address}{useless}", change.keys);
        } else if self.complained.is_some() {
            tracing::info!("{setting}: {address} answers again, with the keys as they were");
        }
        self.complained = None;
        Ok(change.waiters)
    }

    /// Says what is wrong: at once if it is new or has become worse, else now and then.
    fn complain(&mut self, keys: &RemoteKeys, why: &str) {
        let now_s = unix_s();
        let is_keyless = !keys.has_keys(now_s);
        let is_old = |(at, was_keyless): (Instant, bool)| {
            at.elapsed() >= COMPLAIN_EVERY || (is_keyless && !was_keyless)
        };
        if !self.complained.is_none_or(is_old) {
            return;
        }
        self.complained = Some((Instant::now(), is_keyless));
        let source = keys.source();
        let what = format!("{}: no keys from {}: {why}", source.setting, source.address);
        match keys.last() {
            None => {
                tracing::error!("{what}; until there are some, tokens that name them are refused for now")
            }
            Some((at_s, _)) => {
                let age_s = now_s.saturating_sub(at_s);
                let left_s = source.max_age_s.saturating_sub(age_s);
                match is_keyless {
                    true => tracing::error!(
                        "{what}; those of {age_s} s ago are too old, and tokens that name them are refused for now"
                    ),
                    false => tracing::warn!("{what}; those of {age_s} s ago count for another {left_s} s"),
                }
            }
        }
    }
}

/// Seconds until a fetch is tried again after so many failures before this one.
fn pause_s(failures: u32, refresh_s: u64) -> u64 {
    let (first_s, longest_s) = JWKS_RETRY_S;
    first_s.checked_shl(failures.min(16)).unwrap_or(longest_s).min(longest_s).min(refresh_s).max(1)
}

/// A time of `seconds`, less up to `percent` of it: so that the nodes of a fleet do not ask all at once.
fn by_chance(seconds: u64, percent: u64) -> Duration {
    let random = shards::seeds(1).map_or(0, |seeds| seeds[0][0]);
    let most_ms = seconds * 1_000;
    Duration::from_millis(most_ms - random % (most_ms * percent / 100 + 1))
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Secret, WebAddress};

    #[test]
    fn pauses_grow_and_end_somewhere() {
        for (failures, refresh_s, seconds) in [
            (0, 300, 1),
            (1, 300, 2),
            (5, 300, 32),
            (6, 300, 60),
            (70, 300, 60),
            (u32::MAX, 300, 60),
            (3, 4, 4),
        ] {
            assert_eq!(pause_s(failures, refresh_s), seconds, "{failures}");
        }
        for _ in 0..100 {
            let pause = by_chance(10, 50);
            assert!(pause >= Duration::from_secs(5) && pause <= Duration::from_secs(10), "{pause:?}");
        }
    }

    fn with_address(text: &str) -> Settings {
        let mut settings = Settings::default();
        settings.token.jwks_url = WebAddress::new(text);
        settings
    }

    #[test]
    fn a_reload_keeps_what_is_the_same() {
        let (told, _happenings) = crossbeam_channel::unbounded();
        let mut sets = KeySets::new(told);
        let of = |fresh: &Fresh| fresh.remotes().connection.clone().expect("one");
        let (here, elsewhere) = (with_address("http://127.0.0.1:1/a"), with_address("http://127.0.0.1:1/b"));
        let fresh = sets.prepare(&here);
        let first = of(&fresh);
        // Nobody fetches in this test.
        sets.take(Fresh { new: Vec::new(), ..fresh }).expect("no thread");
        let set =
            serde_json::json!({ "keys": [crate::token::testing::Issuer::ed25519().jwk("a")] }).to_string();
        first.begin(1);
        assert!(first.take(set.as_bytes(), 1).is_ok());
        assert!(Arc::ptr_eq(&first, &of(&sets.prepare(&here))));
        let mut patient = here.clone();
        patient.token.jwks_max_age_s += 1;
        let fresh = sets.prepare(&patient);
        assert_eq!((of(&fresh).last(), fresh.new.len()), (Some((1, 1)), 1), "the keys stay");
        assert_eq!(of(&sets.prepare(&elsewhere)).last(), None, "those of another address do not");
        let none = sets.prepare(&Settings::default());
        assert!(none.remotes().connection.is_none() && none.new.is_empty());
    }

    #[test]
    fn only_who_could_let_nobody_in_waits() {
        type Opens = fn(&mut Settings);
        let open: [(&str, Opens); 5] = [
            ("nothing else", |_| {}),
            ("a secret", |settings| settings.token.hmac_secret = Some(Secret::new("s"))),
            ("anonymous clients", |settings| settings.client.allow_anonymous = true),
            ("insecure", |settings| settings.insecure = true),
            ("certificates", |settings| settings.tls.client_user = ClientUser::Dns),
        ];
        for (place, (name, open)) in open.into_iter().enumerate() {
            let (told, _happenings) = crossbeam_channel::unbounded();
            let mut sets = KeySets::new(told);
            let mut settings = with_address("http://127.0.0.1:1/a");
            open(&mut settings);
            let fresh = sets.prepare(&settings);
            sets.take(Fresh { new: Vec::new(), ..fresh }).expect("no thread");
            assert_eq!(sets.are_awaited(&settings), place == 0, "{name}");
        }
    }
}
