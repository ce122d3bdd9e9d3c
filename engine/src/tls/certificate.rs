//! Certificates from files: a chain with its key, whom it names, and until when it is good.
//!
//! Invariant: a chain is only kept with the key of its first certificate; what cannot be used names its file and setting.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::flow::CertifiedNames;
use crate::health::CertificateHealth;
use crate::settings::ClientUser;

/// Why TLS could not be set up: the setting whose file is to blame, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetupError {
    /// The setting, such as `tls.key`.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

impl SetupError {
    pub(super) fn new(setting: &'static str, path: &Path, reason: impl ToString) -> Self {
        Self { setting, path: path.into(), reason: reason.to_string() }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.setting, self.path.display(), self.reason)
    }
}

impl std::error::Error for SetupError {}

/// Where a chain and its key are; the same file may hold both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'f> {
    pub(super) chain: (&'static str, &'f Path),
    pub(super) key: (&'static str, &'f Path),
}

/// A chain with its key.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) subject: Subject,
    pub(super) health: CertificateHealth,
}

impl Certificate {
    /// Reads a chain and its key, both PEM. `usage` says what it is for.
    pub(super) fn load(
        place: Place<'_>,
        usage: &'static str,
        provider: &CryptoProvider,
    ) -> Result<Self, SetupError> {
        let chain = read_chain(place.chain.0, place.chain.1)?;
        let (setting, path) = place.key;
        let key = PrivateKeyDer::from_pem_file(path)
            .map_err(|error| SetupError::new(setting, path, no_pem(error, "private key")))?;
        let unfit = |reason: String| SetupError::new(place.chain.0, place.chain.1, reason);
        let subject = Subject::of(&chain[0]).map_err(unfit)?;
        let health = health(&chain, &subject, usage).map_err(unfit)?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let reason = match error {
                Error::InconsistentKeys(_) => "it is not the key of the certificate".to_owned(),
                other => other.to_string(),
            };
            SetupError::new(setting, path, reason)
        })?;
        Ok(Self { certified: Arc::new(certified), subject, health })
    }
}

/// Reads certificates of authorities, PEM.
pub(super) fn read_authorities(setting: &'static str, path: &Path) -> Result<RootCertStore, SetupError> {
    let mut authorities = RootCertStore::empty();
    for certificate in read_chain(setting, path)? {
        authorities.add(certificate).map_err(|error| SetupError::new(setting, path, error))?;
    }
    Ok(authorities)
}

fn read_chain(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| SetupError::new(setting, path, no_pem(error, "certificate")))?;
    if chain.is_empty() {
        return Err(SetupError::new(setting, path, "it holds no certificate (PEM)"));
    }
    Ok(chain)
}

fn no_pem(error: rustls::pki_types::pem::Error, wanted: &str) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => format!("it holds no {wanted} (PEM)"),
        other => other.to_string(),
    }
}

/// The chain is good for as long as its first certificate to end.
fn health(
    chain: &[CertificateDer<'_>],
    subject: &Subject,
    usage: &'static str,
) -> Result<CertificateHealth, String> {
    let mut span: Option<(i64, i64)> = None;
    for der in chain {
        let validity = parse(der)?.validity().clone();
        let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if span.is_none_or(|(_, earliest)| end < earliest) {
            span = Some((begin, end));
        }
    }
    let (not_before_s, not_after_s) = span.unwrap_or_default();
    let names = subject.dns.0.iter().chain(&subject.addresses).chain(&subject.common_name);
    let name = names.map(String::as_str).next().unwrap_or("unnamed");
    Ok(CertificateHealth { usage, name: printable(name), not_before_s, not_after_s })
}

/// What may stand in a label and in a log.
fn printable(name: &str) -> String {
    name.chars().filter(|letter| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\')).collect()
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, String> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(format!("a certificate that cannot be read: {error}")),
    }
}

/// Whom a certificate names.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Subject {
    /// The common name.
    pub common_name: Option<String>,
    /// DNS names.
    pub dns: CertifiedNames,
    /// IP addresses.
    pub addresses: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
}

impl Subject {
    /// Reads it from a certificate.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let certificate = parse(der)?;
        let mut subject = Self::default();
        let common_name = certificate.subject().iter_common_name().next();
        subject.common_name = common_name.and_then(|name| name.as_str().ok()).map(str::to_owned);
        let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => subject.dns.0.push(name.to_ascii_lowercase()),
                GeneralName::RFC822Name(address) => subject.emails.push((*address).to_owned()),
                GeneralName::URI(uri) => subject.uris.push((*uri).to_owned()),
                GeneralName::IPAddress(octets) => subject.addresses.extend(address(octets)),
                _ => {}
            }
        }
        Ok(subject)
    }

    /// The user that the certificate speaks for, by this rule.
    #[must_use]
    pub fn user(&self, rule: ClientUser) -> Option<&str> {
        let name = match rule {
            ClientUser::Off => None,
            ClientUser::CommonName => self.common_name.as_ref(),
            ClientUser::Dns => self.dns.0.first(),
            ClientUser::Email => self.emails.first(),
            ClientUser::Uri => self.uris.first(),
        };
        name.map(String::as_str).filter(|name| !name.is_empty())
    }
}

fn address(octets: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(std::net::IpAddr::from(four).to_string());
    }
    <[u8; 16]>::try_from(octets).ok().map(|sixteen| std::net::IpAddr::from(sixteen).to_string())
}
