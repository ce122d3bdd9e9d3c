//! Ends another thread's wait: one word in memory, and an event descriptor for when the thread really sleeps.
//!
//! Invariants: a wake before, during or after the owner's turn is never lost; a wake of an owner that is not asleep
//! costs no system call, nor does a second wake before the owner has seen the first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::sys;

// The owner's state, changed only by read-modify-write operations on the one word:
//
//              doze()                 wake(): signals the descriptor
//   AWAKE ───────────────> ASLEEP ───────────────────────────────> WOKEN
//     ^ │ ^                  │ rouse() -> false                      │ rouse() -> true
//     │ │ └──────────────────┘                                       │
//     │ └── wake(): no system call ────────────────────────> WOKEN   │
//     └──────────────────────────────────────────────────────────────┘
const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const WOKEN: u8 = 2;

/// A handle by which any thread ends a [`crate::Io::wait`]. Clones are of the same owner.
#[derive(Clone, Debug)]
pub struct Waker {
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    state: AtomicU8,
    descriptor: OwnedFd,
}

impl Waker {
    /// A waker of a back end that is yet to be made (see [`crate::Options::waker`]).
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        let descriptor = sys::event_descriptor(true)?;
        Ok(Self { bell: Arc::new(Bell { state: AtomicU8::new(AWAKE), descriptor }) })
    }

    /// Makes the owner's present or next wait end with [`crate::Event::Woken`]. Whatever the caller wrote before is
    /// visible to the owner after that event.
    pub fn wake(&self) {
        if self.bell.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            // The counter of an event descriptor is full after 2^64 - 2 signals; there is no other failure.
            let _ = sys::signal(self.bell.descriptor.as_fd());
        }
    }

    /// Declares that the owner is about to sleep; false if it must not, because it was woken.
    pub(crate) fn doze(&self) -> bool {
        self.bell.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Declares that the owner is awake; true if somebody woke it since the last call.
    pub(crate) fn rouse(&self) -> bool {
        self.bell.state.load(Ordering::Relaxed) != AWAKE
            && self.bell.state.swap(AWAKE, Ordering::AcqRel) == WOKEN
    }

    /// The descriptor that becomes readable when a sleeping owner is woken. It is watched for edges and never read:
    /// a wake adds one to its counter, and each addition is an edge.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_seen_once_whenever_it_comes() {
        let waker = Waker::new().expect("a descriptor");
        assert!(!waker.rouse(), "nobody woke it");
        waker.wake();
        waker.wake();
        assert!(!waker.doze(), "woken before it slept");
        assert!(waker.rouse());
        assert!(!waker.rouse(), "seen once");
        assert!(waker.doze());
        assert!(!waker.rouse(), "slept until something else came");
        assert!(waker.doze());
        waker.clone().wake();
        assert!(waker.rouse());
    }
}
