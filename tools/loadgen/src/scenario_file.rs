//! Scenarios as TOML files: keys are the names of flags, and flags on the command line go first.
//!
//! ```toml
//! scenario = "fanout"
//! connections = 5000
//! duration = "30s"
//! expect = ["p99<50ms", "lost==0"]
//! ```
//!
//! Invariant: a file is turned into words of a command line, so that both are read and judged in one way.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Parser};
use toml::{Table, Value};

use crate::arguments::{Arguments, ScenarioFlags};

/// The key that says which scenario it is.
const SCENARIO: &str = "scenario";

/// The scenario in the file at `path`, with the flags of `given` (matches of `run`) in place of what it says.
///
/// # Errors
/// What is wrong with the file, as a sentence for the user.
pub(crate) fn read(path: &Path, given: &ArgMatches) -> Result<(ScenarioFlags, Vec<String>), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let table: Table = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
    let words = words(&table, given).map_err(|error| format!("{}: {error}", path.display()))?;
    let arguments = Arguments::try_parse_from(&words).map_err(|error| {
        // The first lines say what is wrong; the rest is about a command line that nobody wrote.
        let text = error.to_string();
        let reason = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        format!("{}: {reason}", path.display())
    })?;
    Ok((arguments.scenario, words))
}

/// The command line of scenario `name` with the flags of `given`, its matches; what the environment says is among them.
#[must_use]
pub(crate) fn words_given(name: &str, given: &ArgMatches) -> Vec<String> {
    let mut words = vec!["loadgen".to_owned(), name.to_owned()];
    if let Some(known) = Arguments::command().find_subcommand(name) {
        push_given(&mut words, known, given);
    }
    words
}

/// The command line that says the same.
fn words(table: &Table, given: &ArgMatches) -> Result<Vec<String>, String> {
    let scenario = match table.get(SCENARIO) {
        Some(Value::String(name)) => name,
        _ => {
            return Err("scenario is missing: the name of a scenario, as in scenario = \"fanout\"".to_owned());
        }
    };
    let command = Arguments::command();
    let known = command
        .find_subcommand(scenario)
        .ok_or_else(|| format!("scenario: {scenario:?} is none; see loadgen --help"))?;
    let mut words: Vec<String> = vec!["loadgen".to_owned(), scenario.to_owned()];
    for (key, value) in table.iter().filter(|(key, _)| *key != SCENARIO) {
        let flag =
            flag(known, key).ok_or_else(|| format!("unknown key {key}: keys are the names of flags"))?;
        if !is_given(given, flag) {
            push_value(&mut words, key, flag, value)?;
        }
    }
    push_given(&mut words, known, given);
    Ok(words)
}

fn flag<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|flag| flag.get_long() == Some(key))
}

fn is_given(given: &ArgMatches, flag: &Arg) -> bool {
    let id = flag.get_id().as_str();
    // Not every flag of a scenario is one of `given`, which may belong to another command.
    let is_known = given.try_contains_id(id).is_ok();
    is_known && matches!(given.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn push_value(words: &mut Vec<String>, key: &str, flag: &Arg, value: &Value) -> Result<(), String> {
    let is_switch = matches!(flag.get_action(), ArgAction::SetTrue);
    match value {
        Value::Boolean(is_on) if is_switch => {
            if *is_on {
                words.push(format!("--{key}"));
            }
        }
        _ if is_switch => return Err(format!("{key} is true or false")),
        Value::Array(values) => values.iter().try_for_each(|value| push_value(words, key, flag, value))?,
        Value::String(text) => words.push(format!("--{key}={text}")),
        Value::Integer(number) => words.push(format!("--{key}={number}")),
        Value::Float(number) => words.push(format!("--{key}={number}")),
        Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            return Err(format!("{key} is a number, a text, or a list of them"));
        }
    }
    Ok(())
}

fn push_given(words: &mut Vec<String>, command: &Command, given: &ArgMatches) {
    for flag in command.get_arguments().filter(|flag| is_given(given, flag)) {
        let (Some(long), id) = (flag.get_long(), flag.get_id().as_str()) else { continue };
        if matches!(flag.get_action(), ArgAction::SetTrue) {
            words.push(format!("--{long}"));
            continue;
        }
        for value in given.get_raw(id).into_iter().flatten() {
            words.push(format!("--{long}={}", value.to_string_lossy()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::command_line;
    use crate::plan::Plan;

    fn flags(text: &str, line: &str) -> Result<(ScenarioFlags, Vec<String>), String> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("loadgen-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let line = format!("loadgen run {} {line}", path.display());
        let matches = command_line().try_get_matches_from(line.split_whitespace()).unwrap();
        let read = read(&path, matches.subcommand_matches("run").unwrap());
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn keys_are_flags_and_flags_go_first() {
        let file = "scenario = \"fanout\"\nurl = [\"ws://a:1/\", \"ws://b:2/\"]\nconnections = 7\nrate = 2.5\n\
                    protobuf = true\nduration = \"1m\"\nexpect = [\"lost==0\"]\n";
        let read = flags(file, "").unwrap().0;
        assert_eq!(read.name(), "fanout");
        let from_file = read.flags();
        assert_eq!((from_file.url.len(), from_file.connections, from_file.rate), (2, 7, Some(2.5)));
        assert!(from_file.protobuf && from_file.expect.len() == 1);
        let read = flags(file, "--url ws://c/ -n 9 --expect p99<1s --expect lost<5").unwrap().0;
        let given = read.flags();
        assert_eq!((given.url.len(), given.connections, given.expect.len()), (1, 9, 2));
        assert_eq!(given.url[0].host, "c");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("connections = 5", "scenario is missing"),
            ("scenario = \"dance\"", "\"dance\""),
            ("scenario = \"echo\"\nspeed = 5", "unknown key speed"),
            ("scenario = \"echo\"\nconnections = \"many\"\nurl = \"ws://a/\"", "--connections"),
            ("scenario = \"echo\"\ntext = 1", "text is true or false"),
            ("scenario = \"echo\"\nrate = true", "rate is a number"),
            ("scenario = \"echo\"", "--url"),
            ("scenario = ", "TOML"),
        ];
        for (file, expected) in table {
            let error = flags(file, "").unwrap_err();
            assert!(error.contains(expected) && error.contains(".toml"), "{file}: {error}");
        }
    }

    /// The scenarios that come with the tool make sense, but for the place that they leave to the user.
    #[test]
    fn the_scenarios_that_come_along_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let line = format!("loadgen run {} --url ws://127.0.0.1:1/", path.display());
            let matches = command_line().try_get_matches_from(line.split(' ')).unwrap();
            let (scenario, _) = read(&path, matches.subcommand_matches("run").unwrap()).unwrap();
            Plan::new(&scenario).unwrap();
            assert!(crate::plan::idle_flags(&scenario).is_empty(), "{}", path.display());
            names.push(scenario.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 9, "each kind of scenario has a file: {names:?}");
    }
}
