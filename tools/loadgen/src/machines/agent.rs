//! An agent: waits for a controller, plays the part that it is given, and reports; then waits for the next.
//!
//! Invariants: one controller at a time; a controller that goes away or falls silent ends its run; nothing that a controller says ends the agent.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::Parser;
use crossbeam_channel::RecvTimeoutError;

use super::channel::{Key, Reader, Writer};
use super::entrance::{self, Controller};
use super::message::{Gate, Order, PartOutcome, Report};
use super::part::take_part;
use crate::arguments::{Arguments, ScenarioFlags};
use crate::conductor::Observers;
use crate::launch;
use crate::limits::AGENT_PATIENCE_MS;
use crate::outcome::Outcome;
use crate::progress::Progress;

/// How often an agent looks whether there is something to report.
const LOOK: Duration = Duration::from_millis(50);

/// Serves controllers at `address` until `is_interrupted`; says through `note` what happens.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) fn serve(
    address: SocketAddr,
    key: Key,
    is_interrupted: &Arc<AtomicBool>,
    note: fn(&str),
) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    note(&format!("agent listens on {}", listener.local_addr()?));
    let controllers = entrance::open(listener, key, Duration::from_millis(AGENT_PATIENCE_MS), note);
    while !is_interrupted.load(Ordering::Relaxed) {
        match controllers.recv_timeout(LOOK) {
            Ok(controller) => {
                let address = controller.address;
                match attend(controller, is_interrupted) {
                    Ok(()) => note(&format!("controller {address}: done")),
                    Err(error) => note(&format!("controller {address}: {error}")),
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("nobody listens any more")),
        }
    }
    Ok(())
}

/// One controller, from its order to the report.
fn attend(controller: Controller, is_interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    let Controller { mut writer, reader, .. } = controller;
    let attended = obey(&mut writer, reader, is_interrupted);
    writer.close();
    attended
}

fn obey(writer: &mut Writer, mut reader: Reader, is_interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    let order = reader.receive()?;
    let Order::Start { words, part, parts } = order else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an order out of turn"));
    };
    let scenario = match understand(words, part, parts) {
        Ok(scenario) => scenario,
        Err(reason) => return writer.send(&Report::Failed(reason)),
    };
    let (gate, stop) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let listening = listen(reader, Arc::clone(&gate), Arc::clone(&stop));
    let reported = play(&scenario, writer, &gate, &stop, is_interrupted);
    writer.close();
    // It ends with the connection.
    drop(listening.join());
    reported
}

fn understand(words: Vec<String>, part: u32, parts: u32) -> Result<ScenarioFlags, String> {
    if parts == 0 || part >= parts {
        return Err("there is no such part".to_owned());
    }
    let mut scenario = Arguments::try_parse_from(words).map_err(|error| error.to_string())?.scenario;
    if scenario.flags().connections < 2 * parts {
        return Err("too few connections for so many parts".to_owned());
    }
    take_part(&mut scenario, part, parts);
    Ok(scenario)
}

/// Hears the controller's orders meanwhile.
fn listen(mut reader: Reader, gate: Arc<Gate>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        loop {
            match reader.receive() {
                Ok(Order::Here) => {}
                Ok(Order::Go) => gate.open(),
                // Gone, silent, or out of turn: the run makes no sense any more.
                Ok(Order::Stop | Order::Start { .. }) | Err(_) => {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    })
}

/// Plays the part on a thread of its own, and reports.
fn play(
    scenario: &ScenarioFlags,
    writer: &mut Writer,
    gate: &Arc<Gate>,
    stop: &Arc<AtomicBool>,
    is_interrupted: &AtomicBool,
) -> io::Result<()> {
    let (sender, seconds) = mpsc::channel();
    let (scenario, run_gate, run_stop) = (scenario.clone(), Arc::clone(gate), Arc::clone(stop));
    let run = std::thread::spawn(move || -> Result<Outcome, String> {
        let (plan, selected) = launch::prepare(&scenario)?;
        let progress = Progress::Told(sender);
        let observers = Observers { progress: &progress, log: None, metrics: None, gate: Some(run_gate) };
        crate::conductor::conduct(&plan, &selected, observers, &run_stop)
    });
    let mut has_settled = false;
    let reported = loop {
        if is_interrupted.load(Ordering::Relaxed) {
            stop.store(true, Ordering::Relaxed);
        }
        if !has_settled && gate.has_settled() {
            has_settled = true;
            if let Err(error) = writer.send(&Report::Settled) {
                break Err(error);
            }
        }
        match seconds.recv_timeout(LOOK) {
            Ok((phase, second)) => {
                if let Err(error) = writer.send(&Report::Second { phase, second }) {
                    break Err(error);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break Ok(()),
        }
    };
    // The next controller must find this run ended, whatever became of this one.
    stop.store(reported.is_err() || stop.load(Ordering::Relaxed), Ordering::Relaxed);
    let outcome = run.join().unwrap_or_else(|_| Err("the run panicked".to_owned()));
    reported?;
    match outcome.and_then(PartOutcome::pack) {
        Ok(outcome) => writer.send(&Report::Done(Box::new(outcome))),
        Err(reason) => writer.send(&Report::Failed(reason)),
    }
}
