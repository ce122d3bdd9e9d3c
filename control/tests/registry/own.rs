//! The connections of this node, and where they are announced.

use std::sync::Arc;
use std::time::Duration;

use roadstead_control::limits::{USER_CONNECTIONS_MAX, VACANCY};
use roadstead_control::{Home, NodeId, OwnConnection};

use crate::Statement::{Add, Complete, Remove};
use crate::{NOW, OWN, Registry, announcer, begun, registry, say, shown, sweep, view};

const AWAY: Home = Home { node: Some(NodeId(1)), session: 5 };

/// A connection of this node begins; returns what [`Registry::handle_own`] did.
fn enter(registry: &mut Registry, user: &str, connection: u64) -> Option<Home> {
    registry.handle_own(NOW, &Arc::from(user), connection, 2, 30).copied()
}

/// The users of a whole walk, a few places at a time, with their connections.
fn walked(registry: &mut Registry, places: u32) -> Vec<(String, Vec<u64>)> {
    let (mut walked, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        next = registry.review(NOW, from, places, |user| {
            walked.push((user.name.to_string(), user.connections().map(|own| own.connection).collect()));
            true
        });
    }
    walked
}

#[test]
fn own_connections_are_told_by_shards_alone() {
    let mut registry = registry(&[(1, 1)]);
    assert_eq!(enter(&mut registry, "ada", 10), Some(Home::default()));
    assert_eq!(enter(&mut registry, "ada", 10), None, "known already");
    assert_eq!(enter(&mut registry, "ada", 11), Some(Home::default()));
    let key = begun(&mut registry, announcer(1, 1), 1);
    say(&mut registry, key, 1, &[Add("ada", 10), Remove("ada", 11), Complete]);
    assert_eq!(shown(&registry, "ada"), [(1, 10), (OWN, 10), (OWN, 11)]);

    registry.handle_view(view(&[]));
    sweep(&mut registry);
    assert_eq!(shown(&registry, "ada"), [(OWN, 10), (OWN, 11)], "no View takes them away");
    let at = registry.locate(NOW + Duration::from_secs(5), "ada").next().expect("ada is connected");
    assert_eq!((at.node, at.shard, at.age_s), (NodeId(OWN), 2, 35));

    assert_eq!(registry.handle_own_gone(NOW, "ada", 12), None);
    assert_eq!(registry.handle_own_gone(NOW, "eve", 10), None);
    assert_eq!(registry.handle_own_gone(NOW, "ada", 10), Some(Home::default()));
    assert_eq!(registry.handle_own_gone(NOW, "ada", 10), None);
    assert_eq!(registry.handle_own_gone(NOW, "ada", 11), Some(Home::default()));
    assert_eq!(shown(&registry, "ada"), []);
    assert_eq!(registry.poll_timeout(), Some(NOW + VACANCY));
}

#[test]
fn a_home_lasts_as_long_as_somebody_is_there() {
    let mut registry = registry(&[]);
    assert!(registry.own(NOW, "ada").is_none());
    enter(&mut registry, "ada", 10);
    *registry.own(NOW, "ada").expect("connected").home = AWAY;
    assert_eq!(enter(&mut registry, "ada", 11), Some(AWAY), "this one is to be announced there too");
    assert_eq!(registry.handle_own_gone(NOW, "ada", 10), Some(AWAY));
    assert_eq!(registry.handle_own_gone(NOW, "ada", 11), Some(AWAY));
    assert!(registry.own(NOW, "ada").is_none(), "nothing to announce");
    assert_eq!(
        enter(&mut registry, "ada", 12),
        Some(Home::default()),
        "this one was never announced anywhere"
    );
    *registry.own(NOW, "ada").expect("connected").home = AWAY;
    assert_eq!(registry.handle_own_gone(NOW, "ada", 12), Some(AWAY));
    assert_eq!(registry.poll_vacant(NOW + VACANCY).as_deref(), Some("ada"));
    assert_eq!(enter(&mut registry, "ada", 13), Some(Home::default()), "a stranger");
}

#[test]
fn own_connections_of_a_user_are_bounded() {
    let mut registry = registry(&[]);
    for connection in 0..USER_CONNECTIONS_MAX as u64 {
        assert!(enter(&mut registry, "ada", connection).is_some());
    }
    let more = USER_CONNECTIONS_MAX as u64;
    assert_eq!(enter(&mut registry, "ada", more), None);
    assert_eq!(registry.handle_own_gone(NOW, "ada", more), None);
    assert!(registry.handle_own_gone(NOW, "ada", 0).is_some());
    assert!(enter(&mut registry, "ada", more).is_some());
}

#[test]
fn a_walk_shows_each_user_with_own_connections_once() {
    let mut registry = registry(&[(1, 1)]);
    let key = begun(&mut registry, announcer(1, 1), 1);
    say(&mut registry, key, 1, &[Add("far", 1)]);
    for (user, connection) in [("ada", 1), ("bob", 2), ("ada", 3), ("eve", 4), ("ida", 5)] {
        enter(&mut registry, user, connection);
    }
    say(&mut registry, key, 2, &[Add("bob", 9)]);
    registry.handle_own_gone(NOW, "eve", 4);
    let expected = [("ada".into(), vec![1, 3]), ("bob".into(), vec![2]), ("ida".into(), vec![5])];
    for places in [1, 2, 100] {
        assert_eq!(walked(&mut registry, places), expected, "{places} at a time");
    }

    let mut connections = Vec::new();
    let end = registry.review(NOW, 0, 100, |user| {
        connections.extend(user.connections());
        true
    });
    assert_eq!(end, None);
    let own = |connection| OwnConnection { connection, shard: 2, age_s: 30 };
    assert_eq!(connections, [1, 3, 2, 5].map(own));
}

#[test]
fn a_walk_goes_on_where_it_was_stopped() {
    let mut registry = registry(&[]);
    for user in ["ada", "bob", "eve"] {
        enter(&mut registry, user, 1);
    }
    let mut moved = Vec::new();
    let stopped = registry.review(NOW, 0, 100, |user| {
        let room = moved.is_empty();
        if room {
            *user.home = AWAY;
            moved.push(user.name.to_string());
        }
        room
    });
    let end = registry.review(NOW, stopped.expect("no room for bob"), 100, |user| {
        moved.push(user.name.to_string());
        true
    });
    assert_eq!((moved, end), (vec!["ada".into(), "bob".into(), "eve".into()], None));
    assert_eq!(registry.own(NOW, "ada").map(|user| *user.home), Some(AWAY));
    assert_eq!(registry.own(NOW, "bob").map(|user| *user.home), Some(Home::default()));
}
