//! What tokens say: the claims of connection and subscription tokens (client-protocol section 17), read and judged.
//!
//! Invariants: nothing is read before the signature was verified; a claim that comes twice makes the token invalid; the order is
//! audience and issuer, forbidden and missing claims, time. Time is an argument.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::expected::Expected;
use super::{Flaw, TokenError};

/// What a valid connection token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionClaims {
    /// The user (`sub`); empty: anonymous.
    pub user: String,
    /// Names this token among all (`jti`), so that it can be taken back.
    pub id: Option<String>,
    /// When it was made (`iat`), Unix seconds.
    pub issued_at_s: Option<u64>,
    /// JSON that others see with this connection, without line feeds.
    pub info: Option<Vec<u8>>,
    /// When the connection expires, Unix seconds: `expire_at`, else `exp`; `None`: never.
    pub expires_at_s: Option<u64>,
    /// The channels to which the server subscribes the connection (`subs`, else `channels`), each once.
    pub channels: Vec<ServerChannel>,
}

/// A channel to which a connection token subscribes its bearer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerChannel {
    /// The name.
    pub channel: String,
    /// JSON for the client, without line feeds.
    pub data: Option<Vec<u8>>,
    /// JSON that others see with this subscription, without line feeds.
    pub info: Option<Vec<u8>>,
}

/// What a valid subscription token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionClaims {
    /// The channel that it opens; never empty.
    pub channel: String,
    /// The user that may use it (`sub`); empty: an anonymous one.
    pub user: String,
    /// The only connection that may use it, if it names one.
    pub client: Option<String>,
    /// Names this token among all (`jti`), so that it can be taken back.
    pub id: Option<String>,
    /// When it was made (`iat`), Unix seconds.
    pub issued_at_s: Option<u64>,
    /// JSON that others see with this subscription, without line feeds.
    pub info: Option<Vec<u8>>,
    /// JSON for the client, without line feeds.
    pub data: Option<Vec<u8>>,
    /// When the subscription expires, Unix seconds: `expire_at`, else `exp`; `None`: never.
    pub expires_at_s: Option<u64>,
}

/// What a token must fit besides its signature.
pub(super) struct Circumstances<'r> {
    pub(super) now_s: u64,
    /// Development mode: a token of any age is good, and what it admits to never ends.
    pub(super) ignores_time: bool,
    pub(super) audience: Option<&'r Expected>,
    pub(super) issuer: Option<&'r Expected>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    iat: Option<Time>,
    #[serde(default)]
    exp: Option<Time>,
    #[serde(default)]
    nbf: Option<Time>,
    #[serde(default)]
    expire_at: Option<Time>,
    #[serde(default)]
    aud: Option<Audience>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    info: Option<Box<RawValue>>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    b64data: Option<String>,
    #[serde(default, deserialize_with = "present")]
    channel: Option<Box<RawValue>>,
    #[serde(default)]
    client: Option<String>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    subs: Option<BTreeMap<String, ChannelOptions>>,
}

#[derive(Deserialize)]
struct ChannelOptions {
    #[serde(default)]
    info: Option<Box<RawValue>>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    b64data: Option<String>,
}

/// A claim that must not be there counts whatever its value is, `null` included.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

/// RFC 7519 section 4.1.3: one audience or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, expected: &Expected) -> bool {
        match self {
            Self::One(one) => expected.fits(one),
            Self::Several(several) => several.iter().any(|one| expected.fits(one)),
        }
    }
}

/// RFC 7519 section 2, NumericDate: seconds, perhaps with a fraction.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Time {
    Whole(u64),
    Fraction(f64),
}

impl Time {
    /// Whole seconds, rounded down; before 1970 is 0. A float saturates when it is cast.
    fn seconds(self) -> u64 {
        match self {
            Self::Whole(seconds) => seconds,
            Self::Fraction(seconds) => seconds as u64,
        }
    }
}

/// Reads the payload of a connection token whose signature is good.
pub(super) fn of_connection(payload: &[u8], at: &Circumstances<'_>) -> Result<ConnectionClaims, TokenError> {
    let claims = read(payload, at)?;
    if claims.channel.is_some() {
        return Err(TokenError::Invalid(Flaw::Claims));
    }
    let info = json(claims.b64info.as_deref(), claims.info.as_deref())?;
    let subs = claims.subs.as_ref().filter(|subs| !subs.is_empty());
    let channels = match subs {
        Some(subs) => subs.iter().map(server_channel).collect::<Result<_, _>>()?,
        None => plain_channels(claims.channels.as_deref().unwrap_or_default()),
    };
    let expires_at_s = claims.expiry(at)?;
    Ok(ConnectionClaims {
        user: claims.sub.unwrap_or_default(),
        id: claims.jti,
        issued_at_s: claims.iat.map(Time::seconds),
        info,
        expires_at_s,
        channels,
    })
}

/// Reads the payload of a subscription token whose signature is good.
pub(super) fn of_subscription(
    payload: &[u8],
    at: &Circumstances<'_>,
) -> Result<SubscriptionClaims, TokenError> {
    let claims = read(payload, at)?;
    let channel = claims.channel.as_ref().and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let channel = channel.filter(|name| !name.is_empty()).ok_or(TokenError::Invalid(Flaw::Claims))?;
    let info = json(claims.b64info.as_deref(), claims.info.as_deref())?;
    let data = json(claims.b64data.as_deref(), claims.data.as_deref())?;
    let expires_at_s = claims.expiry(at)?;
    Ok(SubscriptionClaims {
        channel,
        user: claims.sub.unwrap_or_default(),
        client: claims.client.filter(|client| !client.is_empty()),
        id: claims.jti,
        issued_at_s: claims.iat.map(Time::seconds),
        info,
        data,
        expires_at_s,
    })
}

fn read(payload: &[u8], at: &Circumstances<'_>) -> Result<Claims, TokenError> {
    let claims: Claims = object(payload).ok_or(TokenError::Invalid(Flaw::Claims))?;
    if let Some(audience) = at.audience
        && !claims.aud.as_ref().is_some_and(|aud| aud.names(audience))
    {
        return Err(TokenError::Invalid(Flaw::Audience));
    }
    if let Some(issuer) = at.issuer
        && !claims.iss.as_ref().is_some_and(|iss| issuer.fits(iss))
    {
        return Err(TokenError::Invalid(Flaw::Issuer));
    }
    Ok(claims)
}

/// Reads a JSON object; a list of its values in their order is none.
pub(super) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok())?
}

impl Claims {
    /// Until when what the token admits to may last, if it may be used now.
    fn expiry(&self, at: &Circumstances<'_>) -> Result<Option<u64>, TokenError> {
        if at.ignores_time {
            return Ok(None);
        }
        let exp = self.exp.map(Time::seconds);
        let nbf = self.nbf.map(Time::seconds);
        if exp.is_some_and(|exp| at.now_s >= exp) || nbf.is_some_and(|nbf| at.now_s < nbf) {
            return Err(TokenError::Expired);
        }
        Ok(match self.expire_at.map(Time::seconds) {
            Some(0) => None,
            Some(expires_at_s) => Some(expires_at_s),
            None => exp,
        })
    }
}

fn server_channel((channel, options): (&String, &ChannelOptions)) -> Result<ServerChannel, TokenError> {
    Ok(ServerChannel {
        channel: channel.clone(),
        data: json(options.b64data.as_deref(), options.data.as_deref())?,
        info: json(options.b64info.as_deref(), options.info.as_deref())?,
    })
}

fn plain_channels(names: &[String]) -> Vec<ServerChannel> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let plain = |channel: &String| ServerChannel { channel: channel.clone(), ..ServerChannel::default() };
    sorted.into_iter().map(plain).collect()
}

/// The form in base64 wins over the plain one. Line feeds go: they separate messages, and inside valid JSON they stand only
/// between tokens.
fn json(base64: Option<&str>, plain: Option<&RawValue>) -> Result<Option<Vec<u8>>, TokenError> {
    const NO_JSON: TokenError = TokenError::Invalid(Flaw::Claims);
    let mut bytes = match (base64, plain) {
        (Some(base64), _) if !base64.is_empty() => {
            let bytes = STANDARD.decode(base64).map_err(|_| NO_JSON)?;
            // Strings are only checked to be UTF-8 where they are read as text.
            let text = std::str::from_utf8(&bytes).map_err(|_| NO_JSON)?;
            serde_json::from_str::<IgnoredAny>(text).map_err(|_| NO_JSON)?;
            bytes
        }
        (_, Some(raw)) if raw.get() != "null" => raw.get().as_bytes().to_vec(),
        _ => return Ok(None),
    };
    bytes.retain(|byte| *byte != b'\n');
    Ok(Some(bytes))
}
