//! What a turn sends: frames of many connections in one buffer, at most one piece for each connection.
//!
//! Invariants: bytes of one connection keep their order; a connection that is written to again after others moves its
//! piece to the end of the buffer; buffers are used again once the kernel has their bytes.

use std::rc::Rc;

use roadstead_io::{Payload, Socket};

/// Buffers kept for later turns. A back end that copies at once needs one, a slow reader pins a few.
const SPARES: usize = 4;

/// The part of a turn's buffer that goes to one connection.
#[derive(Clone, Copy, Debug)]
struct Piece {
    socket: Socket,
    start: usize,
    len: usize,
}

/// Where a connection's last piece is. A client record holds one; that of an earlier turn is recognised, because a
/// connection that has a piece in this turn has a mark of this turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PieceMark(u32);

/// The buffer of one turn.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    spares: Vec<Rc<Vec<u8>>>,
}

impl Outbound {
    /// The buffer, to append bytes for `socket` to it. Valid until the next call for another connection.
    pub(crate) fn begin(&mut self, socket: Socket, mark: &mut PieceMark) -> &mut Vec<u8> {
        let index = mark.0 as usize;
        let is_current = self.pieces.get(index).is_some_and(|piece| piece.socket == socket);
        if !is_current || index + 1 != self.pieces.len() {
            self.seal();
            let start = self.buffer.len();
            if is_current {
                let old = &mut self.pieces[index];
                let (from, len) = (old.start, std::mem::take(&mut old.len));
                self.buffer.extend_from_within(from..from + len);
            }
            mark.0 = self.pieces.len() as u32;
            self.pieces.push(Piece { socket, start, len: 0 });
        }
        &mut self.buffer
    }

    /// Bytes so far.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Ends the turn: gives each connection's bytes to `send` and starts over.
    pub(crate) fn flush(&mut self, mut send: impl FnMut(Socket, Payload)) {
        if self.pieces.is_empty() {
            return;
        }
        self.seal();
        let next = self.spare();
        let buffer = Rc::new(std::mem::replace(&mut self.buffer, next));
        for piece in self.pieces.drain(..).filter(|piece| piece.len > 0) {
            send(piece.socket, Payload::new(Rc::clone(&buffer), piece.start, piece.len));
        }
        if self.spares.len() < SPARES {
            self.spares.push(buffer);
        }
    }

    /// Fixes the length of the last piece: up to here.
    fn seal(&mut self) {
        if let Some(last) = self.pieces.last_mut() {
            last.len = self.buffer.len() - last.start;
        }
    }

    /// A buffer whose bytes nobody needs any more, emptied; or a new one.
    fn spare(&mut self) -> Vec<u8> {
        let free = self.spares.iter().position(|spare| Rc::strong_count(spare) == 1);
        let buffer = free.and_then(|index| Rc::try_unwrap(self.spares.swap_remove(index)).ok());
        let mut buffer = buffer.unwrap_or_default();
        buffer.clear();
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flushed(outbound: &mut Outbound) -> Vec<(u32, Vec<u8>)> {
        let mut sent = Vec::new();
        outbound.flush(|socket, payload| sent.push((socket.0, payload.to_vec())));
        sent
    }

    #[test]
    fn each_connection_gets_one_piece_in_order() {
        let (mut outbound, mut marks) = (Outbound::default(), [PieceMark::default(); 3]);
        for (socket, bytes) in
            [(0, "a"), (0, "b"), (1, "x"), (0, "c"), (2, "m"), (1, "y"), (0, "d"), (0, "e")]
        {
            outbound.begin(Socket(socket), &mut marks[socket as usize]).extend_from_slice(bytes.as_bytes());
        }
        let mut sent = flushed(&mut outbound);
        sent.sort();
        assert_eq!(sent, [(0, b"abcde".to_vec()), (1, b"xy".to_vec()), (2, b"m".to_vec())]);
        assert_eq!((outbound.len(), flushed(&mut outbound).len()), (0, 0));
    }

    #[test]
    fn a_piece_without_bytes_is_not_sent() {
        let (mut outbound, mut mark) = (Outbound::default(), PieceMark::default());
        outbound.begin(Socket(3), &mut mark);
        assert!(flushed(&mut outbound).is_empty());
    }

    #[test]
    fn marks_of_earlier_turns_mean_nothing() {
        let (mut outbound, mut marks) = (Outbound::default(), [PieceMark::default(); 3]);
        outbound.begin(Socket(2), &mut marks[2]);
        flushed(&mut outbound);
        for turn in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            for socket in turn {
                outbound.begin(Socket(socket), &mut marks[socket as usize]).push(socket as u8);
            }
            let sent = flushed(&mut outbound);
            assert_eq!(sent, turn.map(|socket| (socket, vec![socket as u8])));
        }
    }

    #[test]
    fn a_buffer_in_use_is_left_alone() {
        let mut outbound = Outbound::default();
        let mut kept = Vec::new();
        for turn in 0..10_u8 {
            outbound.begin(Socket(0), &mut PieceMark::default()).push(turn);
            outbound.flush(|_, payload| kept.push(payload));
        }
        let bytes: Vec<u8> = kept.iter().map(|payload| payload[0]).collect();
        assert_eq!(bytes, (0..10).collect::<Vec<_>>());
    }
}
