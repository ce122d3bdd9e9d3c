//! Every number of this package that bounds something, with its reason.

use std::time::Duration;

/// Sockets of one back end, at most. A slot number must fit beside an operation's kind into one 64-bit completion
/// tag, and a thread with more sockets than this has other troubles.
pub(crate) const SOCKETS_MAX: u32 = 1 << 24;

/// Bytes that one receive takes at most: as much as an arena has. Large ones pay, because what is received at once is
/// answered at once, and fewer messages are cut in two and put together again: sixteen messages of 16 KiB outstanding cost
/// a quarter less than with half of this. One flooding peer may take a whole turn, but the others come before its next.
pub(crate) const RECEIVE_BYTES_MAX: usize = 256 * 1024;

/// Room in the arena below which no receive of a socket starts that may have more for it: a receive into a few bytes
/// costs what a large one does. An arena smaller than this is used whole.
pub(crate) const RECEIVE_ROOM_MIN: usize = 16 * 1024;

/// Every receive starts at a multiple of this in the arena, so that words of two sockets share no eight bytes.
pub(crate) const RECEIVE_ALIGN: usize = 8;

/// Arena slices that io_uring reserves for a receive, by size class. A socket starts in the first class, climbs when
/// it fills its slice and falls when it uses no more than a quarter of it. Twofold steps keep slices close to what a
/// socket receives: the arena then serves more sockets with one system call. The first is large enough for a window of
/// small messages, since what is cut in two here is delivered in two.
pub(crate) const SLICE_BYTES: [u32; 7] =
    [4 * 1024, 8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024, 128 * 1024, RECEIVE_BYTES_MAX as u32];

/// Connections that epoll accepts per listener and turn. A connection storm must not hold up the sockets that are
/// already open; the rest waits in the backlog until the next turn.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// Accepts in flight per listener on io_uring, each with an address of its own; also the bound per turn there.
pub(crate) const ACCEPTS_IN_FLIGHT: usize = 32;

/// Listeners of one back end, ever: each gets a number of 16 bits of its own. One more is refused.
pub(crate) const LISTENERS_MAX: usize = u16::MAX as usize;

/// Connections that are taken out of a listener's backlog, at most, before it is closed. A full backlog holds one more
/// than it was asked to; who comes while it is emptied may find the listener closed.
pub(crate) const LAST_ACCEPTS: usize = BACKLOG as usize + 1;

/// Times that the rings are entered, at most, to see the accepts of a closing listener cancelled: an enter works off some
/// forty of what is pending, and cancelled accepts stand behind what was there before. What is not seen by then is told
/// by the next wait.
pub(crate) const CANCEL_ENTERS: usize = 1_000;

/// A wait that is asked to be longer ends after this: the kernel refuses times that are no real ones.
pub(crate) const SLEEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Pause of accepting after the operating system was out of descriptors or memory. Ended early when a socket closes.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Events that one `epoll_wait` returns at most.
pub(crate) const EPOLL_EVENTS: usize = 512;

/// Submission entries of a ring (64 bytes each). When they are used up the ring is submitted early, which costs one
/// system call per so many operations; more entries would only be colder.
pub(crate) const RING_SUBMISSIONS: u32 = 256;

/// Completion entries of a ring (16 bytes each). A full queue loses nothing (the kernel keeps the rest and is asked
/// for it), it is only slower.
pub(crate) const RING_COMPLETIONS: u32 = 2048;

/// Times that a ring may refuse an enter for lack of memory, one after the other, before it counts as broken.
pub(crate) const ENTER_REFUSALS: u32 = 1_000;

/// Time that the kernel gets to cancel everything when a back end ends; it needs microseconds.
pub(crate) const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

/// Threads that the kernel may start for one ring, of each sort. The only operation that needs one is a half-close,
/// which never blocks.
pub(crate) const RING_WORKERS: u32 = 1;

/// Connections that may wait in a listener's backlog; the kernel clamps it to `net.core.somaxconn`.
pub(crate) const BACKLOG: u32 = 65_535;

const _: () = assert!(SOCKETS_MAX.is_power_of_two());
const _: () = assert!(RECEIVE_ROOM_MIN <= RECEIVE_BYTES_MAX);
const _: () = assert!((SLICE_BYTES[0] as usize).is_multiple_of(RECEIVE_ALIGN));
const _: () = assert!(RING_COMPLETIONS >= 2 * RING_SUBMISSIONS);
const _: () = assert!(ACCEPTS_IN_FLIGHT < RING_SUBMISSIONS as usize);
