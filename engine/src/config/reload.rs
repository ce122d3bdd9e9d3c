//! What a reload changes: which new values apply at once and which need a restart.

use super::table::TABLE;
use crate::settings::Settings;

/// Keys whose values differ between the running and the newly read configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Applied by the reload.
    pub applied: Vec<&'static str>,
    /// Kept as they were until the next start.
    pub need_restart: Vec<&'static str>,
}

/// Compares the running settings with those just read.
#[must_use]
pub fn changes(running: &Settings, read: &Settings) -> Changes {
    let (mut running, mut read) = (running.clone(), read.clone());
    let mut changes = Changes::default();
    for row in TABLE.iter().filter(|row| !row.slot.same(&mut running, &mut read)) {
        if row.live { &mut changes.applied } else { &mut changes.need_restart }.push(row.key);
    }
    changes
}
