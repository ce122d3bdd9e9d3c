//! `token`: mints a token, as an application would, or with `inspect` takes one apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::given::sources;
use super::inspect::{InspectArguments, inspect};
use super::{ConfigArguments, Exit, answer, complain, complain_of};
use crate::config::{self, Entry};
use crate::settings::{Settings, Token};
use crate::token::{Grant, Signer, mint};

pub(super) const AFTER: &str = "\
Without --channel the token lets its user connect; with --channel it opens that channel to the same user's connection.

It is signed with the secret that the node has in the same configuration (file, environment or --set; token.hmac_secret, or
subscription_token.hmac_secret for channels if that section is enabled), with the secret in --secret-file, or with the private key in
--key, whose public half the node has in token.public_key_files or, under the name --kid, in a key set. token.audience and
token.issuer are put in where they are set.

  key                            algorithms (the first unless told)
  a secret                       HS256, HS384, HS512
  RSA, 2,048 bits or more        RS256, RS384, RS512
  P-256, P-384                   ES256, ES384
  Ed25519                        EdDSA

Examples:
  roadstead token --config roadstead.toml --user ann
  roadstead token --config roadstead.toml --user ann --channel '$room' --ttl 15m
  ROADSTEAD_TOKEN__HMAC_SECRET_FILE=secret roadstead token --user ann --ttl 7d --info '{\"name\":\"Ann\"}'
  openssl genpkey -algorithm ed25519 -out key.pem && roadstead token --user ann --key key.pem --jti one
  roadstead token inspect --config roadstead.toml TOKEN

Exit codes: 0 minted, 1 the key does not sign, 2 wrong usage, 78 configuration not valid, or no key";

/// `token`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TokenArguments {
    /// What to do; without it a token is minted.
    #[command(subcommand)]
    pub action: Option<TokenAction>,
    /// What is minted.
    #[command(flatten)]
    pub mint: MintArguments,
}

/// What else can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Print what a token says, and whether a node with this configuration would take it
    #[command(after_help = super::inspect::AFTER)]
    Inspect(InspectArguments),
}

/// `token` without `inspect`.
#[derive(Debug, Args)]
pub struct MintArguments {
    /// The user that the token names (sub); empty: anonymous
    #[arg(long, value_name = "USER", required = true)]
    pub user: Option<String>,
    /// The channel that the token opens; without it, the token lets its user connect
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<String>,
    /// The only connection (client id) that may use it
    #[arg(long, value_name = "ID", requires = "channel")]
    pub client: Option<String>,
    /// How long it is valid, such as 90s, 15m, 1h, 7d; never: without end (exp)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    pub ttl: Lifetime,
    /// When what it opens ends, in Unix seconds, where that is not when the token ends; 0: never (expire_at)
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub expire_at: Option<u64>,
    /// Its own name among all tokens, by which it can be revoked (jti)
    #[arg(long, value_name = "ID")]
    pub jti: Option<String>,
    /// JSON that others see with this connection or subscription
    #[arg(long, value_name = "JSON")]
    pub info: Option<String>,
    /// JSON that the client gets with the answer to its subscribe
    #[arg(long, value_name = "JSON", requires = "channel")]
    pub data: Option<String>,
    /// Whom it is for [default: token.audience]
    #[arg(long, value_name = "AUDIENCE")]
    pub aud: Option<String>,
    /// Whom it is from [default: token.issuer]
    #[arg(long, value_name = "ISSUER")]
    pub iss: Option<String>,
    /// File that holds the secret
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub secret_file: Option<PathBuf>,
    /// File that holds the private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Name of the key in a key set
    #[arg(long, value_name = "NAME")]
    pub kid: Option<String>,
    /// How it is signed [default: by the key]
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<String>,
    /// Where the settings of the node are.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// How long a token is valid, seconds; `None`: without end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime(pub Option<u64>);

/// Why there is no token.
type Refusal = (Exit, String);

/// Prints a token, or what one says.
#[must_use]
pub fn run(arguments: &TokenArguments) -> Exit {
    if let Some(TokenAction::Inspect(arguments)) = &arguments.action {
        return inspect(arguments);
    }
    let arguments = &arguments.mint;
    let mut sources = sources(&arguments.config, None);
    if let Some(path) = &arguments.secret_file {
        let path = path.to_string_lossy().into_owned();
        sources.flags.push(Entry::flag("--secret-file", "token.hmac_secret_file", path));
    }
    let settings = match config::load(&sources) {
        Ok(configuration) => configuration.settings,
        Err(problems) => return complain_of(&problems),
    };
    match minted(arguments, &settings) {
        Ok(token) => answer(&token),
        Err((exit, why)) => {
            complain(&why);
            exit
        }
    }
}

fn minted(arguments: &MintArguments, settings: &Settings) -> Result<String, Refusal> {
    let usage = |why: String| (Exit::Usage, why);
    let (user, channel) = (arguments.user.as_deref().unwrap_or_default(), arguments.channel.as_deref());
    let fits = |flag: &str, text: &str, bytes_max: usize, why: &str| {
        let bytes = text.len();
        let is_too_long = bytes > bytes_max;
        let complaint = || usage(format!("{flag} has {bytes} bytes; a node takes at most {bytes_max}{why}"));
        if is_too_long { Err(complaint()) } else { Ok(()) }
    };
    let limits = &settings.limits;
    fits("--user", user, limits.user_bytes_max(), ", since limits.channel_bytes has to hold #USER")?;
    if let Some(channel) = channel {
        fits("--channel", channel, limits.channel_bytes as usize, "")?;
        if channel.is_empty() {
            return Err(usage("--channel is empty".into()));
        }
    }
    let json = |flag: &str, text: &Option<String>| {
        let parsed = text.clone().map(RawValue::from_string).transpose();
        parsed.map_err(|error| usage(format!("{flag} is not JSON: {error}")))
    };
    let (info, data) = (json("--info", &arguments.info)?, json("--data", &arguments.data)?);
    let has_own_keys = channel.is_some() && settings.subscription_token.enabled;
    let token = if has_own_keys { &settings.subscription_token.token } else { &settings.token };
    let signer = signer(arguments, if arguments.secret_file.is_some() { &settings.token } else { token })?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let grant = Grant {
        user,
        channel,
        client: arguments.client.as_deref(),
        issued_at_s: now_s,
        expires_at_s: arguments.ttl.0.map(|ttl_s| now_s.saturating_add(ttl_s)),
        ends_at_s: arguments.expire_at,
        id: arguments.jti.as_deref(),
        info: info.as_deref(),
        data: data.as_deref(),
        audience: arguments.aud.as_deref().or(token.audience.as_deref()),
        issuer: arguments.iss.as_deref().or(token.issuer.as_deref()),
    };
    mint(&signer, &grant).map_err(|error| (Exit::Failure, format!("cannot sign the token: {error}")))
}

/// What it is signed with.
fn signer(arguments: &MintArguments, token: &Token) -> Result<Signer, Refusal> {
    let signer = match (&arguments.key, &token.hmac_secret) {
        (Some(path), _) => of_file(path).map_err(|why| (Exit::Configuration, why))?,
        (None, Some(secret)) => Signer::with_secret(secret),
        (None, None) => {
            return Err((
                Exit::Configuration,
                "no secret to sign with: set token.hmac_secret or token.hmac_secret_file (--config, --set or \
                 ROADSTEAD_TOKEN__HMAC_SECRET_FILE), or give --secret-file or --key"
                    .into(),
            ));
        }
    };
    let signer = match &arguments.algorithm {
        Some(name) => {
            signer.using(name).map_err(|why| (Exit::Usage, format!("--algorithm {name}: {why}")))?
        }
        None => signer,
    };
    Ok(signer.named(arguments.kid.clone()))
}

fn of_file(path: &Path) -> Result<Signer, String> {
    let problem = |why: &str| format!("--key {}: {why}", path.display());
    let content = fs::read(path).map_err(|error| problem(&error.to_string()))?;
    Signer::with_pem(&content).map_err(|why| problem(&why))
}

pub(super) fn lifetime(text: &str) -> Result<Lifetime, String> {
    let wanted = || "a number with a unit is wanted, such as 90s, 15m, 1h or 7d; or never".to_owned();
    if text == "never" {
        return Ok(Lifetime(None));
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wanted)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or_else(wanted)?;
    number.checked_mul(seconds).map(|ttl_s| Lifetime(Some(ttl_s))).ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        for (text, seconds) in [
            ("90s", Some(Some(90))),
            ("15m", Some(Some(900))),
            ("1h", Some(Some(3_600))),
            ("7d", Some(Some(604_800))),
            ("never", Some(None)),
            ("0s", None),
            ("", None),
            ("h", None),
            ("1", None),
            ("-1h", None),
            ("1.5h", None),
            ("1µ", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(lifetime(text).ok(), seconds.map(Lifetime), "{text}");
        }
    }
}
