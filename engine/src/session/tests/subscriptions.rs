//! What tokens say of subscriptions: for how long, what is told with the answer, and how one goes on.

use super::tokens::{Bearer, NOW_S, connect, hmac, subscribe};
use super::*;
use crate::flow::{Answer, Term};
use crate::revocations::Revocations;
use crate::revocations::tests as revocations;
use serde_json::{Value, json};

impl Bearer {
    /// A client of ann's, connected.
    fn ann() -> Self {
        let mut bearer = Self::with_secret(|_| {});
        bearer.say(&[connect(&hmac(json!({ "sub": "ann", "iat": NOW_S })))]);
        bearer.heard.commands.clear();
        bearer
    }

    /// What the router is asked, with what it would grant.
    fn granted(&mut self) -> Option<(String, Result<Option<Term>, u32>)> {
        match self.heard.commands.pop()? {
            Command::Subscribe { channel, verdict, .. } | Command::Refresh { channel, verdict, .. } => {
                Some((channel.to_string(), verdict.map_err(|code| code.code())))
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the client is told when the router answers request 2.
    fn answered(&mut self, answer: Answer) -> String {
        let delivery = Delivery { to: self.key, id: 2, answer };
        self.talk(|clients, talk| {
            clients.answer(&delivery, talk).unwrap();
            Ok(())
        })
    }
}

fn shown(changes: &Value) -> String {
    let mut claims = json!({ "sub": "ann", "channel": "$a", "iat": NOW_S });
    claims.as_object_mut().expect("an object").extend(changes.as_object().expect("one").clone());
    hmac(claims)
}

fn refresh(channel: &str, token: &str) -> Value {
    json!({ "id": 2, "sub_refresh": { "channel": channel, "token": token } })
}

#[test]
fn a_token_says_how_long_a_subscription_lasts() {
    for (claims, ends_at_s, told) in [
        (json!({}), Ok(None), r#""subscribe":{}"#),
        (json!({ "exp": NOW_S + 60 }), Ok(Some(NOW_S + 60)), r#""subscribe":{"expires":true,"ttl":60}"#),
        (json!({ "exp": NOW_S + 60, "expire_at": 0 }), Ok(None), r#""subscribe":{}"#),
        (json!({ "exp": NOW_S + 1, "expire_at": NOW_S + 90 }), Ok(Some(NOW_S + 90)), r#""ttl":90"#),
        (json!({ "expire_at": 1_u64 << 40 }), Ok(Some(u32::MAX.into())), r#""ttl":31536000"#),
        (json!({ "expire_at": NOW_S }), Err(110), ""),
        (json!({ "exp": NOW_S }), Err(109), ""),
        // One that can be taken back has a term as well.
        (json!({ "jti": "t-1" }), Ok(Some(0)), r#""subscribe":{}"#),
        (json!({ "jti": "" }), Ok(None), r#""subscribe":{}"#),
        (json!({ "data": { "n": 1 } }), Ok(None), r#""subscribe":{"data":{"n":1}}"#),
        (json!({ "exp": NOW_S + 5, "b64data": "Nw==" }), Ok(Some(NOW_S + 5)), r#""ttl":5,"data":7"#),
    ] {
        for (command, is_refresh) in
            [(subscribe(2, "$a", &shown(&claims)), false), (refresh("$a", &shown(&claims)), true)]
        {
            let mut bearer = Bearer::ann();
            assert_eq!(bearer.say(&[command]), "", "the router answers");
            let (channel, verdict) = bearer.granted().expect("a command");
            let ends = verdict.map(|term| term.map(|term| u64::from(term.ends_at_s)));
            assert_eq!((channel.as_str(), ends), ("$a", ends_at_s), "{claims}, refresh: {is_refresh}");
            if ends_at_s.is_err() {
                continue;
            }
            let answer = if is_refresh { Answer::Refreshed } else { Answer::Subscribed(None) };
            let said = bearer.answered(answer);
            if !is_refresh {
                assert!(said.contains(told), "{claims}: {said}");
                assert!(bearer.answered(Answer::Subscribed(None)).contains(r#""subscribe":{}"#), "told once");
            } else {
                let expires = told.contains("ttl");
                assert!(said.contains(r#""sub_refresh":{"#) && said.contains(r#""expires":true"#) == expires);
            }
        }
    }
}

#[test]
fn a_refresh_of_a_subscription_is_judged_like_the_first_token() {
    let own = crate::flow::client_id(NodeId(1), KEY.number(0));
    for (channel, token, expected) in [
        ("$a", shown(&json!({ "client": own })), Ok(Ok("$a"))),
        ("", shown(&json!({})), Ok(Ok("$a"))),
        ("$a", shown(&json!({ "exp": NOW_S })), Ok(Err(109))),
        ("$a", shown(&json!({ "jti": "bad" })), Ok(Err(103))),
        ("$a", shown(&json!({ "iat": NOW_S - 100 })), Ok(Err(103))),
        ("$a", shown(&json!({ "client": "another" })), Err("close 3500")),
        ("$a", shown(&json!({ "sub": "bob" })), Err("close 3500")),
        ("$a", shown(&json!({ "channel": "$b" })), Err("close 3500")),
        ("$a", hmac(json!({ "sub": "ann" })), Err("close 3500")),
        ("$a", "nonsense".into(), Err("close 3500")),
        ("$a", String::new(), Err(r#""code":107"#)),
        (&"x".repeat(256), shown(&json!({})), Err(r#""code":107"#)),
    ] {
        let mut bearer = Bearer::ann();
        let mut set = Revocations::default();
        for revocation in
            [revocations::token("bad", NOW_S + 1_000), revocations::user("ann", NOW_S - 50, NOW_S + 1_000)]
        {
            set.add(&revocation).expect("room");
        }
        bearer.clients.revoked = Revoked::new(&Arc::new(set), bearer.clients.identity.hasher);
        let said = bearer.say(&[refresh(channel, &token)]);
        match expected {
            Ok(expected) => {
                let (asked, verdict) = bearer.granted().expect("a command");
                assert_eq!((asked.as_str(), verdict.map(drop)), ("$a", expected.map(drop)), "{token}");
            }
            Err(expected) => assert!(said.contains(expected), "{channel}: {said}"),
        }
    }
    let mut bearer = Bearer::ann();
    let other = json!({ "id": 2, "sub_refresh": { "channel": "$a", "token": shown(&json!({})), "type": 4 } });
    assert!(bearer.say(&[other]).contains(r#""code":103"#));
}

#[test]
fn a_subscription_that_was_taken_away_is_told_of() {
    use roadstead_protocol::UnsubscribeCode;
    let mut bearer = Bearer::ann();
    let ended = |code| Answer::Ended { channel: "$a".into(), tag: 7, code };
    let said = bearer.answered(ended(UnsubscribeCode::Expired));
    let push = r#"{"push":{"channel":"$a","unsubscribe":{"code":2501,"reason":"subscription expired"}}}"#;
    assert!(said.contains(push), "{said}");
    assert!(
        bearer.answered(ended(UnsubscribeCode::Server)).contains(r#""code":2000,"reason":"server unsub"#)
    );
}
