//! One direction of a simulated TCP connection: bounded at both ends, ordered, late.
//!
//! Invariants: bytes leave in the order in which they came and none is lost or made up; no more than the two
//! buffers' sizes are ever held; the end of the stream follows the last byte.
//!
//! ```text
//!   write ──> outgoing ──transmit──> flight (each segment with its time) ──deliver──> received ──> read
//!             bounded                └───────── together bounded: the window ─────────┘
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::conditions::Conditions;
use crate::random::Random;

/// A stream of bytes from one end of a connection to the other.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    outgoing: VecDeque<u8>,
    flight: VecDeque<Segment>,
    flight_bytes: usize,
    received: VecDeque<u8>,
    /// The time of the last segment: later ones do not overtake it.
    due_last: Duration,
    end: End,
}

#[derive(Debug)]
struct Segment {
    due: Duration,
    bytes: Vec<u8>,
}

/// How far the end of the stream has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum End {
    /// More may be written.
    #[default]
    Open,
    /// The writer has finished; bytes may still wait before the end.
    Finished,
    /// The end is on its way.
    Flying(Duration),
    /// The end lies behind the received bytes.
    Arrived,
    /// Nothing comes any more, not even an end.
    Silent,
}

impl Pipe {
    /// Bytes that can be written.
    pub(crate) fn room(&self, conditions: &Conditions) -> usize {
        conditions.send_buffer_bytes.saturating_sub(self.outgoing.len())
    }

    /// Takes `bytes`, for which the writer has seen room.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        assert_eq!(self.end, End::Open, "nothing is written after the end");
        self.outgoing.extend(bytes);
    }

    /// Ends the stream behind what was written.
    pub(crate) fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Finished;
        }
    }

    /// Drops what has not left yet, without an end: the writer is gone.
    pub(crate) fn abandon(&mut self) {
        self.outgoing.clear();
    }

    /// Drops what has not arrived, without an end: the writer's kernel is gone, and nothing is sent again.
    pub(crate) fn silence(&mut self) {
        self.outgoing.clear();
        self.flight.clear();
        self.flight_bytes = 0;
        self.end = End::Silent;
    }

    /// Whether something was written, the end included, that has not arrived yet.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        !self.outgoing.is_empty()
            || !self.flight.is_empty()
            || matches!(self.end, End::Finished | End::Flying(_))
    }

    /// Sends off what the window has room for, in segments of random size with random delays.
    pub(crate) fn transmit(&mut self, now: Duration, random: &mut Random, conditions: &Conditions) {
        loop {
            let window =
                conditions.receive_buffer_bytes.saturating_sub(self.flight_bytes + self.received.len());
            let bytes_max = window.min(self.outgoing.len());
            if bytes_max == 0 {
                break;
            }
            let len = bytes_max.min(random.within(conditions.segment_bytes.clone()));
            let due = self.arrival(now, random, conditions);
            self.flight.push_back(Segment { due, bytes: self.outgoing.drain(..len).collect() });
            self.flight_bytes += len;
        }
        if self.end == End::Finished && self.outgoing.is_empty() {
            self.end = End::Flying(self.arrival(now, random, conditions));
        }
    }

    /// When something that leaves now arrives: late by chance, but not before what left earlier.
    pub(crate) fn arrival(
        &mut self,
        now: Duration,
        random: &mut Random,
        conditions: &Conditions,
    ) -> Duration {
        self.due_last = self.due_last.max(now + conditions.delay(random));
        self.due_last
    }

    /// Hands over what has arrived by `now`.
    pub(crate) fn deliver(&mut self, now: Duration) {
        while self.flight.front().is_some_and(|segment| segment.due <= now) {
            if let Some(segment) = self.flight.pop_front() {
                self.flight_bytes -= segment.bytes.len();
                self.received.extend(segment.bytes);
            }
        }
        if let End::Flying(due) = self.end
            && due <= now
        {
            self.end = End::Arrived;
        }
    }

    /// Moves received bytes into `to`; returns how many.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> usize {
        let len = to.len().min(self.received.len());
        for (place, byte) in to.iter_mut().zip(self.received.drain(..len)) {
            *place = byte;
        }
        len
    }

    /// Bytes that can be read.
    pub(crate) fn readable(&self) -> usize {
        self.received.len()
    }

    /// Whether everything was read and the end was reached.
    pub(crate) fn is_at_end(&self) -> bool {
        self.end == End::Arrived && self.received.is_empty()
    }

    /// When something arrives next.
    pub(crate) fn due(&self) -> Option<Duration> {
        let end = if let End::Flying(due) = self.end { Some(due) } else { None };
        self.flight.front().map(|segment| segment.due).or(end)
    }

    /// Bytes held anywhere on the way.
    pub(crate) fn held(&self) -> usize {
        self.outgoing.len() + self.flight_bytes + self.received.len()
    }
}
