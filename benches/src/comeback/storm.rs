//! One storm: clients connect and subscribe, all their sockets are reset at once, and all come back.
//!
//! Invariant: memory is looked at with everybody connected, before the cut and long after it; nothing else is compared.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::drive::idle::Memory;
use crate::kernel::{self, CpuClock};
use crate::limits;
use crate::run::command::Certificate;
use crate::run::plan::Backend;
use crate::run::serving::{self, DRIVER_CORE, Serving, Starting, TOKEN_SECRET};

/// How clients come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Over TCP.
    Plain,
    /// With a full TLS handshake.
    TlsFull,
    /// With a resumed TLS session.
    TlsResumed,
}

/// One storm to be made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plan {
    /// Of both ends.
    pub backend: Backend,
    /// Clients, all of which are cut off.
    pub clients: u32,
    /// How they come back.
    pub way: Way,
    /// Whether they wait for a random time before they do, longer with each attempt.
    pub backs_off: bool,
    /// Seconds from the cut to the end.
    pub patience_s: u32,
}

/// What a storm showed.
#[derive(Debug, Clone, Serialize)]
pub struct Storm {
    /// What was planned.
    pub plan: Plan,
    /// Who came back.
    pub back: u64,
    /// Attempts that failed.
    pub retries: u64,
    /// Clients that never came back, and everything else that should not have happened.
    pub failed: u64,
    /// Comebacks that resumed a TLS session.
    pub resumed: u64,
    /// From the cut until half of the clients were back, until 99 of 100, until all: seconds.
    pub back_s: [f64; 3],
    /// Processor time of the server for each comeback, microseconds; what a quiet time of the same length takes is taken off.
    pub server_us: f64,
    /// Resident memory of the server with all clients connected: before the cut, and at the end, bytes.
    pub resident: [u64; 2],
    /// The load generator's own result.
    pub result: serde_json::Value,
}

/// The programs of a run, and where they may write.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `roadstead`.
    pub roadstead: PathBuf,
    /// `loadgen`.
    pub loadgen: PathBuf,
    /// For logs, results and the admin socket.
    pub scratch: PathBuf,
    /// What the server shows over TLS.
    pub certificate: Certificate,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Progress {
    Phase { phase: String },
    Second {},
}

impl Programs {
    fn serve(&self, plan: &Plan) -> io::Result<Serving> {
        let mut command = serving::roadstead(&self.roadstead, plan.backend, shards(plan));
        command.args(["--listen", "127.0.0.1:0", "--admin", "off", "--memory", "0"]);
        let room = plan.clients + plan.clients / limits::ROOM_PARTS + limits::ROOM_MIN;
        command.args(["--set", &format!("limits.connections={room}")]);
        if plan.way != Way::Plain {
            self.certificate.show(&mut command);
        }
        command.env("ROADSTEAD_ADMIN_SOCKET", self.scratch.join("admin.sock"));
        command.env("ROADSTEAD_TOKEN__HMAC_SECRET", TOKEN_SECRET);
        let log = self.scratch.join("roadstead.log");
        Starting::new(command, "roadstead", log)?.ready(Duration::from_secs(limits::STALL_S))
    }

    fn drive(&self, plan: &Plan, server: &Serving, result: &Path) -> Command {
        let scheme = if plan.way == Way::Plain { "ws" } else { "wss" };
        let url = format!("{scheme}://{}/connection/websocket", server.address);
        let mut command = Command::new(&self.loadgen);
        command.args(["storm", "--url", &url, "--connections", &plan.clients.to_string()]);
        // A hundred subscribers for each channel.
        let channels = plan.clients * limits::COMEBACK_SUBSCRIPTIONS / 100;
        command.args(["--channels", &channels.max(1).to_string(), "--rate", "1"]);
        command.args(["--subscriptions", &limits::COMEBACK_SUBSCRIPTIONS.to_string()]);
        command.args(["--token-secret", TOKEN_SECRET, "--storm-share", "1"]);
        command.args(["--storm-after", &limits::COMEBACK_QUIET_S.to_string()]);
        let duration = plan.patience_s + limits::COMEBACK_QUIET_S;
        command.args(["--duration", &duration.to_string(), "--timeout", "60", "--cut"]);
        if !plan.backs_off {
            command.args(["--backoff-min", "0", "--backoff-max", "0"]);
        }
        match plan.way {
            Way::Plain => {}
            Way::TlsFull => _ = command.arg("--insecure-tls"),
            Way::TlsResumed => _ = command.args(["--insecure-tls", "--tls-resume"]),
        }
        let threads = shards(plan).to_string();
        command.args(["--io", &plan.backend.to_string(), "--threads", &threads, "--progress", "json"]);
        command.arg("--json").arg(result);
        kernel::confine(&mut command, DRIVER_CORE);
        command
    }

    /// Makes a storm.
    ///
    /// # Errors
    /// A program could not be started or left no result.
    pub fn storm(&self, plan: Plan) -> io::Result<Storm> {
        let server = self.serve(&plan)?;
        let file = self.scratch.join("result.json");
        let log = self.scratch.join("loadgen.log");
        let mut command = self.drive(&plan, &server, &file);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(Stdio::piped());
        let mut driver = command.spawn()?;
        let stderr = driver.stderr.take().ok_or_else(|| io::Error::other("no progress to read"))?;
        let clock = CpuClock::of(server.pid())?;
        let look = || Ok::<_, io::Error>((clock.read()?, Memory::of(server.pid())?.rss));
        let (mut begun, mut quiet, mut ended) = (None, None, None);
        let mut seconds = 0;
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Progress::Phase { phase }) if phase == "running" => begun = Some(look()?),
                // The load generator says so before it cuts anybody off for good.
                Ok(Progress::Phase { .. }) if begun.is_some() && ended.is_none() => ended = Some(look()?),
                Ok(Progress::Second {}) if begun.is_some() => {
                    seconds += 1;
                    if seconds == limits::COMEBACK_QUIET_S - 1 {
                        quiet = Some(look()?);
                    }
                }
                _ => {}
            }
        }
        driver.wait()?;
        let (Some(begun), Some(quiet), Some(ended)) = (begun, quiet, ended) else {
            let said = serving::tail(&log);
            return Err(io::Error::other(format!(
                "loadgen ended before there was a storm; it said:\n{said}"
            )));
        };
        let result: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        server.stop(Duration::from_secs(limits::STOP_S))?;
        let count = |path: &str| result.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let seconds_of = |figure: &str| {
            let us = result.pointer(&format!("/latency_us/comeback/{figure}")).and_then(|us| us.as_f64());
            us.unwrap_or(f64::NAN) / 1e6
        };
        let failures = ["/connections/failed", "/unrest/away", "/unrest/given_up"];
        let back = count("/unrest/back");
        let idle_share = (quiet.0 - begun.0).as_secs_f64() / f64::from(limits::COMEBACK_QUIET_S - 1);
        let storm_s = f64::from(plan.patience_s + 1);
        let used_s = (ended.0 - quiet.0).as_secs_f64() - idle_share * storm_s;
        Ok(Storm {
            plan,
            back,
            retries: count("/unrest/retries"),
            failed: failures.iter().map(|path| count(path)).sum(),
            resumed: count("/connections/tls_resumed"),
            back_s: ["p50", "p99", "max"].map(seconds_of),
            server_us: used_s * 1e6 / back.max(1) as f64,
            resident: [quiet.1, ended.1],
            result,
        })
    }
}

/// One, but where each needs a descriptor table of its own.
fn shards(plan: &Plan) -> u32 {
    let fits = kernel::raise_descriptor_limit().unwrap_or(0) > u64::from(plan.clients) * 2;
    if plan.backend == Backend::IoUring || fits {
        1
    } else {
        plan.clients.div_ceil(limits::TABLE_CONNECTIONS)
    }
}
