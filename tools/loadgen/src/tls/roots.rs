//! Whom to trust: the system's authorities, those of a file, or anybody.
//!
//! Invariant: made once before any thread starts; threads share the authorities.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// How servers prove who they are.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    config: ClientConfig,
    /// Whether later connections resume the sessions of earlier ones.
    pub(crate) resumes: bool,
}

impl Trust {
    /// Trusts the authorities in the file `authorities` (PEM), without one the system's; `is_insecure`: everybody.
    ///
    /// # Errors
    /// No authority is to be had, as a sentence for the user.
    pub(crate) fn new(authorities: Option<&Path>, is_insecure: bool, resumes: bool) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = if is_insecure {
            let anybody = Arc::new(Anybody(provider));
            builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
        } else {
            builder.with_root_certificates(roots(authorities)?).with_no_client_auth()
        };
        Ok(Self { config, resumes })
    }

    /// For the sessions of one thread.
    #[must_use]
    pub(super) fn config(&self) -> ClientConfig {
        self.config.clone()
    }
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let name = path.display();
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| format!("{name}: {error}"))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| format!("{name}: {error}"))?;
                roots.add(certificate).map_err(|error| format!("{name}: {error}"))?;
            }
            if roots.is_empty() {
                return Err(format!("{name}: no certificate in it"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("this system has no certificate authorities: name some with --ca".to_owned());
            }
        }
    }
    Ok(roots)
}

/// Takes every certificate; signatures are checked all the same, since they cost time that belongs to a handshake.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
