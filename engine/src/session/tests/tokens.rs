//! What tokens open, at once and after a wait.

use std::thread;
use std::time::Duration;

use super::*;
use crate::flow;
use crate::settings::{Secret, Token};
use crate::token::testing::{File, Issuer, with_secret};
use crate::token::{Desk, Remotes, Wake, open_desks};
use jsonwebtoken::Algorithm;
use roadstead_protocol::DisconnectCode;
use serde_json::{Value, json};

const SECRET: &[u8] = b"an hmac secret of thirty-two bytes";
pub(super) const NOW_S: u64 = 1_000_000;

/// A client with tokens, over a desk or without one.
pub(super) struct Bearer {
    pub(super) clients: Clients,
    pub(super) key: Key,
    wire: Wire,
    pub(super) heard: Heard,
    pub(super) tally: Tally,
    now_s: u64,
}

impl Bearer {
    fn of(settings: Settings, desk: Option<Desk>) -> Self {
        let settings = Arc::new(settings);
        let verifier = Arc::new(Verifier::load(&settings, &Remotes::default()).expect("keys"));
        let hasher = NameHasher::new((1, 2));
        let identity = Identity { node: NodeId(1), shard: 0, connections_max: 1, hasher, seed: 3 };
        let rates = Rates::new(Arc::new(Guards::new(Arc::clone(&settings), (1, 2))), &settings.guard);
        let clients = Clients::new(settings, verifier, desk, identity, rates);
        let (wire, heard) = (Wire::new(true), Heard::default());
        Self { clients, key: KEY, wire, heard, tally: Tally::default(), now_s: NOW_S }
    }

    pub(super) fn with_secret(change: impl FnOnce(&mut Settings)) -> Self {
        let token = Token { hmac_secret: Some(Secret::new(SECRET)), ..Token::default() };
        let mut settings = Settings { token, ..Settings::default() };
        change(&mut settings);
        Self::of(settings, None)
    }

    pub(super) fn talk(
        &mut self,
        does: impl FnOnce(&mut Clients, &mut Talk<'_>) -> Result<(), DisconnectCode>,
    ) -> String {
        let now = Now { ms: 0, unix_ms: self.now_s * 1000 };
        let Self { clients, key, wire, heard, tally, .. } = self;
        let mut talk = Talk { key: *key, wire, now, tally, heard };
        let outcome = does(clients, &mut talk);
        let said = self.heard.replies.freeze(&mut Vec::new());
        match outcome {
            Ok(()) => String::from_utf8_lossy(&said).into_owned(),
            Err(code) => format!("close {}", code.code()),
        }
    }

    /// Says commands in one message; returns what is said because of them, or the code of the close.
    pub(super) fn say(&mut self, commands: &[Value]) -> String {
        let lines: Vec<_> = commands.iter().map(Value::to_string).collect();
        self.talk(|clients, talk| clients.message(talk, lines.join("\n").as_bytes()))
    }

    /// Hears the next verdict, whenever it comes.
    fn hear(&mut self) -> String {
        let verdict = loop {
            match self.clients.poll_verdict() {
                Some(verdict) => break verdict,
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        self.talk(|clients, talk| clients.hear_verdict(talk, verdict))
    }

    /// The channels of which the router is asked, with what became of it.
    fn asked(&mut self) -> Vec<(String, Result<(), u32>)> {
        let asked = self.heard.commands.drain(..).filter_map(|command| match command {
            Command::Subscribe { channel, verdict, .. } => {
                Some((channel.to_string(), verdict.map(drop).map_err(|code| code.code())))
            }
            _ => None,
        });
        asked.collect()
    }
}

pub(super) fn hmac(claims: Value) -> String {
    with_secret(Algorithm::HS256, SECRET, &claims)
}

pub(super) fn connect(token: &str) -> Value {
    json!({ "id": 1, "connect": { "token": token } })
}

pub(super) fn subscribe(id: u32, channel: &str, token: &str) -> Value {
    json!({ "id": id, "subscribe": { "channel": channel, "token": token } })
}

fn desk() -> Desk {
    open_desks(1, vec![Arc::new(|| {}) as Wake]).expect("a thread").pop().expect("one")
}

#[test]
fn what_is_said_behind_a_token_waits_for_its_verdict() {
    let issuer = Issuer::p256();
    let file = File::with(&issuer.pem());
    let token = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
    let signed = |claims: Value| issuer.token("ES256", None, &claims);
    let mut bearer = Bearer::of(Settings { token, ..Settings::default() }, Some(desk()));
    let for_channel = |channel: &str| signed(json!({ "sub": "ann", "channel": channel }));
    let said = bearer.say(&[
        connect(&signed(json!({ "sub": "ann" }))),
        subscribe(2, "a", &for_channel("a")),
        subscribe(3, "b", ""),
        subscribe(4, "c", &for_channel("c")),
    ]);
    assert_eq!((said.as_str(), bearer.wire.awaits_verdict), ("", true));
    assert_eq!(bearer.say(&[subscribe(5, "d", "")]), "", "a later message waits behind the first");
    assert!(bearer.clients.waiters.bytes() > 0);
    assert!(bearer.asked().is_empty() && !bearer.wire.has_session());
    assert!(bearer.hear().contains(r#""connect":{"client":"#));
    assert!(bearer.wire.has_session() && bearer.asked().is_empty(), "the token of a is judged now");
    assert_eq!(bearer.hear(), "");
    assert_eq!(bearer.asked(), [("a".into(), Ok(())), ("b".into(), Err(103))]);
    bearer.hear();
    assert_eq!(bearer.asked(), [("c".into(), Ok(())), ("d".into(), Err(103))]);
    assert_eq!((bearer.wire.awaits_verdict, bearer.clients.waiters.bytes()), (false, 0));
    assert_eq!(bearer.tally.tokens.accepted, 3);
}

#[test]
fn a_verdict_is_for_the_connection_that_asked() {
    let issuer = Issuer::ed25519();
    let file = File::with(&issuer.pem());
    let token = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
    let mut bearer = Bearer::of(Settings { token, ..Settings::default() }, Some(desk()));
    let of = |user: &str| connect(&issuer.token("EdDSA", None, &json!({ "sub": user })));
    bearer.say(&[of("first")]);
    // The first one goes, and the slot has another when the verdict comes.
    bearer.clients.end(KEY.slot, &mut bearer.wire);
    bearer.key = Key { generation: KEY.generation + 1, ..KEY };
    bearer.wire = Wire::new(true);
    bearer.say(&[of("second")]);
    while bearer.clients.desk.as_ref().is_some_and(|desk| desk.open() > 0) {
        let verdict = loop {
            match bearer.clients.poll_verdict() {
                Some(verdict) => break verdict,
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        if verdict.by == bearer.key {
            bearer.talk(|clients, talk| clients.hear_verdict(talk, verdict));
        } else {
            assert!(bearer.clients.waiters.take(verdict.by).is_none());
        }
    }
    assert_eq!(&**bearer.clients.user(&bearer.wire), "second");
    assert_eq!(bearer.clients.len(), 1);
}

#[test]
fn a_bad_token_ends_what_waits_behind_it() {
    let (issuer, other) = (Issuer::p256(), Issuer::p256());
    let file = File::with(&issuer.pem());
    let token = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
    let settings = Settings { token, ..Settings::default() };
    for (issuer, claims, expected) in [
        (&other, json!({ "sub": "ann" }), "close 3500"),
        (&issuer, json!({ "sub": "ann", "channel": "a" }), "close 3500"),
        (&issuer, json!({ "sub": "ann", "exp": NOW_S }), r#""code":109"#),
        (&issuer, json!({ "sub": "ann", "expire_at": NOW_S }), r#""code":110"#),
    ] {
        let mut bearer = Bearer::of(settings.clone(), Some(desk()));
        bearer.say(&[connect(&issuer.token("ES256", None, &claims)), subscribe(2, "a", "")]);
        let said = bearer.hear();
        assert!(said.contains(expected), "{claims}: {said}");
        assert!(bearer.asked().is_empty() && !bearer.wire.has_session(), "{claims}");
        assert_eq!(
            bearer.say(&[subscribe(3, "a", "")]),
            if expected.starts_with("close") { "close 3501" } else { "" }
        );
    }
}

#[test]
fn who_says_too_much_while_it_waits_is_closed_for_now() {
    let issuer = Issuer::p384();
    let file = File::with(&issuer.pem());
    let token = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
    let mut bearer = Bearer::of(Settings { token, ..Settings::default() }, Some(desk()));
    bearer.say(&[connect(&issuer.token("ES384", None, &json!({ "sub": "ann" })))]);
    let large = json!({ "id": 2, "publish": { "channel": "a", "data": "x".repeat(60_000) } });
    assert_eq!(bearer.say(std::slice::from_ref(&large)), "");
    assert_eq!(bearer.say(&[large]), "close 3013");
}

#[test]
fn subscription_tokens_open_channels() {
    let with = |changes: Value| {
        let mut claims = json!({ "sub": "ann", "channel": "$a" });
        claims.as_object_mut().expect("an object").extend(changes.as_object().expect("one").clone());
        hmac(claims)
    };
    let own = flow::client_id(NodeId(1), KEY.number(0));
    for (token, expected) in [
        (with(json!({})), Ok(Ok(()))),
        (with(json!({ "exp": NOW_S + 9 })), Ok(Ok(()))),
        (with(json!({ "client": own })), Ok(Ok(()))),
        (with(json!({ "exp": NOW_S })), Ok(Err(109))),
        ("nonsense".into(), Ok(Err(103))),
        (hmac(json!({ "sub": "ann" })), Ok(Err(103))),
        (with_secret(Algorithm::HS256, b"other", &json!({ "sub": "ann", "channel": "$a" })), Ok(Err(103))),
        (String::new(), Ok(Err(103))),
        (with(json!({ "channel": "$b" })), Err("close 3500")),
        (with(json!({ "sub": "bob" })), Err("close 3500")),
        (with(json!({ "sub": null })), Err("close 3500")),
        (with(json!({ "client": "another" })), Err("close 3500")),
    ] {
        let mut bearer = Bearer::with_secret(|_| {});
        bearer.say(&[connect(&hmac(json!({ "sub": "ann" })))]);
        let said = bearer.say(&[subscribe(2, "$a", &token)]);
        match expected {
            Ok(verdict) => assert_eq!(bearer.asked(), [("$a".into(), verdict)], "{token}: {said}"),
            Err(close) => assert_eq!(said, close, "{token}"),
        }
    }
}

#[test]
fn connection_tokens_bring_channels() {
    for (claims, expected) in [
        (json!({ "sub": "ann" }), Ok(vec!["#ann"])),
        (json!({ "sub": "ann", "channels": ["b", "a", "#ann"] }), Ok(vec!["#ann", "a", "b"])),
        (json!({ "sub": "ann", "subs": { "a": { "data": { "n": 1 } } } }), Ok(vec!["#ann", "a"])),
        (json!({ "channels": ["a"] }), Ok(vec!["a"])),
        (json!({ "sub": "ann", "channels": ["none:a"] }), Err(r#""code":102"#)),
        (json!({ "sub": "ann", "channels": [""] }), Err(r#""code":107"#)),
        (json!({ "sub": "ann", "channels": ["a", "b", "c", "d"] }), Err("close 3505")),
    ] {
        let mut bearer = Bearer::with_secret(|settings| {
            settings.client.user_personal_channel = true;
            settings.limits.channels_per_client = 4;
        });
        let said = bearer.say(&[connect(&hmac(claims.clone()))]);
        match expected {
            Ok(channels) => {
                let asked: Vec<_> = bearer.asked().into_iter().map(|(channel, _)| channel).collect();
                assert_eq!(asked, channels, "{claims}");
                assert!(
                    channels.iter().all(|channel| said.contains(&format!(r#""{channel}":{{"#))),
                    "{said}"
                );
                assert_eq!(said.contains(r#""data":{"n":1}"#), claims.get("subs").is_some(), "{said}");
            }
            Err(expected) => {
                assert!(said.contains(expected), "{claims}: {said}");
                assert!(!bearer.wire.has_session());
            }
        }
    }
}

#[test]
fn a_refresh_changes_neither_user_nor_channels() {
    let refresh = |token: &str| json!({ "id": 9, "refresh": { "token": token } });
    for (claims, expected) in [
        (json!({ "sub": "ann", "channels": ["a"], "exp": NOW_S + 60 }), r#""ttl":60"#),
        (
            json!({ "sub": "ann", "channels": ["a"], "expire_at": 0, "exp": NOW_S + 60 }),
            r#""refresh":{"client""#,
        ),
        (json!({ "sub": "bob", "channels": ["a"] }), "close 3500"),
        (json!({ "sub": "ann", "channels": ["b"] }), "close 3010"),
        (json!({ "sub": "ann", "channels": ["a", "b"] }), "close 3010"),
        (json!({ "sub": "ann" }), "close 3010"),
        (json!({ "sub": "ann", "channels": ["a"], "exp": NOW_S }), "close 3005"),
        (json!({ "sub": "ann", "channels": ["a"], "expire_at": NOW_S }), "close 3005"),
        (json!({ "sub": "ann", "channel": "a" }), "close 3500"),
    ] {
        let mut bearer = Bearer::with_secret(|_| {});
        let first = json!({ "sub": "ann", "channels": ["a"], "exp": NOW_S + 30 });
        assert!(bearer.say(&[connect(&hmac(first))]).contains(r#""ttl":30"#));
        let said = bearer.say(&[refresh(&hmac(claims.clone()))]);
        assert!(said.contains(expected), "{claims}: {said}");
    }
    let mut bearer = Bearer::with_secret(|_| {});
    bearer.say(&[connect(&hmac(json!({ "sub": "ann" })))]);
    assert_eq!(bearer.say(&[refresh("")]), "close 3501");
}
