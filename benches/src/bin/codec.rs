//! `codec`: times the codec beside its floors; one JSON line for each operation.

use std::io::{self, Write};
use std::process::ExitCode;

use benches::codec::{counting, operations, timing};
use benches::run::serving::CORE;
use benches::{kernel, limits};
use clap::{Parser, Subcommand};

/// Parsing, masking, checking, reading and writing without any kernel: what an operation costs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    way: Way,
}

#[derive(Subcommand)]
enum Way {
    /// Nanoseconds of each operation and its floor.
    Time {
        /// Pairs of batches.
        #[arg(long, default_value_t = limits::CODEC_PAIRS)]
        pairs: usize,
        /// Core to run on.
        #[arg(long, default_value_t = CORE)]
        core: usize,
    },
    /// Does each operation and each floor a fixed number of times, for callgrind.
    Count,
}

fn main() -> ExitCode {
    match run(Arguments::parse().way) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("codec: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(way: Way) -> io::Result<()> {
    let mut operations = operations::all();
    match way {
        Way::Count => counting::go_through(&mut operations),
        Way::Time { pairs, core } => {
            kernel::pin(core)?;
            let mut stdout = io::stdout();
            for operation in &mut operations {
                serde_json::to_writer(&mut stdout, &timing::time(operation, pairs))?;
                writeln!(stdout)?;
            }
        }
    }
    Ok(())
}
