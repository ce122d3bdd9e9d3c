//! What the programs that keep runs have in common: where runs go, which machine will do, how they end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use super::machine::Machine;
use super::record;

/// Where a run is kept.
#[derive(Args, Debug)]
pub struct Keeping {
    /// Title of the run, behind its date in the directory's name.
    #[arg(long, value_parser = record::parse_title)]
    pub name: Option<String>,
    /// Where runs are kept.
    #[arg(long, default_value = "benches/runs")]
    pub runs: PathBuf,
}

/// Which certificate a server shows.
#[derive(Args, Debug, Clone)]
pub struct Certificate {
    /// Certificate of the server over TLS (PEM).
    #[arg(long, default_value = "engine/src/tls/test_certificate.pem")]
    pub certificate: PathBuf,
    /// Its key (PEM).
    #[arg(long, default_value = "engine/src/tls/test_key.pem")]
    pub key: PathBuf,
}

impl Certificate {
    /// Has a `roadstead` show it, and begin handshakes as they come: what they cost is the question, not how they are paced.
    pub fn show(&self, roadstead: &mut Command) {
        roadstead.arg("--tls-cert").arg(&self.certificate).arg("--tls-key").arg(&self.key);
        roadstead.args(["--set", "tls.handshakes_per_s=0"]);
    }
}

impl Keeping {
    /// A free name for a run without a title of its own.
    pub fn free_name(&self, title: &str) -> String {
        record::free_name(&self.runs, self.name.as_deref().unwrap_or(title))
    }
}

/// This machine, with a core for each end; a busy one is told to `say`.
///
/// # Errors
/// One core only.
pub fn machine_of_two(say: &mut dyn FnMut(&str)) -> io::Result<Machine> {
    let machine = Machine::describe()?;
    if machine.cores < 2 {
        return Err(io::Error::other(
            "two cores are needed: one for what is measured, one for what drives it",
        ));
    }
    if machine.load_before > 0.5 {
        say(&format!("the machine is not quiet (load {}): figures will be off", machine.load_before));
    }
    Ok(machine)
}

/// The program that was given, or the one of this name beside the running one.
///
/// # Errors
/// It is not there.
pub fn program(given: Option<&Path>, name: &str) -> io::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name(name),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(io::Error::other(format!("{} is missing: build all with `cargo build --release`", path.display())))
}

/// A new directory for what a program writes while it runs. Those of runs that were killed are removed.
///
/// # Errors
/// It cannot be made.
pub fn scratch(title: &str) -> io::Result<PathBuf> {
    let (folder, title) = (std::env::temp_dir(), format!("roadstead-{title}-"));
    for entry in std::fs::read_dir(&folder)?.filter_map(Result::ok) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(&title)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Somebody else's stays.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let own = folder.join(format!("{title}{}", std::process::id()));
    std::fs::create_dir_all(&own)?;
    Ok(own)
}

/// The exit code of a program whose run went well or not, or could not be made.
pub fn exit(program: &str, done: io::Result<bool>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
