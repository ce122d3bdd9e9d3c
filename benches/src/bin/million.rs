//! `million`: holds a million connections of users on this machine, publishes to them, and says what that costs.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use benches::million::curve::Curve;
use benches::million::load::Measured;
use benches::million::report::Report;
use benches::million::stand::Load;
use benches::million::{curve, load, network};
use benches::run::command::{self, Keeping};
use benches::run::machine::Machine;
use benches::run::plan::Backend;
use benches::run::record;
use benches::run::serving::Programs;
use benches::{kernel, limits};
use clap::Parser;
use clap::builder::RangedU64ValueParser;

/// Beside the run of a curve.
const PLOT: &str = "curve.svg";

/// Holds many connections to one server on this machine, both ends on it: each speaks the client protocol, has a user of its
/// own and is subscribed to one channel. Holds them in silence for two rounds of pings, publishes, closes them; does the same with
/// few connections first, and on io_uring holds as many connections to a bare loop afterwards. Everything happens in a network
/// namespace that ends with the program, so it needs root; a million need 10 GiB of free memory and about seven minutes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Connections [default: 1,000,000; epoll: 200,000]
    #[arg(long, short = 'n', value_parser = up_to(limits::CONNECTIONS_MAX))]
    connections: Option<u32>,
    /// Back end of server and load generator.
    #[arg(long, value_enum, default_value = "io_uring")]
    io: Backend,
    /// Connections for each channel: a publication reaches as many subscribers.
    #[arg(long, default_value_t = 100, value_parser = up_to(limits::CONNECTIONS_MAX))]
    subscribers: u32,
    /// Publications per second.
    #[arg(long, default_value_t = 200, value_parser = up_to(limits::RATE_MAX))]
    rate: u32,
    /// Seconds of silence; two rounds of pings are 50, the first four seconds are not counted.
    #[arg(long, default_value_t = 56, value_parser = within(limits::HOLD_S_MIN, limits::HOLD_S_MAX))]
    hold: u32,
    /// Seconds of publications.
    #[arg(long, default_value_t = 20, value_parser = up_to(limits::HOLD_S_MAX))]
    publish: u32,
    /// Connections of the small run.
    #[arg(long, default_value_t = 10_000, value_parser = up_to(limits::CONNECTIONS_MAX))]
    small: u32,
    /// Leaves out the bare loop, which takes two minutes; on epoll there is none.
    #[arg(long)]
    no_floor: bool,
    /// Holds growing numbers of connections instead, a thousand up to all, and draws what one of them costs; about ten minutes.
    #[arg(long, conflicts_with_all = ["no_floor", "hold", "publish", "small"])]
    curve: bool,
    /// Measure nothing: put the latest curve (or the run named) into the README beside the runs.
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "RUN")]
    table: Option<String>,
    #[command(flatten)]
    keeping: Keeping,
}

/// A number that is not 0.
fn up_to(most: u32) -> RangedU64ValueParser<u32> {
    within(1, most)
}

fn within(least: u32, most: u32) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(u64::from(least)..=u64::from(most))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.table {
        Some(name) => write_table(&arguments.keeping.runs, name).map(|()| true),
        None => measure(&arguments),
    };
    command::exit("million", done)
}

/// Measures, keeps the run, prints it; false if something failed.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    let mut say = |line: &str| eprintln!("{line}");
    record::check_place(&arguments.keeping.runs)?;
    let machine = command::machine_of_two(&mut say)?;
    let programs = Programs::find("million")?;
    let load = planned(arguments);
    network::enter(load.connections)?;
    if arguments.curve {
        let name = arguments.keeping.free_name("curve");
        let shards = |connections| shards(arguments.io, connections);
        let curve = curve::run(&programs, name, &load, &shards, &mut say);
        fs::remove_dir_all(&programs.scratch)?;
        return keep_curve(&arguments.keeping.runs, &curve?, &machine);
    }
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
        channels: (arguments.small / arguments.subscribers).max(1),
        hold_s: limits::HOLD_S_MIN,
        ..large.clone()
    };
    say(&format!("{} connections", small_load.connections));
    let small = load::run(programs, &small_load, false, say)?;
    say(&format!("{} connections", large.connections));
    let measured = load::run(programs, large, false, say)?;
    let has_floor = !arguments.no_floor && arguments.io == Backend::IoUring;
    let floor = if has_floor { beside(programs, large, say) } else { None };
    Ok(Report {
        backend: large.backend,
        connections: large.connections,
        small_connections: small_load.connections,
        small,
        large: measured,
        floor,
    })
}

/// The bare loop with as many connections. Without it the rest is worth keeping all the same.
fn beside(programs: &Programs, large: &Load, say: &mut dyn FnMut(&str)) -> Option<Measured> {
    say(&format!("{} connections to the bare loop", large.connections));
    let load = Load { hold_s: (large.hold_s / 2).max(limits::HOLD_S_MIN), ..large.clone() };
    load::run(programs, &load, true, say)
        .map_err(|error| say(&format!("no bare loop beside it: {error}")))
        .ok()
}

fn planned(arguments: &Arguments) -> Load {
    let by_default = if arguments.io == Backend::Epoll { 200_000 } else { 1_000_000 };
    let connections = arguments.connections.unwrap_or(by_default);
    Load {
        backend: arguments.io,
        connections,
        channels: (connections / arguments.subscribers).max(1),
        rate: arguments.rate,
        hold_s: arguments.hold,
        publish_s: arguments.publish,
        shards: shards(arguments.io, connections),
    }
}

/// One, unless each needs a descriptor table of its own.
fn shards(backend: Backend, connections: u32) -> u32 {
    let fits = kernel::raise_descriptor_limit().unwrap_or(0) > u64::from(connections) * 2;
    match backend {
        Backend::Epoll if !fits => connections.div_ceil(limits::TABLE_CONNECTIONS),
        _ => 1,
    }
}

/// Keeps the curve with its plot and prints it; false if something failed.
fn keep_curve(runs: &Path, curve: &Curve, machine: &Machine) -> io::Result<bool> {
    let summary = curve.section(machine, PLOT);
    let kept = record::save(runs, &curve.name, curve, machine, &summary)?;
    fs::write(kept.join(PLOT), curve.plot())?;
    writeln!(io::stdout(), "{summary}\nkept in {}", kept.display())?;
    Ok(curve.failed() == 0)
}

fn write_table(runs: &Path, name: &str) -> io::Result<()> {
    let directory =
        if name.is_empty() { record::latest::<Curve>(runs, "million --curve")? } else { runs.join(name) };
    let (curve, machine) = record::load::<Curve>(&directory)?;
    let plot = format!("runs/{}/{PLOT}", curve.name);
    record::write_between(runs, "million --table", &curve.section(&machine, &plot))
}
