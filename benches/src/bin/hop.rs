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
use benches::run::command::{self, Keeping};
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
    /// The server that is measured; the one beside this program if not given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// The load generator; the one beside this program if not given.
    #[arg(long)]
    loadgen: Option<PathBuf>,
    #[command(flatten)]
    keeping: Keeping,
    /// Measure nothing: put the tables of the latest full run (or of the one named) into the README beside the runs.
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "RUN")]
    table: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.table {
        Some(name) => write_table(&arguments.keeping.runs, name).map(|()| true),
        None => measure(&arguments),
    };
    command::exit("hop", done)
}

/// Measures and keeps the run; false if something in it failed, as it does when a message is lost, doubled or out of order.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    let mut say = |line: &str| eprintln!("{line}");
    record::check_place(&arguments.keeping.runs)?;
    let machine = command::machine_of_two(&mut say)?;
    let binaries = find_binaries(arguments)?;
    let backends = match arguments.backend.as_slice() {
        [] => vec![Backend::Epoll, Backend::IoUring],
        chosen => chosen.to_vec(),
    };
    let mut run = empty_run(arguments);
    // What this program does itself must not cost the nodes.
    kernel::pin(DRIVER_CORE)?;
    fs::create_dir_all(&binaries.scratch)?;
    measuring::measure(&binaries, &backends, &mut run, &mut say);
    fs::remove_dir_all(&binaries.scratch)?;
    let summary = table::summary(&run, &machine);
    let directory = record::save(&arguments.keeping.runs, &run.name, &run, &machine, &summary)?;
    let mut stdout = io::stdout();
    write!(stdout, "{summary}")?;
    writeln!(stdout, "\nkept in {}", directory.display())?;
    Ok(run.failures.is_empty())
}

fn empty_run(arguments: &Arguments) -> HopRun {
    let mut effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    effort.rounds = arguments.rounds.unwrap_or(effort.rounds).max(1);
    effort.seconds = arguments.seconds.unwrap_or(effort.seconds);
    let name = arguments.keeping.free_name(if arguments.quick { "fleet-quick" } else { "fleet" });
    HopRun { name, effort, samples: Vec::new(), failures: Vec::new() }
}

fn find_binaries(arguments: &Arguments) -> io::Result<Binaries> {
    Ok(Binaries {
        roadstead: command::program(arguments.server.as_deref(), "roadstead")?,
        loadgen: command::program(arguments.loadgen.as_deref(), "loadgen")?,
        scratch: std::env::temp_dir().join(format!("roadstead-hop-{}", std::process::id())),
    })
}

fn write_table(runs: &Path, name: &str) -> io::Result<()> {
    let directory = if name.is_empty() { record::latest::<HopRun>(runs, "hop")? } else { runs.join(name) };
    let (run, machine) = record::load::<HopRun>(&directory)?;
    record::write_between(runs, "hop --table", &table::section(&run, &machine))
}
