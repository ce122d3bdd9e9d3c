//! What a wrong key probably meant, if it is near enough to a known one.

use super::entry::{Entry, Origin, Problem};
use super::{environment, setting};

/// One wrong letter in so many still looks like the same word.
const LETTERS_PER_EDIT: usize = 3;

/// The problem of an unknown key: names the one that was probably meant.
pub(super) fn unknown(entry: &Entry) -> Problem {
    if let Some(reason) = setting::misnamed(&entry.key) {
        return entry.problem(reason);
    }
    let shown = |key: &str| match entry.origin {
        Origin::Environment(_) => environment::variable(key),
        _ => key.to_owned(),
    };
    let nearest = nearest(&entry.key);
    let hint = if looks_like(&entry.key, &nearest) {
        format!("; the nearest known key is {}", shown(&nearest))
    } else {
        String::new()
    };
    entry.problem(format!("unknown key{hint} (`roadstead config print` lists all)"))
}

/// Whether a key, known or not, probably holds a secret: its value must not be shown.
pub(super) fn sounds_secret(key: &str) -> bool {
    let plain = |key: &str| !key.ends_with("_file");
    let sounds = ["secret", "key", "password", "token"].iter().any(|word| key.contains(word));
    (setting::find(key).is_none() && sounds && plain(key))
        || (setting::find(key).is_none() && super::is_secret(&nearest(key)))
}

/// Whether one was probably meant to be the other, or lacks only its section.
fn looks_like(key: &str, known: &str) -> bool {
    let is_near = |key: &str, known: &str| edits(key, known) * LETTERS_PER_EDIT <= key.len();
    is_near(key, known) || is_near(last(key), last(known))
}

/// A key without its section.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or_default()
}

/// The known key with the least edits to `key`. A key that lacks only its section is nearest to the full one.
fn nearest(key: &str) -> String {
    let cost = |known: &String| {
        let whole = edits(key, known);
        let tail = edits(last(key), last(known)) + 2;
        whole.min(tail)
    };
    setting::keys(key).min_by_key(cost).unwrap_or_default()
}

/// Insertions, removals and replacements that turn `from` into `to` (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to = to.as_bytes();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_what_was_meant() {
        for (given, meant) in [
            ("limits.conections", "limits.connections"),
            ("limit.connections", "limits.connections"),
            ("connections", "limits.connections"),
            ("lisen", "listen"),
            ("token.hmac_secret_fle", "token.hmac_secret_file"),
            ("log.levl", "log.level"),
            ("client.ping_ms", "client.ping_s"),
            ("hmac_secret", "token.hmac_secret"),
            ("level", "log.level"),
        ] {
            assert_eq!(nearest(given), meant, "{given}");
            assert!(looks_like(given, meant), "{given}");
        }
    }

    #[test]
    fn far_names_are_likened_to_nothing() {
        for given in ["foo", "zzz.yyy", "x", "", "database.url", "redis"] {
            let nearest = nearest(given);
            assert!(!looks_like(given, &nearest), "{given} is not {nearest}");
        }
    }

    #[test]
    fn misspelt_secrets_stay_hidden() {
        for (key, hidden) in [
            ("token.hmac_secrt", true),
            ("admin_kay", true),
            ("api_key", true),
            ("limits.conections", false),
            ("token.hmac_secret_file", false),
        ] {
            assert_eq!(sounds_secret(key), hidden, "{key}");
        }
    }
}
