//! Nodes that talk through queues which lose things: what each knows in the end, and how much is said for it.

use roadstead_control::Incarnation;

use super::*;
use crate::revocations::{Terms, tests::token};

/// A node with what it knows; its process takes over what it hears at once.
struct Node {
    id: NodeId,
    set: Revocations,
    spreading: Spreading,
}

impl Node {
    fn new(id: u32, known: &[Revocation]) -> Self {
        let mut set = Revocations::default();
        for revocation in known {
            set.add(revocation).expect("room");
        }
        Self { id: NodeId(id), spreading: Spreading::new(Arc::new(set.clone()), 0), set }
    }

    fn revoke(&mut self, revocation: &Revocation) {
        self.set.add(revocation).expect("room");
        self.spreading.handle_set(Arc::new(self.set.clone()), std::slice::from_ref(revocation));
    }

    fn settle(&mut self, now_ms: u64) {
        if self.spreading.poll_timeout_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            self.spreading.tick(now_ms);
        }
        let heard = self.spreading.take_heard();
        let news = heard.iter().filter(|revocation| self.set.add(revocation).expect("room")).count();
        if news > 0 {
            self.spreading.handle_set(Arc::new(self.set.clone()), &[]);
        }
    }
}

fn link(to: NodeId, session: u64, up: bool) -> LinkChange {
    let carrier = up.then_some(3);
    LinkChange { node: to, incarnation: Incarnation(1), index: 0, links: 1, shards: 4, session, carrier }
}

struct Fleet {
    nodes: Vec<Node>,
    now_ms: u64,
    /// Parcels said so far, and the most that were said at once.
    said: usize,
    most: usize,
}

impl Fleet {
    fn new(nodes: Vec<Node>) -> Self {
        Self { nodes, now_ms: 0, said: 0, most: 0 }
    }

    fn connect(&mut self, one: usize, other: usize, session: u64, up: bool) {
        for (from, to) in [(one, other), (other, one)] {
            let to = self.nodes[to].id;
            self.nodes[from].spreading.handle_link(&link(to, session, up));
        }
    }

    fn connect_all(&mut self) {
        for one in 0..self.nodes.len() {
            (0..one).for_each(|other| self.connect(one, other, 1, true));
        }
    }

    /// Lets everything be said and heard until `until_ms`, but what `is_lost`.
    fn run(&mut self, until_ms: u64, mut is_lost: impl FnMut(&Revoking) -> bool) {
        while self.now_ms < until_ms {
            self.now_ms += 50;
            for place in 0..self.nodes.len() {
                self.nodes[place].settle(self.now_ms);
                let from = self.nodes[place].id;
                let mut at_once = 0;
                while let Some(parcel) = self.nodes[place].spreading.poll_parcel(7) {
                    assert_eq!((parcel.carrier, parcel.view), (3, 7));
                    at_once += 1;
                    let Relayed::Revoking(said) = parcel.relayed else { panic!("{parcel:?}") };
                    if is_lost(&said) {
                        continue;
                    }
                    let to = self.nodes.iter_mut().find(|node| node.id == parcel.node).expect("known");
                    to.spreading.hear(from, said, self.now_ms);
                }
                self.said += at_once;
                self.most = self.most.max(at_once);
            }
        }
    }

    fn agree(&self) -> bool {
        self.nodes.iter().all(|node| node.set == self.nodes[0].set)
    }
}

fn many(from: usize, to: usize) -> Vec<Revocation> {
    (from..to).map(|number| token(&format!("t{number:06}"), 100)).collect()
}

#[test]
fn news_are_everywhere_at_once() {
    let mut fleet = Fleet::new((1..=5).map(|id| Node::new(id, &[])).collect());
    fleet.connect_all();
    fleet.run(200, |_| false);
    fleet.nodes[2].revoke(&token("a", 100));
    fleet.run(500, |_| false);
    assert!(fleet.agree());
    assert_eq!(fleet.nodes[0].set.len(), 1);
    let before = fleet.said;
    fleet.run(9_000, |said| panic!("{said:?}, but nothing is left to say"));
    assert!(before < 70, "{before} parcels");
}

#[test]
fn who_was_away_catches_up_soon() {
    let known = many(0, 1_000);
    let mut nodes: Vec<_> = (1..=4).map(|id| Node::new(id, &known)).collect();
    nodes.push(Node::new(5, &many(900, 1_100)));
    let mut fleet = Fleet::new(nodes);
    fleet.connect_all();
    fleet.run(4_000, |_| false);
    assert!(fleet.agree());
    assert_eq!(fleet.nodes[0].set.len(), 1_100);
    assert!(fleet.most <= 4 * (REVOCATIONS_PART + 2), "{} at once", fleet.most);
    assert!(fleet.said < 6_000, "{} parcels: everybody sent everything", fleet.said);
}

#[test]
fn what_is_lost_is_found() {
    for seed in 0..20_u64 {
        let mut fleet = Fleet::new((1..=4).map(|id| Node::new(id, &[])).collect());
        fleet.connect_all();
        let mut random = seed | 1;
        let mut lossy = move |_: &Revoking| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            random >> 62 == 0
        };
        for number in 0..50 {
            let node = number % 4;
            fleet.nodes[node].revoke(&token(&format!("s{seed}n{number}"), 100));
            let until_ms = fleet.now_ms + 100;
            fleet.run(until_ms, &mut lossy);
        }
        let until_ms = fleet.now_ms + 12_000;
        fleet.run(until_ms, |_| false);
        assert!(fleet.agree(), "seed {seed}");
        assert_eq!(fleet.nodes[0].set.len(), 50);
    }
}

#[test]
fn a_link_that_breaks_in_between_costs_no_more_than_time() {
    let mut fleet = Fleet::new(vec![Node::new(1, &many(0, 2_000)), Node::new(2, &[])]);
    fleet.connect(0, 1, 1, true);
    fleet.run(1_100, |_| false);
    fleet.connect(0, 1, 1, false);
    fleet.run(3_000, |_| false);
    assert!(!fleet.agree());
    assert_eq!(fleet.nodes[1].spreading.poll_timeout_ms(), None, "nobody is there");
    fleet.nodes[0].revoke(&token("said to nobody", 100));
    fleet.connect(0, 1, 2, true);
    // The end of the first session, heard late.
    fleet.connect(0, 1, 1, false);
    fleet.run(6_000, |_| false);
    assert!(fleet.agree());
}

#[test]
fn what_no_node_would_say_is_not_kept() {
    let mut node = Node::new(1, &[]);
    node.spreading.handle_link(&link(NodeId(2), 1, true));
    for name in [String::new(), "x".repeat(256)] {
        let terms = Terms { issued_before_s: 0, until_s: 9 };
        let entry = Revocation { subject: Subject::User(name.as_str().into()), terms };
        node.spreading.hear(NodeId(2), Revoking::Entry(entry), 0);
    }
    node.spreading.hear(NodeId(3), Revoking::Entry(token("of a stranger", 9)), 0);
    assert_eq!(node.spreading.take_heard(), []);
    node.spreading.hear(NodeId(2), Revoking::Sent { more: true }, 0);
    node.spreading.poll_parcel(1).expect("the first comparison");
    assert!(node.spreading.poll_parcel(1).is_none(), "an answer without a question asks nothing");
}
