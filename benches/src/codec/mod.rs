//! What the codec costs without any kernel: nanoseconds and instructions of one operation, beside the least that could do
//! anything of the kind.
//!
//! The only part of the benches that calls packages of ours: there is no socket between them and the clock.

pub mod counting;
pub mod operations;
pub mod timing;

use serde::{Deserialize, Serialize};

/// What one operation costs, beside its floor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cost {
    /// The operation.
    pub operation: String,
    /// Bytes it goes through: those of the frame, the text, the message or the request.
    pub bytes: usize,
    /// What it is measured against.
    pub floor: String,
    /// Nanoseconds, median of the batches.
    pub ns: f64,
    /// The same of the floor.
    pub floor_ns: f64,
    /// Time of the floor divided by that of the operation, median of the pairs of batches.
    pub of_the_floor: f64,
    /// Instructions, if they could be counted.
    pub instructions: Option<u64>,
    /// The same of the floor.
    pub floor_instructions: Option<u64>,
}
