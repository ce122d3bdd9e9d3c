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
/// Nothing is delivered yet.
const HELD: u32 = 1 << 30;
/// A publication that it misses must not go unnoticed.
const POSITIONED: u32 = 1 << 29;
const MARKS: u32 = PROTOBUF | HELD | POSITIONED;

impl Subscriber {
    fn new(slot: u32, subscription: u32, encoding: Encoding) -> Self {
        let mark = if encoding == Encoding::Protobuf { PROTOBUF } else { 0 };
        Self { slot: slot | mark | HELD, subscription }
    }

    /// Slot of the connection.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.slot & !MARKS
    }

    /// Whether nothing is delivered to it yet, since its beginning is not known.
    #[must_use]
    pub fn is_held(self) -> bool {
        self.slot & HELD != 0
    }

    /// Whether it must be ended where it would miss something.
    #[must_use]
    pub fn is_positioned(self) -> bool {
        self.slot & POSITIONED != 0
    }

    /// Which of its shard's subscriptions it is.
    pub(super) fn subscription(self) -> u32 {
        self.subscription
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
/// subscribe ──┬─> Held ── hub answered ───> Live ── unsubscribe, gone ──> (removed)
///             ├────────── interest known ────^ ^
///             └─> Reading ── owner answered ───┘     (to be positioned)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The hub has not confirmed yet; `id` is the request to answer.
    Held {
        /// The request's id; `None` for a server-side subscription.
        id: Option<u32>,
    },
    /// The owner is asked where it begins.
    Reading {
        /// The place of the read.
        read: u32,
    },
    /// It is to be given up, with an error for this request.
    Refused {
        /// The request's id.
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
    /// Of `Held` the request's id (0: there is none), of `Reading` the read.
    waits_for: u32,
    stage: Stage,
    /// The server began it.
    is_of_server: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Held,
    Reading,
    Refused,
    Live,
}

const _: () =
    assert!(size_of::<Subscription>() <= 32, "a user with a channel of its own pays for one of these");

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
        let Subscription { stage, waits_for, .. } = self.all[subscription as usize];
        match stage {
            Stage::Held => State::Held { id: (waits_for > 0).then_some(waits_for) },
            Stage::Reading => State::Reading { read: waits_for },
            Stage::Refused => State::Refused { id: (waits_for > 0).then_some(waits_for) },
            Stage::Live => State::Live,
        }
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

    /// Whether the server began a subscription.
    #[must_use]
    pub fn is_of_server(&self, subscription: u32) -> bool {
        self.all[subscription as usize].is_of_server
    }

    /// It begins to wait for a read.
    pub fn set_reading(&mut self, subscription: u32, read: u32) {
        let subscription = &mut self.all[subscription as usize];
        (subscription.stage, subscription.waits_for) = (Stage::Reading, read);
    }

    /// It is delivered to from now on.
    pub fn set_live(&mut self, subscription: u32, subscribers: &mut [Subscriber], positioned: bool) {
        let subscription = &mut self.all[subscription as usize];
        subscription.stage = Stage::Live;
        let mark = &mut subscribers[subscription.place as usize].slot;
        *mark = *mark & !HELD | if positioned { POSITIONED } else { 0 };
    }

    /// It is given up as soon as its connection is at hand.
    pub fn set_refused(&mut self, subscription: u32, id: Option<u32>) {
        let subscription = &mut self.all[subscription as usize];
        (subscription.stage, subscription.waits_for) = (Stage::Refused, id.unwrap_or(0));
    }

    /// It waits like any other that is not positioned.
    pub fn set_held(&mut self, subscription: u32, id: Option<u32>) {
        let subscription = &mut self.all[subscription as usize];
        (subscription.stage, subscription.waits_for) = (Stage::Held, id.unwrap_or(0));
    }

    /// Adds a subscription at both ends, held until it is set to something else. `id` is the request's; `None`: the server
    /// begins it.
    pub fn add(
        &mut self,
        seat: &mut Seat,
        key: Key,
        channel: u32,
        encoding: Encoding,
        id: Option<u32>,
        subscribers: &mut Vec<Subscriber>,
    ) -> u32 {
        let place = subscribers.len() as u32;
        let next = seat.first;
        let subscription = Subscription {
            key,
            channel,
            place,
            next,
            previous: NONE,
            waits_for: id.unwrap_or(0),
            stage: Stage::Held,
            is_of_server: id.is_none(),
        };
        let index = self.all.insert(subscription) as u32;
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
    pub fn release_held(&mut self, subscribers: &mut [Subscriber], deliveries: &mut Vec<Delivery>) {
        for subscriber in subscribers.iter_mut().filter(|subscriber| subscriber.is_held()) {
            let subscription = &mut self.all[subscriber.subscription as usize];
            if subscription.stage != Stage::Held {
                continue;
            }
            subscription.stage = Stage::Live;
            subscriber.slot &= !HELD;
            if subscription.waits_for > 0 {
                let (to, id) = (subscription.key, subscription.waits_for);
                deliveries.push(Delivery { to, id, answer: Answer::Subscribed(None) });
            }
        }
    }
}
