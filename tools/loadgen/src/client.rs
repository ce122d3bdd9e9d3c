//! The record of one connection, and how far it has come.
//!
//! Invariant: an idle connection costs its record and nothing else; what is partial or blocked lives in a box that is
//! given back.

use roadstead_io::Socket;
use wsproto::{Closing, Decoder, Opcode, Role, push_close, push_frame};

use crate::outbound::{Outbound, PieceMark};
use crate::random::Random;
use crate::schedule::Nanos;

/// Where a connection stands.
///
/// ```text
///                                      login asked for           replies
///  Free ──connect──> Connecting ──> Upgrading ──101──> Joining ──────────> Open
///   ^                    │              │  └──────101──────────────────────^ │
///   │                    v              v                 │                  │ run ends: our close frame
///   │                (failure: the socket is closed)  <───┘                  v
///   │                    │                                                Parting
///   │                    │                               close frame from  │
///   │                    v                               the server        v
///   └────Closed─────── Ended <──FIN or time────────────────────────────── Lingering
/// ```
///
/// A close frame from the server in `Joining` or `Open` is a failure; it is answered and leads to `Lingering` too. So
/// does an error that the server's frames or replies contain, with a close frame of ours. A connection that is to come
/// back goes the same ways; its client begins anew once the slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has this slot.
    Free,
    /// The TCP connection is being made.
    Connecting,
    /// The request is out.
    Upgrading,
    /// `connect` and `subscribe` commands are out.
    Joining {
        /// Replies that are missing.
        awaited: u8,
    },
    /// Usable.
    Open,
    /// Our close frame is out.
    Parting,
    /// Both close frames were exchanged; the server ends the TCP connection (RFC 6455 section 7.1.1).
    Lingering,
    /// The socket is being closed.
    Ended,
}

/// Whether a client comes back when its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// It does not.
    Never,
    /// At once: it has left by itself.
    AtOnce,
    /// After a pause: it was cut off.
    Later,
}

/// What a connection holds while something is incomplete.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The head of the upgrade response, or the incomplete message.
    pub(crate) partial: Vec<u8>,
    /// Bytes that wait until the socket takes some again.
    pub(crate) backlog: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Frames from the server.
    pub(crate) decoder: Decoder,
    /// When it was meant to be opened.
    pub(crate) since: Nanos,
    /// What is incomplete.
    pub(crate) held: Option<Box<Held>>,
    /// Which client of the plan this is.
    pub(crate) number: u32,
    /// Its bytes in this turn's buffer.
    pub(crate) piece: PieceMark,
    /// How far it has come.
    pub(crate) state: State,
    /// The closing handshake.
    pub(crate) closing: Closing,
    /// The back end still has bytes that the kernel did not take.
    pub(crate) is_blocked: bool,
    /// How often it was tried to bring it back; 0: it is its first connection.
    pub(crate) attempt: u8,
    /// Whether it is to be opened again once its slot is free.
    pub(crate) returns: Return,
}

const _: () = assert!(size_of::<Client>() <= 72, "a million of them are held by one process");

impl Client {
    /// A slot without a connection.
    #[must_use]
    pub(crate) fn free() -> Self {
        Self {
            decoder: Decoder::new(Role::Client),
            since: 0,
            held: None,
            number: 0,
            piece: PieceMark::default(),
            state: State::Free,
            closing: Closing::Open,
            is_blocked: false,
            attempt: 0,
            returns: Return::Never,
        }
    }

    /// Client `number`, meant to be opened at `since`, or brought back since then for the `attempt`-th time.
    #[must_use]
    pub(crate) fn connecting(number: u32, since: Nanos, attempt: u8) -> Self {
        Self { number, since, attempt, state: State::Connecting, ..Self::free() }
    }

    /// Whether bytes for it can still leave.
    #[must_use]
    pub(crate) fn can_send(&self) -> bool {
        !matches!(self.state, State::Free | State::Connecting | State::Ended)
    }

    /// Whether frames from the server still matter.
    #[must_use]
    pub(crate) fn is_listening(&self) -> bool {
        matches!(self.state, State::Joining { .. } | State::Open | State::Parting)
    }

    /// Whether it is on its way to `Open`.
    #[must_use]
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, State::Connecting | State::Upgrading | State::Joining { .. })
    }

    /// Whether it has left by itself and waits for the answer, to come back.
    #[must_use]
    pub(crate) fn is_leaving(&self) -> bool {
        self.state == State::Parting && self.returns != Return::Never
    }

    /// Gives the box back if there is nothing in it.
    pub(crate) fn release(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.partial.is_empty() && held.backlog.is_empty()) {
            self.held = None;
        }
    }

    /// Bytes that wait for the socket.
    #[must_use]
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.backlog.len())
    }

    /// Queues one frame.
    pub(crate) fn send(
        &mut self,
        socket: Socket,
        opcode: Opcode,
        payload: &[u8],
        to: &mut Outbound,
        random: &mut Random,
    ) {
        push_frame(to.begin(socket, &mut self.piece), opcode, payload, Some(random.mask()));
    }

    /// Queues a close frame, unless one was sent before.
    pub(crate) fn send_close(
        &mut self,
        socket: Socket,
        code: Option<u16>,
        to: &mut Outbound,
        random: &mut Random,
    ) {
        if self.closing.send() {
            push_close(to.begin(socket, &mut self.piece), code, "", Some(random.mask()));
        }
    }
}
