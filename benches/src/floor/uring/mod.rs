//! The floor on io_uring: direct descriptors, deferred task work, one enter for everything of a turn.
//!
//! Two ways to read are kept, since each wins somewhere: a multishot receive into provided buffers
//! ([`Reading::Multishot`]), and a multishot poll followed by a receive into the buffer that was used
//! last ([`Reading::Polled`]).

mod echo;
mod exchange;
mod fan_out;
mod handshake;
mod polled;
mod ring;

use std::io;
use std::os::fd::OwnedFd;

use super::Service;

/// How a ring reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A multishot receive with provided buffers.
    Multishot,
    /// A multishot poll, then a single receive.
    Polled,
}

/// The memory a floor receives into.
#[derive(Debug, Clone, Copy)]
pub struct Buffers {
    /// Bytes of one buffer.
    pub bytes: usize,
    /// Number of buffers, a power of two.
    pub count: u16,
}

/// Serves until an error of the machine; a connection's end is none. Polled reading is only built for echo.
pub fn serve(listener: OwnedFd, service: Service, reading: Reading, buffers: Buffers) -> io::Result<()> {
    match (service, reading) {
        (Service::Echo, Reading::Multishot) => echo::serve(listener, buffers),
        (Service::Echo, Reading::Polled) => polled::serve(listener, buffers),
        (Service::FanOut { message_bytes }, _) => fan_out::serve(listener, message_bytes, buffers),
        (Service::Handshake, _) => handshake::serve(listener, buffers),
        (Service::Exchange { connections, period }, _) => {
            exchange::serve(listener, connections, period, buffers)
        }
    }
}
