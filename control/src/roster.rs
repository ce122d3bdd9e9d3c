//! What a node acts upon: a View, with the records of exactly its nodes.
//!
//! Invariants: never changes once built; holds one record for each node of the View, of the same life, in the View's
//! order.

use crate::member::Member;
use crate::node::NodeId;
use crate::view::View;

/// A View and its members. Built by control, shared by all shards.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Who decides ownership.
    pub view: View,
    /// The records of the View's nodes, in its order.
    pub members: Vec<Member>,
}

impl Roster {
    /// The roster of a node without a fleet: View 1, of itself.
    #[must_use]
    pub fn alone(own: Member) -> Self {
        let view = View::new(1, [own.in_view()]).expect("one node is neither too many nor twice");
        Self { view, members: vec![own] }
    }

    /// The record of a node of the View.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        let at = self.view.nodes().binary_search_by_key(&id, |node| node.id).ok()?;
        self.members.get(at)
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::member::{Region, Version, Weight};
    use crate::node::{Incarnation, NodeName};

    #[test]
    fn a_node_alone_finds_itself() {
        let own = Member {
            name: NodeName::new("a").unwrap(),
            incarnation: Incarnation(5),
            revision: 0,
            address: SocketAddr::from(([127, 0, 0, 1], 7400)),
            region: Region::new("fra").unwrap(),
            weight: Weight::default(),
            version: Version(0, 1, 0),
            shards: 2,
            draining: false,
            settled: false,
            connections: 0,
        };
        let roster = Roster::alone(own.clone());
        assert!(roster.view.contains(own.id(), own.incarnation));
        assert_eq!(roster.member(own.id()), Some(&own));
        assert_eq!(roster.member(NodeId(own.id().0 ^ 1)), None);
    }
}
