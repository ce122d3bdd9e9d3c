//! Who this node is towards its clients: certificates by name, whom it verifies, and the tickets it gives.
//!
//! Invariants: never changed once it is made; a client that names no host, or one that no certificate names, is shown the
//! first certificate.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, Place, SetupError, read_authorities};
use super::tickets::Tickets;
use crate::health::CertificateHealth;
use crate::settings::{ClientCertificates, Tls};

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CERTIFICATES: &str = "tls.certificates";
const CLIENT_CA: &str = "tls.client_ca";

/// The process's part of every client's stream.
#[derive(Clone)]
pub struct Identity {
    pub(super) config: Arc<ServerConfig>,
    health: Vec<CertificateHealth>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.health).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads what the settings name; `None`: no TLS.
    ///
    /// # Errors
    /// A file that cannot be read, holds no certificate or key, or a key that is not the certificate's; named.
    pub fn load(settings: &Tls, tickets: &Tickets) -> Result<Option<Self>, SetupError> {
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let first = Place { chain: (CERTIFICATE, certificate), key: (KEY, key) };
        let mut certificates = vec![Certificate::load(first, "clients", &provider)?];
        for entry in &settings.certificates {
            let (chain, key) = chain_and_key(entry);
            let place = Place { chain: (CERTIFICATES, chain), key: (CERTIFICATES, key) };
            certificates.push(Certificate::load(place, "clients", &provider)?);
        }
        let health = certificates.iter().map(|certificate| certificate.health.clone()).collect();
        let config = configure(settings, &provider, Chooser::new(&certificates), tickets)?;
        Ok(Some(Self { config: Arc::new(config), health }))
    }

    /// Every certificate, and until when it is good.
    #[must_use]
    pub fn health(&self) -> &[CertificateHealth] {
        &self.health
    }

    /// The files that the settings name.
    #[must_use]
    pub fn files(settings: &Tls) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            settings.certificate.iter().chain(&settings.key).chain(&settings.client_ca).cloned().collect();
        for entry in &settings.certificates {
            let (chain, key) = chain_and_key(entry);
            files.extend([chain.to_owned(), key.to_owned()]);
        }
        files
    }
}

/// An entry of `tls.certificates`: a chain and its key, separated by a colon, or one file that holds both.
fn chain_and_key(entry: &str) -> (&Path, &Path) {
    let (chain, key) = entry.split_once(':').unwrap_or((entry, entry));
    (Path::new(chain), Path::new(key))
}

fn configure(
    settings: &Tls,
    provider: &Arc<CryptoProvider>,
    chooser: Chooser,
    tickets: &Tickets,
) -> Result<ServerConfig, SetupError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::new(CERTIFICATE, Path::new(""), error))?;
    let mut authorities = None;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(read_authorities(CLIENT_CA, path)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
            let verifier = match settings.client_certificates {
                ClientCertificates::Required => verifier,
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| SetupError::new(CLIENT_CA, path, error))?;
            authorities = Some(roots);
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(chooser));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = tickets.for_authorities(authorities.as_deref());
    // The library's store of sessions is one for all shards, behind a lock; who cannot keep a ticket does not resume.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Chooses the certificate that names the host which a client asks for.
#[derive(Debug)]
struct Chooser {
    /// In the order of the settings; the first is the default.
    certificates: Vec<Arc<CertifiedKey>>,
    /// Which of them name a host, or by `*.` all hosts of a domain.
    by_name: HashMap<String, Vec<usize>>,
}

impl Chooser {
    fn new(certificates: &[Certificate]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, certificate) in certificates.iter().enumerate() {
            for name in &certificate.subject.dns.0 {
                by_name.entry(name.clone()).or_default().push(place);
            }
        }
        let certificates = certificates.iter().map(|found| Arc::clone(&found.certified)).collect();
        Self { certificates, by_name }
    }

    /// Those that name a host, the exact names first; all of them where none does.
    fn candidates(&self, host: Option<&str>) -> Vec<usize> {
        let mut found = Vec::new();
        if let Some(host) = host {
            found.extend(self.by_name.get(host).into_iter().flatten());
            if let Some((_, domain)) = host.split_once('.') {
                found.extend(self.by_name.get(&format!("*.{domain}")).into_iter().flatten());
            }
        }
        if found.is_empty() { (0..self.certificates.len()).collect() } else { found }
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        // Of two that name the host, one of each kind of key perhaps, the first that the client can verify.
        let fits = |place: &&usize| {
            self.certificates[**place].key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let place = candidates.iter().find(fits).or(candidates.first())?;
        Some(Arc::clone(&self.certificates[*place]))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::testing::{CERTIFICATE_PEM, Folder, KEY_PEM};

    fn load(settings: &Tls) -> Result<Option<Identity>, SetupError> {
        Identity::load(settings, &Tickets::of_node().unwrap())
    }

    #[test]
    fn what_is_wrong_names_setting_and_file() {
        let folder = Folder::new();
        let good = folder.settings();
        let (certificate, key) = (good.certificate.clone().unwrap(), good.key.clone().unwrap());
        let empty = folder.file("empty.pem", "");
        let both = folder.file("both.pem", &format!("{KEY_PEM}{CERTIFICATE_PEM}"));
        let (certificate_text, key_text) = (certificate.display(), key.display());
        let with = |change: &dyn Fn(&mut Tls)| {
            let mut settings = good.clone();
            change(&mut settings);
            settings
        };
        for (settings, blamed) in [
            (good.clone(), None),
            (with(&|tls| tls.certificates = vec![both.display().to_string()]), None),
            (with(&|tls| tls.certificates = vec![format!("{certificate_text}:{key_text}")]), None),
            (with(&|tls| tls.client_ca = Some(certificate.clone())), None),
            (with(&|tls| tls.certificate = Some(key.clone())), Some(("tls.certificate", "no certificate"))),
            (with(&|tls| tls.key = Some(certificate.clone())), Some(("tls.key", "no private key"))),
            (with(&|tls| tls.key = Some("/no/such".into())), Some(("tls.key", "No such file"))),
            (
                with(&|tls| tls.certificates = vec![certificate_text.to_string()]),
                Some(("tls.certificates", "no private key")),
            ),
            (with(&|tls| tls.client_ca = Some(empty.clone())), Some(("tls.client_ca", "no certificate"))),
        ] {
            match (load(&settings), blamed) {
                (Ok(Some(identity)), None) => {
                    assert_eq!(identity.health().len(), 1 + settings.certificates.len());
                }
                (Err(error), Some((setting, words))) => {
                    assert_eq!(error.setting, setting);
                    assert!(error.to_string().contains(words), "{error}");
                }
                (outcome, blamed) => panic!("{outcome:?} where {blamed:?} was expected"),
            }
        }
        assert!(load(&Tls::default()).unwrap().is_none());
        fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(load(&good).unwrap_err().setting, "tls.certificate");
    }

    #[test]
    fn the_exact_name_comes_first_and_the_first_certificate_last() {
        let by_name = [("a.example", vec![1]), ("*.example", vec![2, 3]), ("b.example", vec![3])];
        let by_name = by_name.map(|(name, places)| (name.to_owned(), places)).into();
        let folder = Folder::new();
        let settings = folder.settings();
        let place = Place {
            chain: (CERTIFICATE, settings.certificate.as_deref().unwrap()),
            key: (KEY, settings.key.as_deref().unwrap()),
        };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let any = Certificate::load(place, "clients", &provider).unwrap().certified;
        let chooser = Chooser { certificates: vec![any; 4], by_name };
        for (host, places) in [
            (Some("a.example"), vec![1, 2, 3]),
            (Some("b.example"), vec![3, 2, 3]),
            (Some("c.example"), vec![2, 3]),
            (Some("x.c.example"), vec![0, 1, 2, 3]),
            (Some("example"), vec![0, 1, 2, 3]),
            (None, vec![0, 1, 2, 3]),
        ] {
            assert_eq!(chooser.candidates(host), places, "{host:?}");
        }
    }
}
