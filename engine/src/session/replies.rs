//! The bytes that sessions say in one turn: one buffer for all connections, a span for each. What an echo says lies
//! where it was received instead.
//!
//! Invariants: a span belongs to one connection and one lane; neighbouring spans of one connection are one span, so
//! that a batch of replies is one reference; the buffer is frozen before anything refers to it.

use std::rc::Rc;

use wsproto::Opcode;

use crate::buffers;
use crate::flow::Key;

/// When the span is written relative to the connection's other messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// Before the publications that wait.
    First,
    /// After everything: close frames.
    Last,
}

/// Which buffer a span lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The turn's buffer of replies.
    Said,
    /// The arena, into which it was received.
    Heard,
}

/// Some bytes for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The connection.
    pub to: Key,
    /// The buffer.
    pub place: Place,
    /// Offset in the buffer, bytes.
    pub start: u32,
    /// Length, bytes.
    pub len: u32,
    /// Place among the connection's messages.
    pub urgency: Urgency,
}

/// The replies of one turn.
#[derive(Debug, Default)]
pub struct Replies {
    buffer: Vec<u8>,
    spans: Vec<Span>,
    lent: Vec<Rc<Vec<u8>>>,
}

impl Replies {
    /// A turn begins: what the last one said is sent, so that its buffer, still in cache, serves again.
    pub fn begin(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::reclaim(&mut self.lent);
        }
    }

    /// Appends bytes that are no frame (an HTTP response).
    pub fn raw(&mut self, to: Key, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        write(&mut self.buffer);
        self.note(to, start, Urgency::First);
    }

    /// Appends one WebSocket frame whose payload is `payload`.
    pub fn frame(&mut self, to: Key, opcode: Opcode, payload: &[u8]) {
        let start = self.buffer.len();
        let header = wsproto::frame_header(opcode, true, false, payload.len(), None);
        self.buffer.reserve(header.len() + payload.len());
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(payload);
        self.note(to, start, Urgency::First);
    }

    /// Appends one WebSocket frame whose payload was deflated.
    pub fn deflated(&mut self, to: Key, opcode: Opcode, deflated: &[u8]) {
        let start = self.buffer.len();
        wsproto::push_deflated(&mut self.buffer, opcode, deflated, None);
        self.note(to, start, Urgency::First);
    }

    /// Appends one WebSocket frame whose payload `write` appends to the buffer.
    pub fn message(&mut self, to: Key, opcode: Opcode, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        push_message(&mut self.buffer, opcode, write);
        self.note(to, start, Urgency::First);
    }

    /// Appends a close frame, to be written after everything else of the connection.
    pub fn close(&mut self, to: Key, code: Option<u16>, reason: &str) {
        let start = self.buffer.len();
        wsproto::push_close(&mut self.buffer, code, reason, None);
        self.note(to, start, Urgency::Last);
    }

    /// Says frames that already lie in the arena, from `start` on.
    pub fn heard(&mut self, to: Key, start: u32, len: u32) {
        self.spans.push(Span { to, place: Place::Heard, start, len, urgency: Urgency::First });
    }

    fn note(&mut self, to: Key, start: usize, urgency: Urgency) {
        let len = (self.buffer.len() - start) as u32;
        let start = start as u32;
        if let Some(last) = self.spans.last_mut()
            && (last.to, last.place, last.urgency) == (to, Place::Said, urgency)
            && last.start + last.len == start
        {
            last.len += len;
            return;
        }
        self.spans.push(Span { to, place: Place::Said, start, len, urgency });
    }

    /// Joins the spans of each connection that was spoken to at several points of the turn, so that it gets one
    /// reference and needs no ring. Costs a copy of those spans only.
    pub fn gather(&mut self) {
        self.spans.sort_by_key(|span| (span.to, span.urgency));
        let mut kept = 0;
        let mut next = 0;
        while next < self.spans.len() {
            let mut span = self.spans[next];
            let of = |span: &Span| (span.to, span.urgency, span.place);
            let end = next + self.spans[next..].iter().take_while(|other| of(other) == of(&span)).count();
            // A connection is heard once in a turn, so what is said from the arena is one span.
            if end - next > 1 && span.place == Place::Said {
                let start = self.buffer.len();
                for piece in &self.spans[next..end] {
                    let from = piece.start as usize;
                    self.buffer.extend_from_within(from..from + piece.len as usize);
                }
                span = Span { start: start as u32, len: (self.buffer.len() - start) as u32, ..span };
            }
            self.spans[kept] = span;
            kept += 1;
            next = end;
        }
        self.spans.truncate(kept);
    }

    /// Whether nothing has been said in this turn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Freezes the turn's buffer and hands it out with its spans; [`Self::begin`] finds the next.
    pub fn freeze(&mut self, spans: &mut Vec<Span>) -> Rc<Vec<u8>> {
        spans.append(&mut self.spans);
        let frozen = Rc::new(std::mem::take(&mut self.buffer));
        self.lent.push(Rc::clone(&frozen));
        frozen
    }
}

/// Appends a frame whose payload `write` appends: the header's room is guessed for a short payload and made when
/// the length is known.
pub fn push_message(out: &mut Vec<u8>, opcode: Opcode, write: impl FnOnce(&mut Vec<u8>)) {
    const SHORT_HEADER: usize = 2;
    let start = out.len();
    out.extend_from_slice(&[0; SHORT_HEADER]);
    write(out);
    let len = out.len() - start - SHORT_HEADER;
    let header = wsproto::frame_header(opcode, true, false, len, None);
    if header.len() > SHORT_HEADER {
        let from = start + SHORT_HEADER;
        out.extend_from_slice(&[0; 8][..header.len() - SHORT_HEADER]);
        out.copy_within(from..from + len, start + header.len());
    }
    out[start..start + header.len()].copy_from_slice(&header);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 1 }
    }

    #[test]
    fn frames_of_every_header_length_carry_their_payload() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let (mut written, mut expected) = (b"before".to_vec(), b"before".to_vec());
            push_message(&mut written, Opcode::Text, |out| out.extend_from_slice(&payload));
            wsproto::push_frame(&mut expected, Opcode::Text, &payload, None);
            assert!(written == expected, "length {len}");
        }
    }

    #[test]
    fn gathered_spans_keep_each_connections_order() {
        let mut replies = Replies::default();
        for (slot, text) in [(2, "a"), (1, "b"), (2, "c"), (3, "d"), (1, "e"), (2, "f")] {
            replies.raw(key(slot), |out| out.extend_from_slice(text.as_bytes()));
        }
        replies.gather();
        let mut spans = Vec::new();
        let buffer = replies.freeze(&mut spans);
        let said: Vec<(u32, &[u8])> = spans
            .iter()
            .map(|span| (span.to.slot, &buffer[span.start as usize..(span.start + span.len) as usize]))
            .collect();
        assert_eq!(said, [(1, &b"be"[..]), (2, b"acf"), (3, b"d")]);
    }

    #[test]
    fn what_was_heard_keeps_its_place_among_what_is_said() {
        let mut replies = Replies::default();
        replies.raw(key(1), |out| out.extend_from_slice(b"a"));
        replies.heard(key(1), 1, 10);
        replies.raw(key(1), |out| out.extend_from_slice(b"b"));
        replies.heard(key(2), 20, 30);
        replies.raw(key(1), |out| out.extend_from_slice(b"c"));
        replies.gather();
        let mut spans = Vec::new();
        let buffer = replies.freeze(&mut spans);
        assert_eq!(&buffer[..], b"abcbc", "what was said before and after is not joined");
        let spans: Vec<_> =
            spans.iter().map(|span| (span.to.slot, span.place, span.start, span.len)).collect();
        let (said, heard) = (Place::Said, Place::Heard);
        assert_eq!(spans, [(1, said, 0, 1), (1, heard, 1, 10), (1, said, 3, 2), (2, heard, 20, 30)]);
    }

    #[test]
    fn neighbours_of_one_connection_are_one_span() {
        let mut replies = Replies::default();
        replies.frame(key(1), Opcode::Text, b"a");
        replies.message(key(1), Opcode::Text, |out| out.push(b'b'));
        replies.frame(key(2), Opcode::Text, b"c");
        replies.close(key(2), Some(1000), "bye");
        replies.frame(key(1), Opcode::Text, b"d");
        let mut spans = Vec::new();
        let buffer = replies.freeze(&mut spans);
        let said: Vec<(u32, &[u8])> = spans
            .iter()
            .map(|span| (span.to.slot, &buffer[span.start as usize..(span.start + span.len) as usize]))
            .collect();
        assert_eq!(said[0], (1, &b"\x81\x01a\x81\x01b"[..]));
        assert_eq!(said[1], (2, &b"\x81\x01c"[..]));
        assert_eq!(said[2], (2, &b"\x88\x05\x03\xe8bye"[..]));
        assert_eq!(said[3], (1, &b"\x81\x01d"[..]));
    }
}
