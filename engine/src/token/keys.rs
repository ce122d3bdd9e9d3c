//! Keys that verify tokens, each bound to the algorithms that it may be used with.
//!
//! Invariants: a key of one kind never verifies with an algorithm of another, whatever a token's header asks for; a key that is too
//! weak, or that no algorithm here takes, is refused when it is read and not when it is used.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::value::RawValue;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::limits::{JWKS_KEYS_MAX, KID_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};
use crate::settings::Secret;

/// One key.
pub(super) struct VerifyingKey {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

pub(super) const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
pub(super) const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
pub(super) const P256: &[Algorithm] = &[Algorithm::ES256];
pub(super) const P384: &[Algorithm] = &[Algorithm::ES384];
pub(super) const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// The first byte of a point that is given by both coordinates (SEC 1, section 2.3.3).
const POINT_UNCOMPRESSED: u8 = 4;

impl VerifyingKey {
    /// An HMAC key.
    pub(super) fn of_secret(secret: &Secret) -> Self {
        Self { key: DecodingKey::from_secret(secret.expose()), algorithms: HMAC }
    }

    /// Whether it may be used with this algorithm.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether `signature` (base64url) is this key's over `signed`. An algorithm that is not the key's is no signature.
    pub(super) fn has_signed(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.takes(algorithm)
            && crypto::verify(signature, signed.as_bytes(), &self.key, algorithm).unwrap_or(false)
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(format!("an RSA key of {bits} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken"));
        }
        let is_sound = exponent.len() <= 8 && exponent.last().is_some_and(|last| last % 2 == 1);
        if !is_sound || exponent == [1] {
            return Err("an RSA key with an exponent that is not sound".into());
        }
        Ok(Self { key: DecodingKey::from_rsa_raw_components(modulus, exponent), algorithms: RSA })
    }

    /// `point`: uncompressed, 0x04 and both coordinates.
    fn elliptic(point: &[u8]) -> Result<Self, String> {
        let (algorithms, parsed) = match point.len() {
            65 => (P256, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)),
            97 => (P384, ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)),
            _ => return Err("an elliptic key of a curve other than P-256 (ES256) and P-384 (ES384)".into()),
        };
        if point[0] != POINT_UNCOMPRESSED || parsed.is_err() {
            return Err("an elliptic key that is no point of its curve".into());
        }
        Ok(Self { key: DecodingKey::from_ec_der(point), algorithms })
    }

    fn ed25519(key: &[u8]) -> Result<Self, String> {
        if key.len() != 32 {
            return Err("an Ed25519 key that has not 32 bytes".into());
        }
        Ok(Self { key: DecodingKey::from_ed_der(key), algorithms: ED25519 })
    }

    /// A public key in the form of RFC 5280, SubjectPublicKeyInfo.
    fn of_public_info(der: &[u8]) -> Result<Self, String> {
        const ED25519_OID: &str = "1.3.101.112";
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| "no public key in it".to_owned())?;
        if info.algorithm.algorithm.to_id_string() == ED25519_OID {
            return Self::ed25519(&info.subject_public_key.data);
        }
        match info.parsed() {
            Ok(PublicKey::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            Ok(PublicKey::EC(point)) => Self::elliptic(point.data()),
            _ => Err("a key that is neither RSA, P-256, P-384 nor Ed25519".into()),
        }
    }
}

/// Reads the public keys (PEM, `PUBLIC KEY`) of a file's content.
pub(super) fn of_pem(content: &[u8]) -> Result<Vec<VerifyingKey>, String> {
    let keys = SubjectPublicKeyInfoDer::pem_slice_iter(content)
        .map(|block| {
            let block = block.map_err(|error| format!("no PEM: {error}"))?;
            VerifyingKey::of_public_info(&block)
        })
        .collect::<Result<Vec<_>, String>>()?;
    if keys.is_empty() {
        return Err(without_keys(content));
    }
    Ok(keys)
}

/// What to do about a file without public keys.
fn without_keys(content: &[u8]) -> String {
    let holds = |words: &str| content.windows(words.len()).any(|part| part == words.as_bytes());
    let cure = match () {
        () if holds("PRIVATE KEY-----") => {
            "but a private key, which is the application's alone: openssl pkey -in FILE -pubout makes the public one"
        }
        () if holds("BEGIN CERTIFICATE-----") => {
            "but a certificate: openssl x509 -in FILE -noout -pubkey makes its public key"
        }
        () if holds("RSA PUBLIC KEY-----") => {
            "but a key in another form: openssl rsa -RSAPublicKey_in -in FILE -pubout makes this one"
        }
        () if content.trim_ascii_start().starts_with(b"{") => {
            "but JSON: a key set (JWKS) is named by jwks_file"
        }
        () => "(PEM: -----BEGIN PUBLIC KEY-----)",
    };
    format!("it holds no PUBLIC KEY {cure}")
}

/// A set of public keys that tokens choose from by `kid` (RFC 7517).
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<(Box<str>, VerifyingKey)>,
    /// Keys of the set that are of no use here.
    pub(super) skipped: usize,
}

impl KeySet {
    /// Those that a token with this `kid` and algorithm may be signed with.
    pub(super) fn find<'k>(
        &'k self,
        kid: &'k str,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'k VerifyingKey> {
        let named = self.keys.iter().filter(move |(name, _)| **name == *kid).map(|(_, key)| key);
        named.filter(move |key| key.takes(algorithm))
    }

    /// Whether any key has this name, whatever it is good for.
    pub(super) fn names(&self, kid: &str) -> bool {
        self.keys.iter().any(|(name, _)| **name == *kid)
    }

    /// The names of all keys.
    pub(super) fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(kid, _)| &**kid)
    }

    /// Reads a JSON Web Key Set. Keys that are of no use here are left out: of another kind, for encryption, without a name.
    ///
    /// # Errors
    /// It is no such set, has too many keys, or none that is of use.
    pub(super) fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        if json.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Err("no key set, but PEM: public keys are named by public_key_files".into());
        }
        let set: Set<'_> = serde_json::from_slice(json)
            .map_err(|error| format!("no key set (JSON with a list of keys, RFC 7517): {error}"))?;
        if set.keys.len() > JWKS_KEYS_MAX {
            return Err(format!("{} keys; {JWKS_KEYS_MAX} are taken", set.keys.len()));
        }
        let total = set.keys.len();
        let usable = |raw: &&RawValue| serde_json::from_str::<Jwk>(raw.get()).ok()?.key();
        let keys: Vec<_> = set.keys.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(format!(
                "none of its {total} keys is of use: RSA, P-256, P-384 or Ed25519, for signatures, with kid"
            ));
        }
        Ok(Self { skipped: total - keys.len(), keys })
    }
}

/// RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<Box<str>>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// `None`: of no use. A symmetric key has no place in a set that anybody may read.
    fn key(self) -> Option<(Box<str>, VerifyingKey)> {
        let kid = self.kid.as_ref().filter(|kid| !kid.is_empty() && kid.len() <= KID_BYTES_MAX)?.clone();
        let is_for_signatures = self.usage.as_ref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let part = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_ref()?).ok();
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => VerifyingKey::rsa(&part(&self.n)?, &part(&self.e)?),
            ("EC", Some("P-256" | "P-384")) => VerifyingKey::elliptic(
                &[&[POINT_UNCOMPRESSED][..], &part(&self.x)?, &part(&self.y)?].concat(),
            ),
            ("OKP", Some("Ed25519")) => VerifyingKey::ed25519(&part(&self.x)?),
            _ => return None,
        };
        let mut key = key.ok().filter(|_| is_for_signatures)?;
        if let Some(name) = &self.alg {
            let place = key.algorithms.iter().position(|algorithm| name.parse() == Ok(*algorithm))?;
            key.algorithms = &key.algorithms[place..=place];
        }
        Some((kid, key))
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
