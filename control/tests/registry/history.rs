//! Any history, against the plainest account of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use roadstead_control::limits::VACANCY;
use roadstead_control::{
    Announcer, Digest, Home, Incarnation, NodeId, Refusal, SessionKey, channel_hash, entry_hash,
};

use crate::Statement::{Add, Complete, Remove};
use crate::{NOW, OWN, Registry, begun, registry, shown, told, view};

const USERS: [&str; 4] = ["ada", "bob", "eve", "ida"];

/// (node, hub) of each announcer.
const ANNOUNCERS: [(u32, u16); 4] = [(0, 0), (0, 1), (1, 0), (2, 63)];

const NODES: usize = 3;

type User = &'static str;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The node leaves the View.
    Drop {
        node: usize,
    },
    /// A later life of the node is in the View, in place of the one before.
    Revive {
        node: usize,
    },
    /// A session begins, if the node is in the View.
    Begin {
        by: usize,
    },
    Say {
        by: usize,
        what: What,
    },
    Enter {
        user: User,
        connection: u64,
    },
    Leave {
        user: User,
        connection: u64,
    },
    Rehome {
        user: User,
        session: u64,
    },
    Sweep,
    Wait {
        seconds: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum What {
    Add(User, u64),
    Remove(User, u64),
    Complete,
}

/// What one announcer has said.
#[derive(Default)]
struct Said {
    key: Option<SessionKey>,
    session: u64,
    sequence: u64,
    /// (user, connection), and whether the present session said it.
    entries: BTreeMap<(User, u64), bool>,
}

#[derive(Default)]
struct Account {
    said: [Said; ANNOUNCERS.len()],
    own: BTreeSet<(User, u64)>,
    homes: BTreeMap<User, Home>,
}

impl Account {
    fn shown(&self, user: User) -> Vec<(u32, u64)> {
        let foreign = ANNOUNCERS.iter().zip(&self.said).flat_map(|(&(node, _), said)| {
            said.entries.keys().map(move |&(name, connection)| (name, node, connection))
        });
        let own = self.own.iter().map(|&(name, connection)| (name, OWN, connection));
        let mut shown: Vec<_> =
            foreign.chain(own).filter(|entry| entry.0 == user).map(|entry| (entry.1, entry.2)).collect();
        shown.sort_unstable();
        shown
    }

    fn walked(&self) -> BTreeMap<User, (Home, Vec<u64>)> {
        let mut walked = BTreeMap::new();
        for &(user, connection) in &self.own {
            let home = self.homes.get(user).copied().unwrap_or_default();
            walked.entry(user).or_insert((home, Vec::new())).1.push(connection);
        }
        walked
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let (user, by) = (proptest::sample::select(&USERS[..]), 0..ANNOUNCERS.len());
    let entry = (user.clone(), 0_u64..4);
    let what = prop_oneof![
        5 => entry.clone().prop_map(|(user, connection)| What::Add(user, connection)),
        3 => entry.clone().prop_map(|(user, connection)| What::Remove(user, connection)),
        1 => Just(What::Complete),
    ];
    prop_oneof![
        1 => (0..NODES).prop_map(|node| Step::Drop { node }),
        2 => (0..NODES).prop_map(|node| Step::Revive { node }),
        3 => by.clone().prop_map(|by| Step::Begin { by }),
        16 => (by, what).prop_map(|(by, what)| Step::Say { by, what }),
        3 => entry.clone().prop_map(|(user, connection)| Step::Enter { user, connection }),
        3 => entry.prop_map(|(user, connection)| Step::Leave { user, connection }),
        2 => (user, 1_u64..9).prop_map(|(user, session)| Step::Rehome { user, session }),
        2 => Just(Step::Sweep),
        2 => (0_u64..9).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// The users of a whole walk, with their homes and connections.
fn walked(registry: &mut Registry) -> BTreeMap<String, (Home, Vec<u64>)> {
    let (mut walked, mut next) = (BTreeMap::new(), Some(0));
    while let Some(from) = next {
        next = registry.review(NOW, from, 2, |user| {
            let mut connections: Vec<u64> = user.connections().map(|own| own.connection).collect();
            connections.sort_unstable();
            let twice = walked.insert(user.name.to_string(), (*user.home, connections));
            assert_eq!(twice, None);
            true
        });
    }
    walked
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn what_is_shown_is_what_was_said(steps in proptest::collection::vec(any_step(), 1..200)) {
        let mut lives: [Option<u64>; NODES] = [Some(1); NODES];
        let mut lives_ever = [1; NODES];
        let nodes = |lives: &[Option<u64>]| -> Vec<(u32, u64)> {
            (0..).zip(lives).filter_map(|(node, life)| life.map(|life| (node, life))).collect()
        };
        let (mut now, mut account) = (NOW, Account::default());
        let mut registry = registry(&nodes(&lives));
        for step in steps {
            match step {
                Step::Drop { node } | Step::Revive { node } => {
                    lives_ever[node] += 1;
                    lives[node] = matches!(step, Step::Revive { .. }).then_some(lives_ever[node]);
                    registry.handle_view(view(&nodes(&lives)));
                    for (announcer, said) in ANNOUNCERS.iter().zip(&mut account.said) {
                        if announcer.0 as usize == node {
                            *said = Said::default();
                        }
                    }
                }
                Step::Begin { by } => {
                    let ((node, shard), said) = (ANNOUNCERS[by], &mut account.said[by]);
                    let incarnation = Incarnation(lives_ever[node as usize]);
                    let announcer = Announcer { node: NodeId(node), incarnation, shard };
                    if lives[node as usize].is_none() {
                        prop_assert_eq!(registry.handle_session(announcer, 1), Err(Refusal::NotInView));
                        continue;
                    }
                    said.session += 1;
                    said.key = Some(begun(&mut registry, announcer, said.session));
                    said.sequence = 0;
                    said.entries.values_mut().for_each(|said_now| *said_now = false);
                }
                Step::Say { by, what } => {
                    let said = &mut account.said[by];
                    let Some(key) = said.key else { continue };
                    said.sequence += 1;
                    let statement = match what {
                        What::Add(user, connection) => {
                            said.entries.insert((user, connection), true);
                            Add(user, connection)
                        }
                        What::Remove(user, connection) => {
                            said.entries.remove(&(user, connection));
                            Remove(user, connection)
                        }
                        What::Complete => {
                            said.entries.retain(|_, said_now| *said_now);
                            Complete
                        }
                    };
                    prop_assert_eq!(told(&mut registry, now, key, said.sequence, statement), Ok(()));
                    prop_assert_eq!(registry.confirmed(key), Some(said.sequence));
                }
                Step::Enter { user, connection } => {
                    if !account.own.iter().any(|(known, _)| *known == user) {
                        account.homes.remove(user);
                    }
                    let home = registry.handle_own(now, &Arc::from(user), connection, 0, 0).copied();
                    let expected = account.homes.get(user).copied().unwrap_or_default();
                    prop_assert_eq!(home, account.own.insert((user, connection)).then_some(expected));
                }
                Step::Leave { user, connection } => {
                    let expected = account.homes.get(user).copied().unwrap_or_default();
                    let gone = account.own.remove(&(user, connection));
                    prop_assert_eq!(
                        registry.handle_own_gone(now, user, connection),
                        gone.then_some(expected)
                    );
                }
                Step::Rehome { user, session } => {
                    if let Some(own) = registry.own(now, user) {
                        *own.home = Home { node: Some(NodeId(1)), session };
                        account.homes.insert(user, *own.home);
                    }
                }
                Step::Sweep => {
                    let _more = registry.poll_sweep(now, 1);
                }
                Step::Wait { seconds } => {
                    now += Duration::from_secs(seconds);
                    while let Some(forgotten) = registry.poll_vacant(now) {
                        let user = USERS.into_iter().find(|user| **user == *forgotten).expect("ours");
                        prop_assert_eq!(account.shown(user), [], "only who is nowhere is forgotten");
                        account.homes.remove(user);
                    }
                    prop_assert!(registry.poll_timeout().is_none_or(|until| until > now));
                }
            }
            for user in USERS {
                prop_assert_eq!(shown(&registry, user), account.shown(user));
            }
            for said in &account.said {
                let Some(key) = said.key else { continue };
                let mut digest = Digest::default();
                for ((user, connection), _) in said.entries.iter().filter(|(_, said_now)| **said_now) {
                    digest.add(entry_hash(channel_hash(user.as_bytes()), *connection));
                }
                prop_assert_eq!(registry.digest(key), Some(digest));
            }
            let expected: BTreeMap<String, _> =
                account.walked().into_iter().map(|(user, own)| (user.to_owned(), own)).collect();
            prop_assert_eq!(walked(&mut registry), expected);
        }
        // After a sweep, exactly the users without an entry are vacant.
        while registry.poll_sweep(now, 2) {}
        let held = registry.users();
        let vacant = std::iter::from_fn(|| registry.poll_vacant(now + VACANCY)).count();
        let present = USERS.into_iter().filter(|user| !account.shown(user).is_empty()).count();
        prop_assert_eq!((held - vacant, registry.users()), (present, present));
    }
}
