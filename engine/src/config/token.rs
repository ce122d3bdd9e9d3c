//! Whether the settings of tokens fit together.

use crate::settings::{NamePattern, Settings, Token};

/// HS256 wants a key as long as its hash (RFC 7518 section 3.2); guessing a shorter one is less work than breaking it.
const HMAC_SECRET_BYTES: usize = 32;

/// Key, value and reason of everything that cannot be.
pub(super) fn problems(settings: &Settings) -> Vec<(&'static str, String, String)> {
    const CONNECTION: [&str; 4] =
        ["token.audience_regex", "token.issuer_regex", "token.audience", "token.issuer"];
    const SUBSCRIPTION: [&str; 4] = [
        "subscription_token.audience_regex",
        "subscription_token.issuer_regex",
        "subscription_token.audience",
        "subscription_token.issuer",
    ];
    let mut problems = of(&settings.token, CONNECTION);
    problems.extend(of(&settings.subscription_token.token, SUBSCRIPTION));
    problems
}

fn of(token: &Token, keys: [&'static str; 4]) -> Vec<(&'static str, String, String)> {
    let [audience_regex, issuer_regex, audience, issuer] = keys;
    let mut problems = Vec::new();
    for (key, pattern, other, name) in [
        (audience_regex, &token.audience_regex, audience, &token.audience),
        (issuer_regex, &token.issuer_regex, issuer, &token.issuer),
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
