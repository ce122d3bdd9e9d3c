//! Subscriptions that end, or go on, as a token says: refreshed, over, or taken back with it.
//!
//! Invariants: what is taken away is gone before its client is told, so that it can subscribe again at once; which time it is, and
//! what is revoked, is said by whoever asks.

use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_protocol::{ErrorCode, UnsubscribeCode};

use super::Router;
use super::subscriptions::Seat;
use crate::flow::{Answer, Delivery, Key, Term, TokenMark};

impl<S: BuildHasher, W> Router<S, W> {
    /// Another token was shown for a subscription of `seat`: its term takes the place of the old one.
    pub(super) fn refresh(
        &mut self,
        name: &str,
        verdict: Result<Option<Term>, ErrorCode>,
        seat: &Seat,
    ) -> Answer {
        let mine = self.subscription(seat, name);
        match (mine, verdict) {
            (None, _) => Answer::Refused(ErrorCode::PermissionDenied),
            (Some(_), Err(code)) => Answer::Refused(code),
            (Some(subscription), Ok(term)) => {
                self.terms.set(subscription, term);
                Answer::Refreshed
            }
        }
    }

    /// The next subscription whose term was over before `unix_s`, with its connection; it is to be ended.
    pub fn poll_ended(&mut self, unix_s: u64) -> Option<(Key, u32)> {
        self.terms.poll_ended(unix_s).map(|subscription| (self.subscriptions.key(subscription), subscription))
    }

    /// Of the subscriptions of `seat`, one that is there by a token that was taken back, as `is_revoked` says.
    #[must_use]
    pub fn revoked(&self, seat: &Seat, mut is_revoked: impl FnMut(TokenMark) -> bool) -> Option<u32> {
        if self.terms.count() == 0 {
            return None;
        }
        let mut next = seat.first();
        while let Some(subscription) = next {
            if self.terms.mark(subscription).is_some_and(&mut is_revoked) {
                return Some(subscription);
            }
            next = self.subscriptions.next(subscription);
        }
        None
    }

    /// The subscription of `seat` to a channel.
    #[must_use]
    pub fn subscription(&self, seat: &Seat, channel: &str) -> Option<u32> {
        self.find(channel).and_then(|place| self.subscriptions.find(seat, place))
    }

    /// Takes a subscription away from the connection `key` with `seat`, and tells it why.
    pub fn end(
        &mut self,
        key: Key,
        seat: &mut Seat,
        subscription: u32,
        code: UnsubscribeCode,
        now_ms: u64,
        deliveries: &mut Vec<Delivery>,
    ) {
        let place = self.subscriptions.channel(subscription);
        let channel = Arc::clone(&self.channels[place as usize].name);
        let tag = self.finish_and_leave(key, seat, subscription, now_ms, deliveries);
        deliveries.push(Delivery { to: key, id: 0, answer: Answer::Ended { channel, tag, code } });
    }

    /// Ends one subscription of the connection `key`; a subscribe in flight is finished first. Returns the channel's tag.
    pub(super) fn finish_and_leave(
        &mut self,
        key: Key,
        seat: &mut Seat,
        subscription: u32,
        now_ms: u64,
        deliveries: &mut Vec<Delivery>,
    ) -> u32 {
        if let Some(id) = self.waits_for(subscription) {
            deliveries.push(Delivery { to: key, id, answer: Answer::Subscribed(None) });
        }
        self.leave(seat, subscription, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use roadstead_control::NodeId;
    use roadstead_protocol::Encoding;

    use super::super::RouterSettings;
    use super::super::message::Outlet;
    use super::super::tests::Posted;
    use super::*;
    use crate::flow::Command;
    use crate::names::NameHasher;

    const KEY: Key = Key { slot: 3, generation: 1 };

    struct Alone {
        router: Router<NameHasher, ()>,
        seat: Seat,
        post: Posted,
        deliveries: Vec<Delivery>,
    }

    impl Alone {
        fn new() -> Self {
            let settings = RouterSettings {
                node: NodeId(1),
                shard: 0,
                shards: 1,
                alone: true,
                connections_max: 10,
                channels_per_client: 10,
                seed: 5,
            };
            let router = Router::new(settings, NameHasher::new((1, 2)));
            Self { router, seat: Seat::EMPTY, post: Posted::default(), deliveries: Vec::new() }
        }

        fn decide(&mut self, command: Command) -> Answer {
            let mut out = Outlet { now_ms: 0, post: &mut self.post, deliveries: &mut self.deliveries };
            self.router.decide(command, &mut self.seat, &mut out);
            self.deliveries.pop().expect("an answer").answer
        }

        fn subscribe(&mut self, channel: &str, term: Option<Term>) -> Answer {
            let (channel, encoding) = (Arc::from(channel), Encoding::Json);
            self.decide(Command::Subscribe {
                by: KEY,
                id: Some(1),
                channel,
                encoding,
                verdict: Ok(term),
                wish: None,
            })
        }

        fn refresh(&mut self, channel: &str, verdict: Result<Option<Term>, ErrorCode>) -> Answer {
            self.decide(Command::Refresh { by: KEY, id: 1, channel: Arc::from(channel), verdict })
        }

        /// Ends what has ended before `unix_s`; the channels.
        fn end(&mut self, unix_s: u64) -> Vec<String> {
            while let Some((key, subscription)) = self.router.poll_ended(unix_s) {
                let (seat, code) = (&mut self.seat, UnsubscribeCode::Expired);
                self.router.end(key, seat, subscription, code, 0, &mut self.deliveries);
            }
            let ended = self.deliveries.drain(..).map(|delivery| match delivery {
                Delivery { to: KEY, id: 0, answer: Answer::Ended { channel, .. } } => channel.to_string(),
                other => panic!("{other:?}"),
            });
            ended.collect()
        }
    }

    fn term(ends_at_s: u32, id: u32) -> Option<Term> {
        Some(Term { ends_at_s, mark: TokenMark { id: [0, id], issued_at_s: 0 } })
    }

    #[test]
    fn subscriptions_end_with_their_terms_and_can_begin_again() {
        let mut alone = Alone::new();
        for (channel, term) in [("a", term(10, 0)), ("b", None), ("c", term(20, 0)), ("d", term(30, 0))] {
            assert_eq!(alone.subscribe(channel, term), Answer::Subscribed(None));
        }
        assert_eq!(alone.end(10), [""; 0]);
        assert_eq!(alone.end(11), ["a"]);
        assert_eq!(alone.subscribe("a", term(40, 0)), Answer::Subscribed(None));
        assert_eq!(alone.subscribe("c", term(90, 0)), Answer::Refused(ErrorCode::AlreadySubscribed));
        let gone = alone.decide(Command::Unsubscribe { by: KEY, id: 1, channel: "d".into() });
        assert!(matches!(gone, Answer::Unsubscribed { tag: Some(_) }));
        assert_eq!(alone.refresh("a", Ok(term(50, 0))), Answer::Refreshed);
        assert_eq!(
            alone.refresh("a", Err(ErrorCode::TokenExpired)),
            Answer::Refused(ErrorCode::TokenExpired)
        );
        assert_eq!(alone.refresh("d", Ok(term(50, 0))), Answer::Refused(ErrorCode::PermissionDenied));
        assert_eq!(alone.end(50), ["c"]);
        assert_eq!(alone.refresh("a", Ok(None)), Answer::Refreshed);
        assert_eq!(alone.refresh("b", Ok(term(60, 0))), Answer::Refreshed);
        assert_eq!(alone.end(u64::MAX), ["b"]);
        assert_eq!((alone.seat.count(), alone.router.terms()), (1, 0));
    }

    #[test]
    fn a_token_that_was_taken_back_is_found_among_others() {
        let mut alone = Alone::new();
        for (channel, term) in [("a", term(10, 1)), ("b", term(0, 2)), ("c", None), ("d", term(0, 3))] {
            alone.subscribe(channel, term);
        }
        let is = |id| move |mark: TokenMark| mark.id == [0, id];
        assert!(alone.router.revoked(&alone.seat, is(9)).is_none());
        let found = alone.router.revoked(&alone.seat, is(2)).expect("b");
        alone.router.end(KEY, &mut alone.seat, found, UnsubscribeCode::Server, 0, &mut alone.deliveries);
        let ended = alone.deliveries.pop().map(|delivery| delivery.answer);
        assert!(matches!(ended, Some(Answer::Ended { channel, .. }) if &*channel == "b"));
        assert!(alone.router.revoked(&alone.seat, is(2)).is_none());
        alone.router.leave_all(&mut alone.seat, 0);
        assert_eq!(alone.router.terms(), 0);
    }
}
