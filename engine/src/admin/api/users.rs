//! What back ends do with the connections of a user, wherever they are.
//!
//! Invariant: a user without connections is no error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_protocol::{CLOSE_REASON_BYTES_MAX, DisconnectCode, ErrorCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Api;
use super::asks::Answer;
use crate::flow::{Action, Ask, Errand, UserErrand, personal_channel};

/// An ask that is under way, or why there is none.
type Asking = Result<Answer, ErrorCode>;

/// Whose connections.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Whom {
    user: Box<str>,
    client: Box<str>,
    /// Of emulated transports, which there are none of: no connection has one.
    session: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Channel {
    channel: Box<str>,
}

#[derive(Debug, Deserialize)]
struct Data<'a> {
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    #[serde(default)]
    expire_at: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ending {
    whitelist: Vec<Box<str>>,
    disconnect: Option<Words>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Words {
    code: u32,
    reason: Box<str>,
}

#[derive(Debug, Deserialize)]
struct Terms<'a> {
    #[serde(default)]
    expired: bool,
    #[serde(default)]
    expire_at: u64,
    #[serde(default, borrow)]
    info: Option<&'a RawValue>,
}

impl Api {
    pub(super) async fn subscribe(&self, params: &str) -> serde_json::Result<Asking> {
        let Channel { channel } = serde_json::from_str(params)?;
        let Data { data, b64data, expire_at } = serde_json::from_str(params)?;
        let data = match (b64data, data) {
            (Some(text), _) => match STANDARD.decode(text) {
                Ok(data) => data,
                Err(_) => return Ok(Err(ErrorCode::BadRequest)),
            },
            (None, data) => data.map_or_else(Vec::new, |data| data.get().as_bytes().to_vec()),
        };
        self.run(params, Vec::new(), Action::Subscribe { channel, data, ends_at_s: seconds(expire_at) }).await
    }

    pub(super) async fn unsubscribe(&self, params: &str) -> serde_json::Result<Asking> {
        let Channel { channel } = serde_json::from_str(params)?;
        self.run(params, Vec::new(), Action::Unsubscribe { channel }).await
    }

    pub(super) async fn disconnect(&self, params: &str) -> serde_json::Result<Asking> {
        let Ending { whitelist, disconnect } = serde_json::from_str(params)?;
        match ending(disconnect.unwrap_or_default()) {
            Some((code, reason)) => self.run(params, whitelist, Action::Disconnect { code, reason }).await,
            None => Ok(Err(ErrorCode::BadRequest)),
        }
    }

    pub(super) async fn refresh(&self, params: &str) -> serde_json::Result<Asking> {
        let Terms { expired, expire_at, info } = serde_json::from_str(params)?;
        let info = info.map(|info| info.get().as_bytes().to_vec());
        let action = Action::Refresh { is_over: expired, ends_at_s: seconds(expire_at), info };
        self.run(params, Vec::new(), action).await
    }

    async fn run(&self, params: &str, spared: Vec<Box<str>>, action: Action) -> serde_json::Result<Asking> {
        let Whom { user, client, session } = serde_json::from_str(params)?;
        if user.is_empty() || action.channel().is_some_and(str::is_empty) {
            return Ok(Err(ErrorCode::BadRequest));
        }
        // No client has this id, as no connection has the session.
        let client = if session.is_empty() { client } else { session };
        let hub = self.asks.hub(&personal_channel(&user));
        let errand = Errand::User(UserErrand { user, client, spared, action });
        Ok(self.asks.ask(hub, Ask::Errand { errand, everywhere: true }).await)
    }
}

/// Seconds since the epoch, in the 32 bits that sessions keep.
fn seconds(at_s: u64) -> u32 {
    u32::try_from(at_s).unwrap_or(u32::MAX)
}

/// Code and reason of a close frame; `None`: that cannot be one. A reason that reads as JSON is taken for advice by clients, and without
/// one they come back whatever the code says.
fn ending(words: Words) -> Option<(u16, Box<str>)> {
    let default = DisconnectCode::ForceDisconnect;
    if words.code == 0 && words.reason.is_empty() {
        return Some((default.code(), default.reason().into()));
    }
    let code = if words.code == 0 { u32::from(default.code()) } else { words.code };
    let code = u16::try_from(code).ok().filter(|code| (3_000..=4_999).contains(code))?;
    let reason = if words.reason.is_empty() { "disconnect".into() } else { words.reason };
    let reads_as_json = serde_json::from_str::<&RawValue>(&reason).is_ok();
    (reason.len() <= CLOSE_REASON_BYTES_MAX && !reads_as_json).then_some((code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_says_what_clients_understand() {
        let long = "x".repeat(CLOSE_REASON_BYTES_MAX + 1);
        for (code, reason, expected) in [
            (0, "", Some((3503, "force disconnect"))),
            (4000, "bye", Some((4000, "bye"))),
            (4000, "", Some((4000, "disconnect"))),
            (0, "bye", Some((3503, "bye"))),
            (1000, "bye", None),
            (5000, "bye", None),
            (70_000, "bye", None),
            (4000, "{\"reconnect\":true}", None),
            (4000, "1", None),
            (4000, &long, None),
        ] {
            let found = ending(Words { code, reason: reason.into() });
            let found = found.as_ref().map(|(code, reason)| (*code, &**reason));
            assert_eq!(found, expected, "{code} {reason}");
        }
    }
}
