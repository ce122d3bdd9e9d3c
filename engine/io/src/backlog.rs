//! Ends a listener's listening after taking what waits there: closing alone would reset connections whose handshakes are
//! complete.
//!
//! Invariant: never waits, and ends even while new connections keep coming.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::{Lack, limits, sys};

/// Gives each connection that waits at the non-blocking `listener` to `take`, with its peer; then nobody can connect any
/// more.
///
/// # Errors
/// What was missing for the first that could not be taken, by us or by `take`; it and those behind it are lost.
pub(crate) fn close(
    listener: OwnedFd,
    accept: fn(BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)>,
    take: impl FnMut(OwnedFd, SocketAddr) -> Result<(), Lack>,
) -> Result<(), Lack> {
    let emptied = empty(listener.as_fd(), accept, take);
    // It fails only where the socket does not listen, which is what it is for.
    let _ = sys::stop_listening(listener.as_fd());
    emptied
}

fn empty(
    listener: BorrowedFd<'_>,
    accept: fn(BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)>,
    mut take: impl FnMut(OwnedFd, SocketAddr) -> Result<(), Lack>,
) -> Result<(), Lack> {
    for _ in 0..limits::LAST_ACCEPTS {
        match accept(listener) {
            Ok((descriptor, peer)) => take(descriptor, peer)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if sys::is_shortage(&error) => return Err(Lack::of(&error)),
            // accept(2): errors of the connection that was about to be accepted; there may be others.
            Err(_) => {}
        }
    }
    Ok(())
}
