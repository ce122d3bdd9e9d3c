//! Whether the settings of tokens fit together.

use crate::settings::{NamePattern, Settings, Token, WebAddress};

/// HS256 wants a key as long as its hash (RFC 7518 section 3.2); guessing a shorter one is less work than breaking it.
const HMAC_SECRET_BYTES: usize = 32;

/// The keys of one section that must fit together.
struct Keys {
    audience_regex: &'static str,
    issuer_regex: &'static str,
    audience: &'static str,
    issuer: &'static str,
    url: &'static str,
    ca_file: &'static str,
    refresh_s: &'static str,
    max_age_s: &'static str,
}

const CONNECTION: Keys = Keys {
    audience_regex: "token.audience_regex",
    issuer_regex: "token.issuer_regex",
    audience: "token.audience",
    issuer: "token.issuer",
    url: "token.jwks_url",
    ca_file: "token.jwks_ca_file",
    refresh_s: "token.jwks_refresh_s",
    max_age_s: "token.jwks_max_age_s",
};

const SUBSCRIPTION: Keys = Keys {
    audience_regex: "subscription_token.audience_regex",
    issuer_regex: "subscription_token.issuer_regex",
    audience: "subscription_token.audience",
    issuer: "subscription_token.issuer",
    url: "subscription_token.jwks_url",
    ca_file: "subscription_token.jwks_ca_file",
    refresh_s: "subscription_token.jwks_refresh_s",
    max_age_s: "subscription_token.jwks_max_age_s",
};

/// Both sections with their keys.
fn sections(settings: &Settings) -> [(&Token, Keys); 2] {
    [(&settings.token, CONNECTION), (&settings.subscription_token.token, SUBSCRIPTION)]
}

/// Key, value and reason of everything that cannot be.
pub(super) fn problems(settings: &Settings) -> Vec<(&'static str, String, String)> {
    sections(settings).into_iter().flat_map(|(token, keys)| of(token, &keys)).collect()
}

fn of(token: &Token, keys: &Keys) -> Vec<(&'static str, String, String)> {
    let mut problems = Vec::new();
    // One fetch may fail without anybody noticing.
    if u64::from(token.jwks_max_age_s) < 2 * u64::from(token.jwks_refresh_s) {
        let reason = format!("allowed is at least twice {} ({})", keys.refresh_s, token.jwks_refresh_s);
        problems.push((keys.max_age_s, token.jwks_max_age_s.to_string(), reason));
    }
    if let Some(path) = &token.jwks_ca_file
        && !token.jwks_url.as_ref().is_some_and(WebAddress::is_https)
    {
        let reason = format!("it needs {} with https as well", keys.url);
        problems.push((keys.ca_file, path.display().to_string(), reason));
    }
    for (key, pattern, other, name) in [
        (keys.audience_regex, &token.audience_regex, keys.audience, &token.audience),
        (keys.issuer_regex, &token.issuer_regex, keys.issuer, &token.issuer),
    ] {
        let Some(pattern) = pattern else { continue };
        if name.is_some() {
            problems.push((key, format!("{pattern:?}"), format!("{other} is given too; give one of them")));
        } else if let Err(why) = NamePattern::whole(pattern) {
            problems.push((key, format!("{pattern:?}"), why));
        }
    }
    problems
}

/// What is worth a word at start.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let (token, own) = (&settings.token, &settings.subscription_token);
    for (key, secret) in [
        ("token.hmac_secret", &token.hmac_secret),
        ("token.hmac_previous_secret", &token.hmac_previous_secret),
        ("subscription_token.hmac_secret", &own.token.hmac_secret),
        ("subscription_token.hmac_previous_secret", &own.token.hmac_previous_secret),
    ] {
        let Some(bytes) = secret.as_ref().map(|secret| secret.expose().len()) else { continue };
        if bytes < HMAC_SECRET_BYTES {
            warnings.push(format!(
                "{key} has {bytes} bytes; HS256 wants at least {HMAC_SECRET_BYTES} (openssl rand -hex 32)"
            ));
        }
    }
    for (token, keys) in sections(settings) {
        if let Some(address) = token.jwks_url.as_ref().filter(|url| !url.is_https() && !url.is_local()) {
            warnings.push(format!(
                "{} is {address}: without https, whoever is on the way there can make tokens",
                keys.url
            ));
        }
    }
    if !token.has_key() && !settings.insecure && !settings.client.allow_anonymous {
        warnings.push(
            "no client can connect: no key of tokens is set (token.hmac_secret and others), client.allow_anonymous and insecure are off".into(),
        );
    }
    if own.enabled && !own.token.has_key() {
        warnings.push(
            "subscription_token.enabled is on and no key of subscription tokens is set: none is accepted"
                .into(),
        );
    }
    if !own.enabled && own.token.has_key() {
        warnings.push("keys of subscription_token do nothing without subscription_token.enabled".into());
    }
    warnings
}
