//! Whole fleets of the state machine over a simulated network.

mod hostile;
mod membership;
mod network;
mod refusals;
