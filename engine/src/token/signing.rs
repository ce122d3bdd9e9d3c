//! Private keys and secrets, and what they sign: for the command line and for tests. A node needs none of it but its secrets.
//!
//! Invariant: a key signs only with the algorithms that a node takes from keys of its kind.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;

use super::keys::{ED25519, HMAC, P256, P384, RSA};
use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};
use crate::settings::Secret;

/// What signs.
pub(crate) enum SigningKey {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A private key in PEM: PKCS #8, PKCS #1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    fn of_pem(content: &[u8]) -> Result<Self, String> {
        let der = PrivateKeyDer::from_pem_slice(content)
            .map_err(|error| format!("it holds no private key in PEM, or one with a password: {error}"))?;
        let bytes = der.secret_der();
        let elliptic = |algorithm| EcdsaKeyPair::from_private_key_der(algorithm, bytes);
        let rsa = match &der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes),
            _ => RsaKeyPair::from_pkcs8(bytes),
        };
        if let Ok(key) = rsa {
            let bits = key.public_modulus_len() * 8;
            if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                return Err(format!(
                    "an RSA key of {bits} bits; nodes take {RSA_BITS_MIN} to {RSA_BITS_MAX}"
                ));
            }
            return Ok(Self::Rsa(key));
        }
        if let Ok(key) = elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING) {
            return Ok(Self::P256(key));
        }
        if let Ok(key) = elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING) {
            return Ok(Self::P384(key));
        }
        // Keys that openssl makes come without the public half.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
            .map(Self::Ed25519)
            .map_err(|_| "a key that is neither RSA, P-256, P-384 nor Ed25519".into())
    }

    /// Those that it may sign with, the usual one first.
    fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::Secret(_) => HMAC,
            Self::Rsa(_) => RSA,
            Self::P256(_) => P256,
            Self::P384(_) => P384,
            Self::Ed25519(_) => ED25519,
        }
    }

    /// The signature of `signed`. An elliptic key has one way to sign; with others the algorithm says which digest is signed.
    pub(super) fn signature(&self, algorithm: Algorithm, signed: &[u8]) -> Result<Vec<u8>, SigningError> {
        use Algorithm as A;
        let random = SystemRandom::new();
        Ok(match self {
            Self::Secret(secret) => {
                let digest = match algorithm {
                    A::HS384 => hmac::HMAC_SHA384,
                    A::HS512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(digest, secret), signed).as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let encoding = match algorithm {
                    A::RS384 => &signature::RSA_PKCS1_SHA384,
                    A::RS512 => &signature::RSA_PKCS1_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut made = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, signed, &mut made).map_err(|_| SigningError)?;
                made
            }
            Self::P256(key) | Self::P384(key) => {
                key.sign(&random, signed).map_err(|_| SigningError)?.as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(signed).as_ref().to_vec(),
        })
    }
}

/// The library could not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningError;

impl fmt::Display for SigningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key does not sign")
    }
}

impl std::error::Error for SigningError {}

/// A key with its algorithm and its name.
pub struct Signer {
    key: SigningKey,
    algorithm: Algorithm,
    name: Option<String>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Signer {
    fn new(key: SigningKey) -> Self {
        Self { algorithm: key.algorithms()[0], key, name: None }
    }

    /// Signs with HS256.
    #[must_use]
    pub fn with_secret(secret: &Secret) -> Self {
        Self::new(SigningKey::Secret(secret.expose().to_vec()))
    }

    /// Signs with the private key (PEM) in a file's content: RS256, ES256, ES384 or EdDSA, by its kind.
    ///
    /// # Errors
    /// It holds none that a node would take the signatures of.
    pub fn with_pem(content: &[u8]) -> Result<Self, String> {
        SigningKey::of_pem(content).map(Self::new)
    }

    /// The same key with another algorithm.
    ///
    /// # Errors
    /// The key is not for it; which it is for.
    pub fn using(mut self, algorithm: &str) -> Result<Self, String> {
        let algorithms = self.key.algorithms();
        let found = algorithm.parse().ok().filter(|algorithm| algorithms.contains(algorithm));
        self.algorithm = found.ok_or_else(|| {
            let names: Vec<_> = algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            format!("the key signs with {}", names.join(", "))
        })?;
        Ok(self)
    }

    /// Puts the key's name into tokens (`kid`), by which it is found in a key set.
    #[must_use]
    pub fn named(mut self, name: Option<String>) -> Self {
        self.name = name;
        self
    }

    /// A token (RFC 7515 section 7.1) that says `claims`, a JSON object.
    ///
    /// # Errors
    /// The library refused to sign.
    pub(super) fn sign(&self, claims: &str) -> Result<String, SigningError> {
        #[derive(Serialize)]
        struct Header<'a> {
            typ: &'a str,
            alg: Algorithm,
            #[serde(skip_serializing_if = "Option::is_none")]
            kid: Option<&'a str>,
        }
        let header = Header { typ: "JWT", alg: self.algorithm, kid: self.name.as_deref() };
        let header = serde_json::to_string(&header).map_err(|_| SigningError)?;
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.signature(self.algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
