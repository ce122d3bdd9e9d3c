//! Starts a measured server as a process of its own on one core, and ends it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::plan::{Backend, Bench, Contender};
use crate::{kernel, limits};

/// The core that serves; the driver has the other one.
const CORE: usize = 0;

/// Signs and verifies the tokens of idle users; it lives as long as one server of a bench.
pub const TOKEN_SECRET: &str = "a secret only for benches";

/// The binaries of a run, and a directory for what servers write.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `floor`.
    pub floor: PathBuf,
    /// `drive`.
    pub drive: PathBuf,
    /// `roadstead`.
    pub roadstead: PathBuf,
    /// For logs and the admin socket; made and removed by the run.
    pub scratch: PathBuf,
}

/// A server that listens. Dropping it kills the process.
pub struct Serving {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddrV4,
}

impl Binaries {
    /// Starts one contender for one bench and waits until it listens.
    pub fn start(&self, server: &ServerPlan) -> io::Result<Serving> {
        let (mut command, name) = match server.contender {
            Contender::Roadstead => (self.roadstead_command(server.backend), "roadstead"),
            floor => (self.floor_command(server, floor), "floor"),
        };
        kernel::confine(&mut command, CORE);
        let log = self.scratch.join(format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let child = command.spawn().map_err(|e| {
            io::Error::other(format!("cannot start {}: {e}", command.get_program().display()))
        })?;
        Serving::await_ready(child, log, name)
    }

    fn floor_command(&self, server: &ServerPlan, contender: Contender) -> Command {
        let mut command = Command::new(&self.floor);
        match server.bench {
            Bench::Echo { .. } => command.arg("echo"),
            Bench::FanOut { .. } => {
                command.args(["fanout", "--message-bytes", &server.fan_out_message_bytes.to_string()])
            }
            Bench::Handshakes | Bench::Idle(_) => command.arg("handshake"),
        };
        command.args(["--backend", &server.backend.to_string()]);
        command.args(["--buffer", &server.floor_buffer_bytes.to_string()]);
        if contender == Contender::PolledFloor {
            command.args(["--mode", "poll"]);
        }
        command
    }

    fn roadstead_command(&self, backend: Backend) -> Command {
        let mut command = Command::new(&self.roadstead);
        // Settings of the person who runs the bench must not reach the server that is measured.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.as_encoded_bytes().starts_with(b"ROADSTEAD_"))
        {
            command.env_remove(name);
        }
        command.args(["serve", "--insecure", "--echo", "--shards", "1", "--io", &backend.to_string()]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.env("ROADSTEAD_ADMIN_SOCKET", self.scratch.join("admin.sock"));
        command.env("ROADSTEAD_TOKEN__HMAC_SECRET", TOKEN_SECRET);
        command
    }
}

/// What a contender is started for.
#[derive(Debug, Clone, Copy)]
pub struct ServerPlan {
    /// Who.
    pub contender: Contender,
    /// On which back end.
    pub backend: Backend,
    /// For which bench.
    pub bench: Bench,
    /// Bytes of a floor's receive buffer.
    pub floor_buffer_bytes: usize,
    /// Bytes of one message of the fan-out floor.
    pub fan_out_message_bytes: usize,
}

impl Serving {
    fn await_ready(mut child: Child, log: PathBuf, name: &str) -> io::Result<Self> {
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout of the server"))?;
        let (lines, ready) = mpsc::channel();
        // Reads on after the ready line, so that a server that says more is never blocked.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let address = SocketAddrV4::new([127, 0, 0, 1].into(), 0);
        let mut serving = Self { child, log, address };
        loop {
            match ready.recv_timeout(Duration::from_secs(limits::STALL_S)) {
                Ok(line) => {
                    if let Some(address) = listen_address(&line, name) {
                        serving.address = address;
                        return Ok(serving);
                    }
                }
                Err(_) => {
                    let log = tail(&serving.log);
                    return Err(io::Error::other(format!("{name} did not become ready; it said:\n{log}")));
                }
            }
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what the server logged, to explain a failure.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // A process that has already ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen_address(line: &str, name: &str) -> Option<SocketAddrV4> {
    let fields = line.strip_prefix(name)?.strip_prefix(" ready ")?;
    let listen = fields.split_whitespace().find_map(|field| field.strip_prefix("listen="))?;
    listen.split(',').find_map(|address| address.parse().ok())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_lines_name_the_address() {
        let address = "127.0.0.1:4711".parse().ok();
        let table = [
            ("floor", "floor ready listen=127.0.0.1:4711", address),
            (
                "roadstead",
                "roadstead ready listen=127.0.0.1:4711 admin=127.0.0.1:9 io=epoll shards=1",
                address,
            ),
            ("roadstead", "roadstead ready listen=[::1]:1,127.0.0.1:4711 admin=- io=epoll shards=1", address),
            ("roadstead", "listening soon", None),
            ("floor", "roadstead ready listen=127.0.0.1:4711", None),
        ];
        for (name, line, expected) in table {
            assert_eq!(listen_address(line, name), expected, "{line}");
        }
    }
}
