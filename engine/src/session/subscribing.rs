//! The subscribe command.
//!
//! Invariant: what decides it is in [`super::permissions`]; what is said here is how it is asked and answered.

use std::sync::Arc;

use roadstead_protocol::{DisconnectCode, ErrorCode, SubscribeRequest};

use super::client::{Clients, Talk, client_id, named};
use super::judging::{Asked, code_of};
use super::permissions::{Refusal, TokenVerdict};
use crate::flow::Command;
use crate::token::{SubscriptionClaims, TokenError};

impl Clients {
    pub(super) fn subscribe(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        request: &SubscribeRequest<'_>,
    ) -> Result<(), DisconnectCode> {
        let channel: Arc<str> = Arc::from(named(&request.channel)?);
        if !matches!(&*request.delta, "" | "fossil") {
            return Err(DisconnectCode::BadRequest);
        }
        if let Err(refusal) = self.permissions.may_be_subscribed(&channel, request.kind) {
            ask(talk, id, channel, Err(refusal));
            return Ok(());
        }
        if !request.token.is_empty() {
            return self.judge(talk, Asked::Subscribe { id, channel }, &request.token);
        }
        let verdict = self.permissions.may_subscribe(&channel, self.user(talk.wire), TokenVerdict::Absent);
        ask(talk, id, channel, verdict);
        Ok(())
    }

    /// The token that came with a subscribe was judged. One that is for another channel, user or client is misuse.
    pub(super) fn subscribe_by_token(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        channel: Arc<str>,
        judged: Result<&SubscriptionClaims, TokenError>,
    ) -> Result<(), DisconnectCode> {
        let token = match judged {
            Ok(claims) => {
                self.must_be_for(talk, &channel, claims)?;
                let mark = self.revoked.mark(claims.id.as_deref(), claims.issued_at_s);
                if self.revoked.revokes(mark, &claims.user, talk.now.unix_ms / 1000) {
                    talk.tally.revoked.subscribe += 1;
                    TokenVerdict::Denies(ErrorCode::PermissionDenied)
                } else {
                    TokenVerdict::Grants
                }
            }
            Err(error) => TokenVerdict::Denies(code_of(error)),
        };
        let verdict = self.permissions.may_subscribe(&channel, self.user(talk.wire), token);
        ask(talk, id, channel, verdict);
        Ok(())
    }

    fn must_be_for(
        &self,
        talk: &Talk<'_>,
        channel: &str,
        claims: &SubscriptionClaims,
    ) -> Result<(), DisconnectCode> {
        let own = || client_id(&self.identity, talk.key);
        let is_for_client = claims.client.as_ref().is_none_or(|client| *client == own());
        if claims.channel == channel && claims.user == **self.user(talk.wire) && is_for_client {
            Ok(())
        } else {
            Err(DisconnectCode::InvalidToken)
        }
    }
}

fn ask(talk: &mut Talk<'_>, id: u32, channel: Arc<str>, verdict: Result<(), Refusal>) {
    let verdict = verdict.map_err(|refusal| {
        talk.tally.refusals.count_subscribe(refusal);
        refusal.code()
    });
    let (by, encoding) = (talk.key, talk.wire.encoding);
    talk.heard.commands.push(Command::Subscribe { by, id: Some(id), channel, encoding, verdict });
}
