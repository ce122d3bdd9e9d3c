//! `bench`: one run of Roadstead beside the kernel's floor, kept under `benches/runs/`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::limits;
use benches::run::command::{self, Certificate, Keeping};
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
    /// The server that is measured; the one beside this program if not given.
    #[arg(long)]
    server: Option<PathBuf>,
    #[command(flatten)]
    certificate: Certificate,
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
    command::exit("bench", done)
}

/// Measures and keeps the run; false if something in it failed.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    let mut say = |line: &str| eprintln!("{line}");
    record::check_place(&arguments.keeping.runs)?;
    let machine = command::machine_of_two(&mut say)?;
    let binaries = find_binaries(arguments)?;
    let task = task(arguments);
    let mut run = empty_run(arguments);
    fs::create_dir_all(&binaries.scratch)?;
    let measured = measuring::measure(&binaries, &task, &mut run, &mut say);
    fs::remove_dir_all(&binaries.scratch)?;
    measured?;
    let summary = table::summary(&run, &machine);
    let directory = record::save(&arguments.keeping.runs, &run.name, &run, &machine, &summary)?;
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
    let codec = wanted(&Family::Codec) && !arguments.floors_only;
    Task { codec, benches, backends, floors_only: arguments.floors_only }
}

fn empty_run(arguments: &Arguments) -> Run {
    let mut effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    effort.repeats = arguments.repeats.unwrap_or(effort.repeats).max(1);
    effort.seconds = arguments.seconds.unwrap_or(effort.seconds);
    Run {
        name: arguments.keeping.free_name(if arguments.quick { "quick" } else { "full" }),
        effort,
        floor_buffer_bytes: arguments.floor_buffer,
        fan_out_message_bytes: limits::FAN_OUT_MESSAGE_BYTES,
        fan_out_protobuf_bytes: limits::FAN_OUT_MESSAGE_BYTES,
        codec: None,
        samples: Vec::new(),
        failures: Vec::new(),
    }
}

fn find_binaries(arguments: &Arguments) -> io::Result<Binaries> {
    let roadstead = match &arguments.server {
        // Not needed, so it may be missing.
        None if arguments.floors_only => PathBuf::new(),
        server => command::program(server.as_deref(), "roadstead")?,
    };
    Ok(Binaries {
        floor: command::program(None, "floor")?,
        drive: command::program(None, "drive")?,
        codec: command::program(None, "codec")?,
        roadstead,
        certificate: arguments.certificate.clone(),
        scratch: std::env::temp_dir().join(format!("roadstead-bench-{}", std::process::id())),
    })
}

fn write_table(runs: &Path, name: &str) -> io::Result<()> {
    let directory = if name.is_empty() { record::latest::<Run>(runs, "bench")? } else { runs.join(name) };
    let (run, machine) = record::load::<Run>(&directory)?;
    record::write_between(runs, "bench --table", &table::section(&run, &machine))
}
