//! What a run leaves behind: a dated directory with every single measurement and the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::plan::{Backend, Contender, Effort, Family};
use super::table;
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
    /// Bytes of one message of the fan-out floor.
    pub fan_out_message_bytes: usize,
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

/// Writes `raw.json`, `machine.json` and `summary.md` to a directory of the run's name.
pub fn save(runs: &Path, run: &Run, machine: &Machine) -> io::Result<PathBuf> {
    let directory = runs.join(&run.name);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("raw.json"), serde_json::to_string_pretty(run)? + "\n")?;
    fs::write(directory.join("machine.json"), serde_json::to_string_pretty(machine)? + "\n")?;
    fs::write(directory.join("summary.md"), table::summary(run, machine))?;
    Ok(directory)
}

/// Reads a run back.
pub fn load(directory: &Path) -> io::Result<(Run, Machine)> {
    let read = |file: &str| {
        let path = directory.join(file);
        fs::read_to_string(&path).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))
    };
    Ok((serde_json::from_str(&read("raw.json")?)?, serde_json::from_str(&read("machine.json")?)?))
}

/// The run with the last name, which is the last date; quick runs do not count.
pub fn latest(runs: &Path) -> io::Result<PathBuf> {
    let none = || io::Error::other(format!("no full run under {}: make one with `bench`", runs.display()));
    let entries = fs::read_dir(runs).map_err(|_| none())?;
    let directories = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let full = directories
        .filter(|path| path.join("raw.json").is_file() && !path.to_string_lossy().contains("-quick"));
    full.max().ok_or_else(none)
}
