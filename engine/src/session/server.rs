//! What the server does to sessions of its own accord: ends them, prolongs them, and tells them what became of their channels.
//!
//! Invariant: the server is bound by the names that channels may have, and by no permission.

use std::sync::Arc;

use roadstead_protocol::{ErrorCode, Push, SubscribePush, json_data, push_push};

use super::client::{Talk, opcode_of};
use super::connecting::{is_over, time_left};
use super::ending::close;
use super::permissions::Refusal;
use super::wire::{Phase, Wire};
use super::{Heard, Sessions};
use crate::flow::{Key, Now};

impl Sessions {
    /// Whether there may be a channel of this name.
    ///
    /// # Errors
    /// What whoever names it is told.
    pub fn may_be_named(&self, channel: &str) -> Result<(), ErrorCode> {
        self.clients.permissions.may_be_subscribed(channel, 0).map_err(Refusal::code)
    }

    /// Closes a client with a code and a reason that are not ours.
    pub fn dismiss(
        &mut self,
        key: Key,
        wire: &mut Wire,
        (code, reason): (u16, &str),
        now: Now,
        heard: &mut Heard,
    ) {
        if wire.phase == Phase::Client {
            close(key, wire, code, reason, now, &self.settings, heard);
        }
    }

    /// Tells a client that the server has subscribed it.
    pub fn say_subscribed(&self, key: Key, wire: &Wire, channel: &str, data: &[u8], heard: &mut Heard) {
        // What is no JSON cannot be told to who speaks JSON; the channel can.
        let fitting = if wire.encoding.is_text() { json_data(data).unwrap_or_default() } else { data.into() };
        say(
            key,
            wire,
            channel,
            &Push::Subscribe(&SubscribePush { data: &fitting, ..SubscribePush::default() }),
            heard,
        );
    }

    /// Lets a session last until `ends_at_s`, seconds since the epoch (0: for ever), with other connection info if some is given. False
    /// if that time is over already: nothing has changed.
    pub fn prolong(
        &mut self,
        key: Key,
        wire: &mut Wire,
        (ends_at_s, info): (u32, Option<Arc<[u8]>>),
        now: Now,
        heard: &mut Heard,
    ) -> bool {
        if !wire.has_session() || is_over(ends_at_s, now) {
            return false;
        }
        let session = &mut self.clients.sessions[wire.session as usize];
        session.expires_at_s = ends_at_s;
        if info.is_some() {
            session.info = info;
        }
        let (expires, ttl) = time_left(ends_at_s, now);
        say(key, wire, "", &Push::Refresh { expires, ttl }, heard);
        self.clients.arm(&mut Talk { key, wire, now, tally: &mut self.tally, heard });
        true
    }
}

fn say(key: Key, wire: &Wire, channel: &str, push: &Push<'_>, heard: &mut Heard) {
    let encoding = wire.encoding;
    heard.replies.message(key, opcode_of(encoding), |out| push_push(out, encoding, channel, push));
}
