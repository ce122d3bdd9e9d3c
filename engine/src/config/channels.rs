//! The table of what each namespace sets: under `channel.` for channels without one, under `namespace.NAME.` for the others.

use super::slot::Slot;
use super::table::{Row, live};
use crate::limits::{HISTORY_SIZE_MAX, HISTORY_TTL_MS_MAX};
use crate::settings::{Channel, RecoveryMode};

/// All of it, in the order in which it is printed.
pub(super) static OPTIONS: &[Row<Channel>] = &[
    live(
        "allow_subscribe_for_client",
        Slot::Flag(|c| &mut c.allow_subscribe_for_client),
        "users may subscribe",
    ),
    live(
        "allow_subscribe_for_anonymous",
        Slot::Flag(|c| &mut c.allow_subscribe_for_anonymous),
        "clients without a user too; needs allow_subscribe_for_client",
    ),
    live("allow_publish_for_client", Slot::Flag(|c| &mut c.allow_publish_for_client), "users may publish"),
    live(
        "allow_publish_for_subscriber",
        Slot::Flag(|c| &mut c.allow_publish_for_subscriber),
        "users may publish to a channel that they are subscribed to",
    ),
    live(
        "allow_publish_for_anonymous",
        Slot::Flag(|c| &mut c.allow_publish_for_anonymous),
        "clients without a user too, where the two above allow it",
    ),
    live(
        "allow_user_limited_channels",
        Slot::Flag(|c| &mut c.allow_user_limited_channels),
        "users may subscribe where they are listed behind the last # of the name",
    ),
    live(
        "channel_regex",
        Slot::Pattern(|c| &mut c.channel_regex),
        "what must match in the name, behind the namespace; tie it to the ends with ^ and $",
    ),
    live(
        "history_size",
        Slot::Count { at: |c| &mut c.history.size, min: 0, max: HISTORY_SIZE_MAX },
        "publications that are kept; with 0, or without history_ttl, there is no history",
    ),
    live(
        "history_ttl",
        Slot::Duration { at: |c| &mut c.history.ttl_ms, min_ms: 0, max_ms: HISTORY_TTL_MS_MAX },
        "how long they are kept, from the last one on",
    ),
    live(
        "history_bytes",
        Slot::Bytes { at: |c| &mut c.history.bytes, min: 1 << 10, max: 1 << 30 },
        "memory of them; then the oldest go",
    ),
    live(
        "history_meta_ttl",
        Slot::Duration { at: |c| &mut c.history.meta_ttl_ms, min_ms: 1_000, max_ms: HISTORY_TTL_MS_MAX },
        "how long a channel's epoch and offset are kept, from the last publication on; longer than history_ttl",
    ),
    live(
        "force_positioning",
        Slot::Flag(|c| &mut c.force_positioning),
        "subscriptions that have missed a publication are told to subscribe again; needs history",
    ),
    live(
        "allow_positioning",
        Slot::Flag(|c| &mut c.allow_positioning),
        "the same for subscriptions that ask for it",
    ),
    live(
        "force_recovery",
        Slot::Flag(|c| &mut c.force_recovery),
        "who comes back gets what it missed; needs history",
    ),
    live(
        "allow_recovery",
        Slot::Flag(|c| &mut c.allow_recovery),
        "the same for subscriptions that ask for it",
    ),
    live(
        "force_recovery_mode",
        Slot::Word { allowed: "stream or cache", set: set_recovery_mode, get: recovery_mode },
        "what that is: everything (stream) or the latest publication (cache)",
    ),
    live(
        "auto_cache_recover",
        Slot::Flag(|c| &mut c.auto_cache_recover),
        "with cache, whoever subscribes gets the latest publication, asked for or not",
    ),
    live(
        "allow_history_for_client",
        Slot::Flag(|c| &mut c.allow_history_for_client),
        "users may read the history",
    ),
    live(
        "allow_history_for_subscriber",
        Slot::Flag(|c| &mut c.allow_history_for_subscriber),
        "users may read the history of a channel that they are subscribed to",
    ),
    live(
        "allow_history_for_anonymous",
        Slot::Flag(|c| &mut c.allow_history_for_anonymous),
        "clients without a user too, where the two above allow it",
    ),
];

fn set_recovery_mode(channel: &mut Channel, word: &str) -> bool {
    let known = RecoveryMode::WORDS.iter().find(|(_, known)| *known == word);
    known.map(|(mode, _)| channel.force_recovery_mode = *mode).is_some()
}

fn recovery_mode(channel: &Channel) -> String {
    RecoveryMode::WORDS[channel.force_recovery_mode as usize].1.into()
}
