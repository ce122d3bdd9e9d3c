//! `config check` and `config print`; `config import` is in a file of its own.

use super::given::sources;
use super::import::import;
use super::{ConfigAction, ConfigCommand, Exit, Output, answer, complain, complain_of};
use crate::config::{self, Configuration, Problem, print_json, print_text, problems_json};
use crate::tls::{Identity, LinkIdentity, Tickets};
use crate::token::{Remotes, Verifier};

/// Checks, prints or imports a configuration.
#[must_use]
pub fn run(command: &ConfigCommand) -> Exit {
    let (query, print) = match &command.action {
        ConfigAction::Check(query) => (query, false),
        ConfigAction::Print(query) => (query, true),
        ConfigAction::Import(arguments) => return import(arguments),
    };
    let read =
        config::load(&sources(&query.config, Some(&query.settings))).and_then(with_tls).and_then(with_keys);
    match (read, query.output.output) {
        (Ok(configuration), Output::Text) if print => {
            warn(&configuration);
            answer(&print_text(&configuration))
        }
        (Ok(configuration), Output::Text) => {
            warn(&configuration);
            answer("the configuration is valid")
        }
        (Ok(configuration), Output::Json) if print => answer(&print_json(&configuration).to_string()),
        (Ok(configuration), Output::Json) => {
            answer(&serde_json::json!({ "valid": true, "warnings": configuration.warnings }).to_string())
        }
        (Err(problems), Output::Text) => complain_of(&problems),
        (Err(problems), Output::Json) => {
            answer(&problems_json(&problems).to_string()).and(Exit::Configuration)
        }
    }
}

/// A node loads certificate and key before it serves; what would stop it is a problem here too.
fn with_tls(configuration: Configuration) -> Result<Configuration, Vec<Problem>> {
    let nothing = |reason: String| vec![Problem { key: None, value: None, origin: None, reason }];
    let tickets = Tickets::of_node().map_err(|error| nothing(error.to_string()))?;
    let settings = &configuration.settings;
    let loaded = Identity::load(&settings.tls, &tickets);
    match loaded.and_then(|_| LinkIdentity::load(&settings.cluster)) {
        Ok(_) => Ok(configuration),
        Err(error) => Err(vec![Problem {
            key: Some(error.setting.into()),
            value: Some(error.path.display().to_string()),
            origin: configuration.origins.get(error.setting).cloned(),
            reason: error.reason,
        }]),
    }
}

/// It also reads the files of keys; what is at an address is not asked for.
fn with_keys(configuration: Configuration) -> Result<Configuration, Vec<Problem>> {
    match Verifier::load(&configuration.settings, &Remotes::default()) {
        Ok(_) => Ok(configuration),
        Err(error) => Err(vec![Problem {
            origin: configuration.origins.get(&error.setting).cloned(),
            key: Some(error.setting),
            value: Some(error.value),
            reason: error.reason,
        }]),
    }
}

fn warn(configuration: &Configuration) {
    for warning in &configuration.warnings {
        complain(&format!("warning: {warning}"));
    }
}
