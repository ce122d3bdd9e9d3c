//! From what membership reports to the Views that are acted upon: losses at once, gains when they have lasted.
//!
//! Invariants: a dead or draining node is relied upon no more from the next View on; whoever is alive is in the next View, so
//! that it has its links and hears what it asks for, but nothing is given to a node that has not stayed as it is for the window,
//! unless nobody else is left; there is no View at all before the first window has passed, so a node that starts does not own
//! everything for a moment; one node that flaps delays no other.
//!
//! A node, as this sees it:
//!
//! ```text
//!             alive                     window passed
//!   unknown ────────> waiting to join ────────────────> published ──┐ alive with another weight, or active again:
//!      ^                 │                               │   ^      │ waits; published so after the window,
//!      └─────────────────┴────── dead: at once ──────────┘   └──────┘ forgotten if it returns to what it was
//!
//!   a later incarnation is the death of the one before and a join; draining is published at once
//! ```
//!
//! A node that waits to join is in Views as [`Duty::Waiting`]. Everybody counts the window from when it heard of the node, and that
//! may be late: after a freeze, a partition, a start. The node itself counts best, and says when it has *settled*: then it is
//! taken for what it is as soon as it has been heard of for [`SETTLED_WAIT`], so that all Views agree on it soon.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::{SETTLED_WAIT, STABILITY_BATCH, STABILITY_WINDOW, VIEW_NODES_MAX};
use crate::node::{Incarnation, NodeId};
use crate::view::{Duty, View, ViewNode};

/// Settles reports about nodes into Views.
#[derive(Debug)]
pub struct Stability {
    nodes: BTreeMap<NodeId, Standing>,
    /// When the first View may be built; `None` once it was.
    first_at: Option<Duration>,
    /// Number of the last View, 0 before the first.
    number: u64,
    /// Whether `published` states differ from the last View.
    changed: bool,
}

/// What is acted upon for a node, and what waits.
#[derive(Debug, Default)]
struct Standing {
    published: Option<ViewNode>,
    waiting: Option<Waiting>,
    /// When the life that is published was first heard of.
    heard: Duration,
}

/// A state that must last until `due`.
#[derive(Debug)]
struct Waiting {
    node: ViewNode,
    due: Duration,
}

/// The fleet is full: the node was not taken up. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Stability {
    /// Starts at `now` with the own node, which waits for the first window like any other.
    #[must_use]
    pub fn new(now: Duration, own: ViewNode) -> Self {
        let due = now + STABILITY_WINDOW;
        let standing = Standing { waiting: Some(Waiting { node: own, due }), ..Standing::default() };
        let nodes = BTreeMap::from([(own.id, standing)]);
        Self { nodes, first_at: Some(due), number: 0, changed: false }
    }

    /// Membership says that `node` is alive and as given, and the node, whether it has settled so; the own node settles here,
    /// and never says so. Reports of an earlier life are ignored.
    ///
    /// # Errors
    /// [`Full`]: a new node, and the View cannot hold more.
    pub fn handle_alive(&mut self, now: Duration, node: ViewNode, settled: bool) -> Result<(), Full> {
        if self.nodes.len() >= VIEW_NODES_MAX && !self.nodes.contains_key(&node.id) {
            return Err(Full);
        }
        let standing = self.nodes.entry(node.id).or_default();
        if standing.incarnation().is_some_and(|known| known > node.incarnation) {
            return Ok(());
        }
        if standing.published.is_none_or(|published| published.incarnation < node.incarnation) {
            (standing.published, standing.heard) = (Some(ViewNode { duty: Duty::Waiting, ..node }), now);
            self.changed = true;
        }
        let is_owner = standing.published.is_some_and(|published| published.duty == Duty::Active);
        // What has lasted by its own word must only show that it lives.
        let due = if settled && !is_owner { standing.heard + SETTLED_WAIT } else { now + STABILITY_WINDOW };
        match &mut standing.published {
            Some(published) if *published == node => standing.waiting = None,
            Some(published) if due <= now || is_owner && node.duty == Duty::Draining => {
                *published = node;
                standing.waiting = None;
                self.changed = true;
            }
            _ => standing.wait_for(node, due),
        }
        Ok(())
    }

    /// Membership has confirmed that this life of the node is over. A death of an earlier life is ignored.
    pub fn handle_dead(&mut self, id: NodeId, incarnation: Incarnation) {
        let Some(standing) = self.nodes.get(&id) else { return };
        if standing.incarnation().is_some_and(|known| known > incarnation) {
            return;
        }
        self.changed |= standing.published.is_some();
        self.nodes.remove(&id);
    }

    /// When [`Stability::poll_view`] has something to do next: at once, at a time, or not before the next report.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.first_at.is_some() {
            return self.first_at;
        }
        if self.changed {
            return Some(Duration::ZERO);
        }
        self.nodes.values().filter_map(|standing| standing.waiting.as_ref()).map(|waiting| waiting.due).min()
    }

    /// A new View, if one is due at `now`.
    #[must_use]
    pub fn poll_view(&mut self, now: Duration) -> Option<View> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        self.first_at = None;
        self.changed = false;
        for standing in self.nodes.values_mut() {
            // Nobody is taken along before it has shown that it lives.
            let at_latest = if now >= standing.heard + SETTLED_WAIT { now + STABILITY_BATCH } else { now };
            let is_ripe = |waiting: &Waiting| waiting.due <= at_latest;
            if let Some(ripe) = standing.waiting.take_if(|waiting| is_ripe(waiting)) {
                standing.published = Some(ripe.node);
            }
        }
        self.number += 1;
        let published = self.nodes.values().filter_map(|standing| standing.published);
        let view = View::new(self.number, published);
        Some(view.expect("the map holds each node once, and no more than a View may have"))
    }
}

impl Standing {
    /// The latest life that was heard of.
    fn incarnation(&self) -> Option<Incarnation> {
        let waiting = self.waiting.as_ref().map(|waiting| waiting.node.incarnation);
        waiting.max(self.published.map(|published| published.incarnation))
    }

    /// Lets `node` wait until `due`. What has waited already goes on waiting where it was: as it is, or if the node now drains or
    /// no longer does, for what must last before it owns anything is that it lives. Else nodes that heard of the change before and
    /// after that differ on the owner for a window.
    fn wait_for(&mut self, node: ViewNode, due: Duration) {
        let unproven = self.published.is_some_and(|published| published.duty == Duty::Waiting);
        let due = match &self.waiting {
            Some(waiting) if waiting.node == node => waiting.due.min(due),
            Some(waiting) if unproven && waiting.node == (ViewNode { duty: waiting.node.duty, ..node }) => {
                waiting.due.min(due)
            }
            _ => due,
        };
        self.waiting = Some(Waiting { node, due });
    }
}
