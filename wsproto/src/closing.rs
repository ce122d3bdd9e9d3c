//! The closing handshake (RFC 6455 sections 5.5.1 and 7.1) as one byte that a connection record embeds.
//!
//! Invariants: at most one Close frame is ever sent; nothing is sent after it; no data is delivered once either
//! side has closed.

use crate::close::CloseFrame;

/// How far the closing handshake has come.
///
/// ```text
///          send()                     received()
///   Open ───────────> CloseSent ──────────────────────> Done
///    │                    │            -> Finish          ^
///    │ received()         │ fail()                        │
///    │ -> Reply           └───────────────────────────────┤
///    v                                                    │
///   CloseReceived ────────────────────────────────────────┘
///                     send(): the reply, or fail()
/// ```
///
/// `Done` means that the TCP connection ends: a server closes it once its output is with the kernel; a client
/// waits a bounded time for the server to do so (section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Closing {
    /// Messages flow both ways.
    #[default]
    Open,
    /// We sent Close and wait, a bounded time, for the peer's. Whatever else arrives is dropped.
    CloseSent,
    /// The peer sent Close and is owed ours.
    CloseReceived,
    /// Close was sent, and received or no longer waited for.
    Done,
}

const _: () = assert!(size_of::<Closing>() == 1);

/// What to do about a Close frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send a Close with this code (none: an empty one) once what must precede it is sent, and call
    /// [`Closing::send`].
    Reply(Option<u16>),
    /// Both sides have closed: end the TCP connection.
    Finish,
    /// Nothing; the peer repeats itself.
    Ignore,
}

impl Closing {
    /// The peer's Close frame arrived.
    pub fn received(&mut self, frame: Option<CloseFrame<'_>>) -> Answer {
        match self {
            Self::Open => {
                *self = Self::CloseReceived;
                Answer::Reply(frame.map(|frame| frame.code))
            }
            Self::CloseSent => {
                *self = Self::Done;
                Answer::Finish
            }
            Self::CloseReceived | Self::Done => Answer::Ignore,
        }
    }

    /// We want to send a Close frame, as a reply or of our own. `false`: one was sent before, send none.
    #[must_use]
    pub fn send(&mut self) -> bool {
        match self {
            Self::Open => {
                *self = Self::CloseSent;
                true
            }
            Self::CloseReceived => {
                *self = Self::Done;
                true
            }
            Self::CloseSent | Self::Done => false,
        }
    }

    /// The connection fails (section 7.1.7): the peer is not waited for. `true`: a Close frame with the reason can
    /// still be sent before the TCP connection ends.
    #[must_use]
    pub fn fail(&mut self) -> bool {
        let may_send = self.sends();
        *self = Self::Done;
        may_send
    }

    /// Whether messages, pings and pongs that arrive are to be handled. What arrives after our Close is dropped,
    /// pings included; after the peer's nothing can arrive.
    #[inline]
    pub const fn receives(self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether frames may still be sent: until our own Close (section 5.5.1). Between the peer's Close and ours,
    /// only what was begun should be.
    #[inline]
    pub const fn sends(self) -> bool {
        matches!(self, Self::Open | Self::CloseReceived)
    }

    /// Whether the TCP connection is to end.
    #[inline]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }
}
