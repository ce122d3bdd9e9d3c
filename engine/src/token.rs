//! Connection tokens: minting and verifying JWTs with HS256.
//!
//! Invariants: the algorithm belongs to the key and is never taken from the token's header; the time is an
//! argument, not read here; checks happen in the order signature, audience and issuer, forbidden claims, time
//! (client-protocol section 17), so that nothing is learnt from a token that we did not sign.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::settings::{Secret, Token};

/// Checks tokens against one key and the configured audience and issuer.
pub struct Verifier {
    key: Option<DecodingKey>,
    validation: Validation,
    audience: Option<String>,
    issuer: Option<String>,
}

/// What a valid connection token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionClaims {
    /// The user (`sub`); empty: anonymous.
    pub user: String,
    /// JSON that others see with this connection, without line feeds.
    pub info: Option<Vec<u8>>,
    /// When the connection expires, Unix seconds: `expire_at`, else `exp`; `None`: never.
    pub expires_at_s: Option<u64>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token of ours: close 3500.
    Invalid,
    /// Ours, and too old or too new: error 109.
    Expired,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    exp: Option<Time>,
    #[serde(default)]
    nbf: Option<Time>,
    #[serde(default)]
    expire_at: Option<Time>,
    #[serde(default)]
    aud: Option<Audience>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    info: Option<Box<RawValue>>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    channel: bool,
}

/// A claim that must not be there counts whatever its value is, `null` included.
fn is_there<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// RFC 7519 section 4.1.3: one audience or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// RFC 7519 section 2, NumericDate: seconds, perhaps with a fraction.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Whole(u64),
    Fraction(f64),
}

impl Time {
    /// Whole seconds, rounded down; before 1970 is 0. A float saturates when it is cast.
    fn seconds(&self) -> u64 {
        match self {
            Self::Whole(seconds) => *seconds,
            Self::Fraction(seconds) => *seconds as u64,
        }
    }
}

impl Verifier {
    /// A verifier for the configured key. Without a key every token is invalid.
    #[must_use]
    pub fn new(token: &Token) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would read a clock, and would judge time before audience: both are done below.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            key: token.hmac_secret.as_ref().map(|secret| DecodingKey::from_secret(secret.expose())),
            validation,
            audience: token.audience.clone(),
            issuer: token.issuer.clone(),
        }
    }

    /// Whether any token can be accepted.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Checks a connection token at Unix time `now_s`. With `ignore_time` (development mode) a token of any age is
    /// good, and its connection never expires.
    ///
    /// # Errors
    /// The peer is to blame; nothing is changed.
    pub fn verify_connection(
        &self,
        token: &str,
        now_s: u64,
        ignore_time: bool,
    ) -> Result<ConnectionClaims, TokenError> {
        let key = self.key.as_ref().ok_or(TokenError::Invalid)?;
        let token = decode::<Claims>(token, key, &self.validation).map_err(|_| TokenError::Invalid)?;
        // RFC 7515 section 4.1.11: an extension that must be understood and is not makes the token invalid. None is
        // understood here.
        if token.header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let claims = token.claims;
        self.check_names(&claims)?;
        if claims.channel {
            return Err(TokenError::Invalid);
        }
        let info = info(&claims)?;
        let user = claims.sub.unwrap_or_default();
        if ignore_time {
            return Ok(ConnectionClaims { user, info, expires_at_s: None });
        }
        let exp = claims.exp.map(|time| time.seconds());
        let nbf = claims.nbf.map(|time| time.seconds());
        if exp.is_some_and(|exp| now_s >= exp) || nbf.is_some_and(|nbf| now_s < nbf) {
            return Err(TokenError::Expired);
        }
        let expires_at_s = match claims.expire_at.map(|time| time.seconds()) {
            Some(0) => None,
            Some(at) => Some(at),
            None => exp,
        };
        Ok(ConnectionClaims { user, info, expires_at_s })
    }

    fn check_names(&self, claims: &Claims) -> Result<(), TokenError> {
        if let Some(audience) = &self.audience
            && !claims.aud.as_ref().is_some_and(|aud| aud.names(audience))
        {
            return Err(TokenError::Invalid);
        }
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(TokenError::Invalid);
        }
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("has_key", &self.has_key()).finish_non_exhaustive()
    }
}

/// `b64info` wins over `info`. Line feeds go: they separate messages, and inside valid JSON they stand only between
/// tokens.
fn info(claims: &Claims) -> Result<Option<Vec<u8>>, TokenError> {
    let mut bytes = match (&claims.b64info, &claims.info) {
        (Some(b64), _) if !b64.is_empty() => {
            let bytes = STANDARD.decode(b64).map_err(|_| TokenError::Invalid)?;
            // Strings are only checked to be UTF-8 where they are read as text.
            let text = std::str::from_utf8(&bytes).map_err(|_| TokenError::Invalid)?;
            serde_json::from_str::<IgnoredAny>(text).map_err(|_| TokenError::Invalid)?;
            bytes
        }
        (_, Some(raw)) if raw.get() != "null" => raw.get().as_bytes().to_vec(),
        _ => return Ok(None),
    };
    bytes.retain(|byte| *byte != b'\n');
    Ok(Some(bytes))
}

/// What a minted token says.
#[derive(Clone, Debug, Default)]
pub struct Grant<'a> {
    /// The user; empty: anonymous.
    pub user: &'a str,
    /// When it was made, Unix seconds.
    pub issued_at_s: u64,
    /// When it ends, Unix seconds; `None`: never.
    pub expires_at_s: Option<u64>,
    /// JSON that others see with the connection.
    pub info: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Minted<'a> {
    sub: &'a str,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Signs a connection token that a node with the same settings accepts.
///
/// # Errors
/// The signing library refused the key.
pub fn mint(
    secret: &Secret,
    settings: &Token,
    grant: &Grant<'_>,
) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = Minted {
        sub: grant.user,
        iat: grant.issued_at_s,
        exp: grant.expires_at_s,
        info: grant.info,
        aud: settings.audience.as_deref(),
        iss: settings.issuer.as_deref(),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const SECRET: &str = "an hmac secret of thirty-two bytes";
    const NOW: u64 = 1_000_000;

    fn settings() -> Token {
        Token { hmac_secret: Some(Secret::new(SECRET)), ..Token::default() }
    }

    fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signed")
    }

    fn verify(token: &str) -> Result<ConnectionClaims, TokenError> {
        Verifier::new(&settings()).verify_connection(token, NOW, false)
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
            (json!({ "sub": 7 }), Err(TokenError::Invalid)),
            (json!({ "sub": ["u"] }), Err(TokenError::Invalid)),
            (json!({ "sub": "u", "exp": NOW + 1 }), Ok(until(NOW + 1))),
            (json!({ "sub": "u", "exp": NOW }), Err(TokenError::Expired)),
            (json!({ "sub": "u", "exp": 0 }), Err(TokenError::Expired)),
            (json!({ "sub": "u", "exp": NOW as f64 + 9.5 }), Ok(until(NOW + 9))),
            (json!({ "sub": "u", "exp": -5 }), Err(TokenError::Expired)),
            (json!({ "sub": "u", "exp": "soon" }), Err(TokenError::Invalid)),
            (json!({ "sub": "u", "nbf": NOW }), Ok(user("u"))),
            (json!({ "sub": "u", "nbf": NOW + 1 }), Err(TokenError::Expired)),
            (json!({ "sub": "u", "exp": NOW + 1, "expire_at": 0 }), Ok(user("u"))),
            (json!({ "sub": "u", "exp": NOW + 1, "expire_at": NOW + 60 }), Ok(until(NOW + 60))),
            (json!({ "sub": "u", "exp": NOW, "expire_at": NOW + 60 }), Err(TokenError::Expired)),
            (json!({ "sub": "u", "channel": "c" }), Err(TokenError::Invalid)),
            (json!({ "sub": "u", "channel": null }), Err(TokenError::Invalid)),
            (json!({ "sub": "u", "channel": "c", "exp": 1 }), Err(TokenError::Invalid)),
            (json!({ "sub": "u", "info": { "n": 1 } }), Ok(with(r#"{"n":1}"#))),
            (json!({ "sub": "u", "info": null }), Ok(user("u"))),
            (json!({ "sub": "u", "info": 1, "b64info": "eyJuIjoxfQ==" }), Ok(with(r#"{"n":1}"#))),
            (json!({ "sub": "u", "b64info": "bm90IGpzb24=" }), Err(TokenError::Invalid)),
            (json!({ "sub": "u", "b64info": "*" }), Err(TokenError::Invalid)),
            // {"n":"<ff><fe>"}: JSON but for the encoding of its string.
            (json!({ "sub": "u", "b64info": "eyJuIjoi//4ifQ==" }), Err(TokenError::Invalid)),
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
        for (name, token) in [
            ("wrong secret", signed(Algorithm::HS256, "another secret", &claims)),
            ("HS384 of the same secret", signed(Algorithm::HS384, SECRET, &claims)),
            ("HS512 of the same secret", signed(Algorithm::HS512, SECRET, &claims)),
            ("alg none", none.clone()),
            ("alg none with a signature", format!("{none}{signature}")),
            ("alg None", format!("{}.{}.", part(&json!({ "alg": "None" })), part(&claims))),
            ("alg RS256", format!("{}.{}.{signature}", part(&json!({ "alg": "RS256" })), part(&claims))),
            ("no signature", format!("{head}.")),
            ("two parts", head.into()),
            ("claims of another token", format!("{other_head}.{signature}")),
            ("claims that are no object", signed(Algorithm::HS256, SECRET, &json!("u"))),
            ("empty", String::new()),
            ("not a token", "a.b.c".into()),
            ("a fourth part", format!("{good}.x")),
        ] {
            assert_eq!(verify(&token), Err(TokenError::Invalid), "{name}");
        }
        assert_eq!(verify(&good), Ok(user("u")));
    }

    #[test]
    fn extensions_that_must_be_understood_are_not() {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        for (crit, expected) in [
            (None, Ok(user("u"))),
            (Some(vec!["exp".to_owned()]), Err(TokenError::Invalid)),
            (Some(vec!["b64".to_owned()]), Err(TokenError::Invalid)),
            (Some(Vec::new()), Err(TokenError::Invalid)),
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
            let result = verifier(audience, issuer).verify_connection(&token, NOW, false);
            let expected = if good { Ok(user("")) } else { Err(TokenError::Invalid) };
            assert_eq!(result, expected, "{audience:?} {issuer:?} {claims}");
        }
    }

    #[test]
    fn no_key_accepts_nothing() {
        let token = signed(Algorithm::HS256, "", &json!({ "sub": "u" }));
        let verifier = Verifier::new(&Token::default());
        assert_eq!(verifier.verify_connection(&token, NOW, true), Err(TokenError::Invalid));
    }

    #[test]
    fn expiry_can_be_ignored() {
        let token = signed(Algorithm::HS256, SECRET, &json!({ "sub": "u", "exp": 1, "nbf": NOW * 2 }));
        let verifier = Verifier::new(&settings());
        assert_eq!(verifier.verify_connection(&token, NOW, true), Ok(user("u")));
    }

    #[test]
    fn minted_tokens_verify() {
        let settings = Token { audience: Some("a".into()), issuer: Some("i".into()), ..settings() };
        let secret = settings.hmac_secret.clone().expect("a secret");
        let info = RawValue::from_string(r#"{ "n": 1 }"#.into()).expect("json");
        let grant = Grant { user: "u", issued_at_s: NOW, expires_at_s: Some(NOW + 60), info: Some(&info) };
        let token = mint(&secret, &settings, &grant).expect("minted");
        let claims = Verifier::new(&settings).verify_connection(&token, NOW, false).expect("valid");
        assert_eq!(claims.user, "u");
        assert_eq!(claims.expires_at_s, Some(NOW + 60));
        assert_eq!(claims.info.as_deref(), Some(&br#"{ "n": 1 }"#[..]));
        assert!(!format!("{secret:?} {secret}").contains(SECRET));
    }
}
