//! The View: one node's settled opinion of who the fleet is, immutable, shared by all its shards.
//!
//! Invariants: never changes once built; holds no load and no counts; its nodes are sorted and distinct; its
//! number orders the Views of the node that built it and says nothing about another node's.

use std::sync::Arc;

use crate::hash::channel_hash;
use crate::limits::VIEW_NODES_MAX;
use crate::member::Weight;
use crate::node::{Incarnation, NodeId};

/// A node as ownership sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewNode {
    /// Which node.
    pub id: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its share of the channels.
    pub weight: Weight,
    /// Whether it may own channels.
    pub duty: Duty,
}

/// What a node of a View is there for. Whatever it is, others hold links to it and send it what it asks for; only channels go to
/// the nodes of the first duty that any node has, so a fleet in which everybody is leaving, or new, still serves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Duty {
    /// It owns its share of the channels.
    Active,
    /// It is leaving: it owns something only if all are.
    Draining,
    /// It has not been there for long enough to be relied upon.
    Waiting,
}

/// The fleet as of one moment. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct View {
    number: u64,
    nodes: Arc<[ViewNode]>,
    /// The hash of each node's id, in the order of `nodes`.
    hashes: Arc<[u64]>,
    /// The duty of those that own channels; `None`: there is no node.
    duty: Option<Duty>,
}

/// Why nodes do not make a View.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadView {
    /// Two entries for one node.
    Duplicate(NodeId),
    /// More nodes than [`VIEW_NODES_MAX`].
    Full,
}

impl View {
    /// A View of `nodes`, in any order.
    ///
    /// # Errors
    /// [`BadView`]: a node twice, or too many.
    pub fn new(number: u64, nodes: impl IntoIterator<Item = ViewNode>) -> Result<Self, BadView> {
        let mut nodes: Vec<ViewNode> = nodes.into_iter().collect();
        if nodes.len() > VIEW_NODES_MAX {
            return Err(BadView::Full);
        }
        nodes.sort_by_key(|node| node.id);
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(BadView::Duplicate(pair[0].id));
        }
        let hashes = nodes.iter().map(|node| channel_hash(&node.id.0.to_le_bytes())).collect();
        let duty = nodes.iter().map(|node| node.duty).min();
        Ok(Self { number, nodes: nodes.into(), hashes, duty })
    }

    /// Its number: larger is later, among the Views of one node.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its nodes, by rising id.
    #[must_use]
    pub fn nodes(&self) -> &[ViewNode] {
        &self.nodes
    }

    /// A node of it.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&ViewNode> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok().map(|at| &self.nodes[at])
    }

    /// Whether this very life of the node is in it.
    #[must_use]
    pub fn contains(&self, id: NodeId, incarnation: Incarnation) -> bool {
        self.node(id).is_some_and(|node| node.incarnation == incarnation)
    }

    /// The nodes that own channels, each with the hash of its id.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (&ViewNode, u64)> {
        let duty = self.duty;
        self.nodes.iter().zip(self.hashes.iter().copied()).filter(move |(node, _)| Some(node.duty) == duty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, incarnation: u64) -> ViewNode {
        ViewNode {
            id: NodeId(id),
            incarnation: Incarnation(incarnation),
            weight: Weight::default(),
            duty: Duty::Active,
        }
    }

    #[test]
    fn nodes_are_sorted_and_found() {
        let view = View::new(7, [node(9, 1), node(2, 5), node(4, 1)]).unwrap();
        assert_eq!(view.number(), 7);
        assert_eq!(view.nodes().iter().map(|n| n.id.0).collect::<Vec<_>>(), [2, 4, 9]);
        assert_eq!(view.node(NodeId(4)), Some(&node(4, 1)));
        assert_eq!(view.node(NodeId(3)), None);
        assert!(view.contains(NodeId(2), Incarnation(5)));
        assert!(!view.contains(NodeId(2), Incarnation(4)), "an earlier life is not in the View");
    }

    #[test]
    fn bad_views_are_refused() {
        assert_eq!(View::new(1, [node(1, 1), node(1, 2)]).unwrap_err(), BadView::Duplicate(NodeId(1)));
        let many = (0..=VIEW_NODES_MAX as u32).map(|id| node(id, 1));
        assert_eq!(View::new(1, many).unwrap_err(), BadView::Full);
        assert!(View::new(1, []).unwrap().nodes().is_empty());
    }
}
