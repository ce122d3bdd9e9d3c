//! From a token that is shown to what it opens: judged at once, or elsewhere while the client waits.
//!
//! Invariants: a slow verification is never done here where there is a desk for it; a client with no room at the desk is told to
//! come back; what a token could not open is answered by what it was shown for.
//!
//! ```text
//! connect, refresh, subscribe, sub_refresh ─┬─ HMAC ──────────────────────────────────> judged
//!                                           └─ else ─> desk, the client waits ─ verdict ──^ ──> what it said meanwhile
//! ```

use std::sync::Arc;

use roadstead_protocol::{DisconnectCode, ErrorCode};

use super::client::{Clients, Talk};
use super::server_side::{Opening, Remembered};
use super::waiting::Full;
use crate::flow::Wish;
use crate::token::{Claims, Flaw, Job, Purpose, TokenError, Verdict};

/// What a token is shown for.
#[derive(Debug)]
pub(super) enum Asked {
    /// A session.
    Connect {
        /// The request's id.
        id: u32,
        /// What the client remembers of its server-side subscriptions.
        remembered: Remembered,
    },
    /// That the session goes on.
    Refresh {
        /// The request's id.
        id: u32,
    },
    /// A subscription.
    Subscribe {
        /// The request's id.
        id: u32,
        /// The channel.
        channel: Arc<str>,
        /// What it is to be in the channel's stream.
        wish: Option<Wish>,
    },
    /// That a subscription goes on.
    SubRefresh {
        /// The request's id.
        id: u32,
        /// The channel; empty: the token names it.
        channel: Arc<str>,
    },
    /// For nothing: the session is there, and waits for its subscriptions.
    Opening(Box<Opening>),
}

impl Asked {
    fn purpose(&self) -> Purpose {
        match self {
            Self::Connect { .. } | Self::Refresh { .. } | Self::Opening(_) => Purpose::Connection,
            Self::Subscribe { .. } | Self::SubRefresh { .. } => Purpose::Subscription,
        }
    }
}

/// What became of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenTally {
    /// Good ones.
    pub accepted: u64,
    /// Others, in the order of [`TokenTally::REASONS`].
    pub refused: [u64; TokenTally::REASONS.len()],
    /// Those that are not ours, or not any more, and were answered by an error: their connections stay.
    pub bad_for_channels: u64,
}

impl TokenTally {
    /// Why tokens are refused.
    pub const REASONS: [TokenError; 9] = [
        TokenError::Invalid(Flaw::Malformed),
        TokenError::Invalid(Flaw::Key),
        TokenError::Invalid(Flaw::Signature),
        TokenError::Invalid(Flaw::Audience),
        TokenError::Invalid(Flaw::Issuer),
        TokenError::Invalid(Flaw::Claims),
        TokenError::Expired,
        TokenError::Unavailable,
        TokenError::Busy,
    ];

    fn count(&mut self, judged: &Result<Claims, TokenError>) {
        match judged {
            Ok(_) => self.accepted += 1,
            Err(error) => {
                let place = Self::REASONS.iter().position(|reason| reason == error);
                self.refused[place.unwrap_or_default()] += 1;
            }
        }
    }
}

impl Clients {
    /// Has a token judged for what it is shown for, and goes on with that, now or later.
    pub(super) fn judge(
        &mut self,
        talk: &mut Talk<'_>,
        asked: Asked,
        token: &str,
    ) -> Result<(), DisconnectCode> {
        let (purpose, ignores_time) = (asked.purpose(), self.settings.insecure);
        let now_s = talk.now.unix_ms / 1000;
        let desk = self.desk.as_mut().filter(|_| self.verifier.is_slow(purpose, token));
        let Some(desk) = desk else {
            let judged = self.verifier.judge(purpose, token, now_s, ignores_time);
            return self.judged(talk, asked, judged);
        };
        let verifier = Arc::clone(&self.verifier);
        let job = Job { by: talk.key, purpose, token: token.into(), now_s, ignores_time, verifier };
        if !desk.hand_in(job) {
            return self.judged(talk, asked, Err(TokenError::Busy));
        }
        talk.wire.awaits_verdict = true;
        self.waiters.enter(talk.key, asked);
        Ok(())
    }

    /// The next verdict that has come.
    pub(super) fn poll_verdict(&mut self) -> Option<Verdict> {
        self.desk.as_mut()?.poll()
    }

    /// A token was judged elsewhere: goes on with what it was shown for, and with what the client has said meanwhile.
    pub(super) fn hear_verdict(
        &mut self,
        talk: &mut Talk<'_>,
        verdict: Verdict,
    ) -> Result<(), DisconnectCode> {
        let Some((asked, said)) = self.waiters.take(talk.key) else { return Ok(()) };
        talk.wire.awaits_verdict = false;
        self.judged(talk, asked, verdict.judged)?;
        for message in said {
            self.message(talk, &message)?;
        }
        Ok(())
    }

    /// Keeps what is said while a token is judged.
    pub(super) fn keep(&mut self, talk: &Talk<'_>, message: &[u8]) -> Result<(), DisconnectCode> {
        let bytes_max = self.settings.limits.message_bytes as usize;
        let kept = self.waiters.keep(talk.key.slot, message, bytes_max);
        kept.map_err(|Full| DisconnectCode::TooManyRequests)
    }

    fn judged(
        &mut self,
        talk: &mut Talk<'_>,
        asked: Asked,
        judged: Result<Claims, TokenError>,
    ) -> Result<(), DisconnectCode> {
        talk.tally.tokens.count(&judged);
        match (asked, judged) {
            (Asked::Connect { id, remembered }, Ok(Claims::Connection(claims))) => {
                self.begin(talk, id, claims, &remembered)
            }
            (Asked::Refresh { id }, Ok(Claims::Connection(claims))) => self.prolong(talk, id, claims),
            (Asked::Subscribe { id, channel, wish }, Ok(Claims::Subscription(claims))) => {
                self.subscribe_by_token(talk, id, channel, wish, Ok(claims))
            }
            (Asked::Subscribe { id, channel, wish }, Err(error)) => {
                self.subscribe_by_token(talk, id, channel, wish, Err(error))
            }
            (Asked::SubRefresh { id, channel }, Ok(Claims::Subscription(claims))) => {
                self.prolong_subscription(talk, id, channel, Ok(claims))
            }
            (_, Err(TokenError::Invalid(_))) => Err(DisconnectCode::InvalidToken),
            (Asked::SubRefresh { id, channel }, Err(error)) => {
                self.prolong_subscription(talk, id, channel, Err(error))
            }
            (Asked::Refresh { .. }, Err(TokenError::Expired)) => Err(DisconnectCode::Expired),
            (Asked::Connect { id, .. }, Err(error)) => {
                talk.wire.connect_failed = true;
                talk.refuse(id, code_of(error))
            }
            (Asked::Refresh { id }, Err(error)) => talk.refuse(id, code_of(error)),
            // What is judged follows from what was asked, and for what is there already no token is shown.
            (Asked::Opening(_), Err(_)) | (_, Ok(_)) => Err(DisconnectCode::Internal),
        }
    }
}

/// How a command is answered whose token opens nothing.
pub(super) fn code_of(error: TokenError) -> ErrorCode {
    match error {
        TokenError::Invalid(_) => ErrorCode::PermissionDenied,
        TokenError::Expired => ErrorCode::TokenExpired,
        TokenError::Unavailable => ErrorCode::Internal,
        TokenError::Busy => ErrorCode::TooManyRequests,
    }
}
