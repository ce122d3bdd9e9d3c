//! What a reload changes: which new values apply at once and which need a restart.

use std::collections::BTreeSet;

use super::channels::OPTIONS;
use super::setting::{self, Setting};
use super::table;
use crate::settings::Settings;

/// Keys whose values differ between the running and the newly read configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Applied by the reload.
    pub applied: Vec<String>,
    /// Kept as they were until the next start.
    pub need_restart: Vec<String>,
}

/// Compares the running settings with those just read, and returns what to run with from now on: the new values of
/// what a reload can change, the old ones of everything else.
#[must_use]
pub fn reload(running: &Settings, read: &Settings) -> (Settings, Changes) {
    let (mut running, mut read) = (running.clone(), read.clone());
    let mut next = running.clone();
    let mut changes = Changes::default();
    for row in table::rows() {
        if row.slot.same(&mut running, &mut read) {
            continue;
        }
        if row.live {
            row.slot.copy(&mut next, &mut read);
            changes.applied.push(row.key.into());
        } else {
            changes.need_restart.push(row.key.into());
        }
    }
    changes.applied.extend(changed_channels(&mut running, &mut read));
    next.channel = read.channel;
    next.namespaces = read.namespaces;
    (next, changes)
}

/// What differs in the rules of channels, all of which apply at once: settings of namespaces that both know, and namespaces
/// that only one knows.
fn changed_channels(running: &mut Settings, read: &mut Settings) -> Vec<String> {
    let mut changed = Vec::new();
    let known: BTreeSet<String> = running.namespaces.keys().chain(read.namespaces.keys()).cloned().collect();
    for name in std::iter::once(None).chain(known.into_iter().map(Some)) {
        if let Some(name) = &name
            && running.namespaces.contains_key(name) != read.namespaces.contains_key(name)
        {
            changed.push(Setting::Namespace(name.clone()).key().into_owned());
            continue;
        }
        for row in OPTIONS {
            let one = setting::channels(running, name.as_deref());
            if !row.slot.same(one, setting::channels(read, name.as_deref())) {
                changed.push(Setting::Channels(name.clone(), row).key().into_owned());
            }
        }
    }
    changed
}
