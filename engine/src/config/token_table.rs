//! The settings of tokens: the same for connection tokens and for subscription tokens, where these have keys of their own.

use super::slot::Slot;
use super::table::{Row, live};
use crate::limits::PUBLIC_KEYS_MAX;

/// In the order in which they are printed.
pub(super) static ROWS: &[Row] = &[
    live(
        "token.hmac_secret",
        Slot::Secret { at: |s| &mut s.token.hmac_secret },
        "key of HS256, HS384 and HS512 tokens",
    ),
    live(
        "token.hmac_previous_secret",
        Slot::Secret { at: |s| &mut s.token.hmac_previous_secret },
        "the key before that: its tokens count until hmac_previous_until_s",
    ),
    live(
        "token.hmac_previous_until_s",
        Slot::Count { at: |s| &mut s.token.hmac_previous_until_s, min: 0, max: u32::MAX },
        "until when the previous key counts, Unix seconds; 0: without end",
    ),
    live(
        "token.public_key_files",
        Slot::Texts { at: |s| &mut s.token.public_key_files, max: PUBLIC_KEYS_MAX },
        "files of public keys (PEM): RSA for RS256 to RS512, P-256 for ES256, P-384 for ES384, Ed25519 for EdDSA",
    ),
    live(
        "token.jwks_file",
        Slot::Path(|s| &mut s.token.jwks_file),
        "file of a key set (JWKS), whose keys tokens name by kid",
    ),
    live(
        "token.jwks_url",
        Slot::Web(|s| &mut s.token.jwks_url),
        "address that a key set is fetched from, again and again, such as https://id.example.com/.well-known/jwks.json",
    ),
    live(
        "token.jwks_ca_file",
        Slot::Path(|s| &mut s.token.jwks_ca_file),
        "certificates (PEM) of authorities that this address is trusted by, besides those of the machine",
    ),
    live(
        "token.jwks_refresh_s",
        Slot::Count { at: |s| &mut s.token.jwks_refresh_s, min: 1, max: 86_400 },
        "seconds between two fetches at most; a token with a new key causes one sooner",
    ),
    live(
        "token.jwks_max_age_s",
        Slot::Count { at: |s| &mut s.token.jwks_max_age_s, min: 1, max: 604_800 },
        "seconds for which fetched keys count while the address does not answer; then their tokens are refused",
    ),
    live(
        "token.audience",
        Slot::Text { at: |s| &mut s.token.audience, bytes_max: 255 },
        "tokens must name this audience (aud)",
    ),
    live(
        "token.audience_regex",
        Slot::Text { at: |s| &mut s.token.audience_regex, bytes_max: 1_024 },
        "or an audience that fits this pattern as a whole",
    ),
    live(
        "token.issuer",
        Slot::Text { at: |s| &mut s.token.issuer, bytes_max: 255 },
        "tokens must name this issuer (iss)",
    ),
    live(
        "token.issuer_regex",
        Slot::Text { at: |s| &mut s.token.issuer_regex, bytes_max: 1_024 },
        "or an issuer that fits this pattern as a whole",
    ),
    live(
        "subscription_token.enabled",
        Slot::Flag(|s| &mut s.subscription_token.enabled),
        "subscription tokens have keys of their own; else those of connection tokens count for them too",
    ),
    live(
        "subscription_token.hmac_secret",
        Slot::Secret { at: |s| &mut s.subscription_token.token.hmac_secret },
        "key of HS256, HS384 and HS512 tokens",
    ),
    live(
        "subscription_token.hmac_previous_secret",
        Slot::Secret { at: |s| &mut s.subscription_token.token.hmac_previous_secret },
        "the key before that: its tokens count until hmac_previous_until_s",
    ),
    live(
        "subscription_token.hmac_previous_until_s",
        Slot::Count { at: |s| &mut s.subscription_token.token.hmac_previous_until_s, min: 0, max: u32::MAX },
        "until when the previous key counts, Unix seconds; 0: without end",
    ),
    live(
        "subscription_token.public_key_files",
        Slot::Texts { at: |s| &mut s.subscription_token.token.public_key_files, max: PUBLIC_KEYS_MAX },
        "files of public keys (PEM): RSA for RS256 to RS512, P-256 for ES256, P-384 for ES384, Ed25519 for EdDSA",
    ),
    live(
        "subscription_token.jwks_file",
        Slot::Path(|s| &mut s.subscription_token.token.jwks_file),
        "file of a key set (JWKS), whose keys tokens name by kid",
    ),
    live(
        "subscription_token.jwks_url",
        Slot::Web(|s| &mut s.subscription_token.token.jwks_url),
        "address that a key set is fetched from, again and again, such as https://id.example.com/.well-known/jwks.json",
    ),
    live(
        "subscription_token.jwks_ca_file",
        Slot::Path(|s| &mut s.subscription_token.token.jwks_ca_file),
        "certificates (PEM) of authorities that this address is trusted by, besides those of the machine",
    ),
    live(
        "subscription_token.jwks_refresh_s",
        Slot::Count { at: |s| &mut s.subscription_token.token.jwks_refresh_s, min: 1, max: 86_400 },
        "seconds between two fetches at most; a token with a new key causes one sooner",
    ),
    live(
        "subscription_token.jwks_max_age_s",
        Slot::Count { at: |s| &mut s.subscription_token.token.jwks_max_age_s, min: 1, max: 604_800 },
        "seconds for which fetched keys count while the address does not answer; then their tokens are refused",
    ),
    live(
        "subscription_token.audience",
        Slot::Text { at: |s| &mut s.subscription_token.token.audience, bytes_max: 255 },
        "tokens must name this audience (aud)",
    ),
    live(
        "subscription_token.audience_regex",
        Slot::Text { at: |s| &mut s.subscription_token.token.audience_regex, bytes_max: 1_024 },
        "or an audience that fits this pattern as a whole",
    ),
    live(
        "subscription_token.issuer",
        Slot::Text { at: |s| &mut s.subscription_token.token.issuer, bytes_max: 255 },
        "tokens must name this issuer (iss)",
    ),
    live(
        "subscription_token.issuer_regex",
        Slot::Text { at: |s| &mut s.subscription_token.token.issuer_regex, bytes_max: 1_024 },
        "or an issuer that fits this pattern as a whole",
    ),
];
