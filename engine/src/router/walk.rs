//! A fan-out in progress: a batch of publications and a cursor that walks down the channel's subscribers.
//!
//! Invariants: a subscriber is visited at most once a walk; one that came after the walk began is not visited; one
//! that stays is visited. Publications that come meanwhile wait for the next walk, so order holds. Whoever knows its position
//! gets what lies behind it and nothing else; a gap is walked like a publication, in its place among them, and ends those
//! subscriptions that would miss something.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;

use super::Router;
use super::subscriptions::Subscriber;
use crate::flow::Ordered;
use crate::limits::{BYTES_PER_WALK, CHANNEL_QUEUE, CHANNEL_QUEUE_BYTES, PUBLICATIONS_PER_WALK};

/// What is being delivered, and how far. `W` is the written form of a batch, which only the turn knows.
#[derive(Debug)]
pub struct Walk<W> {
    /// The batch, in order. Empty: there is a gap, and this walk ends whoever would miss something.
    pub publications: Vec<Ordered>,
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
    has_begun: bool,
    /// What came since this walk began.
    queue: VecDeque<Step>,
    queued_bytes: usize,
    /// Steps of earlier walks, and of all that are known: numbers of their places in the channel's order.
    walked: u64,
    known: u64,
    /// Subscriptions that began while there was a walk: from which step on they are visited.
    newcomers: BTreeMap<u32, u64>,
}

/// What a walk carries.
#[derive(Debug)]
enum Step {
    Publication(Ordered),
    Gap,
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
            has_begun: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            walked: 0,
            known: 0,
            newcomers: BTreeMap::new(),
        }
    }
}

impl<W> Walk<W> {
    /// Takes the next batch from the queue.
    fn begin(&mut self, subscribers: usize) {
        let mut bytes = 0;
        while self.publications.len() < PUBLICATIONS_PER_WALK
            && bytes < BYTES_PER_WALK
            && let Some(Step::Publication(ordered)) =
                self.queue.pop_front_if(|step| matches!(step, Step::Publication(_)))
        {
            bytes += ordered.publication.data.len();
            self.publications.push(ordered);
        }
        if self.publications.is_empty() {
            self.queue.pop_front();
        }
        self.queued_bytes -= bytes;
        self.unvisited = subscribers;
        self.has_begun = true;
    }

    /// How much of the batch is not for this subscriber: everything while it is held, and what lies before its beginning.
    #[must_use]
    pub fn skipped(&self, subscriber: Subscriber) -> usize {
        let steps = self.publications.len().max(1);
        if subscriber.is_held() {
            return steps;
        }
        let from = self.newcomers.get(&subscriber.subscription());
        from.map_or(0, |from| from.saturating_sub(self.walked).min(steps as u64) as usize)
    }

    /// Whether this walk ends whoever would miss something.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.publications.is_empty()
    }

    /// A subscription begins behind everything that is known.
    pub(super) fn admit(&mut self, subscription: u32) {
        self.newcomers.insert(subscription, self.known);
    }

    /// What comes behind the batch that was walked.
    fn go_on(&mut self) -> Self {
        let walked = self.walked + self.publications.len().max(1) as u64;
        self.newcomers.retain(|_, from| *from > walked);
        Self {
            queue: std::mem::take(&mut self.queue),
            queued_bytes: self.queued_bytes,
            walked,
            known: self.known,
            newcomers: std::mem::take(&mut self.newcomers),
            ..Self::default()
        }
    }
}

impl<S: BuildHasher, W> Router<S, W> {
    /// Queues a publication for the subscribers here.
    ///
    /// # Errors
    /// Gives it back: too many wait behind the running walk.
    pub(super) fn enqueue(&mut self, place: u32, ordered: Ordered) -> Result<(), Ordered> {
        let channel = &mut self.channels[place as usize];
        let is_first = channel.walk.is_none();
        let walk = channel.walk.get_or_insert_default();
        let bytes = ordered.publication.data.len();
        let is_full = walk.queue.len() >= CHANNEL_QUEUE || walk.queued_bytes + bytes > CHANNEL_QUEUE_BYTES;
        if is_full && !walk.queue.is_empty() {
            return Err(ordered);
        }
        walk.queued_bytes += bytes;
        walk.known += 1;
        walk.queue.push_back(Step::Publication(ordered));
        if is_first {
            self.walks.push_back(place);
        }
        Ok(())
    }

    /// Something is missing behind all that waits: subscriptions that must know it end there.
    pub(super) fn break_off(&mut self, place: u32) {
        let channel = &mut self.channels[place as usize];
        if channel.subscribers.is_empty() || !channel.position.is_stream() {
            return;
        }
        let is_first = channel.walk.is_none();
        let walk = channel.walk.get_or_insert_default();
        if !matches!(walk.queue.back(), Some(Step::Gap)) {
            walk.known += 1;
            walk.queue.push_back(Step::Gap);
        }
        if is_first {
            self.walks.push_back(place);
        }
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
        if !walk.has_begun {
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
                **walk = walk.go_on();
                self.walks.push_back(place);
            }
        }
        Some(visited)
    }
}
