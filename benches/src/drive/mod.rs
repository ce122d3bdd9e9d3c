//! The driver: one thread that keeps a server busy and divides what it did by the CPU time it cost.
//!
//! It speaks either to a floor (raw bytes) or to a WebSocket server (the same bytes after an upgrade).
//! Frames are encoded before the clock starts; while it runs, the driver counts and does not look.

pub mod attacking;
mod client;
mod closed_loop;
pub mod echo;
pub mod fan_out;
pub mod handshakes;
pub mod idle;
mod opening;
mod rate;
pub mod tls;
mod token;
mod wire;

use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

pub use rate::{Clocks, Cost, Mark, Rate};

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Bare TCP: a floor.
    Raw,
    /// WebSocket (RFC 6455), without extensions.
    WebSocket,
}

/// How the client protocol is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// One JSON object a line, in text frames.
    #[default]
    Json,
    /// Protobuf messages behind their lengths, in binary frames.
    Protobuf,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Json => "JSON",
            Encoding::Protobuf => "Protobuf",
        })
    }
}

/// The server that is measured.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens: a floor with several tables has an address for each.
    pub addresses: Vec<SocketAddrV4>,
    /// Its process, whose CPU time and memory are read.
    pub pid: u32,
    /// What it speaks.
    pub protocol: Protocol,
    /// How the client protocol is written, where it is spoken.
    pub encoding: Encoding,
    /// Path of the upgrade request.
    pub path: String,
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    /// Time under load before the clock starts.
    pub warm_up: Duration,
    /// Time measured.
    pub measured: Duration,
}

impl Server {
    /// The first address.
    fn address(&self) -> SocketAddrV4 {
        self.addresses[0]
    }

    fn upgrade(&self) -> opening::Step {
        let format = match self.encoding {
            Encoding::Json => "",
            Encoding::Protobuf => "?format=protobuf",
        };
        let path = format!("{}{format}", self.path);
        opening::Step { say: wire::upgrade_request(self.address(), &path), hear: opening::Hear::Switching }
    }
}
