//! One channel as one shard sees it.

use std::sync::Arc;

use roadstead_control::NodeId;

use super::subscriptions::Subscriber;
use super::walk::Walk;
use crate::flow::Position;

/// What this shard is for a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Another shard of this node is the channel's hub.
    Leaf,
    /// The hub of a node that receives the channel from its owner.
    Gateway(NodeId),
    /// The hub of the owner: it orders the channel.
    Owner,
    /// The hub, while no node owns the channel: there is no View yet.
    Orphan,
}

/// Whether publications come from further up: to a leaf from its hub, to a gateway from the owner.
///
/// ```text
/// None ── subscribe ──> Asked ── answered ──> Confirmed ── vacancy passed ──> None
///   ^                     └── not the owner ──┴── link or owner lost ──> None (at a leaf: Asked), and asked again
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Not asked for.
    None,
    /// Asked; subscribers are held until the answer.
    Asked,
    /// Publications after the position that was named are sent here.
    Confirmed,
}

/// A node that an owner sends the channel to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeInterest {
    /// The node.
    pub node: NodeId,
    /// The link on which it asked.
    pub index: u8,
    /// The session of that link; what was asked for in an earlier one is void.
    pub session: u64,
}

/// The place of no stream.
pub const NO_STREAM: u32 = u32::MAX;

/// Subscribers here, and at the hub also the order and who else is interested.
#[derive(Debug)]
pub struct Channel<W> {
    /// Its name.
    pub name: Arc<str>,
    /// Last position given (by an owner) or seen (elsewhere).
    pub position: Position,
    /// At the hub: a bit for each shard that has subscribers.
    pub interested: u64,
    /// At the owner: the other nodes that have subscribers. Most channels have none, so it is one word.
    pub nodes: Option<Box<Vec<NodeInterest>>>,
    /// Subscribers on this shard, in no order.
    pub subscribers: Vec<Subscriber>,
    /// The walk in progress, with what waits behind it.
    pub walk: Option<Box<Walk<W>>>,
    /// What this shard is for it.
    pub role: Role,
    /// At a gateway: the link session in which it was announced; 0: in none.
    pub announced: u32,
    /// At a gateway: the number of the latest announcement, which its answer repeats.
    pub ask: u32,
    /// At the owner: the place of its stream; [`NO_STREAM`]: it keeps nothing.
    pub stream: u32,
    /// Elsewhere than at the owner: what is known further up.
    pub interest: Interest,
    /// Whether it stands on the list of channels to look at after the vacancy period.
    pub vacating: bool,
}

impl<W> Channel<W> {
    /// A channel that nobody uses yet.
    #[must_use]
    pub fn new(name: Arc<str>, role: Role) -> Self {
        Self {
            name,
            position: Position::default(),
            interested: 0,
            nodes: None,
            subscribers: Vec::new(),
            walk: None,
            role,
            announced: 0,
            ask: 0,
            stream: NO_STREAM,
            interest: Interest::None,
            vacating: false,
        }
    }

    /// Whether publications reach this shard, so that a subscriber can be told so.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.role == Role::Owner || self.interest == Interest::Confirmed
    }

    /// Adds a node, or renews its session.
    pub fn add_node(&mut self, asking: NodeInterest) {
        let nodes = self.nodes.get_or_insert_default();
        match nodes.iter_mut().find(|known| known.node == asking.node) {
            Some(known) => *known = asking,
            None => nodes.push(asking),
        }
    }

    /// Keeps the nodes that `stays` says.
    pub fn retain_nodes(&mut self, mut stays: impl FnMut(&NodeInterest) -> bool) {
        if let Some(nodes) = &mut self.nodes {
            nodes.retain(|node| stays(node));
            if nodes.is_empty() {
                self.nodes = None;
            }
        }
    }

    /// The nodes that an owner sends to.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInterest> {
        self.nodes.iter().flat_map(|nodes| nodes.iter())
    }
}

const _: () =
    assert!(size_of::<Channel<()>>() <= 104, "a user with a channel of its own pays for one of these");
