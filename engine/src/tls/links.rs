//! TLS between nodes: both show a certificate of the fleet's authority, and demand one.
//!
//! Invariants: TLS 1.3 only, and no session is ever resumed; whom a certificate names is told, and judged elsewhere; what
//! cannot be understood is told in words for an operator.
//!
//! ```text
//! dialled or accepted ── handshake ──> established ── fault, or the peer's goodbye ──> gone
//! ```

use std::fmt;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};

use super::certificate::{Certificate, Place, SetupError, Subject, read_authorities};
use crate::flow::CertifiedNames;
use crate::health::CertificateHealth;
use crate::limits::TLS_PENDING_BYTES_MAX;
use crate::settings::Cluster;

const CERTIFICATE: &str = "cluster.tls_certificate";
const KEY: &str = "cluster.tls_key";
const CA: &str = "cluster.tls_ca";

/// Tells a link from anything else that might speak TLS.
const PROTOCOL: &[u8] = b"roadstead-link";

/// First bytes of records that begin a conversation: handshake and alert (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;
const ALERT: u8 = 0x15;

/// Who this node is towards other nodes.
#[derive(Clone)]
pub struct LinkIdentity {
    dials: Arc<ClientConfig>,
    accepts: Arc<ServerConfig>,
    health: CertificateHealth,
}

impl fmt::Debug for LinkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkIdentity").field("certificate", &self.health).finish_non_exhaustive()
    }
}

impl LinkIdentity {
    /// Reads what the settings name; `None`: links are clear text.
    ///
    /// # Errors
    /// A file that cannot be used; named.
    pub fn load(settings: &Cluster) -> Result<Option<Self>, SetupError> {
        let (Some(chain), Some(key), Some(ca)) =
            (&settings.tls_certificate, &settings.tls_key, &settings.tls_ca)
        else {
            return Ok(None);
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let place = Place { chain: (CERTIFICATE, chain), key: (KEY, key) };
        let certificate = Certificate::load(place, "links", &provider)?;
        let shown = || Arc::new(SingleCertAndKey::from(Arc::clone(&certificate.certified)));
        let authorities = Arc::new(read_authorities(CA, ca)?);
        let refused = |error: &dyn fmt::Display| SetupError::new(CA, Path::new(ca), error);

        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities), Arc::clone(&provider))
                .build()
                .map_err(|error| refused(&error))?;
        let mut accepts = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| refused(&error))?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(shown());
        accepts.alpn_protocols = vec![PROTOCOL.to_vec()];
        accepts.session_storage = Arc::new(NoServerSessionStorage {});
        accepts.send_tls13_tickets = 0;

        let servers = Arc::new(ChainVerifier { authorities, provider: Arc::clone(&provider) });
        let mut dials = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| refused(&error))?
            .dangerous()
            .with_custom_certificate_verifier(servers)
            .with_client_cert_resolver(shown());
        dials.alpn_protocols = vec![PROTOCOL.to_vec()];
        dials.resumption = Resumption::disabled();
        Ok(Some(Self { dials: Arc::new(dials), accepts: Arc::new(accepts), health: certificate.health }))
    }

    /// Until when the certificate is good.
    #[must_use]
    pub fn health(&self) -> &CertificateHealth {
        &self.health
    }

    /// The files that the settings name.
    #[must_use]
    pub fn files(settings: &Cluster) -> Vec<PathBuf> {
        settings.tls_certificate.iter().chain(&settings.tls_key).chain(&settings.tls_ca).cloned().collect()
    }
}

/// Verifies the chain of a node that was dialled, and not its name: nodes have names of their own, which the greeting proves and
/// the certificate may confirm.
#[derive(Debug)]
struct ChainVerifier {
    authorities: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.authorities,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a link's TLS cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkFault {
    /// The other node speaks clear text.
    ClearText,
    /// What TLS says of it, in words.
    Tls(String),
}

/// One link's TLS.
pub struct LinkStream {
    connection: Connection,
    has_heard: bool,
    has_established: bool,
}

impl fmt::Debug for LinkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkStream").field("has_established", &self.has_established).finish_non_exhaustive()
    }
}

impl LinkStream {
    /// Of a connection that this node makes to `peer`; the first record waits to be sent.
    ///
    /// # Errors
    /// The library refused the configuration.
    pub fn dial(identity: &LinkIdentity, peer: IpAddr) -> Result<Self, LinkFault> {
        let name = ServerName::IpAddress(peer.into());
        ClientConnection::new(Arc::clone(&identity.dials), name).map(Self::new).map_err(fault)
    }

    /// Of a connection that was accepted.
    ///
    /// # Errors
    /// The library refused the configuration.
    pub fn accept(identity: &LinkIdentity) -> Result<Self, LinkFault> {
        ServerConnection::new(Arc::clone(&identity.accepts)).map(Self::new).map_err(fault)
    }

    fn new(connection: impl Into<Connection>) -> Self {
        let mut connection = connection.into();
        // What waits to be sent is bounded by the link's queue, and is taken at once.
        connection.set_buffer_limit(None);
        Self { connection, has_heard: false, has_established: false }
    }

    /// Takes records and appends what they carried to `plain`.
    ///
    /// # Errors
    /// [`LinkFault`]; an alert may wait to be sent.
    pub fn open(&mut self, mut records: &[u8], plain: &mut Vec<u8>) -> Result<(), LinkFault> {
        if let (false, Some(first)) = (std::mem::replace(&mut self.has_heard, true), records.first())
            && ![HANDSHAKE, ALERT].contains(first)
        {
            return Err(LinkFault::ClearText);
        }
        while !records.is_empty() {
            // Reading from memory fails only if more waits than may.
            let taken = self.connection.read_tls(&mut records).map_err(|error| words(&error))?;
            let state = self.connection.process_new_packets().map_err(fault)?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.connection.reader().read_exact(&mut plain[start..]).map_err(|error| words(&error))?;
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Whom the other node's certificate names, once, when the handshake is finished.
    pub fn take_established(&mut self) -> Option<CertifiedNames> {
        if self.has_established || self.connection.is_handshaking() {
            return None;
        }
        self.has_established = true;
        let shown = self.connection.peer_certificates().and_then(|chain| Subject::of(chain.first()?).ok());
        Some(shown.map(|subject| subject.dns).unwrap_or_default())
    }

    /// Whether records of its own wait to be sent.
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        self.connection.wants_write()
    }

    /// Everything that is to be sent: what waited, then `plain` in records.
    ///
    /// # Errors
    /// [`LinkFault`]: the library cannot write any more.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, LinkFault> {
        self.connection.writer().write_all(plain).map_err(|error| words(&error))?;
        let mut records = Vec::with_capacity(plain.len() + plain.len() / 256 + TLS_PENDING_BYTES_MAX / 8);
        while self.connection.wants_write() {
            self.connection.write_tls(&mut records).map_err(|error| words(&error))?;
        }
        Ok(records)
    }
}

fn fault(error: Error) -> LinkFault {
    LinkFault::Tls(error.to_string())
}

fn words(error: &std::io::Error) -> LinkFault {
    LinkFault::Tls(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Folder;

    fn identity() -> LinkIdentity {
        let folder = Folder::new();
        let tls = folder.settings();
        let settings = Cluster {
            tls_ca: tls.certificate.clone(),
            tls_certificate: tls.certificate,
            tls_key: tls.key,
            ..Cluster::default()
        };
        LinkIdentity::load(&settings).unwrap().unwrap()
    }

    fn pair() -> (LinkStream, LinkStream) {
        let identity = identity();
        let peer = IpAddr::from([127, 0, 0, 1]);
        (LinkStream::dial(&identity, peer).unwrap(), LinkStream::accept(&identity).unwrap())
    }

    /// Carries what waits from one to the other, `piece` bytes at a time.
    fn carry(from: &mut LinkStream, to: &mut LinkStream, plain: &mut Vec<u8>, piece: usize) {
        for bytes in from.seal(&[]).unwrap().chunks(piece) {
            to.open(bytes, plain).unwrap();
        }
    }

    #[test]
    fn both_sides_learn_names_and_bytes_come_through() {
        for piece in [1, 100, 100_000] {
            let (mut one, mut other) = pair();
            let mut plain = Vec::new();
            for _ in 0..3 {
                carry(&mut one, &mut other, &mut plain, piece);
                carry(&mut other, &mut one, &mut plain, piece);
            }
            for side in [&mut one, &mut other] {
                assert!(side.take_established().unwrap().names("roadstead"));
                assert!(side.take_established().is_none(), "told once");
            }
            assert!(plain.is_empty());
            let said: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
            for bytes in one.seal(&said).unwrap().chunks(piece) {
                other.open(bytes, &mut plain).unwrap();
            }
            assert!(plain == said, "in pieces of {piece}");
        }
    }

    #[test]
    fn clear_text_and_garbage_are_told_apart() {
        for (first, fault) in [
            (&b"\x40\x00\x00\x00hello"[..], Some(LinkFault::ClearText)),
            (&b"\x16\x03\x03\x00\x05hello"[..], None),
        ] {
            let (_, mut other) = pair();
            let outcome = other.open(first, &mut Vec::new());
            match fault {
                Some(fault) => assert_eq!(outcome, Err(fault)),
                None => assert!(matches!(outcome, Err(LinkFault::Tls(_))), "{outcome:?}"),
            }
        }
    }
}
