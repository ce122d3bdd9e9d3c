//! `serve`: runs a node until it is told to stop.

use std::time::Duration;

use super::given::sources;
use super::{Exit, ServeArguments, complain, complain_of};
use crate::node::{self, Failure};
use crate::{config, logging};

/// How long the last log lines may take to reach stderr.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Serves.
#[must_use]
pub fn run(arguments: &ServeArguments) -> Exit {
    let sources = sources(&arguments.config, Some(&arguments.settings));
    let configuration = match config::load(&sources) {
        Ok(configuration) => configuration,
        Err(problems) => return complain_of(&problems),
    };
    let logging = match logging::start(&configuration.settings.log) {
        Ok(logging) => logging,
        Err(error) => {
            complain(&format!("cannot start logging: {error}"));
            return Exit::Failure;
        }
    };
    let exit = match node::run(configuration, &sources, &logging) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            tracing::error!("{failure}");
            match failure {
                Failure::Demand(_) => Exit::Configuration,
                Failure::Start(_) | Failure::Serving(_) | Failure::Interrupted => Exit::Failure,
            }
        }
    };
    logging.flush(LAST_LINES);
    exit
}
