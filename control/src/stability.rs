//! From what membership reports to the Views that are acted upon: losses at once, gains when they have lasted.
//!
//! Invariants: a dead or draining node is relied upon no more from the next View on; whoever is alive is in the next View, so
//! that it has its links and hears what it asks for, but nothing is given to a node that has not stayed as it is for the window,
//! unless nobody else is left; there is no View at all before the first window has passed, so a node that starts does not own
//! everything for a moment (the first View takes all whose lives have lasted for it); one node that flaps delays no other.
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
//! A node that waits to join is in Views as [`Duty::Waiting`]. While the own node waits, or has just waited for its first View, it
//! is the newcomer, and when it heard of others says nothing: those whose lives have lasted for a window it takes for what the
//! rest of the fleet does. (An incarnation is the time at which a life began, by its node's clock. Where clocks differ by many
//! seconds, a newcomer's View may differ from the others' for a window.)

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::{STABILITY_BATCH, STABILITY_WINDOW, VIEW_NODES_MAX};
use crate::node::{Incarnation, NodeId};
use crate::view::{Duty, View, ViewNode};

/// Settles reports about nodes into Views.
#[derive(Debug)]
pub struct Stability {
    own: NodeId,
    /// The own node's life, and when it began here.
    began: (Incarnation, Duration),
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
        let began = (own.incarnation, now);
        Self { own: own.id, began, nodes, first_at: Some(due), number: 0, changed: false }
    }

    /// Membership says that `node` is alive and as given. Reports of an earlier life are ignored.
    ///
    /// # Errors
    /// [`Full`]: a new node, and the View cannot hold more.
    pub fn handle_alive(&mut self, now: Duration, node: ViewNode) -> Result<(), Full> {
        if self.nodes.len() >= VIEW_NODES_MAX && !self.nodes.contains_key(&node.id) {
            return Err(Full);
        }
        let standing = self.nodes.entry(node.id).or_default();
        if standing.incarnation().is_some_and(|known| known > node.incarnation) {
            return Ok(());
        }
        if standing.published.is_none_or(|published| published.incarnation < node.incarnation) {
            standing.published = Some(ViewNode { duty: Duty::Waiting, ..node });
            self.changed = true;
            if node.id == self.own && node.incarnation > self.began.0 {
                self.began = (node.incarnation, now);
            }
        }
        match &mut standing.published {
            Some(published) if (published.duty, node.duty) == (Duty::Active, Duty::Draining) => {
                *published = node;
                standing.waiting = None;
                self.changed = true;
            }
            Some(published) if *published == node => standing.waiting = None,
            _ => standing.wait_for(node, now + STABILITY_WINDOW),
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
        let is_first = self.first_at.take().is_some();
        self.changed = false;
        let is_newcomer = is_first || self.nodes.get(&self.own).is_some_and(Standing::is_newcomer);
        let (own, began) = self.began;
        let unix = Duration::from_millis(own.0) + now.saturating_sub(began);
        for standing in self.nodes.values_mut() {
            let is_newer = standing.is_newcomer();
            let has_lasted = |node: &ViewNode| {
                Duration::from_millis(node.incarnation.0) + STABILITY_WINDOW <= unix + STABILITY_BATCH
            };
            let is_ripe = |waiting: &Waiting| {
                waiting.due <= now + STABILITY_BATCH || is_newcomer && is_newer && has_lasted(&waiting.node)
            };
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
    /// Whether nothing of it is relied upon yet.
    fn is_newcomer(&self) -> bool {
        self.published.is_none_or(|node| node.duty == Duty::Waiting)
    }

    /// The latest life that was heard of.
    fn incarnation(&self) -> Option<Incarnation> {
        let waiting = self.waiting.as_ref().map(|waiting| waiting.node.incarnation);
        waiting.max(self.published.map(|published| published.incarnation))
    }

    /// Lets `node` wait until `due`; if it waits already as it is, its time goes on.
    fn wait_for(&mut self, node: ViewNode, due: Duration) {
        if self.waiting.as_ref().is_none_or(|waiting| waiting.node != node) {
            self.waiting = Some(Waiting { node, due });
        }
    }
}
