//! `hostile`: lets 2,000 attackers at a server that 1,000 good clients use, and says what these notice.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use benches::hostile::report::Report;
use benches::hostile::round::{Crowd, Plan};
use benches::million::network;
use benches::run::command::{self, Keeping};
use benches::run::plan::Backend;
use benches::run::record;
use benches::run::serving::Programs;
use benches::{kernel, limits};
use clap::Parser;

/// Lets a crowd attack a server that good clients use: slow ones, floods, bombs, garbage and bad tokens, each from an address
/// of its own. Beside it the same without a crowd, and with one that attacks another listener on the generators' core. Says
/// what the good clients notice, and what the server takes. Everything happens in a network namespace that ends with the
/// program, so it needs root.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Back end of server and load generator; both, one after the other, if none is named.
    #[arg(long, value_enum)]
    io: Option<Backend>,
    /// Rounds on each back end, each without a crowd, with one elsewhere and with one that attacks.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that are measured of each.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    #[command(flatten)]
    keeping: Keeping,
}

fn main() -> ExitCode {
    command::exit("hostile", measure(&Arguments::parse()))
}

/// Measures, keeps the run, prints it; false if somebody good lost something or waited for too long.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    let mut say = |line: &str| eprintln!("{line}");
    record::check_place(&arguments.keeping.runs)?;
    let machine = command::machine_of_two(&mut say)?;
    network::enter(limits::HOSTILE_GOOD as u32 * 4)?;
    kernel::raise_descriptor_limit()?;
    let programs = Programs::find("hostile")?;
    let rounds = planned(arguments).into_iter().map(|plan| {
        let round = programs.round(plan)?;
        let (p99_ms, lost) = (round.p99_us() / 1e3, round.seen.messages.lost);
        let (backend, crowd) = (plan.backend, plan.crowd);
        say(&format!("round {}, {backend}, {crowd:?}: p99 {p99_ms:.2} ms, {lost} lost", plan.round + 1));
        Ok(round)
    });
    let rounds = rounds.collect::<io::Result<Vec<_>>>();
    fs::remove_dir_all(&programs.scratch)?;
    let report = Report { rounds: rounds? };
    let name = arguments.keeping.free_name("hostile");
    let summary = report.summary(&name, &machine);
    let kept = record::save(&arguments.keeping.runs, &name, &report, &machine, &summary)?;
    writeln!(io::stdout(), "{summary}\nkept in {}", kept.display())?;
    Ok(report.is_good())
}

/// The three of a round take turns, in reversed order every other round.
fn planned(arguments: &Arguments) -> Vec<Plan> {
    let backends = arguments.io.map_or(vec![Backend::Epoll, Backend::IoUring], |one| vec![one]);
    let mut plans = Vec::new();
    for backend in backends {
        for round in 0..arguments.rounds.max(1) {
            let mut crowds = [Crowd::Quiet, Crowd::Elsewhere, Crowd::Attacks];
            if round % 2 == 1 {
                crowds.reverse();
            }
            let plan = |crowd| Plan { backend, crowd, round, seconds: arguments.seconds };
            plans.extend(crowds.map(plan));
        }
    }
    plans
}
