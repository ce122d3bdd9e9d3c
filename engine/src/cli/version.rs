//! `version`.

use super::{Exit, Output, OutputArgument, answer};
use crate::admin::VERSION;

/// Prints the version.
#[must_use]
pub fn run(argument: &OutputArgument) -> Exit {
    match argument.output {
        Output::Text => answer(&format!("roadstead {VERSION}")),
        Output::Json => answer(&serde_json::json!({ "version": VERSION }).to_string()),
    }
}
