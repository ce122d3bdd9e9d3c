//! Keys that are fetched: how long they count, who waits for them, and what unknown names cause.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::limits::{JWKS_ASK_S, KIDS_ABSENT_MAX};
use crate::settings::WebAddress;
use crate::token::remote::{Resume, Wait};
use crate::token::testing::Issuer;

const MAX_AGE_S: u64 = 100;

struct Fetching {
    keys: Arc<RemoteKeys>,
    wishes: Wishes,
    verifier: Verifier,
    resumed: Arc<AtomicU32>,
}

/// How asking for a key went.
#[derive(PartialEq, Eq, Debug)]
enum Asked {
    Waits,
    Over,
    Refused,
}

fn source(address: &str) -> KeySource {
    KeySource {
        tokens: "connection",
        setting: "token.jwks_url",
        address: WebAddress::new(address).expect("an address"),
        ca_file: None,
        refresh_s: 10,
        max_age_s: MAX_AGE_S,
    }
}

impl Fetching {
    fn new() -> Self {
        let (keys, wishes) = RemoteKeys::new(source("https://id.example.com/keys"), None);
        let remotes = Remotes { connection: Some(Arc::clone(&keys)), subscription: None };
        let verifier = Verifier::load(&Settings::default(), &remotes).expect("no files");
        Self { keys, wishes, verifier, resumed: Arc::default() }
    }

    /// A fetch that brings these; how many waited for it.
    fn fetch(&self, set: &[Value], now_s: u64) -> u32 {
        self.keys.begin(now_s);
        self.brought(set, now_s)
    }

    fn brought(&self, set: &[Value], now_s: u64) -> u32 {
        let change =
            self.keys.take(json!({ "keys": set }).to_string().as_bytes(), now_s).ok().expect("a set");
        assert_eq!(change.keys, set.len());
        self.heard(change.waiters)
    }

    fn failed(&self) -> u32 {
        let waiters = self.keys.fail(Fetched::Late);
        self.heard(waiters)
    }

    fn heard(&self, waiters: Waiters) -> u32 {
        self.resumed.store(0, Ordering::Relaxed);
        waiters.resume();
        self.resumed.load(Ordering::Relaxed)
    }

    fn shown(&self, token: &str, now_s: u64) -> Result<String, TokenError> {
        self.verifier.connection(token, now_s, false).map(|claims| claims.user)
    }

    /// Shows a token as a desk does: waits where that may help.
    fn ask(&self, token: &str, now_s: u64) -> Asked {
        let resumed = Arc::clone(&self.resumed);
        let resume: Resume = Box::new(move || {
            resumed.fetch_add(1, Ordering::Relaxed);
        });
        match self.verifier.wait(Purpose::Connection, token, now_s, resume) {
            Wait::Begun => Asked::Waits,
            Wait::Over(_) => Asked::Over,
            Wait::Refused => Asked::Refused,
        }
    }

    fn wished(&self) -> usize {
        self.wishes.try_iter().count()
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
    fetching.fetch(&[issuer.jwk("a")], NOW);
    assert_eq!(fetching.shown(&token, NOW + MAX_AGE_S).as_deref(), Ok("a"), "the last good ones count");
    for how in [Fetched::Unreachable, Fetched::Late, Fetched::Status, Fetched::Redirected, Fetched::TooLong] {
        fetching.keys.begin(NOW + 1);
        fetching.keys.fail(how).resume();
    }
    for answer in ["{}", "", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}"#] {
        fetching.keys.begin(NOW + 1);
        assert!(fetching.keys.take(answer.as_bytes(), NOW + MAX_AGE_S).is_err(), "{answer}");
    }
    assert_eq!(fetching.shown(&token, NOW + MAX_AGE_S).as_deref(), Ok("a"), "failures change nothing");
    assert!(fetching.keys.has_keys(NOW + MAX_AGE_S) && !fetching.keys.has_keys(NOW + MAX_AGE_S + 1));
    assert_eq!(fetching.shown(&token, NOW + MAX_AGE_S + 1), Err(TokenError::Unavailable), "too old");
    assert_eq!(
        fetching.shown(&token, NOW - MAX_AGE_S - 1),
        Err(TokenError::Unavailable),
        "the clock was set back"
    );
    fetching.fetch(&[issuer.jwk("a")], NOW + MAX_AGE_S + 2);
    assert_eq!(fetching.shown(&token, NOW + MAX_AGE_S + 2).as_deref(), Ok("a"));
    assert_eq!(fetching.keys.fetches(), [2, 1, 1, 1, 1, 1, 4]);
}

#[test]
fn a_new_key_is_waited_for_and_an_old_one_is_gone() {
    let fetching = Fetching::new();
    let (old, new) = (Issuer::ed25519(), Issuer::ed25519());
    let (of_old, of_new) = (token(&old, "old"), token(&new, "new"));
    fetching.fetch(&[old.jwk("old")], NOW);
    assert_eq!(fetching.wished(), 0);
    assert_eq!(fetching.ask(&of_old, NOW), Asked::Over, "it is there");
    assert_eq!(fetching.shown(&of_new, NOW), Err(TokenError::Unavailable));
    assert_eq!((fetching.ask(&of_new, NOW), fetching.wished()), (Asked::Waits, 1));
    assert_eq!((fetching.ask(&of_new, NOW), fetching.wished()), (Asked::Waits, 0), "one fetch for all");
    assert_eq!(fetching.fetch(&[new.jwk("new")], NOW), 2);
    assert_eq!(fetching.shown(&of_new, NOW).as_deref(), Ok("new"));
    assert_eq!(fetching.shown(&token(&old, "new"), NOW), Err(flaw(Flaw::Signature)));
    assert_eq!(fetching.shown(&of_old, NOW), Err(TokenError::Unavailable), "it may come back");
}

#[test]
fn a_name_is_unknown_if_a_later_fetch_does_not_bring_it() {
    let fetching = Fetching::new();
    let (ours, theirs) = (Issuer::ed25519(), Issuer::ed25519());
    let set = [ours.jwk("a")];
    fetching.fetch(&set, NOW);
    let (early, late) = (token(&theirs, "early"), token(&theirs, "late"));
    assert_eq!(fetching.ask(&early, NOW), Asked::Waits);
    fetching.keys.begin(NOW);
    // A fetch that is under way cannot speak for what is asked for now.
    assert_eq!(fetching.ask(&late, NOW), Asked::Waits);
    assert_eq!(fetching.brought(&set, NOW), 2);
    assert_eq!(fetching.shown(&early, NOW), Err(flaw(Flaw::Key)));
    assert_eq!(fetching.ask(&early, NOW), Asked::Over);
    assert_eq!(fetching.shown(&late, NOW), Err(TokenError::Unavailable));
    // And the next may not be asked for yet.
    assert_eq!((fetching.ask(&late, NOW + JWKS_ASK_S - 1), fetching.wished()), (Asked::Refused, 1));
    assert_eq!(fetching.shown(&early, NOW + JWKS_ASK_S), Err(TokenError::Unavailable), "it is not for ever");
    assert_eq!((fetching.ask(&early, NOW + JWKS_ASK_S), fetching.wished()), (Asked::Waits, 1));
    // A failure speaks for nothing.
    fetching.keys.begin(NOW + JWKS_ASK_S);
    assert_eq!(fetching.failed(), 1);
    assert_eq!(fetching.shown(&early, NOW + JWKS_ASK_S), Err(TokenError::Unavailable));
    assert_eq!(fetching.ask(&early, NOW + JWKS_ASK_S), Asked::Refused);
    let (unknown, keyless) = fetching.keys.refused();
    assert_eq!((unknown, keyless), (3, 0));
}

#[test]
fn without_keys_every_name_may_come() {
    let fetching = Fetching::new();
    let issuer = Issuer::ed25519();
    let token = token(&issuer, "a");
    // The first fetch is under way.
    fetching.keys.begin(NOW);
    assert_eq!((fetching.ask(&token, NOW), fetching.wished()), (Asked::Waits, 0));
    assert_eq!(fetching.failed(), 1);
    assert_eq!((fetching.ask(&token, NOW + 1), fetching.wished()), (Asked::Waits, 1));
    fetching.keys.begin(NOW + 1);
    assert_eq!(fetching.failed(), 1);
    assert_eq!((fetching.ask(&token, NOW + 2), fetching.wished()), (Asked::Refused, 0));
    assert_eq!(fetching.keys.refused(), (0, 1));
    fetching.fetch(&[issuer.jwk("a")], NOW + 3);
    assert_eq!(fetching.shown(&token, NOW + 3).as_deref(), Ok("a"));
    // A token without a name, and one with a secret's algorithm, wait for nothing.
    let nameless = issuer.token("EdDSA", None, &json!({ "sub": "u" }));
    let of_secret = with_secret(jsonwebtoken::Algorithm::HS256, SECRET, &json!({ "sub": "u" }));
    for other in [&nameless, &of_secret] {
        assert_eq!(fetching.shown(other, NOW + 20), Err(flaw(Flaw::Key)));
        assert_eq!((fetching.ask(other, NOW + 20), fetching.wished()), (Asked::Refused, 0));
    }
}

#[test]
fn names_without_end_cause_one_fetch_and_are_not_all_remembered() {
    let fetching = Fetching::new();
    let (ours, theirs) = (Issuer::ed25519(), Issuer::ed25519());
    let set = [ours.jwk("a")];
    fetching.fetch(&set, NOW);
    let nonsense = |n: usize| token(&theirs, &format!("nonsense-{n}"));
    for n in 0..2 * KIDS_ABSENT_MAX {
        assert_eq!(fetching.ask(&nonsense(n), NOW), Asked::Waits);
    }
    assert_eq!(fetching.wished(), 1);
    assert_eq!(fetching.shown(&token(&ours, "a"), NOW).as_deref(), Ok("a"), "others are served meanwhile");
    assert_eq!(fetching.fetch(&set, NOW), 2 * KIDS_ABSENT_MAX as u32);
    assert_eq!(fetching.shown(&nonsense(0), NOW), Err(flaw(Flaw::Key)));
    assert_eq!(fetching.shown(&nonsense(2 * KIDS_ABSENT_MAX - 1), NOW), Err(TokenError::Unavailable));
    for n in 0..2 * KIDS_ABSENT_MAX {
        assert_ne!(fetching.ask(&nonsense(n), NOW + 1), Asked::Waits);
    }
    assert_eq!(fetching.wished(), 0);
    // A name as long as a token is not asked for at all.
    let long = token(&theirs, &"k".repeat(5_000));
    assert_eq!(fetching.shown(&long, NOW + 20), Err(flaw(Flaw::Key)));
    assert_eq!((fetching.ask(&long, NOW + 20), fetching.wished()), (Asked::Refused, 0));
}

#[test]
fn a_key_of_a_file_needs_no_address() {
    let (ours, theirs) = (Issuer::ed25519(), Issuer::ed25519());
    let file = crate::token::testing::File::with(&json!({ "keys": [ours.jwk("a")] }).to_string());
    let (keys, wishes) = RemoteKeys::new(source("https://id.example.com/keys"), None);
    let remotes = Remotes { connection: Some(keys), subscription: None };
    let settings =
        Settings { token: Token { jwks_file: Some(file.path()), ..Token::default() }, ..Settings::default() };
    let verifier = Verifier::load(&settings, &remotes).expect("keys");
    assert_eq!(verifier.connection(&token(&ours, "a"), NOW, false), Ok(user("a")));
    assert_eq!(verifier.connection(&token(&theirs, "a"), NOW, false), Err(flaw(Flaw::Signature)));
    assert_eq!(verifier.connection(&token(&theirs, "b"), NOW, false), Err(TokenError::Unavailable));
    assert_eq!(wishes.try_iter().count(), 0);
}

#[test]
fn what_nobody_needs_is_not_wished_for_any_more() {
    let fetching = Fetching::new();
    let (other, _wishes) = RemoteKeys::new(source("https://id.example.com/other"), Some(&fetching.keys));
    assert_eq!(other.last(), None);
    fetching.fetch(&[Issuer::ed25519().jwk("a")], NOW);
    let patient = KeySource { max_age_s: 2 * MAX_AGE_S, ..fetching.keys.source().clone() };
    let (patient, _wishes) = RemoteKeys::new(patient, Some(&fetching.keys));
    assert_eq!(patient.last(), Some((NOW, 1)), "the same address under other settings");
    let Fetching { keys, wishes, verifier, .. } = fetching;
    drop((keys, verifier));
    assert_eq!(wishes.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected));
}

#[test]
fn desks_keep_room_for_others_while_keys_are_fetched() {
    let (ours, theirs) = (Issuer::ed25519(), Issuer::ed25519());
    let (keys, _wishes) = RemoteKeys::new(source("https://id.example.com/keys"), None);
    keys.begin(NOW);
    assert!(keys.take(json!({ "keys": [ours.jwk("a")] }).to_string().as_bytes(), NOW).is_ok());
    let remotes = Remotes { connection: Some(Arc::clone(&keys)), subscription: None };
    let verifier = Arc::new(Verifier::load(&Settings::default(), &remotes).expect("no files"));
    let job = |slot: u32, token: &str| Job {
        by: crate::flow::Key { slot, generation: 1 },
        purpose: Purpose::Connection,
        token: token.into(),
        now_s: NOW,
        ignores_time: false,
        verifier: Arc::clone(&verifier),
    };
    // Room for eight in each of so many desks: four may wait.
    let wakes: Vec<Wake> = (0..1_024).map(|_| Arc::new(|| {}) as Wake).collect();
    let mut desk = open_desks(1, wakes).expect("a thread").remove(0);
    let verdicts = Mutex::new(Vec::new());
    let hear = |desk: &mut Desk, open: usize| {
        while desk.open() > open {
            match desk.poll() {
                Some(verdict) => verdicts.lock().expect("sound").push((verdict.by.slot, verdict.judged)),
                None => std::thread::yield_now(),
            }
        }
        std::mem::take(&mut *verdicts.lock().expect("sound"))
    };
    for slot in 0..5 {
        assert!(desk.hand_in(job(slot, &token(&theirs, "b"))));
    }
    assert!(desk.hand_in(job(9, &token(&ours, "a"))));
    assert_eq!(
        hear(&mut desk, 4),
        [(4, Err(TokenError::Unavailable)), (9, Ok(Claims::Connection(user("a"))))]
    );
    keys.begin(NOW);
    let change = keys.take(json!({ "keys": [theirs.jwk("b")] }).to_string().as_bytes(), NOW);
    change.ok().expect("a set").waiters.resume();
    let expected: Vec<_> = (0..4).map(|slot| (slot, Ok(Claims::Connection(user("b"))))).collect();
    assert_eq!(hear(&mut desk, 0), expected);
    // And there is room for as many again.
    assert!(desk.hand_in(job(1, &token(&theirs, "b"))));
    assert_eq!(hear(&mut desk, 0), [(1, Ok(Claims::Connection(user("b"))))]);
}
