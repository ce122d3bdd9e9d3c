//! The only place that touches the kernel's sockets: one trait, its back ends, and the values that cross it.
//!
//! Invariants: knows no protocol, no session, no shard; holds no receive buffer for an idle socket; hands out
//! events, never calls back; every `unsafe` of the network path is in this package.
//!
//! How an owner (a shard of the engine, a thread of the load generator) uses it, once a turn:
//!
//! ```text
//! io.wait(&mut arena, &mut events, timeout)   submit what was queued, wait, receive into the arena
//!     for event in events                     bytes lie in arena[event.start..event.start+event.len]
//! io.send(socket, payload)                    at most one per socket and turn, never while it is blocked; what was
//!                                             received can be sent from where it lies (Arena::payload)
//! ```
//!
//! A socket's life, seen from the owner:
//!
//! ```text
//!   listen ──> Accepted ─┐            ┌──────────<── Drained ──┐
//!                        ├──> open ───┤ send that did not fit  ├──> Blocked (the back end keeps the rest)
//!   connect ─> Connected ┘     │      └────────────────────────┘
//!                              │ PeerClosed (half-closed: may still send) / Failed (nothing works any more)
//!                              └── close() ──> Closed: the slot may be used again
//! ```

mod arena;
mod backend;
mod backlog;
mod descriptors;
mod epoll;
mod kernel_tls;
mod lack;
mod limits;
mod listener;
mod payload;
mod readiness;
mod sys;
mod uring;
mod waker;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use arena::Arena;
pub use backend::{Choice, Kind, Options, Selected, Unavailable, UnknownChoice, select};
pub use descriptors::{descriptor_limit, raise_descriptor_limit};
pub use epoll::Epoll;
pub use kernel_tls::kernel_tls;
pub use lack::Lack;
pub use listener::{Congestion, ListenOptions, Listener, bind, try_bind};
pub use payload::Payload;
pub use uring::Uring;
pub use waker::Waker;

/// A socket's slot in its back end: dense, small numbers first, reused after [`Event::Closed`].
///
/// Back ends never reuse a slot before they have emitted `Closed` for it, so no generation is needed here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Socket(pub u32);

/// What happened, in the order in which the owner must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer connected to listener number `listener` (in the order of [`Io::listen`] calls).
    Accepted {
        /// The new socket.
        socket: Socket,
        /// The peer's address.
        peer: SocketAddr,
        /// Index of the listener.
        listener: u16,
    },
    /// A [`Io::connect`] succeeded; the socket can send.
    Connected {
        /// The socket.
        socket: Socket,
    },
    /// `len` bytes (> 0) were received into the arena at `start`. Valid until the next [`Io::wait`].
    Received {
        /// The socket.
        socket: Socket,
        /// Offset in the arena, bytes.
        start: u32,
        /// Length, bytes.
        len: u32,
    },
    /// The peer sends no more (FIN). Bytes received before it were delivered before it.
    PeerClosed {
        /// The socket.
        socket: Socket,
    },
    /// The socket is of no more use (reset, refused, unreachable). The owner must still [`Io::close`] it.
    Failed {
        /// The socket.
        socket: Socket,
        /// The operating system's error number.
        errno: i32,
    },
    /// The last send did not fit into the socket's buffer. The back end keeps the rest and goes on by itself;
    /// no send is allowed until [`Event::Drained`].
    Blocked {
        /// The socket.
        socket: Socket,
        /// Bytes that the back end keeps.
        rest: u32,
    },
    /// All of a blocked send is with the kernel.
    Drained {
        /// The socket.
        socket: Socket,
    },
    /// The slot is free. Always the last event of a socket, exactly once after [`Io::close`].
    Closed {
        /// The socket.
        socket: Socket,
    },
    /// A [`Waker`] was used since the last wait.
    Woken,
    /// A connection could not be accepted. It was lost or waits in the backlog; accepting goes on by itself when there is
    /// room again.
    AcceptFailed {
        /// What there was too little of.
        lack: Lack,
    },
}

/// Sockets of one thread. All calls are made by the thread that created it.
///
/// `listen`, `connect`, `send`, `close` and the like queue their work; [`Io::wait`] submits it. A back end may do
/// the work of `send` at once (epoll does); the owner cannot tell.
pub trait Io {
    /// Accepts connections from `listener` from now on. Listeners are numbered from 0 in the order of these calls.
    ///
    /// Accepting pauses by itself while no slot is free and goes on when one is.
    ///
    /// # Errors
    /// Registration refused by the operating system, or all numbers of listeners are used up (`EMFILE`).
    fn listen(&mut self, listener: Listener) -> io::Result<()>;

    /// How many listeners there were, closed ones included: their numbers are those below it, and none is used again.
    fn listeners(&self) -> u16;

    /// Closes one listener after taking what waits in its accept queue: as far as slots are free, whoever's handshake
    /// is complete now is told as [`Event::Accepted`] by the next wait; the kernel refuses later comers. One
    /// that finds no slot is lost with those behind it, which [`Event::AcceptFailed`] tells. Other listeners go on, and
    /// accepted connections stay. A listener that is closed already is left alone.
    fn stop_listening(&mut self, listener: u16);

    /// Connects to `peer`, from `source` if given (with `IP_BIND_ADDRESS_NO_PORT`). Answered by
    /// [`Event::Connected`] or [`Event::Failed`].
    ///
    /// # Errors
    /// Out of slots (`ENFILE`) or descriptors; nothing was started.
    fn connect(&mut self, source: Option<SocketAddr>, peer: SocketAddr) -> io::Result<Socket>;

    /// Sends `payload`. The back end holds a reference until the bytes are with the kernel or copied, at the latest until
    /// the next [`Io::wait`] receives: it may lie in the arena.
    ///
    /// # Panics
    /// Debug builds: a second send in one turn, or one to a blocked socket.
    fn send(&mut self, socket: Socket, payload: Payload);

    /// Stops receiving from `socket` (back-pressure on the peer through its TCP window).
    fn pause(&mut self, socket: Socket);

    /// Receives again after [`Io::pause`].
    fn resume(&mut self, socket: Socket);

    /// Half-close: FIN after what was sent before. No send may follow.
    fn shutdown(&mut self, socket: Socket);

    /// Ends the socket; what a blocked send still holds is dropped. Answered by [`Event::Closed`].
    fn close(&mut self, socket: Socket);

    /// Submits what was queued, waits at most `timeout` (`None`: until something happens; zero: not at all), and
    /// appends what happened to `events`. Receives at most one arena of bytes; sockets that did not fit come next
    /// turn without waiting.
    ///
    /// # Errors
    /// A failure of the back end as a whole; the owner cannot go on.
    fn wait(
        &mut self,
        arena: &mut Arena,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()>;

    /// A handle by which other threads end a [`Io::wait`] early.
    fn waker(&self) -> Waker;

    /// Slots in use (accepted, connecting, open or closing).
    fn sockets(&self) -> usize;
}
