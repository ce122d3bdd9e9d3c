//! What nodes announce of their users' connections.

use std::sync::Arc;
use std::time::Duration;

use roadstead_control::limits::{NODE_SHARDS_MAX, USER_CONNECTIONS_MAX, VACANCY};
use roadstead_control::{Announcement, Announcer, NodeId, Refusal};

use crate::Statement::{Add, Complete, Remove};
use crate::{NOW, OWN, announcer, begun, registry, say, shown, sweep, told, view};

#[test]
fn entries_come_and_go() {
    let mut registry = registry(&[(1, 1), (2, 1)]);
    let one = begun(&mut registry, announcer(1, 1), 1);
    let two = begun(&mut registry, announcer(2, 1), 1);
    say(&mut registry, one, 1, &[Add("ada", 10), Add("ada", 11), Add("bob", 12)]);
    say(&mut registry, two, 1, &[Add("ada", 10)]);
    assert_eq!(shown(&registry, "ada"), [(1, 10), (1, 11), (2, 10)]);
    say(&mut registry, one, 4, &[Remove("ada", 10), Remove("ada", 99), Remove("eve", 1)]);
    assert_eq!(shown(&registry, "ada"), [(1, 11), (2, 10)]);
    assert_eq!(shown(&registry, "eve"), []);
    assert_eq!(registry.confirmed(one), Some(6));

    let at = registry.locate(NOW + Duration::from_secs(5), "bob").next().expect("bob is connected");
    assert_eq!((at.node, at.shard, at.connection, at.age_s), (NodeId(1), 3, 12, 65));
}

#[test]
fn a_connection_may_be_older_than_its_owner() {
    let mut registry = registry(&[(1, 1)]);
    let key = begun(&mut registry, announcer(1, 1), 1);
    let ada: Arc<str> = "ada".into();
    let ancient = Announcement::Add { user: &ada, connection: 1, shard: 0, age_s: 90_000 };
    assert_eq!(registry.handle_announcement(Duration::ZERO, key, 1, ancient), Ok(()));
    let ages: Vec<u32> = registry.locate(Duration::from_secs(9), "ada").map(|at| at.age_s).collect();
    assert_eq!(ages, [90_009]);
}

#[test]
fn only_a_life_in_the_view_may_announce() {
    let mut registry = registry(&[(1, 5)]);
    let cases = [
        (announcer(1, 5), Ok(())),
        (announcer(1, 4), Err(Refusal::NotInView)),
        (announcer(1, 6), Err(Refusal::NotInView)),
        (announcer(2, 5), Err(Refusal::NotInView)),
    ];
    for (announcer, expected) in cases {
        assert_eq!(registry.handle_session(announcer, 1).map(|_| ()), expected, "{announcer:?}");
    }
}

#[test]
fn sequences_are_guarded() {
    let mut registry = registry(&[(1, 1)]);
    let key = begun(&mut registry, announcer(1, 1), 1);
    let steps = [
        (2, Add("ada", 1), Err(Refusal::Gap { expected: 1 })),
        (1, Add("ada", 2), Ok(())),
        (1, Remove("ada", 2), Err(Refusal::Repeated)),
        (0, Remove("ada", 2), Err(Refusal::Repeated)),
        (3, Remove("ada", 2), Err(Refusal::Gap { expected: 2 })),
        (2, Add("ada", 3), Ok(())),
    ];
    for (sequence, announcement, expected) in steps {
        assert_eq!(told(&mut registry, NOW, key, sequence, announcement), expected, "{sequence}");
    }
    assert_eq!(shown(&registry, "ada"), [(1, 2), (1, 3)]);
}

#[test]
fn a_later_session_replaces_what_it_does_not_repeat() {
    let mut registry = registry(&[(1, 1)]);
    let first = begun(&mut registry, announcer(1, 1), 7);
    say(&mut registry, first, 1, &[Add("ada", 1), Add("ada", 2), Add("bob", 3), Complete]);

    assert_eq!(registry.handle_session(announcer(1, 1), 7), Err(Refusal::StaleSession));
    let second = begun(&mut registry, announcer(1, 1), 8);
    assert_eq!(registry.handle_session(announcer(1, 1), 7), Err(Refusal::StaleSession));
    assert_eq!(told(&mut registry, NOW, first, 5, Add("ada", 9)), Err(Refusal::StaleSession));
    assert_eq!(registry.confirmed(first), None);

    assert_eq!(shown(&registry, "ada"), [(1, 1), (1, 2)], "a reset link alone hides nobody");
    say(&mut registry, second, 1, &[Add("ada", 2)]);
    assert_eq!(shown(&registry, "ada"), [(1, 1), (1, 2)]);
    say(&mut registry, second, 2, &[Complete]);
    assert_eq!(shown(&registry, "ada"), [(1, 2)]);
    assert_eq!(shown(&registry, "bob"), []);
}

#[test]
fn a_dead_node_is_never_shown_again() {
    let mut registry = registry(&[(1, 1), (2, 1)]);
    let one = begun(&mut registry, announcer(1, 1), 1);
    let two = begun(&mut registry, announcer(2, 1), 1);
    say(&mut registry, one, 1, &[Add("ada", 1), Add("bob", 2)]);
    say(&mut registry, two, 1, &[Add("ada", 3)]);

    registry.handle_view(view(&[(1, 2), (2, 1)]));
    assert_eq!(shown(&registry, "ada"), [(2, 3)], "before any sweep");
    assert_eq!(told(&mut registry, NOW, one, 3, Add("ada", 4)), Err(Refusal::StaleSession));

    // The next life takes the slot of the last one, and must not revive its entries.
    let reborn = begun(&mut registry, announcer(1, 2), 1);
    say(&mut registry, reborn, 1, &[Add("bob", 9)]);
    assert_eq!(shown(&registry, "ada"), [(2, 3)]);
    assert_eq!(shown(&registry, "bob"), [(1, 9)]);
    sweep(&mut registry);
    assert_eq!(shown(&registry, "ada"), [(2, 3)]);
    assert_eq!(shown(&registry, "bob"), [(1, 9)]);
}

#[test]
fn an_absence_shorter_than_the_vacancy_period_is_none() {
    let mut registry = registry(&[(1, 1)]);
    let key = begun(&mut registry, announcer(1, 1), 1);
    say(&mut registry, key, 1, &[Add("ada", 1), Add("bob", 2), Remove("ada", 1), Remove("bob", 2)]);
    assert_eq!(registry.poll_timeout(), Some(NOW + VACANCY));
    say(&mut registry, key, 5, &[Add("ada", 3)]);
    assert_eq!(registry.poll_vacant(NOW + VACANCY - Duration::from_millis(1)), None);
    assert_eq!(registry.users(), 2);
    assert_eq!(registry.poll_vacant(NOW + VACANCY).as_deref(), Some("bob"));
    assert_eq!(registry.poll_vacant(NOW + VACANCY), None);
    assert_eq!((registry.users(), registry.poll_timeout()), (1, None));
}

#[test]
fn the_users_of_a_dead_node_become_vacant_by_the_sweep() {
    let mut registry = registry(&[(1, 1), (2, 1)]);
    let one = begun(&mut registry, announcer(1, 1), 1);
    let two = begun(&mut registry, announcer(2, 1), 1);
    say(&mut registry, one, 1, &[Add("ada", 1), Add("bob", 2), Add("eve", 3)]);
    say(&mut registry, two, 1, &[Add("bob", 4)]);
    registry.handle_view(view(&[(2, 1)]));
    assert!(registry.poll_sweep(NOW, 1), "one user at a time");
    sweep(&mut registry);
    let mut gone: Vec<_> = std::iter::from_fn(|| registry.poll_vacant(NOW + VACANCY)).collect();
    gone.sort();
    assert_eq!(gone, ["ada".into(), "eve".into()]);
    assert_eq!(shown(&registry, "bob"), [(2, 4)]);
}

#[test]
fn a_user_is_bounded() {
    let mut registry = registry(&[(1, 1)]);
    let key = begun(&mut registry, announcer(1, 1), 1);
    let most = USER_CONNECTIONS_MAX as u64;
    for connection in 1..=most {
        say(&mut registry, key, connection, &[Add("ada", connection)]);
    }
    let more = told(&mut registry, NOW, key, most + 1, Add("ada", most + 1));
    assert_eq!(more, Err(Refusal::UserFull));
    assert_eq!(registry.confirmed(key), Some(most + 1), "the session goes on behind a refusal of this kind");
    say(&mut registry, key, most + 2, &[Remove("ada", 1), Add("ada", most + 3)]);
    assert_eq!(shown(&registry, "ada").len(), USER_CONNECTIONS_MAX);
}

#[test]
fn a_full_user_of_one_node_does_not_shut_out_another() {
    let mut registry = registry(&[(1, 1), (2, 1)]);
    let (one, two) = (begun(&mut registry, announcer(1, 1), 1), begun(&mut registry, announcer(2, 1), 1));
    for connection in 1..=USER_CONNECTIONS_MAX as u64 {
        say(&mut registry, one, connection, &[Add("ada", connection)]);
    }
    say(&mut registry, two, 1, &[Add("ada", 1)]);
    assert_eq!(shown(&registry, "ada").len(), USER_CONNECTIONS_MAX + 1);
}

#[test]
fn sessions_that_never_complete_do_not_pile_up() {
    let mut registry = registry(&[(1, 1)]);
    let most = USER_CONNECTIONS_MAX as u64;
    for session in 1..=3 {
        let key = begun(&mut registry, announcer(1, 1), session);
        for connection in 1..=most {
            say(&mut registry, key, connection, &[Add("ada", session * most + connection)]);
        }
    }
    let expected: Vec<(u32, u64)> = (1..=most).map(|connection| (1, 3 * most + connection)).collect();
    assert_eq!(shown(&registry, "ada"), expected, "what was said last");
}

#[test]
fn hubs_that_no_node_has_may_not_announce() {
    let mut registry = registry(&[(1, 1)]);
    let hub = |shard| Announcer { shard, ..announcer(1, 1) };
    assert!(registry.handle_session(hub(NODE_SHARDS_MAX - 1), 1).is_ok());
    assert_eq!(registry.handle_session(hub(NODE_SHARDS_MAX), 1), Err(Refusal::NoHub));
    assert_eq!(registry.handle_session(announcer(OWN, 1), 1), Err(Refusal::NoHub), "a node talks to itself");
}

#[test]
fn vacant_users_are_forgotten_in_their_order() {
    let mut registry = registry(&[(1, 1)]);
    let key = begun(&mut registry, announcer(1, 1), 1);
    let at = |second| NOW + Duration::from_secs(second);
    let users = ["ada", "bob", "eve", "ida", "max"];
    for (sequence, user) in (1..).zip(users) {
        assert_eq!(told(&mut registry, NOW, key, sequence, Add(user, 1)), Ok(()));
    }
    // Those who go are ada, bob, eve, ida; then the second, the first and the last of them come back, and bob goes again.
    let steps = [
        (1, Remove("ada", 1)),
        (2, Remove("bob", 1)),
        (3, Remove("eve", 1)),
        (4, Remove("ida", 1)),
        (5, Add("bob", 2)),
        (5, Add("ada", 2)),
        (6, Add("ida", 2)),
        (7, Remove("bob", 2)),
    ];
    for (sequence, (second, statement)) in (6..).zip(steps) {
        assert_eq!(told(&mut registry, at(second), key, sequence, statement), Ok(()));
    }
    let expected = [(3, "eve"), (7, "bob")];
    for (second, user) in expected {
        assert_eq!(registry.poll_timeout(), Some(at(second) + VACANCY));
        assert_eq!(registry.poll_vacant(at(second) + VACANCY - Duration::from_micros(1)), None);
        assert_eq!(registry.poll_vacant(at(second) + VACANCY).as_deref(), Some(user));
    }
    assert_eq!((registry.poll_timeout(), registry.users()), (None, 3));
}
