//! Keys of every kind, made afresh, and what an issuer does with them: for tests.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// A private key.
pub(crate) use super::signing::SigningKey as Issuer;

impl Issuer {
    pub(crate) fn rsa(size: KeySize) -> Self {
        Self::Rsa(RsaKeyPair::generate(size).expect("made"))
    }

    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("made"))
    }

    pub(crate) fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("made"))
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect("made"))
    }

    /// A token under any header, signed as `algorithm` says (of the header, nothing is asked).
    pub(crate) fn sign(&self, algorithm: &str, header: &Value, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(&header.to_string()), part(claims));
        let algorithm = algorithm.parse().unwrap_or(Algorithm::RS512);
        let signature = self.signature(algorithm, signed.as_bytes()).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token as an issuer makes it.
    pub(crate) fn token(&self, algorithm: &str, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({ "typ": "JWT", "alg": algorithm });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        self.sign(algorithm, &header, &claims.to_string())
    }

    /// The public key as PEM.
    pub(crate) fn pem(&self) -> String {
        let der = match self {
            Self::Rsa(key) => key.public_key().as_der().expect("encoded").as_ref().to_vec(),
            Self::P256(key) | Self::P384(key) => {
                key.public_key().as_der().expect("encoded").as_ref().to_vec()
            }
            Self::Ed25519(key) => key.public_key().as_der().expect("encoded").as_ref().to_vec(),
            Self::Secret(_) => panic!("a secret has no public half"),
        };
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// The public key as a JSON Web Key.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({
                    "kty": "RSA", "kid": kid, "use": "sig",
                    "n": part(n.big_endian_without_leading_zero()),
                    "e": part(e.big_endian_without_leading_zero()),
                })
            }
            Self::P256(key) | Self::P384(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": crv, "kid": kid, "x": part(x), "y": part(y) })
            }
            Self::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": part(key.public_key().as_ref()) })
            }
            Self::Secret(_) => panic!("a secret has no public half"),
        }
    }
}

/// A token signed with an HMAC secret.
pub(crate) fn with_secret(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).expect("signed")
}

/// A file that is gone with its test.
pub(crate) struct File(PathBuf);

impl File {
    pub(crate) fn with(content: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roadstead-keys-{}-{number}", std::process::id()));
        fs::write(&path, content).expect("written");
        Self(path)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
