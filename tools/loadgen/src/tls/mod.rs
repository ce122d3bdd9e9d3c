//! TLS between the sockets and the connections of one thread, for `wss://`.
//!
//! Invariants: plain connections cost nothing here; a session lives as long as its socket; what a session has to send goes out
//! with the turn's other bytes, in one send for each socket.

mod roots;
mod tickets;

use std::io::Read;
use std::sync::Arc;

use roadstead_io::Socket;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use self::tickets::Tickets;
use crate::limits::TLS_PLAIN_BYTES;
use crate::target::Target;

pub(crate) use roots::Trust;

/// What received bytes have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The handshake goes on.
    Handshake,
    /// The handshake is complete, by a session that was resumed or not; there may be plain bytes.
    Established {
        /// Whether it was resumed.
        is_resumed: bool,
    },
    /// There may be plain bytes.
    Traffic,
}

/// The sessions of one thread.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// Where sessions may be resumed.
    tickets: Option<Arc<Tickets>>,
    /// By slot of the socket; empty without `wss://` targets.
    sessions: Vec<Option<Box<Session>>>,
    /// Sockets whose sessions have something to send.
    unsent: Vec<Socket>,
    /// Plain bytes of the event in hand.
    plain: Vec<u8>,
}

#[derive(Debug)]
struct Session {
    connection: ClientConnection,
    is_established: bool,
    /// In `unsent`.
    is_queued: bool,
}

impl Tls {
    /// No sessions yet; they are made as `trust` says. Tickets are this thread's own.
    #[must_use]
    pub(crate) fn new(trust: &Trust) -> Self {
        let mut config = trust.config();
        let tickets = trust.resumes.then(|| Arc::new(Tickets::default()));
        config.resumption = match &tickets {
            Some(tickets) => Resumption::store(Arc::clone(tickets) as Arc<_>),
            None => Resumption::disabled(),
        };
        let config = Arc::new(config);
        Self { config, tickets, sessions: Vec::new(), unsent: Vec::new(), plain: Vec::new() }
    }

    /// Whether a socket has a session.
    #[must_use]
    pub(crate) fn has(&self, socket: Socket) -> bool {
        self.sessions.get(socket.0 as usize).is_some_and(Option::is_some)
    }

    /// The TCP connection to `target` stands: begins a session, if it is to have one. Whether it is. A client that
    /// `is_back` resumes an earlier one where it can, as those do that remember a server.
    ///
    /// # Errors
    /// TLS's own text.
    pub(crate) fn begin(&mut self, socket: Socket, target: &Target, is_back: bool) -> Result<bool, String> {
        let Some(name) = &target.tls_name else { return Ok(false) };
        if let Some(tickets) = &self.tickets {
            tickets.offer(is_back);
        }
        let connection = ClientConnection::new(Arc::clone(&self.config), name.clone())
            .map_err(|error| error.to_string())?;
        let slot = socket.0 as usize;
        if self.sessions.len() <= slot {
            self.sessions.resize_with(slot + 1, || None);
        }
        let session = Session { connection, is_established: false, is_queued: false };
        self.sessions[slot] = Some(Box::new(session));
        self.queue(socket);
        Ok(true)
    }

    /// Bytes arrived for a session. Plain bytes are then to be had by [`Tls::take_plain`].
    ///
    /// # Errors
    /// The peer breaks TLS, or its certificate is not trusted: TLS's own text.
    pub(crate) fn received(&mut self, socket: Socket, mut bytes: &[u8]) -> Result<Heard, String> {
        let Some(session) = self.sessions.get_mut(socket.0 as usize).and_then(Option::as_mut) else {
            return Ok(Heard::Traffic);
        };
        self.plain.clear();
        while !bytes.is_empty() {
            session.connection.read_tls(&mut bytes).map_err(|error| error.to_string())?;
            let state = session.connection.process_new_packets().map_err(|error| error.to_string())?;
            let start = self.plain.len();
            self.plain.resize(start + state.plaintext_bytes_to_read(), 0);
            if state.plaintext_bytes_to_read() > 0 {
                session
                    .connection
                    .reader()
                    .read_exact(&mut self.plain[start..])
                    .map_err(|error| error.to_string())?;
            }
        }
        let was_established = session.is_established;
        session.is_established = !session.connection.is_handshaking();
        let heard = match (was_established, session.is_established) {
            (false, true) => {
                let is_resumed = session.connection.handshake_kind() == Some(HandshakeKind::Resumed);
                Heard::Established { is_resumed }
            }
            (false, false) => Heard::Handshake,
            (true, _) => Heard::Traffic,
        };
        if session.connection.wants_write() {
            self.queue(socket);
        }
        Ok(heard)
    }

    /// The plain bytes of the last event; the buffer comes back by [`Tls::give_back`].
    #[must_use]
    pub(crate) fn take_plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// Takes the buffer back.
    pub(crate) fn give_back(&mut self, mut plain: Vec<u8>) {
        plain.clear();
        if plain.capacity() <= TLS_PLAIN_BYTES {
            self.plain = plain;
        }
    }

    /// Plain bytes to send on a session.
    pub(crate) fn write(&mut self, socket: Socket, bytes: &[u8]) {
        use std::io::Write;
        if let Some(session) = self.sessions.get_mut(socket.0 as usize).and_then(Option::as_mut) {
            // Into memory without a limit of its own: what may wait for a socket is bounded by who writes it.
            session.connection.set_buffer_limit(None);
            let written = session.connection.writer().write_all(bytes);
            debug_assert!(written.is_ok());
            self.queue(socket);
        }
    }

    /// Gives what sessions have to send to `send`, once for each socket; `send` says whether it took it.
    pub(crate) fn flush(
        &mut self,
        mut can_send: impl FnMut(Socket) -> bool,
        mut send: impl FnMut(Socket, Vec<u8>),
    ) {
        let sessions = &mut self.sessions;
        self.unsent.retain(|socket| {
            let Some(session) = sessions.get_mut(socket.0 as usize).and_then(Option::as_mut) else {
                return false;
            };
            if !can_send(*socket) {
                return true;
            }
            session.is_queued = false;
            let mut bytes = Vec::new();
            while session.connection.wants_write() {
                // Into memory: it fails only where nothing is to be written.
                if session.connection.write_tls(&mut bytes).is_err() {
                    break;
                }
            }
            if !bytes.is_empty() {
                send(*socket, bytes);
            }
            false
        });
    }

    /// The socket is gone, and its session with it.
    pub(crate) fn end(&mut self, socket: Socket) {
        if let Some(session) = self.sessions.get_mut(socket.0 as usize) {
            *session = None;
        }
    }

    fn queue(&mut self, socket: Socket) {
        if let Some(session) = self.sessions.get_mut(socket.0 as usize).and_then(Option::as_mut)
            && !session.is_queued
        {
            session.is_queued = true;
            self.unsent.push(socket);
        }
    }
}
