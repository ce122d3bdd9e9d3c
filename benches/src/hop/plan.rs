//! What is compared: where the nodes are, and which loads they get.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Channels of every load.
pub const CHANNELS: u32 = 30;

/// Publishers of every load: two for each node of the fleet.
pub const PUBLISHERS: u32 = 6;

/// Bytes of data in one publication.
pub const BYTES: u32 = 128;

/// Nodes of a fleet.
pub const NODES: usize = 3;

/// The nodes that serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One node, no fleet.
    One,
    /// Three nodes of the same weight: each owns a third of the channels, and each has publishers.
    Even,
    /// Three nodes of which the first, by its weight, owns every channel and has every publisher: a
    /// delivery crosses no node boundary there, and one on the others.
    Owned,
}

impl Shape {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 3] = [Self::One, Self::Even, Self::Owned];

    /// The weight of each node; none has one where there is no fleet.
    pub fn weights(self) -> &'static [u32] {
        match self {
            Self::One => &[],
            Self::Even => &[100; NODES],
            // The bounds of a weight: another owner than the first is expected for one channel in 5,000.
            Self::Owned => &[10_000, 1, 1],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "one node",
            Self::Even => "three nodes",
            Self::Owned => "three nodes, the first owns all",
        })
    }
}

/// When publications are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many a second in all, whatever the nodes do.
    Open(u32),
    /// So many outstanding of each publisher; one is done when every reader has it.
    Closed(u32),
}

/// One load, on one node and on three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Readers of each channel, each on a connection of its own; a third of them at each node of a fleet.
    pub readers: u32,
    /// When publications are sent.
    pub pace: Pace,
    /// The fleet it is given to, beside the one node.
    pub fleet: Shape,
}

/// Every load in the order of a round.
pub const LOADS: [Load; 4] = [
    Load { readers: 3, pace: Pace::Open(500), fleet: Shape::Owned },
    Load { readers: 50, pace: Pace::Open(200), fleet: Shape::Even },
    Load { readers: 50, pace: Pace::Open(1_000), fleet: Shape::Even },
    Load { readers: 50, pace: Pace::Closed(8), fleet: Shape::Even },
];

impl Load {
    /// Who gets it in a round: in reversed order every other round, so that a machine that changes its speed
    /// meets both alike.
    pub fn order(&self, round: usize) -> [Shape; 2] {
        if round % 2 == 1 { [self.fleet, Shape::One] } else { [Shape::One, self.fleet] }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} readers, ", self.readers)?;
        match self.pace {
            Pace::Open(rate) => write!(f, "{rate} publications/s"),
            Pace::Closed(depth) => write!(f, "closed loop, depth {depth}"),
        }
    }
}

/// How much time a run takes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Effort {
    /// Rounds: measurements of each load on each shape and back end.
    pub rounds: usize,
    /// Seconds of one measurement.
    pub seconds: f64,
    /// Seconds under load before latencies count.
    pub warm_up_s: f64,
}

impl Effort {
    /// For figures that are kept: about five minutes.
    pub const FULL: Self = Self { rounds: 5, seconds: 1.5, warm_up_s: 0.5 };
    /// To see that everything works.
    pub const QUICK: Self = Self { rounds: 1, seconds: 0.5, warm_up_s: 0.2 };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_have_names_of_their_own_and_meet_both_shapes() {
        let names: std::collections::BTreeSet<_> = LOADS.iter().map(Load::to_string).collect();
        assert_eq!(names.len(), LOADS.len());
        for load in LOADS {
            assert_eq!((load.order(0), load.order(1)), ([Shape::One, load.fleet], [load.fleet, Shape::One]));
            assert_eq!(load.fleet.weights().len(), NODES);
        }
    }
}
