//! The connection table: one fixed-size record a socket, made of each room's part.
//!
//! Invariants: records are found by the socket's slot and never move; the table's memory is reserved at start and
//! touched as slots come into use; a [`Key`] of an earlier connection finds nothing.

use roadstead_io::Socket;

use super::timers::{Timed, TimerNode};
use crate::flow::Key;
use crate::outbox::{Outbox, Speakers};
use crate::router::Seat;
use crate::session::Wire;
use crate::tls::Stream;

/// How far a record is in its life.
///
/// ```text
/// Free ── Accepted ──> Open ── given up ──> Closing ── Closed ──> Free
///   └──── to another node ──> Link ──────────^
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// No socket.
    Free,
    /// A client's socket that is heard and spoken to.
    Open,
    /// A link to another node.
    Link,
    /// The socket is closing; nothing is left to say.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// What is spoken.
    pub wire: Wire,
    /// What waits to be written.
    pub outbox: Outbox,
    /// Its encryption, if the listener asks for it.
    pub tls: Option<Box<Stream>>,
    /// Its subscriptions.
    pub seat: Seat,
    /// Its timer.
    pub timer: TimerNode,
    /// Counts the connections of this slot.
    pub generation: u32,
    /// Its stage.
    pub life: Life,
    /// Whether it counts against the limit; others are told that there is no room for them.
    pub admitted: bool,
    /// Whether a proxy must say first whom it speaks for.
    pub awaits_header: bool,
}

const _: () =
    assert!(size_of::<Connection>() <= 144, "an idle connection is to cost little more than its record");

/// All connections of a shard, by slot.
#[derive(Debug)]
pub struct Connections {
    records: Vec<Connection>,
    /// Of a slot that is used for the first time.
    generation_first: u32,
}

impl Connections {
    /// A table with room for `slots` records. Generations begin at a number drawn at start, so that the connections of
    /// two lives of a node have different names.
    #[must_use]
    pub fn new(slots: usize, generation_first: u32) -> Self {
        Self { records: Vec::with_capacity(slots), generation_first }
    }

    /// Starts the record of a socket that leads to another node.
    pub fn open_link(&mut self, socket: Socket) {
        let key = self.open(socket, false);
        self.at(key.slot).life = Life::Link;
    }

    /// Whether the socket leads to another node and is not closing.
    #[must_use]
    pub fn is_link(&self, slot: u32) -> bool {
        self.records.get(slot as usize).is_some_and(|record| record.life == Life::Link)
    }

    /// Starts the record of a client's socket that was just accepted.
    pub fn open(&mut self, socket: Socket, admitted: bool) -> Key {
        let slot = socket.0 as usize;
        while self.records.len() <= slot {
            self.records.push(Connection {
                wire: Wire::new(false),
                outbox: Outbox::EMPTY,
                tls: None,
                seat: Seat::EMPTY,
                timer: TimerNode::IDLE,
                generation: self.generation_first,
                life: Life::Free,
                admitted: false,
                awaits_header: false,
            });
        }
        let record = &mut self.records[slot];
        debug_assert!(!record.timer.is_armed(), "a timer of an earlier connection");
        let generation = record.generation.wrapping_add(1);
        *record = Connection {
            wire: Wire::new(admitted),
            outbox: Outbox::EMPTY,
            tls: None,
            seat: Seat::EMPTY,
            timer: TimerNode::IDLE,
            generation,
            life: Life::Open,
            admitted,
            awaits_header: false,
        };
        Key { slot: socket.0, generation }
    }

    /// The socket of a slot has closed.
    pub fn free(&mut self, socket: Socket) {
        if let Some(record) = self.records.get_mut(socket.0 as usize) {
            record.life = Life::Free;
        }
    }

    /// The record of a slot that is in use.
    pub fn at(&mut self, slot: u32) -> &mut Connection {
        &mut self.records[slot as usize]
    }

    /// The open connection in `slot`, with its key.
    pub fn open_at(&mut self, slot: u32) -> Option<(Key, &mut Connection)> {
        let record = self.records.get_mut(slot as usize)?;
        if record.life == Life::Open {
            Some((Key { slot, generation: record.generation }, record))
        } else {
            None
        }
    }

    /// The open connection that `key` names, if it is still the same.
    pub fn find(&mut self, key: Key) -> Option<&mut Connection> {
        self.open_at(key.slot).and_then(|(found, record)| (found == key).then_some(record))
    }

    /// A number that differs between shards and lives of a node.
    #[must_use]
    pub fn seed(&self) -> u64 {
        u64::from(self.generation_first)
    }

    /// Slots that have ever been in use.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.records.len() as u32
    }
}

impl Timed for Connections {
    fn timer(&mut self, slot: u32) -> &mut TimerNode {
        &mut self.at(slot).timer
    }
}

impl Speakers for Connections {
    fn outbox(&mut self, slot: u32) -> Option<&mut Outbox> {
        self.open_at(slot).map(|(_, record)| &mut record.outbox)
    }
}
