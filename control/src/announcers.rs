//! Who announces registry entries to an owner, in which link session, and up to where it was heard.
//!
//! Invariants: an announcer is in the owner's View or it is not here; of two sessions of one announcer the
//! earlier never speaks again; within a session nothing is applied twice and nothing after a gap.
//!
//! One announcer, seen from the owner:
//!
//! ```text
//!   begin ──> announcing ── complete ──> settled        what an earlier session said and this one did not: void
//!                 ^  └──────── begin, a later session ───────┘ │
//!                 └────────────────────────────────────────────┘
//!   not in the View any more, or a later incarnation begins: retired; all it ever said is void at once
//! ```
//!
//! Void is a comparison, not a walk: each session has a generation, and a statement counts while its generation is
//! not below the announcer's oldest valid one. Memory is given back later, by the registry's sweep.
//!
//! The digest of an announcer is the one of the entries that its present session has said and not taken back.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::limits::{NODE_SHARDS_MAX, VIEW_NODES_MAX};
use crate::node::{Incarnation, NodeId};
use crate::view::View;

// Every announcer of a View has a slot, and a slot's number 16 bits.
const _: () = assert!(VIEW_NODES_MAX * NODE_SHARDS_MAX as usize <= 1 << 16);

/// The one voice that may add and remove entries for the connections of a node's users, of those channels
/// that have their hub on this shard of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcer {
    /// The node that holds the connections.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its hub shard that speaks.
    pub shard: u16,
}

/// A link session of an announcer, once begun: what frames of that link are announced under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionKey {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

/// Why something was refused, and whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The announcer's life is not in the owner's View (any more, or not yet): it may begin again later.
    NotInView,
    /// No node has a shard of this number, or it is a node's own that announces to itself: the link is to be dropped.
    NoHub,
    /// A later session of this announcer is known, or it was retired: the link is to be dropped.
    StaleSession,
    /// This sequence number was applied before; nothing changed. Confirm it again.
    Repeated,
    /// Statements before this one are missing; nothing changed. The announcer must begin a new session and
    /// say all.
    Gap {
        /// The sequence number that was due.
        expected: u64,
    },
    /// The user has [`crate::limits::USER_CONNECTIONS_MAX`] connections of this announcer: this one is not kept. Its
    /// sequence number counts as applied.
    UserFull,
}

/// All announcers of one owner shard. Slots are reused; their generations go on rising, so that nothing said
/// by a former holder of a slot counts for the next.
#[derive(Debug, Default)]
pub(crate) struct Announcers {
    slots: Vec<Slot>,
    by_place: BTreeMap<(NodeId, u16), u16>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Slot {
    announcer: Announcer,
    /// The link session, as the announcer numbers it.
    session: u64,
    generation: u32,
    generation_oldest: u32,
    /// The last sequence number applied in this session.
    sequence: u64,
    /// Of the entries of this session.
    digest: Digest,
}

impl Announcers {
    /// Begins `session` of `announcer`.
    ///
    /// # Errors
    /// [`Refusal::NotInView`], [`Refusal::NoHub`], [`Refusal::StaleSession`]; nothing changed.
    pub(crate) fn begin(
        &mut self,
        view: &View,
        announcer: Announcer,
        session: u64,
    ) -> Result<SessionKey, Refusal> {
        if !view.contains(announcer.node, announcer.incarnation) {
            return Err(Refusal::NotInView);
        }
        if announcer.shard >= NODE_SHARDS_MAX {
            return Err(Refusal::NoHub);
        }
        let place = (announcer.node, announcer.shard);
        let Some(&number) = self.by_place.get(&place) else {
            let number = self.occupy(announcer, session);
            self.by_place.insert(place, number);
            return Ok(self.key(number));
        };
        let slot = &mut self.slots[usize::from(number)];
        // The View holds one life of a node and retires the others, so the lives are equal here.
        if session <= slot.session {
            return Err(Refusal::StaleSession);
        }
        slot.session = session;
        slot.generation += 1;
        slot.sequence = 0;
        slot.digest = Digest::default();
        Ok(self.key(number))
    }

    /// Takes the next statement of a session: `sequence` must be one above the last.
    ///
    /// # Errors
    /// [`Refusal::StaleSession`], [`Refusal::Repeated`], [`Refusal::Gap`]; nothing changed.
    pub(crate) fn hear(&mut self, key: SessionKey, sequence: u64) -> Result<(), Refusal> {
        let slot = self.present(key).ok_or(Refusal::StaleSession)?;
        if sequence <= slot.sequence {
            return Err(Refusal::Repeated);
        }
        if sequence != slot.sequence + 1 {
            return Err(Refusal::Gap { expected: slot.sequence + 1 });
        }
        slot.sequence = sequence;
        Ok(())
    }

    /// The session has said everything: what only earlier ones said is void.
    pub(crate) fn complete(&mut self, key: SessionKey) {
        self.slots[usize::from(key.slot)].generation_oldest = key.generation;
    }

    /// Retires every announcer whose life is not in `view`; returns whether there was one.
    pub(crate) fn retire_absent(&mut self, view: &View) -> bool {
        let before = self.free.len();
        let Self { slots, by_place, free } = self;
        by_place.retain(|_, &mut number| {
            let slot = &mut slots[usize::from(number)];
            if view.contains(slot.announcer.node, slot.announcer.incarnation) {
                return true;
            }
            slot.generation += 1;
            slot.generation_oldest = slot.generation;
            slot.digest = Digest::default();
            free.push(number);
            false
        });
        self.free.len() > before
    }

    /// Whether what was said under `generation` of the slot still counts.
    pub(crate) fn counts(&self, slot: u16, generation: u32) -> bool {
        generation >= self.slots[usize::from(slot)].generation_oldest
    }

    /// The node of a slot.
    pub(crate) fn node(&self, slot: u16) -> NodeId {
        self.slots[usize::from(slot)].announcer.node
    }

    /// An entry with this hash is said in the session, and was not before.
    pub(crate) fn said(&mut self, key: SessionKey, hash: u64) {
        if let Some(slot) = self.present(key) {
            slot.digest.add(hash);
        }
    }

    /// An entry that was said in the session of this key goes. If it was an earlier session, it is not in the digest.
    pub(crate) fn unsaid(&mut self, key: SessionKey, hash: u64) {
        if let Some(slot) = self.present(key) {
            slot.digest.remove(hash);
        }
    }

    /// The digest of a session's entries, `None` if the session is over.
    pub(crate) fn digest(&self, key: SessionKey) -> Option<Digest> {
        let slot = &self.slots[usize::from(key.slot)];
        (slot.generation == key.generation).then_some(slot.digest)
    }

    /// The last statement that was applied in a session, `None` if the session is over.
    pub(crate) fn heard(&self, key: SessionKey) -> Option<u64> {
        let slot = &self.slots[usize::from(key.slot)];
        (slot.generation == key.generation).then_some(slot.sequence)
    }

    /// The slot of a key, while its session lasts.
    fn present(&mut self, key: SessionKey) -> Option<&mut Slot> {
        let slot = &mut self.slots[usize::from(key.slot)];
        (slot.generation == key.generation).then_some(slot)
    }

    fn occupy(&mut self, announcer: Announcer, session: u64) -> u16 {
        let fresh = |generation| Slot {
            announcer,
            session,
            generation,
            generation_oldest: generation,
            sequence: 0,
            digest: Digest::default(),
        };
        if let Some(number) = self.free.pop() {
            let slot = &mut self.slots[usize::from(number)];
            *slot = fresh(slot.generation + 1);
            return number;
        }
        self.slots.push(fresh(0));
        (self.slots.len() - 1) as u16
    }

    fn key(&self, number: u16) -> SessionKey {
        SessionKey { slot: number, generation: self.slots[usize::from(number)].generation }
    }
}
