//! An announcer's digest and its owner's agree while they know the same, and only then.

use roadstead_control::limits::USER_CONNECTIONS_MAX;
use roadstead_control::{Digest, channel_hash, entry_hash};

use crate::Statement::{Add, Complete, Remove};
use crate::{NOW, announcer, begun, registry, say, told, view};

/// The digest of entries, as an announcer makes it.
fn digest(entries: &[(&str, u64)]) -> Digest {
    let mut digest = Digest::default();
    for (user, connection) in entries {
        digest.add(entry_hash(channel_hash(user.as_bytes()), *connection));
    }
    digest
}

#[test]
fn a_digest_follows_what_the_session_said() {
    let mut registry = registry(&[(1, 1), (2, 1)]);
    let first = begun(&mut registry, announcer(1, 1), 1);
    let other = begun(&mut registry, announcer(2, 1), 1);
    assert_eq!(registry.digest(first), Some(Digest::default()));
    say(&mut registry, first, 1, &[Add("ada", 1), Add("ada", 2), Add("bob", 3), Add("ada", 1)]);
    say(&mut registry, other, 1, &[Add("ada", 1)]);
    assert_eq!(registry.digest(first), Some(digest(&[("bob", 3), ("ada", 2), ("ada", 1)])));
    say(&mut registry, first, 5, &[Remove("ada", 2), Remove("ada", 2), Remove("eve", 1)]);
    assert_eq!(registry.digest(first), Some(digest(&[("ada", 1), ("bob", 3)])));

    let second = begun(&mut registry, announcer(1, 1), 2);
    assert_eq!((registry.digest(first), registry.digest(second)), (None, Some(Digest::default())));
    // An entry of the first session goes in the second: it was never part of that one's digest.
    say(&mut registry, second, 1, &[Remove("bob", 3), Add("ada", 1), Add("ada", 1)]);
    assert_eq!(registry.digest(second), Some(digest(&[("ada", 1)])));
    say(&mut registry, second, 4, &[Complete]);
    while registry.poll_sweep(NOW, 1) {}
    assert_eq!(registry.digest(second), Some(digest(&[("ada", 1)])));
    assert_eq!(registry.digest(other), Some(digest(&[("ada", 1)])), "each announcer has its own");

    registry.handle_view(view(&[(1, 2), (2, 1)]));
    assert_eq!((registry.digest(second), registry.digest(other)), (None, Some(digest(&[("ada", 1)]))));
    let reborn = begun(&mut registry, announcer(1, 2), 1);
    assert_eq!(registry.digest(reborn), Some(Digest::default()));
}

#[test]
fn what_is_not_kept_is_not_in_a_digest() {
    let mut registry = registry(&[(1, 1)]);
    let key = begun(&mut registry, announcer(1, 1), 1);
    let most = USER_CONNECTIONS_MAX as u64;
    let said: Vec<(&str, u64)> = (1..=most).map(|connection| ("ada", connection)).collect();
    for sequence in 1..=most + 1 {
        let _full_in_the_end = told(&mut registry, NOW, key, sequence, Add("ada", sequence));
    }
    assert_eq!(registry.digest(key), Some(digest(&said)));
}
