//! Which keys tokens are checked with, and whom they must be from and for.

use std::path::PathBuf;

use super::Secret;

/// How tokens (JWT) are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Key of HS256, HS384 and HS512 tokens.
    pub hmac_secret: Option<Secret>,
    /// The key before that, which still counts for a while.
    pub hmac_previous_secret: Option<Secret>,
    /// Until when it counts, Unix seconds; 0: without end.
    pub hmac_previous_until_s: u32,
    /// Files of public keys (PEM) for RS, ES and EdDSA tokens.
    pub public_key_files: Vec<String>,
    /// A file that holds a key set (JWKS).
    pub jwks_file: Option<PathBuf>,
    /// If set, tokens must name this audience.
    pub audience: Option<String>,
    /// If set, and `audience` is not, tokens must name an audience that fits this.
    pub audience_regex: Option<String>,
    /// If set, tokens must name this issuer.
    pub issuer: Option<String>,
    /// If set, and `issuer` is not, tokens must name an issuer that fits this.
    pub issuer_regex: Option<String>,
}

/// How subscription tokens are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionToken {
    /// Whether they have keys of their own; else those of connection tokens count.
    pub enabled: bool,
    /// These keys, and whom such tokens must be from and for.
    pub token: Token,
}

impl Token {
    /// Whether any key is named.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.hmac_secret.is_some()
            || self.hmac_previous_secret.is_some()
            || !self.public_key_files.is_empty()
            || self.jwks_file.is_some()
    }
}
