//! Connection tokens: one for all, or one of its own for each client's user.

use std::fmt;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

/// Where tokens come from.
pub(crate) enum Tokens {
    /// None is sent; every connection is anonymous.
    None,
    /// The same for all.
    Fixed(String),
    /// Made from an HS256 secret for user `prefix` + client number.
    Minted {
        /// The secret.
        key: Box<EncodingKey>,
        /// What user names begin with.
        prefix: String,
    },
}

impl fmt::Debug for Tokens {
    /// Names the kind, never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tokens::None => "None",
            Tokens::Fixed(_) => "Fixed",
            Tokens::Minted { .. } => "Minted",
        })
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
}

impl Tokens {
    /// A fixed token, a secret to make them with (user names begin with `prefix`), or neither.
    #[must_use]
    pub(crate) fn new(token: Option<&str>, secret: Option<&str>, prefix: &str) -> Self {
        match (token, secret) {
            (Some(token), _) => Tokens::Fixed(token.to_owned()),
            (None, Some(secret)) => Tokens::Minted {
                key: Box::new(EncodingKey::from_secret(secret.as_bytes())),
                prefix: prefix.to_owned(),
            },
            (None, None) => Tokens::None,
        }
    }

    /// The token of client `number`; empty: none.
    #[must_use]
    pub(crate) fn of_client(&self, number: u32) -> String {
        match self {
            Tokens::None => String::new(),
            Tokens::Fixed(token) => token.clone(),
            Tokens::Minted { key, prefix } => {
                let user = format!("{prefix}{number}");
                // HMAC over a struct of one string cannot fail; an empty token would be refused visibly.
                encode(&Header::default(), &Claims { sub: &user }, key).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    #[test]
    fn minted_tokens_name_their_user() {
        let tokens = Tokens::new(None, Some("secret"), "u");
        let mut validation = Validation::default();
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_secret(b"secret");
        let claims = decode::<serde_json::Value>(tokens.of_client(7), &key, &validation).unwrap().claims;
        assert_eq!(claims, serde_json::json!({"sub": "u7"}));
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", Tokens::new(None, Some("hunter2"), "u")).contains("hunter2"));
        assert_eq!(Tokens::new(Some("t"), None, "u").of_client(3), "t");
        assert_eq!(Tokens::new(None, None, "u").of_client(3), "");
    }
}
