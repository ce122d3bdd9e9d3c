//! The cluster's secrets: what is known to every node of a fleet and to nobody else.
//!
//! Invariants: shows no secret, in no form of printing; of several keys the first seals and proves and all open and
//! verify, so that keys are changed while the fleet runs; no two uses of a key share a sub-key.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::limits::CLUSTER_KEYS_MAX;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Separates these sub-keys from those of anything else that is given the same secret.
const SALT: &[u8] = b"roadstead cluster key 1";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of the name of a key for session tickets.
pub const TICKET_NAME_BYTES: usize = 16;

/// A key for the TLS session tickets of one period.
pub struct TicketKey {
    name: [u8; TICKET_NAME_BYTES],
    secret: [u8; 32],
}

/// The keys of a cluster, in the order of the file.
#[derive(Clone)]
pub struct ClusterKeys {
    keys: Vec<ClusterKey>,
}

/// One of them. Only what is derived from it is kept.
#[derive(Clone)]
pub(crate) struct ClusterKey {
    /// Names the key in datagrams without telling anything about it.
    pub(crate) id: [u8; 4],
    root: Prk,
    link: hmac::Key,
}

/// Why a text is no list of keys. The operator's mistake; shown to him, without a key in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadKeys {
    /// No line holds a key.
    Empty,
    /// A line is not base64.
    Base64 {
        /// Which line, from 1.
        line: usize,
    },
    /// A line's key has another length than 32 bytes.
    Length {
        /// Which line, from 1.
        line: usize,
        /// Bytes it has.
        bytes: usize,
    },
    /// A line repeats an earlier one.
    Repeated {
        /// Which line, from 1.
        line: usize,
    },
    /// More keys than [`CLUSTER_KEYS_MAX`].
    Many {
        /// The line of the first that is too many.
        line: usize,
    },
}

/// Lengths as HKDF wants them.
struct Bytes(usize);

impl ClusterKeys {
    /// Reads a key file: one key a line, 32 bytes in base64, padding optional; blank lines and lines that begin with `#` are
    /// skipped.
    ///
    /// # Errors
    /// [`BadKeys`]: names the line and the cure.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut keys: Vec<ClusterKey> = Vec::new();
        for (line, content) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let secret = BASE64.decode(content).map_err(|_| BadKeys::Base64 { line })?;
            if secret.len() != KEY_BYTES {
                return Err(BadKeys::Length { line, bytes: secret.len() });
            }
            let key = ClusterKey::new(&secret);
            if keys.iter().any(|known| known.id == key.id) {
                return Err(BadKeys::Repeated { line });
            }
            if keys.len() == CLUSTER_KEYS_MAX {
                return Err(BadKeys::Many { line });
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(BadKeys::Empty) } else { Ok(Self { keys }) }
    }

    /// HMAC-SHA256 over `label` and `transcript`, under the first key's sub-key for links. Different labels prove
    /// different things.
    #[must_use]
    pub fn prove(&self, label: &[u8], transcript: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.first().link, &labelled(label, transcript));
        let mut proof = [0; 32];
        proof.copy_from_slice(tag.as_ref());
        proof
    }

    /// Whether `proof` was made by [`ClusterKeys::prove`] with any of these keys. Takes the same time for every
    /// wrong proof.
    #[must_use]
    pub fn verifies(&self, label: &[u8], transcript: &[u8], proof: &[u8; 32]) -> bool {
        let message = labelled(label, transcript);
        self.keys.iter().fold(false, |any, key| any | hmac::verify(&key.link, &message, proof).is_ok())
    }

    /// The key that seals session tickets in the period of this number.
    #[must_use]
    pub fn ticket_key(&self, period: u64) -> TicketKey {
        let key = self.first();
        TicketKey { name: key.ticket_name(period), secret: key.ticket_secret(period) }
    }

    /// The key of this name, if one of these keys gives it in the period of this number. Names are no secret.
    #[must_use]
    pub fn ticket_key_named(&self, period: u64, name: &[u8; TICKET_NAME_BYTES]) -> Option<TicketKey> {
        let key = self.keys.iter().find(|key| key.ticket_name(period) == *name)?;
        Some(TicketKey { name: *name, secret: key.ticket_secret(period) })
    }

    /// The key that seals and proves.
    pub(crate) fn first(&self) -> &ClusterKey {
        self.keys.first().expect("parse gives at least one key")
    }

    /// The key of this id.
    pub(crate) fn by_id(&self, id: [u8; 4]) -> Option<&ClusterKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl ClusterKey {
    fn new(secret: &[u8]) -> Self {
        let root = Salt::new(HKDF_SHA256, SALT).extract(secret);
        let mut id = [0; 4];
        expand(&root, &[b"id"], &mut id);
        let mut link = [0; 32];
        expand(&root, &[b"link"], &mut link);
        Self { id, link: hmac::Key::new(hmac::HMAC_SHA256, &link), root }
    }

    fn ticket_name(&self, period: u64) -> [u8; TICKET_NAME_BYTES] {
        let mut name = [0; TICKET_NAME_BYTES];
        expand(&self.root, &[b"ticket name", &period.to_le_bytes()], &mut name);
        name
    }

    fn ticket_secret(&self, period: u64) -> [u8; 32] {
        let mut secret = [0; 32];
        expand(&self.root, &[b"ticket key", &period.to_le_bytes()], &mut secret);
        secret
    }

    /// The sub-key for datagrams that `context` describes; its parts are of fixed length or carry it.
    pub(crate) fn datagram_key(&self, context: &[&[u8]]) -> [u8; 32] {
        let mut info = vec![b"datagram".as_slice()];
        info.extend_from_slice(context);
        let mut key = [0; 32];
        expand(&self.root, &info, &mut key);
        key
    }
}

impl TicketKey {
    /// Stands in each ticket, so that its key is found.
    #[must_use]
    pub fn name(&self) -> &[u8; TICKET_NAME_BYTES] {
        &self.name
    }

    /// The secret itself, for the cipher.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

/// Both in one, so that no other pair gives the same bytes.
fn labelled(label: &[u8], transcript: &[u8]) -> Vec<u8> {
    [&(label.len() as u64).to_le_bytes(), label, transcript].concat()
}

fn expand(root: &Prk, info: &[&[u8]], out: &mut [u8]) {
    let okm = root.expand(info, Bytes(out.len())).expect("HKDF gives up to 8,160 bytes");
    okm.fill(out).expect("as many bytes as were asked for");
}

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKeys")
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cure = "make one with: roadstead cluster-key";
        match self {
            Self::Empty => write!(f, "holds no key; {cure}"),
            Self::Base64 { line } => write!(f, "line {line} is not base64; {cure}"),
            Self::Length { line, bytes } => {
                write!(f, "line {line} holds {bytes} bytes, a key has {KEY_BYTES}; {cure}")
            }
            Self::Repeated { line } => write!(f, "line {line} repeats an earlier key; remove it"),
            Self::Many { line } => write!(
                f,
                "line {line} is one key too many, at most {CLUSTER_KEYS_MAX} are allowed; remove the oldest"
            ),
        }
    }
}

impl std::error::Error for BadKeys {}

#[cfg(test)]
mod tests {
    use super::*;

    /// 32 times the byte 1, 2 and 3.
    const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    const THREE: &str = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

    fn keys(text: &str) -> ClusterKeys {
        ClusterKeys::parse(text).expect("keys")
    }

    #[test]
    fn key_files_are_checked() {
        let unpadded = ONE.trim_end_matches('=');
        let nine: Vec<String> = (1..=9u8)
            .map(|byte| base64::engine::general_purpose::STANDARD.encode([byte; KEY_BYTES]))
            .collect();
        let cases: &[(&str, Result<usize, BadKeys>)] = &[
            (ONE, Ok(1)),
            (unpadded, Ok(1)),
            (&format!("# the new one\r\n  {ONE}  \n\n\t\n# the old one\n{TWO}\n"), Ok(2)),
            (&nine[..8].join("\n"), Ok(8)),
            (&nine.join("\n"), Err(BadKeys::Many { line: 9 })),
            ("", Err(BadKeys::Empty)),
            ("# nothing\n\n", Err(BadKeys::Empty)),
            (&format!("{ONE}\nsecret!"), Err(BadKeys::Base64 { line: 2 })),
            (&format!("\n{ONE} # mine"), Err(BadKeys::Base64 { line: 2 })),
            ("AQEB", Err(BadKeys::Length { line: 1, bytes: 3 })),
            (&format!("{ONE}\n{unpadded}"), Err(BadKeys::Repeated { line: 2 })),
        ];
        for (text, expected) in cases {
            assert_eq!(ClusterKeys::parse(text).map(|keys| keys.keys.len()), *expected, "{text:?}");
        }
    }

    #[test]
    fn any_key_verifies_and_the_first_proves() {
        let (old, both, new) = (keys(ONE), keys(&format!("{TWO}\n{ONE}")), keys(TWO));
        let stranger = keys(THREE);
        for (prover, verifier, expected) in [
            (&old, &old, true),
            (&old, &both, true),
            (&both, &new, true),
            (&both, &old, false),
            (&stranger, &both, false),
        ] {
            let proof = prover.prove(b"dialler", b"transcript");
            assert_eq!(verifier.verifies(b"dialler", b"transcript", &proof), expected);
            assert!(!verifier.verifies(b"acceptor", b"transcript", &proof), "a label proves one thing");
            assert!(
                !verifier.verifies(b"dialle", b"rtranscript", &proof),
                "labels and transcripts do not blur"
            );
            assert!(!verifier.verifies(b"dialler", b"transcript!", &proof));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", keys(ONE)), "ClusterKeys");
    }

    #[test]
    fn sub_keys_differ_by_context() {
        let keys = keys(&format!("{ONE}\n{TWO}"));
        let (one, two) = (&keys.keys[0], &keys.keys[1]);
        assert_ne!(one.id, two.id);
        assert_ne!(one.datagram_key(&[b"a"]), one.datagram_key(&[b"b"]));
        assert_ne!(one.datagram_key(&[b"a"]), two.datagram_key(&[b"a"]));
        assert!(keys.by_id(two.id).is_some() && keys.by_id([0; 4]).is_none());
    }

    #[test]
    fn keys_of_tickets_follow_from_key_and_period() {
        let (old, both) = (keys(ONE), keys(&format!("{TWO}\n{ONE}")));
        let key = old.ticket_key(7);
        assert_ne!(key.secret(), old.ticket_key(8).secret());
        assert_ne!(key.secret(), both.ticket_key(7).secret(), "the first key seals");
        let found = both.ticket_key_named(7, key.name()).expect("all open");
        assert_eq!(found.secret(), key.secret());
        assert!(both.ticket_key_named(8, key.name()).is_none());
        assert!(!format!("{key:?}").contains("secret"));
    }
}
