//! The floor of TLS on epoll: a rustls connection for each socket, and what it reads goes back through it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::epoll::Sockets;
use crate::kernel::{self, Received};

/// Echoes over TLS until an error of the machine; a connection's end or fault is none.
pub fn serve(listener: OwnedFd, certificate: &Path, key: &Path, buffer_bytes: usize) -> io::Result<()> {
    let config = Arc::new(config(certificate, key)?);
    let mut sockets = Sockets::new(listener)?;
    let mut streams: Vec<Option<ServerConnection>> = Vec::new();
    let (mut records, mut plain) = (vec![0; buffer_bytes], vec![0; buffer_bytes]);
    let mut out = Vec::new();
    sockets.run(|sockets, fd| {
        let place = fd as usize;
        if streams.len() <= place {
            streams.resize_with(place + 1, || None);
        }
        let count = match kernel::receive(fd, &mut records)? {
            Received::Bytes(count) => count,
            Received::Later => return Ok(()),
            Received::Closed => {
                streams[place] = None;
                return sockets.close(fd);
            }
        };
        let stream = match &mut streams[place] {
            Some(stream) => stream,
            none => none.insert(ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?),
        };
        out.clear();
        let is_whole = echo(stream, &records[..count], &mut plain, &mut out)?;
        sockets.send(fd, &out)?;
        if !is_whole {
            streams[place] = None;
            sockets.close(fd)?;
        }
        Ok(())
    })
}

/// Takes records and appends to `out` what answers them. False: the peer broke the protocol.
fn echo(
    stream: &mut ServerConnection,
    mut records: &[u8],
    plain: &mut [u8],
    out: &mut Vec<u8>,
) -> io::Result<bool> {
    while !records.is_empty() {
        stream.read_tls(&mut records)?;
        let Ok(state) = stream.process_new_packets() else { return Ok(false) };
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let count = stream.reader().read(plain)?;
            stream.writer().write_all(&plain[..count])?;
            left -= count;
            while stream.wants_write() {
                stream.write_tls(out)?;
            }
        }
    }
    while stream.wants_write() {
        stream.write_tls(out)?;
    }
    Ok(true)
}

fn config(certificate: &Path, key: &Path) -> io::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
    config.send_tls13_tickets = 1;
    Ok(config)
}
