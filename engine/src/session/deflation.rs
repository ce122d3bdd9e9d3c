//! permessage-deflate of one shard: the compressor and the inflater that its connections share, and the windows of those
//! that may lean on their earlier messages.
//!
//! Invariants: nothing is held before the first connection deflates; a connection's part is one byte, and a window only
//! where the operator allows it; all windows together stay within a budget, counted as full from the start.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use wsproto::deflate::{self, Agreement, Deflater, Inflater, Window, fits_window};
use wsproto::handshake::Request;
use wsproto::{MessageKind, Violation};

use crate::limits::KEPT_BUFFER_BYTES;
use crate::settings::Compression;

/// What a connection has agreed to: the exponent of the window that its messages are deflated for; 0: they are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deflates(u8);

impl Deflates {
    /// Nothing is deflated.
    pub const NOT: Self = Self(0);

    /// Whether messages may be deflated, in both directions.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::NOT
    }

    /// Whether a message of `len` bytes may be sent deflated.
    #[must_use]
    pub fn fits(self, len: usize) -> bool {
        self.any() && fits_window(len, self.0)
    }
}

/// What was deflated and inflated since it was last asked for, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeflateTally {
    /// Of messages received, as they came.
    pub received: u64,
    /// The same messages, inflated.
    pub inflated: u64,
    /// Of messages deflated, before it. One that goes to many is deflated once.
    pub plain: u64,
    /// The same messages, deflated.
    pub deflated: u64,
}

/// The compressor and what it did.
#[derive(Debug)]
pub struct Compressor {
    settings: Compression,
    deflater: Option<Deflater>,
    tally: DeflateTally,
}

impl Compressor {
    /// The payload of a message, deflated; `None`: it is too small, or would get no smaller.
    pub fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        if payload.len() < self.settings.min_bytes as usize {
            return None;
        }
        let effort = self.settings.effort as u8;
        let deflated = self.deflater.get_or_insert_with(|| Deflater::new(effort)).deflate(payload)?;
        self.tally.plain += payload.len() as u64;
        self.tally.deflated += deflated.len() as u64;
        Some(deflated)
    }
}

/// All of a shard's deflating.
#[derive(Debug)]
pub(super) struct Deflation {
    pub(super) compressor: Compressor,
    inflater: Option<Inflater>,
    /// By slot.
    windows: HashMap<u32, Window, FixedState>,
    window_bytes: usize,
    /// The last message that was inflated.
    pub(super) plain: Vec<u8>,
}

impl Deflation {
    pub(super) fn new(settings: Compression) -> Self {
        let compressor = Compressor { settings, deflater: None, tally: DeflateTally::default() };
        Self { compressor, inflater: None, windows: HashMap::default(), window_bytes: 0, plain: Vec::new() }
    }

    /// Agrees to one of the request's offers, if there is one and deflating is on. `slot` names the connection.
    pub(super) fn agree(&mut self, slot: u32, request: &Request<'_>) -> Option<(Deflates, Agreement)> {
        let settings = &self.compressor.settings;
        if !settings.enabled {
            return None;
        }
        let bits = settings.window_bits as u8;
        let has_room =
            self.window_bytes + Window::bytes_max(bits) <= settings.window_bytes_per_shard as usize;
        let may_lean = settings.takeover && has_room;
        let agreement = deflate::accept(request.extensions(), may_lean.then_some(bits))?;
        if !agreement.client_no_context_takeover {
            let window = Window::new(agreement.client_window_bits());
            self.window_bytes += window.capacity();
            self.windows.insert(slot, window);
        }
        Some((Deflates(agreement.server_window_bits()), agreement))
    }

    /// Inflates a message of the connection in `slot` into [`Self::plain`].
    pub(super) fn inflate(
        &mut self,
        slot: u32,
        kind: MessageKind,
        payload: &[u8],
        bytes_max: u32,
    ) -> Result<(), Violation> {
        if self.plain.capacity() > KEPT_BUFFER_BYTES {
            self.plain = Vec::new();
        }
        // Most shards have none.
        let window = if self.windows.is_empty() { None } else { self.windows.get_mut(&slot) };
        let inflater = self.inflater.get_or_insert_default();
        inflater.inflate(payload, kind, bytes_max as usize, window, &mut self.plain)?;
        self.compressor.tally.received += payload.len() as u64;
        self.compressor.tally.inflated += self.plain.len() as u64;
        Ok(())
    }

    /// The connection in `slot` is gone.
    pub(super) fn end(&mut self, slot: u32) {
        if let Some(window) = self.windows.remove(&slot) {
            self.window_bytes -= window.capacity();
        }
    }

    /// Memory that the windows may come to hold, bytes.
    pub(super) fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    pub(super) fn take_tally(&mut self) -> DeflateTally {
        std::mem::take(&mut self.compressor.tally)
    }
}
