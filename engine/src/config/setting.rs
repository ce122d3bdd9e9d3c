//! What a key names: a setting of the node, one of a namespace, or a namespace as such.
//!
//! Invariant: a namespace exists as soon as one of its settings is given, or its empty section.

use std::borrow::Cow;

use super::channels::OPTIONS;
use super::entry::Value;
use super::table::{Row, rows};
use crate::limits::NAMESPACE_BYTES_MAX;
use crate::settings::{Channel, Settings, is_namespace};

/// Before the settings of channels without a namespace.
const CHANNEL: &str = "channel.";
/// Before the name of a namespace, its settings behind it.
const NAMESPACE: &str = "namespace.";
/// The form of a secret that names the file which holds it.
const FILE: &str = "_file";

/// What can be given.
pub(super) enum Setting {
    /// A setting of the node.
    Node(&'static Row),
    /// A setting of a namespace; without a name: of the channels that have none.
    Channels(Option<String>, &'static Row<Channel>),
    /// That there is such a namespace.
    Namespace(String),
}

/// What a key names, and whether it is the `_file` form of a secret.
pub(super) fn find(key: &str) -> Option<(Setting, bool)> {
    if let Some(option) = key.strip_prefix(CHANNEL) {
        return Some((Setting::Channels(None, option_named(option)?), false));
    }
    if let Some(rest) = key.strip_prefix(NAMESPACE) {
        let (name, setting) = match rest.split_once('.') {
            Some((name, option)) => (name, Setting::Channels(Some(name.into()), option_named(option)?)),
            None => (rest, Setting::Namespace(rest.into())),
        };
        return is_namespace(name).then_some((setting, false));
    }
    if let Some(row) = rows().find(|row| row.key == key) {
        return Some((Setting::Node(row), false));
    }
    let plain = key.strip_suffix(FILE)?;
    let row = rows().find(|row| row.key == plain && row.slot.is_secret())?;
    Some((Setting::Node(row), true))
}

/// All that `settings` have, in the order in which it is printed.
pub(super) fn all(settings: &Settings) -> impl Iterator<Item = Setting> {
    let namespaces = std::iter::once(None).chain(settings.namespaces.keys().cloned().map(Some));
    let channels =
        namespaces.flat_map(|name| OPTIONS.iter().map(move |row| Setting::Channels(name.clone(), row)));
    rows().map(Setting::Node).chain(channels)
}

/// Every key that can be given beside `given`, the `_file` forms included: of namespaces' settings those of the one that
/// `given` speaks of.
pub(super) fn keys(given: &str) -> impl Iterator<Item = String> {
    let nodes = rows().flat_map(|row| {
        let file = row.slot.is_secret().then(|| format!("{}{FILE}", row.key));
        std::iter::once(row.key.to_owned()).chain(file)
    });
    let namespace = given.strip_prefix(NAMESPACE).and_then(|rest| rest.split_once('.'));
    let sections = [Some(CHANNEL.to_owned()), namespace.map(|(name, _)| format!("{NAMESPACE}{name}."))];
    let channels = sections
        .into_iter()
        .flatten()
        .flat_map(|section| OPTIONS.iter().map(move |row| format!("{section}{}", row.key)));
    nodes.chain(channels)
}

/// Why `key` can be no setting of a namespace, whatever it says.
pub(super) fn misnamed(key: &str) -> Option<String> {
    let rest = key.strip_prefix(NAMESPACE)?;
    let name = rest.split_once('.').map_or(rest, |(name, _)| name);
    (!is_namespace(name)).then(|| {
        format!(
            "{name:?} is no name of a namespace: allowed are 1 to {NAMESPACE_BYTES_MAX} letters, digits, - and _"
        )
    })
}

/// The settings of a namespace, which exists from now on.
pub(super) fn channels<'s>(settings: &'s mut Settings, namespace: Option<&str>) -> &'s mut Channel {
    match namespace {
        Some(name) => settings.namespaces.entry(name.to_owned()).or_default(),
        None => &mut settings.channel,
    }
}

fn option_named(key: &str) -> Option<&'static Row<Channel>> {
    OPTIONS.iter().find(|row| row.key == key)
}

impl Setting {
    /// Its key, without `_file`.
    pub(super) fn key(&self) -> Cow<'static, str> {
        match self {
            Self::Node(row) => row.key.into(),
            Self::Channels(None, row) => format!("{CHANNEL}{}", row.key).into(),
            Self::Channels(Some(name), row) => format!("{NAMESPACE}{name}.{}", row.key).into(),
            Self::Namespace(name) => format!("{NAMESPACE}{name}").into(),
        }
    }

    /// Stores `value`. `repeated`: the same source gave this setting before, so a list goes on.
    pub(super) fn store(&self, settings: &mut Settings, value: &Value, repeated: bool) -> Result<(), String> {
        match self {
            Self::Node(row) => row.slot.store(settings, value, repeated),
            Self::Channels(name, row) => row.slot.store(channels(settings, name.as_deref()), value, repeated),
            Self::Namespace(name) if *value == Value::Section => {
                channels(settings, Some(name));
                Ok(())
            }
            Self::Namespace(_) => Err(format!("allowed is {}", self.allowed())),
        }
    }

    /// Stores the secret that lies in the file which `value` names.
    pub(super) fn store_secret_file(&self, settings: &mut Settings, value: &Value) -> Result<(), String> {
        match self {
            Self::Node(row) => row.slot.store_secret_file(settings, value),
            Self::Channels(..) | Self::Namespace(_) => Err("only secrets are read from files".into()),
        }
    }

    /// The stored value, as [`Slot::show`] gives it.
    pub(super) fn show(&self, settings: &mut Settings) -> serde_json::Value {
        match self {
            Self::Node(row) => row.slot.show(settings),
            Self::Channels(name, row) => row.slot.show(channels(settings, name.as_deref())),
            Self::Namespace(_) => serde_json::Value::Null,
        }
    }

    /// What is allowed, to follow "allowed is".
    pub(super) fn allowed(&self) -> String {
        match self {
            Self::Node(row) => row.slot.allowed(),
            Self::Channels(_, row) => row.slot.allowed(),
            Self::Namespace(_) => "a section of the file with its settings, or without any".into(),
        }
    }

    /// Whether a reload applies a new value.
    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::Node(row) => row.live,
            Self::Channels(_, row) => row.live,
            Self::Namespace(_) => true,
        }
    }

    /// One line for operators.
    pub(super) fn doc(&self) -> &'static str {
        match self {
            Self::Node(row) => row.doc,
            Self::Channels(_, row) => row.doc,
            Self::Namespace(_) => "",
        }
    }

    /// Whether printing its value would show a secret.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Node(row) if row.slot.is_secret())
    }
}
