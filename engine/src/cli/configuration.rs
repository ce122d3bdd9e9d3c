//! `config check` and `config print`.

use super::given::sources;
use super::{ConfigAction, ConfigCommand, Exit, Output, answer, complain, complain_of};
use crate::config::{self, Configuration, print_json, print_text, problems_json};

/// Checks or prints the configuration.
#[must_use]
pub fn run(command: &ConfigCommand) -> Exit {
    let (query, print) = match &command.action {
        ConfigAction::Check(query) => (query, false),
        ConfigAction::Print(query) => (query, true),
    };
    let read = config::load(&sources(&query.config, Some(&query.settings)));
    match (read, query.output.output) {
        (Ok(configuration), Output::Text) if print => {
            warn(&configuration);
            answer(&print_text(&configuration));
        }
        (Ok(configuration), Output::Text) => {
            warn(&configuration);
            answer("the configuration is valid");
        }
        (Ok(configuration), Output::Json) if print => answer(&print_json(&configuration).to_string()),
        (Ok(configuration), Output::Json) => {
            answer(&serde_json::json!({ "valid": true, "warnings": configuration.warnings }).to_string());
        }
        (Err(problems), Output::Text) => return complain_of(&problems),
        (Err(problems), Output::Json) => {
            answer(&problems_json(&problems).to_string());
            return Exit::Configuration;
        }
    }
    Exit::Ok
}

fn warn(configuration: &Configuration) {
    for warning in &configuration.warnings {
        complain(&format!("warning: {warning}"));
    }
}
