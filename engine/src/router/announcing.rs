//! What a hub says about its node's users: to whom, in which session, and under which number.
//!
//! Invariants: what was said is counted and in the digest of the hub that it was said to; nothing is said twice in a session.

use std::sync::Arc;

use roadstead_control::{Digest, Home, OwnUser, channel_hash, entry_hash, hub_shard};

use super::links::{Links, Route};
use crate::flow::{Relayed, personal_channel};

/// The way to where a user was announced, if that still counts.
pub(super) fn announced_on(links: &Links, home: Home) -> Option<Route> {
    links.announcing(home.node?).filter(|route| route.session == home.session)
}

/// Announces a user's connections on `route` (`None`: nowhere), unless that was done, and takes them back elsewhere.
pub(super) fn move_home(
    links: &mut Links,
    own: OwnUser<'_>,
    route: Option<Route>,
    said: &mut Vec<(Route, Relayed)>,
) {
    let home =
        route.map_or_else(Home::default, |route| Home { node: Some(route.node), session: route.session });
    let before = *own.home;
    if before == home {
        return;
    }
    if before.node != home.node
        && let Some(route) = announced_on(links, before)
    {
        for held in own.connections() {
            said.push((route, say_leave(links, route, own.name, held.connection)));
        }
    }
    if let Some(route) = route {
        for held in own.connections() {
            let enter = say_enter(links, route, own.name, held.connection, held.shard, held.age_s);
            said.push((route, enter));
        }
    }
    *own.home = home;
}

pub(super) fn say_enter(
    links: &mut Links,
    route: Route,
    user: &Arc<str>,
    connection: u64,
    shard: u16,
    age_s: u32,
) -> Relayed {
    let sequence = count(links, route, user, |entries| {
        entries.add(entry_hash(channel_hash(user.as_bytes()), connection))
    });
    Relayed::Enter { sequence, user: Arc::clone(user), connection, shard, age_s }
}

pub(super) fn say_leave(links: &mut Links, route: Route, user: &Arc<str>, connection: u64) -> Relayed {
    let hash = entry_hash(channel_hash(user.as_bytes()), connection);
    let sequence = count(links, route, user, |entries| entries.remove(hash));
    Relayed::Leave { sequence, user: Arc::clone(user), connection }
}

/// The number of the next statement about `user`, with its change to the digest.
fn count(links: &mut Links, route: Route, user: &str, change: impl FnOnce(&mut Digest)) -> u64 {
    let Some(peer) = links.peer_mut(route.node) else { return 0 };
    let hub = hub_shard(personal_channel(user).as_bytes(), peer.told.len() as u16);
    let told = &mut peer.told[usize::from(hub)];
    change(&mut told.entries);
    told.sequence += 1;
    told.sequence
}
