//! What a wrong key probably meant.

use super::entry::{Entry, Origin, Problem};
use super::{environment, table};

/// The problem of an unknown key: names the nearest known one.
pub(super) fn unknown(entry: &Entry) -> Problem {
    let shown = |key: &str| match entry.origin {
        Origin::Environment(_) => environment::variable(key),
        _ => key.to_owned(),
    };
    entry.problem(format!(
        "unknown key; the nearest known key is {} (`roadstead config print` lists all)",
        shown(&nearest(&entry.key))
    ))
}

/// Whether a key, known or not, probably holds a secret: its value must not be shown.
pub(super) fn sounds_secret(key: &str) -> bool {
    let plain = |key: &str| !key.ends_with("_file");
    let sounds = ["secret", "key", "password", "token"].iter().any(|word| key.contains(word));
    (table::find(key).is_none() && sounds && plain(key))
        || (table::find(key).is_none() && super::is_secret(&nearest(key)))
}

/// The known key with the least edits to `key`. A key that lacks only its section is nearest to the full one.
fn nearest(key: &str) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let cost = |known: &String| {
        let whole = edits(key, known);
        let tail = edits(&last(key), &last(known)) + 2;
        whole.min(tail)
    };
    table::keys().min_by_key(cost).unwrap_or_default()
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
        ] {
            assert_eq!(nearest(given), meant, "{given}");
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
