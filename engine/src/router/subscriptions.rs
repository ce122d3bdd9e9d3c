//! Subscriptions: each linked from its connection and from its channel, so that both ends leave in O(1).
//!
//! ```text
//! Seat (connection) ──> subscription <──> subscription      (doubly linked, by index)
//!                           │ place
//! Channel.subscribers: [ .. Subscriber .. ]                  (dense, walked downward)
//! ```

use roadstead_protocol::Encoding;
use slab::Slab;

use crate::flow::{Answer, Delivery, Key};

const NONE: u32 = u32::MAX;

/// A connection's part: its list of subscriptions.
#[derive(Debug)]
pub struct Seat {
    first: u32,
    count: u16,
}

impl Seat {
    /// No subscription.
    pub const EMPTY: Self = Self { first: NONE, count: 0 };

    /// Subscriptions of this connection, held ones included.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// One of its subscriptions.
    #[must_use]
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }
}

/// A channel's part: the subscriber's slot and how to write to it, so that a walk touches nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    slot: u32,
    subscription: u32,
}

const PROTOBUF: u32 = 1 << 31;

impl Subscriber {
    fn new(slot: u32, subscription: u32, encoding: Encoding) -> Self {
        let mark = if encoding == Encoding::Protobuf { PROTOBUF } else { 0 };
        Self { slot: slot | mark, subscription }
    }

    /// Slot of the connection.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.slot & !PROTOBUF
    }

    /// Encoding of the connection.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        if self.slot & PROTOBUF == 0 { Encoding::Json } else { Encoding::Protobuf }
    }
}

/// A subscription's stage.
///
/// ```text
/// subscribe ──> Held ── hub answered ──> Live ── unsubscribe, gone ──> (removed)
///          └──────────── interest known ───^
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The hub has not confirmed yet; `id` is the request to answer.
    Held {
        /// The request's id; `None` for a server-side subscription.
        id: Option<u32>,
    },
    /// Publications are delivered.
    Live,
}

#[derive(Debug)]
struct Subscription {
    key: Key,
    channel: u32,
    place: u32,
    next: u32,
    previous: u32,
    state: State,
}

/// All subscriptions of a shard.
#[derive(Debug)]
pub struct Subscriptions {
    all: Slab<Subscription>,
}

impl Subscriptions {
    /// None yet; address space for `expected` is reserved.
    #[must_use]
    pub fn new(expected: usize) -> Self {
        Self { all: Slab::with_capacity(expected) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The connection's subscription to `channel`, if any. Looks at no more than the per-connection limit.
    #[must_use]
    pub fn find(&self, seat: &Seat, channel: u32) -> Option<u32> {
        let mut at = seat.first;
        while at != NONE {
            let subscription = &self.all[at as usize];
            if subscription.channel == channel {
                return Some(at);
            }
            at = subscription.next;
        }
        None
    }

    /// The channel of a subscription.
    #[must_use]
    pub fn channel(&self, subscription: u32) -> u32 {
        self.all[subscription as usize].channel
    }

    /// The stage of a subscription.
    #[must_use]
    pub fn state(&self, subscription: u32) -> State {
        self.all[subscription as usize].state
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self, subscription: u32) -> Key {
        self.all[subscription as usize].key
    }

    /// The next one of the same connection.
    #[must_use]
    pub(super) fn next(&self, subscription: u32) -> Option<u32> {
        let next = self.all[subscription as usize].next;
        (next != NONE).then_some(next)
    }

    /// Adds a subscription at both ends.
    pub fn add(
        &mut self,
        seat: &mut Seat,
        key: Key,
        channel: u32,
        encoding: Encoding,
        state: State,
        subscribers: &mut Vec<Subscriber>,
    ) -> u32 {
        let place = subscribers.len() as u32;
        let next = seat.first;
        let index = self.all.insert(Subscription { key, channel, place, next, previous: NONE, state }) as u32;
        if next != NONE {
            self.all[next as usize].previous = index;
        }
        seat.first = index;
        seat.count += 1;
        if subscribers.is_empty() {
            // Most channels of a node with a channel for each user have one subscriber.
            subscribers.reserve_exact(1);
        }
        subscribers.push(Subscriber::new(key.slot, index, encoding));
        index
    }

    /// Removes a subscription at both ends. `unvisited` is the running walk's cursor: entries below it are still to
    /// be visited, and stay so, each exactly once.
    pub fn remove(
        &mut self,
        seat: &mut Seat,
        subscription: u32,
        subscribers: &mut Vec<Subscriber>,
        unvisited: Option<&mut usize>,
    ) {
        let gone = self.all.remove(subscription as usize);
        if gone.next != NONE {
            self.all[gone.next as usize].previous = gone.previous;
        }
        if gone.previous != NONE {
            self.all[gone.previous as usize].next = gone.next;
        } else {
            seat.first = gone.next;
        }
        seat.count -= 1;

        let mut hole = gone.place as usize;
        if let Some(unvisited) = unvisited
            && hole < *unvisited
        {
            // Fill the hole from the unvisited part, then the gap at its end from the visited part.
            *unvisited -= 1;
            self.place(subscribers, *unvisited, hole);
            hole = *unvisited;
        }
        let last = subscribers.len() - 1;
        self.place(subscribers, last, hole);
        subscribers.pop();
        if subscribers.is_empty() {
            *subscribers = Vec::new();
        }
    }

    fn place(&mut self, subscribers: &mut [Subscriber], from: usize, to: usize) {
        if from == to {
            return;
        }
        subscribers[to] = subscribers[from];
        self.all[subscribers[to].subscription as usize].place = to as u32;
    }

    /// The hub has answered: held subscribers become live and get their reply.
    pub fn release_held(&mut self, subscribers: &[Subscriber], deliveries: &mut Vec<Delivery>) {
        for subscriber in subscribers {
            let subscription = &mut self.all[subscriber.subscription as usize];
            if let State::Held { id } = std::mem::replace(&mut subscription.state, State::Live)
                && let Some(id) = id
            {
                deliveries.push(Delivery { to: subscription.key, id, answer: Answer::Subscribed });
            }
        }
    }
}
