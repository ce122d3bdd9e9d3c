//! A connection as its session sees it: what it speaks, and how far its closing has come.

use roadstead_protocol::Encoding;
use wsproto::{Closing, Decoder, Role};

use super::deflation::Deflates;
use super::inbound::Block;

/// What is spoken on a connection.
///
/// ```text
/// Upgrading ── GET /echo ────────────────> Echo
///     │    └── GET /connection/websocket ─> Client (no session) ── connect ──> Client (session)
///     └─────── refused (HTTP status) ─────> Ended
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The HTTP request is awaited.
    Upgrading,
    /// Like `Upgrading`, but whatever is asked for is refused: there is no room (503), or the guards say no.
    Refusing,
    /// Raw WebSocket echo.
    Echo,
    /// The client protocol.
    Client,
    /// Nothing the peer says matters any more.
    Ended,
}

/// What becomes of the socket once everything that was said is with the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Nothing: the connection lives, or waits for the peer's close frame.
    None,
    /// Half-close and wait for the peer to close, so that it can read what was said before.
    Shutdown,
    /// Close.
    Close,
}

/// A connection's part of its session, of fixed size. Idle: no heap memory of its own.
#[derive(Debug)]
pub struct Wire {
    pub(super) decoder: Decoder,
    /// A head or message that is not complete.
    pub(super) inbound: Block,
    /// Place of the session, once the client connected.
    pub(super) session: u32,
    pub(super) phase: Phase,
    pub(super) closing: Closing,
    pub(super) deflates: Deflates,
    pub(super) encoding: Encoding,
    pub(super) ending: Ending,
    /// RFC 6455 pings replace the protocol's own.
    pub(super) frame_ping: bool,
    /// When the next ping is due, or the answer to the last one, milliseconds.
    pub(super) ping_due_ms: u64,
    /// An incomplete message was there at the last step of the pings, and none was completed since.
    pub(super) was_in_message: bool,
    /// A TLS record is incomplete, and may hold the rest of a message or the beginning of one; or the handshake is.
    pub(super) is_in_record: bool,
    /// A ping was sent and not answered.
    pub(super) awaits_pong: bool,
    /// The connect command was answered by an error: nothing more is heard.
    pub(super) connect_failed: bool,
    /// A token is judged elsewhere, or a connect waits for its subscriptions: what is said behind it waits.
    pub(super) awaits_verdict: bool,
    /// A connect waits for its subscriptions: what they bring must not be said before its answer.
    pub(super) is_opening: bool,
    /// Who a verified certificate says the client is.
    pub(super) certified: Option<Box<CertifiedUser>>,
}

/// A user's name from a certificate, for a session that has no token.
#[derive(Debug)]
pub(super) struct CertifiedUser(pub(super) String);

pub(super) const NO_SESSION: u32 = u32::MAX;

impl Wire {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(admitted: bool) -> Self {
        Self {
            decoder: Decoder::new(Role::Server),
            inbound: None,
            session: NO_SESSION,
            phase: if admitted { Phase::Upgrading } else { Phase::Refusing },
            closing: Closing::Open,
            deflates: Deflates::NOT,
            encoding: Encoding::Json,
            ending: Ending::None,
            frame_ping: false,
            ping_due_ms: 0,
            was_in_message: false,
            is_in_record: false,
            awaits_pong: false,
            connect_failed: false,
            awaits_verdict: false,
            is_opening: false,
            certified: None,
        }
    }

    /// Whatever is asked for is refused.
    pub fn turn_away(&mut self) {
        self.phase = Phase::Refusing;
    }

    /// The client has shown, by a certificate that was verified, that it speaks for `user`.
    pub fn certify(&mut self, user: &str) {
        self.certified = Some(Box::new(CertifiedUser(user.to_owned())));
    }

    /// Whether the peer is in the middle of a message, as far as this side can tell.
    pub(super) fn is_in_message(&self) -> bool {
        self.is_in_record || !self.decoder.is_between_messages()
    }

    /// Looks whether the peer is in the middle of a message, and was in the same one at the last look.
    pub(super) fn is_stuck_in_message(&mut self) -> bool {
        let is_in_message = self.is_in_message();
        std::mem::replace(&mut self.was_in_message, is_in_message) && is_in_message
    }

    /// What is spoken.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How the socket ends once everything is said.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Encoding of client messages.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Which messages to the peer may be deflated.
    #[must_use]
    pub fn deflates(&self) -> Deflates {
        self.deflates
    }

    /// Whether messages may still be sent to the peer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closing.sends() && matches!(self.phase, Phase::Echo | Phase::Client)
    }

    /// Whether the connect reply is still to come.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.is_opening
    }

    /// Whether this side can still begin its end.
    #[must_use]
    pub fn is_closable(&self) -> bool {
        self.ending == Ending::None && self.closing.sends()
    }

    /// Whether the client has connected in the sense of the client protocol.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.session != NO_SESSION
    }
}

const _: () = assert!(size_of::<Wire>() <= 72);
