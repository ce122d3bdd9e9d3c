//! Tokens: who a client is and which channels are open to it, signed by its application (JWT, RFC 7519).
//!
//! Invariants: nothing that a token says is believed, or read, before its signature was verified with a key of ours; the
//! algorithm is the key's. The time is an argument. What takes long is done on threads of its own, never on a shard's.
//!
//! ```text
//! token ─> header: which keys ─> signature ─> audience, issuer ─> forbidden and missing claims ─> time ─> claims
//! ```

mod claims;
mod desk;
mod download;
mod expected;
mod file;
mod keys;
mod minting;
mod remote;
mod signing;
mod verifier;

use std::sync::Arc;

pub use claims::{ConnectionClaims, ServerChannel, SubscriptionClaims};
pub use desk::{Claims, Desk, Job, Purpose, Verdict, open_desks};
pub use download::{Failed, download};
pub use minting::{Grant, mint, read_unverified};
pub use remote::{Change, Fetched, KeySource, RemoteKeys, Remotes, Waiters, Wishes};
pub use signing::{Signer, SigningError};
pub use verifier::{KeyError, Verifier};

/// Wakes a shard that has a verdict to hear.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token of ours: close 3500 where it would open a connection, error 103 where a channel.
    Invalid(Flaw),
    /// Ours, and too old or too new: error 109.
    Expired,
    /// The key that it names may be fetched yet, or no keys that count are there: a temporary error (100).
    Unavailable,
    /// Too many tokens wait to be judged: a temporary error (111).
    Busy,
}

/// What is wrong with a token that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is no token, or one that is too long, or asks for what is not understood here.
    Malformed,
    /// No key of ours fits it.
    Key,
    /// Somebody else has signed it.
    Signature,
    /// It is for somebody else.
    Audience,
    /// It is from somebody else.
    Issuer,
    /// It lacks a claim, has one that it must not have, or one that cannot be read.
    Claims,
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
