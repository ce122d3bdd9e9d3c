//! The server API: where back ends reach it, and what they show.

use std::net::SocketAddr;

use super::Secret;

/// The server API. It is on the admin addresses too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// An address for nothing else; `None`: only the admin addresses.
    pub listen: Option<SocketAddr>,
    /// What requests over TCP must show one of.
    pub keys: Vec<Secret>,
}
