//! Input that is not heard in this turn, because what was inflated in it is enough: some bytes can be thousands of commands.
//!
//! Invariants: a connection with postponed input is not read from, so it holds what one turn had read at most, and that is
//! charged as incomplete input is; connections take turns, in the order in which they were postponed.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use wsproto::Violation;

use super::inbound::{Block, Blocks};
use super::{Heard, Phase, Sessions, Wire};
use crate::flow::{Key, Now};
use crate::limits::INFLATED_BYTES_PER_TURN;

/// The postponed input of one shard, and what the turn may still inflate.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    /// By slot.
    inputs: HashMap<u32, Block, FixedState>,
    /// Those that can go on, the longest waiting first.
    ready: VecDeque<Key>,
    inflated_bytes: usize,
}

impl Postponed {
    /// A turn begins.
    pub(super) fn begin(&mut self) {
        self.inflated_bytes = 0;
    }

    /// Counts what was inflated in this turn.
    pub(super) fn count(&mut self, inflated_bytes: usize) {
        self.inflated_bytes += inflated_bytes;
    }

    /// Whether nothing more is inflated in this turn.
    pub(super) fn is_spent(&self) -> bool {
        self.inflated_bytes >= INFLATED_BYTES_PER_TURN
    }

    /// Whether the connection in `slot` has postponed input.
    pub(super) fn holds(&self, slot: u32) -> bool {
        !self.inputs.is_empty() && self.inputs.contains_key(&slot)
    }

    /// Whether some of it can go on.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Keeps `input` behind what is kept already. False: there is no room for it.
    pub(super) fn keep(&mut self, key: Key, input: &[u8], blocks: &mut Blocks) -> bool {
        let is_new = !self.holds(key.slot);
        let block = self.inputs.entry(key.slot).or_default();
        match blocks.reserve(block, input.len()) {
            Ok(kept) => kept.extend_from_slice(input),
            Err(_) => {
                self.end(key.slot, blocks);
                return false;
            }
        }
        if is_new {
            self.ready.push_back(key);
        }
        true
    }

    /// The connection can go on: it was kept from it by its socket.
    pub(super) fn offer(&mut self, key: Key) {
        if !self.ready.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// Whose turn it is; `None`: nobody's, or the turn has inflated enough.
    pub(super) fn poll(&mut self) -> Option<Key> {
        if self.is_spent() { None } else { self.ready.pop_front() }
    }

    /// What the connection had postponed.
    pub(super) fn take(&mut self, slot: u32) -> Block {
        self.inputs.remove(&slot).flatten()
    }

    /// The connection in `slot` is gone, or hears no more.
    pub(super) fn end(&mut self, slot: u32, blocks: &mut Blocks) {
        if !self.inputs.is_empty() {
            blocks.release(&mut self.take(slot));
        }
    }
}

impl Sessions {
    /// A turn begins: messages may be inflated again.
    pub fn begin(&mut self) {
        self.postponed.begin();
    }

    /// Whether there are connections whose turn [`Self::poll_postponed`] tells.
    #[must_use]
    pub fn has_postponed(&self) -> bool {
        self.postponed.is_ready()
    }

    /// The next connection whose postponed input is to be heard, while this turn may inflate more.
    pub fn poll_postponed(&mut self) -> Option<Key> {
        self.postponed.poll()
    }

    /// Hears what the connection had postponed. Returns whether all of it was heard, so that it may be read from again.
    pub fn hear_postponed(&mut self, key: Key, wire: &mut Wire, now: Now, heard: &mut Heard) -> bool {
        let mut block = self.postponed.take(key.slot);
        if let Some(input) = &mut block
            && matches!(wire.phase, Phase::Echo | Phase::Client)
        {
            self.hear_frames(key, wire, input, now, heard);
        }
        self.blocks.release(&mut block);
        !self.postponed.holds(key.slot)
    }

    /// The socket of the connection is free again. Returns whether it may be read from; otherwise its postponed input is first.
    pub fn is_caught_up(&mut self, key: Key) -> bool {
        let holds = self.postponed.holds(key.slot);
        if holds {
            self.postponed.offer(key);
        }
        !holds
    }

    /// Keeps `input` for a later turn.
    pub(super) fn postpone(&mut self, key: Key, input: &[u8], heard: &mut Heard) -> Result<(), Violation> {
        if self.postponed.keep(key, input, &mut self.blocks) {
            heard.postponed.push(key.slot);
            return Ok(());
        }
        Err(Violation::NoRoom)
    }
}
