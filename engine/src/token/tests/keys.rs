//! Keys of every kind, from files and sets.

use aws_lc_rs::rsa::KeySize;
use jsonwebtoken::Algorithm;

use super::*;
use crate::limits::JWKS_KEYS_MAX;
use crate::token::testing::{File, Issuer};

fn named(sub: &str) -> Value {
    json!({ "sub": sub })
}

#[test]
fn every_algorithm_verifies_with_its_key_only() {
    let rsa = Issuer::rsa(KeySize::Rsa2048);
    let (p256, p384, ed25519) = (Issuer::p256(), Issuer::p384(), Issuer::ed25519());
    let issuers = [
        (&rsa, &["RS256", "RS384", "RS512"][..]),
        (&p256, &["ES256"]),
        (&p384, &["ES384"]),
        (&ed25519, &["EdDSA"]),
    ];
    let all = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256"];
    for (issuer, own) in issuers {
        let pem = File::with(&issuer.pem());
        let set = File::with(&json!({ "keys": [issuer.jwk("k")] }).to_string());
        let by_pem =
            load(&Token { public_key_files: vec![pem.path().display().to_string()], ..Token::default() });
        let by_set = load(&Token { jwks_file: Some(set.path()), ..Token::default() });
        for algorithm in all {
            let token = issuer.token(algorithm, Some("k"), &named("u"));
            let expected = if own.contains(&algorithm) { Ok(user("u")) } else { Err(flaw(Flaw::Key)) };
            assert_eq!(by_pem.connection(&token, NOW, false), expected, "{own:?} {algorithm}");
            assert_eq!(by_set.connection(&token, NOW, false), expected, "{own:?} {algorithm}");
            let is_slow = by_pem.is_slow(Purpose::Connection, &token);
            assert_eq!(is_slow, algorithm != "HS256", "{algorithm}");
        }
        assert!(!load(&hmac()).is_slow(Purpose::Connection, &issuer.token(own[0], None, &named("u"))));
    }
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = with_secret(algorithm, SECRET, &named("u"));
        assert_eq!(load(&hmac()).connection(&token, NOW, false), Ok(user("u")), "{algorithm:?}");
    }
}

#[test]
fn the_previous_secret_counts_until_its_time() {
    let token = with_secret(Algorithm::HS256, b"the previous secret", &named("u"));
    for (until_s, expected) in
        [(0, Ok(user("u"))), (NOW as u32 + 1, Ok(user("u"))), (NOW as u32, Err(flaw(Flaw::Signature)))]
    {
        let settings = Token {
            hmac_previous_secret: Some(Secret::new("the previous secret")),
            hmac_previous_until_s: until_s,
            ..hmac()
        };
        assert_eq!(load(&settings).connection(&token, NOW, false), expected, "{until_s}");
        let current = with_secret(Algorithm::HS256, SECRET, &named("v"));
        assert_eq!(load(&settings).connection(&current, NOW, false), Ok(user("v")));
    }
}

#[test]
fn subscription_tokens_may_have_keys_of_their_own() {
    let claims = json!({ "sub": "u", "channel": "c" });
    let of_connections = with_secret(Algorithm::HS256, SECRET, &claims);
    let of_subscriptions = with_secret(Algorithm::HS256, b"the secret of subscriptions", &claims);
    for (enabled, token, is_good) in [
        (false, &of_connections, true),
        (false, &of_subscriptions, false),
        (true, &of_connections, false),
        (true, &of_subscriptions, true),
    ] {
        let mut settings = Settings { token: hmac(), ..Settings::default() };
        settings.subscription_token.enabled = enabled;
        settings.subscription_token.token.hmac_secret = Some(Secret::new("the secret of subscriptions"));
        let verifier = Verifier::load(&settings, &Remotes::default()).expect("keys");
        assert_eq!(verifier.subscription(token, NOW, false).is_ok(), is_good, "{enabled}");
        let connection = with_secret(Algorithm::HS256, SECRET, &named("u"));
        assert_eq!(verifier.connection(&connection, NOW, false), Ok(user("u")), "{enabled}");
    }
}

#[test]
fn a_set_leaves_out_what_is_of_no_use() {
    let (a, b) = (Issuer::p256(), Issuer::ed25519());
    let with = |issuer: &Issuer, changes: Value| {
        let mut jwk = issuer.jwk("a");
        for (key, value) in changes.as_object().expect("an object") {
            jwk[key] = value.clone();
        }
        jwk
    };
    let token = a.token("ES256", Some("a"), &named("u"));
    for (name, key, is_of_use) in [
        ("as it is", a.jwk("a"), true),
        ("for signatures", with(&a, json!({ "use": "sig", "alg": "ES256" })), true),
        ("to verify", with(&a, json!({ "key_ops": ["verify"] })), true),
        ("for encryption", with(&a, json!({ "use": "enc" })), false),
        ("to wrap keys", with(&a, json!({ "key_ops": ["wrapKey"] })), false),
        ("for another algorithm", with(&a, json!({ "alg": "ES384" })), false),
        ("for an algorithm of another kind", with(&a, json!({ "alg": "HS256" })), false),
        ("without a name", with(&a, json!({ "kid": null })), false),
        ("with an empty name", with(&a, json!({ "kid": "" })), false),
        ("of another curve", with(&a, json!({ "crv": "P-521" })), false),
        ("of a curve that it is not on", with(&a, json!({ "x": a.jwk("a")["y"] })), false),
        ("of another kind", with(&a, json!({ "kty": "RSA" })), false),
        ("a secret", json!({ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }), false),
        ("with a part that is no text", with(&a, json!({ "x": 7 })), false),
    ] {
        let set = json!({ "keys": [key, b.jwk("b"), "nonsense", { "kty": "new" }] });
        let file = File::with(&set.to_string());
        let verifier = load(&Token { jwks_file: Some(file.path()), ..Token::default() });
        let expected = if is_of_use { Ok(user("u")) } else { Err(flaw(Flaw::Key)) };
        assert_eq!(verifier.connection(&token, NOW, false), expected, "{name}");
        let other = b.token("EdDSA", Some("b"), &named("v"));
        assert_eq!(verifier.connection(&other, NOW, false), Ok(user("v")), "{name}");
    }
    // RFC 7517 section 4.5: keys of different kinds may share a name.
    let file = File::with(&json!({ "keys": [b.jwk("a"), a.jwk("a")] }).to_string());
    let verifier = load(&Token { jwks_file: Some(file.path()), ..Token::default() });
    assert_eq!(verifier.connection(&token, NOW, false), Ok(user("u")));
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let good = Issuer::ed25519();
    let weak = Issuer::rsa(KeySize::Rsa2048).pem();
    let many: Vec<Value> = (0..=JWKS_KEYS_MAX).map(|n| good.jwk(&n.to_string())).collect();
    for (content, words) in [
        ("", "holds no PUBLIC KEY"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key in it"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n", "no PEM"),
    ] {
        let file = File::with(content);
        let settings =
            Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
        let error = try_load(&settings).expect_err("it is of no use").to_string();
        assert!(error.contains(words) && error.contains("token.public_key_files"), "{error}");
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
    for (content, words) in [
        (json!({ "keys": many }), "65 keys"),
        (json!({ "keys": [] }), "none of its 0 keys"),
        (json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "AAAA" }] }), "none of its 1 keys"),
        (json!({ "keys": {} }), "no key set"),
        (json!([]), "no key set"),
        (json!("x".repeat(300 << 10)), "bytes"),
    ] {
        let file = File::with(&content.to_string());
        let error = try_load(&Token { jwks_file: Some(file.path()), ..Token::default() });
        let error = error.expect_err("it is of no use").to_string();
        assert!(error.contains(words) && error.contains("token.jwks_file"), "{error}");
    }
    // Several keys in one file count, as while one is exchanged; more than a few do not.
    let both = File::with(&format!("{weak}{}", good.pem()));
    let settings = Token { public_key_files: vec![both.path().display().to_string()], ..Token::default() };
    let token = good.token("EdDSA", None, &named("u"));
    assert_eq!(load(&settings).connection(&token, NOW, false), Ok(user("u")));
    let five = File::with(&good.pem().repeat(5));
    let settings = Token { public_key_files: vec![five.path().display().to_string()], ..Token::default() };
    assert!(try_load(&settings).expect_err("too many").to_string().contains("5 keys"));
}
