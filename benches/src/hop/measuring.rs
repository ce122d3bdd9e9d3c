//! Goes through the loads: one node and the fleet in turn, in processes that are new in every round.
//!
//! The nodes of a round start together, since a fleet takes its time to form. Those that are not under load only gossip
//! meanwhile: about a thousandth of the core each, which is not in the figures of the others.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use super::fleet::{Binaries, Nodes};
use super::plan::{BYTES, CHANNELS, Effort, LOADS, Load, PUBLISHERS, Pace, Shape};
use super::record::{HopFailure, HopRun, HopSample, Seen};
use crate::drive::{Clocks, Cost, Mark, Rate};
use crate::kernel;
use crate::run::plan::Backend;
use crate::run::serving::DRIVER_CORE;

/// Measures everything into a run. What fails is kept beside what succeeds. `say` gets a line for each
/// measurement.
pub fn measure(binaries: &Binaries, backends: &[Backend], run: &mut HopRun, say: &mut dyn FnMut(&str)) {
    for round in 0..run.effort.rounds {
        for backend in backends {
            say(&format!("[round {} of {}] {backend}", round + 1, run.effort.rounds));
            match start(binaries, *backend) {
                Ok(shapes) => measure_round(binaries, &shapes, *backend, round, run, say),
                Err(error) => run.fail(format!("start, {backend}"), &error, say),
            }
        }
    }
}

fn start(binaries: &Binaries, backend: Backend) -> io::Result<Vec<(Shape, Nodes)>> {
    let starting = Shape::ALL.map(|shape| Ok((shape, binaries.start(shape, backend)?)));
    let starting = starting.into_iter().collect::<io::Result<Vec<_>>>()?;
    starting.into_iter().map(|(shape, nodes)| Ok((shape, nodes.ready()?))).collect()
}

fn measure_round(
    binaries: &Binaries,
    shapes: &[(Shape, Nodes)],
    backend: Backend,
    round: usize,
    run: &mut HopRun,
    say: &mut dyn FnMut(&str),
) {
    for load in &LOADS {
        for shape in load.order(round) {
            let Some((_, nodes)) = shapes.iter().find(|(one, _)| *one == shape) else { continue };
            let what = format!("{load}, {backend}, {shape}");
            match one(binaries, load, shape, nodes, &run.effort) {
                Ok((rate, seen)) => {
                    let sample = HopSample { load: load.to_string(), shape, backend, round, rate, seen };
                    say(&format!("    {what}: {:.2} µs per delivery", sample.us_per_delivery()));
                    run.samples.push(sample);
                }
                Err(error) => run.fail(what, &error, say),
            }
        }
    }
}

impl HopRun {
    fn fail(&mut self, what: String, error: &io::Error, say: &mut dyn FnMut(&str)) {
        let reason = error.to_string();
        say(&format!("    {what}: failed: {reason}"));
        self.failures.push(HopFailure { what, reason });
    }
}

fn one(
    binaries: &Binaries,
    load: &Load,
    shape: Shape,
    nodes: &Nodes,
    effort: &Effort,
) -> io::Result<(Rate, Seen)> {
    let result = binaries.scratch.join("loadgen.json");
    // A result of before must not pass for one of now.
    File::create(&result)?;
    let mut command = load_generator(binaries, load, shape, nodes, effort);
    command.arg("--json").arg(&result);
    let mut child = command.spawn()?;
    let followed = follow(&mut child, nodes);
    child.wait()?;
    let (cost, said) = followed?;
    let seen = fs::read_to_string(&result)?;
    let seen: Seen = serde_json::from_str(&seen)
        .map_err(|error| io::Error::other(format!("no result of loadgen ({error}); it said: {said}")))?;
    if let Some(fault) = seen.fault() {
        return Err(io::Error::other(format!("{fault}; the nodes logged:\n{}", nodes.log_tails())));
    }
    Ok((cost.rate(seen.messages.received), seen))
}

fn load_generator(binaries: &Binaries, load: &Load, shape: Shape, nodes: &Nodes, effort: &Effort) -> Command {
    let urls = nodes.urls();
    let mut command = Command::new(&binaries.loadgen);
    command.env_remove("LOADGEN_TOKEN_SECRET");
    command.args(["fanout", "--url", &urls.join(",")]);
    if shape == Shape::Owned {
        command.args(["--publish-url", &urls[0]]);
    }
    let mut number = |name: &str, value: &dyn ToString| {
        command.args([name, &value.to_string()]);
    };
    number("--connections", &(load.readers * CHANNELS));
    number("--channels", &CHANNELS);
    number("--publishers", &PUBLISHERS);
    number("--size", &BYTES);
    number("--duration", &effort.seconds);
    number("--warmup", &effort.warm_up_s);
    match load.pace {
        Pace::Open(rate) => number("--rate", &rate),
        Pace::Closed(depth) => {
            number("--rate", &0);
            number("--depth", &depth);
        }
    }
    command.args(["--threads", "1", "--progress", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    kernel::confine(&mut command, DRIVER_CORE);
    command
}

/// A line of `loadgen --progress json`.
#[derive(Deserialize)]
struct Progress {
    event: String,
    phase: String,
}

/// Reads the clocks when the generator, with all connections open, begins to publish, and when the last delivery has
/// arrived. What it says beside its progress is returned with them.
fn follow(child: &mut Child, nodes: &Nodes) -> io::Result<(Cost, String)> {
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no stderr of loadgen"))?;
    let clocks = Clocks::of_servers(nodes.pids(), child.id())?;
    let (mut begun, mut ended) = (None::<Mark>, None::<Mark>);
    let mut said = String::new();
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        match serde_json::from_str::<Progress>(&line) {
            Ok(progress) if progress.event != "phase" => {}
            Ok(progress) if progress.phase == "running" => begun = Some(clocks.mark()?),
            Ok(progress) if progress.phase == "closing" => ended = Some(clocks.mark()?),
            Ok(_) => {}
            Err(_) => said = line,
        }
    }
    let mut cost = Cost::default();
    match (begun, ended) {
        (Some(begun), Some(ended)) => cost.add(&begun, &ended),
        _ => return Err(io::Error::other(format!("loadgen did not get so far as to publish: {said}"))),
    }
    Ok((cost, said))
}
