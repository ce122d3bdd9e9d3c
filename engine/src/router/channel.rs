//! One channel as one shard sees it.

use std::sync::Arc;

use super::subscriptions::Subscriber;
use super::walk::Walk;

/// Whether the hub sends this shard the channel's publications.
///
/// ```text
/// None ── subscribe ──> Asked ── Interested ──> Confirmed ── vacancy passed ──> None
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Not asked for.
    None,
    /// Asked; subscribers are held until the answer.
    Asked,
    /// The hub sends publications after the sequence that it named.
    Confirmed,
}

/// Subscribers here, and at the hub also the order and the interested shards.
#[derive(Debug)]
pub struct Channel<W> {
    /// Its name.
    pub name: Arc<str>,
    /// Last sequence given (at the hub) or seen (elsewhere).
    pub sequence: u64,
    /// At the hub: a bit for each shard that has subscribers.
    pub interested: u64,
    /// Elsewhere: what the hub knows of us.
    pub interest: Interest,
    /// Whether it stands on the list of channels to look at after the vacancy period.
    pub vacating: bool,
    /// Subscribers on this shard, in no order.
    pub subscribers: Vec<Subscriber>,
    /// The walk in progress, with what waits behind it.
    pub walk: Option<Box<Walk<W>>>,
}

impl<W> Channel<W> {
    /// A channel that nobody uses yet.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            sequence: 0,
            interested: 0,
            interest: Interest::None,
            vacating: false,
            subscribers: Vec::new(),
            walk: None,
        }
    }
}
