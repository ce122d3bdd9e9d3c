//! The subscribe command, and the refresh that lets a subscription go on.
//!
//! Invariant: what decides it is in [`super::permissions`]; what is said here is how it is asked and answered.

use std::sync::Arc;

use roadstead_protocol::{DisconnectCode, ErrorCode, SubRefreshRequest, SubscribeRequest};

use super::client::{Clients, Talk, client_id, named};
use super::connecting::is_over;
use super::history;
use super::judging::{Asked, code_of};
use super::openings::Opening;
use super::permissions::{Refusal, TokenVerdict};
use crate::flow::{Command, Term, Wish};
use crate::token::{SubscriptionClaims, TokenError};

/// What a token was shown for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Subscribe,
    Refresh,
}

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
            ask(talk, id, channel, Err(refusal), None);
            return Ok(());
        }
        let limit = self.settings.client.recovery_max_publication_limit;
        let rules = self.permissions.rules_of(&channel);
        let wish = rules.and_then(|rules| history::wish(rules, request, limit));
        if !request.token.is_empty() {
            return self.judge(talk, Asked::Subscribe { id, channel, wish }, &request.token);
        }
        let verdict = self.permissions.may_subscribe(&channel, self.user(talk.wire), TokenVerdict::Absent);
        ask(talk, id, channel, verdict.map(|()| None), wish);
        Ok(())
    }

    /// The token that came with a subscribe was judged. One that is for another channel, user or client is misuse.
    pub(super) fn subscribe_by_token(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        channel: Arc<str>,
        wish: Option<Wish>,
        judged: Result<SubscriptionClaims, TokenError>,
    ) -> Result<(), DisconnectCode> {
        let verdict = self.open(talk, id, &channel, judged, Shown::Subscribe)?;
        ask(talk, id, channel, verdict, wish);
        Ok(())
    }

    pub(super) fn sub_refresh(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        request: &SubRefreshRequest<'_>,
    ) -> Result<(), DisconnectCode> {
        let is_too_long = request.channel.len() > self.settings.limits.channel_bytes as usize;
        if request.token.is_empty() || is_too_long {
            return talk.refuse(id, ErrorCode::BadRequest);
        }
        if request.kind != 0 {
            return talk.refuse(id, ErrorCode::PermissionDenied);
        }
        let channel = Arc::from(&*request.channel);
        self.judge(talk, Asked::SubRefresh { id, channel }, &request.token)
    }

    /// The token for which a subscription goes on was judged. Some clients leave its channel out; the token names it.
    pub(super) fn prolong_subscription(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        mut channel: Arc<str>,
        judged: Result<SubscriptionClaims, TokenError>,
    ) -> Result<(), DisconnectCode> {
        if let Ok(claims) = &judged
            && channel.is_empty()
        {
            channel = Arc::from(&*claims.channel);
        }
        let verdict = self.open(talk, id, &channel, judged, Shown::Refresh)?.map_err(Refusal::code);
        talk.heard.commands.push(Command::Refresh { by: talk.key, id, channel, verdict });
        Ok(())
    }

    /// What a token that was judged opens for this client, and until when; what else it says is told with the answer.
    fn open(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        channel: &str,
        judged: Result<SubscriptionClaims, TokenError>,
        shown: Shown,
    ) -> Result<Result<Option<Term>, Refusal>, DisconnectCode> {
        let mut opened = None;
        let token = match judged {
            Ok(claims) => {
                self.must_be_for(talk, channel, &claims)?;
                let now_s = talk.now.unix_ms / 1000;
                let mark = self.revoked.mark(claims.id.as_deref(), claims.issued_at_s);
                let ends_at_s = claims.expires_at_s.map_or(0, |at_s| u32::try_from(at_s).unwrap_or(u32::MAX));
                if self.revoked.revokes(mark, &claims.user, now_s) {
                    talk.tally.tokens.bad_for_channels += 1;
                    match shown {
                        Shown::Subscribe => talk.tally.revoked.subscribe += 1,
                        Shown::Refresh => talk.tally.revoked.sub_refresh += 1,
                    }
                    TokenVerdict::Denies(ErrorCode::PermissionDenied)
                } else if is_over(ends_at_s, talk.now) {
                    TokenVerdict::Denies(ErrorCode::Expired)
                } else {
                    let can_end = ends_at_s > 0 || mark.id != [0, 0];
                    opened = can_end.then_some(Term { ends_at_s, mark });
                    let data = claims.data.filter(|_| shown == Shown::Subscribe).unwrap_or_default();
                    self.openings.keep(talk.key.slot, id, Opening { ends_at_s, data });
                    TokenVerdict::Grants
                }
            }
            Err(error) => {
                talk.tally.tokens.bad_for_channels += u64::from(matches!(error, TokenError::Invalid(_)));
                TokenVerdict::Denies(code_of(error))
            }
        };
        let verdict = self.permissions.may_subscribe(channel, self.user(talk.wire), token);
        Ok(verdict.map(|()| opened))
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

fn ask(
    talk: &mut Talk<'_>,
    id: u32,
    channel: Arc<str>,
    verdict: Result<Option<Term>, Refusal>,
    wish: Option<Wish>,
) {
    let verdict = verdict.map_err(|refusal| {
        talk.tally.refusals.count_subscribe(refusal);
        refusal.code()
    });
    let (by, encoding) = (talk.key, talk.wire.encoding);
    talk.heard.commands.push(Command::Subscribe { by, id: Some(id), channel, encoding, verdict, wish });
}
