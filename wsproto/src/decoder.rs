//! Bytes to events: frames, fragmentation with control frames in between, text checked while it arrives.
//!
//! Invariants: holds no payload and no heap memory; a header is parsed from at most 14 kept bytes, a payload byte is
//! touched once; memory follows the bytes received, never a declared length; after Close or a violation nothing
//! more is delivered.

use std::ops::Range;

use crate::assembly::Assembly;
use crate::close;
use crate::event::{Event, MessageKind};
use crate::frame::{Opcode, Role};
use crate::head::{Expected, Head};
use crate::limits::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Limits};
use crate::mask;
use crate::utf8::{self, Utf8};
use crate::violation::Violation;

/// Bytes of the masking key in a header (RFC 6455 section 5.2), and the bit that announces it.
const MASK_BYTES: usize = 4;
const MASK_BIT: u8 = 0x80;

/// What [`Decoder::echo`] made of the front of its input.
#[derive(Debug, PartialEq, Eq)]
pub struct Echoed {
    /// Where in the input, as it was given, the frames to send back lie.
    pub frames: Range<usize>,
    /// How many messages they are.
    pub messages: u32,
    /// The text after them was none; as where [`Decoder::decode`] fails.
    pub violation: Option<Violation>,
}

/// One direction of one connection.
///
/// ```text
///              head complete                 payload complete
///   Head ────────────────────────> Payload ────────────────────> Head
///     │  └ frame whole in the input: lent from there, stays Head
///     │
///     └──────── Close, Violation ────────> Ended
/// ```
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The fragmented or partly received message, beside any control frame.
    message: Option<Open>,
    /// Bytes of a partly received control frame that lie behind the message in the assembly.
    control_len: u8,
    /// The last event was lent from the assembly: what is behind the open message goes at the next call.
    lent: bool,
    role: Role,
    rsv1_allowed: bool,
}

const _: () = assert!(size_of::<Decoder>() <= 32, "the record of every idle connection holds one");

#[derive(Debug)]
enum State {
    /// Between frames, or with `len` bytes of the next header.
    Head { bytes: [u8; HEADER_BYTES_MAX], len: u8 },
    /// `rest` bytes of a payload are to come, masked with `key` from the next byte on.
    Payload { rest: u32, key: [u8; 4], opcode: Opcode, fin: bool },
    /// Nothing that arrives matters.
    Ended,
}

impl State {
    const BETWEEN: Self = Self::Head { bytes: [0; HEADER_BYTES_MAX], len: 0 };
}

/// A message of which the first header has arrived and the last byte has not.
#[derive(Clone, Copy, Debug)]
struct Open {
    kind: MessageKind,
    compressed: bool,
    utf8: Utf8,
    /// Payload bytes in the assembly.
    bytes: u32,
    /// Frames begun.
    frames: u32,
}

impl Decoder {
    /// A decoder for what the peer of a `role` sends, after the handshake.
    pub const fn new(role: Role) -> Self {
        Self { state: State::BETWEEN, message: None, control_len: 0, lent: false, role, rsv1_allowed: false }
    }

    /// An extension was negotiated that gives RSV1 its meaning.
    pub fn allow_rsv1(&mut self) {
        self.rsv1_allowed = true;
    }

    /// Whether the assembly holds bytes that are still needed. If not, it can be given back once the last event is
    /// dealt with, and the next call may bring an empty one.
    #[inline]
    pub fn is_partial(&self) -> bool {
        self.control_len > 0 || self.message.is_some_and(|open| open.bytes > 0)
    }

    /// Whether the peer stands between two messages: nothing has begun that time should limit.
    #[inline]
    pub fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Head { len: 0, .. }) && self.message.is_none()
    }

    /// Takes bytes from the front of `input` until an event is complete. `None`: all input is taken and more is
    /// needed. Call until then; `input` is what arrived since, in order. `assembly` must be the one of the last
    /// call while [`Decoder::is_partial`].
    ///
    /// # Errors
    /// The peer broke a rule or a limit: all input is taken, and nothing more will be delivered.
    #[inline]
    pub fn decode<'i: 'e, 'e, A: Assembly>(
        &mut self,
        input: &mut &'i mut [u8],
        assembly: &'e mut A,
        limits: &Limits,
    ) -> Result<Option<Event<'e>>, Violation> {
        if !self.lent && self.is_between_messages() {
            if input.is_empty() {
                return Ok(None);
            }
            if let Some((kind, payload, ascii)) = take_whole(self.role, input, limits) {
                if kind == MessageKind::Text && !ascii && !utf8::is_valid(payload) {
                    return Err(self.end(input, Violation::InvalidUtf8));
                }
                return Ok(Some(Event::Message { kind, compressed: false, payload }));
            }
        }
        match self.advance(input, assembly, limits) {
            Ok(event) => Ok(event),
            Err(violation) => Err(self.end(input, violation)),
        }
    }

    /// Takes the whole messages of one frame that stand at the front of `input` and turns them, where they lie, into
    /// the frames by which a server says the same: one behind the other, each without the mask of the one it was.
    /// What is left of `input` is for [`Decoder::decode`], as is all of it where there is nothing to turn.
    ///
    /// Only for a [`Role::Server`]: what a server sends has no mask to drop.
    #[inline]
    pub fn echo(&mut self, input: &mut &mut [u8], limits: &Limits) -> Echoed {
        let (mut taken, mut messages) = (0, 0);
        let mut frames = MASK_BYTES..MASK_BYTES;
        let mut violation = None;
        if self.role == Role::Server && !self.lent && self.is_between_messages() {
            while let Some(Whole { kind, head_len, payload_len }) =
                Whole::read(self.role, &input[taken..], limits)
            {
                let (from, end) = (taken + head_len, taken + head_len + payload_len);
                let key = input[..from].last_chunk().copied().unwrap_or_default();
                let to = frames.end + head_len - MASK_BYTES;
                input.copy_within(taken..from - MASK_BYTES, frames.end);
                input[frames.end + 1] &= !MASK_BIT;
                let ascii = mask::move_down_noting_ascii(&mut input[to..end], from - to, key);
                if kind == MessageKind::Text && !ascii && !utf8::is_valid(&input[to..to + payload_len]) {
                    violation = Some(Violation::InvalidUtf8);
                    break;
                }
                frames.end = to + payload_len;
                taken = end;
                messages += 1;
            }
        }
        match violation {
            Some(violation) => _ = self.end(input, violation),
            None => _ = input.split_off_mut(..taken),
        }
        let frames = if messages > 0 { frames } else { 0..0 };
        Echoed { frames, messages, violation }
    }

    /// The way of everything but whole messages of one frame.
    #[inline(never)]
    fn advance<'i: 'e, 'e, A: Assembly>(
        &mut self,
        input: &mut &'i mut [u8],
        assembly: &'e mut A,
        limits: &Limits,
    ) -> Result<Option<Event<'e>>, Violation> {
        if self.lent {
            assembly.truncate(self.message.map_or(0, |open| open.bytes as usize));
            self.lent = false;
        }
        loop {
            match self.state {
                State::Ended => {
                    *input = &mut [];
                    return Ok(None);
                }
                State::Head { .. } => {
                    let Some(head) = self.read_head(input, limits)? else { return Ok(None) };
                    let len = head.payload_len as usize;
                    let stands_alone = head.opcode.is_control() || (head.fin && self.message.is_none());
                    if stands_alone && let Some(payload) = input.split_off_mut(..len) {
                        return self.whole_frame(&head, payload).map(Some);
                    }
                    self.begin_payload(&head);
                }
                State::Payload { rest, key, opcode, fin } => {
                    let len = input.len().min(rest as usize);
                    let from = input.split_off_mut(..len).unwrap_or_default();
                    self.take_payload(from, key, opcode, assembly)?;
                    let rest = rest - len as u32;
                    if rest > 0 {
                        let key = mask::rotated(key, len);
                        self.state = State::Payload { rest, key, opcode, fin };
                        return Ok(None);
                    }
                    self.state = State::BETWEEN;
                    if opcode.is_control() {
                        return self.end_control(opcode, assembly).map(Some);
                    }
                    if fin && let Some(open) = self.message.take() {
                        return self.end_message(open, assembly).map(Some);
                    }
                }
            }
        }
    }

    /// The next header, from the input alone or behind what was kept of it. `None`: all input is taken.
    #[inline]
    fn read_head(&mut self, input: &mut &mut [u8], limits: &Limits) -> Result<Option<Head>, Violation> {
        let State::Head { bytes, len } = &mut self.state else { return Ok(None) };
        let expected = Expected {
            role: self.role,
            rsv1_allowed: self.rsv1_allowed,
            open: self.message.map(|open| (open.bytes, open.frames)),
            limits,
        };
        let kept = usize::from(*len);
        let head = if kept == 0 {
            Head::read(input, &expected)?
        } else {
            let fresh = input.len().min(HEADER_BYTES_MAX - kept);
            bytes[kept..kept + fresh].copy_from_slice(&input[..fresh]);
            Head::read(&bytes[..kept + fresh], &expected)?
        };
        match head {
            Some(head) => {
                // The header was not complete before, so it ends beyond what was kept.
                let taken = input.split_off_mut(..head.size - kept);
                debug_assert!(taken.is_some());
                *len = 0;
                Ok(Some(head))
            }
            None => {
                // An incomplete header is shorter than its largest size: the input is at its end.
                let fresh = input.len();
                if kept == 0 {
                    bytes[..fresh].copy_from_slice(input);
                }
                *len = (kept + fresh) as u8;
                *input = &mut [];
                Ok(None)
            }
        }
    }

    /// A control frame or a message of one frame lies whole in the input.
    #[inline]
    fn whole_frame<'e>(&mut self, head: &Head, payload: &'e mut [u8]) -> Result<Event<'e>, Violation> {
        let ascii = unmask(self.role, payload, head.key);
        let kind = match head.opcode {
            Opcode::Text => MessageKind::Text,
            Opcode::Binary | Opcode::Continuation => MessageKind::Binary,
            Opcode::Close | Opcode::Ping | Opcode::Pong => return self.control(head.opcode, payload),
        };
        if kind == MessageKind::Text && !head.rsv1 && !ascii && !utf8::is_valid(payload) {
            return Err(Violation::InvalidUtf8);
        }
        Ok(Event::Message { kind, compressed: head.rsv1, payload })
    }

    /// The payload of this frame goes through the assembly.
    fn begin_payload(&mut self, head: &Head) {
        let kind = if head.opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
        match &mut self.message {
            _ if head.opcode.is_control() => {}
            Some(open) => open.frames += 1,
            none => {
                *none = Some(Open { kind, compressed: head.rsv1, utf8: Utf8::new(), bytes: 0, frames: 1 });
            }
        }
        self.state =
            State::Payload { rest: head.payload_len, key: head.key, opcode: head.opcode, fin: head.fin };
    }

    /// Moves payload bytes to the assembly, unmasked on the way, and checks text.
    fn take_payload<A: Assembly>(
        &mut self,
        from: &[u8],
        key: [u8; 4],
        opcode: Opcode,
        assembly: &mut A,
    ) -> Result<(), Violation> {
        if from.is_empty() {
            return Ok(());
        }
        let to = assembly.push(from.len()).map_err(|_| Violation::NoRoom)?;
        let ascii = mask::copy_noting_ascii(to, from, key, 0);
        if opcode.is_control() {
            // At most 125, or the header would not have passed.
            self.control_len += from.len() as u8;
        } else if let Some(open) = &mut self.message {
            open.bytes += from.len() as u32;
            if open.kind == MessageKind::Text && !open.compressed {
                let checked = if ascii { open.utf8.feed_ascii() } else { open.utf8.feed(to) };
                checked.map_err(|_| Violation::InvalidUtf8)?;
            }
        }
        Ok(())
    }

    /// A message is complete in the assembly.
    fn end_message<'e, A: Assembly>(
        &mut self,
        open: Open,
        assembly: &'e mut A,
    ) -> Result<Event<'e>, Violation> {
        let Open { kind, compressed, utf8, bytes, .. } = open;
        if !utf8.is_complete() {
            return Err(Violation::InvalidUtf8);
        }
        self.lent = true;
        let payload = assembly.bytes().get_mut(..bytes as usize).ok_or(Violation::NoRoom)?;
        Ok(Event::Message { kind, compressed, payload })
    }

    /// A control frame is complete in the assembly, behind the open message.
    fn end_control<'e, A: Assembly>(
        &mut self,
        opcode: Opcode,
        assembly: &'e mut A,
    ) -> Result<Event<'e>, Violation> {
        let start = self.message.map_or(0, |open| open.bytes as usize);
        let end = start + usize::from(std::mem::take(&mut self.control_len));
        self.lent = true;
        let payload = assembly.bytes().get(start..end).ok_or(Violation::NoRoom)?;
        self.control(opcode, payload)
    }

    fn control<'e>(&mut self, opcode: Opcode, payload: &'e [u8]) -> Result<Event<'e>, Violation> {
        match opcode {
            Opcode::Ping => Ok(Event::Ping(payload)),
            Opcode::Pong => Ok(Event::Pong(payload)),
            _ => {
                let frame = close::read(payload)?;
                self.forget();
                Ok(Event::Close(frame))
            }
        }
    }

    /// Takes the rest of the input and everything that comes.
    #[cold]
    fn end(&mut self, input: &mut &mut [u8], violation: Violation) -> Violation {
        *input = &mut [];
        self.forget();
        violation
    }

    fn forget(&mut self) {
        self.state = State::Ended;
        self.message = None;
        self.control_len = 0;
    }
}

/// The header of a text or binary message of one frame below 64 KiB that lies whole in the input: what nearly all
/// traffic is.
#[derive(Clone, Copy)]
struct Whole {
    kind: MessageKind,
    head_len: usize,
    payload_len: usize,
}

impl Whole {
    /// Reads it at the front of `input`. `None`: it is something else.
    #[inline]
    fn read(role: Role, input: &[u8], limits: &Limits) -> Option<Self> {
        let [first, second, ..] = *input else { return None };
        let kind = match first {
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return None,
        };
        let (mask_bit, key_len) = match role {
            Role::Server => (0x80, MASK_BYTES),
            Role::Client => (0, 0),
        };
        // The wrong mask bit makes this 128 or more.
        let (payload_len, len_end) = match usize::from(second ^ mask_bit) {
            short @ ..=CONTROL_BYTES_MAX => (short, 2),
            126 => match u16::from_be_bytes(*input[2..].first_chunk()?) {
                ..126 => return None,
                long => (usize::from(long), 4),
            },
            _ => return None,
        };
        let head_len = len_end + key_len;
        let fits = payload_len <= limits.frame_bytes.min(limits.message_bytes) as usize;
        (fits && head_len + payload_len <= input.len()).then_some(Self { kind, head_len, payload_len })
    }
}

/// Takes such a message; tells whether it is ASCII.
#[inline]
fn take_whole<'i>(
    role: Role,
    input: &mut &'i mut [u8],
    limits: &Limits,
) -> Option<(MessageKind, &'i mut [u8], bool)> {
    let Whole { kind, head_len, payload_len } = Whole::read(role, input, limits)?;
    let (head, payload) = input.split_off_mut(..head_len + payload_len)?.split_at_mut(head_len);
    let key = head.last_chunk().copied().unwrap_or_default();
    let ascii = unmask(role, payload, key);
    Some((kind, payload, ascii))
}

/// Unmasks what a client sent; tells whether the result is ASCII.
#[inline]
fn unmask(role: Role, payload: &mut [u8], key: [u8; 4]) -> bool {
    match role {
        Role::Server => mask::apply_noting_ascii(payload, key, 0),
        Role::Client => payload.is_ascii(),
    }
}
