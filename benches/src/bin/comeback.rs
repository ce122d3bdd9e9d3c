//! `comeback`: cuts off all clients of a server at once, and says what it costs until they are back.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use benches::comeback::report::Report;
use benches::comeback::storm::{Plan, Programs, Way};
use benches::million::network;
use benches::run::command::{self, Certificate, Keeping};
use benches::run::plan::Backend;
use benches::run::record;
use clap::Parser;

/// Connects clients with a token and 20 subscriptions each to one server on this machine, resets all their sockets at once,
/// and lets them come back: over TCP, with full TLS handshakes and with resumed sessions; with full-jitter back-off and
/// without any. Says the server's processor time for each, how long it takes until all are back, and whether memory is what
/// it was. Everything happens in a network namespace that ends with the program, so it needs root.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Clients [default: 100,000; epoll, which has a descriptor table for each shard: 30,000]
    #[arg(long, short = 'n')]
    clients: Option<u32>,
    /// Clients of storms over TLS: each keeps some KiB at both ends.
    #[arg(long, default_value_t = 20_000)]
    tls_clients: u32,
    /// Back end of server and load generator; both, one after the other, if none is named.
    #[arg(long, value_enum)]
    io: Option<Backend>,
    /// Seconds from the cut to the end.
    #[arg(long, default_value_t = 30)]
    patience: u32,
    #[command(flatten)]
    certificate: Certificate,
    #[command(flatten)]
    keeping: Keeping,
}

fn main() -> ExitCode {
    command::exit("comeback", measure(&Arguments::parse()))
}

/// Measures, keeps the run, prints it; false if not all were back, or memory was not.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    let mut say = |line: &str| eprintln!("{line}");
    record::check_place(&arguments.keeping.runs)?;
    let machine = command::machine_of_two(&mut say)?;
    let plans = planned(arguments);
    network::enter(plans.iter().map(|plan| plan.clients).max().unwrap_or(1))?;
    let programs = Programs {
        roadstead: command::program(None, "roadstead")?,
        loadgen: command::program(None, "loadgen")?,
        scratch: command::scratch("comeback")?,
        certificate: arguments.certificate.clone(),
    };
    let storms = plans.into_iter().map(|plan| {
        say(&format!(
            "{} clients, {}, {:?}, back-off: {}",
            plan.clients, plan.backend, plan.way, plan.backs_off
        ));
        programs.storm(plan)
    });
    let storms = storms.collect::<io::Result<Vec<_>>>();
    fs::remove_dir_all(&programs.scratch)?;
    let report = Report { storms: storms? };
    let name = arguments.keeping.free_name("comeback");
    let summary = report.summary(&name, &machine);
    let kept = record::save(&arguments.keeping.runs, &name, &report, &machine, &summary)?;
    writeln!(io::stdout(), "{summary}\nkept in {}", kept.display())?;
    Ok(report.storms.iter().all(|storm| storm.is_good()))
}

fn planned(arguments: &Arguments) -> Vec<Plan> {
    let mut plans = Vec::new();
    let backends = arguments.io.map_or(vec![Backend::IoUring, Backend::Epoll], |one| vec![one]);
    for backend in backends {
        let by_default = if backend == Backend::Epoll { 30_000 } else { 100_000 };
        let clients = arguments.clients.unwrap_or(by_default).max(1);
        let plan =
            Plan { backend, clients, way: Way::Plain, backs_off: true, patience_s: arguments.patience };
        plans.extend([plan, Plan { backs_off: false, ..plan }]);
        if arguments.tls_clients > 0 {
            let clients = arguments.tls_clients;
            plans.extend([Way::TlsFull, Way::TlsResumed].map(|way| Plan { way, clients, ..plan }));
        }
    }
    plans
}
