//! Tokens that try to be taken for what they are not.

use std::fs;

use aws_lc_rs::rsa::KeySize;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::*;
use crate::limits::TOKEN_BYTES_MAX;
use crate::token::testing::{File, Issuer};

const MALFORMED: TokenError = TokenError::Invalid(Flaw::Malformed);

fn verify(token: &str) -> Result<ConnectionClaims, TokenError> {
    load(&hmac()).connection(token, NOW, false)
}

fn part(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token of any text, signed with our secret.
fn sealed(header: &str, claims: &[u8]) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("signed");
    format!("{signed}.{signature}")
}

#[test]
fn only_our_signature_counts() {
    let claims = json!({ "sub": "u" });
    let good = with_secret(Algorithm::HS256, SECRET, &claims);
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let other = with_secret(Algorithm::HS256, SECRET, &json!({ "sub": "v" }));
    let (other_head, _) = other.rsplit_once('.').expect("three parts");
    let hs384 = with_secret(Algorithm::HS384, SECRET, &claims);
    let part = |value: &Value| part(value.to_string());
    let none = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
    for (name, token, flaw) in [
        ("wrong secret", with_secret(Algorithm::HS256, b"another secret", &claims), Flaw::Signature),
        (
            "HS384 signature under HS256",
            format!("{head}.{}", hs384.rsplit_once('.').expect("parts").1),
            Flaw::Signature,
        ),
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
        ("claims that are no object", with_secret(Algorithm::HS256, SECRET, &json!("u")), Flaw::Claims),
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
    let key = EncodingKey::from_secret(SECRET);
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
fn a_public_key_is_no_secret() {
    let issuer = Issuer::rsa(KeySize::Rsa2048);
    let pem = issuer.pem();
    let file = File::with(&pem);
    let settings = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
    let verifier = load(&settings);
    let claims = json!({ "sub": "admin" });
    let der = fs::read(file.path()).expect("read");
    // Whoever knows the public key signs with its text, its trimmed text, its bytes: HMAC takes any secret.
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = with_secret(algorithm, secret, &claims);
            assert_eq!(verifier.connection(&token, NOW, false), Err(flaw(Flaw::Key)), "{algorithm:?}");
        }
    }
    // With a secret beside it, too.
    let both = load(&Token { hmac_secret: hmac().hmac_secret, ..settings });
    let token = with_secret(Algorithm::HS256, pem.as_bytes(), &claims);
    assert_eq!(both.connection(&token, NOW, false), Err(flaw(Flaw::Signature)));
    let good = issuer.token("RS256", None, &claims);
    assert_eq!(both.connection(&good, NOW, false), Ok(user("admin")));
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    let (ours, theirs) = (Issuer::p256(), Issuer::p256());
    let file = File::with(&json!({ "keys": [ours.jwk("a")] }).to_string());
    let verifier = load(&Token { jwks_file: Some(file.path()), ..Token::default() });
    let claims = json!({ "sub": "u" }).to_string();
    let kids = ["../../../etc/passwd", "a\u{0}", "A", "a ", "", "' or '1'='1"];
    for header in [
        json!({ "alg": "ES256", "kid": "a" }),
        json!({ "alg": "ES256", "kid": "a", "jwk": theirs.jwk("a") }),
        json!({ "alg": "ES256", "kid": "a", "jku": "http://127.0.0.1/evil" }),
        json!({ "alg": "ES256", "kid": "a", "x5u": "http://127.0.0.1/evil", "x5c": ["AAAA"] }),
    ] {
        let token = theirs.sign("ES256", &header, &claims);
        assert_eq!(verifier.connection(&token, NOW, false), Err(flaw(Flaw::Signature)), "{header}");
    }
    for kid in kids {
        let token = ours.token("ES256", Some(kid), &json!({ "sub": "u" }));
        assert_eq!(verifier.connection(&token, NOW, false), Err(flaw(Flaw::Key)), "{kid:?}");
    }
    let unnamed = ours.token("ES256", None, &json!({ "sub": "u" }));
    assert_eq!(verifier.connection(&unnamed, NOW, false), Err(flaw(Flaw::Key)), "keys of a set are named");
    let good = ours.token("ES256", Some("a"), &json!({ "sub": "u" }));
    assert_eq!(verifier.connection(&good, NOW, false), Ok(user("u")));
    // An all-zero signature was good once, elsewhere (CVE-2022-21449).
    let (signed, _) = good.rsplit_once('.').expect("parts");
    let zeros = format!("{signed}.{}", part([0; 64]));
    assert_eq!(verifier.connection(&zeros, NOW, false), Err(flaw(Flaw::Signature)));
}

#[test]
fn texts_that_are_no_claims_are_refused() {
    let header = r#"{"alg":"HS256"}"#;
    let deep = |claim: &str| format!("{{\"{claim}\":{}1{}}}", "[".repeat(4_000), "]".repeat(4_000));
    for (name, header, claims, expected) in [
        ("good", header, &b"{\"sub\":\"u\"}"[..], Ok(user("u"))),
        ("twice", header, b"{\"sub\":\"u\",\"sub\":\"v\"}", Err(flaw(Flaw::Claims))),
        ("twice, escaped", header, b"{\"sub\":\"u\",\"s\\u0075b\":\"v\"}", Err(flaw(Flaw::Claims))),
        ("exp twice", header, b"{\"exp\":1,\"exp\":9999999999}", Err(flaw(Flaw::Claims))),
        ("a list", header, b"[\"u\"]", Err(flaw(Flaw::Claims))),
        ("more behind", header, b"{\"sub\":\"u\"}{}", Err(flaw(Flaw::Claims))),
        ("not UTF-8", header, b"{\"sub\":\"\xff\"}", Err(flaw(Flaw::Claims))),
        ("nothing", header, b"", Err(flaw(Flaw::Claims))),
        ("a number too large", header, b"{\"exp\":1e999}", Err(flaw(Flaw::Claims))),
        ("too deep", header, deep("aud").as_bytes(), Err(flaw(Flaw::Claims))),
        ("deep where nobody looks", header, deep("x").as_bytes(), Ok(user(""))),
        ("alg twice", r#"{"alg":"HS256","alg":"none"}"#, b"{}", Err(MALFORMED)),
        ("alg null", r#"{"alg":null}"#, b"{}", Err(MALFORMED)),
        ("alg a list", r#"{"alg":["HS256"]}"#, b"{}", Err(MALFORMED)),
        ("no alg", r#"{"typ":"JWT"}"#, b"{}", Err(MALFORMED)),
        ("ES512, which the library lacks", r#"{"alg":"ES512"}"#, b"{}", Err(MALFORMED)),
        ("header a list", r#"["HS256"]"#, b"{}", Err(MALFORMED)),
        ("kid a number", r#"{"alg":"HS256","kid":7}"#, b"{}", Err(MALFORMED)),
    ] {
        assert_eq!(verify(&sealed(header, claims)), expected, "{name}");
    }
    let long = json!({ "sub": "u", "x": "x".repeat(TOKEN_BYTES_MAX) });
    assert_eq!(verify(&with_secret(Algorithm::HS256, SECRET, &long)), Err(MALFORMED), "too long");
    let many: serde_json::Map<_, _> = (0..700).map(|n| (format!("k{n}"), json!(n))).collect();
    assert_eq!(verify(&with_secret(Algorithm::HS256, SECRET, &many.into())), Ok(user("")));
}
