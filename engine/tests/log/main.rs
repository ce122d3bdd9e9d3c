//! The durable log in a process of its own: killed again and again under load, and watched at its system calls.

mod crashes;
#[path = "../surroundings/mod.rs"]
mod surroundings;
mod tool;
mod trace;
mod victim;
