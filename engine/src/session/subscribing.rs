//! The subscribe command.
//!
//! Invariant: what decides it is in [`super::permissions`]; what is said here is how it is asked and answered.

use std::sync::Arc;

use roadstead_protocol::{DisconnectCode, ErrorCode, SubscribeRequest};

use super::client::{Clients, client_id, named};
use super::permissions::{Refusal, TokenVerdict};
use super::wire::Wire;
use super::{Heard, Tally};
use crate::flow::{Command, Key, Now};
use crate::token::TokenError;

impl Clients {
    #[allow(clippy::too_many_arguments, reason = "one command with its context")]
    pub(super) fn subscribe(
        &self,
        key: Key,
        wire: &Wire,
        id: u32,
        request: &SubscribeRequest<'_>,
        now: Now,
        tally: &mut Tally,
        heard: &mut Heard,
    ) -> Result<(), DisconnectCode> {
        let channel = named(&request.channel)?;
        if !matches!(&*request.delta, "" | "fossil") {
            return Err(DisconnectCode::BadRequest);
        }
        let verdict = match self.permissions.may_be_subscribed(channel, request.kind) {
            Ok(()) => self.judge(key, wire, channel, &request.token, now)?,
            refused => refused,
        };
        let verdict = verdict.map_err(|refusal| {
            tally.refusals.count_subscribe(refusal);
            refusal.code()
        });
        heard.commands.push(Command::Subscribe {
            by: key,
            id: Some(id),
            channel: Arc::from(channel),
            encoding: wire.encoding,
            verdict,
        });
        Ok(())
    }

    /// Decides a subscribe, with the token if there is one. A token of somebody else, or for another channel, is misuse.
    fn judge(
        &self,
        key: Key,
        wire: &Wire,
        channel: &str,
        token: &str,
        now: Now,
    ) -> Result<Result<(), Refusal>, DisconnectCode> {
        let user = self.user(wire);
        let ignores_time = self.settings.insecure;
        let judged =
            (!token.is_empty()).then(|| self.verifier.subscription(token, now.unix_ms / 1000, ignores_time));
        if let Some(Ok(claims)) = &judged {
            let is_for_client =
                claims.client.as_ref().is_none_or(|client| *client == client_id(&self.identity, key));
            if claims.channel != channel || claims.user != **user || !is_for_client {
                return Err(DisconnectCode::InvalidToken);
            }
        }
        let token = match judged {
            None => TokenVerdict::Absent,
            Some(Ok(_)) => TokenVerdict::Grants,
            Some(Err(TokenError::Expired)) => TokenVerdict::Denies(ErrorCode::TokenExpired),
            Some(Err(TokenError::Invalid(_))) => TokenVerdict::Denies(ErrorCode::PermissionDenied),
        };
        Ok(self.permissions.may_subscribe(channel, user, token))
    }
}
