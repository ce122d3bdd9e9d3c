//! Judges tokens: who has signed them, then what they say.
//!
//! Invariants: an algorithm belongs to a key and is never taken from the token's header, which only chooses among keys; the time
//! is an argument; a verifier never changes, another one takes its place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::claims::{self, Circumstances, ConnectionClaims, SubscriptionClaims};
use super::desk::{Claims, Purpose};
use super::expected::Expected;
use super::keys::{self, KeySet, VerifyingKey};
use super::remote::{Found, RemoteKeys, Remotes, Resume, Wait};
use super::{Flaw, TokenError, download, file};
use crate::limits::{KID_BYTES_MAX, PUBLIC_KEYS_MAX, TOKEN_BYTES_MAX};
use crate::settings::{Settings, Token};

/// Checks connection and subscription tokens.
#[derive(Debug)]
pub struct Verifier {
    connection: Authority,
    /// `None`: they are signed as connection tokens are.
    subscription: Option<Authority>,
}

/// Why keys cannot be used.
#[derive(Debug)]
pub struct KeyError {
    /// The setting that names them.
    pub setting: String,
    /// Its value, or the one of its values that is meant.
    pub value: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.setting, self.value, self.reason)
    }
}

impl std::error::Error for KeyError {}

impl Verifier {
    /// Reads the keys that the settings name; `remotes` are those that are fetched.
    ///
    /// # Errors
    /// A file that cannot be read or holds no key that is of use; named.
    pub fn load(settings: &Settings, remotes: &Remotes) -> Result<Self, KeyError> {
        let connection = Authority::load("token", &settings.token, remotes.connection.as_ref())?;
        let own = &settings.subscription_token;
        let subscription = own
            .enabled
            .then(|| Authority::load("subscription_token", &own.token, remotes.subscription.as_ref()))
            .transpose()?;
        Ok(Self { connection, subscription })
    }

    /// Whether any connection token can be accepted.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.connection.has_key()
    }

    /// Whether a token is to be judged elsewhere: with a public key that takes as long as a hundred messages.
    #[must_use]
    pub fn is_slow(&self, purpose: Purpose, token: &str) -> bool {
        self.authority(purpose).has_public_key()
            && Parts::of(token).is_ok_and(|parts| parts.header.alg.family() != AlgorithmFamily::Hmac)
    }

    /// Checks a token for what it is shown for; see [`Self::connection`].
    ///
    /// # Errors
    /// As [`Self::connection`].
    pub fn judge(
        &self,
        purpose: Purpose,
        token: &str,
        now_s: u64,
        ignores_time: bool,
    ) -> Result<Claims, TokenError> {
        match purpose {
            Purpose::Connection => self.connection(token, now_s, ignores_time).map(Claims::Connection),
            Purpose::Subscription => self.subscription(token, now_s, ignores_time).map(Claims::Subscription),
        }
    }

    /// Checks a connection token at Unix time `now_s`. With `ignores_time` (development mode) a token of any age is
    /// good, and its connection never expires.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`]: the keys are. Else the peer is to blame. Nothing is changed.
    pub fn connection(
        &self,
        token: &str,
        now_s: u64,
        ignores_time: bool,
    ) -> Result<ConnectionClaims, TokenError> {
        let authority = &self.connection;
        claims::of_connection(&authority.open(token, now_s)?, &authority.at(now_s, ignores_time))
    }

    /// Checks a subscription token, likewise. Whether its channel, user and client are those of whoever shows it is the
    /// caller's to look at.
    ///
    /// # Errors
    /// As [`Self::connection`].
    pub fn subscription(
        &self,
        token: &str,
        now_s: u64,
        ignores_time: bool,
    ) -> Result<SubscriptionClaims, TokenError> {
        let authority = self.of_subscriptions();
        claims::of_subscription(&authority.open(token, now_s)?, &authority.at(now_s, ignores_time))
    }

    /// Waits for the key of a token that is [`TokenError::Unavailable`]; what `resume` does comes when it may be there.
    pub(super) fn wait(&self, purpose: Purpose, token: &str, now_s: u64, resume: Resume) -> Wait {
        let remote = self.authority(purpose).remote.as_ref();
        match (remote, Parts::of(token).as_ref().map(Parts::kid)) {
            (Some(remote), Ok(Some(kid))) => remote.wait(kid, now_s, resume),
            _ => Wait::Refused,
        }
    }

    fn authority(&self, purpose: Purpose) -> &Authority {
        match purpose {
            Purpose::Connection => &self.connection,
            Purpose::Subscription => self.of_subscriptions(),
        }
    }

    fn of_subscriptions(&self) -> &Authority {
        self.subscription.as_ref().unwrap_or(&self.connection)
    }
}

/// Whose tokens count for a purpose.
struct Authority {
    /// With the Unix time at which each ends, seconds.
    secrets: Vec<(VerifyingKey, Option<u64>)>,
    public: Vec<VerifyingKey>,
    /// From a file.
    set: KeySet,
    /// From an address.
    remote: Option<Arc<RemoteKeys>>,
    audience: Option<Expected>,
    issuer: Option<Expected>,
}

impl Authority {
    fn load(section: &str, token: &Token, remote: Option<&Arc<RemoteKeys>>) -> Result<Self, KeyError> {
        let mut secrets = Vec::new();
        secrets.extend(token.hmac_secret.as_ref().map(|secret| (VerifyingKey::of_secret(secret), None)));
        let until_s = Some(u64::from(token.hmac_previous_until_s)).filter(|until_s| *until_s > 0);
        let previous = token.hmac_previous_secret.as_ref();
        secrets.extend(previous.map(|secret| (VerifyingKey::of_secret(secret), until_s)));
        let mut public = Vec::new();
        let problem = |key: &str, value: &str, reason: String| KeyError {
            setting: format!("{section}.{key}"),
            value: value.into(),
            reason,
        };
        let of_file = |key: &str, path: &Path, reason| problem(key, &path.display().to_string(), reason);
        for path in token.public_key_files.iter().map(Path::new) {
            let read = file::read(path, keys::of_pem);
            public.extend(read.map_err(|reason| of_file("public_key_files", path, reason))?);
        }
        if public.len() > PUBLIC_KEYS_MAX {
            let reason = format!("{} keys; {PUBLIC_KEYS_MAX} are taken", public.len());
            return Err(problem("public_key_files", &token.public_key_files.join(", "), reason));
        }
        let set = match &token.jwks_file {
            Some(path) => {
                file::read(path, KeySet::read).map_err(|reason| of_file("jwks_file", path, reason))?
            }
            None => KeySet::default(),
        };
        if let Some(path) = &token.jwks_ca_file {
            download::check_authorities(path).map_err(|reason| of_file("jwks_ca_file", path, reason))?;
        }
        let expected = |key: &str, name: &Option<String>, pattern: &Option<String>| {
            Expected::new(name.as_deref(), pattern.as_deref())
                .map_err(|why| problem(key, pattern.as_deref().unwrap_or_default(), why))
        };
        let audience = expected("audience_regex", &token.audience, &token.audience_regex)?;
        let issuer = expected("issuer_regex", &token.issuer, &token.issuer_regex)?;
        Ok(Self { secrets, public, set, remote: remote.cloned(), audience, issuer })
    }

    fn has_key(&self) -> bool {
        !self.secrets.is_empty() || self.has_public_key()
    }

    fn has_public_key(&self) -> bool {
        !self.public.is_empty() || self.remote.is_some() || self.set.kids().next().is_some()
    }

    fn at(&self, now_s: u64, ignores_time: bool) -> Circumstances<'_> {
        let (audience, issuer) = (self.audience.as_ref(), self.issuer.as_ref());
        Circumstances { now_s, ignores_time, audience, issuer }
    }

    /// The payload, if somebody we know has signed it.
    fn open(&self, token: &str, now_s: u64) -> Result<Vec<u8>, TokenError> {
        let parts = Parts::of(token)?;
        let mut tried = false;
        let mut has_signed = |key: &VerifyingKey| {
            tried |= key.takes(parts.header.alg);
            key.has_signed(parts.header.alg, parts.signed, parts.signature)
        };
        let is_current = |until_s: &Option<u64>| until_s.is_none_or(|until_s| now_s < until_s);
        let of_secrets =
            self.secrets.iter().filter(|(_, until_s)| is_current(until_s)).any(|(key, _)| has_signed(key));
        if of_secrets || self.public.iter().any(&mut has_signed) {
            return parts.payload();
        }
        if let Some(kid) = parts.kid() {
            if self.set.find(kid, parts.header.alg).any(&mut has_signed) {
                return parts.payload();
            }
            match self.remote.as_ref().map(|remote| remote.find(kid, now_s)) {
                Some(Found::Keys(set)) if set.find(kid, parts.header.alg).any(&mut has_signed) => {
                    return parts.payload();
                }
                // A key of ours may have the same name.
                Some(Found::Later) if !self.set.names(kid) => return Err(TokenError::Unavailable),
                Some(Found::Keys(_) | Found::Later | Found::Nothing) | None => {}
            }
        }
        Err(TokenError::Invalid(if tried { Flaw::Signature } else { Flaw::Key }))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("has_key", &self.has_key()).finish_non_exhaustive()
    }
}

/// RFC 7515 section 4, as far as it is of use here.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    #[serde(default)]
    kid: Option<String>,
    /// RFC 7515 section 4.1.11: extensions that must be understood. None is understood here.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// A parameter that must not be there counts whatever its value is, `null` included.
fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// A token, taken apart (RFC 7515 section 7.1).
struct Parts<'t> {
    header: Header,
    payload: &'t str,
    /// Header and payload, as they were signed.
    signed: &'t str,
    signature: &'t str,
}

const MALFORMED: TokenError = TokenError::Invalid(Flaw::Malformed);

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(MALFORMED);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
        if payload.contains('.') {
            return Err(MALFORMED);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| MALFORMED)?;
        let header: Header = claims::object(&header).ok_or(MALFORMED)?;
        if header.crit {
            return Err(MALFORMED);
        }
        Ok(Self { header, payload, signed, signature })
    }

    /// The name of the public key that it says it was signed with.
    fn kid(&self) -> Option<&str> {
        let is_public = self.header.alg.family() != AlgorithmFamily::Hmac;
        self.header.kid.as_deref().filter(|kid| is_public && kid.len() <= KID_BYTES_MAX)
    }

    fn payload(&self) -> Result<Vec<u8>, TokenError> {
        URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| MALFORMED)
    }
}
