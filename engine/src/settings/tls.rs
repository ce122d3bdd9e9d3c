//! TLS on the listen addresses: certificates, and what is demanded of clients.

use std::path::PathBuf;

/// TLS on the listen addresses. Certificate and key (PEM): both, or there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain that is shown where no other fits.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Further chains and keys: `CHAIN:KEY`, or one file that holds both.
    pub certificates: Vec<String>,
    /// Authorities of clients' certificates; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must have a certificate.
    pub client_certificates: ClientCertificates,
    /// Which name in a verified certificate is the user of a client without a token.
    pub client_user: ClientUser,
    /// Handshakes that each shard begins in a second; 0: no limit.
    pub handshakes_per_s: u32,
    /// Whether the kernel is asked for TLS of its own.
    pub kernel: KernelTls,
}

impl Tls {
    /// Whether the listen addresses speak TLS: further certificates need a first one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.certificate.is_some()
    }
}

/// Who reads and writes TLS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTls {
    /// The kernel where it can; today that is only found out and said.
    Auto,
    /// This process.
    Off,
}

/// What is demanded of clients where `client_ca` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Who has no valid certificate is refused.
    Required,
    /// Who has none is served; who has one that is not valid is refused.
    Optional,
}

/// A name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientUser {
    /// None: certificates make no users.
    Off,
    /// The common name of the subject.
    CommonName,
    /// The first DNS name.
    Dns,
    /// The first mail address.
    Email,
    /// The first URI.
    Uri,
}

impl ClientCertificates {
    /// Every way, as it is configured.
    pub const WORDS: [(Self, &str); 2] = [(Self::Required, "required"), (Self::Optional, "optional")];
}

impl KernelTls {
    /// Every choice, as it is configured.
    pub const WORDS: [(Self, &str); 2] = [(Self::Auto, "auto"), (Self::Off, "off")];
}

impl ClientUser {
    /// Every name, as it is configured.
    pub const WORDS: [(Self, &str); 5] = [
        (Self::Off, "off"),
        (Self::CommonName, "common_name"),
        (Self::Dns, "dns"),
        (Self::Email, "email"),
        (Self::Uri, "uri"),
    ];

    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize].1
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            certificates: Vec::new(),
            client_ca: None,
            client_certificates: ClientCertificates::Required,
            client_user: ClientUser::Off,
            handshakes_per_s: 2_000,
            kernel: KernelTls::Auto,
        }
    }
}
