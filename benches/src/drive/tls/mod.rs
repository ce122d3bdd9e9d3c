//! Over TLS: messages that come back, handshakes, full and resumed, and what an idle connection costs.
//!
//! The client's own part of the work is about as large as the server's, so that rates are per second of the server's CPU
//! time.

mod echo;
mod handshakes;
mod idle;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

pub use echo::{Load, drive as echo};
pub use handshakes::drive as handshakes;
pub use idle::drive as idle;

use super::wire;
use super::{Protocol, Server};

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Version::Tls12 => &TLS12,
            Version::Tls13 => &TLS13,
        }
    }
}

/// What the client trusts: one self-signed certificate, for this name.
pub struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// Trusts `certificate` (PEM) for `name`; with `resumes`, later connections resume the sessions of earlier ones.
    pub fn new(certificate: &Path, name: &str, version: Version, resumes: bool) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version.supported()])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Self { config: Arc::new(config), name })
    }
}

/// One connection.
struct Stream {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Stream {
    /// Connects and goes on until an upgrade was asked for and answered, so that the ticket has come as well. A floor
    /// sends the request back.
    fn open(server: &Server, trust: &Trust) -> io::Result<Self> {
        let socket = TcpStream::connect(SocketAddr::V4(server.address()))?;
        socket.set_nodelay(true)?;
        let tls =
            ClientConnection::new(Arc::clone(&trust.config), trust.name.clone()).map_err(io::Error::other)?;
        let mut stream = Self { tls, socket };
        stream.tls.set_buffer_limit(None);
        stream.tls.writer().write_all(&wire::upgrade_request(server.address(), &server.path))?;
        let heard = stream.hear_until(|heard| heard.ends_with(b"\r\n\r\n"))?;
        if server.protocol == Protocol::WebSocket && !heard.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&heard).into_owned()));
        }
        Ok(stream)
    }

    /// Says what waits to be said and takes what comes, on a socket that blocks, until that is enough.
    fn hear_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        let mut heard = Vec::new();
        while !is_enough(&heard) {
            let (read, written) = self.tls.complete_io(&mut self.socket)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let (start, count) = (heard.len(), state.plaintext_bytes_to_read());
            if read + written + count == 0 {
                return Err(io::Error::other("the server closed a connection"));
            }
            heard.resize(start + count, 0);
            self.tls.reader().read_exact(&mut heard[start..])?;
        }
        Ok(heard)
    }

    /// Takes what has come and drops it, on a socket that does not block; how many bytes that was.
    fn hear(&mut self, plain: &mut [u8]) -> io::Result<usize> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(io::Error::other("the server closed a connection")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            read => read?,
        };
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let count = state.plaintext_bytes_to_read();
        let mut left = count;
        while left > 0 {
            left -= self.tls.reader().read(plain)?;
        }
        Ok(count)
    }

    /// Writes records until none is left or the socket, which does not block, is full. True: some are left.
    fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                written => _ = written?,
            }
        }
        Ok(false)
    }
}
