//! The client protocol: commands in, replies and router commands out.
//!
//! Invariants: the first command is connect; after a failed connect nothing runs; what a client says about itself
//! is never believed; misuse closes (`Err`), a refusal is an error reply.

use std::sync::Arc;

use roadstead_control::NodeId;
use roadstead_protocol::{
    Command as Request, DisconnectCode, Encoding, ErrorCode, PublishRequest, Reply, Request as Ask,
    SubscribeResult, commands, push_reply,
};
use slab::Slab;
use wsproto::Opcode;

use super::permissions::{Permissions, Publisher};
use super::rates::Rates;
use super::replies::Replies;
use super::users::{UserPlace, Users};
use super::wire::{NO_SESSION, Wire};
use super::{Heard, Tally};
use crate::flow::{self, Answer, Command, Delivery, Key, Now, Publication};
use crate::names::NameHasher;
use crate::settings::Settings;
use crate::token::Verifier;

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
    pub(super) expires_at_s: u64,
}

/// The clients of one shard.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) settings: Arc<Settings>,
    pub(super) permissions: Permissions<NameHasher>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) identity: Identity,
    pub(super) sessions: Slab<Session>,
    pub(super) users: Users<NameHasher>,
    pub(super) rates: Rates,
}

impl Clients {
    pub(super) fn new(
        settings: Arc<Settings>,
        verifier: Arc<Verifier>,
        identity: Identity,
        rates: Rates,
    ) -> Self {
        Self {
            permissions: Permissions::new(&settings, identity.hasher),
            settings,
            verifier,
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
            return if wire.awaits_pong {
                self.pong(key, wire, now, heard);
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
            Ask::Subscribe(_) if !self.rates.may_subscribe(key.slot, now.ms) => {
                tally.subscribes_paced += 1;
                refuse(ErrorCode::TooManyRequests, tally, heard)
            }
            Ask::Subscribe(request) => self.subscribe(key, wire, id, &request, now, tally, heard),
            Ask::Unsubscribe(channel) => {
                let channel = named(&channel)?;
                heard.commands.push(Command::Unsubscribe { by: key, id, channel: Arc::from(channel) });
                Ok(())
            }
            Ask::Publish(request) => match self.publish(key, wire, id, request, tally)? {
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

    fn publish(
        &self,
        key: Key,
        wire: &Wire,
        id: u32,
        request: PublishRequest<'_>,
        tally: &mut Tally,
    ) -> Result<Result<Command, ErrorCode>, DisconnectCode> {
        let channel = named(&request.channel)?;
        if request.data.is_empty() {
            return Ok(Err(ErrorCode::BadRequest));
        }
        let publisher = match self.permissions.may_publish(channel, self.user(wire)) {
            Ok(publisher) => publisher,
            Err(refusal) => {
                tally.refusals.count_publish(refusal);
                return Ok(Err(refusal.code()));
            }
        };
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
            must_subscribe: publisher == Publisher::Subscriber,
        }))
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
