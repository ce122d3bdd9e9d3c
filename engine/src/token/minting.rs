//! Signs tokens, as an application would: for the command line and for tests.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::settings::{Secret, Token};

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
