//! `wss://`: the program against a server behind TLS, with certificates that it trusts, and with one that it does not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use roadstead_io::Kind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::server::{Behaviour, Server};
use crate::{Run, run_against};

/// A certificate for `localhost`, its key, and the authority that signed it, made with `openssl req` and `openssl x509`.
const CERTIFICATE: &str = include_str!("tls/certificate.pem");
const KEY: &str = include_str!("tls/key.pem");
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runs/tls/authority.pem");

/// TLS in front of the server at `plain`: where it listens. Each connection has a thread, which ends with it.
fn front(plain: SocketAddr) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for outer in listener.incoming() {
            let (outer, config) = (outer.expect("a connection"), Arc::clone(&config));
            let inner = TcpStream::connect(plain).expect("the server");
            std::thread::spawn(move || {
                carry(outer, inner, ServerConnection::new(config).expect("a session"))
            });
        }
    });
    address
}

/// Carries bytes both ways until either end is done.
fn carry(mut outer: TcpStream, mut inner: TcpStream, mut session: ServerConnection) {
    outer.set_nonblocking(true).expect("a socket");
    inner.set_nonblocking(true).expect("a socket");
    let mut block = vec![0; 16 * 1_024];
    loop {
        match session.read_tls(&mut outer) {
            Ok(0) => return,
            Ok(_) if session.process_new_packets().is_err() => {
                let _ = session.write_tls(&mut outer);
                return;
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(_) => return,
        }
        while let Ok(len @ 1..) = session.reader().read(&mut block) {
            inner.write_all(&block[..len]).expect("small writes fit");
        }
        match inner.read(&mut block) {
            Ok(0) => {
                session.send_close_notify();
                let _ = session.write_tls(&mut outer);
                return;
            }
            Ok(len) => session.writer().write_all(&block[..len]).expect("memory"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        while session.wants_write() {
            match session.write_tls(&mut outer) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
    }
}

fn run_secure(kind: Kind, line: &str) -> Run {
    let server = Server::start(kind, Behaviour::Hub(0));
    let url = format!("wss://localhost:{}/path?query", front(server.address()).port());
    run_against(kind, &url, line)
}

pub(crate) fn tls_carries_everything(kind: Kind) {
    let line = format!("fanout --connections 10 --rate 100 --size 2000 --duration 500ms --ca {AUTHORITY}");
    let run = run_secure(kind, &line);
    run.assert_ok();
    assert_eq!(run.number("/messages/received"), 10 * run.number("/messages/sent"));
    assert_eq!((run.number("/connections/tls_handshakes"), run.number("/connections/tls_resumed")), (11, 0));
}

pub(crate) fn tls_sessions_are_resumed_where_asked_for(kind: Kind) {
    let line = format!(
        "storm --connections 8 --rate 50 --duration 1 --storm-share 1 --storm-after 200ms --backoff-min 100ms \
         --tls-resume --ca {AUTHORITY}"
    );
    let run = run_secure(kind, &line);
    run.assert_ok();
    assert_eq!((run.number("/unrest/back"), run.number("/connections/tls_handshakes")), (8, 17));
    assert_eq!(run.number("/connections/tls_resumed"), 8, "those that came back: {}", run.said);
}

pub(crate) fn certificates_are_checked(kind: Kind) {
    let other_name =
        format!("idle --connections 3 --connect --duration 100ms --ca {AUTHORITY} --tls-name example.com");
    for line in ["idle --connections 3 --connect --duration 100ms", other_name.as_str()] {
        let run = run_secure(kind, line);
        run.assert_failed();
        assert_eq!(run.errors(), [("tls", 3)]);
        assert!(run.said.contains("certificate"), "{}", run.said);
    }
    run_secure(kind, "idle --connections 3 --connect --duration 100ms --insecure-tls").assert_ok();
}
