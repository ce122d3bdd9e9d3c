//! How much a connection and its user may say: messages and commands, their bytes, subscribe commands.
//!
//! Invariants: while nothing is bounded, this takes no memory and one comparison a message; what is bounded takes 32 bytes for each slot
//! in use, and allocates with it, never with a message. Time is the turn's.

use std::sync::Arc;

use roadstead_protocol::DisconnectCode;
use wsproto::code;

use super::wire::{Phase, Wire};
use super::{Heard, Sessions, close};
use crate::bucket::{Bucket, Rate};
use crate::flow::{Key, Now};
use crate::guards::{Guards, Signal, UserShare};
use crate::settings::Guard;

/// The connection, or its user, says too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooMuch;

/// What a connection has taken of its bounds.
#[derive(Debug, Default)]
struct Spent {
    messages: Bucket,
    bytes: Bucket,
    subscribes: Bucket,
    user: Option<Arc<UserShare>>,
}

/// The bounds that hold.
#[derive(Debug, Default)]
struct Bounds {
    messages: Option<Rate>,
    bytes: Option<Rate>,
    subscribes: Option<Rate>,
    user_messages: Option<Rate>,
    user_bytes: Option<Rate>,
    user_connections: u32,
}

impl Bounds {
    fn new(rules: &Guard) -> Self {
        let rate = |per_s| Rate::new(per_s, rules.burst_s);
        Self {
            messages: rate(rules.messages_per_s),
            bytes: rate(rules.bytes_per_s),
            subscribes: rate(rules.subscribes_per_s),
            user_messages: rate(rules.user_messages_per_s),
            user_bytes: rate(rules.user_bytes_per_s),
            user_connections: rules.connections_per_user,
        }
    }

    fn hears(&self) -> bool {
        [self.messages, self.bytes, self.user_messages, self.user_bytes].iter().any(Option::is_some)
    }

    fn knows_users(&self) -> bool {
        self.user_connections > 0 || self.user_messages.is_some() || self.user_bytes.is_some()
    }
}

/// The bounds of a shard's connections.
#[derive(Debug)]
pub(super) struct Rates {
    guards: Arc<Guards>,
    bounds: Bounds,
    /// Whether messages are bounded in any way.
    hears: bool,
    spent: Vec<Spent>,
}

impl Rates {
    pub(super) fn new(guards: Arc<Guards>, rules: &Guard) -> Self {
        let bounds = Bounds::new(rules);
        Self { guards, hears: bounds.hears(), bounds, spent: Vec::new() }
    }

    /// These bounds hold from now on; users that are connected already are bounded when they come again.
    pub(super) fn reload(&mut self, rules: &Guard) {
        self.bounds = Bounds::new(rules);
        self.hears = self.bounds.hears();
    }

    /// A connection says so many messages of so many bytes.
    pub(super) fn hear(&mut self, slot: u32, now_ms: u64, messages: u64, bytes: u64) -> Result<(), TooMuch> {
        if !self.hears {
            return Ok(());
        }
        self.hear_bounded(slot, now_ms, messages, bytes)
    }

    fn hear_bounded(&mut self, slot: u32, now_ms: u64, messages: u64, bytes: u64) -> Result<(), TooMuch> {
        let Bounds { messages: per_message, bytes: per_byte, user_messages, user_bytes, .. } = self.bounds;
        let spent = self.spent(slot);
        let mut taken = Ok(());
        for (bucket, rate, amount) in
            [(&mut spent.messages, per_message, messages), (&mut spent.bytes, per_byte, bytes)]
        {
            if let Some(rate) = rate {
                taken = taken.and(bucket.take(rate, now_ms, amount));
            }
        }
        if let Some(user) = &spent.user {
            for (bucket, rate, amount) in
                [(&user.messages, user_messages, messages), (&user.bytes, user_bytes, bytes)]
            {
                if let Some(rate) = rate {
                    taken = taken.and(bucket.take(rate, now_ms, amount));
                }
            }
        }
        taken.map_err(|_| TooMuch)
    }

    /// A message of a connection held so many further commands: they are paid for afterwards.
    pub(super) fn owe(&mut self, slot: u32, now_ms: u64, commands: u64) {
        if !self.hears || commands == 0 {
            return;
        }
        let Bounds { messages, user_messages, .. } = self.bounds;
        let spent = self.spent(slot);
        if let Some(rate) = messages {
            spent.messages.owe(rate, now_ms, commands);
        }
        if let (Some(user), Some(rate)) = (&spent.user, user_messages) {
            user.messages.owe(rate, now_ms, commands);
        }
    }

    /// Whether a connection may subscribe once more.
    pub(super) fn may_subscribe(&mut self, slot: u32, now_ms: u64) -> bool {
        let Some(rate) = self.bounds.subscribes else { return true };
        self.spent(slot).subscribes.take(rate, now_ms, 1).is_ok()
    }

    /// The connection in `slot` becomes one of `user`. False: the user has as many as it may.
    pub(super) fn enter(&mut self, slot: u32, user: &str) -> bool {
        if user.is_empty() || !self.bounds.knows_users() {
            return true;
        }
        let share = self.guards.enter_user(user, self.bounds.user_connections);
        let entered = share.is_some();
        self.spent(slot).user = share;
        entered
    }

    /// The connection in `slot` is over.
    pub(super) fn end(&mut self, slot: u32) {
        if let Some(spent) = self.spent.get_mut(slot as usize)
            && let Some(user) = std::mem::take(spent).user
        {
            self.guards.leave_user(&user);
        }
    }

    fn spent(&mut self, slot: u32) -> &mut Spent {
        let slot = slot as usize;
        if slot >= self.spent.len() {
            self.spent.resize_with(slot + 1, Spent::default);
        }
        &mut self.spent[slot]
    }
}

const _: () = assert!(size_of::<Spent>() == 32);

impl Sessions {
    /// Closes a connection that says more than it may.
    pub(super) fn hush(&mut self, key: Key, wire: &mut Wire, now: Now, heard: &mut Heard) {
        self.tally.disconnects += 1;
        self.gate.blame(key.slot, Signal::Rate, &self.settings.guard, now.ms);
        let code = DisconnectCode::TooManyRequests;
        let (code, reason) = match wire.phase {
            Phase::Client => (code.code(), code.reason()),
            _ => (code::POLICY_VIOLATION, "too many messages"),
        };
        close(key, wire, code, reason, now, &self.settings, heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn rates(rules: &Guard) -> Rates {
        Rates::new(Arc::new(Guards::new(Arc::new(Settings::default()), (1, 2))), rules)
    }

    #[test]
    fn without_bounds_nothing_is_kept() {
        let mut rates = rates(&Guard::default());
        assert_eq!(rates.hear(1_000, 0, u64::MAX, u64::MAX), Ok(()));
        assert!(rates.may_subscribe(1_000, 0) && rates.enter(1_000, "ada"));
        assert!(rates.spent.is_empty());
    }

    #[test]
    fn each_bound_holds_by_itself() {
        let rules = Guard { burst_s: 1, ..Guard::default() };
        for (rules, messages, bytes, times) in [
            (Guard { messages_per_s: 10, ..rules.clone() }, 1, 1_000, 10),
            (Guard { bytes_per_s: 10_000, ..rules.clone() }, 1, 1_000, 10),
            (Guard { user_messages_per_s: 8, ..rules.clone() }, 2, 1_000, 4),
            (Guard { user_bytes_per_s: 3_000, ..rules.clone() }, 1, 1_000, 3),
        ] {
            let mut rates = rates(&rules);
            assert!(rates.enter(3, "ada"));
            let passed = (0..100).take_while(|_| rates.hear(3, 7, messages, bytes).is_ok()).count();
            assert_eq!(passed, times, "{rules:?}");
            assert_eq!(rates.hear(4, 7, messages, bytes), Ok(()), "another connection");
            assert_eq!(rates.hear(3, 2_007, messages, bytes), Ok(()), "later");
            rates.end(3);
            assert_eq!(rates.hear(3, 7, messages, bytes), Ok(()), "another one in its slot");
        }
    }

    #[test]
    fn commands_are_paid_for_afterwards() {
        let mut rates = rates(&Guard { messages_per_s: 10, burst_s: 1, ..Guard::default() });
        assert_eq!(rates.hear(1, 0, 1, 1), Ok(()));
        rates.owe(1, 0, 29);
        assert_eq!((rates.hear(1, 2_000, 1, 1), rates.hear(1, 2_100, 1, 1)), (Err(TooMuch), Ok(())));
    }

    #[test]
    fn users_share_and_are_capped() {
        let rules = Guard { user_messages_per_s: 4, connections_per_user: 2, burst_s: 1, ..Guard::default() };
        let mut rates = rates(&rules);
        assert!(rates.enter(1, "ada") && rates.enter(2, "ada") && !rates.enter(3, "ada"));
        assert!(rates.enter(4, "bob") && rates.enter(5, "") && rates.enter(6, ""), "nobody is no user");
        for slot in [1, 2, 1, 2] {
            assert_eq!(rates.hear(slot, 0, 1, 1), Ok(()));
        }
        assert_eq!((rates.hear(1, 0, 1, 1), rates.hear(4, 0, 1, 1)), (Err(TooMuch), Ok(())));
        assert_eq!(rates.hear(3, 0, 9, 1), Ok(()), "who was not let in has nothing to share");
        rates.end(3);
        rates.end(1);
        assert!(rates.enter(7, "ada") && !rates.enter(8, "ada"));
    }

    #[test]
    fn subscribing_is_paced() {
        let mut rates = rates(&Guard { subscribes_per_s: 5, burst_s: 2, ..Guard::default() });
        assert_eq!((0..100).filter(|_| rates.may_subscribe(1, 0)).count(), 10);
        assert!(rates.may_subscribe(1, 200) && rates.may_subscribe(2, 0));
    }
}
