//! Keys that are fetched: how long they count, and what an unknown name causes.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::limits::KIDS_WANTED_MAX;
use crate::token::testing::Issuer;

const KEEP_S: u64 = 100;

struct Fetching {
    keys: Arc<RemoteKeys>,
    verifier: Verifier,
    wakes: Arc<AtomicU32>,
}

impl Fetching {
    fn new() -> Self {
        let keys = Arc::new(RemoteKeys::new(KEEP_S));
        let wakes = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&wakes);
        keys.when_wanted(Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        let remotes = Remotes { connection: Some(Arc::clone(&keys)), subscription: None };
        let verifier = Verifier::load(&Settings::default(), &remotes).expect("no files");
        Self { keys, verifier, wakes }
    }

    fn fetch(&self, set: &[Value], now_s: u64) -> Change {
        self.keys.begin();
        self.keys.take(json!({ "keys": set }).to_string().as_bytes(), now_s).expect("a set")
    }

    fn shown(&self, token: &str, now_s: u64) -> Result<String, TokenError> {
        self.verifier.connection(token, now_s, false).map(|claims| claims.user)
    }
}

fn token(issuer: &Issuer, kid: &str) -> String {
    issuer.token("EdDSA", Some(kid), &json!({ "sub": kid }))
}

#[test]
fn keys_count_for_a_bounded_time_after_the_last_fetch() {
    let fetching = Fetching::new();
    let issuer = Issuer::ed25519();
    let token = token(&issuer, "a");
    assert_eq!(fetching.shown(&token, NOW), Err(TokenError::Unavailable), "nothing was fetched yet");
    fetching.keys.fail(Fetched::Unreachable);
    assert_eq!(fetching.shown(&token, NOW), Err(TokenError::Unavailable));
    let change = fetching.fetch(&[issuer.jwk("a")], NOW);
    assert_eq!(change, Change { keys: 1, skipped: 0, is_same: false });
    assert!(fetching.fetch(&[issuer.jwk("a")], NOW).is_same);
    assert_eq!(fetching.shown(&token, NOW + KEEP_S).as_deref(), Ok("a"), "the last good ones count");
    for how in [Fetched::Unreachable, Fetched::Late, Fetched::Status, Fetched::TooLong] {
        fetching.keys.begin();
        fetching.keys.fail(how);
    }
    assert!(fetching.keys.take(b"{}", NOW + KEEP_S).is_err());
    assert_eq!(fetching.shown(&token, NOW + KEEP_S).as_deref(), Ok("a"), "failures change nothing");
    assert_eq!(fetching.shown(&token, NOW + KEEP_S + 1), Err(TokenError::Unavailable), "too old");
    fetching.fetch(&[issuer.jwk("a")], NOW + KEEP_S + 2);
    assert_eq!(fetching.shown(&token, NOW + KEEP_S + 2).as_deref(), Ok("a"));
    assert_eq!(fetching.keys.fetches(), [3, 2, 1, 1, 1, 1]);
}

#[test]
fn an_unknown_name_is_later_until_a_fetch_that_began_after_it() {
    let fetching = Fetching::new();
    let (old, new) = (Issuer::ed25519(), Issuer::ed25519());
    fetching.fetch(&[old.jwk("old")], NOW);
    assert!(!fetching.keys.is_wanted());
    assert_eq!(fetching.shown(&token(&new, "new"), NOW), Err(TokenError::Unavailable));
    assert_eq!((fetching.keys.is_wanted(), fetching.wakes.load(Ordering::Relaxed)), (true, 1));
    // A fetch that is under way cannot speak for what is asked for now.
    fetching.keys.begin();
    assert_eq!(fetching.shown(&token(&new, "late"), NOW), Err(TokenError::Unavailable));
    fetching.keys.take(json!({ "keys": [old.jwk("old")] }).to_string().as_bytes(), NOW).expect("a set");
    assert_eq!(fetching.shown(&token(&new, "new"), NOW), Err(flaw(Flaw::Key)), "it was not brought");
    assert_eq!(fetching.shown(&token(&new, "late"), NOW), Err(TokenError::Unavailable));
    assert!(fetching.keys.is_wanted());
    // A failure speaks for nothing.
    fetching.keys.begin();
    fetching.keys.fail(Fetched::Late);
    assert!(fetching.keys.is_wanted());
    assert_eq!(fetching.shown(&token(&new, "late"), NOW), Err(TokenError::Unavailable));
    // Once the key is there it counts, whatever was said of it before.
    fetching.fetch(&[old.jwk("old"), new.jwk("new"), new.jwk("late")], NOW);
    for (issuer, kid) in [(&old, "old"), (&new, "new"), (&new, "late")] {
        assert_eq!(fetching.shown(&token(issuer, kid), NOW).as_deref(), Ok(kid));
    }
    assert_eq!(fetching.shown(&token(&old, "new"), NOW), Err(flaw(Flaw::Signature)));
    // And once it is gone it does not, though its tokens are not over.
    fetching.fetch(&[new.jwk("new")], NOW);
    assert_eq!(fetching.shown(&token(&old, "old"), NOW), Err(TokenError::Unavailable));
    fetching.fetch(&[new.jwk("new")], NOW);
    assert_eq!(fetching.shown(&token(&old, "old"), NOW), Err(flaw(Flaw::Key)));
}

#[test]
fn names_without_end_are_not_remembered_without_end() {
    let fetching = Fetching::new();
    let (ours, theirs) = (Issuer::ed25519(), Issuer::ed25519());
    fetching.fetch(&[ours.jwk("a")], NOW);
    for n in 0..3 * KIDS_WANTED_MAX {
        let kid = format!("nonsense-{n}");
        assert_eq!(fetching.shown(&token(&theirs, &kid), NOW), Err(TokenError::Unavailable));
    }
    assert_eq!(fetching.shown(&token(&ours, "a"), NOW).as_deref(), Ok("a"));
    fetching.fetch(&[ours.jwk("a")], NOW);
    assert_eq!(fetching.shown(&token(&theirs, "nonsense-0"), NOW), Err(flaw(Flaw::Key)));
    let last = format!("nonsense-{}", 3 * KIDS_WANTED_MAX - 1);
    assert_eq!(fetching.shown(&token(&theirs, &last), NOW), Err(TokenError::Unavailable), "forgotten");
    // A name as long as a token is not remembered at all.
    let long = "k".repeat(5_000);
    assert_eq!(fetching.shown(&token(&theirs, &long), NOW), Err(flaw(Flaw::Key)));
}
