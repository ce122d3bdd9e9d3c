//! Starts the two ends of a run, each on its core, and ends them with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{kernel, limits};

/// The core that serves, and the one that drives.
const CORES: (usize, usize) = (0, 1);

/// Signs the users' tokens; it lives as long as a server of a run.
const TOKEN_SECRET: &str = "a secret only for a million users";

/// The programs of a run.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `roadstead`.
    pub roadstead: PathBuf,
    /// `loadgen`.
    pub loadgen: PathBuf,
    /// `floor`.
    pub floor: PathBuf,
    /// For logs and the admin socket.
    pub scratch: PathBuf,
}

/// What is driven how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Back end of both ends.
    pub io: String,
    /// Connections.
    pub connections: u32,
    /// Channels that they subscribe to in turn.
    pub channels: u32,
    /// Publications per second, each to a channel drawn at random.
    pub rate: u32,
    /// Seconds in which nothing but pings happens.
    pub hold_s: u32,
    /// Seconds in which is published.
    pub publish_s: u32,
    /// Shards, and threads of the load generator: more than one only where each needs a descriptor table of its own.
    pub shards: u32,
}

/// A process of a run. Dropping it kills it.
pub struct End {
    child: Child,
    /// Its name in messages.
    name: &'static str,
    log: PathBuf,
}

impl Programs {
    /// Starts the server and waits until it listens; returns its address as well.
    pub fn serve(&self, load: &Load) -> io::Result<(End, String)> {
        let mut command = Command::new(&self.roadstead);
        // Settings of the person who runs this must not reach the server that is measured.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.as_encoded_bytes().starts_with(b"ROADSTEAD_"))
        {
            command.env_remove(name);
        }
        command.args(["serve", "--insecure", "--shards", &load.shards.to_string(), "--io", &load.io]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "off"]);
        let room = load.connections + load.connections / limits::ROOM_PARTS + limits::ROOM_MIN;
        command.args(["--set", &format!("limits.connections={room}")]);
        command.env("ROADSTEAD_ADMIN_SOCKET", self.scratch.join("admin.sock"));
        command.env("ROADSTEAD_TOKEN__HMAC_SECRET", TOKEN_SECRET);
        self.start(command, "roadstead", CORES.0)
    }

    /// Starts the bare loop that only exchanges pings and pongs.
    pub fn serve_floor(&self, load: &Load) -> io::Result<(End, String)> {
        let mut command = Command::new(&self.floor);
        command.args(["exchange", "--backend", &load.io, "--connections", &load.connections.to_string()]);
        command.args(["--buffer", "1024", "--buffers", "4096"]);
        self.start(command, "floor", CORES.0)
    }

    fn start(&self, mut command: Command, name: &'static str, core: usize) -> io::Result<(End, String)> {
        kernel::confine(&mut command, core);
        let log = self.scratch.join(format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = spawn(&mut command)?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout of the server"))?;
        let end = End { child, name, log };
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let ready = lines.find(|line| line.contains(" ready "));
        let fields = ready.as_deref().map(|line| line.split_whitespace());
        let listen = fields.and_then(|mut fields| fields.find_map(|field| field.strip_prefix("listen=")));
        match listen {
            Some(address) => Ok((end, address.to_owned())),
            None => Err(end.explain("did not become ready")),
        }
    }

    /// Starts the load generator for users of the client protocol, and for `floor` for clients that only answer pings.
    /// Its progress comes line by line from [`End::progress`]; its result goes to `result`.
    pub fn drive(&self, load: &Load, address: &str, is_floor: bool, result: &Path) -> io::Result<End> {
        let mut command = Command::new(&self.loadgen);
        let connections = load.connections.to_string();
        if is_floor {
            command.args(["idle", "--url", &format!("ws://{address}/"), "--connections", &connections]);
            command.args(["--hold", &load.hold_s.to_string(), "--duration", "1"]);
        } else {
            let url = format!("ws://{address}/connection/websocket");
            command.args(["fanout", "--url", &url, "--connections", &connections]);
            command.args(["--channels", &load.channels.to_string(), "--token-secret", TOKEN_SECRET]);
            command.args(["--rate", &load.rate.to_string(), "--pick", "random"]);
            command.args(["--hold", &load.hold_s.to_string(), "--duration", &load.publish_s.to_string()]);
        }
        command.args(["--io", &load.io, "--threads", &load.shards.to_string()]);
        command.args(["--timeout", &limits::OPENING_TIMEOUT_S.to_string(), "--progress", "json", "--json"]);
        command.arg(result);
        kernel::confine(&mut command, CORES.1);
        let log = self.scratch.join("loadgen.log");
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(Stdio::piped());
        Ok(End { child: spawn(&mut command)?, name: "loadgen", log })
    }
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    let program = command.get_program().to_owned();
    command.spawn().map_err(|e| io::Error::other(format!("cannot start {}: {e}", program.display())))
}

impl End {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lines of the process's progress, until it ends.
    pub fn progress(&mut self) -> io::Result<impl Iterator<Item = String> + use<>> {
        let stderr = self.child.stderr.take().ok_or_else(|| io::Error::other("no progress to read"))?;
        Ok(BufReader::new(stderr).lines().map_while(Result::ok))
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end by itself.
    pub fn wait(&mut self) -> io::Result<i32> {
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }

    /// Asks it to end (SIGTERM) and gives it its time.
    pub fn stop(mut self) -> io::Result<()> {
        kernel::terminate(self.child.id())?;
        let end = Instant::now() + Duration::from_secs(limits::STOP_S);
        while Instant::now() < end {
            if !self.is_running() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(self.explain("did not end when it was asked to"))
    }

    /// An error about it with the end of what it said.
    pub fn explain(&self, what: &str) -> io::Error {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n");
        io::Error::other(format!("{} {what}; it said:\n{tail}", self.name))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // A process that has already ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
