//! `token inspect`: what a token says, and whether a node with this configuration would take it.
//!
//! Invariant: what a token says is printed whoever has signed it; whether that is true is printed beside it, and is the exit code.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::given::sources;
use super::{ConfigArguments, Exit, answer, complain, complain_of};
use crate::config;
use crate::limits::TOKEN_BYTES_MAX;
use crate::token::{self, Flaw, Purpose, Remotes, TokenError, Verifier};

pub(super) const AFTER: &str = "\
One JSON object is printed: header and claims as they stand in the token; purpose, connection or subscription; valid, true or false, or
null where the configuration names no key that tokens of this purpose are checked with, or one at an address (jwks_url), which is not asked;
and reason, why it is not valid. Times are of this machine. Revocations are a running node's and are not looked at: `roadstead revocations` shows them.

  reason       malformed   it is no token, or has what no node understands
               key         no key fits its algorithm and kid
               signature   somebody else has signed it
               audience    aud is not token.audience
               issuer      iss is not token.issuer
               claims      a claim is missing, forbidden, or cannot be read
               expired     exp is over, or nbf not reached
               ended       what it opens is over (expire_at)

Examples:
  roadstead token inspect --config roadstead.toml eyJhbGciOi...
  roadstead token --config roadstead.toml --user ann | roadstead token inspect --config roadstead.toml -

Exit codes: 0 valid, 1 not valid, 2 wrong usage, 3 there is no key to check it with, 78 configuration not valid";

/// `token inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The token; -: the first line of stdin, which other users of the machine do not see
    #[arg(value_name = "TOKEN")]
    pub token: String,
    /// Where the settings of the node are.
    #[command(flatten)]
    pub config: ConfigArguments,
}

#[derive(Serialize)]
struct Inspected {
    header: Option<Value>,
    claims: Option<Value>,
    purpose: &'static str,
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Prints what a token says and whether it is good.
#[must_use]
pub(super) fn inspect(arguments: &InspectArguments) -> Exit {
    let settings = match config::load(&sources(&arguments.config, None)) {
        Ok(configuration) => configuration.settings,
        Err(problems) => return complain_of(&problems),
    };
    let verifier = match Verifier::load(&settings, &Remotes::unfetched(&settings)) {
        Ok(verifier) => verifier,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Configuration;
        }
    };
    let text = match shown(&arguments.token) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("cannot read the token from stdin: {error}"));
            return Exit::Failure;
        }
    };
    let (header, claims) = token::read_unverified(&text);
    let is_for_channel = claims.as_ref().is_some_and(|claims| claims.get("channel").is_some());
    let purpose = if is_for_channel { Purpose::Subscription } else { Purpose::Connection };
    let of_purpose = match purpose {
        Purpose::Subscription if settings.subscription_token.enabled => &settings.subscription_token.token,
        _ => &settings.token,
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let is_over = || {
        let ends_at_s = claims.as_ref().and_then(|claims| claims.get("expire_at")?.as_f64());
        ends_at_s.is_some_and(|ends_at_s| ends_at_s >= 1.0 && now_s as f64 >= ends_at_s.floor())
    };
    let judged = verifier.judge(purpose, &text, now_s, false);
    let is_known = of_purpose.has_key() && judged != Err(TokenError::Unavailable);
    let reason = match judged {
        Ok(_) => is_over().then_some("ended"),
        Err(error) => Some(word(error)),
    };
    let valid = is_known.then_some(reason.is_none());
    let purpose = if is_for_channel { "subscription" } else { "connection" };
    let reason = reason.filter(|_| valid.is_some());
    let said = serde_json::to_string_pretty(&Inspected { header, claims, purpose, valid, reason });
    let exit = match valid {
        Some(true) => Exit::Ok,
        Some(false) => Exit::Failure,
        None => Exit::Partial,
    };
    match said {
        Ok(said) => answer(&said).and(exit),
        Err(error) => {
            complain(&format!("cannot print the token: {error}"));
            Exit::Failure
        }
    }
}

/// The token itself. More than any token has is not read from stdin.
fn shown(given: &str) -> io::Result<String> {
    if given != "-" {
        return Ok(given.trim().to_owned());
    }
    let mut line = String::new();
    io::BufRead::read_line(&mut io::Read::take(io::stdin().lock(), 2 * TOKEN_BYTES_MAX as u64), &mut line)?;
    Ok(line.trim().to_owned())
}

fn word(error: TokenError) -> &'static str {
    match error {
        TokenError::Invalid(Flaw::Malformed) => "malformed",
        TokenError::Invalid(Flaw::Key) => "key",
        TokenError::Invalid(Flaw::Signature) => "signature",
        TokenError::Invalid(Flaw::Audience) => "audience",
        TokenError::Invalid(Flaw::Issuer) => "issuer",
        TokenError::Invalid(Flaw::Claims) => "claims",
        TokenError::Expired => "expired",
        // Nobody is asked for a key here, and no verifier is waited for.
        TokenError::Unavailable => "unavailable",
        TokenError::Busy => "busy",
    }
}
