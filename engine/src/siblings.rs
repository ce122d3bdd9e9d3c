//! Mailboxes between the shards of one node: owned values, bounded, never waited for.
//!
//! Invariants: one queue per receiving shard, so that what was sent before is seen before; a full queue is an
//! answer, not a wait; interest and answers are never dropped, they wait here until there is room.
//!
//! ```text
//! kind        full mailbox
//! Publish     refused: the publisher gets error 111
//! Deliver     dropped and counted as a gap
//! others      kept in `backlog` in order; who would add to a long one is refused first (`has_room`)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::limits::BACKLOG_MESSAGES_MAX;

/// What shards say to each other, generic over the value so that this room knows no channel.
pub trait Envelope {
    /// What a full mailbox means for this message.
    fn when_full(&self) -> WhenFull;
}

/// The policy of a message that finds the mailbox full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenFull {
    /// Give it back to the sender.
    Refuse,
    /// Drop it and count it.
    Drop,
    /// Keep it until there is room.
    Keep,
}

/// How a message left.
#[derive(Debug, PartialEq, Eq)]
pub enum Posted<M> {
    /// In the mailbox, or kept for it.
    Taken,
    /// Dropped; the caller counts it.
    Dropped,
    /// Given back.
    Refused(M),
}

/// Wakes a sleeping shard; cheap when it is awake.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

struct Sibling<M> {
    sender: Sender<M>,
    wake: Wake,
    backlog: VecDeque<M>,
    needs_wake: bool,
}

/// One shard's ends of all mailboxes.
pub struct Siblings<M> {
    inbox: Receiver<M>,
    siblings: Vec<Sibling<M>>,
}

impl<M> std::fmt::Debug for Siblings<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Siblings").field("waiting", &self.inbox.len()).finish_non_exhaustive()
    }
}

impl<M: Envelope> Siblings<M> {
    /// The ends of one shard: its inbox, and a sender and a waker for every shard in order (its own included).
    #[must_use]
    pub fn new(inbox: Receiver<M>, senders: Vec<(Sender<M>, Wake)>) -> Self {
        let siblings = senders
            .into_iter()
            .map(|(sender, wake)| Sibling { sender, wake, backlog: VecDeque::new(), needs_wake: false })
            .collect();
        Self { inbox, siblings }
    }

    /// Sends `message` to `shard` at once, or does what its policy says.
    pub fn post(&mut self, shard: u16, message: M) -> Posted<M> {
        let sibling = &mut self.siblings[usize::from(shard)];
        let message = if sibling.backlog.is_empty() {
            match sibling.sender.try_send(message) {
                Ok(()) => {
                    sibling.needs_wake = true;
                    return Posted::Taken;
                }
                Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => message,
            }
        } else {
            message
        };
        match message.when_full() {
            WhenFull::Refuse => Posted::Refused(message),
            WhenFull::Drop => Posted::Dropped,
            WhenFull::Keep => {
                sibling.backlog.push_back(message);
                Posted::Taken
            }
        }
    }

    /// Moves kept messages into mailboxes with room and wakes every sibling that got something this turn.
    pub fn flush(&mut self) {
        for sibling in &mut self.siblings {
            while let Some(message) = sibling.backlog.pop_front() {
                match sibling.sender.try_send(message) {
                    Ok(()) => sibling.needs_wake = true,
                    Err(TrySendError::Full(message)) => {
                        sibling.backlog.push_front(message);
                        break;
                    }
                    // The sibling has ended, and with it everything this message could change.
                    Err(TrySendError::Disconnected(_)) => sibling.backlog.clear(),
                }
            }
            if std::mem::take(&mut sibling.needs_wake) {
                (sibling.wake)();
            }
        }
    }

    /// Whether messages are kept for a full mailbox; then the next turn must come soon.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.siblings.iter().any(|sibling| !sibling.backlog.is_empty())
    }

    /// Whether fewer messages than allowed are kept for `shard`.
    #[must_use]
    pub fn has_room(&self, shard: u16) -> bool {
        self.siblings[usize::from(shard)].backlog.len() < BACKLOG_MESSAGES_MAX
    }

    /// The next message for this shard.
    pub fn receive(&mut self) -> Option<M> {
        self.inbox.try_recv().ok()
    }

    /// Messages waiting for this shard.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Letter(u32, WhenFull);

    impl Envelope for Letter {
        fn when_full(&self) -> WhenFull {
            self.1
        }
    }

    #[test]
    fn a_full_mailbox_refuses_drops_and_keeps_in_order() {
        let (sender, inbox) = crossbeam_channel::bounded(2);
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wakes);
        let wake: Wake = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let mut here = Siblings::new(inbox, vec![(sender, wake)]);
        for number in 1..=2 {
            assert_eq!(here.post(0, Letter(number, WhenFull::Drop)), Posted::Taken);
        }
        assert_eq!(here.post(0, Letter(3, WhenFull::Drop)), Posted::Dropped);
        assert_eq!(here.post(0, Letter(4, WhenFull::Keep)), Posted::Taken);
        assert_eq!(here.post(0, Letter(5, WhenFull::Refuse)), Posted::Refused(Letter(5, WhenFull::Refuse)));
        here.flush();
        assert!(here.has_backlog());
        assert_eq!(here.receive(), Some(Letter(1, WhenFull::Drop)));
        // A kept message may not be overtaken by a later one, although there is room now.
        assert_eq!(here.post(0, Letter(6, WhenFull::Keep)), Posted::Taken);
        here.flush();
        assert_eq!(here.receive(), Some(Letter(2, WhenFull::Drop)));
        here.flush();
        assert_eq!(here.receive(), Some(Letter(4, WhenFull::Keep)));
        assert_eq!(here.receive(), Some(Letter(6, WhenFull::Keep)));
        assert!(!here.has_backlog() && here.receive().is_none());
        assert!(wakes.load(Ordering::Relaxed) >= 2);
    }
}
