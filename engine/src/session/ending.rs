//! How a connection ends from this side: with a close frame that is answered, with one that is not, or without any.
//!
//! Invariant: each end has its time, after which the socket is closed whatever the peer does.

use super::Heard;
use super::wire::{Ending, Phase, Wire};
use crate::flow::{Key, Now};
use crate::settings::Settings;

/// Sends a close frame and waits, a bounded time, for the peer's.
pub(super) fn close(
    key: Key,
    wire: &mut Wire,
    code: u16,
    reason: &str,
    now: Now,
    settings: &Settings,
    heard: &mut Heard,
) {
    if wire.closing.send() {
        heard.replies.close(key, Some(code), reason);
        heard.closes.push(code);
        heard.timers.push((key.slot, Some(close_due_ms(now, settings))));
    }
}

/// RFC 6455 section 7.1.7: says why, and hears nothing more.
pub(super) fn fail(
    key: Key,
    wire: &mut Wire,
    code: u16,
    reason: &str,
    now: Now,
    settings: &Settings,
    heard: &mut Heard,
) {
    if wire.closing.fail() {
        heard.replies.close(key, Some(code), reason);
        heard.closes.push(code);
    }
    end_after_flush(key, wire, Ending::Shutdown, now, settings, heard);
}

/// Ends the socket once everything that was said is with the kernel, or the close timeout has passed.
pub(super) fn end_after_flush(
    key: Key,
    wire: &mut Wire,
    ending: Ending,
    now: Now,
    settings: &Settings,
    heard: &mut Heard,
) {
    wire.phase = Phase::Ended;
    if wire.ending == Ending::Close || wire.ending == ending {
        return;
    }
    wire.ending = ending;
    heard.endings.push(key.slot);
    heard.timers.push((key.slot, Some(close_due_ms(now, settings))));
}

fn close_due_ms(now: Now, settings: &Settings) -> u64 {
    now.ms + u64::from(settings.client.close_timeout_s) * 1000
}
