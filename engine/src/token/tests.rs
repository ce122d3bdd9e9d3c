//! What makes a token good or bad: tables over claims, signatures and keys.

use super::*;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::settings::{Secret, Token};

const SECRET: &str = "an hmac secret of thirty-two bytes";
const NOW: u64 = 1_000_000;
const CLAIMS: TokenError = TokenError::Invalid(Flaw::Claims);
const MALFORMED: TokenError = TokenError::Invalid(Flaw::Malformed);

fn settings() -> Token {
    Token { hmac_secret: Some(Secret::new(SECRET)), ..Token::default() }
}

fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signed")
}

fn verify(token: &str) -> Result<ConnectionClaims, TokenError> {
    Verifier::new(&settings()).connection(token, NOW, false)
}

fn user(name: &str) -> ConnectionClaims {
    ConnectionClaims { user: name.into(), ..ConnectionClaims::default() }
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
        assert_eq!(verify(&signed(Algorithm::HS256, SECRET, &claims)), expected, "{claims}");
    }
}

#[test]
fn only_our_signature_counts() {
    let claims = json!({ "sub": "u" });
    let good = signed(Algorithm::HS256, SECRET, &claims);
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let other = signed(Algorithm::HS256, SECRET, &json!({ "sub": "v" }));
    let (other_head, _) = other.rsplit_once('.').expect("three parts");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
    for (name, token, flaw) in [
        ("wrong secret", signed(Algorithm::HS256, "another secret", &claims), Flaw::Signature),
        ("HS384 of the same secret", signed(Algorithm::HS384, SECRET, &claims), Flaw::Key),
        ("HS512 of the same secret", signed(Algorithm::HS512, SECRET, &claims), Flaw::Key),
        ("alg none", none.clone(), Flaw::Malformed),
        ("alg none with a signature", format!("{none}{signature}"), Flaw::Malformed),
        ("alg None", format!("{}.{}.", part(&json!({ "alg": "None" })), part(&claims)), Flaw::Malformed),
        (
            "alg RS256",
            format!("{}.{}.{signature}", part(&json!({ "alg": "RS256" })), part(&claims)),
            Flaw::Key,
        ),
        ("no signature", format!("{head}."), Flaw::Signature),
        ("two parts", head.into(), Flaw::Malformed),
        ("claims of another token", format!("{other_head}.{signature}"), Flaw::Signature),
        ("claims that are no object", signed(Algorithm::HS256, SECRET, &json!("u")), Flaw::Claims),
        ("empty", String::new(), Flaw::Malformed),
        ("not a token", "a.b.c".into(), Flaw::Malformed),
        ("a fourth part", format!("{good}.x"), Flaw::Malformed),
    ] {
        assert_eq!(verify(&token), Err(TokenError::Invalid(flaw)), "{name}");
    }
    assert_eq!(verify(&good), Ok(user("u")));
}

#[test]
fn extensions_that_must_be_understood_are_not() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for (crit, expected) in [
        (None, Ok(user("u"))),
        (Some(vec!["exp".to_owned()]), Err(MALFORMED)),
        (Some(vec!["b64".to_owned()]), Err(MALFORMED)),
        (Some(Vec::new()), Err(MALFORMED)),
    ] {
        let header = Header { crit: crit.clone(), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &json!({ "sub": "u" }), &key).expect("signed");
        assert_eq!(verify(&token), expected, "{crit:?}");
    }
}

#[test]
fn audience_and_issuer_count_when_configured() {
    let verifier = |audience: Option<&str>, issuer: Option<&str>| {
        Verifier::new(&Token {
            audience: audience.map(Into::into),
            issuer: issuer.map(Into::into),
            ..settings()
        })
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
        let token = signed(Algorithm::HS256, SECRET, &claims);
        let result = verifier(audience, issuer).connection(&token, NOW, false);
        let flaw = if audience.is_some() { Flaw::Audience } else { Flaw::Issuer };
        let expected = if good { Ok(user("")) } else { Err(TokenError::Invalid(flaw)) };
        assert_eq!(result, expected, "{audience:?} {issuer:?} {claims}");
    }
}

#[test]
fn no_key_accepts_nothing() {
    let token = signed(Algorithm::HS256, "", &json!({ "sub": "u" }));
    let verifier = Verifier::new(&Token::default());
    assert_eq!(verifier.connection(&token, NOW, true), Err(TokenError::Invalid(Flaw::Key)));
}

#[test]
fn expiry_can_be_ignored() {
    let token = signed(Algorithm::HS256, SECRET, &json!({ "sub": "u", "exp": 1, "nbf": NOW * 2 }));
    let verifier = Verifier::new(&settings());
    assert_eq!(verifier.connection(&token, NOW, true), Ok(user("u")));
}

#[test]
fn minted_tokens_verify() {
    let settings = Token { audience: Some("a".into()), issuer: Some("i".into()), ..settings() };
    let secret = settings.hmac_secret.clone().expect("a secret");
    let info = RawValue::from_string(r#"{ "n": 1 }"#.into()).expect("json");
    let grant = Grant { user: "u", issued_at_s: NOW, expires_at_s: Some(NOW + 60), info: Some(&info) };
    let token = mint(&secret, &settings, &grant).expect("minted");
    let claims = Verifier::new(&settings).connection(&token, NOW, false).expect("valid");
    assert_eq!(claims.user, "u");
    assert_eq!(claims.expires_at_s, Some(NOW + 60));
    assert_eq!(claims.info.as_deref(), Some(&br#"{ "n": 1 }"#[..]));
    assert!(!format!("{secret:?} {secret}").contains(SECRET));
}
