//! What good clients notice of a crowd that attacks: one round against one server, the attackers, and what a run says.

pub mod attack;
pub mod report;
pub mod round;
