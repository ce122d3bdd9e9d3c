//! What both back ends remember of a socket's edges: which sockets have something to read, and whose turn it is.
//!
//! Invariants: a socket is in the queue at most once with its `QUEUED` flag set; an entry without the flag is stale (its
//! socket was closed, perhaps the slot used again) and is passed over. Nothing here knows the kernel.

use std::collections::VecDeque;

/// A set of facts about a socket. Several hold at once, which is why they are flags and not states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    /// Bytes, the end or an error may wait in the kernel.
    pub(crate) const READABLE: u16 = 1;
    /// In the ready queue.
    pub(crate) const QUEUED: u16 = 1 << 1;
    /// The owner does not want to receive.
    pub(crate) const PAUSED: u16 = 1 << 2;
    /// The peer's end was received.
    pub(crate) const ENDED: u16 = 1 << 3;
    /// The owner was told that the socket is of no more use.
    pub(crate) const FAILED: u16 = 1 << 4;
    /// A remainder is still to be sent.
    pub(crate) const BLOCKED: u16 = 1 << 5;
    /// Half-close as soon as nothing is left to be sent.
    pub(crate) const FIN_WANTED: u16 = 1 << 6;
    /// A connection attempt is under way.
    pub(crate) const CONNECTING: u16 = 1 << 7;
    /// The owner closed it; only `Closed` may follow.
    pub(crate) const CLOSING: u16 = 1 << 8;
    /// The kernel said that the peer's end is behind the bytes that wait.
    pub(crate) const END_SEEN: u16 = 1 << 9;
    /// A poll request is armed (io_uring).
    pub(crate) const ARMED: u16 = 1 << 10;
    /// The first attempt of a send is queued (io_uring).
    pub(crate) const SENDING: u16 = 1 << 11;
    /// The last receive filled its slice, so that the next one finds a remainder (io_uring).
    pub(crate) const FILLED: u16 = 1 << 12;

    /// Whether any of `flags` holds.
    pub(crate) fn any(self, flags: u16) -> bool {
        self.0 & flags != 0
    }

    pub(crate) fn set(&mut self, flags: u16) {
        self.0 |= flags;
    }

    pub(crate) fn clear(&mut self, flags: u16) {
        self.0 &= !flags;
    }

    /// Nothing may be received: paused, ended, failed, or closing.
    pub(crate) fn deaf(self) -> bool {
        self.any(Self::PAUSED | Self::ENDED | Self::FAILED | Self::CLOSING | Self::CONNECTING)
    }
}

/// Slots with something to read, served round robin.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    slots: VecDeque<u32>,
}

impl ReadyQueue {
    /// Puts a readable socket at the end, unless it is there or wants nothing.
    pub(crate) fn offer(&mut self, slot: u32, flags: &mut Flags) {
        if flags.any(Flags::READABLE) && !flags.any(Flags::QUEUED) && !flags.deaf() {
            flags.set(Flags::QUEUED);
            self.slots.push_back(slot);
        }
    }

    /// The socket whose turn it is; its entry may be stale.
    pub(crate) fn front(&self) -> Option<u32> {
        self.slots.front().copied()
    }

    /// Whether the socket at the front is to be received from.
    pub(crate) fn is_due(flags: Flags) -> bool {
        flags.any(Flags::QUEUED) && flags.any(Flags::READABLE) && !flags.deaf()
    }

    /// Ends the membership of the socket at the front.
    pub(crate) fn take(&mut self, flags: &mut Flags) {
        self.slots.pop_front();
        flags.clear(Flags::QUEUED);
    }

    /// Drops the entry at the front, whose slot does not exist any more.
    pub(crate) fn skip(&mut self) {
        self.slots.pop_front();
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// What a blocked send still has to give to the kernel: a copy of exactly that, so that nothing shared stays pinned.
#[derive(Debug)]
pub(crate) struct Rest {
    bytes: Box<[u8]>,
    sent: usize,
}

impl Rest {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), sent: 0 }
    }

    /// The bytes that are not with the kernel yet.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent = (self.sent + sent).min(self.bytes.len());
    }

    pub(crate) fn is_done(&self) -> bool {
        self.sent == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_queued_once_and_only_while_it_wants_bytes() {
        let mut queue = ReadyQueue::default();
        let mut flags = Flags::default();
        queue.offer(7, &mut flags);
        assert!(queue.is_empty(), "nothing to read");
        flags.set(Flags::READABLE);
        queue.offer(7, &mut flags);
        queue.offer(7, &mut flags);
        assert_eq!((queue.len(), queue.front()), (1, Some(7)));
        flags.set(Flags::PAUSED);
        assert!(!ReadyQueue::is_due(flags), "paused while it waited");
        queue.take(&mut flags);
        queue.offer(7, &mut flags);
        assert!(queue.is_empty(), "paused");
        flags.clear(Flags::PAUSED);
        queue.offer(7, &mut flags);
        assert!(ReadyQueue::is_due(flags));
        queue.take(&mut flags);
        assert!(!ReadyQueue::is_due(flags) && queue.is_empty());
    }

    #[test]
    fn a_rest_shrinks_to_nothing() {
        let mut rest = Rest::new(b"abcdef");
        rest.advance(2);
        assert_eq!(rest.unsent(), b"cdef");
        assert!(!rest.is_done());
        rest.advance(4);
        assert!(rest.is_done() && rest.unsent().is_empty());
    }
}
