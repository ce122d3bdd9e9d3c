//! One run: every bench on every back end, Roadstead and floor in turn, kept with the machine it ran on.

pub mod codec;
pub mod command;
pub mod machine;
pub mod measuring;
pub mod plan;
pub mod record;
pub mod serving;
pub mod table;
