//! Over TLS: messages that come back, and handshakes, full and resumed.
//!
//! The client's own part of the work is about as large as the server's, so that figures are per second of the server's CPU
//! time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use super::rate::{Clocks, Cost};
use super::wire::{self, Opcode};
use super::{Period, Protocol, Rate, Server};
use crate::kernel::{Epoll, Events, Interest};

/// What the client trusts: one self-signed certificate, for this name.
pub struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// Trusts `certificate` (PEM) for `name`; with `resumes`, later connections resume the sessions of earlier ones.
    pub fn new(certificate: &Path, name: &str, resumes: bool) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
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
    /// Bytes of answers that have not come.
    awaited: usize,
}

impl Stream {
    /// Connects and goes on until something was said and answered, so that the ticket has come as well.
    fn open(server: &Server, trust: &Trust) -> io::Result<Self> {
        let socket = TcpStream::connect(SocketAddr::V4(server.address()))?;
        socket.set_nodelay(true)?;
        let tls =
            ClientConnection::new(Arc::clone(&trust.config), trust.name.clone()).map_err(io::Error::other)?;
        let mut stream = Self { tls, socket, awaited: 0 };
        match server.protocol {
            Protocol::WebSocket => stream.say(&wire::upgrade_request(server.address(), &server.path))?,
            Protocol::Raw => stream.say(b"\r\n\r\n")?,
        }
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            stream.tls.complete_io(&mut stream.socket)?;
            let state = stream.tls.process_new_packets().map_err(io::Error::other)?;
            let start = heard.len();
            heard.resize(start + state.plaintext_bytes_to_read(), 0);
            stream.tls.reader().read_exact(&mut heard[start..])?;
        }
        if server.protocol == Protocol::WebSocket && !heard.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&heard).into_owned()));
        }
        Ok(stream)
    }

    fn say(&mut self, plain: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(plain)?;
        while self.tls.wants_write() && !self.tls.is_handshaking() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Takes what has come; how many bytes of answers that was.
    fn hear(&mut self, plain: &mut [u8]) -> io::Result<usize> {
        if self.tls.read_tls(&mut self.socket)? == 0 {
            return Err(io::Error::other("the server closed a connection"));
        }
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let count = state.plaintext_bytes_to_read();
        let mut left = count;
        while left > 0 {
            left -= self.tls.reader().read(plain)?;
        }
        Ok(count)
    }
}

/// Messages of `bytes` that come back, one outstanding on each of `connections`.
pub fn echo(
    server: &Server,
    trust: &Trust,
    (connections, bytes): (usize, usize),
    period: &Period,
) -> io::Result<Rate> {
    let payload = vec![b'x'; bytes];
    let said = wire::client_frame(Opcode::Binary, &payload);
    let answer_bytes = match server.protocol {
        Protocol::Raw => said.len(),
        Protocol::WebSocket => wire::server_frame(Opcode::Binary, &payload).len(),
    };
    let epoll = Epoll::new()?;
    let mut streams = Vec::with_capacity(connections);
    for place in 0..connections {
        let mut stream = Stream::open(server, trust)?;
        epoll.add(stream.socket.as_raw_fd(), Interest::Read, place as u64)?;
        stream.say(&said)?;
        stream.awaited = answer_bytes;
        streams.push(stream);
    }
    let clocks = Clocks::of_server(server.pid)?;
    let (mut events, mut plain) = (Events::new(), vec![0; 64 * 1024]);
    let mut count = |until: Instant| -> io::Result<u64> {
        let mut answers = 0;
        while Instant::now() < until {
            for event in epoll.wait(&mut events, Some(period.measured))? {
                let stream = &mut streams[event.token() as usize];
                stream.awaited = stream.awaited.saturating_sub(stream.hear(&mut plain)?);
                if stream.awaited == 0 {
                    answers += 1;
                    stream.say(&said)?;
                    stream.awaited = answer_bytes;
                }
            }
        }
        Ok(answers)
    };
    count(Instant::now() + period.warm_up)?;
    let before = clocks.mark()?;
    let answers = count(Instant::now() + period.measured)?;
    let mut cost = Cost::default();
    cost.add(&before, &clocks.mark()?);
    Ok(cost.rate(answers))
}

/// Connections that shake hands, say one thing and end, one after the other.
pub fn handshakes(server: &Server, trust: &Trust, resumes: bool, period: &Period) -> io::Result<Rate> {
    Stream::open(server, trust)?;
    let clocks = Clocks::of_server(server.pid)?;
    let mut cost = Cost::default();
    let mut opened = 0;
    let before = clocks.mark()?;
    let expected = if resumes { HandshakeKind::Resumed } else { HandshakeKind::Full };
    let end = Instant::now() + period.measured;
    while Instant::now() < end {
        let stream = Stream::open(server, trust)?;
        let kind = stream.tls.handshake_kind();
        // A full handshake may take two ways there and back; a resumed one must be resumed.
        if resumes && kind != Some(expected) {
            return Err(io::Error::other(format!("a handshake was {kind:?}, not {expected:?}")));
        }
        opened += 1;
    }
    cost.add(&before, &clocks.mark()?);
    Ok(cost.rate(opened))
}
