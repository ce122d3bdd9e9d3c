//! What waits to be written to sockets: references to shared payloads, in lanes, within strict limits.
//!
//! Invariants: a connection that gets one message in a turn uses no ring; a ring never grows, full is an answer, and
//! holds nothing of the arena; nothing is sent here, the turn takes what is to be sent; a blocked socket's messages stay
//! until it drains.
//!
//! ```text
//! push ──> first of the turn: the utterance itself ──> one payload, no copy
//!      └─> more, or blocked: ring of its lane      ──> up to SEND_BYTES copied into the turn's one send buffer
//! ```

mod ring;

use std::rc::Rc;

use roadstead_io::Payload;

use crate::limits::{SEND_BYTES, SPARE_RINGS};
use ring::{Entry, Ring};

const NONE: u32 = u32::MAX;
const LANES: usize = 4;

/// The tag of messages that belong to no channel (replies, pings, closes).
pub const NO_TAG: u32 = u32::MAX;

/// The tag of replies that lie in the arena, which the next turn needs: where they have to wait they are copied.
pub const LENT: u32 = u32::MAX - 1;

/// Order of writing: everything of a lane before anything of the next. One channel uses one lane; nothing marks channels
/// yet, so all of them use [`Lane::Normal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Replies and pings.
    Control = 0,
    /// For publications that go before others; none do yet.
    High = 1,
    /// Publications.
    Normal = 2,
    /// For publications that others go before, none yet; close frames, which follow everything.
    Low = 3,
}

/// The outbox has no room for a message; nothing was queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// What became of a socket that did not take what it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// It has not drained since.
    Stuck,
    /// It drained, and is blocked anew by this stop.
    Again(u32),
    /// It is not blocked.
    Over,
}

/// A connection's part: which rings it holds. Idle: none.
#[derive(Debug)]
pub struct Outbox {
    rings: [u32; LANES],
    bytes: u32,
    utterance: u32,
    blocked: bool,
    /// Counts the times it was blocked, so that one stop is told from the next.
    stops: u32,
    /// The shard looks at it again when its time is up.
    watched: bool,
    /// Nothing is said until something comes that must go first.
    corked: bool,
}

impl Outbox {
    /// Nothing to write.
    pub const EMPTY: Self = Self {
        rings: [NONE; LANES],
        bytes: 0,
        utterance: NONE,
        blocked: false,
        stops: 0,
        watched: false,
        corked: false,
    };

    /// Bytes that wait here (not those that the socket took or a back end keeps).
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Looks at the socket when the time of stop number `stop` is up.
    pub fn watch(&mut self, stop: u32) -> Watch {
        if self.blocked && self.stops == stop {
            return Watch::Stuck;
        }
        self.watched = self.blocked;
        if self.blocked { Watch::Again(self.stops) } else { Watch::Over }
    }

    /// Keeps back what is queued from now on, until [`Outboxes::uncork`].
    pub fn cork(&mut self) {
        self.corked = true;
    }

    /// Whether what is queued is kept back.
    #[must_use]
    pub fn is_corked(&self) -> bool {
        self.corked
    }

    /// Whether the socket took less than it was given and has not drained yet.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }
}

/// Records that carry an [`Outbox`].
pub trait Speakers {
    /// The outbox of the connection in `slot`; `None` when it has gone.
    fn outbox(&mut self, slot: u32) -> Option<&mut Outbox>;
}

#[derive(Debug)]
struct Utterance {
    slot: u32,
    first: Option<(Lane, Entry)>,
}

/// One thing to send now.
#[derive(Debug)]
enum Plan {
    Direct(Payload),
    Gathered { start: usize, len: usize },
}

/// The rings of a shard, and the connections that have something to say in this turn.
#[derive(Debug)]
pub struct Outboxes {
    rings: Vec<Ring>,
    free: Vec<u32>,
    utterances: Vec<Utterance>,
    plans: Vec<(u32, Plan)>,
    gathered: Vec<u8>,
    sent_buffers: Vec<Rc<Vec<u8>>>,
    ring_entries: usize,
    bytes_max: u32,
}

impl Outboxes {
    /// Outboxes that hold at most `ring_entries` messages a lane and `bytes_max` bytes a connection.
    #[must_use]
    pub fn new(ring_entries: usize, bytes_max: u32) -> Self {
        Self {
            rings: Vec::new(),
            free: Vec::new(),
            utterances: Vec::new(),
            plans: Vec::new(),
            gathered: Vec::new(),
            sent_buffers: Vec::new(),
            ring_entries: ring_entries.max(1),
            bytes_max,
        }
    }

    /// Queues `payload` for the connection in `slot`. `tag` names its channel, for [`Self::purge`].
    ///
    /// A message larger than the limit is taken when nothing else waits, so that what may be received may be
    /// answered.
    ///
    /// # Errors
    /// [`Full`]: over the byte limit or the lane's ring; nothing was queued.
    pub fn push(
        &mut self,
        outbox: &mut Outbox,
        slot: u32,
        lane: Lane,
        tag: u32,
        payload: Payload,
    ) -> Result<(), Full> {
        let len = payload.len() as u32;
        if len == 0 {
            return Ok(());
        }
        // A close frame is small, and the last; without it the peer would not know why.
        let is_close = lane == Lane::Low && tag == NO_TAG;
        if outbox.bytes > 0 && !is_close && outbox.bytes.saturating_add(len) > self.bytes_max {
            return Err(Full);
        }
        if outbox.bytes == 0 && !outbox.blocked && !outbox.corked && outbox.utterance == NONE {
            outbox.utterance = self.utterances.len() as u32;
            self.utterances.push(Utterance { slot, first: Some((lane, Entry { payload, tag })) });
        } else {
            self.spill(outbox)?;
            self.enqueue(outbox, lane, Entry { payload, tag })?;
            self.mark(outbox, slot);
        }
        outbox.bytes += len;
        Ok(())
    }

    /// Moves the turn's first message of a connection into its lane's ring, since a second one came.
    fn spill(&mut self, outbox: &mut Outbox) -> Result<(), Full> {
        let Some(utterance) = self.utterances.get_mut(outbox.utterance as usize) else { return Ok(()) };
        let Some((lane, entry)) = utterance.first.take() else { return Ok(()) };
        self.enqueue(outbox, lane, entry)
    }

    fn enqueue(&mut self, outbox: &mut Outbox, lane: Lane, mut entry: Entry) -> Result<(), Full> {
        if entry.tag == LENT {
            entry = Entry { payload: Payload::from(entry.payload.to_vec()), tag: NO_TAG };
        }
        let ring = &mut outbox.rings[lane as usize];
        if *ring == NONE {
            *ring = self.free.pop().unwrap_or_else(|| {
                self.rings.push(Ring::default());
                self.rings.len() as u32 - 1
            });
            let fresh = &mut self.rings[*ring as usize];
            if fresh.entries.is_empty() {
                fresh.entries = (0..self.ring_entries).map(|_| None).collect();
            }
        }
        self.rings[*ring as usize].push(entry)
    }

    /// Puts a connection with waiting messages on the list of this turn's speakers.
    fn mark(&mut self, outbox: &mut Outbox, slot: u32) {
        if outbox.utterance == NONE && !outbox.blocked && !outbox.corked {
            outbox.utterance = self.utterances.len() as u32;
            self.utterances.push(Utterance { slot, first: None });
        }
    }

    fn release(&mut self, ring: u32) {
        let returned = &mut self.rings[ring as usize];
        returned.head = 0;
        if self.free.len() >= SPARE_RINGS {
            returned.entries = Box::default();
        }
        self.free.push(ring);
    }

    /// The socket took only part of what it was given. Returns the number of this stop unless one is watched already.
    pub fn block(&mut self, outbox: &mut Outbox) -> Option<u32> {
        outbox.blocked = true;
        outbox.stops = outbox.stops.wrapping_add(1);
        (!std::mem::replace(&mut outbox.watched, true)).then_some(outbox.stops)
    }

    /// What was kept back is said in this turn, behind what is queued in it in an earlier lane.
    pub fn uncork(&mut self, outbox: &mut Outbox, slot: u32) {
        outbox.corked = false;
        if outbox.bytes > 0 {
            self.mark(outbox, slot);
        }
    }

    /// The socket has room again; what waits is said in this turn.
    pub fn unblock(&mut self, outbox: &mut Outbox, slot: u32) {
        outbox.blocked = false;
        if outbox.bytes > 0 {
            self.mark(outbox, slot);
        }
    }

    /// Removes what waits under `tag`: nothing of a dead subscription may follow its unsubscribe reply.
    /// Returns how many messages were removed.
    pub fn purge(&mut self, outbox: &mut Outbox, tag: u32) -> u32 {
        let mut removed = 0;
        if let Some(utterance) = self.utterances.get_mut(outbox.utterance as usize)
            && let Some((_, entry)) = utterance.first.take_if(|(_, entry)| entry.tag == tag)
        {
            outbox.bytes -= entry.payload.len() as u32;
            removed += 1;
        }
        for ring in outbox.rings.into_iter().filter(|&ring| ring != NONE) {
            let ring = &mut self.rings[ring as usize];
            for _ in 0..ring.len {
                let Some(entry) = ring.pop() else { break };
                if entry.tag == tag {
                    outbox.bytes -= entry.payload.len() as u32;
                    removed += 1;
                } else {
                    // There is room: one entry was just taken out.
                    let _ = ring.append(entry);
                }
            }
        }
        self.release_empty(outbox);
        removed
    }

    fn release_empty(&mut self, outbox: &mut Outbox) {
        for lane in 0..LANES {
            let ring = outbox.rings[lane];
            if ring != NONE && self.rings[ring as usize].len == 0 {
                self.release(ring);
                outbox.rings[lane] = NONE;
            }
        }
    }

    /// Drops everything that waits; returns how many messages that were.
    pub fn clear(&mut self, outbox: &mut Outbox) -> u32 {
        let mut dropped = 0;
        if let Some(utterance) = self.utterances.get_mut(outbox.utterance as usize) {
            dropped += u32::from(utterance.first.take().is_some());
        }
        for lane in 0..LANES {
            let ring = std::mem::replace(&mut outbox.rings[lane], NONE);
            if ring != NONE {
                while self.rings[ring as usize].pop().is_some() {
                    dropped += 1;
                }
                self.release(ring);
            }
        }
        outbox.bytes = 0;
        dropped
    }

    /// Whether some connection still has something to say.
    #[must_use]
    pub fn has_speakers(&self) -> bool {
        !self.utterances.is_empty()
    }

    /// Plans this turn's sends: at most one a connection, at most about `bytes_per_turn` copied bytes in all;
    /// connections that come after that stay on the list.
    pub fn plan(&mut self, bytes_per_turn: usize, speakers: &mut impl Speakers) {
        let mut utterances = std::mem::take(&mut self.utterances);
        self.gathered = self.spare_buffer();
        let mut again = 0;
        for place in 0..utterances.len() {
            let slot = utterances[place].slot;
            let first = utterances[place].first.take();
            let Some(outbox) = speakers.outbox(slot) else { continue };
            if outbox.utterance as usize != place {
                // The connection that spoke here has gone and its slot has a new one.
                continue;
            }
            outbox.utterance = NONE;
            if let Some((_, entry)) = first {
                outbox.bytes = 0;
                self.plans.push((slot, Plan::Direct(entry.payload)));
                continue;
            }
            if outbox.blocked || outbox.corked || outbox.bytes == 0 {
                continue;
            }
            if self.gathered.len() < bytes_per_turn {
                self.gather(outbox, slot);
            }
            if outbox.bytes > 0 {
                outbox.utterance = again as u32;
                utterances[again] = Utterance { slot, first: None };
                again += 1;
            }
        }
        utterances.truncate(again);
        self.utterances = utterances;
    }

    fn gather(&mut self, outbox: &mut Outbox, slot: u32) {
        let start = self.gathered.len();
        let mut alone = None;
        'lanes: for lane in 0..LANES {
            let ring = outbox.rings[lane];
            if ring == NONE {
                continue;
            }
            let ring = &mut self.rings[ring as usize];
            while let Some(entry) = ring.front() {
                let len = entry.payload.len();
                let copied = self.gathered.len() - start;
                if copied > 0 && copied + len > SEND_BYTES {
                    break 'lanes;
                }
                let last = outbox.bytes as usize == len;
                let Some(entry) = ring.pop() else { break };
                outbox.bytes -= len as u32;
                if copied == 0 && (last || len >= SEND_BYTES) {
                    alone = Some(entry.payload);
                    break 'lanes;
                }
                self.gathered.extend_from_slice(&entry.payload);
            }
        }
        self.release_empty(outbox);
        let plan = match alone {
            Some(payload) => Plan::Direct(payload),
            None => Plan::Gathered { start, len: self.gathered.len() - start },
        };
        self.plans.push((slot, plan));
    }

    /// Hands out the planned sends.
    pub fn speak(&mut self, mut send: impl FnMut(u32, Payload)) {
        let buffer = Rc::new(std::mem::take(&mut self.gathered));
        for (slot, plan) in self.plans.drain(..) {
            let payload = match plan {
                Plan::Direct(payload) => payload,
                Plan::Gathered { start, len } => Payload::new(Rc::clone(&buffer), start, len),
            };
            send(slot, payload);
        }
        if buffer.capacity() > 0 {
            self.sent_buffers.push(buffer);
        }
    }

    fn spare_buffer(&mut self) -> Vec<u8> {
        crate::buffers::reclaim(&mut self.sent_buffers)
    }
}

#[cfg(test)]
mod tests;
