//! Starts the two ends of a run, each on its core, and ends them with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::run::plan::Backend;
use crate::run::serving::{self, DRIVER_CORE, Programs, Serving, TOKEN_SECRET};
use crate::{kernel, limits};

/// What is driven how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Of both ends.
    pub backend: Backend,
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

/// The load generator. Dropping it kills the process.
pub struct Driver {
    child: Child,
    log: PathBuf,
}

impl Programs {
    /// Starts the server and waits until it listens.
    pub fn serve(&self, load: &Load) -> io::Result<Serving> {
        let mut command = serving::roadstead(&self.roadstead, load.backend, load.shards);
        command.args(["--listen", "127.0.0.1:0", "--admin", "off"]);
        let room = load.connections + load.connections / limits::ROOM_PARTS + limits::ROOM_MIN;
        command.args(["--set", &format!("limits.connections={room}")]);
        command.env("ROADSTEAD_ADMIN_SOCKET", self.scratch.join("admin.sock"));
        command.env("ROADSTEAD_TOKEN__HMAC_SECRET", TOKEN_SECRET);
        self.start(command, "roadstead")
    }

    /// Starts the bare loop that only exchanges pings and pongs.
    pub fn serve_floor(&self, load: &Load) -> io::Result<Serving> {
        let mut command = Command::new(&self.floor);
        command.args(["exchange", "--backend", &load.backend.to_string()]);
        command.args([
            "--connections",
            &load.connections.to_string(),
            "--buffer",
            "1024",
            "--buffers",
            "4096",
        ]);
        self.start(command, "floor")
    }

    /// Starts the load generator for users of the client protocol, and for a floor for clients that only answer pings.
    /// Its progress comes line by line from [`Driver::progress`]; its result goes to `result`.
    pub fn drive(&self, load: &Load, server: &Serving, is_floor: bool, result: &Path) -> io::Result<Driver> {
        let mut command = Command::new(&self.loadgen);
        let (address, connections) = (server.address, load.connections.to_string());
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
        command.args(["--io", &load.backend.to_string(), "--threads", &load.shards.to_string()]);
        command.args(["--timeout", &limits::OPENING_TIMEOUT_S.to_string(), "--progress", "json", "--json"]);
        command.arg(result);
        kernel::confine(&mut command, DRIVER_CORE);
        let log = self.scratch.join("loadgen.log");
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(Stdio::piped());
        let program = self.loadgen.display();
        let child = command.spawn().map_err(|e| io::Error::other(format!("cannot start {program}: {e}")))?;
        Ok(Driver { child, log })
    }
}

impl Driver {
    /// Lines of its progress, until it ends.
    pub fn progress(&mut self) -> io::Result<impl Iterator<Item = String> + use<>> {
        let stderr = self.child.stderr.take().ok_or_else(|| io::Error::other("no progress to read"))?;
        Ok(BufReader::new(stderr).lines().map_while(Result::ok))
    }

    /// Waits for its end by itself; its exit code, -1 for a signal.
    pub fn wait(&mut self) -> io::Result<i32> {
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }

    /// The end of what it said, to explain a failure.
    pub fn log_tail(&self) -> String {
        serving::tail(&self.log)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A process that has already ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
