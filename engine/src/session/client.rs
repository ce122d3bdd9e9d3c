//! The client protocol: commands in, replies and router commands out.
//!
//! Invariants: the first command is connect; after a failed connect nothing runs; what a client says about itself
//! is never believed; misuse closes (`Err`), a refusal is an error reply.

use std::sync::Arc;

use roadstead_control::NodeId;
use roadstead_protocol::{
    Command as Request, ConnectRequest, ConnectResult, DisconnectCode, Encoding, ErrorCode, PublishRequest,
    RefreshResult, Reply, Request as Ask, SubscribeRequest, SubscribeResult, commands, push_ping, push_reply,
};
use slab::Slab;
use wsproto::Opcode;

use super::replies::Replies;
use super::users::{UserPlace, Users};
use super::wire::{NO_SESSION, Wire};
use super::{Heard, Tally};
use crate::flow::{self, Answer, Command, Delivery, Key, Now, Publication};
use crate::limits::TOKEN_GRACE_S;
use crate::names::NameHasher;
use crate::settings::Settings;
use crate::token::{ConnectionClaims, TokenError, Verifier};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What sessions of one shard are told at start.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The node, first part of every client id.
    pub node: NodeId,
    /// The shard, second part.
    pub shard: u16,
    /// Connections the shard may have; tables reserve address space for as many.
    pub connections_max: u32,
    /// Keys of the user table's hash.
    pub hasher: NameHasher,
    /// Spreads first pings.
    pub seed: u64,
}

/// A client after its connect command.
#[derive(Debug)]
struct Session {
    user: UserPlace,
    /// Connection info of the token, raw JSON.
    info: Option<Arc<[u8]>>,
    /// When the token's time is over, seconds since the epoch; 0: never.
    expires_at_s: u64,
}

/// The clients of one shard.
#[derive(Debug)]
pub(super) struct Clients {
    settings: Arc<Settings>,
    verifier: Arc<Verifier>,
    identity: Identity,
    sessions: Slab<Session>,
    users: Users<NameHasher>,
    random: u64,
}

impl Clients {
    pub(super) fn new(settings: Arc<Settings>, verifier: Arc<Verifier>, identity: Identity) -> Self {
        Self {
            settings,
            verifier,
            identity,
            sessions: Slab::with_capacity(identity.connections_max as usize),
            users: Users::new(identity.connections_max as usize, identity.hasher),
            random: identity.seed | 1,
        }
    }

    pub(super) fn reload(&mut self, settings: Arc<Settings>, verifier: Arc<Verifier>) {
        self.settings = settings;
        self.verifier = verifier;
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn users(&self) -> usize {
        self.users.count()
    }

    /// Ends the session, if there is one; returns its user, if it had one.
    pub(super) fn end(&mut self, wire: &mut Wire) -> Option<Arc<str>> {
        let place = std::mem::replace(&mut wire.session, NO_SESSION);
        if place == NO_SESSION {
            return None;
        }
        let session = self.sessions.remove(place as usize);
        let user = Arc::clone(self.users.name(session.user));
        self.users.leave(session.user);
        (!user.is_empty()).then_some(user)
    }

    /// One WebSocket message: one or more commands, in order.
    pub(super) fn message(
        &mut self,
        key: Key,
        wire: &mut Wire,
        message: &[u8],
        now: Now,
        tally: &mut Tally,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        for command in commands(wire.encoding, message) {
            if wire.connect_failed {
                break;
            }
            let command = command.map_err(|_| DisconnectCode::BadRequest)?;
            tally.commands += 1;
            self.command(key, wire, command, now, tally, heard)?;
        }
        Ok(())
    }

    fn command(
        &mut self,
        key: Key,
        wire: &mut Wire,
        command: Request<'_>,
        now: Now,
        tally: &mut Tally,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        if !wire.has_session() {
            return match command.request {
                Ask::Connect(connect) if command.id > 0 => {
                    self.connect(key, wire, command.id, &connect, now, tally, heard)
                }
                _ => Err(DisconnectCode::BadRequest),
            };
        }
        if command.is_pong() {
            // Each ping can be answered once.
            return if std::mem::take(&mut wire.awaits_pong) {
                Ok(())
            } else {
                Err(DisconnectCode::BadRequest)
            };
        }
        let id = command.id;
        let refuse = |code: ErrorCode, tally: &mut Tally, heard: &mut Heard| {
            tally.errors += 1;
            reply(&mut heard.replies, key, wire.encoding, id, &Reply::Error(code));
            Ok(())
        };
        match command.request {
            Ask::Subscribe(request)
                if request.channel.len() > self.settings.limits.channel_bytes as usize =>
            {
                refuse(ErrorCode::BadRequest, tally, heard)
            }
            Ask::Subscribe(request) => self.subscribe(key, wire, id, &request, heard),
            Ask::Unsubscribe(channel) => {
                let channel = named(&channel)?;
                heard.commands.push(Command::Unsubscribe { by: key, id, channel: Arc::from(channel) });
                Ok(())
            }
            Ask::Publish(request) => match self.publish(key, wire, id, request)? {
                Ok(command) => {
                    heard.commands.push(command);
                    Ok(())
                }
                Err(code) => refuse(code, tally, heard),
            },
            Ask::Presence(channel) | Ask::PresenceStats(channel) => {
                named(&channel)?;
                refuse(ErrorCode::NotAvailable, tally, heard)
            }
            Ask::History(request) => {
                named(&request.channel)?;
                refuse(ErrorCode::NotAvailable, tally, heard)
            }
            Ask::Rpc(_) | Ask::SubRefresh(_) => refuse(ErrorCode::NotAvailable, tally, heard),
            Ask::Refresh(token) => self.refresh(key, wire, id, &token, now, heard),
            Ask::Send(_) => Err(DisconnectCode::NotAvailable),
            Ask::Connect(_) | Ask::Ping | Ask::Empty => Err(DisconnectCode::BadRequest),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one command with its context")]
    fn connect(
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
            Err(TokenError::Invalid) => return Err(DisconnectCode::InvalidToken),
            Err(TokenError::Expired) => {
                tally.errors += 1;
                wire.connect_failed = true;
                reply(&mut heard.replies, key, wire.encoding, id, &Reply::Error(ErrorCode::TokenExpired));
                return Ok(());
            }
        };
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
        // The first ping comes at a random point of the second half of the interval, to spread the load.
        let interval_ms = u64::from(self.settings.client.ping_s) * 1000;
        let first_ms = match interval_ms {
            0 => u64::from(self.settings.client.message_timeout_s) * 1000,
            _ => interval_ms / 2 + self.draw() % (interval_ms / 2).max(1),
        };
        wire.ping_due_ms = now.ms + first_ms;
        self.arm(key, wire, now, heard);
        Ok(())
    }

    /// Checks a connection token. `None`: there is none, or (in development mode) nothing to check it with.
    fn claims(&self, token: &str, now: Now) -> Result<Option<ConnectionClaims>, TokenError> {
        if token.is_empty() || (self.settings.insecure && !self.verifier.has_key()) {
            return Ok(None);
        }
        let ignore_time = self.settings.insecure;
        self.verifier.verify_connection(token, now.unix_ms / 1000, ignore_time).map(Some)
    }

    fn refresh(
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
            Err(TokenError::Invalid) => return Err(DisconnectCode::InvalidToken),
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

    fn subscribe(
        &self,
        key: Key,
        wire: &Wire,
        id: u32,
        request: &SubscribeRequest<'_>,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let channel = named(&request.channel)?;
        if !matches!(&*request.delta, "" | "fossil") {
            return Err(DisconnectCode::BadRequest);
        }
        let verdict = self.may_subscribe(wire, channel, request);
        heard.commands.push(Command::Subscribe {
            by: key,
            id: Some(id),
            channel: Arc::from(channel),
            encoding: wire.encoding,
            verdict,
        });
        Ok(())
    }

    /// The permission model of the client protocol, as far as there are no namespaces and no subscription tokens. An unknown
    /// channel is unknown before anything is said of permission.
    fn may_subscribe(
        &self,
        wire: &Wire,
        channel: &str,
        request: &SubscribeRequest<'_>,
    ) -> Result<(), ErrorCode> {
        self.known(channel)?;
        self.well_named(channel)?;
        if request.kind != 0 {
            return Err(ErrorCode::PermissionDenied);
        }
        if !request.token.is_empty() {
            return Err(ErrorCode::NotAvailable);
        }
        if channel.starts_with('$') {
            return Err(ErrorCode::PermissionDenied);
        }
        if self.settings.insecure {
            return Ok(());
        }
        let user = self.user(wire);
        if let Some((_, listed)) = channel.rsplit_once('#') {
            let is_listed = !user.is_empty() && listed.split(',').any(|name| name == &**user);
            return if is_listed { Ok(()) } else { Err(ErrorCode::PermissionDenied) };
        }
        let rules = &self.settings.channel;
        let allowed =
            rules.allow_subscribe_for_client && (!user.is_empty() || rules.allow_subscribe_for_anonymous);
        if allowed { Ok(()) } else { Err(ErrorCode::PermissionDenied) }
    }

    /// No namespace can be configured yet, so a channel of one is unknown, but in development mode.
    fn known(&self, channel: &str) -> Result<(), ErrorCode> {
        let is_known = self.settings.insecure || !channel.contains(':');
        if is_known { Ok(()) } else { Err(ErrorCode::UnknownChannel) }
    }

    fn well_named(&self, channel: &str) -> Result<(), ErrorCode> {
        let fits = channel.len() <= self.settings.limits.channel_bytes as usize && channel.is_ascii();
        if fits { Ok(()) } else { Err(ErrorCode::BadRequest) }
    }

    fn publish(
        &self,
        key: Key,
        wire: &Wire,
        id: u32,
        request: PublishRequest<'_>,
    ) -> Result<Result<Command, ErrorCode>, DisconnectCode> {
        let channel = named(&request.channel)?;
        if let Err(code) = self.well_named(channel) {
            return Ok(Err(code));
        }
        if request.data.is_empty() {
            return Ok(Err(ErrorCode::BadRequest));
        }
        if let Err(code) = self.known(channel) {
            return Ok(Err(code));
        }
        let rules = &self.settings.channel;
        let for_everyone = self.settings.insecure || rules.allow_publish_for_client;
        if !for_everyone && !rules.allow_publish_for_subscriber {
            return Ok(Err(ErrorCode::PermissionDenied));
        }
        let session = &self.sessions[wire.session as usize];
        let publication = Publication {
            data: request.data.into_owned(),
            user: Arc::clone(self.users.name(session.user)),
            client: client_id(&self.identity, key),
            conn_info: session.info.clone(),
        };
        Ok(Ok(Command::Publish {
            by: key,
            id,
            channel: Arc::from(channel),
            publication: Arc::new(publication),
            must_subscribe: !for_everyone,
        }))
    }

    fn user(&self, wire: &Wire) -> &Arc<str> {
        self.users.name(self.sessions[wire.session as usize].user)
    }

    /// The session's timer fired: its token may have ended, or the next step of its pings is due.
    pub(super) fn tick(
        &mut self,
        key: Key,
        wire: &mut Wire,
        blocked: bool,
        now: Now,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let expires_at_s = self.sessions[wire.session as usize].expires_at_s;
        if expires_at_s > 0 && now.unix_ms / 1000 > expires_at_s + TOKEN_GRACE_S {
            return Err(DisconnectCode::Expired);
        }
        if now.ms >= wire.ping_due_ms {
            self.ping(key, wire, blocked, now, heard)?;
        }
        self.arm(key, wire, now, heard);
        Ok(())
    }

    /// The next step of the pings: sends one, or ends a client that missed the last one or cannot finish a message.
    ///
    /// ```text
    /// ping ── pong timeout ──> answered? ── rest of the interval ──> ping
    ///                             └ no: close 3012
    /// ```
    ///
    /// A step that comes late leaves the next one where it was: what a busy time has held up together would otherwise stay
    /// together, and be a burst of pings once an interval for ever. But a client has half its time for the answer at least.
    fn ping(
        &self,
        key: Key,
        wire: &mut Wire,
        blocked: bool,
        now: Now,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let client = &self.settings.client;
        let interval_ms = u64::from(client.ping_s) * 1000;
        let timeout_ms = u64::from(client.pong_timeout_s) * 1000;
        let step_ms = wire.ping_due_ms.max(now.ms.saturating_sub(timeout_ms / 2));
        if !wire.ping_checked {
            if wire.awaits_pong {
                return Err(if blocked { DisconnectCode::Slow } else { DisconnectCode::NoPong });
            }
            wire.ping_checked = true;
            wire.ping_due_ms = step_ms + interval_ms.saturating_sub(timeout_ms);
            return Ok(());
        }
        if wire.is_stuck_in_message() {
            return Err(DisconnectCode::Slow);
        }
        if interval_ms == 0 {
            wire.ping_due_ms = now.ms + u64::from(client.message_timeout_s) * 1000;
            return Ok(());
        }
        wire.ping_checked = false;
        wire.awaits_pong = true;
        wire.ping_due_ms = step_ms + timeout_ms;
        if wire.frame_ping {
            heard.replies.frame(key, Opcode::Ping, &[]);
        } else {
            heard.replies.message(key, opcode_of(wire.encoding), |out| push_ping(out, wire.encoding));
        }
        Ok(())
    }

    /// Sets the timer for what comes first: the next step of the pings, or the end of the token and its grace.
    fn arm(&self, key: Key, wire: &Wire, now: Now, heard: &mut Heard) {
        let expires_at_s = self.sessions[wire.session as usize].expires_at_s;
        let mut due_ms = wire.ping_due_ms;
        if expires_at_s > 0 {
            let end_unix_ms = expires_at_s.saturating_add(TOKEN_GRACE_S + 1).saturating_mul(1000);
            due_ms = due_ms.min(now.ms.saturating_add(end_unix_ms.saturating_sub(now.unix_ms)));
        }
        heard.timers.push((key.slot, Some(due_ms)));
    }

    fn draw(&mut self) -> u64 {
        // xorshift64 (Marsaglia 2003): spreading load needs no better.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// A channel is required; its absence is misuse.
fn named(channel: &str) -> Result<&str, DisconnectCode> {
    if channel.is_empty() { Err(DisconnectCode::BadRequest) } else { Ok(channel) }
}

/// `expires` and `ttl` of a token that ends at `expires_at_s` (0: never), at most a year.
fn time_left(expires_at_s: u64, now: Now) -> (bool, u32) {
    const YEAR_S: u64 = 365 * 24 * 3600;
    if expires_at_s == 0 {
        return (false, 0);
    }
    let left_s = expires_at_s.saturating_sub(now.unix_ms / 1000).clamp(1, YEAR_S);
    (true, left_s as u32)
}

/// The client id, in the form of a UUID: node incarnation, shard, generation, slot.
fn client_id(identity: &Identity, key: Key) -> String {
    flow::client_id(identity.node, key.number(identity.shard))
}

fn opcode_of(encoding: Encoding) -> Opcode {
    if encoding.is_text() { Opcode::Text } else { Opcode::Binary }
}

fn reply(replies: &mut Replies, to: Key, encoding: Encoding, id: u32, reply: &Reply<'_>) {
    replies.message(to, opcode_of(encoding), |out| push_reply(out, encoding, id, reply));
}

/// Writes the router's answer.
pub(super) fn answer(delivery: &Delivery, encoding: Encoding, tally: &mut Tally, replies: &mut Replies) {
    let subscribed = SubscribeResult::default();
    let written = match delivery.answer {
        Answer::Subscribed => Reply::Subscribe(&subscribed),
        Answer::Unsubscribed { .. } => Reply::Unsubscribe,
        Answer::Published => Reply::Publish,
        Answer::Refused(code) => {
            tally.errors += 1;
            Reply::Error(code)
        }
    };
    reply(replies, delivery.to, encoding, delivery.id, &written);
}
