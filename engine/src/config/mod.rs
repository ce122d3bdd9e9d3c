//! The configuration: from flags, environment and file to checked [`Settings`], with the origin of each value.
//!
//! Invariants: one table ([`table`]; [`channels`] for what each namespace sets) names every key once, with what is allowed and where it is stored; nothing is
//! ignored, an unknown key is an error; all problems are reported, not only the first; no secret is printed.
//!
//! ```text
//!   file (TOML) ─┐
//!   environment ─┼─> entries: key, value, origin ─> table: allowed? ─> Settings ─> check: do they fit together?
//!   flags ───────┘   (the later source wins)
//! ```

mod api;
mod channels;
mod check;
mod cluster;
mod duration;
mod entry;
mod environment;
mod file;
mod guards;
mod import;
mod print;
mod reload;
mod setting;
mod slot;
mod spelling;
mod table;
mod token;
mod token_table;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

pub use cluster::read_keys;
pub use entry::{Entry, Origin, Problem, Value};
pub use import::{Finding, Import, Verdict, import_centrifugo, read_centrifugo};
pub use print::{print_json, print_text, problems_json};
pub use reload::{Changes, reload};

use crate::limits::LINKS_PER_PEER_DEFAULT;
use crate::settings::Settings;

/// The file variable: names the configuration file where no `--config` does.
pub const FILE_VARIABLE: &str = environment::FILE_VARIABLE;

/// Where settings come from. The environment is an argument, so that tests own it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`; without it the environment may name one.
    pub file: Option<PathBuf>,
    /// Variables of the process.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags, in their order.
    pub flags: Vec<Entry>,
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The values.
    pub settings: Settings,
    /// Origin of each value that is no default, by key.
    pub origins: BTreeMap<String, Origin>,
    /// What is allowed and yet probably not meant.
    pub warnings: Vec<String>,
}

/// Reads and checks all sources.
///
/// # Errors
/// Every problem found, in the order of the sources.
pub fn load(sources: &Sources) -> Result<Configuration, Vec<Problem>> {
    let mut problems = Vec::new();
    let file = sources.file.clone().or_else(|| environment::file(&sources.environment));
    let mut layers = Vec::new();
    if let Some(path) = &file {
        layers.push(file::read(path, &mut problems));
    }
    layers.push(environment::entries(&sources.environment, &mut problems));
    layers.push(sources.flags.clone());
    settle(layers, problems)
}

/// Makes settings of what sources gave, the later ones above the earlier. `problems` are those of reading them.
fn settle(layers: Vec<Vec<Entry>>, mut problems: Vec<Problem>) -> Result<Configuration, Vec<Problem>> {
    let mut settings = Settings::default();
    let mut origins = BTreeMap::new();
    let mut layers = layers.into_iter();
    while let Some(layer) = layers.next() {
        let overridden = given(layers.as_slice());
        store(layer, &overridden, &mut settings, &mut origins, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    derive(&mut settings, &origins);
    problems = check::problems(&settings, &origins);
    if !problems.is_empty() {
        return Err(problems);
    }
    let warnings = check::warnings(&settings);
    Ok(Configuration { settings, origins, warnings })
}

/// Defaults that follow from other settings: development mode waits for nobody, and links are spread over shards.
fn derive(settings: &mut Settings, origins: &BTreeMap<String, Origin>) {
    let given = |key| origins.contains_key(key);
    if settings.insecure && !given("shutdown.ready_delay_ms") {
        settings.shutdown.ready_delay_ms = 0;
    }
    if settings.insecure && !given("shutdown.window_ms") {
        settings.shutdown.window_ms = 0;
    }
    if !given("cluster.links_per_peer") {
        settings.cluster.links_per_peer = LINKS_PER_PEER_DEFAULT.min(settings.shards);
    }
    guards::derive(settings, origins);
}

/// The settings that these sources give.
fn given(layers: &[Vec<Entry>]) -> BTreeSet<String> {
    let named = |entry: &Entry| setting::find(&entry.key).map(|(setting, _)| setting.key().into_owned());
    layers.iter().flatten().filter_map(named).collect()
}

/// Stores one source's entries. What a later source gives is checked here all the same, but the file of a secret
/// that is not used need not be there. A secret given both plainly and by file in one source is a problem; lists that a
/// flag repeats are one list.
fn store(
    layer: Vec<Entry>,
    overridden: &BTreeSet<String>,
    settings: &mut Settings,
    origins: &mut BTreeMap<String, Origin>,
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for entry in layer {
        let Some((setting, by_file)) = setting::find(&entry.key) else {
            problems.push(spelling::unknown(&entry));
            continue;
        };
        let key = setting.key().into_owned();
        if let Some(other) = seen.get(&key)
            && *other != entry.key
        {
            problems.push(entry.problem(format!("{other} is given too; give one of them")));
            continue;
        }
        let repeated = seen.insert(key.clone(), entry.key.clone()).is_some();
        let stored = if by_file && overridden.contains(&key) {
            Ok(())
        } else if by_file {
            setting.store_secret_file(settings, &entry.value)
        } else {
            setting.store(settings, &entry.value, repeated)
        };
        match stored {
            Ok(()) => {
                origins.insert(key, entry.origin.clone());
            }
            Err(reason) => problems.push(entry.problem(reason)),
        }
    }
}

/// Whether printing a value of this key would show a secret.
fn is_secret(key: &str) -> bool {
    setting::find(key).is_some_and(|(setting, by_file)| setting.is_secret() && !by_file)
}

#[cfg(test)]
mod tests;
