//! What tokens say, written as an application would and read without a look at who has signed it: for the command line and for tests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::signing::{Signer, SigningError};

/// What a minted token says. `None` is not said.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Grant<'a> {
    /// The user; empty: anonymous.
    #[serde(rename = "sub")]
    pub user: &'a str,
    /// The channel that it opens; `None`: it opens a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<&'a str>,
    /// The only connection that may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<&'a str>,
    /// When it was made, Unix seconds.
    #[serde(rename = "iat")]
    pub issued_at_s: u64,
    /// When it ends, Unix seconds; `None`: never.
    #[serde(rename = "exp", skip_serializing_if = "Option::is_none")]
    pub expires_at_s: Option<u64>,
    /// When what it opens ends, Unix seconds, 0 for never; `None`: when it ends itself.
    #[serde(rename = "expire_at", skip_serializing_if = "Option::is_none")]
    pub ends_at_s: Option<u64>,
    /// Its own name among all tokens, by which it can be taken back.
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// JSON that others see with the connection or the subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<&'a RawValue>,
    /// JSON for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    /// Whom it is for.
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub audience: Option<&'a str>,
    /// Whom it is from.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'a str>,
}

/// Signs a token.
///
/// # Errors
/// The library refused to sign.
pub fn mint(signer: &Signer, grant: &Grant<'_>) -> Result<String, SigningError> {
    let claims = serde_json::to_string(grant).map_err(|_| SigningError)?;
    signer.sign(&claims)
}

/// Header and claims of a token, as they stand there: nobody may have signed them. `None`: it has none that can be read.
#[must_use]
pub fn read_unverified(token: &str) -> (Option<Value>, Option<Value>) {
    let part = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let mut parts = token.splitn(3, '.').map(part);
    (parts.next().flatten(), parts.next().flatten())
}
