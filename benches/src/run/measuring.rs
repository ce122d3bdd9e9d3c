//! Goes through the plan: starts a server, drives it, keeps the figure, ends it.
//!
//! The contenders of a bench take turns, in reversed order every other round, so that a machine that
//! warms up or slows down meets all of them alike. Every measurement has a server process of its own.

use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::codec;
use super::plan::{Backend, Bench, Contender, Effort, Idle};
use super::record::{Failure, Run, Sample};
use super::serving::{Binaries, DRIVER_CORE, ServerPlan, Serving, TOKEN_SECRET};
use crate::drive::Encoding;
use crate::drive::idle::Memory;
use crate::drive::tls::Version;
use crate::{kernel, limits};

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Task {
    /// Measures the codec first.
    pub codec: bool,
    /// Benches, in order.
    pub benches: Vec<Bench>,
    /// Back ends, in order.
    pub backends: Vec<Backend>,
    /// Leaves Roadstead out.
    pub floors_only: bool,
}

/// Measures everything of a task into a run. What fails is kept beside what succeeds. `say` gets a line
/// before and after each measurement.
pub fn measure(binaries: &Binaries, task: &Task, run: &mut Run, say: &mut dyn FnMut(&str)) -> io::Result<()> {
    let begun = Instant::now();
    let total =
        task.benches.iter().map(|bench| task.measurements(bench, run.effort.rounds(bench))).sum::<usize>();
    let mut number = 0;
    if task.codec {
        run.codec = Some(codec::measure(binaries, &run.effort, say)?);
    }
    if !task.floors_only {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            if task
                .benches
                .iter()
                .any(|bench| bench.published().is_some_and(|(_, spoken)| spoken == encoding))
            {
                learn_message_bytes(binaries, task, run, encoding, say);
            }
        }
    }
    for bench in &task.benches {
        for round in 0..run.effort.rounds(bench) {
            for backend in &task.backends {
                for contender in task.order(bench, *backend, round) {
                    number += 1;
                    let minutes = begun.elapsed().as_secs() / 60;
                    say(&format!("[{number}/{total}, {minutes} min] {bench}, {backend}, {contender}"));
                    let plan = run.server_plan(contender, *backend, *bench);
                    match undisturbed(binaries, &plan, &run.effort, say) {
                        Ok(detail) => run.keep(&plan, round, detail, say)?,
                        Err(error) => run.fail(&plan, &error, say),
                    }
                }
            }
        }
    }
    Ok(())
}

impl Task {
    fn order(&self, bench: &Bench, backend: Backend, round: usize) -> Vec<Contender> {
        let mut order = bench.contenders(backend).to_vec();
        order.retain(|contender| !self.floors_only || contender.is_floor());
        if round % 2 == 1 {
            order.reverse();
        }
        order
    }

    fn measurements(&self, bench: &Bench, rounds: usize) -> usize {
        self.backends.iter().map(|backend| self.order(bench, *backend, 0).len() * rounds).sum()
    }
}

impl Run {
    fn server_plan(&self, contender: Contender, backend: Backend, bench: Bench) -> ServerPlan {
        let floor_buffer_bytes = self.floor_buffer_bytes;
        let fan_out_message_bytes = match bench.published() {
            Some((_, Encoding::Protobuf)) => self.fan_out_protobuf_bytes,
            _ => self.fan_out_message_bytes,
        };
        ServerPlan { contender, backend, bench, floor_buffer_bytes, fan_out_message_bytes }
    }

    fn keep(
        &mut self,
        plan: &ServerPlan,
        round: usize,
        detail: serde_json::Value,
        say: &mut dyn FnMut(&str),
    ) -> io::Result<()> {
        let name = match plan.bench {
            Bench::Idle(_) => "rss_bytes_each",
            Bench::Shards(_) => "rss_bytes_before",
            _ => "per_server_cpu_second",
        };
        let figure =
            detail[name].as_f64().ok_or_else(|| io::Error::other(format!("the driver gave no {name}")))?;
        say(&format!("    {figure:.0} {}", name.replace('_', " ")));
        let (family, bench) = (plan.bench.family(), plan.bench.to_string());
        let (backend, contender) = (plan.backend, plan.contender);
        self.samples.push(Sample { family, bench, backend, contender, round, figure, detail });
        Ok(())
    }

    fn fail(&mut self, plan: &ServerPlan, error: &io::Error, say: &mut dyn FnMut(&str)) {
        let reason = error.to_string();
        say(&format!("    failed: {reason}"));
        let (backend, contender) = (plan.backend, plan.contender);
        self.failures.push(Failure { bench: plan.bench.to_string(), backend, contender, reason });
    }
}

/// The floor must write the bytes Roadstead writes: one short measurement tells how many those are.
fn learn_message_bytes(
    binaries: &Binaries,
    task: &Task,
    run: &mut Run,
    encoding: Encoding,
    say: &mut dyn FnMut(&str),
) {
    let Some(backend) = task.backends.first() else { return };
    let plan = run.server_plan(
        Contender::Roadstead,
        *backend,
        Bench::FanOut { subscribers: 1, encoding, window: 1 },
    );
    let effort = Effort { seconds: 0.1, warm_up_s: 0.0, ..run.effort };
    let learned = one(binaries, &plan, &effort).ok().and_then(|detail| detail["delivery_bytes"].as_u64());
    match learned {
        Some(bytes) if bytes > 0 => {
            say(&format!("    one delivery in {encoding} is {bytes} bytes"));
            match encoding {
                Encoding::Json => run.fan_out_message_bytes = bytes as usize,
                Encoding::Protobuf => run.fan_out_protobuf_bytes = bytes as usize,
            }
        }
        _ => say("    roadstead delivered nothing; the fan-out floor writes messages of the default size"),
    }
}

/// Measures again while other work on the machine disturbs it; the last try is kept however it went, and
/// the table marks it.
fn undisturbed(
    binaries: &Binaries,
    plan: &ServerPlan,
    effort: &Effort,
    say: &mut dyn FnMut(&str),
) -> io::Result<serde_json::Value> {
    for _ in 1..limits::TRIES {
        let detail = one(binaries, plan, effort)?;
        let others = detail["others_core_share"].as_f64().unwrap_or(0.0);
        if others <= limits::DISTURBED_SHARE {
            return Ok(detail);
        }
        say(&format!("    disturbed: other work took {others:.2} cores; again in {} s", limits::PAUSE_S));
        thread::sleep(Duration::from_secs(limits::PAUSE_S));
    }
    one(binaries, plan, effort)
}

fn one(binaries: &Binaries, plan: &ServerPlan, effort: &Effort) -> io::Result<serde_json::Value> {
    let serving = binaries.start(plan)?;
    let before = Memory::of(serving.pid())?;
    let output = driver(binaries, plan, effort, &serving).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let log = serving.log_tail();
        let log = if log.is_empty() { log } else { format!("; the server logged:\n{log}") };
        return Err(io::Error::other(format!("{said}{log}")));
    }
    let mut detail: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    if matches!(plan.bench, Bench::Shards(_)) {
        detail["rss_bytes_before"] = before.rss.into();
        detail["rss_bytes_after"] = Memory::of(serving.pid())?.rss.into();
    }
    Ok(detail)
}

fn driver(binaries: &Binaries, plan: &ServerPlan, effort: &Effort, serving: &Serving) -> Command {
    let mut command = Command::new(&binaries.drive);
    let effort = effort.of(&plan.bench);
    let time = [
        "--seconds".to_owned(),
        effort.seconds.to_string(),
        "--warm-up".into(),
        effort.warm_up_s.to_string(),
    ];
    match plan.bench {
        Bench::Echo { bytes, depth } => {
            command.arg("echo").args(time);
            command.args(["--bytes", &bytes.to_string(), "--depth", &depth.to_string()]);
        }
        Bench::FanOut { .. } | Bench::Crossing { .. } | Bench::Shards(_) => {
            command.arg("fanout").args(time);
            fan_out(&mut command, plan);
        }
        Bench::Handshakes => {
            command.arg("handshakes").args(time);
        }
        Bench::TlsEcho { bytes, depth } => {
            command.args(["tls", "--what", "echo"]).args(time);
            command.args(["--bytes", &bytes.to_string(), "--depth", &depth.to_string()]);
        }
        Bench::TlsHandshakes { version, is_resumed } => {
            command.args(["tls", "--what", if is_resumed { "resumed" } else { "full" }]).args(time);
            command.args(["--version", if version == Version::Tls12 { "1.2" } else { "1.3" }]);
        }
        Bench::Idle(Idle::Tls) => {
            command.args(["tls", "--what", "idle", "--settle", &effort.settle_s.to_string()]);
            command.args(["--connections", &limits::TLS_IDLE_CONNECTIONS.to_string()]);
        }
        Bench::Idle(kind) => {
            command.args(["idle", "--settle", &effort.settle_s.to_string()]);
            if kind != Idle::Echo {
                command.args(["--token-secret", TOKEN_SECRET]);
            }
            match kind {
                Idle::OwnChannel => _ = command.arg("--own-channel"),
                Idle::Channels(count) => _ = command.args(["--subscriptions", &count.to_string()]),
                Idle::Echo | Idle::Tls | Idle::OneChannel => {}
            }
        }
    }
    let is_encrypted = plan.bench.is_encrypted();
    if is_encrypted {
        command.arg("--certificate").arg(&binaries.certificate.certificate);
    }
    let answers_upgrades = !is_encrypted && matches!(plan.bench, Bench::Handshakes | Bench::Idle(_));
    let speaks_http = !plan.contender.is_floor() || answers_upgrades;
    let is_echo = is_encrypted || plan.bench == Bench::Idle(Idle::Echo);
    let in_session = plan.bench.published().is_some() || (matches!(plan.bench, Bench::Idle(_)) && !is_echo);
    command.args(["--protocol", if speaks_http { "ws" } else { "raw" }]);
    command.args(["--path", if in_session { "/connection/websocket" } else { "/echo" }]);
    let addresses: Vec<String> = serving.addresses.iter().map(ToString::to_string).collect();
    command.args(["--to", &addresses.join(","), "--pid", &serving.pid().to_string()]);
    command.stdin(Stdio::null());
    kernel::confine(&mut command, DRIVER_CORE);
    command
}

/// Who publishes to whom, and from where.
fn fan_out(command: &mut Command, plan: &ServerPlan) {
    let (subscribers, encoding) = plan.bench.published().unwrap_or((1, Encoding::Json));
    let window = match plan.bench {
        Bench::FanOut { window, .. } => window,
        Bench::Shards(_) => 16,
        _ => 1,
    };
    let tables = plan.bench.tables();
    let numbers = [
        ("--subscribers", subscribers),
        ("--window", window),
        ("--tables", tables),
        ("--floor-bytes", plan.fan_out_message_bytes),
    ];
    for (name, number) in numbers {
        command.args([name, &number.to_string()]);
    }
    command.args(["--encoding", &encoding.to_string().to_lowercase()]);
    let placement = plan.contender.placement();
    for (name, shard) in
        [("--publisher-shard", placement.publisher), ("--subscriber-shard", placement.subscribers)]
    {
        if let Some(shard) = shard {
            command.args([name, &shard.to_string()]);
        }
    }
}
