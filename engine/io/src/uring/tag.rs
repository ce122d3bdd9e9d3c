//! What a completion is the completion of: an operation's kind and the number of the thing that it was about.

/// The kinds of operation that are ever submitted. The number beside each is of the thing named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    /// The armed poll of a socket: its slot.
    Poll = 1,
    /// A receive into the arena: the index of its slice.
    Receive,
    /// The first attempt of a send, straight from shared memory: the socket's slot.
    Attempt,
    /// The rest of a blocked send, from memory of its own: the socket's slot.
    Rest,
    /// The cancellation of a blocked send of a closed socket: the socket's slot.
    CancelRest,
    /// A connection attempt: the socket's slot.
    Connect,
    /// The end of a socket: its slot.
    Close,
    /// An accept: its seat.
    Accept,
    /// The poll of a listener that has no slot to accept into: its number.
    Listener,
    /// The poll of the waker's descriptor.
    Waker,
    /// The read of the descriptor that the other rings of the group signal.
    Bell,
    /// Whatever needs no answer.
    Silent,
}

/// Packs the two into the 64 bits that the kernel hands back.
pub(super) fn tag(operation: Operation, number: u32) -> u64 {
    (operation as u64) << 32 | u64::from(number)
}

/// The two again; anything that was never packed is [`Operation::Silent`].
pub(super) fn untag(tag: u64) -> (Operation, u32) {
    use Operation::{
        Accept, Attempt, Bell, CancelRest, Close, Connect, Listener, Poll, Receive, Rest, Silent, Waker,
    };
    const ALL: [Operation; 11] =
        [Poll, Receive, Attempt, Rest, CancelRest, Connect, Close, Accept, Listener, Waker, Bell];
    let operation = (tag >> 32).checked_sub(1).and_then(|at| ALL.get(at as usize)).copied();
    (operation.unwrap_or(Silent), tag as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_they_were_made() {
        for raw in 1..=Operation::Silent as u64 {
            let (operation, number) = untag(raw << 32 | 0xffff_fffe);
            assert_eq!((operation as u64, number), (raw, 0xffff_fffe));
            assert_eq!(untag(tag(operation, 7)), (operation, 7));
        }
        assert_eq!(untag(0).0, Operation::Silent);
        assert_eq!(untag(u64::MAX).0, Operation::Silent);
    }
}
