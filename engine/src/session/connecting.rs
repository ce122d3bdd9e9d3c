//! The connect command, and the refresh that lets a session go on.
//!
//! Invariants: a session begins with a user that a token, or a certificate that was verified, names, or with none; a refresh
//! cannot change it.

use std::sync::Arc;

use roadstead_protocol::{
    ConnectRequest, ConnectResult, DisconnectCode, ErrorCode, RefreshResult, Reply, SubscribeResult,
};

use super::client::{Clients, Session, VERSION, client_id, reply};
use super::wire::Wire;
use super::{Heard, Tally};
use crate::flow::{Command, Key, Now};
use crate::token::{ConnectionClaims, TokenError};

impl Clients {
    #[allow(clippy::too_many_arguments, reason = "one command with its context")]
    pub(super) fn connect(
        &mut self,
        key: Key,
        wire: &mut Wire,
        id: u32,
        request: &ConnectRequest<'_>,
        now: Now,
        tally: &mut Tally,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let insecure = self.settings.insecure;
        let certified = |wire: &Wire| {
            let user = wire.certified.as_ref()?.0.clone();
            Some(ConnectionClaims { user, ..ConnectionClaims::default() })
        };
        let claims = match self.claims(&request.token, now).map(|claims| claims.or_else(|| certified(wire))) {
            Ok(Some(claims)) if claims.user.len() > self.settings.limits.user_bytes_max() => {
                return Err(DisconnectCode::InvalidToken);
            }
            Ok(Some(claims)) => claims,
            Ok(None) if insecure || self.settings.client.allow_anonymous => ConnectionClaims::default(),
            Ok(None) => return Err(DisconnectCode::BadRequest),
            Err(TokenError::Invalid(_)) => return Err(DisconnectCode::InvalidToken),
            Err(TokenError::Expired) => {
                tally.errors += 1;
                wire.connect_failed = true;
                reply(&mut heard.replies, key, wire.encoding, id, &Reply::Error(ErrorCode::TokenExpired));
                return Ok(());
            }
        };
        if !self.rates.enter(key.slot, &claims.user) {
            tally.users_capped += 1;
            return Err(DisconnectCode::ConnectionLimit);
        }
        let user = self.users.enter(&claims.user);
        let info = claims.info.map(Arc::from);
        let expires_at_s = if insecure { 0 } else { claims.expires_at_s.unwrap_or(0) };
        wire.session = self.sessions.insert(Session { user, info, expires_at_s }) as u32;

        let client = client_id(&self.identity, key);
        let personal = (self.settings.client.user_personal_channel && !claims.user.is_empty())
            .then(|| format!("#{}", claims.user));
        let subs: Vec<(&str, SubscribeResult<'_>)> =
            personal.iter().map(|channel| (channel.as_str(), SubscribeResult::default())).collect();
        let (expires, ttl) = time_left(expires_at_s, now);
        let mut result = ConnectResult {
            client: &client,
            version: VERSION,
            expires,
            ttl,
            subs: &subs,
            ..ConnectResult::default()
        };
        if !wire.frame_ping && self.settings.client.ping_s > 0 {
            result.ping = self.settings.client.ping_s;
            result.pong = true;
        }
        reply(&mut heard.replies, key, wire.encoding, id, &Reply::Connect(&result));
        if !claims.user.is_empty() {
            heard.commands.push(Command::Enter { by: key, user: Arc::clone(self.users.name(user)) });
        }
        if let Some(channel) = personal {
            heard.commands.push(Command::Subscribe {
                by: key,
                id: None,
                channel: Arc::from(channel),
                encoding: wire.encoding,
                verdict: Ok(()),
            });
        }
        wire.ping_due_ms = self.next_ping_ms(key, now.ms);
        self.arm(key, wire, now, heard);
        Ok(())
    }

    /// Checks a connection token. `None`: there is none, or (in development mode) nothing to check it with.
    fn claims(&self, token: &str, now: Now) -> Result<Option<ConnectionClaims>, TokenError> {
        if token.is_empty() || (self.settings.insecure && !self.verifier.has_key()) {
            return Ok(None);
        }
        let ignore_time = self.settings.insecure;
        self.verifier.connection(token, now.unix_ms / 1000, ignore_time).map(Some)
    }

    pub(super) fn refresh(
        &mut self,
        key: Key,
        wire: &Wire,
        id: u32,
        token: &str,
        now: Now,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let claims = match self.claims(token, now) {
            Ok(Some(claims)) => claims,
            Ok(None) => return Err(DisconnectCode::BadRequest),
            Err(TokenError::Invalid(_)) => return Err(DisconnectCode::InvalidToken),
            Err(TokenError::Expired) => return Err(DisconnectCode::Expired),
        };
        let session = &mut self.sessions[wire.session as usize];
        if claims.user != **self.users.name(session.user) {
            return Err(DisconnectCode::InvalidToken);
        }
        session.info = claims.info.map(Arc::from);
        session.expires_at_s = if self.settings.insecure { 0 } else { claims.expires_at_s.unwrap_or(0) };
        let (expires, ttl) = time_left(session.expires_at_s, now);
        let client = client_id(&self.identity, key);
        let result = RefreshResult { client: &client, version: VERSION, expires, ttl };
        reply(&mut heard.replies, key, wire.encoding, id, &Reply::Refresh(&result));
        self.arm(key, wire, now, heard);
        Ok(())
    }
}

/// `expires` and `ttl` of a token that ends at `expires_at_s` (0: never), at most a year.
pub(super) fn time_left(expires_at_s: u64, now: Now) -> (bool, u32) {
    const YEAR_S: u64 = 365 * 24 * 3600;
    if expires_at_s == 0 {
        return (false, 0);
    }
    let left_s = expires_at_s.saturating_sub(now.unix_ms / 1000).clamp(1, YEAR_S);
    (true, left_s as u32)
}
