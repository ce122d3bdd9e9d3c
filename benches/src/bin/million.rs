//! `million`: holds a million connections of users on this machine, publishes to them, and says what that costs.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use benches::million::report::Report;
use benches::million::stand::{Load, Programs};
use benches::million::{load, network};
use benches::run::command::{self, Keeping};
use benches::run::plan::Backend;
use benches::run::record;
use benches::{kernel, limits};
use clap::Parser;

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
    io: Backend,
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
    #[command(flatten)]
    keeping: Keeping,
}

fn main() -> ExitCode {
    command::exit("million", measure(&Arguments::parse()))
}

/// Measures, keeps the run, prints it; false if something failed.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    let mut say = |line: &str| eprintln!("{line}");
    record::check_place(&arguments.keeping.runs)?;
    let machine = command::machine_of_two(&mut say)?;
    let programs = find_programs()?;
    let load = planned(arguments);
    network::enter(load.connections)?;
    fs::create_dir_all(&programs.scratch)?;
    let report = go_through(arguments, &programs, &load, &mut say);
    fs::remove_dir_all(&programs.scratch)?;
    let report = report?;
    let name = arguments.keeping.free_name("million");
    let summary = report.summary(&name, &machine, &load);
    let kept = record::save(&arguments.keeping.runs, &name, &report, &machine, &summary)?;
    let figures = report.figures();
    let mut stdout = io::stdout();
    writeln!(stdout, "{summary}\nkept in {}\n{}", kept.display(), figures.line())?;
    Ok(figures.failed == 0)
}

fn go_through(
    arguments: &Arguments,
    programs: &Programs,
    large: &Load,
    say: &mut dyn FnMut(&str),
) -> io::Result<Report> {
    let small_load = Load {
        connections: arguments.small,
        channels: (arguments.small / arguments.subscribers.max(1)).max(1),
        hold_s: 6,
        ..large.clone()
    };
    say(&format!("{} connections", small_load.connections));
    let small = load::run(programs, &small_load, false, say)?;
    say(&format!("{} connections", large.connections));
    let measured = load::run(programs, large, false, say)?;
    let floor = if arguments.floor && arguments.io == Backend::IoUring {
        say(&format!("{} connections to the bare loop", large.connections));
        Some(load::run(programs, &Load { hold_s: large.hold_s / 2, ..large.clone() }, true, say)?)
    } else {
        None
    };
    Ok(Report {
        backend: large.backend,
        connections: large.connections,
        small_connections: small_load.connections,
        small,
        large: measured,
        floor,
    })
}

fn planned(arguments: &Arguments) -> Load {
    let by_default = if arguments.io == Backend::Epoll { 200_000 } else { 1_000_000 };
    let connections = arguments.connections.unwrap_or(by_default).max(1);
    let shards = match arguments.io {
        Backend::IoUring => 1,
        Backend::Epoll => {
            let fits = kernel::raise_descriptor_limit().unwrap_or(0) > u64::from(connections) * 2;
            if fits { 1 } else { connections.div_ceil(limits::TABLE_CONNECTIONS) }
        }
    };
    Load {
        backend: arguments.io,
        connections,
        channels: (connections / arguments.subscribers.max(1)).max(1),
        rate: arguments.rate,
        hold_s: arguments.hold,
        publish_s: arguments.publish,
        shards,
    }
}

fn find_programs() -> io::Result<Programs> {
    Ok(Programs {
        roadstead: command::program(None, "roadstead")?,
        loadgen: command::program(None, "loadgen")?,
        floor: command::program(None, "floor")?,
        scratch: std::env::temp_dir().join(format!("roadstead-million-{}", std::process::id())),
    })
}
