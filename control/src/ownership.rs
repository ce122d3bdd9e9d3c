//! Which node owns a channel: weighted rendezvous hashing over the nodes of a View that own channels.
//!
//! Invariants: a pure function of View and channel, in integers only, so that all machines agree to the last
//! bit (a logarithm of floats may differ between libraries); a node that leaves moves its own channels and no
//! others, each to the node that was ranked second for it.
//!
//! Each node draws a number for the channel, uniform in (0, 1): the hash of the pair. Its score is
//! `-log2(draw) / weight`; the smallest score owns. A draw's logarithm is exponentially distributed, and the
//! smallest of exponential variables belongs to each in proportion to its rate, which here is its weight.

use crate::hash::{channel_hash, pair_hash};
use crate::limits::WEIGHT_MAX;
use crate::node::NodeId;
use crate::view::View;

/// Fractional bits of a logarithm. A draw's resolution beyond them decides only between equals.
const FRACTION_BITS: u32 = 40;

// The logarithm of a draw is below 65, so seven bits of whole part: its product with a weight stays inside 64
// bits.
const _: () = assert!((65_u64 << FRACTION_BITS).checked_mul(WEIGHT_MAX as u64).is_some());

/// The nodes that rank first and second for a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rank {
    /// Orders the channel.
    pub owner: NodeId,
    /// Owns it next, should the owner leave. `None` if no other node owns channels.
    pub standby: Option<NodeId>,
}

/// The owner of `channel`, or `None` in a View without nodes.
#[must_use]
pub fn owner(view: &View, channel: &[u8]) -> Option<NodeId> {
    rank(view, channel).map(|rank| rank.owner)
}

/// Owner and standby of `channel`, or `None` in a View without nodes. Looks at every node once.
#[must_use]
pub fn rank(view: &View, channel: &[u8]) -> Option<Rank> {
    let channel = channel_hash(channel);
    let mut first: Option<Draw> = None;
    let mut second: Option<Draw> = None;
    for (node, hash) in view.owners() {
        let draw = Draw { id: node.id, value: pair_hash(channel, hash), weight: node.weight.get() };
        if first.is_none_or(|first| draw.beats(&first)) {
            second = first;
            first = Some(draw);
        } else if second.is_none_or(|second| draw.beats(&second)) {
            second = Some(draw);
        }
    }
    first.map(|first| Rank { owner: first.id, standby: second.map(|second| second.id) })
}

/// What one node drew for one channel.
#[derive(Clone, Copy)]
struct Draw {
    id: NodeId,
    value: u64,
    weight: u16,
}

impl Draw {
    /// Whether this one ranks before `other`. Equal scores go to the larger draw, then to the smaller id.
    fn beats(&self, other: &Draw) -> bool {
        // Most pairs are decided without a logarithm: a smaller draw of no larger weight cannot win.
        if self.weight <= other.weight && self.value < other.value {
            return false;
        }
        let ours = minus_log2(self.value) * u64::from(other.weight);
        let theirs = minus_log2(other.value) * u64::from(self.weight);
        ours.cmp(&theirs).then(other.value.cmp(&self.value)).then(self.id.cmp(&other.id)).is_lt()
    }
}

/// `-log2((2 value + 1) / 2^65)`, above 0 and at most 65, with [`FRACTION_BITS`]; never rises with `value`.
fn minus_log2(value: u64) -> u64 {
    let odd = u128::from(value) * 2 + 1;
    let whole = 127 - odd.leading_zeros();
    // The mantissa, 1 to 2, with 63 fractional bits. Squaring doubles its logarithm: each carry is the next bit.
    let mut mantissa = (odd << (127 - whole) >> 64) as u64;
    let mut log2 = u64::from(whole);
    for _ in 0..FRACTION_BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carry = (square >> 64) as u64;
        mantissa = (square >> carry) as u64;
        log2 = log2 << 1 | carry;
    }
    (65 << FRACTION_BITS) - log2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right() {
        for value in [0, 1, 2, 1_000, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX / 3, u64::MAX - 1, u64::MAX] {
            let ours = minus_log2(value) as f64 / (1_u64 << FRACTION_BITS) as f64;
            let exact = -(((value as f64) * 2.0 + 1.0) / 2_f64.powi(65)).log2();
            assert!((ours - exact).abs() < 1e-9, "{value}: {ours} instead of {exact}");
        }
    }

    #[test]
    fn logarithms_never_rise() {
        let mut value = 0_u64;
        let mut last = minus_log2(0);
        while let Some(next) = value.checked_add(value / 7 + 1) {
            let log = minus_log2(next);
            assert!(log <= last, "at {next}");
            assert!(log <= minus_log2(next - 1), "just below {next}");
            (value, last) = (next, log);
        }
    }
}
