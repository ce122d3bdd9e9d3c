//! Deliberately broken rules: what an oracle is worth is seen by what it finds.
//!
//! Invariant: a saboteur strikes only after its time has come, only at whole frames or orders, and says how often it did: a
//! run that it never struck proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roadstead_protocol::relay::{Found, Position, Relay, StoredPublications, push_relay};

use crate::network::Way;
use crate::random::Random;

/// A rule, broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// A link loses an `Announce` and stays up.
    LosesAnnounce,
    /// A link loses a `Top` and stays up.
    LosesTop,
    /// A link loses a `Deliver` and stays up.
    LosesDeliver,
    /// A link loses an `Enter` and stays up.
    LosesEnter,
    /// A recovery comes without its first publication.
    CutsFound,
    /// A link loses a `Deliver`, and the next one of the channel comes in its place: nobody behind it can see a gap.
    HidesGap,
    /// A link brings a `Deliver` twice, at two positions: of two with one position, a hub takes one.
    DoublesDeliver,
    /// A link brings a `Publish` twice.
    DoublesPublish,
    /// A link brings two `Deliver` in the other order.
    ReordersDelivers,
    /// A link brings, behind an `Announce`, a `Withdraw` of the channel as an earlier session may have had it.
    BringsStaleWithdraw,
    /// A shard is not told of a View.
    WithholdsView,
    /// A shard is not told that a link has come up or gone down.
    WithholdsLinkChange,
}

impl Mutant {
    /// All.
    pub const ALL: [Self; 12] = [
        Self::LosesAnnounce,
        Self::LosesTop,
        Self::LosesDeliver,
        Self::LosesEnter,
        Self::CutsFound,
        Self::HidesGap,
        Self::DoublesDeliver,
        Self::DoublesPublish,
        Self::ReordersDelivers,
        Self::BringsStaleWithdraw,
        Self::WithholdsView,
        Self::WithholdsLinkChange,
    ];
}

/// Breaks one rule now and then.
#[derive(Debug)]
pub struct Saboteur {
    mutant: Mutant,
    random: Random,
    /// Nothing before this time.
    from: Duration,
    strikes: u64,
    /// A frame that is held back until the next of its direction, by connection and direction.
    held: BTreeMap<(u32, bool), Vec<u8>>,
    /// Where a `Deliver` was lost and the next one is to take its place.
    hidden: BTreeSet<(u32, String)>,
}

/// How often a saboteur strikes where it can, per mille: every time where the rules mend a single strike, so that what
/// is broken stays broken.
const fn eagerness(mutant: Mutant) -> usize {
    match mutant {
        Mutant::LosesAnnounce | Mutant::LosesTop | Mutant::LosesEnter | Mutant::CutsFound => 1_000,
        Mutant::BringsStaleWithdraw | Mutant::WithholdsView | Mutant::WithholdsLinkChange => 500,
        Mutant::LosesDeliver
        | Mutant::DoublesDeliver
        | Mutant::DoublesPublish
        | Mutant::ReordersDelivers
        | Mutant::HidesGap => 100,
    }
}

impl Saboteur {
    /// One that breaks the rule of `mutant` from a moment on.
    #[must_use]
    pub fn new(mutant: Mutant, random: Random, from: Duration) -> Self {
        Self { mutant, random, from, strikes: 0, held: BTreeMap::new(), hidden: BTreeSet::new() }
    }

    /// How often it has struck.
    #[must_use]
    pub fn strikes(&self) -> u64 {
        self.strikes
    }

    /// Whether it strikes at something that its mutant concerns.
    pub fn strikes_at(&mut self, mutant: Mutant, now: Duration) -> bool {
        let strikes = self.mutant == mutant && now >= self.from && self.random.chance(eagerness(mutant));
        self.strikes += u64::from(strikes);
        strikes
    }

    /// Lets a frame pass into `out`, or not.
    pub(crate) fn pass(
        &mut self,
        now: Duration,
        way: Way,
        (view, relay): (u64, &Relay<'_>),
        frame: &[u8],
        out: &mut Vec<u8>,
    ) {
        let held = self.held.remove(&(way.connection, way.is_forward));
        match relay {
            Relay::Announce { .. } if self.strikes_at(Mutant::LosesAnnounce, now) => {}
            Relay::Top { .. } if self.strikes_at(Mutant::LosesTop, now) => {}
            Relay::Deliver { .. } if self.strikes_at(Mutant::LosesDeliver, now) => {}
            Relay::Enter { .. } if self.strikes_at(Mutant::LosesEnter, now) => {}
            Relay::Deliver { channel, position, publication }
                if self.strikes_at(Mutant::DoublesDeliver, now) =>
            {
                out.extend_from_slice(frame);
                let position = Position { sequence: position.sequence + 1, ..*position };
                push(out, view, &Relay::Deliver { channel, position, publication: *publication });
            }
            Relay::Found { request, channel, found: Ok(found) }
                if found.publications.iter().next().is_some() && self.strikes_at(Mutant::CutsFound, now) =>
            {
                let rest: Vec<_> = found.publications.iter().skip(1).collect();
                let found = Found { publications: StoredPublications::of(&rest), ..*found };
                push(out, view, &Relay::Found { request: *request, channel, found: Ok(found) });
            }
            Relay::Deliver { channel, .. } if self.strikes_at(Mutant::HidesGap, now) => {
                self.hidden.insert((way.connection, (*channel).to_owned()));
            }
            Relay::Deliver { channel, position, publication }
                if self.hidden.remove(&(way.connection, (*channel).to_owned())) =>
            {
                let position = Position { sequence: position.sequence - 1, ..*position };
                push(out, view, &Relay::Deliver { channel, position, publication: *publication });
            }
            Relay::Publish { .. } if self.strikes_at(Mutant::DoublesPublish, now) => {
                out.extend_from_slice(frame);
                out.extend_from_slice(frame);
            }
            Relay::Deliver { .. } if held.is_none() && self.strikes_at(Mutant::ReordersDelivers, now) => {
                self.held.insert((way.connection, way.is_forward), frame.to_vec());
            }
            Relay::Announce { channel, .. } if self.strikes_at(Mutant::BringsStaleWithdraw, now) => {
                out.extend_from_slice(frame);
                push(out, view, &Relay::Withdraw { channel });
            }
            _ => out.extend_from_slice(frame),
        }
        if let Some(held) = held {
            out.extend_from_slice(&held);
        }
    }
}

fn push(out: &mut Vec<u8>, view: u64, relay: &Relay<'_>) {
    push_relay(out, view, relay).expect("no larger than the frame that it is made from");
}
