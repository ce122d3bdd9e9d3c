//! The table of what each namespace sets: under `channel.` for channels without one, under `namespace.NAME.` for the others.

use super::slot::Slot;
use super::table::{Row, live};
use crate::settings::Channel;

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
];
