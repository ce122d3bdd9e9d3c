//! `token`: mints a connection token.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::value::RawValue;

use super::given::sources;
use super::{ConfigArguments, Exit, answer, complain, complain_of};
use crate::config::{self, Entry};
use crate::token::{Grant, mint};

pub(super) const AFTER: &str = "\
The token is signed with token.hmac_secret of the same configuration that the node has (file, environment or --set),
or with the secret in --secret-file. token.audience and token.issuer are put in where they are set.

Examples:
  roadstead token --config roadstead.toml --user ann
  ROADSTEAD_TOKEN__HMAC_SECRET_FILE=secret roadstead token --user ann --ttl 7d --info '{\"name\":\"Ann\"}'";

/// `token`.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// The user that the token names; empty: anonymous
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// How long it is valid, such as 90s, 15m, 1h, 7d; never: without end
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    pub ttl: Lifetime,
    /// JSON that others see with this connection
    #[arg(long, value_name = "JSON")]
    pub info: Option<String>,
    /// File that holds the secret
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Where the settings of the node are.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// How long a token is valid, seconds; `None`: without end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime(pub Option<u64>);

/// Prints a token.
#[must_use]
pub fn run(arguments: &TokenArguments) -> Exit {
    let mut sources = sources(&arguments.config, None);
    if let Some(path) = &arguments.secret_file {
        let path = path.to_string_lossy().into_owned();
        sources.flags.push(Entry::flag("--secret-file", "token.hmac_secret_file", path));
    }
    let (token, limits) = match config::load(&sources) {
        Ok(configuration) => (configuration.settings.token, configuration.settings.limits),
        Err(problems) => return complain_of(&problems),
    };
    let (user_bytes, user_bytes_max) = (arguments.user.len(), limits.user_bytes_max());
    if user_bytes > user_bytes_max {
        complain(&format!(
            "--user has {user_bytes} bytes; a node takes at most {user_bytes_max}, since limits.channel_bytes has to hold #USER"
        ));
        return Exit::Usage;
    }
    let Some(secret) = &token.hmac_secret else {
        complain(
            "no secret to sign with: set token.hmac_secret or token.hmac_secret_file (--config, --set or \
             ROADSTEAD_TOKEN__HMAC_SECRET_FILE), or give --secret-file",
        );
        return Exit::Configuration;
    };
    let info = match arguments.info.clone().map(RawValue::from_string).transpose() {
        Ok(info) => info,
        Err(error) => {
            complain(&format!("--info is not JSON: {error}"));
            return Exit::Usage;
        }
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let grant = Grant {
        user: &arguments.user,
        issued_at_s: now_s,
        expires_at_s: arguments.ttl.0.map(|ttl_s| now_s.saturating_add(ttl_s)),
        info: info.as_deref(),
    };
    match mint(secret, &token, &grant) {
        Ok(text) => answer(&text),
        Err(error) => {
            complain(&format!("cannot sign the token: {error}"));
            Exit::Failure
        }
    }
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
