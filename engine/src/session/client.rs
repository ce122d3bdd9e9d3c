//! The client protocol: commands in, replies and router commands out.
//!
//! Invariants: the first command is connect; after a failed connect nothing runs; what a client says about itself
//! is never believed; misuse closes (`Err`), a refusal is an error reply.

use std::sync::Arc;

use roadstead_control::NodeId;
use roadstead_protocol::{
    Command as Request, DisconnectCode, Encoding, ErrorCode, NotJson, PublishRequest, Push, Reply,
    Request as Ask, SubRefreshResult, SubscribeResult, commands, push_push, push_reply,
};
use slab::Slab;
use wsproto::Opcode;

use super::connecting::time_left;
use super::openings::Openings;
use super::permissions::{Permissions, Publisher};
use super::rates::Rates;
use super::replies::Replies;
use super::revoked::Revoked;
use super::users::{UserPlace, Users};
use super::waiting::Waiters;
use super::wire::{NO_SESSION, Wire};
use super::{Heard, Tally};
use crate::flow::{self, Answer, Command, Delivery, Key, Now, Publication, TokenMark};
use crate::names::NameHasher;
use crate::settings::Settings;
use crate::token::{Desk, Verifier};

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

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
    /// Where in the interval the pings of the first slots come: elsewhere on each shard.
    pub seed: u64,
}

/// A client after its connect command.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: UserPlace,
    /// Connection info of the token, raw JSON.
    pub(super) info: Option<Arc<[u8]>>,
    /// When the token's time is over, seconds since the epoch; 0: never.
    pub(super) expires_at_s: u32,
    /// Tells its server-side channels from others.
    pub(super) channels_mark: u32,
    pub(super) mark: TokenMark,
}

const _: () = assert!(size_of::<Session>() <= 40, "every client has one");

/// One connection in one turn: who speaks, when, and where the answers go.
#[derive(Debug)]
pub(super) struct Talk<'t> {
    pub(super) key: Key,
    pub(super) wire: &'t mut Wire,
    pub(super) now: Now,
    pub(super) tally: &'t mut Tally,
    pub(super) heard: &'t mut Heard,
}

impl Talk<'_> {
    /// Answers a command.
    pub(super) fn reply(&mut self, id: u32, answer: &Reply<'_>) {
        reply(&mut self.heard.replies, self.key, self.wire.encoding, id, answer);
    }

    /// Answers a command with an error.
    pub(super) fn refuse(&mut self, id: u32, code: ErrorCode) -> Result<(), DisconnectCode> {
        self.tally.errors += 1;
        if !self.wire.has_session() {
            self.heard.connects.push(code.code() as u16);
        }
        self.reply(id, &Reply::Error(code));
        Ok(())
    }
}

/// The clients of one shard.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) settings: Arc<Settings>,
    pub(super) permissions: Permissions<NameHasher>,
    pub(super) verifier: Arc<Verifier>,
    /// Where slow tokens are judged; `None`: here.
    pub(super) desk: Option<Desk>,
    pub(super) waiters: Waiters,
    pub(super) openings: Openings,
    pub(super) revoked: Revoked<NameHasher>,
    pub(super) identity: Identity,
    pub(super) sessions: Slab<Session>,
    pub(super) users: Users<NameHasher>,
    pub(super) rates: Rates,
}

impl Clients {
    pub(super) fn new(
        settings: Arc<Settings>,
        verifier: Arc<Verifier>,
        desk: Option<Desk>,
        identity: Identity,
        rates: Rates,
    ) -> Self {
        Self {
            permissions: Permissions::new(&settings, identity.hasher),
            settings,
            verifier,
            desk,
            waiters: Waiters::default(),
            openings: Openings::default(),
            revoked: Revoked::new(&Arc::default(), identity.hasher),
            identity,
            sessions: Slab::with_capacity(identity.connections_max as usize),
            users: Users::new(identity.connections_max as usize, identity.hasher),
            rates,
        }
    }

    pub(super) fn reload(&mut self, settings: Arc<Settings>, verifier: Arc<Verifier>) {
        self.permissions = Permissions::new(&settings, self.identity.hasher);
        self.rates.reload(&settings.guard);
        self.settings = settings;
        self.verifier = verifier;
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn users(&self) -> usize {
        self.users.count()
    }

    /// Ends the session in `slot`, if there is one; returns its user, if it had one.
    pub(super) fn end(&mut self, slot: u32, wire: &mut Wire) -> Option<Arc<str>> {
        self.waiters.leave(slot);
        self.openings.leave(slot);
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
    pub(super) fn message(&mut self, talk: &mut Talk<'_>, message: &[u8]) -> Result<(), DisconnectCode> {
        if talk.wire.awaits_verdict {
            return self.keep(talk, message);
        }
        let mut commands = commands(talk.wire.encoding, message);
        while let Some(command) = commands.next() {
            if talk.wire.connect_failed {
                break;
            }
            let command = command.map_err(|_| DisconnectCode::BadRequest)?;
            talk.tally.commands += 1;
            self.command(talk, command)?;
            if talk.wire.awaits_verdict {
                return commands.rest().map_or(Ok(()), |rest| self.keep(talk, rest));
            }
        }
        Ok(())
    }

    fn command(&mut self, talk: &mut Talk<'_>, command: Request<'_>) -> Result<(), DisconnectCode> {
        if !talk.wire.has_session() {
            return match command.request {
                Ask::Connect(connect) if command.id > 0 => self.connect(talk, command.id, &connect),
                _ => Err(DisconnectCode::BadRequest),
            };
        }
        if command.is_pong() {
            // Each ping can be answered once.
            return if talk.wire.awaits_pong {
                self.pong(talk);
                Ok(())
            } else {
                Err(DisconnectCode::BadRequest)
            };
        }
        let id = command.id;
        match command.request {
            Ask::Subscribe(request)
                if request.channel.len() > self.settings.limits.channel_bytes as usize =>
            {
                talk.refuse(id, ErrorCode::BadRequest)
            }
            Ask::Subscribe(_) if !self.rates.may_subscribe(talk.key.slot, talk.now.ms) => {
                talk.tally.subscribes_paced += 1;
                talk.refuse(id, ErrorCode::TooManyRequests)
            }
            Ask::Subscribe(request) => self.subscribe(talk, id, &request),
            Ask::Unsubscribe(channel) => {
                let (by, channel) = (talk.key, Arc::from(named(&channel)?));
                talk.heard.commands.push(Command::Unsubscribe { by, id, channel });
                Ok(())
            }
            Ask::Publish(request) => self.publish(talk, id, request),
            Ask::Presence(channel) | Ask::PresenceStats(channel) => {
                named(&channel)?;
                talk.refuse(id, ErrorCode::NotAvailable)
            }
            Ask::History(request) => self.history(talk, id, &request),
            Ask::Rpc(_) => talk.refuse(id, ErrorCode::NotAvailable),
            Ask::SubRefresh(request) => self.sub_refresh(talk, id, &request),
            Ask::Refresh(token) => self.refresh(talk, id, &token),
            Ask::Send(_) => Err(DisconnectCode::NotAvailable),
            Ask::Connect(_) | Ask::Ping | Ask::Empty => Err(DisconnectCode::BadRequest),
        }
    }

    fn publish(
        &self,
        talk: &mut Talk<'_>,
        id: u32,
        request: PublishRequest<'_>,
    ) -> Result<(), DisconnectCode> {
        let channel = named(&request.channel)?;
        if request.data.is_empty() {
            return talk.refuse(id, ErrorCode::BadRequest);
        }
        let publisher = match self.permissions.may_publish(channel, self.user(talk.wire)) {
            Ok(publisher) => publisher,
            Err(refusal) => {
                talk.tally.refusals.count_publish(refusal);
                return talk.refuse(id, refusal.code());
            }
        };
        let session = &self.sessions[talk.wire.session as usize];
        let publication = Publication {
            data: request.data.into_owned(),
            user: Arc::clone(self.users.name(session.user)),
            client: client_id(&self.identity, talk.key),
            conn_info: session.info.clone(),
        };
        talk.heard.commands.push(Command::Publish {
            by: talk.key,
            id,
            channel: Arc::from(channel),
            publication: Arc::new(publication),
            must_subscribe: publisher == Publisher::Subscriber,
        });
        Ok(())
    }

    /// Whether what the session began with, or was refreshed with, was taken back.
    pub(super) fn is_revoked(&self, wire: &Wire, now: Now) -> bool {
        self.revokes(self.sessions[wire.session as usize].mark, wire, now)
    }

    /// Whether a token that the session has shown was taken back.
    pub(super) fn revokes(&self, mark: TokenMark, wire: &Wire, now: Now) -> bool {
        self.revoked.revokes(mark, self.user(wire), now.unix_ms / 1000)
    }

    pub(super) fn user(&self, wire: &Wire) -> &Arc<str> {
        self.users.name(self.sessions[wire.session as usize].user)
    }
}

/// A channel is required; its absence is misuse.
pub(super) fn named(channel: &str) -> Result<&str, DisconnectCode> {
    if channel.is_empty() { Err(DisconnectCode::BadRequest) } else { Ok(channel) }
}

/// The client id, in the form of a UUID: node incarnation, shard, generation, slot.
pub(super) fn client_id(identity: &Identity, key: Key) -> String {
    flow::client_id(identity.node, key.number(identity.shard))
}

pub(super) fn opcode_of(encoding: Encoding) -> Opcode {
    if encoding.is_text() { Opcode::Text } else { Opcode::Binary }
}

pub(super) fn reply(replies: &mut Replies, to: Key, encoding: Encoding, id: u32, reply: &Reply<'_>) {
    replies.message(to, opcode_of(encoding), |out| push_reply(out, encoding, id, reply));
}

impl Clients {
    /// Writes the router's answer, and what a token has to say with it.
    ///
    /// # Errors
    /// The connection cannot go on with it.
    pub(super) fn answer(&mut self, delivery: &Delivery, talk: &mut Talk<'_>) -> Result<(), DisconnectCode> {
        let unfit = |NotJson| DisconnectCode::InappropriateProtocol;
        let (key, id, encoding) = (delivery.to, delivery.id, talk.wire.encoding);
        match &delivery.answer {
            Answer::Subscribed(standing) => {
                let opening = self.openings.take(key.slot, id);
                let (expires, ttl) = time_left(opening.ends_at_s, talk.now);
                let result =
                    SubscribeResult { expires, ttl, data: &opening.data, ..SubscribeResult::default() };
                match standing {
                    None => talk.reply(id, &Reply::Subscribe(&result)),
                    Some(standing) => talk.say_standing(id, standing, result).map_err(unfit)?,
                }
            }
            Answer::Begun { channel, begun } => self.hear_begun(talk, channel, begun.clone())?,
            Answer::Read(found) => talk.say_page(id, found).map_err(unfit)?,
            Answer::Refreshed => {
                let opening = self.openings.take(key.slot, id);
                let (expires, ttl) = time_left(opening.ends_at_s, talk.now);
                talk.reply(id, &Reply::SubRefresh(&SubRefreshResult { expires, ttl }));
            }
            Answer::Unsubscribed { .. } => talk.reply(id, &Reply::Unsubscribe),
            Answer::Published => talk.reply(id, &Reply::Publish),
            Answer::Refused(code) => {
                self.openings.take(key.slot, id);
                talk.tally.errors += 1;
                talk.reply(id, &Reply::Error(*code));
            }
            Answer::Ended { channel, code, .. } => {
                let push = Push::Unsubscribe { code: code.code(), reason: code.reason() };
                let write = |out: &mut Vec<u8>| push_push(out, encoding, channel, &push);
                talk.heard.replies.message(key, opcode_of(encoding), write);
            }
        }
        Ok(())
    }
}
