//! `durable`: acknowledged appends to the log beside bare writes and syncs, kept under `benches/runs/`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use benches::durable::{DurableRun, PUBLISHERS, measure, summary};
use benches::run::command::{self, Keeping};
use benches::run::machine::Machine;
use benches::run::record;
use clap::Parser;

/// Measures how many publications a second the log makes durable, by how many publishers wait at once, beside what the disk does
/// with the same bytes. Anything else that uses the disk disturbs the figures.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Seconds of one measurement, of log and floor each.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Measurements of each step.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bytes of a publication's data.
    #[arg(long, default_value_t = 200)]
    bytes: usize,
    /// A new folder of this name is written to, on the disk that is meant, and removed [default: in the directory of temporary files]
    #[arg(long)]
    folder: Option<PathBuf>,
    #[command(flatten)]
    keeping: Keeping,
}

fn main() -> ExitCode {
    command::exit("durable", run(&Arguments::parse()).map(|()| true))
}

fn run(arguments: &Arguments) -> io::Result<()> {
    record::check_place(&arguments.keeping.runs)?;
    let machine = Machine::describe()?;
    let folder = match &arguments.folder {
        Some(folder) => fs::create_dir(folder).map(|()| folder.clone())?,
        None => command::scratch("durable")?,
    };
    let name = arguments.keeping.free_name("durable");
    let mut run =
        DurableRun { name, data_bytes: arguments.bytes, seconds: arguments.seconds, samples: Vec::new() };
    for round in 0..arguments.rounds {
        for publishers in PUBLISHERS {
            let sample = measure(&folder, round, publishers, arguments.bytes, arguments.seconds)?;
            eprintln!("{publishers} publishers: {:.0} a second, floor {:.0}", sample.rate, sample.floor_rate);
            run.samples.push(sample);
        }
    }
    fs::remove_dir_all(&folder)?;
    let summary = summary(&run, &machine);
    let directory = record::save(&arguments.keeping.runs, &run.name, &run, &machine, &summary)?;
    let mut stdout = io::stdout();
    write!(stdout, "{summary}")?;
    writeln!(stdout, "\nkept in {}", directory.display())
}
