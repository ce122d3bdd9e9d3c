//! Reads of streams that wait for their owner, each answered exactly once.
//!
//! Invariants: a bounded number is open at owners at a time, the others wait in their order; an answer finds only the read that
//! asked for it; whoever gives up takes its read with it.
//!
//! ```text
//! Waiting ── room ──> Open ── found, refused ──> answered
//!     └───────────────┴── deadline, its connection gone ──> (forgotten; an answer to it is void)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use crate::flow::{Key, Reading, Wish};
use crate::limits::{READS_OPEN_MAX, READS_WAITING_MAX};

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A subscription begins.
    Subscribe {
        /// Which.
        subscription: u32,
        /// What it is to be.
        wish: Wish,
    },
    /// A client wants to see it.
    History(Reading),
}

/// One read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) by: Key,
    /// The request's id; `None`: of a server-side subscription.
    pub(super) id: Option<u32>,
    pub(super) channel: Arc<str>,
    pub(super) purpose: Purpose,
    number: u32,
    is_open: bool,
}

impl Read {
    /// What the owner is asked.
    pub(super) fn reading(&self) -> Reading {
        match self.purpose {
            Purpose::Subscribe { wish, .. } => wish.reading(),
            Purpose::History(reading) => reading,
        }
    }
}

/// All reads of a shard.
#[derive(Debug, Default)]
pub(super) struct Reads {
    all: Slab<Read>,
    waiting: VecDeque<u64>,
    /// In the order of their deadlines.
    deadlines: VecDeque<(u64, u64)>,
    open: usize,
    /// How many were opened in this turn.
    opened: usize,
    number: u32,
}

/// Names a read in 40 bits: place (20) · number (20).
fn ticket(place: u32, number: u32) -> u64 {
    u64::from(place) << 20 | u64::from(number & 0xf_ffff)
}

impl Reads {
    /// Takes a read, which waits until [`Self::poll_open`] gives it. `None`: there are too many.
    pub(super) fn add(
        &mut self,
        by: Key,
        id: Option<u32>,
        channel: Arc<str>,
        purpose: Purpose,
        due_ms: u64,
    ) -> Option<u32> {
        if self.all.len() >= READS_WAITING_MAX {
            return None;
        }
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        let read = Read { by, id, channel, purpose, number, is_open: false };
        let place = self.all.insert(read) as u32;
        self.waiting.push_back(ticket(place, number));
        self.deadlines.push_back((due_ms, ticket(place, number)));
        Some(place)
    }

    /// The next read that may be put to its owner.
    pub(super) fn poll_open(&mut self) -> Option<(u64, Read)> {
        while self.open < READS_OPEN_MAX
            && self.opened < READS_OPEN_MAX
            && let Some(ticket) = self.waiting.pop_front()
        {
            if let Some(place) = self.find(ticket) {
                let read = &mut self.all[place as usize];
                read.is_open = true;
                self.open += 1;
                self.opened += 1;
                return Some((ticket, read.clone()));
            }
        }
        None
    }

    /// The turn is over: the next one may open as many again.
    pub(super) fn end_turn(&mut self) {
        self.opened = 0;
    }

    /// Whether [`Self::poll_open`] has something in the next turn.
    pub(super) fn can_open(&self) -> bool {
        self.open < READS_OPEN_MAX && !self.waiting.is_empty()
    }

    /// A read is answered.
    pub(super) fn take(&mut self, ticket: u64) -> Option<Read> {
        self.find(ticket).map(|place| self.remove(place))
    }

    /// The next read that was not answered in time.
    pub(super) fn poll_expired(&mut self, now_ms: u64) -> Option<Read> {
        while let Some(&(due_ms, ticket)) = self.deadlines.front()
            && (due_ms <= now_ms || self.find(ticket).is_none())
        {
            self.deadlines.pop_front();
            if let Some(read) = self.take(ticket) {
                return Some(read);
            }
        }
        None
    }

    /// When the next one is late.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.deadlines.front().map(|&(due_ms, _)| due_ms)
    }

    /// The request that the read at this place is for.
    pub(super) fn id(&self, place: u32) -> Option<u32> {
        self.all[place as usize].id
    }

    /// Whoever waited for the read at this place is gone.
    pub(super) fn remove(&mut self, place: u32) -> Read {
        let read = self.all.remove(place as usize);
        self.open -= usize::from(read.is_open);
        read
    }

    fn find(&self, ticket: u64) -> Option<u32> {
        let place = (ticket >> 20) as u32;
        let read = self.all.get(place as usize)?;
        (read.number & 0xf_ffff == (ticket & 0xf_ffff) as u32).then_some(place)
    }
}
