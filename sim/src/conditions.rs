//! How bad the simulated network is.
//!
//! Invariant: conditions change when and in which pieces bytes arrive, never which; only datagrams are lost or doubled.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::random::Random;

/// Delays, sizes and habits of a network and of the back ends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// One way of anything that is sent, microseconds.
    pub delay_us: RangeInclusive<usize>,
    /// Sizes into which a stream is cut on its way.
    pub segment_bytes: RangeInclusive<usize>,
    /// The most that one receive of a back end gives, drawn for each.
    pub receive_bytes: RangeInclusive<usize>,
    /// What an end can write before it must wait.
    pub send_buffer_bytes: usize,
    /// What may be on its way to an end or lie there unread.
    pub receive_buffer_bytes: usize,
    /// How often a back end does the work of a send only with its next wait, per mille (io_uring always,
    /// epoll never).
    pub late_sends: usize,
    /// How often a back end reports a reset before bytes that arrived ahead of it, which are then lost, per mille.
    pub hasty_resets: usize,
    /// How often a datagram is lost, per mille.
    pub datagrams_lost: usize,
    /// How often a datagram arrives twice, per mille.
    pub datagrams_doubled: usize,
}

impl Conditions {
    /// A network as on one machine: everything arrives whole, after 50 microseconds.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            delay_us: 50..=50,
            segment_bytes: 65_536..=65_536,
            receive_bytes: 65_536..=65_536,
            send_buffer_bytes: 65_536,
            receive_buffer_bytes: 65_536,
            late_sends: 0,
            hasty_resets: 0,
            datagrams_lost: 0,
            datagrams_doubled: 0,
        }
    }

    /// Conditions drawn from `random`: from nearly calm to byte by byte, with buffers from one frame to many.
    #[must_use]
    pub fn rough(random: &mut Random) -> Self {
        const SIZES: [usize; 5] = [1, 7, 200, 1_500, 65_536];
        const BUFFERS: [usize; 4] = [512, 2_048, 16_384, 262_144];
        Self {
            delay_us: 20..=[50, 5_000, 80_000][random.below(3)],
            segment_bytes: 1..=SIZES[random.below(SIZES.len())],
            receive_bytes: 1..=SIZES[random.within(1..=SIZES.len() - 1)],
            send_buffer_bytes: BUFFERS[random.below(BUFFERS.len())],
            receive_buffer_bytes: BUFFERS[random.below(BUFFERS.len())],
            late_sends: [0, 300, 1_000][random.below(3)],
            hasty_resets: [0, 500][random.below(2)],
            datagrams_lost: [0, 20, 100][random.below(3)],
            datagrams_doubled: [0, 20][random.below(2)],
        }
    }

    pub(crate) fn delay(&self, random: &mut Random) -> Duration {
        Duration::from_micros(random.within(self.delay_us.clone()) as u64)
    }
}
