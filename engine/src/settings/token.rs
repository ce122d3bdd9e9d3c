//! Which keys tokens are checked with, and whom they must be from and for.

use std::path::PathBuf;

use super::{Secret, WebAddress};

/// How tokens (JWT) are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Where a key set is fetched from, again and again.
    pub jwks_url: Option<WebAddress>,
    /// Authorities (PEM) that it is trusted by, besides those of the machine.
    pub jwks_ca_file: Option<PathBuf>,
    /// Between two fetches, seconds.
    pub jwks_refresh_s: u32,
    /// For so long after they were fetched last keys count, seconds.
    pub jwks_max_age_s: u32,
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

impl Default for Token {
    fn default() -> Self {
        Self {
            hmac_secret: None,
            hmac_previous_secret: None,
            hmac_previous_until_s: 0,
            public_key_files: Vec::new(),
            jwks_file: None,
            jwks_url: None,
            jwks_ca_file: None,
            jwks_refresh_s: 300,
            jwks_max_age_s: 24 * 60 * 60,
            audience: None,
            audience_regex: None,
            issuer: None,
            issuer_regex: None,
        }
    }
}

impl Token {
    /// Whether any key is named.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.has_key_here() || self.jwks_url.is_some()
    }

    /// Whether any key is named that need not be fetched.
    #[must_use]
    pub fn has_key_here(&self) -> bool {
        self.hmac_secret.is_some()
            || self.hmac_previous_secret.is_some()
            || !self.public_key_files.is_empty()
            || self.jwks_file.is_some()
    }
}
