//! The registry shows what announcers say, no more and no longer than they may.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use roadstead_control::limits::{USER_CONNECTIONS_MAX, VACANCY};
use roadstead_control::{
    Announcement, Announcer, Incarnation, NodeId, Refusal, Registry, SessionKey, View, ViewNode, Weight,
};

const NOW: Duration = Duration::from_secs(1_000);

/// A View of nodes given as (id, incarnation).
fn view(nodes: &[(u32, u64)]) -> View {
    let nodes = nodes.iter().map(|&(id, incarnation)| ViewNode {
        id: NodeId(id),
        incarnation: Incarnation(incarnation),
        weight: Weight::default(),
        active: true,
    });
    View::new(1, nodes).expect("distinct nodes")
}

fn announcer(node: u32, incarnation: u64) -> Announcer {
    Announcer { node: NodeId(node), incarnation: Incarnation(incarnation), shard: 0 }
}

fn add(user: &str, connection: u64) -> Announcement<'_> {
    Announcement::Add { user, connection, shard: 3, age_s: 60 }
}

fn remove(user: &str, connection: u64) -> Announcement<'_> {
    Announcement::Remove { user, connection }
}

/// What is shown of a user: (node, connection), sorted.
fn shown(registry: &Registry, user: &str) -> Vec<(u32, u64)> {
    let mut shown: Vec<_> = registry.locate(NOW, user).map(|at| (at.node.0, at.connection)).collect();
    shown.sort_unstable();
    shown
}

fn begun(registry: &mut Registry, announcer: Announcer, session: u64) -> SessionKey {
    registry.handle_session(announcer, session).expect("a session of a node in the View")
}

fn say(registry: &mut Registry, key: SessionKey, from: u64, announcements: &[Announcement<'_>]) {
    for (sequence, announcement) in (from..).zip(announcements) {
        assert_eq!(registry.handle_announcement(NOW, key, sequence, *announcement), Ok(()));
    }
}

fn sweep(registry: &mut Registry) {
    while registry.poll_sweep(NOW, 2) {}
}

#[test]
fn entries_come_and_go() {
    let mut registry = Registry::new(view(&[(1, 1), (2, 1)]));
    let one = begun(&mut registry, announcer(1, 1), 1);
    let two = begun(&mut registry, announcer(2, 1), 1);
    say(&mut registry, one, 1, &[add("ada", 10), add("ada", 11), add("bob", 12)]);
    say(&mut registry, two, 1, &[add("ada", 10)]);
    assert_eq!(shown(&registry, "ada"), [(1, 10), (1, 11), (2, 10)]);
    say(&mut registry, one, 4, &[remove("ada", 10), remove("ada", 99), remove("eve", 1)]);
    assert_eq!(shown(&registry, "ada"), [(1, 11), (2, 10)]);
    assert_eq!(shown(&registry, "eve"), []);
    assert_eq!(registry.confirmed(one), Some(6));

    let at = registry.locate(NOW + Duration::from_secs(5), "bob").next().expect("bob is connected");
    assert_eq!((at.node, at.shard, at.connection, at.age_s), (NodeId(1), 3, 12, 65));
}

#[test]
fn a_connection_may_be_older_than_its_owner() {
    let mut registry = Registry::new(view(&[(1, 1)]));
    let key = begun(&mut registry, announcer(1, 1), 1);
    let ancient = Announcement::Add { user: "ada", connection: 1, shard: 0, age_s: 90_000 };
    assert_eq!(registry.handle_announcement(Duration::ZERO, key, 1, ancient), Ok(()));
    let ages: Vec<u32> = registry.locate(Duration::from_secs(9), "ada").map(|at| at.age_s).collect();
    assert_eq!(ages, [90_009]);
}

#[test]
fn only_a_life_in_the_view_may_announce() {
    let mut registry = Registry::new(view(&[(1, 5)]));
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
    let mut registry = Registry::new(view(&[(1, 1)]));
    let key = begun(&mut registry, announcer(1, 1), 1);
    let steps = [
        (2, add("ada", 1), Err(Refusal::Gap { expected: 1 })),
        (1, add("ada", 2), Ok(())),
        (1, remove("ada", 2), Err(Refusal::Repeated)),
        (0, remove("ada", 2), Err(Refusal::Repeated)),
        (3, remove("ada", 2), Err(Refusal::Gap { expected: 2 })),
        (2, add("ada", 3), Ok(())),
    ];
    for (sequence, announcement, expected) in steps {
        assert_eq!(registry.handle_announcement(NOW, key, sequence, announcement), expected, "{sequence}");
    }
    assert_eq!(shown(&registry, "ada"), [(1, 2), (1, 3)]);
}

#[test]
fn a_later_session_replaces_what_it_does_not_repeat() {
    let mut registry = Registry::new(view(&[(1, 1)]));
    let first = begun(&mut registry, announcer(1, 1), 7);
    say(&mut registry, first, 1, &[add("ada", 1), add("ada", 2), add("bob", 3), Announcement::Complete]);

    assert_eq!(registry.handle_session(announcer(1, 1), 7), Err(Refusal::StaleSession));
    let second = begun(&mut registry, announcer(1, 1), 8);
    assert_eq!(registry.handle_session(announcer(1, 1), 7), Err(Refusal::StaleSession));
    assert_eq!(registry.handle_announcement(NOW, first, 5, add("ada", 9)), Err(Refusal::StaleSession));
    assert_eq!(registry.confirmed(first), None);

    assert_eq!(shown(&registry, "ada"), [(1, 1), (1, 2)], "a reset link alone hides nobody");
    say(&mut registry, second, 1, &[add("ada", 2)]);
    assert_eq!(shown(&registry, "ada"), [(1, 1), (1, 2)]);
    say(&mut registry, second, 2, &[Announcement::Complete]);
    assert_eq!(shown(&registry, "ada"), [(1, 2)]);
    assert_eq!(shown(&registry, "bob"), []);
}

#[test]
fn a_dead_node_is_never_shown_again() {
    let mut registry = Registry::new(view(&[(1, 1), (2, 1)]));
    let one = begun(&mut registry, announcer(1, 1), 1);
    let two = begun(&mut registry, announcer(2, 1), 1);
    say(&mut registry, one, 1, &[add("ada", 1), add("bob", 2)]);
    say(&mut registry, two, 1, &[add("ada", 3)]);

    registry.handle_view(view(&[(1, 2), (2, 1)]));
    assert_eq!(shown(&registry, "ada"), [(2, 3)], "before any sweep");
    assert_eq!(registry.handle_announcement(NOW, one, 3, add("ada", 4)), Err(Refusal::StaleSession));

    // The next life takes the slot of the last one, and must not revive its entries.
    let reborn = begun(&mut registry, announcer(1, 2), 1);
    say(&mut registry, reborn, 1, &[add("bob", 9)]);
    assert_eq!(shown(&registry, "ada"), [(2, 3)]);
    assert_eq!(shown(&registry, "bob"), [(1, 9)]);
    sweep(&mut registry);
    assert_eq!(shown(&registry, "ada"), [(2, 3)]);
    assert_eq!(shown(&registry, "bob"), [(1, 9)]);
}

#[test]
fn an_absence_shorter_than_the_vacancy_period_is_none() {
    let mut registry = Registry::new(view(&[(1, 1)]));
    let key = begun(&mut registry, announcer(1, 1), 1);
    say(&mut registry, key, 1, &[add("ada", 1), add("bob", 2), remove("ada", 1), remove("bob", 2)]);
    assert_eq!(registry.poll_timeout(), Some(NOW + VACANCY));
    say(&mut registry, key, 5, &[add("ada", 3)]);
    assert_eq!(registry.poll_vacant(NOW + VACANCY - Duration::from_millis(1)), None);
    assert_eq!(registry.users(), 2);
    assert_eq!(registry.poll_vacant(NOW + VACANCY).as_deref(), Some("bob"));
    assert_eq!(registry.poll_vacant(NOW + VACANCY), None);
    assert_eq!((registry.users(), registry.poll_timeout()), (1, None));
}

#[test]
fn the_users_of_a_dead_node_become_vacant_by_the_sweep() {
    let mut registry = Registry::new(view(&[(1, 1), (2, 1)]));
    let one = begun(&mut registry, announcer(1, 1), 1);
    let two = begun(&mut registry, announcer(2, 1), 1);
    say(&mut registry, one, 1, &[add("ada", 1), add("bob", 2), add("eve", 3)]);
    say(&mut registry, two, 1, &[add("bob", 4)]);
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
    let mut registry = Registry::new(view(&[(1, 1)]));
    let key = begun(&mut registry, announcer(1, 1), 1);
    let most = USER_CONNECTIONS_MAX as u64;
    for connection in 1..=most {
        say(&mut registry, key, connection, &[add("ada", connection)]);
    }
    let more = registry.handle_announcement(NOW, key, most + 1, add("ada", most + 1));
    assert_eq!(more, Err(Refusal::UserFull));
    assert_eq!(registry.confirmed(key), Some(most + 1), "the session goes on behind a refusal of this kind");
    say(&mut registry, key, most + 2, &[remove("ada", 1), add("ada", most + 3)]);
    assert_eq!(shown(&registry, "ada").len(), USER_CONNECTIONS_MAX);
}

/// What one announcer has said, by the plainest means.
#[derive(Default)]
struct Said {
    key: Option<SessionKey>,
    session: u64,
    sequence: u64,
    /// (user, connection) and whether the present session said it.
    entries: BTreeMap<(&'static str, u64), bool>,
}

const USERS: [&str; 3] = ["ada", "bob", "eve"];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn what_is_shown_is_what_was_said(
        steps in proptest::collection::vec((0_u8..12, 0_u32..3, 0_usize..3, 0_u64..4), 1..200),
    ) {
        let mut lives = [(0_u32, 1_u64), (1, 1), (2, 1)];
        let mut registry = Registry::new(view(&lives));
        let mut said: [Said; 3] = Default::default();
        for (step, node, user, connection) in steps {
            let (teller, user) = (&mut said[node as usize], USERS[user]);
            let life = announcer(node, lives[node as usize].1);
            match step {
                0 => {
                    lives[node as usize].1 += 1;
                    registry.handle_view(view(&lives));
                    *teller = Said::default();
                }
                1 => {
                    teller.session += 1;
                    teller.key = Some(begun(&mut registry, life, teller.session));
                    teller.sequence = 0;
                    teller.entries.values_mut().for_each(|said_now| *said_now = false);
                }
                2 => {
                    let _more = registry.poll_sweep(NOW, 1);
                }
                _ => {
                    let Some(key) = teller.key else { continue };
                    teller.sequence += 1;
                    let announcement = match step {
                        3 => Announcement::Complete,
                        4..=6 => remove(user, connection),
                        _ => add(user, connection),
                    };
                    prop_assert_eq!(registry.handle_announcement(NOW, key, teller.sequence, announcement), Ok(()));
                    match announcement {
                        Announcement::Complete => teller.entries.retain(|_, said_now| *said_now),
                        Announcement::Remove { .. } => drop(teller.entries.remove(&(user, connection))),
                        Announcement::Add { .. } => drop(teller.entries.insert((user, connection), true)),
                    }
                }
            }
            for user in USERS {
                let expected: Vec<(u32, u64)> = (0..)
                    .zip(&said)
                    .flat_map(|(node, teller)| teller.entries.keys().map(move |&(name, number)| (node, name, number)))
                    .filter(|&(_, name, _)| name == user)
                    .map(|(node, _, number)| (node, number))
                    .collect();
                prop_assert_eq!(shown(&registry, user), expected);
            }
        }
        // After a sweep, exactly the users without a connection are vacant.
        sweep(&mut registry);
        let held = registry.users();
        let vacant = std::iter::from_fn(|| registry.poll_vacant(NOW + VACANCY)).count();
        let present: BTreeSet<&str> =
            said.iter().flat_map(|teller| teller.entries.keys().map(|&(name, _)| name)).collect();
        prop_assert_eq!(held - vacant, present.len());
        prop_assert_eq!(registry.users(), present.len());
    }
}
