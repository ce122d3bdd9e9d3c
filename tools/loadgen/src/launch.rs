//! From a scenario to what a run needs: the checked plan, and the back end that can carry it.

use std::sync::Arc;

use roadstead_io::{Choice, Kind, Selected, raise_descriptor_limit, select};

use crate::arguments::{IoChoice, ScenarioFlags};
use crate::limits::DESCRIPTORS_RESERVED;
use crate::plan::Plan;

/// The back end that was asked for, or the best there is.
///
/// # Errors
/// The machine does not have it.
pub(crate) fn selected(asked: IoChoice) -> Result<Selected, String> {
    let choice = match asked {
        IoChoice::Auto => Choice::Auto,
        IoChoice::Uring => Choice::Uring,
        IoChoice::Epoll => Choice::Epoll,
    };
    select(choice).map_err(|error| error.to_string())
}

/// A run that can begin: its plan and its back end.
///
/// # Errors
/// What is wrong with the scenario, or what this machine lacks, as a sentence for the user.
pub(crate) fn prepare(scenario: &ScenarioFlags) -> Result<(Arc<Plan>, Selected), String> {
    let mut plan = Plan::new(scenario)?;
    let selected = selected(plan.io)?;
    if selected.kind == Kind::Epoll {
        let wanted = u64::from(plan.clients) + DESCRIPTORS_RESERVED;
        let allowed = raise_descriptor_limit(wanted).map_err(|error| format!("descriptor limit: {error}"))?;
        plan.fit(allowed, scenario.flags().threads)?;
    }
    Ok((Arc::new(plan), selected))
}
