//! What the tests of this room share: one self-signed certificate, in files of their own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Identity, Tickets};
use crate::settings::Tls;

/// A self-signed certificate for `roadstead`, of P-256, made with `openssl req -x509`; it is good until 2126.
pub(super) const CERTIFICATE_PEM: &str = include_str!("test_certificate.pem");
pub(super) const KEY_PEM: &str = include_str!("test_key.pem");

pub(super) fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CERTIFICATE_PEM.as_bytes()).unwrap()
}

/// A folder that goes with its test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roadstead-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The settings of a node with that certificate.
    pub(super) fn settings(&self) -> Tls {
        Tls {
            certificate: Some(self.file("certificate.pem", CERTIFICATE_PEM)),
            key: Some(self.file("key.pem", KEY_PEM)),
            ..Tls::default()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A node with that certificate.
pub(super) fn identity() -> Identity {
    Identity::load(&Folder::new().settings(), &Tickets::of_node().unwrap()).unwrap().unwrap()
}
