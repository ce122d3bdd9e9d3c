//! Asks an address for its key set: one HTTP request, bounded in time, length and redirects.
//!
//! Invariants: blocks, so only threads of its own come here; nothing of an earlier request is kept; what it says of a failure names
//! neither the address nor what the other side wrote, beyond a bounded line of an error.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::file;
use super::remote::{Fetched, KeySource};
use crate::limits::{JWKS_FETCH_MS, JWKS_HEAD_BYTES_MAX, JWKS_REDIRECTS_MAX, KEY_FILE_BYTES_MAX};

/// What is said of an error of the system or of TLS, characters.
const REASON_CHARS_MAX: usize = 200;

/// Why there is no answer: for metrics, and in words.
pub type Failed = (Fetched, String);

/// Asks once.
///
/// # Errors
/// There is no good answer within [`JWKS_FETCH_MS`].
pub fn download(source: &KeySource) -> Result<Vec<u8>, Failed> {
    let is_https = source.address.is_https();
    let config = Agent::config_builder()
        .timeout_global(Some(Duration::from_millis(JWKS_FETCH_MS)))
        .max_redirects(JWKS_REDIRECTS_MAX)
        .max_response_header_size(JWKS_HEAD_BYTES_MAX)
        .https_only(is_https)
        .http_status_as_error(false)
        .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
        .accept("application/jwk-set+json, application/json")
        .tls_config(tls(source)?)
        .build();
    let mut answer = config.new_agent().get(source.address.as_str()).call().map_err(failed)?;
    if answer.status() != 200 {
        return Err((Fetched::Status, format!("it answers {}", answer.status().as_u16())));
    }
    answer.body_mut().with_config().limit(KEY_FILE_BYTES_MAX).read_to_vec().map_err(failed)
}

/// Whom the other side must be known by: read each time, since authorities are renewed too.
fn tls(source: &KeySource) -> Result<TlsConfig, Failed> {
    let mut roots = Vec::new();
    // HTTP may lead to HTTPS.
    roots.extend(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &source.ca_file {
        let own = file::read(path, authorities);
        roots.extend(own.map_err(|why| (Fetched::Unreachable, format!("{}: {why}", path.display())))?);
    }
    let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build())
}

/// Whether a file holds authorities.
///
/// # Errors
/// In words.
pub(super) fn check_authorities(path: &Path) -> Result<(), String> {
    file::read(path, authorities).map(drop)
}

fn authorities(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("no PEM: {error}"))?;
    let (good, bad) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    if good == 0 || bad > 0 {
        return Err(format!("it holds {good} certificates of authorities and {bad} that cannot be read"));
    }
    Ok(certificates)
}

fn failed(error: Error) -> Failed {
    let (how, why) = match error {
        Error::Timeout(_) => (Fetched::Late, format!("it has not answered within {JWKS_FETCH_MS} ms")),
        Error::BodyExceedsLimit(_) => {
            (Fetched::TooLong, format!("its answer is longer than {KEY_FILE_BYTES_MAX} bytes"))
        }
        Error::LargeResponseHeader(..) => {
            (Fetched::TooLong, format!("the head of its answer is longer than {JWKS_HEAD_BYTES_MAX} bytes"))
        }
        Error::TooManyRedirects => {
            (Fetched::Redirected, format!("it leads elsewhere more than {JWKS_REDIRECTS_MAX} times"))
        }
        Error::RequireHttpsOnly(_) => (Fetched::Redirected, "it leads from https to http".into()),
        Error::BadUri(_) | Error::RedirectFailed => {
            (Fetched::Redirected, "it leads to what is no address".into())
        }
        Error::HostNotFound => (Fetched::Unreachable, "its host is not known".into()),
        Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => {
            (Fetched::Unreachable, "the proxy of the environment refuses".into())
        }
        Error::Io(error) => (how_of(&error), line(&error.to_string())),
        Error::Rustls(error) => (Fetched::Unreachable, line(&error.to_string())),
        Error::Protocol(_) | Error::Http(_) | Error::BodyStalled => {
            (Fetched::Malformed, "its answer is not HTTP".into())
        }
        _ => (Fetched::Unreachable, "it could not be asked".into()),
    };
    (how, why)
}

/// An answer that breaks off is none; what else goes wrong with the connection happens before there is one.
fn how_of(error: &io::Error) -> Fetched {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Fetched::Late,
        _ => Fetched::Unreachable,
    }
}

/// One line without what terminals obey: names in certificates are the other side's.
fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}
