//! The settings of the server API, and whether they fit the others.

use super::check::is_loopback;
use super::slot::Slot;
use super::table::{Row, fixed, live};
use crate::limits::API_KEYS_MAX;
use crate::settings::Settings;

/// In the order in which they are printed.
pub(super) static ROWS: &[Row] = &[
    fixed(
        "api.listen",
        Slot::Address(|s| &mut s.api.listen),
        "an address for the server API alone; off: it is on the admin address only",
    ),
    live(
        "api.keys",
        Slot::Secrets { at: |s| &mut s.api.keys, max: API_KEYS_MAX },
        "keys of back ends: requests to the server API over TCP must show one; none: refused, unless insecure",
    ),
];

/// Key, value and reason of everything that cannot be.
pub(super) fn problems(settings: &Settings) -> Vec<(&'static str, String, String)> {
    const LISTEN: &str = "api.listen";
    let Some(address) = settings.api.listen else { return Vec::new() };
    let mut problems = Vec::new();
    let has_keys = !settings.api.keys.is_empty();
    if !has_keys && !settings.insecure {
        let reason = "nobody could use it: give api.keys or api.keys_file";
        problems.push((LISTEN, address.to_string(), reason.into()));
    } else if !has_keys && !is_loopback(&address) {
        let reason = "an address that others can reach needs api.keys or api.keys_file";
        problems.push((LISTEN, address.to_string(), reason.into()));
    }
    let others = settings.clients().into_iter().chain(settings.admin).chain(settings.cluster.listen);
    if address.port() != 0 && others.into_iter().any(|other| other == address) {
        let reason = "the address is used twice; each address needs its own";
        problems.push((LISTEN, address.to_string(), reason.into()));
    }
    problems
}

/// What is worth a word at start.
pub(super) fn warnings(settings: &Settings) -> Option<String> {
    let is_served = settings.admin.is_some() || settings.api.listen.is_some();
    (settings.insecure && settings.api.keys.is_empty() && is_served).then(|| {
        "insecure mode: the server API needs no key, so whoever reaches it may publish and disconnect; api.keys closes it"
            .into()
    })
}
