//! What kind of value a setting takes, what is allowed, and where in [`Settings`] it lies.
//!
//! Invariant: a value is stored only if it is allowed; a slot can read back what it stores.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use roadstead_control::NodeName;
use serde_json::json;

use super::duration;
use super::entry::Value;
use crate::limits::{CHANNEL_PATTERN_BYTES_MAX, CHANNEL_PATTERN_MEMORY_BYTES, WEB_ADDRESS_BYTES_MAX};
use crate::prefix::{Prefix, Prefixes};
use crate::settings::{NamePattern, Secret, Settings, WebAddress};

/// Finds a setting's place in `S`. One function both reads and writes, so that the two cannot differ.
pub(super) type Place<S, T> = fn(&mut S) -> &mut T;

/// Kind, range and place of a setting in `S`: the settings of the node, or of one namespace.
pub(super) enum Slot<S = Settings> {
    Flag(Place<S, bool>),
    /// A whole number.
    Count {
        at: Place<S, u32>,
        min: u32,
        max: u32,
    },
    /// A number of bytes; `64KiB` and the like are understood.
    Bytes {
        at: Place<S, u32>,
        min: u32,
        max: u32,
    },
    /// A number of bytes, 0 for none, or `auto`.
    Ceiling {
        at: Place<S, Option<u64>>,
        min: u64,
    },
    /// A length of time, such as `300s`; stored in milliseconds.
    Duration {
        at: Place<S, u64>,
        min_ms: u64,
        max_ms: u64,
    },
    /// Like `Count`, stored small.
    Small {
        at: Place<S, u16>,
        min: u16,
        max: u16,
    },
    /// An address or `off`.
    Address(Place<S, Option<SocketAddr>>),
    Addresses {
        at: Place<S, Vec<SocketAddr>>,
        min: usize,
        max: usize,
    },
    /// Addresses and networks.
    Prefixes {
        at: Place<S, Prefixes>,
        max: usize,
    },
    Path(Place<S, Option<PathBuf>>),
    /// A name that other nodes see.
    Name(Place<S, Option<String>>),
    Text {
        at: Place<S, Option<String>>,
        bytes_max: usize,
    },
    Texts {
        at: Place<S, Vec<String>>,
        max: usize,
    },
    /// A regular expression.
    Pattern(Place<S, Option<NamePattern>>),
    /// An address that the node asks by itself.
    Web(Place<S, Option<WebAddress>>),
    /// Also known as `<key>_file`, which names a file that holds it.
    Secret {
        at: Place<S, Option<Secret>>,
    },
    /// Likewise; the file holds one a line.
    Secrets {
        at: Place<S, Vec<Secret>>,
        max: usize,
    },
    /// One of some words.
    Word {
        allowed: &'static str,
        set: fn(&mut S, &str) -> bool,
        get: fn(&S) -> String,
    },
}

/// What names of nodes, fleets and regions are made of.
pub(super) const NAME: &str = "1 to 63 characters of a-z, 0-9, -, . and _";

/// A secret is read whole; more than this is surely another file.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

impl<S> Slot<S> {
    /// Stores `value`. `repeated`: the same source gave this setting before, so a list goes on.
    pub(super) fn store(&self, settings: &mut S, value: &Value, repeated: bool) -> Result<(), String> {
        match self.try_store(settings, value, repeated) {
            Some(()) => Ok(()),
            None => Err(format!("allowed is {}", self.allowed())),
        }
    }

    fn try_store(&self, settings: &mut S, value: &Value, repeated: bool) -> Option<()> {
        match self {
            Self::Flag(at) => *at(settings) = flag(value)?,
            Self::Count { at, min, max } => {
                *at(settings) = u32::try_from(whole(value)?).ok().filter(|n| (min..=max).contains(&n))?;
            }
            Self::Bytes { at, min, max } => {
                *at(settings) = u32::try_from(bytes(value)?).ok().filter(|n| (min..=max).contains(&n))?;
            }
            Self::Ceiling { at, min } => {
                *at(settings) = match text(value) {
                    Some("auto") => None,
                    _ => Some(bytes(value).filter(|bytes| *bytes == 0 || bytes >= min)?),
                };
            }
            Self::Duration { at, min_ms, max_ms } => {
                let allowed = *min_ms..=*max_ms;
                *at(settings) = duration::parse(text(value)?).filter(|ms| allowed.contains(ms))?;
            }
            Self::Small { at, min, max } => {
                *at(settings) = u16::try_from(whole(value)?).ok().filter(|n| (min..=max).contains(&n))?;
            }
            Self::Address(at) => {
                *at(settings) = match text(value)? {
                    "off" => None,
                    address => Some(address.parse().ok()?),
                };
            }
            Self::Addresses { at, min, max } => {
                let parsed = list(value)?.iter().map(|a| a.parse().ok()).collect::<Option<Vec<_>>>()?;
                extend(at(settings), parsed, repeated, *max).filter(|list| list.len() >= *min)?;
            }
            Self::Prefixes { at, max } => {
                let parsed = list(value)?.iter().map(|p| p.parse().ok()).collect::<Option<Vec<Prefix>>>()?;
                let mut all = at(settings).given().to_vec();
                extend(&mut all, parsed, repeated, *max)?;
                *at(settings) = all.into_iter().collect();
            }
            Self::Path(at) => *at(settings) = Some(text(value).filter(|t| !t.is_empty())?.into()),
            Self::Name(at) => {
                let name = text(value).filter(|name| NodeName::new(name).is_ok())?;
                *at(settings) = Some(name.into());
            }
            Self::Text { at, bytes_max } => {
                *at(settings) = Some(text(value).filter(|t| !t.is_empty() && t.len() <= *bytes_max)?.into());
            }
            Self::Texts { at, max } => {
                extend(at(settings), list(value)?, repeated, *max)?;
            }
            Self::Pattern(at) => *at(settings) = NamePattern::new(text(value)?).ok().map(Some)?,
            Self::Web(at) => *at(settings) = WebAddress::new(text(value)?).map(Some)?,
            Self::Secret { at } => *at(settings) = Some(secret(text(value)?.as_bytes())?),
            Self::Secrets { at, max } => {
                let secrets = list(value)?.iter().map(|one| secret(one.as_bytes())).collect::<Option<_>>()?;
                extend(at(settings), secrets, repeated, *max)?;
            }
            Self::Word { set, .. } => set(settings, text(value)?).then_some(())?,
        }
        Some(())
    }

    /// Whether printing its value would show a secret.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret { .. } | Self::Secrets { .. })
    }

    /// Stores what lies in the file which `value` names: a secret, to which line ends at its end do not belong, or one a line.
    pub(super) fn store_secret_file(&self, settings: &mut S, value: &Value) -> Result<(), String> {
        const EMPTY: &str = "the file is empty; it should hold the secret";
        let path = text(value).filter(|t| !t.is_empty()).ok_or("allowed is the path of a file");
        let content = path.map(|path| read_secret(Path::new(path)))?;
        match self {
            Self::Secret { at } => {
                let content = content?;
                let end =
                    content.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
                *at(settings) = Some(secret(&content[..end]).ok_or(EMPTY)?);
            }
            Self::Secrets { at, max } => {
                let content = content?;
                let lines = content.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
                let secrets: Vec<Secret> = lines.filter_map(secret).collect();
                if secrets.is_empty() {
                    return Err(EMPTY.into());
                }
                extend(at(settings), secrets, false, *max).ok_or_else(|| format!("allowed are {max}"))?;
            }
            _ => return Err("only secrets are read from files".into()),
        }
        Ok(())
    }

    /// What is allowed, to follow "allowed is".
    pub(super) fn allowed(&self) -> String {
        match self {
            Self::Flag(_) => "true or false".into(),
            Self::Count { min, max, .. } => format!("a whole number from {min} to {max}"),
            Self::Bytes { min, max, .. } => {
                format!("a number of bytes from {min} to {max}, or such as \"64KiB\" or \"16MiB\"")
            }
            Self::Ceiling { min, .. } => {
                format!("auto, 0 for none, or a number of bytes from {min}, such as \"512MiB\" or \"16GiB\"")
            }
            Self::Duration { min_ms, max_ms, .. } => format!(
                "a length of time from {} to {}, such as \"500ms\", \"300s\" or \"1h30m\"",
                duration::show(*min_ms),
                duration::show(*max_ms)
            ),
            Self::Small { min, max, .. } => format!("a whole number from {min} to {max}"),
            Self::Address(_) => {
                "an IP address with a port, such as 127.0.0.1:9000 or [::1]:9000, or off".into()
            }
            Self::Addresses { min, max, .. } => {
                format!(
                    "{min} to {max} IP addresses with ports, such as 127.0.0.1:8000 or [::]:8000; host names are not looked up"
                )
            }
            Self::Prefixes { max, .. } => {
                format!("at most {max} addresses or networks, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")
            }
            Self::Path(_) => "a path".into(),
            Self::Name(_) => NAME.into(),
            Self::Text { bytes_max, .. } => format!("text of 1 to {bytes_max} bytes"),
            Self::Texts { max, .. } => format!("a list of at most {max} texts"),
            Self::Pattern(_) => {
                format!(
                    "a regular expression of 1 to {CHANNEL_PATTERN_BYTES_MAX} bytes that compiles to {CHANNEL_PATTERN_MEMORY_BYTES} bytes at most"
                )
            }
            Self::Web(_) => format!(
                "an address such as https://id.example.com/keys of at most {WEB_ADDRESS_BYTES_MAX} bytes: http or https, a host, no user and password, no #"
            ),
            Self::Secret { .. } => "text that is not empty; or give its _file form".into(),
            Self::Secrets { max, .. } => {
                format!("a list of at most {max} texts that are not empty; or give its _file form")
            }
            Self::Word { allowed, .. } => (*allowed).into(),
        }
    }

    /// The stored value; `null`: not set; secrets only say that they are there.
    pub(super) fn show(&self, settings: &mut S) -> serde_json::Value {
        match self {
            Self::Flag(at) => json!(*at(settings)),
            Self::Count { at, .. } | Self::Bytes { at, .. } => json!(*at(settings)),
            Self::Ceiling { at, .. } => at(settings).map_or_else(|| json!("auto"), |bytes| json!(bytes)),
            Self::Duration { at, .. } => json!(duration::show(*at(settings))),
            Self::Small { at, .. } => json!(*at(settings)),
            Self::Address(at) => json!(at(settings).map_or_else(|| "off".into(), |a| a.to_string())),
            Self::Addresses { at, .. } => {
                json!(at(settings).iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            Self::Prefixes { at, .. } => {
                json!(at(settings).given().iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            Self::Path(at) => json!(at(settings).as_ref().map(|p| p.display().to_string())),
            Self::Name(at) | Self::Text { at, .. } => json!(at(settings)),
            Self::Texts { at, .. } => json!(at(settings)),
            Self::Pattern(at) => json!(at(settings).as_ref().map(NamePattern::as_str)),
            Self::Web(at) => json!(at(settings).as_ref().map(WebAddress::as_str)),
            Self::Secret { at } => json!(at(settings).as_ref().map(ToString::to_string)),
            Self::Secrets { at, .. } => json!(at(settings).first().map(ToString::to_string)),
            Self::Word { get, .. } => json!(get(settings)),
        }
    }

    /// Gives `to` the value of `from`.
    pub(super) fn copy(&self, to: &mut S, from: &mut S) {
        match self {
            Self::Flag(at) => *at(to) = *at(from),
            Self::Count { at, .. } | Self::Bytes { at, .. } => *at(to) = *at(from),
            Self::Ceiling { at, .. } => *at(to) = *at(from),
            Self::Duration { at, .. } => *at(to) = *at(from),
            Self::Small { at, .. } => *at(to) = *at(from),
            Self::Address(at) => *at(to) = *at(from),
            Self::Addresses { at, .. } => at(to).clone_from(at(from)),
            Self::Prefixes { at, .. } => at(to).clone_from(at(from)),
            Self::Path(at) => at(to).clone_from(at(from)),
            Self::Name(at) | Self::Text { at, .. } => at(to).clone_from(at(from)),
            Self::Texts { at, .. } => at(to).clone_from(at(from)),
            Self::Pattern(at) => at(to).clone_from(at(from)),
            Self::Web(at) => at(to).clone_from(at(from)),
            Self::Secret { at } => at(to).clone_from(at(from)),
            Self::Secrets { at, .. } => at(to).clone_from(at(from)),
            Self::Word { set, get, .. } => {
                let taken = set(to, &get(from));
                debug_assert!(taken, "a stored word is allowed");
            }
        }
    }

    /// Whether both hold the same value.
    pub(super) fn same(&self, one: &mut S, other: &mut S) -> bool {
        match self {
            Self::Secret { at } => at(one) == at(other),
            Self::Secrets { at, .. } => at(one) == at(other),
            _ => self.show(one) == self.show(other),
        }
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Flag(flag) => Some(*flag),
        Value::Word(word) => match word.as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Whole(number) => u64::try_from(*number).ok(),
        Value::Word(word) => digits(word),
        _ => None,
    }
}

/// Digits, with `_` between them as in TOML.
fn digits(word: &str) -> Option<u64> {
    word.starts_with(|c: char| c.is_ascii_digit()).then(|| word.replace('_', "").parse().ok())?
}

fn bytes(value: &Value) -> Option<u64> {
    if let Some(number) = whole(value) {
        return Some(number);
    }
    let text = text(value)?;
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    digits(number.trim_end())?.checked_mul(1 << shift)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Word(text) => Some(text),
        _ => None,
    }
}

fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::List(list) => Some(list.clone()),
        Value::Text(text) => Some(vec![text.clone()]),
        Value::Word(word) => {
            Some(word.split(',').map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect())
        }
        _ => None,
    }
}

fn extend<T>(to: &mut Vec<T>, more: Vec<T>, repeated: bool, max: usize) -> Option<&mut Vec<T>> {
    if !repeated {
        to.clear();
    }
    to.extend(more);
    (to.len() <= max).then_some(to)
}

fn secret(bytes: &[u8]) -> Option<Secret> {
    (!bytes.is_empty()).then(|| Secret::new(bytes))
}

fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", path.display());
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > SECRET_FILE_BYTES_MAX {
        return Err(format!(
            "{} has {length} bytes; a secret has at most {SECRET_FILE_BYTES_MAX}",
            path.display()
        ));
    }
    fs::read(path).map_err(unreadable)
}
