//! Whether the configured connections fit into the limit of descriptors, and what to do if not.
//!
//! Invariant: a node that can serve some connections goes on, and says how many and how to get more.

use std::io;

use roadstead_io::{Kind, raise_descriptor_limit};

use super::Failure;
use crate::admin;
use crate::limits::{LINK_SLOTS, REFUSAL_SLOTS};
use crate::settings::Settings;
use crate::shard::connections_of_shard;

/// Descriptors that are no connections: standard streams, log, signals, gossip, the admin interface.
fn reserved(settings: &Settings) -> u64 {
    let api = if settings.api.listen.is_some() { admin::API_DESCRIPTORS_MAX } else { 0 };
    25 + u64::from(admin::DESCRIPTORS_MAX + api)
}

/// Descriptors of a shard that are no connections: back end, waker, listeners.
const RESERVED_BY_SHARD: u64 = 8 + 17;

/// How many connections there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Connections that can be served.
    pub(super) connections: u32,
    /// epoll: each shard has its own descriptor table, so that the limit counts for each.
    pub(super) own_tables: bool,
}

/// What the limit of descriptors means for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outlook {
    /// Descriptors for everything in one table.
    pub wanted: u64,
    /// The limit, raised as far as needed and allowed.
    pub limit: u64,
    /// Connections that can be served.
    pub connections: u32,
    /// epoll: each shard has its own descriptor table, so that the limit counts for each.
    pub own_tables: bool,
}

/// Raises the limit of this process as far as needed and allowed, and says what fits into it.
///
/// # Errors
/// The limit cannot be read.
pub fn outlook(kind: Kind, settings: &Settings) -> io::Result<Outlook> {
    let shards = u64::from(settings.shards);
    let wanted = reserved(settings)
        + shards * (RESERVED_BY_SHARD + u64::from(REFUSAL_SLOTS) + links_of_shard(settings))
        + u64::from(settings.limits.connections);
    let limit = raise_descriptor_limit(wanted)?;
    let Room { connections, own_tables } = fit(kind, limit, settings);
    Ok(Outlook { wanted, limit, connections, own_tables })
}

/// Raises the limit as far as needed and allowed, and fits the node into it.
pub(super) fn make_room(kind: Kind, settings: &Settings) -> Result<Room, Failure> {
    let Outlook { wanted, limit, connections, own_tables } = outlook(kind, settings)
        .map_err(|error| Failure::start("cannot read the descriptor limit", &error))?;
    let room = Room { connections, own_tables };
    let advice = || {
        format!(
            "raise it (LimitNOFILE={wanted} in the systemd unit, or `ulimit -n {wanted}`), or lower limits.connections"
        )
    };
    let configured = settings.limits.connections;
    let (links, all_links) = (links_within(kind, limit, settings), links_of_shard(settings));
    if links < all_links {
        tracing::warn!(
            "the descriptor limit of {limit} leaves {links} sockets of each shard for links to other nodes, where {all_links} are \
             meant to be: a larger fleet is not wholly linked; {}",
            advice()
        );
    }
    if room.connections == 0 {
        return Err(Failure::Demand(format!(
            "the descriptor limit of {limit} leaves no room for clients; {}",
            advice()
        )));
    }
    if room.connections < configured {
        tracing::warn!(
            "the descriptor limit of {limit} is below the {configured} configured connections: serving at most {}; {}",
            room.connections,
            advice()
        );
    } else if room.own_tables {
        tracing::info!(
            "the descriptor limit of {limit} is below {configured} connections: each shard has its own table"
        );
    } else if limit < wanted {
        tracing::info!(
            "the descriptor limit of {limit} is below {configured} connections: io_uring uses several rings"
        );
    }
    Ok(room)
}

/// Descriptors for links to other nodes.
fn links_of_shard(settings: &Settings) -> u64 {
    if settings.cluster.listen.is_some() { LINK_SLOTS.into() } else { 0 }
}

/// The same, as far as the limit has room for them.
fn links_within(kind: Kind, limit: u64, settings: &Settings) -> u64 {
    let wanted = links_of_shard(settings);
    match kind {
        // A ring has the limit for itself.
        Kind::Uring => wanted.min(limit),
        Kind::Epoll => wanted.min(limit / 16),
    }
}

fn fit(kind: Kind, limit: u64, settings: &Settings) -> Room {
    let shards = u64::from(settings.shards);
    let configured = settings.limits.connections;
    let left = |all: u64, reserved: u64| all.saturating_sub(reserved);
    let by_shard = RESERVED_BY_SHARD
        + u64::from(REFUSAL_SLOTS).min(limit / 16)
        + links_within(Kind::Epoll, limit, settings);
    let fitted = |connections: u64| u32::try_from(connections).unwrap_or(u32::MAX).min(configured);
    match kind {
        // Direct descriptors count against the limit ring by ring; a ring costs one ordinary descriptor.
        Kind::Uring => {
            let rings = left(limit, reserved(settings) + shards * RESERVED_BY_SHARD);
            Room { connections: fitted(rings.saturating_mul(limit)), own_tables: false }
        }
        Kind::Epoll => {
            let shared = fitted(left(limit, reserved(settings) + shards * by_shard));
            if shared == configured || shards == 1 {
                return Room { connections: shared, own_tables: false };
            }
            // What was open before a table is split stays open in all of them.
            let own = left(limit, reserved(settings) + shards * RESERVED_BY_SHARD + by_shard);
            let enough = u64::from(connections_of_shard(settings, settings.shards)) <= own;
            let connections = if enough { configured } else { fitted(own * shards) };
            Room { connections, own_tables: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_fitted_into_the_limit() {
        let mut settings = Settings::default();
        for (kind, limit, shards, configured, connections, own_tables) in [
            (Kind::Epoll, 1_000_000, 4, 200_000, 200_000, false),
            (Kind::Epoll, 100_000, 4, 200_000, 200_000, true),
            (Kind::Epoll, 10_000, 1, 200_000, 9_810, false),
            (Kind::Epoll, 256, 1, 200_000, 114, false),
            (Kind::Epoll, 64, 1, 200_000, 0, false),
            (Kind::Epoll, 1_024, 1, 100, 100, false),
            (Kind::Uring, 1_024, 2, 200_000, 200_000, false),
            (Kind::Uring, 200, 1, 200_000, 14_800, false),
        ] {
            settings.shards = shards;
            settings.limits.connections = configured;
            let room = fit(kind, limit, &settings);
            assert_eq!(
                (room.connections, room.own_tables),
                (connections, own_tables),
                "{kind} {limit} {shards}"
            );
        }
        settings.shards = 4;
        settings.limits.connections = 200_000;
        let room = fit(Kind::Epoll, 10_000, &settings);
        assert!(room.own_tables && room.connections > 38_000 && room.connections < 40_000, "{room:?}");

        settings.cluster.listen = Some(([127, 0, 0, 1], 7800).into());
        settings.shards = 1;
        let room = fit(Kind::Epoll, 10_000, &settings);
        assert_eq!(room.connections, 9_810 - 10_000 / 16, "links need room of their own");
        let links = |kind, limit| links_within(kind, limit, &settings);
        assert_eq!(links(Kind::Epoll, 1_000_000), u64::from(LINK_SLOTS));
        assert_eq!(links(Kind::Uring, 10_000), u64::from(LINK_SLOTS));
        assert_eq!(links(Kind::Epoll, 1_024), 64, "fewer than a large fleet needs, which is said");
    }
}
