//! TLS between the sockets and the sessions: records in, plain bytes out, and back.
//!
//! Invariants: knows no socket and no session; keeps an incomplete record and what the handshake wants to send, nothing
//! else; a failed stream only sends its alert. The library is hidden here, so that it can be exchanged.
//!
//! ```text
//! Handshake ── finished ──> Open ── peer's close_notify, or an error ──> Closed
//! ```

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{Error, ServerConfig};

use crate::limits::{TLS_FRAGMENT_BYTES, TLS_OVERHEAD_BYTES, TLS_PENDING_BYTES_MAX, TLS_ROOM_BYTES};

/// Why TLS could not be set up.
#[derive(Debug)]
pub struct SetupError(String);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

/// The process's part of every stream: certificate, key, and one ticketer, so that clients resume on any shard.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate or key, or a key that is not the certificate's; named.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, SetupError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| SetupError(format!("tls.certificate {}: {error}", certificate.display())))?;
        if chain.is_empty() {
            return Err(SetupError(format!(
                "tls.certificate {}: holds no certificate",
                certificate.display()
            )));
        }
        let secret = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| SetupError(format!("tls.key {}: {error}", key.display())))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let refused = |error: Error| SetupError(format!("tls.key {}: {error}", key.display()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(refused)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(refused)?;
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config) })
    }
}

/// The stream cannot go on: the peer broke the protocol, or sent more than may wait. Nothing of it was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// One connection's TLS.
pub struct Stream {
    connection: UnbufferedServerConnection,
    /// The beginning of a record whose end has not come.
    incoming: Vec<u8>,
    /// Records to send before anything else: handshake, alerts.
    outgoing: Vec<u8>,
    is_closed: bool,
    has_said_goodbye: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("is_closed", &self.is_closed).finish_non_exhaustive()
    }
}

impl Stream {
    /// A stream whose handshake has not begun.
    ///
    /// # Errors
    /// The library refused the configuration.
    pub fn new(identity: &Identity) -> Result<Self, Broken> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&identity.config)).map_err(|_| Broken)?;
        Ok(Self {
            connection,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            is_closed: false,
            has_said_goodbye: false,
        })
    }

    /// Takes records and appends what they carried to `plain`.
    ///
    /// # Errors
    /// [`Broken`]; an alert may wait to be sent.
    pub fn open(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Broken> {
        if self.incoming.is_empty() {
            let used = self.process(records, plain)?;
            self.incoming.extend_from_slice(&records[used..]);
        } else {
            let mut incoming = std::mem::take(&mut self.incoming);
            incoming.extend_from_slice(records);
            let used = self.process(&mut incoming, plain)?;
            incoming.drain(..used);
            if !incoming.is_empty() {
                self.incoming = incoming;
            }
        }
        if self.incoming.len() > TLS_PENDING_BYTES_MAX { Err(Broken) } else { Ok(()) }
    }

    /// Works through `records`; returns how many bytes of them are done with.
    fn process(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, Broken> {
        let mut used = 0;
        while !self.is_closed {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut records[used..]);
            let mut is_waiting = false;
            let mut outcome = Ok(());
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let Ok(record) = record else {
                            outcome = Err(Broken);
                            break;
                        };
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    outcome = grow(&mut self.outgoing, TLS_ROOM_BYTES, |room| encode(&mut data, room));
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => self.is_closed = true,
                Ok(_) => is_waiting = true,
                Err(_) => {
                    self.take_alert();
                    self.is_closed = true;
                    return Err(Broken);
                }
            }
            used += discard;
            if outcome.is_err() {
                self.is_closed = true;
                return Err(Broken);
            }
            if is_waiting {
                break;
            }
        }
        Ok(used)
    }

    /// What the library wants to tell a peer that broke the protocol.
    fn take_alert(&mut self) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.process_tls_records(&mut []).state
        {
            let encoded = grow(&mut self.outgoing, TLS_ROOM_BYTES, |room| encode(&mut data, room));
            if encoded.is_err() {
                break;
            }
        }
    }

    /// Whether the peer has ended the stream: no plain bytes come any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether records wait to be sent.
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Everything that is to be sent: what waited, then `plain` in records. An empty `plain` gives what waited alone.
    ///
    /// # Errors
    /// [`Broken`]: the handshake is not finished, or the stream has failed.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut records = std::mem::take(&mut self.outgoing);
        for fragment in plain.chunks(TLS_FRAGMENT_BYTES) {
            let room = fragment.len() + TLS_OVERHEAD_BYTES;
            self.write(&mut records, room, |traffic, room| traffic.encrypt(fragment, room))?;
        }
        Ok(records)
    }

    /// Says goodbye (`close_notify`), so that the peer knows that nothing was cut off. Returns whether there is now
    /// something to send.
    pub fn close(&mut self) -> bool {
        if std::mem::replace(&mut self.has_said_goodbye, true) {
            return false;
        }
        let mut records = std::mem::take(&mut self.outgoing);
        // A stream that cannot be written to has no goodbye to say.
        let _ =
            self.write(&mut records, TLS_OVERHEAD_BYTES, |traffic, room| traffic.queue_close_notify(room));
        self.outgoing = records;
        self.has_outgoing()
    }

    fn write(
        &mut self,
        records: &mut Vec<u8>,
        room: usize,
        mut what: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Broken> {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else { return Err(Broken) };
        grow(records, room, |room| match what(&mut traffic, room) {
            Ok(len) => Grown::By(len),
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                Grown::More(required_size)
            }
            Err(EncryptError::EncryptExhausted) => Grown::Never,
        })
    }
}

fn encode(data: &mut Unsent<'_>, room: &mut [u8]) -> Grown {
    match data.encode(room) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            Grown::More(required_size)
        }
        Err(EncodeError::AlreadyEncoded) => Grown::By(0),
        Ok(len) => Grown::By(len),
    }
}

type Unsent<'c> = rustls::unbuffered::EncodeTlsData<'c, rustls::server::ServerConnectionData>;
type Traffic<'c> = rustls::unbuffered::WriteTraffic<'c, rustls::server::ServerConnectionData>;

/// What an attempt to write into spare room gave.
enum Grown {
    /// This many bytes were written.
    By(usize),
    /// It takes this much room.
    More(usize),
    /// No room would be enough.
    Never,
}

/// Lets `write` fill spare room behind `buffer`, with more room once if it asks for it.
fn grow(buffer: &mut Vec<u8>, room: usize, mut write: impl FnMut(&mut [u8]) -> Grown) -> Result<(), Broken> {
    let start = buffer.len();
    let mut room = room;
    for _ in 0..2 {
        buffer.resize(start + room, 0);
        match write(&mut buffer[start..]) {
            Grown::By(len) => {
                buffer.truncate(start + len);
                return Ok(());
            }
            Grown::More(required) => room = required,
            Grown::Never => break,
        }
    }
    buffer.truncate(start);
    Err(Broken)
}
