//! The kernel floors: the least that any server on this kernel must do, without any protocol.
//!
//! One thread, one listener on loopback, no framing, no timers, no limits. What a back end of Roadstead
//! costs above the floor of the same back end is what our own code costs. The floors share nothing with
//! `engine/io`.

pub mod epoll;
pub mod tls;
pub mod uring;

use std::time::Duration;

/// What a floor does with the bytes it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Sends back what it receives.
    Echo,
    /// Writes each message of the publisher to every subscriber. The first byte of a connection is its
    /// role (see [`SUBSCRIBER`], [`PUBLISHER`]) and is sent back once the role is taken; after it, a
    /// publisher sends messages of exactly this many bytes.
    FanOut {
        /// Bytes of one message.
        message_bytes: usize,
    },
    /// Upgrades WebSocket clients and pings each of them once in every period (io_uring only).
    Exchange {
        /// Connections at most.
        connections: u32,
        /// Between two pings of one connection.
        period: Duration,
    },
    /// Answers everything that ends an HTTP head with [`SWITCHING`].
    Handshake,
}

/// Role byte of a connection that receives every message.
pub const SUBSCRIBER: u8 = b'S';

/// Role byte of the connection whose messages are fanned out.
pub const PUBLISHER: u8 = b'P';

/// A canned answer of the size of a real one (129 bytes); its accept value answers nobody's key.
pub const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const _: () = assert!(SWITCHING.len() == 129);

/// Whether these bytes end an HTTP head. A head that arrives in pieces is answered at its last piece,
/// unless the piece splits the final empty line; a driver sends its head in one piece.
fn ends_head(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
}
