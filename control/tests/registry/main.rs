//! The registry shows what shards and announcers say, no more and no longer than they may.

mod announced;
mod digests;
mod history;
mod own;

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use roadstead_control::{
    Announcement, Announcer, Duty, Incarnation, NodeId, Refusal, SessionKey, View, ViewNode, Weight,
};

type Registry = roadstead_control::Registry<BuildHasherDefault<DefaultHasher>>;

const NOW: Duration = Duration::from_secs(1_000);

/// The node whose registry is tested; in every View.
const OWN: u32 = 9;

/// What an announcer says.
#[derive(Clone, Copy, Debug)]
enum Statement<'a> {
    Add(&'a str, u64),
    Remove(&'a str, u64),
    Complete,
}

use Statement::{Add, Complete, Remove};

/// A View of our node and nodes given as (id, incarnation).
fn view(nodes: &[(u32, u64)]) -> View {
    let nodes = nodes.iter().chain(&[(OWN, 1)]).map(|&(id, incarnation)| ViewNode {
        id: NodeId(id),
        incarnation: Incarnation(incarnation),
        weight: Weight::default(),
        duty: Duty::Active,
    });
    View::new(1, nodes).expect("distinct nodes")
}

fn registry(nodes: &[(u32, u64)]) -> Registry {
    Registry::new(NodeId(OWN), view(nodes), 0, BuildHasherDefault::default())
}

fn announcer(node: u32, incarnation: u64) -> Announcer {
    Announcer { node: NodeId(node), incarnation: Incarnation(incarnation), shard: 0 }
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

/// One statement; connections are on shard 3 and a minute old.
fn told(
    registry: &mut Registry,
    now: Duration,
    key: SessionKey,
    sequence: u64,
    statement: Statement<'_>,
) -> Result<(), Refusal> {
    let name: Arc<str>;
    let announcement = match statement {
        Add(user, connection) => {
            name = user.into();
            Announcement::Add { user: &name, connection, shard: 3, age_s: 60 }
        }
        Remove(user, connection) => Announcement::Remove { user, connection },
        Complete => Announcement::Complete,
    };
    registry.handle_announcement(now, key, sequence, announcement)
}

fn say(registry: &mut Registry, key: SessionKey, from: u64, statements: &[Statement<'_>]) {
    for (sequence, statement) in (from..).zip(statements) {
        assert_eq!(told(registry, NOW, key, sequence, *statement), Ok(()));
    }
}

fn sweep(registry: &mut Registry) {
    while registry.poll_sweep(NOW, 2) {}
}
