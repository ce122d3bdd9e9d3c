//! `hop`: one node and a fleet of three under the same load, kept under `benches/runs/`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::hop::fleet::Binaries;
use benches::hop::measuring;
use benches::hop::plan::Effort;
use benches::hop::record::HopRun;
use benches::hop::table;
use benches::kernel;
use benches::run::machine::Machine;
use benches::run::plan::Backend;
use benches::run::record;
use benches::run::serving::DRIVER_CORE;
use clap::Parser;

/// Measures what it costs to cross from one node to another: one node and three under the same load, on each back
/// end, all nodes on one core. Needs two cores to itself: anything else that runs on the machine disturbs the figures.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Short measurements, once each: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Only these back ends.
    #[arg(long, value_enum, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// Measurements of each load.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of one measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Title of the run, behind its date in the directory's name.
    #[arg(long, value_parser = record::parse_title)]
    name: Option<String>,
    /// The server that is measured; the one beside this program if not given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// The load generator; the one beside this program if not given.
    #[arg(long)]
    loadgen: Option<PathBuf>,
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
            eprintln!("hop: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and keeps the run; false if something in it failed, as it does when a message is lost, doubled or out of order.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    record::check_place(&arguments.runs)?;
    let machine = Machine::describe()?;
    if machine.cores < 2 {
        return Err(io::Error::other("two cores are needed: one for the nodes, one for the load generator"));
    }
    let binaries = find_binaries(arguments)?;
    let backends = match arguments.backend.as_slice() {
        [] => vec![Backend::Epoll, Backend::IoUring],
        chosen => chosen.to_vec(),
    };
    let mut say = |line: &str| eprintln!("{line}");
    if machine.load_before > 0.5 {
        say(&format!("the machine is not quiet (load {}): figures will be off", machine.load_before));
    }
    let mut run = empty_run(arguments);
    // What this program does itself must not cost the nodes.
    kernel::pin(DRIVER_CORE)?;
    fs::create_dir_all(&binaries.scratch)?;
    measuring::measure(&binaries, &backends, &mut run, &mut say);
    fs::remove_dir_all(&binaries.scratch)?;
    let summary = table::summary(&run, &machine);
    let directory = record::save(&arguments.runs, &run.name, &run, &machine, &summary)?;
    let mut stdout = io::stdout();
    write!(stdout, "{summary}")?;
    writeln!(stdout, "\nkept in {}", directory.display())?;
    Ok(run.failures.is_empty())
}

fn empty_run(arguments: &Arguments) -> HopRun {
    let mut effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    effort.rounds = arguments.rounds.unwrap_or(effort.rounds).max(1);
    effort.seconds = arguments.seconds.unwrap_or(effort.seconds);
    let title = arguments.name.as_deref().unwrap_or(if arguments.quick { "fleet-quick" } else { "fleet" });
    let name = record::free_name(&arguments.runs, title);
    HopRun { name, effort, samples: Vec::new(), failures: Vec::new() }
}

fn find_binaries(arguments: &Arguments) -> io::Result<Binaries> {
    let own = std::env::current_exe()?;
    let beside =
        |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| own.with_file_name(name));
    let binaries = Binaries {
        roadstead: beside(&arguments.server, "roadstead"),
        loadgen: beside(&arguments.loadgen, "loadgen"),
        scratch: std::env::temp_dir().join(format!("roadstead-hop-{}", std::process::id())),
    };
    for path in [&binaries.roadstead, &binaries.loadgen] {
        if !path.is_file() {
            let path = path.display();
            return Err(io::Error::other(format!(
                "{path} is missing: build all with `cargo build --release`"
            )));
        }
    }
    Ok(binaries)
}

fn write_table(runs: &Path, name: &str) -> io::Result<()> {
    let directory = if name.is_empty() { record::latest::<HopRun>(runs)? } else { runs.join(name) };
    let (run, machine) = record::load::<HopRun>(&directory)?;
    record::write_between(runs, "hop --table", &table::section(&run, &machine))
}
