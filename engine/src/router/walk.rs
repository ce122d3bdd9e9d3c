//! A fan-out in progress: a batch of publications and a cursor that walks down the channel's subscribers.
//!
//! Invariants: a subscriber is visited at most once a walk; one that came after the walk began is not visited; one
//! that stays is visited. Publications that come meanwhile wait for the next walk, so order holds.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::Router;
use super::subscriptions::Subscriber;
use crate::flow::Publication;
use crate::limits::{BYTES_PER_WALK, CHANNEL_QUEUE, CHANNEL_QUEUE_BYTES, PUBLICATIONS_PER_WALK};

/// What is being delivered, and how far. `W` is the written form of a batch, which only the turn knows.
#[derive(Debug)]
pub struct Walk<W> {
    /// The batch, in order.
    pub publications: Vec<Arc<Publication>>,
    /// The batch as JSON connections get it, once the first of them was met.
    pub json: Option<W>,
    /// The batch as Protobuf connections get it, once the first of them was met.
    pub protobuf: Option<W>,
    /// The same two as connections get them that deflate.
    pub json_deflated: Option<W>,
    /// As above.
    pub protobuf_deflated: Option<W>,
    /// Subscribers below this place are still to be visited.
    pub(super) unvisited: usize,
    /// Publications that came since this walk began.
    queue: VecDeque<Arc<Publication>>,
    queued_bytes: usize,
}

impl<W> Default for Walk<W> {
    fn default() -> Self {
        Self {
            publications: Vec::new(),
            json: None,
            protobuf: None,
            json_deflated: None,
            protobuf_deflated: None,
            unvisited: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
        }
    }
}

impl<W> Walk<W> {
    /// Takes the next batch from the queue.
    fn begin(&mut self, subscribers: usize) {
        let mut bytes = 0;
        while self.publications.len() < PUBLICATIONS_PER_WALK
            && bytes < BYTES_PER_WALK
            && let Some(publication) = self.queue.pop_front()
        {
            bytes += publication.data.len();
            self.publications.push(publication);
        }
        self.queued_bytes -= bytes;
        self.unvisited = subscribers;
    }
}

impl<S: BuildHasher, W> Router<S, W> {
    /// Queues a publication for the subscribers here.
    ///
    /// # Errors
    /// Gives it back: too many wait behind the running walk.
    pub(super) fn enqueue(
        &mut self,
        place: u32,
        publication: Arc<Publication>,
    ) -> Result<(), Arc<Publication>> {
        let channel = &mut self.channels[place as usize];
        let is_first = channel.walk.is_none();
        let walk = channel.walk.get_or_insert_default();
        let bytes = publication.data.len();
        let is_full = walk.queue.len() >= CHANNEL_QUEUE || walk.queued_bytes + bytes > CHANNEL_QUEUE_BYTES;
        if is_full && !walk.queue.is_empty() {
            return Err(publication);
        }
        walk.queued_bytes += bytes;
        walk.queue.push_back(publication);
        if is_first {
            self.walks.push_back(place);
        }
        Ok(())
    }

    /// Whether publications wait to be delivered.
    #[must_use]
    pub fn has_walks(&self) -> bool {
        !self.walks.is_empty()
    }

    /// Visits at most `budget` subscribers of the walk at the front, highest place first.
    ///
    /// `visit` gets the channel's tag and name, the batch and the next subscribers. Returns how many were visited;
    /// `None` when nothing waits.
    pub fn step(
        &mut self,
        budget: usize,
        visit: impl FnOnce(u32, &str, &mut Walk<W>, &[Subscriber]),
    ) -> Option<usize> {
        let place = *self.walks.front()?;
        let channel = &mut self.channels[place as usize];
        let Some(walk) = channel.walk.as_mut() else {
            self.walks.pop_front();
            return Some(0);
        };
        if walk.publications.is_empty() {
            walk.begin(channel.subscribers.len());
        }
        let from = walk.unvisited.saturating_sub(budget);
        let visited = walk.unvisited - from;
        visit(place, &channel.name, walk, &channel.subscribers[from..walk.unvisited]);
        walk.unvisited = from;
        self.walks.pop_front();
        if from > 0 {
            // The budget is used up: the next turn begins with another channel.
            self.walks.push_back(place);
        } else {
            if walk.queue.is_empty() || channel.subscribers.is_empty() {
                channel.walk = None;
            } else {
                let (queue, queued_bytes) = (std::mem::take(&mut walk.queue), walk.queued_bytes);
                **walk = Walk { queue, queued_bytes, ..Walk::default() };
                self.walks.push_back(place);
            }
        }
        Some(visited)
    }
}
