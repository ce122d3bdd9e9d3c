//! `bench`: one run of Roadstead beside the kernel's floor, kept under `benches/runs/`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::limits;
use benches::run::machine::Machine;
use benches::run::measuring::{self, Task};
use benches::run::plan::{BENCHES, Backend, Effort, Family};
use benches::run::record::{self, Run};
use benches::run::serving::Binaries;
use benches::run::table;
use clap::Parser;

/// Measures Roadstead beside the kernel's floor on each back end, in one run, and keeps the run.
/// Needs two cores to itself: anything else that runs on the machine disturbs the figures.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Short measurements, once each: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Only these families of benches.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Family>,
    /// Only these back ends.
    #[arg(long, value_enum, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// Only the floors, without Roadstead.
    #[arg(long)]
    floors_only: bool,
    /// Measurements of each contender.
    #[arg(long)]
    repeats: Option<usize>,
    /// Seconds of one measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Bytes of a floor's receive buffer.
    #[arg(long, default_value_t = limits::FLOOR_BUFFER_BYTES)]
    floor_buffer: usize,
    /// Title of the run, behind its date in the directory's name.
    #[arg(long, value_parser = record::parse_title)]
    name: Option<String>,
    /// The server that is measured; the one beside this program if not given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Where runs are kept.
    #[arg(long, default_value = "benches/runs")]
    runs: PathBuf,
    /// Measure nothing: put the tables of the latest full run (or of the one named) into the README beside the runs.
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "RUN")]
    table: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.table {
        Some(name) => write_table(&arguments.runs, name).map(|()| true),
        None => measure(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and keeps the run; false if something in it failed.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    record::check_place(&arguments.runs)?;
    let machine = Machine::describe()?;
    if machine.cores < 2 {
        return Err(io::Error::other("two cores are needed: one for the server, one for the driver"));
    }
    let binaries = find_binaries(arguments)?;
    let task = task(arguments);
    let mut run = empty_run(arguments);
    let mut say = |line: &str| eprintln!("{line}");
    if machine.load_before > 0.5 {
        say(&format!("the machine is not quiet (load {}): figures will be off", machine.load_before));
    }
    fs::create_dir_all(&binaries.scratch)?;
    let measured = measuring::measure(&binaries, &task, &mut run, &mut say);
    fs::remove_dir_all(&binaries.scratch)?;
    measured?;
    let summary = table::summary(&run, &machine);
    let directory = record::save(&arguments.runs, &run.name, &run, &machine, &summary)?;
    let mut stdout = io::stdout();
    write!(stdout, "{summary}")?;
    writeln!(stdout, "\nkept in {}", directory.display())?;
    Ok(run.failures.is_empty())
}

fn task(arguments: &Arguments) -> Task {
    let wanted = |family: &Family| arguments.only.is_empty() || arguments.only.contains(family);
    let mut benches = BENCHES.to_vec();
    benches.retain(|bench| wanted(&bench.family()));
    let backends = match arguments.backend.as_slice() {
        [] => vec![Backend::Epoll, Backend::IoUring],
        chosen => chosen.to_vec(),
    };
    Task { benches, backends, floors_only: arguments.floors_only }
}

fn empty_run(arguments: &Arguments) -> Run {
    let mut effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    effort.repeats = arguments.repeats.unwrap_or(effort.repeats).max(1);
    effort.seconds = arguments.seconds.unwrap_or(effort.seconds);
    let title = arguments.name.as_deref().unwrap_or(if arguments.quick { "quick" } else { "full" });
    Run {
        name: record::free_name(&arguments.runs, title),
        effort,
        floor_buffer_bytes: arguments.floor_buffer,
        fan_out_message_bytes: limits::FAN_OUT_MESSAGE_BYTES,
        samples: Vec::new(),
        failures: Vec::new(),
    }
}

fn find_binaries(arguments: &Arguments) -> io::Result<Binaries> {
    let own = std::env::current_exe()?;
    let beside = |name: &str| own.with_file_name(name);
    let binaries = Binaries {
        floor: beside("floor"),
        drive: beside("drive"),
        roadstead: arguments.server.clone().unwrap_or_else(|| beside("roadstead")),
        scratch: std::env::temp_dir().join(format!("roadstead-bench-{}", std::process::id())),
    };
    let mut needed: Vec<&Path> = vec![&binaries.floor, &binaries.drive];
    if !arguments.floors_only {
        needed.push(&binaries.roadstead);
    }
    match needed.iter().find(|path| !path.is_file()) {
        None => Ok(binaries),
        Some(path) => {
            let path = path.display();
            Err(io::Error::other(format!("{path} is missing: build all with `cargo build --release`")))
        }
    }
}

fn write_table(runs: &Path, name: &str) -> io::Result<()> {
    let directory = if name.is_empty() { record::latest::<Run>(runs)? } else { runs.join(name) };
    let (run, machine) = record::load::<Run>(&directory)?;
    record::write_between(runs, "bench --table", &table::section(&run, &machine))
}
