//! One run of a load against a server: its phases, and what is looked at in each.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stand::Load;
use super::watch::{Look, Stopwatch};
use crate::limits;
use crate::run::serving::Programs;

/// A line of the load generator's progress.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Progress {
    Phase { phase: String, at: f64, open: u64, failed: u64 },
    Second { phase: String, at: f64, open: u64, failed: u64 },
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Before the first connection.
    pub before: Look,
    /// At the end of the quiet hold, with all connections open.
    pub held: Look,
    /// Cores of the server while nothing but pings happened, over all of the hold but its first seconds.
    pub idle_cores: f64,
    /// Cores of the server while there were publications too; none for a floor.
    pub publishing_cores: Option<f64>,
    /// After all connections were closed; none for a floor.
    pub after: Option<Look>,
    /// The load generator's own result; none for a floor.
    pub result: Option<serde_json::Value>,
    /// Its exit code.
    pub exit_code: i32,
}

/// Drives one server through all phases; a floor, which knows no closing, only until its hold is over. `say` is told how
/// it goes.
pub fn run(
    programs: &Programs,
    load: &Load,
    is_floor: bool,
    say: &mut dyn FnMut(&str),
) -> io::Result<Measured> {
    let server = if is_floor { programs.serve_floor(load) } else { programs.serve(load) }?;
    let before = Look::at(server.pid())?;
    let result_file = programs.scratch.join("result.json");
    let mut driver = programs.drive(load, &server, is_floor, &result_file)?;
    let (mut idle, mut publishing) = (None, None);
    let (mut held, mut idle_cores, mut publishing_cores) = (None, None, None);
    let mut said = 0.0;
    let mut hold_began = 0.0;
    for line in driver.progress()? {
        let Ok(progress) = serde_json::from_str(&line) else { continue };
        match progress {
            Progress::Phase { phase, at, open, failed } => {
                say(&format!("{at:>6.0} s  {phase}: {open} open, {failed} failed"));
                if phase == "holding" {
                    hold_began = at;
                } else if let Some(watch) = idle.take() {
                    let watch: Stopwatch = watch;
                    idle_cores = Some(watch.cores()?);
                    held = Some(Look::at(server.pid())?);
                    if is_floor {
                        break;
                    }
                }
                match phase.as_str() {
                    "running" => publishing = Some(Stopwatch::start(server.pid())?),
                    _ => {
                        if let Some(watch) = publishing.take() {
                            publishing_cores = Some(watch.cores()?);
                        }
                    }
                }
            }
            Progress::Second { phase, at, open, failed } => {
                if phase == "holding" && idle.is_none() && at - hold_began >= limits::HOLD_SETTLE_S {
                    idle = Some(Stopwatch::start(server.pid())?);
                }
                if at - said >= limits::SAY_S {
                    said = at;
                    say(&format!("{at:>6.0} s  {phase}: {open} open, {failed} failed"));
                }
            }
        }
    }
    let (Some(held), Some(idle_cores)) = (held, idle_cores) else {
        let log = driver.log_tail();
        return Err(io::Error::other(format!(
            "loadgen ended before all connections were held; it said:\n{log}"
        )));
    };
    let mut measured =
        Measured { before, held, idle_cores, publishing_cores, after: None, result: None, exit_code: 0 };
    if !is_floor {
        measured.exit_code = driver.wait()?;
        measured.result = Some(read(&result_file)?);
        measured.after = Some(Look::at(server.pid())?);
        server.stop(Duration::from_secs(limits::STOP_S))?;
    }
    Ok(measured)
}

fn read(file: &Path) -> io::Result<serde_json::Value> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| io::Error::other(format!("the load generator left no result: {error}")))?;
    Ok(serde_json::from_str(&text)?)
}
