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

/// Compares the running settings with those just read, and returns what to run with from now on: the new values of
/// what a reload can change, the old ones of everything else.
#[must_use]
pub fn reload(running: &Settings, read: &Settings) -> (Settings, Changes) {
    let (mut running, mut read) = (running.clone(), read.clone());
    let mut next = running.clone();
    let mut changes = Changes::default();
    for row in TABLE {
        if row.slot.same(&mut running, &mut read) {
            continue;
        }
        if row.live {
            row.slot.copy(&mut next, &mut read);
            changes.applied.push(row.key);
        } else {
            changes.need_restart.push(row.key);
        }
    }
    (next, changes)
}
