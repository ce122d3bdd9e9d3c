//! What it costs to cross from one node to another: one node and a fleet of three under the same load.

pub mod fleet;
pub mod measuring;
pub mod plan;
pub mod record;
pub mod table;
