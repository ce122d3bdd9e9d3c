//! What sessions count; the turn moves it to the metrics.

use super::deflation::DeflateTally;
use super::judging::TokenTally;
use super::permissions::Refusals;

/// What was counted since the last look.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Upgrades answered with 101.
    pub upgraded: u64,
    /// Upgrades refused for want of room (503).
    pub refused_busy: u64,
    /// Upgrades refused because of the request (4xx, 5xx).
    pub refused_bad: u64,
    /// Messages received.
    pub messages: u64,
    /// Client commands received.
    pub commands: u64,
    /// Commands answered with an error.
    pub errors: u64,
    /// Commands that the rules of channels do not allow.
    pub refusals: Refusals,
    /// Tokens that were taken back, by what they were shown for.
    pub revoked: RevokedTally,
    /// Connections that broke RFC 6455.
    pub violations: u64,
    /// Closes that this side began, for any reason but the end of the process.
    pub disconnects: u64,
    /// Pings not answered in time.
    pub pongs_missing: u64,
    /// Upgrades refused because of the page's origin.
    pub origins_refused: u64,
    /// Handshakes begun and not finished in time.
    pub handshakes_late: u64,
    /// Clients that did not connect in time.
    pub connects_late: u64,
    /// Messages begun and not finished in time.
    pub messages_late: u64,
    /// Subscribe commands refused, since they came too fast.
    pub subscribes_paced: u64,
    /// Sessions refused, since their user has as many as it may.
    pub users_capped: u64,
    /// What was deflated and inflated.
    pub deflate: DeflateTally,
    /// What became of tokens.
    pub tokens: TokenTally,
}

impl Tally {
    /// What clients are charged for besides their messages: commands, and bad tokens for channels.
    pub(super) fn charged(&self) -> (u64, u64) {
        (self.commands, self.tokens.bad_for_channels)
    }

    pub(super) fn refuse(&mut self, status: u16) {
        if status == 503 { self.refused_busy += 1 } else { self.refused_bad += 1 }
    }
}

/// Tokens that were taken back, by what they were shown for.
#[derive(Debug, Default, Clone, Copy)]
pub struct RevokedTally {
    /// A connection.
    pub connect: u64,
    /// A connection that goes on.
    pub refresh: u64,
    /// A channel.
    pub subscribe: u64,
    /// A subscription that goes on.
    pub sub_refresh: u64,
}
