//! One round: a server as it stands on the open internet, good clients that write to each other, and perhaps a crowd.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use super::attack::{self, Tally};
use crate::drive::idle::Memory;
use crate::drive::{Clocks, Cost};
use crate::hop::fleet;
use crate::hop::record::Seen;
use crate::run::plan::Backend;
use crate::run::serving::{self, DRIVER_CORE, Programs, Serving, TOKEN_SECRET};
use crate::{kernel, limits};

/// Whom the crowd attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crowd {
    /// There is none.
    Quiet,
    /// A listener on the generators' core that answers upgrades and swallows the rest: what the crowd takes from the load
    /// generator, and not from the server.
    Elsewhere,
    /// The server.
    Attacks,
}

/// One round to be made.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    /// Of server and load generator.
    pub backend: Backend,
    /// Whom the crowd attacks.
    pub crowd: Crowd,
    /// Which of several, from 0.
    pub round: usize,
    /// Seconds that are measured.
    pub seconds: u32,
}

/// What a round showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// What was planned.
    pub plan: Plan,
    /// What the good clients saw.
    pub seen: Seen,
    /// What the attackers did.
    pub tally: Tally,
    /// Cores that the server, the good clients and the attackers took.
    pub cores: [f64; 3],
    /// Resident memory of the server before its first connection and at most, bytes.
    pub resident: [u64; 2],
    /// What the server counted of whom it refused, limited, closed or banned.
    pub counted: BTreeMap<String, u64>,
}

/// What an operator sets where strangers come by their own addresses; loopback, where all come from here, is no exception.
const SETTINGS: [&str; 5] = [
    "guard.public=true",
    "guard.exempt=",
    "channel.allow_subscribe_for_client=true",
    "channel.allow_user_limited_channels=true",
    "channel.allow_publish_for_client=true",
];

/// Beginnings of the names of metrics that are kept.
const COUNTED: [&str; 4] = [
    "roadstead_guard_refused_total",
    "roadstead_guard_faults_total",
    "roadstead_guard_limited_total",
    "roadstead_disconnects",
];

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Progress {
    Phase { phase: String },
    Second {},
}

impl Programs {
    fn serve_strangers(&self, backend: Backend) -> io::Result<Serving> {
        let mut command = serving::clean(&self.roadstead);
        command.args(["serve", "--shards", "1", "--io", &backend.to_string(), "--compression"]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        command.env("ROADSTEAD_ADMIN_SOCKET", self.scratch.join("admin.sock"));
        command.env("ROADSTEAD_TOKEN__HMAC_SECRET", TOKEN_SECRET);
        self.start(command, "roadstead")
    }

    fn swallow(&self) -> io::Result<Serving> {
        let mut command = Command::new(&self.floor);
        command.args(["handshake", "--backend", "epoll", "--core", &DRIVER_CORE.to_string()]);
        self.start(command, "floor")
    }

    fn drive_good(&self, plan: &Plan, server: SocketAddrV4, result: &Path) -> Command {
        let mut command = Command::new(&self.loadgen);
        command.env_remove("LOADGEN_TOKEN_SECRET");
        command.args(["direct", "--url", &format!("ws://{server}/connection/websocket")]);
        let good = limits::HOSTILE_GOOD;
        command.args(["--source", &format!("127.1.0.1-127.1.{}.{}", good / 256, good % 256)]);
        command.args(["--connections", &good.to_string(), "--rate", &limits::HOSTILE_RATE.to_string()]);
        command.args(["--token-secret", TOKEN_SECRET, "--compression"]);
        command.args(["--warmup", &limits::HOSTILE_WARM_UP_S.to_string()]);
        command.args(["--duration", &plan.seconds.to_string(), "--threads", "1"]);
        command.args(["--io", &plan.backend.to_string(), "--progress", "json"]);
        command.arg("--json").arg(result);
        kernel::confine(&mut command, DRIVER_CORE);
        command
    }

    /// Makes a round.
    ///
    /// # Errors
    /// A program could not be started or left no result.
    pub fn round(&self, plan: Plan) -> io::Result<Round> {
        let server = self.serve_strangers(plan.backend)?;
        let elsewhere = if plan.crowd == Crowd::Elsewhere { Some(self.swallow()?) } else { None };
        let target = elsewhere.as_ref().unwrap_or(&server).address;
        let before = Memory::of(server.pid())?.rss;
        let (file, log) = (self.scratch.join("result.json"), self.scratch.join("loadgen.log"));
        let mut command = self.drive_good(&plan, server.address, &file);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(Stdio::piped());
        let mut driver = command.spawn()?;
        let stderr = driver.stderr.take().ok_or_else(|| io::Error::other("no progress to read"))?;
        let clocks = [
            Clocks::of_servers([server.pid()], driver.id())?,
            // The attackers are threads of this program, which does nothing else.
            Clocks::of_servers([server.pid()], std::process::id())?,
        ];
        let mark = || Ok::<_, io::Error>([clocks[0].mark()?, clocks[1].mark()?]);
        let is_over = AtomicBool::new(false);
        let (mut most, mut begun, mut ended, mut said) = (before, None, None, String::new());
        let tally = thread::scope(|threads| {
            let mut crowd = None;
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                most = most.max(Memory::of(server.pid())?.rss);
                match serde_json::from_str(&line) {
                    Ok(Progress::Phase { phase }) if phase == "running" => {
                        begun = Some(mark()?);
                        if plan.crowd != Crowd::Quiet {
                            let is_over = &is_over;
                            crowd = Some(threads.spawn(move || {
                                kernel::pin(DRIVER_CORE)?;
                                attack::attack(target, TOKEN_SECRET, is_over)
                            }));
                        }
                    }
                    Ok(Progress::Phase { .. }) if begun.is_some() && ended.is_none() => {
                        ended = Some(mark()?);
                        is_over.store(true, Ordering::Relaxed);
                    }
                    Ok(Progress::Phase { .. } | Progress::Second {}) => {}
                    Err(_) => said = line,
                }
            }
            is_over.store(true, Ordering::Relaxed);
            let gone = || io::Error::other("the attackers' thread ended by a fault of its own");
            crowd.map_or(Ok(Tally::default()), |crowd| crowd.join().map_err(|_| gone())?)
        });
        is_over.store(true, Ordering::Relaxed);
        driver.wait()?;
        let tally = tally?;
        let (Some(begun), Some(ended)) = (begun, ended) else {
            return Err(io::Error::other(format!("loadgen did not get so far as to send: {said}")));
        };
        let seen = serde_json::from_str(&std::fs::read_to_string(&file)?)
            .map_err(|error| io::Error::other(format!("no result of loadgen ({error}): {said}")))?;
        let mut rates = [Cost::default(), Cost::default()];
        for (cost, (from, to)) in rates.iter_mut().zip(begun.iter().zip(&ended)) {
            cost.add(from, to);
        }
        let counted = counted(&server)?;
        let [good, crowd] = rates.map(|cost| cost.rate(1));
        let cores = [good.server_core_share, good.client_core_share, crowd.client_core_share];
        Ok(Round { plan, seen, tally, cores, resident: [before, most], counted })
    }
}

/// Counters of the guards that have counted something, and the endings of sessions.
fn counted(server: &Serving) -> io::Result<BTreeMap<String, u64>> {
    let admin = server.admin.ok_or_else(|| io::Error::other("the server has no admin address"))?;
    let metrics = fleet::get(admin, "/metrics")?;
    let lines = metrics.lines().filter(|line| COUNTED.iter().any(|name| line.starts_with(name)));
    let pairs = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse::<f64>().ok()? as u64))
    });
    Ok(pairs.filter(|(_, value)| *value > 0).collect())
}
