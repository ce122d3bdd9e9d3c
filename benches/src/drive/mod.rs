//! The driver: one thread that keeps a server busy and divides what it did by the CPU time it cost.
//!
//! It speaks either to a floor (raw bytes) or to a WebSocket server (the same bytes after an upgrade).
//! Frames are encoded before the clock starts; while it runs, the driver counts and does not look.

pub mod echo;
pub mod fan_out;
pub mod handshakes;
pub mod idle;
mod opening;
mod rate;
pub mod tls;
mod token;
mod wire;

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

/// The server that is measured.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Its process, whose CPU time and memory are read.
    pub pid: u32,
    /// What it speaks.
    pub protocol: Protocol,
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
    fn upgrade(&self) -> opening::Step {
        opening::Step { say: wire::upgrade_request(self.address, &self.path), hear: opening::Hear::Switching }
    }

    /// Upgrade and connect (with a token unless it is empty), then perhaps one subscription, in the JSON
    /// client protocol.
    fn session(&self, token: &str, channel: Option<&str>) -> Vec<opening::Step> {
        let command = |id, json: String| opening::Step {
            say: wire::client_frame(wire::Opcode::Text, json.as_bytes()),
            hear: opening::Hear::Reply(id),
        };
        let connect = match token {
            "" => r#"{"id":1,"connect":{}}"#.to_owned(),
            _ => format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#),
        };
        let subscribe =
            channel.map(|name| command(2, format!(r#"{{"id":2,"subscribe":{{"channel":"{name}"}}}}"#)));
        [self.upgrade(), command(1, connect)].into_iter().chain(subscribe).collect()
    }
}
