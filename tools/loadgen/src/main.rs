//! Load generator for WebSocket servers: `loadgen connect|idle|echo|fanout|direct|mixed|slow|storm|churn|run`.
//!
//! The contents, in the order in which a run flows:
//!
//! ```text
//! arguments (scenario_file) -> plan             what to do, checked: target, spread, streams, unrest
//! launch -> conductor -> worker threads         leads them through the stages; `machines` does so on several machines
//!     worker: opener, clients, scenario         one turn: wait, events, what is due, one send each
//!         client, session, stamp, sequence      one connection, and how its messages are checked
//!         schedule, outstanding, outbound       when messages are due, and how they leave
//!         ledger -> counters, latency, failure  what was counted
//! outcome -> result -> expect, report, html     what came out; decides the exit code
//! conform                                       apart from all this: sends back what the Autobahn suite's server sends
//! ```
//!
//! Invariants: no runtime, no lock, no engine code; threads share a stage and hand over snapshots; every connection and
//! message that does not do what it should is counted under one name.

mod arguments;
mod plan;
mod ports;
mod scenario_file;
mod spread;
mod streams;
mod target;
mod tls;
mod token;
mod zipf;

mod conductor;
mod conform;
mod launch;
mod machines;
mod stage;

mod clients;
mod opener;
mod scenario;
mod turn;
mod worker;

mod client;
mod outbound;
mod outstanding;
mod random;
mod schedule;
mod sequence;
mod session;
mod stamp;

mod clock;
mod counters;
mod cpu;
mod failure;
mod latency;
mod ledger;
mod memory;
mod timer;

mod expect;
mod histogram_log;
mod html;
mod outcome;
mod progress;
mod report;
mod result;
mod scrape;

mod limits;

use std::fs;
use std::io::{self, Write, stderr, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{ArgMatches, FromArgMatches};
use roadstead_io::{Kind, Selected};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::arguments::{Arguments, Flags, IoChoice, ProgressChoice, ScenarioFlags, command_line};
use crate::conductor::Observers;
use crate::histogram_log::HistogramLog;
use crate::machines::{Division, Key};
use crate::outcome::Outcome;
use crate::plan::{Plan, idle_flags};
use crate::progress::Progress;
use crate::result::RunResult;
use crate::scrape::MetricsUrl;
use crate::target::Url;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a run in which something failed or was lost.
const FAILED: u8 = 1;

/// Exit code of a command line that makes no sense.
const USAGE: u8 = 2;

/// Exit code of a run that did not show what was expected of it.
const UNEXPECTED: u8 = 3;

/// Exit code of a run that says more of this generator than of the server.
const BOTTLENECK: u8 = 4;

fn main() -> ExitCode {
    let matches = command_line().get_matches();
    if let Some(agent) = matches.subcommand_matches("agent") {
        return match agent_key(agent) {
            Ok(key) => serve_controllers(agent, key)
                .map_or_else(|error| complain(&error, FAILED), |()| ExitCode::SUCCESS),
            Err(error) => complain(&error, USAGE),
        };
    }
    if let Some(conform) = matches.subcommand_matches("conform") {
        return visit_suite(conform).map_or_else(|error| complain(&error, FAILED), |()| ExitCode::SUCCESS);
    }
    let (scenario, words) = match read_scenario(&matches) {
        Ok(read) => read,
        Err(error) => return complain(&error, USAGE),
    };
    for flag in idle_flags(&scenario) {
        note(&format!("{flag} has no effect here"));
    }
    let ran = match scenario.flags().agents.is_empty() {
        true => match launch::prepare(&scenario) {
            Ok((plan, selected)) => run_here(&plan, &selected, scenario.flags()),
            Err(error) => return complain(&error, USAGE),
        },
        false => match Division::new(&scenario, &words) {
            Ok(division) => run_on_agents(division, scenario.flags()),
            Err(error) => return complain(&error, USAGE),
        },
    };
    let flags = scenario.flags();
    match ran.and_then(|result| publish(&result, flags).map(|()| exit_code(&result))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => complain(&error, FAILED),
    }
}

/// The scenario of the command line, or of the file that it names, and the words that say the same.
fn read_scenario(matches: &ArgMatches) -> Result<(ScenarioFlags, Vec<String>), String> {
    match matches.subcommand() {
        Some(("run", run)) => {
            let file = run.get_one::<PathBuf>("file").ok_or("no file")?;
            scenario_file::read(file, run)
        }
        Some((name, given)) => {
            let scenario = Arguments::from_arg_matches(matches).map_err(|error| error.to_string())?.scenario;
            Ok((scenario, scenario_file::words_given(name, given)))
        }
        None => Err("no scenario".to_owned()),
    }
}

fn agent_key(agent: &ArgMatches) -> Result<Key, String> {
    Key::read(agent.get_one::<PathBuf>("key").ok_or("no key")?)
}

fn serve_controllers(agent: &ArgMatches, key: Key) -> Result<(), String> {
    let address = agent.get_one::<SocketAddr>("listen").ok_or("no address")?;
    let is_interrupted = catch_interrupts().map_err(|error| format!("cannot catch signals: {error}"))?;
    machines::serve(*address, key, &is_interrupted, note).map_err(|error| format!("{address}: {error}"))
}

fn visit_suite(conform: &ArgMatches) -> Result<(), String> {
    let url = conform.get_one::<Url>("url").ok_or("no URL")?;
    let choice = *conform.get_one::<IoChoice>("io").ok_or("no back end")?;
    conform::run(url, launch::selected(choice)?.kind)
}

fn run_here(plan: &Arc<Plan>, selected: &Selected, flags: &Flags) -> Result<RunResult, String> {
    if flags.threads.is_some_and(|asked| asked != plan.threads)
        || selected.kind == Kind::Epoll && plan.threads > 1
    {
        note(&format!("{} threads", plan.threads));
    }
    let is_interrupted = catch_interrupts().map_err(|error| format!("cannot catch signals: {error}"))?;
    let progress = progress(flags);
    let outcome = conductor::conduct(plan, selected, observers(flags, &progress)?, &is_interrupted)?;
    judged(plan, outcome, flags)
}

fn run_on_agents(division: Division, flags: &Flags) -> Result<RunResult, String> {
    let is_interrupted = catch_interrupts().map_err(|error| format!("cannot catch signals: {error}"))?;
    let progress = progress(flags);
    let (plan, outcome) = division.steer(observers(flags, &progress)?, &is_interrupted)?;
    judged(&plan, outcome, flags)
}

fn judged(plan: &Plan, outcome: Outcome, flags: &Flags) -> Result<RunResult, String> {
    let mut result = RunResult::new(plan, outcome);
    result.check(&flags.expect)?;
    Ok(result)
}

fn progress(flags: &Flags) -> Progress {
    Progress::new(if flags.quiet { ProgressChoice::None } else { flags.progress })
}

/// Opens everything that the run writes to and reads from beside the load: what cannot be opened should not be found out when
/// the load is over.
fn observers<'p>(flags: &Flags, progress: &'p Progress) -> Result<Observers<'p>, String> {
    let unwritable = |path: &Path, error: io::Error| format!("cannot write {}: {error}", path.display());
    for path in flags.json.iter().chain(&flags.html).filter(|path| path.as_path() != Path::new("-")) {
        fs::File::create(path).map_err(|error| unwritable(path, error))?;
    }
    let log =
        flags.hdr.as_deref().map(|path| HistogramLog::create(path).map_err(|error| unwritable(path, error)));
    flags.metrics_url.as_ref().map_or(Ok(()), MetricsUrl::try_once)?;
    Ok(Observers { progress, log: log.transpose()?, metrics: flags.metrics_url.clone(), gate: None })
}

/// Raises the flag on SIGINT and SIGTERM; a second one ends the process at once.
fn catch_interrupts() -> io::Result<Arc<AtomicBool>> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag lowered and only raises it.
        register_conditional_shutdown(signal, i32::from(FAILED), Arc::clone(&is_interrupted))?;
        register(signal, Arc::clone(&is_interrupted))?;
    }
    Ok(is_interrupted)
}

/// Prints the result, and writes it to where it is wanted.
fn publish(result: &RunResult, flags: &Flags) -> Result<(), String> {
    let text = report::text(result);
    let is_stdout = flags.json.as_deref() == Some(Path::new("-"));
    let printed =
        if is_stdout { stderr().write_all(text.as_bytes()) } else { stdout().write_all(text.as_bytes()) };
    printed.map_err(|error| format!("cannot print the result: {error}"))?;
    if let Some(path) = &flags.json {
        let mut bytes = serde_json::to_vec_pretty(result).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        let written = if is_stdout { stdout().write_all(&bytes) } else { fs::write(path, bytes) };
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if let Some(path) = &flags.html {
        fs::write(path, html::page(result))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Expectations decide about what they bound; everything else that went wrong is a failure.
fn exit_code(result: &RunResult) -> u8 {
    if !result.expectations.is_empty() && !result.generator.bottleneck.is_empty() {
        BOTTLENECK
    } else if result.expectations.iter().any(|checked| !checked.met) {
        UNEXPECTED
    } else if result.unexpected_faults().next().is_some() {
        FAILED
    } else {
        0
    }
}

fn complain(error: &str, code: u8) -> ExitCode {
    // A closed stderr must not hide the exit code.
    drop(writeln!(stderr(), "loadgen: {error}"));
    ExitCode::from(code)
}

fn note(text: &str) {
    drop(writeln!(stderr(), "loadgen: note: {text}"));
}
