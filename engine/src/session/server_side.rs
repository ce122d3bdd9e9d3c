//! Sessions that begin with server-side subscriptions to streams: the connect is answered once it is known where each of them
//! stands.
//!
//! Invariants: nothing of such a channel is said before the connect reply (the turn keeps it back); what the client says meanwhile
//! waits; a subscription that cannot begin ends the connection, and the client comes back.
//!
//! ```text
//! connect ── no stream among its channels ──────────────────────────> reply
//!    └────── Command::Subscribe for each ── the last one's answer ──> reply ──> what the client said meanwhile
//! ```

use std::sync::Arc;

use roadstead_protocol::{ConnectResult, DisconnectCode, ErrorCode, NotJson, Reply, SubscribeResult};

use super::client::{Clients, Talk, VERSION, client_id};
use super::connecting::time_left;
use super::history;
use super::judging::Asked;
use crate::counters::CONNECTED;
use crate::flow::{Claim, Standing, Stored, Wish};
use crate::token::ServerChannel;

/// What a client remembers of its server-side subscriptions.
pub(super) type Remembered = Vec<(Box<str>, Claim)>;

/// A server-side subscription before the connect reply.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) channel: Arc<str>,
    /// JSON for the client; empty: there is none.
    data: Vec<u8>,
    pub(super) wish: Option<Wish>,
    /// Where it stands, once that is known.
    standing: Option<Box<Standing>>,
}

/// A connect that is answered when all its subscriptions have begun.
#[derive(Debug)]
pub(super) struct Opening {
    id: u32,
    channels: Vec<Beginning>,
    /// How many of them are still to be answered.
    waiting: usize,
}

impl Clients {
    /// The subscriptions of a session that begins, with what each is to be.
    pub(super) fn beginnings(&self, channels: Vec<ServerChannel>, remembered: &Remembered) -> Vec<Beginning> {
        let limit = self.settings.client.recovery_max_publication_limit;
        let beginning = |channel: ServerChannel| {
            let since = remembered.iter().find(|(name, _)| **name == *channel.channel);
            let rules = self.permissions.rules_of(&channel.channel);
            let wish =
                rules.and_then(|rules| history::wish_of_server(rules, since.map(|(_, since)| *since), limit));
            Beginning {
                channel: Arc::from(channel.channel),
                data: channel.data.unwrap_or_default(),
                wish,
                standing: None,
            }
        };
        channels.into_iter().map(beginning).collect()
    }

    /// Answers a connect at once, or when its subscriptions have begun.
    pub(super) fn answer_connect(&mut self, talk: &mut Talk<'_>, id: u32, channels: Vec<Beginning>) {
        let waiting = channels.iter().filter(|beginning| beginning.wish.is_some()).count();
        let opening = Opening { id, channels, waiting };
        if waiting == 0 {
            let said = self.say_connected(talk, &opening);
            debug_assert!(said.is_ok(), "without a stream there is no payload in it");
            return;
        }
        (talk.wire.awaits_verdict, talk.wire.is_opening) = (true, true);
        self.waiters.enter(talk.key, Asked::Opening(Box::new(opening)));
    }

    /// One of the subscriptions that a connect waits for has begun, or cannot.
    pub(super) fn hear_begun(
        &mut self,
        talk: &mut Talk<'_>,
        channel: &str,
        begun: Result<Option<Box<Standing>>, ErrorCode>,
    ) -> Result<(), DisconnectCode> {
        let Some(Asked::Opening(opening)) = self.waiters.asked_mut(talk.key) else { return Ok(()) };
        let Some(beginning) = opening.channels.iter_mut().find(|beginning| *beginning.channel == *channel)
        else {
            return Ok(());
        };
        beginning.standing = match begun {
            Ok(standing) => standing,
            Err(ErrorCode::TooManyRequests) => return Err(DisconnectCode::TooManyRequests),
            Err(_) => return Err(DisconnectCode::Internal),
        };
        opening.waiting -= 1;
        if opening.waiting > 0 {
            return Ok(());
        }
        let Some((Asked::Opening(opening), said)) = self.waiters.take(talk.key) else { return Ok(()) };
        (talk.wire.awaits_verdict, talk.wire.is_opening) = (false, false);
        talk.heard.opened.push(talk.key.slot);
        self.say_connected(talk, &opening).map_err(|NotJson| DisconnectCode::InappropriateProtocol)?;
        for message in said {
            self.message(talk, &message)?;
        }
        Ok(())
    }

    fn say_connected(&self, talk: &mut Talk<'_>, opening: &Opening) -> Result<(), NotJson> {
        let channels = &opening.channels;
        let encoding = talk.wire.encoding;
        let stored = |beginning: &'_ Beginning| match &beginning.standing {
            Some(standing) => standing.found.publications.clone(),
            None => Vec::new(),
        };
        let stored: Vec<Vec<Stored>> = channels.iter().map(stored).collect();
        let datas = stored.iter().map(|stored| history::datas(encoding, stored));
        let datas = datas.collect::<Result<Vec<_>, _>>()?;
        let lists: Vec<_> =
            stored.iter().zip(&datas).map(|(stored, datas)| history::publications(stored, datas)).collect();
        let epochs: Vec<String> = channels.iter().map(Beginning::epoch).collect();
        let subs: Vec<(&str, SubscribeResult<'_>)> = channels
            .iter()
            .zip(lists.iter().zip(&epochs))
            .map(|(beginning, (publications, epoch))| {
                let plain = SubscribeResult { data: &beginning.data, ..SubscribeResult::default() };
                let result = match &beginning.standing {
                    Some(standing) => history::result(standing, epoch, publications, plain),
                    None => plain,
                };
                (&*beginning.channel, result)
            })
            .collect();
        let client = client_id(&self.identity, talk.key);
        let (expires, ttl) = time_left(self.sessions[talk.wire.session as usize].expires_at_s, talk.now);
        let mut result = ConnectResult {
            client: &client,
            version: VERSION,
            expires,
            ttl,
            subs: &subs,
            ..ConnectResult::default()
        };
        if !talk.wire.frame_ping && self.settings.client.ping_s > 0 {
            result.ping = self.settings.client.ping_s;
            result.pong = true;
        }
        talk.reply(opening.id, &Reply::Connect(&result));
        talk.heard.connects.push(CONNECTED);
        Ok(())
    }
}

impl Beginning {
    fn epoch(&self) -> String {
        self.standing.as_ref().map_or_else(String::new, |standing| standing.found.position.epoch_text())
    }
}
