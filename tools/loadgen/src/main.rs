//! Load generator for WebSocket servers: `loadgen connect|idle|echo|fanout`.
//!
//! The contents, in the order in which a run flows:
//!
//! ```text
//! arguments -> plan (target, spread, streams)   what to do, checked
//! conductor -> worker threads                   leads them through the stages
//!     worker: opener, clients, scenario         one turn: wait, events, what is due, one send each
//!         client, session, stamp, sequence      one connection, and how its messages are checked
//!         schedule, outstanding, outbound       when messages are due, and how they leave
//!         ledger -> counters, latency, failure  what was counted
//! outcome -> result -> report, JSON             what came out; decides the exit code
//! ```
//!
//! Invariants: no runtime, no lock, no engine code; threads share a stage and hand over snapshots; every connection and
//! message that does not do what it should is counted under one name.

mod arguments;
mod plan;
mod ports;
mod spread;
mod streams;
mod target;
mod token;
mod zipf;

mod conductor;
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

mod outcome;
mod progress;
mod report;
mod result;

mod limits;

use std::fs;
use std::io::{self, Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use roadstead_io::{Choice, Kind, Selected, raise_descriptor_limit, select};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::arguments::{Arguments, Flags, IoChoice, ProgressChoice};
use crate::limits::DESCRIPTORS_RESERVED;
use crate::plan::{Plan, idle_flags};
use crate::progress::Progress;
use crate::result::RunResult;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a run in which something failed or was lost.
const FAILED: u8 = 1;

/// Exit code of a command line that makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let flags = arguments.scenario.flags();
    let mut plan = match Plan::new(&arguments.scenario) {
        Ok(plan) => plan,
        Err(error) => return complain(&error, USAGE),
    };
    for flag in idle_flags(&arguments.scenario) {
        note(&format!("{flag} has no effect here"));
    }
    let selected = match select_back_end(&mut plan, flags.threads) {
        Ok(selected) => selected,
        Err(error) => return complain(&error, USAGE),
    };
    match run(plan, &selected, flags).and_then(|result| publish(&result, flags.json.as_deref())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => complain(&error, FAILED),
    }
}

/// The back end for `plan`, and as many threads as it needs.
fn select_back_end(plan: &mut Plan, threads_asked: Option<u32>) -> Result<Selected, String> {
    let choice = match plan.io {
        IoChoice::Auto => Choice::Auto,
        IoChoice::Uring => Choice::Uring,
        IoChoice::Epoll => Choice::Epoll,
    };
    let selected = select(choice).map_err(|error| error.to_string())?;
    if selected.kind == Kind::Epoll {
        let wanted = u64::from(plan.clients) + DESCRIPTORS_RESERVED;
        let allowed = raise_descriptor_limit(wanted).map_err(|error| format!("descriptor limit: {error}"))?;
        if plan.fit(allowed, threads_asked)? {
            note(&format!("{} threads, each with {allowed} descriptors of its own", plan.threads));
        }
    }
    Ok(selected)
}

fn run(plan: Plan, selected: &Selected, flags: &Flags) -> Result<RunResult, String> {
    let plan = Arc::new(plan);
    let is_interrupted = catch_interrupts().map_err(|error| format!("cannot catch signals: {error}"))?;
    let progress = Progress::new(if flags.quiet { ProgressChoice::None } else { flags.progress });
    let outcome = conductor::conduct(&plan, selected, &progress, &is_interrupted)?;
    Ok(RunResult::new(&plan, outcome))
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

/// Prints the result; true if the run was a success.
fn publish(result: &RunResult, json: Option<&Path>) -> Result<bool, String> {
    let text = report::text(result);
    let is_stdout = json == Some(Path::new("-"));
    let printed =
        if is_stdout { stderr().write_all(text.as_bytes()) } else { stdout().write_all(text.as_bytes()) };
    printed.map_err(|error| format!("cannot print the result: {error}"))?;
    if let Some(path) = json {
        let mut bytes = serde_json::to_vec_pretty(result).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        let written = if is_stdout { stdout().write_all(&bytes) } else { fs::write(path, bytes) };
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(result.ok)
}

fn complain(error: &str, code: u8) -> ExitCode {
    // A closed stderr must not hide the exit code.
    drop(writeln!(stderr(), "loadgen: {error}"));
    ExitCode::from(code)
}

fn note(text: &str) {
    drop(writeln!(stderr(), "loadgen: note: {text}"));
}
