//! What it costs when everybody comes back at once: one storm against one server, and what a run of several says.

pub mod report;
pub mod storm;
