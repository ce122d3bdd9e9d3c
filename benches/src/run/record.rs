//! What a run leaves behind: a dated directory with every single measurement and the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::machine::Machine;
use super::plan::{Backend, Contender, Effort, Family};
use crate::kernel;

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Family of the bench.
    pub family: Family,
    /// The bench with its parameters.
    pub bench: String,
    /// Back end.
    pub backend: Backend,
    /// Who was measured.
    pub contender: Contender,
    /// Round, from 0.
    pub round: usize,
    /// The figure of the bench: operations per server-CPU-second, or bytes for each idle connection.
    pub figure: f64,
    /// Everything the driver reported.
    pub detail: serde_json::Value,
}

/// A measurement that did not succeed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// The bench with its parameters.
    pub bench: String,
    /// Back end.
    pub backend: Backend,
    /// Who was measured.
    pub contender: Contender,
    /// Why.
    pub reason: String,
}

/// All measurements of a run, in the order in which they were made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Name of the run: date and title.
    pub name: String,
    /// Time spent on each measurement.
    pub effort: Effort,
    /// Bytes of a floor's receive buffer.
    pub floor_buffer_bytes: usize,
    /// Bytes of one message of the fan-out floor, in JSON.
    pub fan_out_message_bytes: usize,
    /// The same of Protobuf.
    #[serde(default)]
    pub fan_out_protobuf_bytes: usize,
    /// What the codec costs, if it was measured.
    #[serde(default)]
    pub codec: Option<Codec>,
    /// Measurements.
    pub samples: Vec<Sample>,
    /// What failed.
    pub failures: Vec<Failure>,
}

/// A free directory name `YYYY-MM-DD-title` under `runs`; a number is added when it is taken.
pub fn free_name(runs: &Path, title: &str) -> String {
    let (year, month, day) = kernel::today();
    let name = format!("{year:04}-{month:02}-{day:02}-{title}");
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !runs.join(name).exists()).unwrap_or(name)
}

/// A title of a run, as given on a command line.
pub fn parse_title(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("a title has letters, digits and hyphens".to_owned())
    }
}

/// Fails early if a run could not be kept under `runs`.
pub fn check_place(runs: &Path) -> io::Result<()> {
    let parent = runs.parent().filter(|parent| !parent.as_os_str().is_empty());
    if parent.is_some_and(|parent| !parent.is_dir()) {
        let runs = runs.display();
        return Err(io::Error::other(format!(
            "nowhere to keep {runs}: run from the repository's root or give --runs"
        )));
    }
    Ok(())
}

/// Writes `raw.json`, `machine.json` and `summary.md` to a directory `name` under `runs`.
pub fn save(
    runs: &Path,
    name: &str,
    run: &impl Serialize,
    machine: &Machine,
    summary: &str,
) -> io::Result<PathBuf> {
    let directory = runs.join(name);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("raw.json"), serde_json::to_string_pretty(run)? + "\n")?;
    fs::write(directory.join("machine.json"), serde_json::to_string_pretty(machine)? + "\n")?;
    fs::write(directory.join("summary.md"), summary)?;
    Ok(directory)
}

/// Reads a run back.
pub fn load<R: DeserializeOwned>(directory: &Path) -> io::Result<(R, Machine)> {
    let read = |file: &str| {
        let path = directory.join(file);
        fs::read_to_string(&path).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))
    };
    Ok((serde_json::from_str(&read("raw.json")?)?, serde_json::from_str(&read("machine.json")?)?))
}

/// The run of `command` with the last name, which is the last date; quick runs and those of other programs do not count.
///
/// # Errors
/// None is kept; the text says how to make one.
pub fn latest<R: DeserializeOwned>(runs: &Path, command: &str) -> io::Result<PathBuf> {
    let none = || {
        let runs = runs.display();
        io::Error::other(format!(
            "no run of `{command}` is kept under {runs}: make one first, or give --runs"
        ))
    };
    let entries = fs::read_dir(runs).map_err(|_| none())?;
    let directories = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let full =
        directories.filter(|path| !path.to_string_lossy().contains("-quick") && load::<R>(path).is_ok());
    full.max().ok_or_else(none)
}

/// Puts a text into the README beside the runs, between the marks of the command that does so.
pub fn write_between(runs: &Path, command: &str, text: &str) -> io::Result<()> {
    let readme = runs.with_file_name("README.md");
    let document =
        fs::read_to_string(&readme).map_err(|e| io::Error::other(format!("{}: {e}", readme.display())))?;
    let replaced = replace_between(&document, command, text)
        .ok_or_else(|| io::Error::other(format!("{} has no marks for `{command}`", readme.display())))?;
    fs::write(&readme, replaced)
}

/// The document with a text between the marks of a command; `None` if it has no such marks.
fn replace_between(document: &str, command: &str, text: &str) -> Option<String> {
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {side}: {command} -->"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_kept_run_it_is_said_how_to_make_one() {
        let empty = std::env::temp_dir().join(format!("roadstead-runs-{}", std::process::id()));
        fs::create_dir_all(&empty).unwrap();
        for runs in [empty.clone(), empty.join("missing")] {
            let said = latest::<Run>(&runs, "million --curve").unwrap_err().to_string();
            assert!(said.contains("no run of `million --curve`"), "{said}");
        }
        fs::remove_dir_all(empty).unwrap();
    }

    #[test]
    fn only_the_part_between_the_marks_is_replaced() {
        let document = "before\n<!-- begin: x --table -->\nold\n<!-- end: x --table -->\nafter\n";
        let replaced = replace_between(document, "x --table", "new\n").unwrap();
        assert!(
            replaced.starts_with("before\n") && replaced.ends_with("\nafter\n") && !replaced.contains("old")
        );
        assert_eq!(replace_between(&replaced, "x --table", "new\n"), Some(replaced.clone()));
        assert_eq!(replace_between(document, "y --table", "new\n"), None);
    }
}
