//! Judges tokens: signature first, then what they say.
//!
//! Invariants: an algorithm belongs to a key and is never taken from the token's header; the time is an argument; a verifier never
//! changes, another one takes its place.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::claims::{self, Circumstances, ConnectionClaims, SubscriptionClaims};
use super::{Flaw, TokenError};
use crate::limits::TOKEN_BYTES_MAX;
use crate::settings::Token;

/// Checks tokens against keys and the configured audience and issuer.
pub struct Verifier {
    key: Option<DecodingKey>,
    audience: Option<String>,
    issuer: Option<String>,
}

/// RFC 7515 section 4, as far as it is of use here.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    /// RFC 7515 section 4.1.11: extensions that must be understood. None is understood here.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// A parameter that must not be there counts whatever its value is, `null` included.
fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

impl Verifier {
    /// A verifier for the configured key. Without a key every token is invalid.
    #[must_use]
    pub fn new(token: &Token) -> Self {
        Self {
            key: token.hmac_secret.as_ref().map(|secret| DecodingKey::from_secret(secret.expose())),
            audience: token.audience.clone(),
            issuer: token.issuer.clone(),
        }
    }

    /// Whether any token can be accepted.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Checks a connection token at Unix time `now_s`. With `ignores_time` (development mode) a token of any age is
    /// good, and its connection never expires.
    ///
    /// # Errors
    /// The peer is to blame; nothing is changed.
    pub fn connection(
        &self,
        token: &str,
        now_s: u64,
        ignores_time: bool,
    ) -> Result<ConnectionClaims, TokenError> {
        claims::of_connection(&self.open(token)?, &self.circumstances(now_s, ignores_time))
    }

    /// Checks a subscription token, likewise. Whether its channel, user and client are those of whoever shows it is the
    /// caller's to look at.
    ///
    /// # Errors
    /// The peer is to blame; nothing is changed.
    pub fn subscription(
        &self,
        token: &str,
        now_s: u64,
        ignores_time: bool,
    ) -> Result<SubscriptionClaims, TokenError> {
        claims::of_subscription(&self.open(token)?, &self.circumstances(now_s, ignores_time))
    }

    fn circumstances(&self, now_s: u64, ignores_time: bool) -> Circumstances<'_> {
        let (audience, issuer) = (self.audience.as_deref(), self.issuer.as_deref());
        Circumstances { now_s, ignores_time, audience, issuer }
    }

    /// The payload, if somebody we know has signed it.
    fn open(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        const MALFORMED: TokenError = TokenError::Invalid(Flaw::Malformed);
        if token.len() > TOKEN_BYTES_MAX {
            return Err(MALFORMED);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| MALFORMED)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| MALFORMED)?;
        if header.crit {
            return Err(MALFORMED);
        }
        let key = self.key.as_ref().filter(|_| header.alg == Algorithm::HS256);
        let key = key.ok_or(TokenError::Invalid(Flaw::Key))?;
        match crypto::verify(signature, signed.as_bytes(), key, header.alg) {
            Ok(true) => URL_SAFE_NO_PAD.decode(payload).map_err(|_| MALFORMED),
            Ok(false) => Err(TokenError::Invalid(Flaw::Signature)),
            Err(_) => Err(MALFORMED),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("has_key", &self.has_key()).finish_non_exhaustive()
    }
}
