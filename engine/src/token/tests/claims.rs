//! Claims, one by one and together.

use jsonwebtoken::Algorithm;
use serde_json::value::RawValue;

use super::*;

const CLAIMS: TokenError = TokenError::Invalid(Flaw::Claims);

fn verify(token: &str) -> Result<ConnectionClaims, TokenError> {
    load(&hmac()).connection(token, NOW, false)
}

#[test]
fn claims_decide() {
    let until = |at| ConnectionClaims { expires_at_s: Some(at), ..user("u") };
    let with = |info: &str| ConnectionClaims { info: Some(info.into()), ..user("u") };
    for (claims, expected) in [
        (json!({ "sub": "u" }), Ok(user("u"))),
        (json!({}), Ok(user(""))),
        (json!({ "sub": "" }), Ok(user(""))),
        (json!({ "sub": null }), Ok(user(""))),
        (json!({ "sub": 7 }), Err(CLAIMS)),
        (json!({ "sub": ["u"] }), Err(CLAIMS)),
        (json!({ "sub": "u", "exp": NOW + 1 }), Ok(until(NOW + 1))),
        (json!({ "sub": "u", "exp": NOW }), Err(TokenError::Expired)),
        (json!({ "sub": "u", "exp": 0 }), Err(TokenError::Expired)),
        (json!({ "sub": "u", "exp": NOW as f64 + 9.5 }), Ok(until(NOW + 9))),
        (json!({ "sub": "u", "exp": -5 }), Err(TokenError::Expired)),
        (json!({ "sub": "u", "exp": "soon" }), Err(CLAIMS)),
        (json!({ "sub": "u", "nbf": NOW }), Ok(user("u"))),
        (json!({ "sub": "u", "nbf": NOW + 1 }), Err(TokenError::Expired)),
        (json!({ "sub": "u", "exp": NOW + 1, "expire_at": 0 }), Ok(user("u"))),
        (json!({ "sub": "u", "exp": NOW + 1, "expire_at": NOW + 60 }), Ok(until(NOW + 60))),
        (json!({ "sub": "u", "exp": NOW, "expire_at": NOW + 60 }), Err(TokenError::Expired)),
        (json!({ "sub": "u", "channel": "c" }), Err(CLAIMS)),
        (json!({ "sub": "u", "channel": null }), Err(CLAIMS)),
        (json!({ "sub": "u", "channel": "c", "exp": 1 }), Err(CLAIMS)),
        (json!({ "sub": "u", "info": { "n": 1 } }), Ok(with(r#"{"n":1}"#))),
        (json!({ "sub": "u", "info": null }), Ok(user("u"))),
        (json!({ "sub": "u", "info": 1, "b64info": "eyJuIjoxfQ==" }), Ok(with(r#"{"n":1}"#))),
        (json!({ "sub": "u", "b64info": "bm90IGpzb24=" }), Err(CLAIMS)),
        (json!({ "sub": "u", "b64info": "*" }), Err(CLAIMS)),
        // {"n":"<ff><fe>"}: JSON but for the encoding of its string.
        (json!({ "sub": "u", "b64info": "eyJuIjoi//4ifQ==" }), Err(CLAIMS)),
    ] {
        assert_eq!(verify(&with_secret(Algorithm::HS256, SECRET, &claims)), expected, "{claims}");
    }
}

#[test]
fn subscription_claims_decide() {
    let claims =
        SubscriptionClaims { channel: "c".into(), user: "u".into(), ..SubscriptionClaims::default() };
    let until = |at| SubscriptionClaims { expires_at_s: Some(at), ..claims.clone() };
    for (json, expected) in [
        (json!({ "sub": "u", "channel": "c" }), Ok(claims.clone())),
        (json!({ "channel": "c" }), Ok(SubscriptionClaims { user: String::new(), ..claims.clone() })),
        (json!({ "sub": "u" }), Err(CLAIMS)),
        (json!({ "sub": "u", "channel": null }), Err(CLAIMS)),
        (json!({ "sub": "u", "channel": "" }), Err(CLAIMS)),
        (json!({ "sub": "u", "channel": ["c"] }), Err(CLAIMS)),
        (json!({ "sub": "u", "channel": "c", "exp": NOW }), Err(TokenError::Expired)),
        (json!({ "sub": "u", "channel": "c", "nbf": NOW + 1 }), Err(TokenError::Expired)),
        (json!({ "sub": "u", "channel": "c", "exp": NOW + 5 }), Ok(until(NOW + 5))),
        (json!({ "sub": "u", "channel": "c", "exp": NOW + 5, "expire_at": NOW + 9 }), Ok(until(NOW + 9))),
        (json!({ "sub": "u", "channel": "c", "exp": NOW + 5, "expire_at": 0 }), Ok(claims.clone())),
        (
            json!({ "sub": "u", "channel": "c", "client": "x", "jti": "7", "iat": NOW - 1 }),
            Ok(SubscriptionClaims {
                client: Some("x".into()),
                id: Some("7".into()),
                issued_at_s: Some(NOW - 1),
                ..claims.clone()
            }),
        ),
        (
            json!({ "sub": "u", "channel": "c", "info": { "a": 1 }, "b64data": "WzEsMl0=", "data": 3 }),
            Ok(SubscriptionClaims {
                info: Some(br#"{"a":1}"#.to_vec()),
                data: Some(b"[1,2]".to_vec()),
                ..claims.clone()
            }),
        ),
    ] {
        let token = with_secret(Algorithm::HS256, SECRET, &json);
        assert_eq!(load(&hmac()).subscription(&token, NOW, false), expected, "{json}");
    }
}

#[test]
fn connection_tokens_name_channels_and_themselves() {
    let channel = |channel: &str| ServerChannel { channel: channel.into(), ..ServerChannel::default() };
    let with = |channels| Ok(ConnectionClaims { channels, ..user("u") });
    for (json, expected) in [
        (json!({ "sub": "u", "channels": ["b", "a", "b"] }), with(vec![channel("a"), channel("b")])),
        (json!({ "sub": "u", "channels": ["a"], "subs": {} }), with(vec![channel("a")])),
        (json!({ "sub": "u", "channels": ["a"], "subs": { "z": {} } }), with(vec![channel("z")])),
        (
            json!({ "sub": "u", "subs": { "z": { "data": [1], "b64info": "Mg==", "override": { "presence": { "value": true } } } } }),
            with(vec![ServerChannel {
                data: Some(b"[1]".to_vec()),
                info: Some(b"2".to_vec()),
                ..channel("z")
            }]),
        ),
        (json!({ "sub": "u", "channels": "a" }), Err(CLAIMS)),
        (json!({ "sub": "u", "subs": ["a"] }), Err(CLAIMS)),
        (json!({ "sub": "u", "subs": { "z": { "b64data": "*" } } }), Err(CLAIMS)),
        (
            json!({ "sub": "u", "jti": "id-1", "iat": NOW - 9 }),
            Ok(ConnectionClaims { id: Some("id-1".into()), issued_at_s: Some(NOW - 9), ..user("u") }),
        ),
    ] {
        assert_eq!(verify(&with_secret(Algorithm::HS256, SECRET, &json)), expected, "{json}");
    }
}

#[test]
fn audience_and_issuer_count_when_configured() {
    let verifier = |audience: Option<&str>, issuer: Option<&str>| {
        load(&Token { audience: audience.map(Into::into), issuer: issuer.map(Into::into), ..hmac() })
    };
    for (audience, issuer, claims, good) in [
        (None, None, json!({ "aud": "x", "iss": "y" }), true),
        (Some("a"), None, json!({ "aud": "a" }), true),
        (Some("a"), None, json!({ "aud": ["b", "a"] }), true),
        (Some("a"), None, json!({ "aud": ["b"] }), false),
        (Some("a"), None, json!({}), false),
        (Some("a"), None, json!({ "aud": "b", "exp": 1 }), false),
        (None, Some("i"), json!({ "iss": "i" }), true),
        (None, Some("i"), json!({ "iss": "j" }), false),
        (None, Some("i"), json!({}), false),
    ] {
        let token = with_secret(Algorithm::HS256, SECRET, &claims);
        let result = verifier(audience, issuer).connection(&token, NOW, false);
        let flaw = if audience.is_some() { Flaw::Audience } else { Flaw::Issuer };
        let expected = if good { Ok(user("")) } else { Err(TokenError::Invalid(flaw)) };
        assert_eq!(result, expected, "{audience:?} {issuer:?} {claims}");
    }
}

#[test]
fn patterns_of_names_fit_as_a_whole() {
    let settings = Token {
        audience_regex: Some("a[0-9]+".into()),
        issuer_regex: Some("https://(id|login)\\.example".into()),
        ..hmac()
    };
    for (aud, iss, expected) in [
        (json!("a7"), "https://id.example", Ok(user(""))),
        (json!(["b", "a12"]), "https://login.example", Ok(user(""))),
        (json!("xa7"), "https://id.example", Err(flaw(Flaw::Audience))),
        (json!("a7x"), "https://id.example", Err(flaw(Flaw::Audience))),
        (json!("a7"), "https://id.example.evil", Err(flaw(Flaw::Issuer))),
        (json!("a7"), "https://idxexample", Err(flaw(Flaw::Issuer))),
    ] {
        let token = with_secret(Algorithm::HS256, SECRET, &json!({ "aud": aud, "iss": iss }));
        assert_eq!(load(&settings).connection(&token, NOW, false), expected, "{aud} {iss}");
    }
    assert!(try_load(&Token { issuer_regex: Some("(".into()), ..hmac() }).is_err());
}

#[test]
fn no_key_accepts_nothing() {
    let token = with_secret(Algorithm::HS256, b"", &json!({ "sub": "u" }));
    let verifier = load(&Token::default());
    assert_eq!(verifier.connection(&token, NOW, true), Err(TokenError::Invalid(Flaw::Key)));
}

#[test]
fn expiry_can_be_ignored() {
    let token = with_secret(Algorithm::HS256, SECRET, &json!({ "sub": "u", "exp": 1, "nbf": NOW * 2 }));
    let verifier = load(&hmac());
    assert_eq!(verifier.connection(&token, NOW, true), Ok(user("u")));
}

#[test]
fn minted_tokens_verify() {
    let settings = Token { audience: Some("a".into()), issuer: Some("i".into()), ..hmac() };
    let secret = settings.hmac_secret.clone().expect("a secret");
    let info = RawValue::from_string(r#"{ "n": 1 }"#.into()).expect("json");
    let grant = Grant {
        user: "u",
        issued_at_s: NOW,
        expires_at_s: Some(NOW + 60),
        info: Some(&info),
        audience: settings.audience.as_deref(),
        issuer: settings.issuer.as_deref(),
        ..Grant::default()
    };
    let token = mint(&Signer::with_secret(&secret), &grant).expect("minted");
    let claims = load(&settings).connection(&token, NOW, false).expect("valid");
    assert_eq!(claims.user, "u");
    assert_eq!(claims.expires_at_s, Some(NOW + 60));
    assert_eq!(claims.info.as_deref(), Some(&br#"{ "n": 1 }"#[..]));
    assert!(!format!("{secret:?} {secret}").contains("an hmac secret"));
}
