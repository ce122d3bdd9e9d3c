//! Frames in, events out: tables for every rule of RFC 6455 sections 5 to 8, then properties.

mod wire;

mod close_rules;
mod echo;
mod encoding;
mod fragments;
mod header_rules;
mod masking;
mod retention;
mod splits;
mod text;
