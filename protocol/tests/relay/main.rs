//! Frames between nodes: their bytes, what is accepted, and what survives the way.

mod any_frame;
mod golden;
mod reading;
mod survival;
