//! `million`: holds a million connections of users on this machine, publishes to them, and says what that costs.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use benches::million::report::Report;
use benches::million::stand::{Load, Programs};
use benches::million::{load, network};
use benches::run::machine::Machine;
use benches::{kernel, limits};
use clap::{Parser, ValueEnum};

/// Holds many connections to one server on this machine, both ends on it: each speaks the client protocol, has a user of its
/// own and is subscribed to one channel. Holds them in silence for two rounds of pings, publishes, closes them, and does the
/// same with few connections first. Everything happens in a network namespace
/// that ends with the program, so it needs root; a million need 10 GiB of free memory and about five minutes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Connections [default: 1,000,000; epoll: 200,000]
    #[arg(long, short = 'n')]
    connections: Option<u32>,
    /// Back end of server and load generator.
    #[arg(long, value_enum, default_value = "io_uring")]
    io: Io,
    /// Connections for each channel: a publication reaches as many subscribers.
    #[arg(long, default_value_t = 100)]
    subscribers: u32,
    /// Publications per second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds of silence; two rounds of pings are 50.
    #[arg(long, default_value_t = 56)]
    hold: u32,
    /// Seconds of publications.
    #[arg(long, default_value_t = 20)]
    publish: u32,
    /// Connections of the small run.
    #[arg(long, default_value_t = 10_000)]
    small: u32,
    /// Holds as many connections to the bare loop as well (io_uring only).
    #[arg(long)]
    floor: bool,
    /// Title of the run, behind its date in the directory's name.
    #[arg(long, default_value = "million")]
    name: String,
    /// Where runs are kept; empty: nowhere.
    #[arg(long, default_value = "benches/runs")]
    runs: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Io {
    #[value(name = "io_uring")]
    IoUring,
    Epoll,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(failed) => ExitCode::from(u8::from(failed > 0)),
        Err(error) => {
            eprintln!("million: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, keeps the run, prints it; the number of failures.
fn measure(arguments: &Arguments) -> io::Result<u64> {
    let machine = Machine::describe()?;
    if machine.cores < 2 {
        return Err(io::Error::other("two cores are needed: one for each end"));
    }
    let programs = find_programs()?;
    let load = planned(arguments);
    network::enter(load.connections)?;
    fs::create_dir_all(&programs.scratch)?;
    let report = go_through(arguments, &programs, &load);
    fs::remove_dir_all(&programs.scratch)?;
    let report = report?;
    let mut stdout = io::stdout();
    write!(stdout, "{}", report.summary(&arguments.name, &machine, &load))?;
    if !arguments.runs.as_os_str().is_empty() {
        let kept = report.keep(&arguments.runs, &arguments.name, &machine, &load)?;
        writeln!(stdout, "\nkept in {}", kept.display())?;
    }
    let figures = report.figures();
    writeln!(stdout, "{}", figures.line())?;
    Ok(figures.failed)
}

fn go_through(arguments: &Arguments, programs: &Programs, large: &Load) -> io::Result<Report> {
    let mut say = |line: &str| eprintln!("{line}");
    let small_load = Load {
        connections: arguments.small,
        channels: (arguments.small / arguments.subscribers).max(1),
        hold_s: 6,
        ..large.clone()
    };
    say(&format!("{} connections", small_load.connections));
    let small = load::run(programs, &small_load, false, &mut say)?;
    say(&format!("{} connections", large.connections));
    let measured = load::run(programs, large, false, &mut say)?;
    let floor = if arguments.floor && arguments.io == Io::IoUring {
        say(&format!("{} connections to the bare loop", large.connections));
        Some(load::run(programs, &Load { hold_s: large.hold_s / 2, ..large.clone() }, true, &mut say)?)
    } else {
        None
    };
    Ok(Report {
        io: large.io.clone(),
        connections: large.connections,
        small_connections: small_load.connections,
        small,
        large: measured,
        floor,
    })
}

fn planned(arguments: &Arguments) -> Load {
    let by_default = if arguments.io == Io::Epoll { 200_000 } else { 1_000_000 };
    let connections = arguments.connections.unwrap_or(by_default).max(1);
    let shards = match arguments.io {
        Io::IoUring => 1,
        Io::Epoll => {
            let fits = kernel::raise_descriptor_limit().unwrap_or(0) > u64::from(connections) * 2;
            if fits { 1 } else { connections.div_ceil(limits::TABLE_CONNECTIONS) }
        }
    };
    Load {
        io: if arguments.io == Io::Epoll { "epoll" } else { "io_uring" }.into(),
        connections,
        channels: (connections / arguments.subscribers.max(1)).max(1),
        rate: arguments.rate,
        hold_s: arguments.hold,
        publish_s: arguments.publish,
        shards,
    }
}

fn find_programs() -> io::Result<Programs> {
    let own = std::env::current_exe()?;
    let programs = Programs {
        roadstead: own.with_file_name("roadstead"),
        loadgen: own.with_file_name("loadgen"),
        floor: own.with_file_name("floor"),
        scratch: std::env::temp_dir().join(format!("roadstead-million-{}", std::process::id())),
    };
    match [&programs.roadstead, &programs.loadgen, &programs.floor].iter().find(|path| !path.is_file()) {
        None => Ok(programs),
        Some(path) => {
            let path = path.display();
            Err(io::Error::other(format!("{path} is missing: build all with `cargo build --release`")))
        }
    }
}
