//! TLS between the sockets and the sessions: records in, plain bytes out, and back.
//!
//! Invariants: knows no socket and no session; keeps an incomplete record and what the handshake wants to send, nothing
//! else; a failed stream only sends its alert.
//!
//! ```text
//! Handshake ── finished ──> Open ── peer's close_notify, or an error ──> Closed
//! ```

use std::fmt;
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::certificate::Subject;
use super::identity::Identity;
use crate::limits::{TLS_FRAGMENT_BYTES, TLS_OVERHEAD_BYTES, TLS_PENDING_BYTES_MAX, TLS_ROOM_BYTES};

/// The stream cannot go on: the peer broke the protocol, or sent more than may wait. Nothing of it was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// What a finished handshake has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Established {
    /// It went on from an earlier session.
    pub is_resumed: bool,
    /// Whom the client's certificate names, if it has shown one that was verified.
    pub client: Option<Subject>,
}

/// One connection's TLS.
pub struct Stream {
    connection: UnbufferedServerConnection,
    /// The beginning of a record whose end has not come.
    incoming: Vec<u8>,
    /// Records to send before anything else: handshake, alerts.
    outgoing: Vec<u8>,
    /// The peer has ended the stream, or it is broken.
    is_closed: bool,
    /// Nothing can be encrypted any more.
    is_broken: bool,
    has_said_goodbye: bool,
    /// The library has been shown the first record.
    has_begun: bool,
    has_established: bool,
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
            is_broken: false,
            has_said_goodbye: false,
            has_begun: false,
            has_established: false,
        })
    }

    /// Keeps the first records until the handshake may begin.
    ///
    /// # Errors
    /// [`Broken`]: more than may wait.
    pub fn keep(&mut self, records: &[u8]) -> Result<(), Broken> {
        self.incoming.extend_from_slice(records);
        self.bounded(Ok(()))
    }

    /// Begins the handshake with what was kept.
    ///
    /// # Errors
    /// As [`Stream::open`].
    pub fn begin(&mut self, plain: &mut Vec<u8>) -> Result<(), Broken> {
        self.open(&mut [], plain)
    }

    /// Whether the handshake has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes records and appends what they carried to `plain`.
    ///
    /// # Errors
    /// [`Broken`]; an alert may wait to be sent.
    pub fn open(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Broken> {
        if self.is_closed {
            // What follows a goodbye or a fault is not looked at.
            return Ok(());
        }
        self.has_begun = true;
        let outcome = self.take(records, plain);
        self.bounded(outcome)
    }

    fn bounded(&mut self, outcome: Result<(), Broken>) -> Result<(), Broken> {
        if outcome.is_err() || self.incoming.len() > TLS_PENDING_BYTES_MAX {
            self.incoming = Vec::new();
            self.is_closed = true;
            self.is_broken = true;
            return Err(Broken);
        }
        Ok(())
    }

    fn take(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Broken> {
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
        Ok(())
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
                    used += discard;
                    self.take_alert(&mut records[used..]);
                    return Err(Broken);
                }
            }
            used += discard;
            outcome?;
            if is_waiting {
                break;
            }
        }
        Ok(used)
    }

    /// What the library wants to tell a peer that broke the protocol. It counts on seeing the bytes again that it has
    /// not discarded.
    fn take_alert(&mut self, records: &mut [u8]) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process_tls_records(records).state
            else {
                break;
            };
            let encoded = grow(&mut self.outgoing, TLS_ROOM_BYTES, |room| encode(&mut data, room));
            if encoded.is_err() {
                break;
            }
        }
    }

    /// What the handshake has shown, once, when it is finished.
    pub fn take_established(&mut self) -> Option<Established> {
        if self.has_established || self.is_broken || self.connection.is_handshaking() {
            return None;
        }
        self.has_established = true;
        let client = self.connection.peer_certificates().and_then(|chain| Subject::of(chain.first()?).ok());
        let is_resumed = self.connection.handshake_kind() == Some(HandshakeKind::Resumed);
        Some(Established { is_resumed, client })
    }

    /// Whether the handshake is not finished.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        !self.has_established
    }

    /// Whether the peer has ended the stream: no plain bytes come any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Memory of the beginning of a record, bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.incoming.capacity()
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
        // Room for all at once: one that lacks it would move all records before it.
        let fragments = plain.len().div_ceil(TLS_FRAGMENT_BYTES);
        records.reserve(plain.len() + fragments * TLS_OVERHEAD_BYTES);
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
        if self.is_broken || !self.has_begun {
            return Err(Broken);
        }
        // The library remembers places in what it has not discarded, so it must see the same bytes again.
        let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut self.incoming);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            self.is_broken = true;
            return Err(Broken);
        };
        debug_assert_eq!(discard, 0, "everything complete was taken when it came");
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustls::ClientConfig;
    use rustls::ClientConnection;
    use rustls::pki_types::ServerName;

    use super::*;
    use crate::tls::testing::{certificate, identity};

    fn client() -> ClientConnection {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        ClientConnection::new(Arc::new(config), ServerName::try_from("roadstead").unwrap()).unwrap()
    }

    fn written(client: &mut ClientConnection) -> Vec<u8> {
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).unwrap();
        }
        records
    }

    fn read(client: &mut ClientConnection, records: &[u8]) {
        let mut records = records;
        while !records.is_empty() {
            client.read_tls(&mut records).unwrap();
            client.process_new_packets().unwrap();
        }
    }

    /// Runs the handshake, `piece` bytes at a time towards the server.
    fn connected(identity: &Identity, piece: usize) -> (Stream, ClientConnection) {
        let (mut stream, mut client) = (Stream::new(identity).unwrap(), client());
        let mut plain = Vec::new();
        while client.is_handshaking() {
            for bytes in written(&mut client).chunks_mut(piece) {
                stream.open(bytes, &mut plain).unwrap();
            }
            read(&mut client, &stream.seal(&[]).unwrap());
        }
        for bytes in written(&mut client).chunks_mut(piece) {
            stream.open(bytes, &mut plain).unwrap();
        }
        assert!(plain.is_empty());
        (stream, client)
    }

    #[test]
    fn bytes_come_through_in_pieces_of_any_size() {
        let identity = identity();
        for piece in [1, 2, 7, 100, 5_000, 100_000] {
            let (mut stream, mut client) = connected(&identity, piece);
            let said: Vec<u8> = (0..40_000_u32).map(|number| number as u8).collect();
            let (mut offset, mut plain) = (0, Vec::new());
            while offset < said.len() {
                offset += client.writer().write(&said[offset..]).unwrap();
                for bytes in written(&mut client).chunks_mut(piece) {
                    stream.open(bytes, &mut plain).unwrap();
                }
            }
            assert!(plain == said, "in pieces of {piece}");
            assert_eq!(
                stream.held_bytes().min(1),
                stream.incoming.len().min(1),
                "only an incomplete record is held"
            );
            read(&mut client, &stream.seal(b"answer").unwrap());
            let mut answer = [0; 6];
            std::io::Read::read_exact(&mut client.reader(), &mut answer).unwrap();
            assert_eq!(&answer, b"answer");
        }
    }

    #[test]
    fn whatever_was_cut_off_a_goodbye_or_more_bytes_are_survived() {
        let identity = identity();
        let hello = written(&mut client());
        let message = &hello[5..];
        for cut in 0..message.len() {
            let mut half = vec![0x16, 3, 1];
            half.extend_from_slice(&(cut as u16).to_be_bytes());
            half.extend_from_slice(&message[..cut]);
            let tails: [&[u8]; 4] =
                [&[], &[0x14, 3, 3, 0, 1, 1], &[0x17, 3, 3, 0, 1, 0], &[0x15, 3, 3, 0, 2, 1, 0]];
            for tail in tails {
                let mut stream = Stream::new(&identity).unwrap();
                let mut plain = Vec::new();
                let _ = stream.open(&mut half.clone(), &mut plain);
                let _ = stream.open(&mut tail.to_vec(), &mut plain);
                let _ = stream.seal(b"too early");
                let _ = stream.close();
                let _ = stream.seal(&[]);
                assert!(plain.is_empty());
            }
        }
    }

    #[test]
    fn an_endless_record_is_given_up() {
        let mut stream = Stream::new(&identity()).unwrap();
        let mut plain = Vec::new();
        let mut outcome = stream.open(&mut [0x16, 3, 1, 0x40, 0], &mut plain);
        for _ in 0..40 {
            outcome = outcome.and_then(|()| stream.open(&mut [7; 1024], &mut plain));
        }
        assert_eq!(outcome, Err(Broken));
        assert_eq!((stream.held_bytes(), stream.is_closed()), (0, true));
    }
}
