//! The connect command, and the refresh that lets a session go on.
//!
//! Invariants: a session begins with a user that a token, or a certificate that was verified, names, or with none; a refresh
//! cannot change it; whom a token says less of than it must is told so, and is no session.

use std::collections::BTreeSet;
use std::sync::Arc;

use roadstead_protocol::{ConnectRequest, DisconnectCode, ErrorCode, RefreshResult, Reply};

use super::client::{Clients, Session, Talk, VERSION, client_id};
use super::judging::Asked;
use super::permissions::Refusal;
use super::server_side::Remembered;
use crate::flow::{Claim, Command, Now};
use crate::token::{ConnectionClaims, ServerChannel};

impl Clients {
    pub(super) fn connect(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        request: &ConnectRequest<'_>,
    ) -> Result<(), DisconnectCode> {
        let remembered: Remembered = request
            .subs
            .iter()
            .filter(|(_, sub)| sub.recover)
            .map(|(channel, sub)| (channel.as_ref().into(), Claim::new(&sub.epoch, sub.offset)))
            .collect();
        if self.counts(&request.token) {
            return self.judge(talk, Asked::Connect { id, remembered }, &request.token);
        }
        let claims = match &talk.wire.certified {
            Some(certified) => ConnectionClaims { user: certified.0.clone(), ..ConnectionClaims::default() },
            None if self.settings.insecure || self.settings.client.allow_anonymous => {
                ConnectionClaims::default()
            }
            None => return Err(DisconnectCode::BadRequest),
        };
        self.begin(talk, id, claims, &remembered)
    }

    /// Whether there is a token, and (in development mode) something to judge it with.
    fn counts(&self, token: &str) -> bool {
        !token.is_empty() && (!self.settings.insecure || self.verifier.has_key())
    }

    /// The session begins.
    pub(super) fn begin(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        mut claims: ConnectionClaims,
        remembered: &Remembered,
    ) -> Result<(), DisconnectCode> {
        if claims.user.len() > self.settings.limits.user_bytes_max() {
            return Err(DisconnectCode::InvalidToken);
        }
        let expires_at_s = self.end_of_session(&claims);
        let is_over = is_over(expires_at_s, talk.now);
        let channels = match self.server_channels(&mut claims)? {
            Ok(channels) if !is_over => channels,
            Ok(_) => {
                talk.wire.connect_failed = true;
                return talk.refuse(id, ErrorCode::Expired);
            }
            Err(code) => {
                talk.wire.connect_failed = true;
                return talk.refuse(id, code);
            }
        };
        let mark = self.revoked.mark(claims.id.as_deref(), claims.issued_at_s);
        if self.revoked.revokes(mark, &claims.user, talk.now.unix_ms / 1000) {
            talk.tally.revoked.connect += 1;
            return Err(DisconnectCode::InvalidToken);
        }
        if !self.rates.enter(talk.key.slot, &claims.user) {
            talk.tally.users_capped += 1;
            return Err(DisconnectCode::ConnectionLimit);
        }
        let user = self.users.enter(&claims.user);
        let info = claims.info.map(Arc::from);
        let channels_mark = self.mark(&channels);
        let session = Session { user, info, expires_at_s, channels_mark, mark };
        talk.wire.session = self.sessions.insert(session) as u32;

        if !claims.user.is_empty() {
            let user = Arc::clone(self.users.name(user));
            talk.heard.commands.push(Command::Enter { by: talk.key, user });
        }
        let channels = self.beginnings(channels, remembered);
        talk.heard.commands.extend(channels.iter().map(|beginning| Command::Subscribe {
            by: talk.key,
            id: None,
            channel: Arc::clone(&beginning.channel),
            encoding: talk.wire.encoding,
            verdict: Ok(None),
            wish: beginning.wish,
        }));
        self.answer_connect(talk, id, channels);
        talk.wire.ping_due_ms = self.next_ping_ms(talk.key, talk.now.ms);
        self.arm(talk);
        Ok(())
    }

    pub(super) fn refresh(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        token: &str,
    ) -> Result<(), DisconnectCode> {
        if !self.counts(token) {
            return Err(DisconnectCode::BadRequest);
        }
        self.judge(talk, Asked::Refresh { id }, token)
    }

    /// The session goes on.
    pub(super) fn prolong(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        mut claims: ConnectionClaims,
    ) -> Result<(), DisconnectCode> {
        if claims.user != **self.user(talk.wire) {
            return Err(DisconnectCode::InvalidToken);
        }
        let mark = self.revoked.mark(claims.id.as_deref(), claims.issued_at_s);
        if self.revoked.revokes(mark, &claims.user, talk.now.unix_ms / 1000) {
            talk.tally.revoked.refresh += 1;
            return Err(DisconnectCode::InvalidToken);
        }
        let expires_at_s = self.end_of_session(&claims);
        if is_over(expires_at_s, talk.now) {
            return Err(DisconnectCode::Expired);
        }
        let channels = self.server_channels(&mut claims)?.map_err(|_| DisconnectCode::InsufficientState)?;
        let channels_mark = self.mark(&channels);
        let session = &mut self.sessions[talk.wire.session as usize];
        if session.channels_mark != channels_mark {
            // The client comes back and gets its new channels.
            return Err(DisconnectCode::InsufficientState);
        }
        session.mark = mark;
        session.info = claims.info.map(Arc::from);
        session.expires_at_s = expires_at_s;
        let (expires, ttl) = time_left(expires_at_s, talk.now);
        let client = client_id(&self.identity, talk.key);
        let result = RefreshResult { client: &client, version: VERSION, expires, ttl };
        talk.reply(id, &Reply::Refresh(&result));
        self.arm(talk);
        Ok(())
    }

    /// When a session ends, Unix seconds, in its 32 bits; 0: never.
    fn end_of_session(&self, claims: &ConnectionClaims) -> u32 {
        let expires_at_s = claims.expires_at_s.filter(|_| !self.settings.insecure).unwrap_or(0);
        u32::try_from(expires_at_s).unwrap_or(u32::MAX)
    }

    /// The channels to which the server subscribes a session: the user's own, and those of its token. Each once.
    fn server_channels(
        &self,
        claims: &mut ConnectionClaims,
    ) -> Result<Result<Vec<ServerChannel>, ErrorCode>, DisconnectCode> {
        let mut channels = Vec::new();
        if self.settings.client.user_personal_channel && !claims.user.is_empty() {
            channels.push(ServerChannel { channel: format!("#{}", claims.user), ..ServerChannel::default() });
        }
        let own = channels.first().map(|own: &ServerChannel| own.channel.clone());
        let named = std::mem::take(&mut claims.channels);
        channels.extend(named.into_iter().filter(|named| Some(&named.channel) != own.as_ref()));
        if channels.len() > self.settings.limits.channels_per_client as usize {
            return Err(DisconnectCode::ChannelLimit);
        }
        let first_bad = channels.iter().find_map(|channel| {
            let name = &channel.channel;
            if name.is_empty() {
                return Some(ErrorCode::BadRequest);
            }
            self.permissions.may_be_subscribed(name, 0).err().map(Refusal::code)
        });
        Ok(first_bad.map_or(Ok(channels), Err))
    }

    /// What tells one set of server-side channels from another; 0: there is none.
    fn mark(&self, channels: &[ServerChannel]) -> u32 {
        use std::hash::BuildHasher;
        let names: BTreeSet<&str> = channels.iter().map(|channel| &*channel.channel).collect();
        if names.is_empty() { 0 } else { (self.identity.hasher.hash_one(&names) as u32).max(1) }
    }
}

/// Whether what ends at `at_s` (0: never) has ended.
pub(super) fn is_over(at_s: u32, now: Now) -> bool {
    at_s > 0 && now.unix_ms / 1000 >= u64::from(at_s)
}

/// `expires` and `ttl` of what ends at `expires_at_s` (0: never), at most a year.
pub(super) fn time_left(expires_at_s: u32, now: Now) -> (bool, u32) {
    const YEAR_S: u64 = 365 * 24 * 3600;
    if expires_at_s == 0 {
        return (false, 0);
    }
    let left_s = u64::from(expires_at_s).saturating_sub(now.unix_ms / 1000).clamp(1, YEAR_S);
    (true, left_s as u32)
}
