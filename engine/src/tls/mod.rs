//! TLS: certificates and their keys, who may connect with them, and the streams between sockets and sessions.
//!
//! Invariants: knows no socket and no session; the library is hidden here, so that it can be exchanged; what is made of
//! files is made anew as a whole, and what is in use is never changed.
//!
//! ```text
//! files ──> certificate ──> identity ──> stream, one a connection
//!   └─> watch: read again        └── tickets
//! files ──> link identity ──> link stream, one a link to another node
//! ```

mod certificate;
mod identity;
mod links;
mod stream;
mod tickets;
mod watch;

pub use certificate::{SetupError, Subject};
pub use identity::Identity;
pub use links::{LinkFault, LinkIdentity, LinkStream};
pub use stream::{Broken, Established, Stream};
pub use tickets::Tickets;
pub use watch::Watch;

#[cfg(test)]
mod testing;
