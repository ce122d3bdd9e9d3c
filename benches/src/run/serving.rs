//! Starts a measured server as a process of its own on one core, and ends it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::command::{self, Certificate};
use super::plan::{Backend, Bench, Contender};
use crate::{kernel, limits};

/// The core that serves.
pub const CORE: usize = 0;

/// The core that drives.
pub const DRIVER_CORE: usize = 1;

/// Signs and verifies the tokens of idle users; it lives as long as one server of a bench.
pub const TOKEN_SECRET: &str = "a secret only for benches";

/// The binaries of a run, and a directory for what servers write.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `floor`.
    pub floor: PathBuf,
    /// `drive`.
    pub drive: PathBuf,
    /// `codec`.
    pub codec: PathBuf,
    /// `roadstead`.
    pub roadstead: PathBuf,
    /// What servers show over TLS.
    pub certificate: Certificate,
    /// For logs and the admin socket; made and removed by the run.
    pub scratch: PathBuf,
}

/// The programs of a run, and where they may write.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `roadstead`.
    pub roadstead: PathBuf,
    /// `loadgen`.
    pub loadgen: PathBuf,
    /// `floor`.
    pub floor: PathBuf,
    /// For logs, results and the admin socket.
    pub scratch: PathBuf,
}

impl Programs {
    /// Those that lie beside this one; `name` is that of the folder for what they write.
    ///
    /// # Errors
    /// A program is missing, or the folder cannot be made.
    pub fn find(name: &str) -> io::Result<Self> {
        Ok(Self {
            roadstead: command::program(None, "roadstead")?,
            loadgen: command::program(None, "loadgen")?,
            floor: command::program(None, "floor")?,
            scratch: command::scratch(name)?,
        })
    }

    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// It did not start, or said nothing.
    pub fn start(&self, command: Command, name: &str) -> io::Result<Serving> {
        let log = self.scratch.join(format!("{name}.log"));
        Starting::new(command, name, log)?.ready(Duration::from_secs(limits::STALL_S))
    }
}

/// A server process that may not listen yet. Dropping it kills the process.
pub struct Starting {
    child: Child,
    name: String,
    log: PathBuf,
    lines: mpsc::Receiver<String>,
}

/// A server that listens. Dropping it kills the process.
pub struct Serving {
    process: Starting,
    /// Where it listens.
    pub address: SocketAddrV4,
    /// All addresses it listens on: a floor has one for each of its tables.
    pub addresses: Vec<SocketAddrV4>,
    /// Where it answers probes, if it does.
    pub admin: Option<SocketAddrV4>,
}

impl Binaries {
    /// Starts one contender for one bench and waits until it listens.
    pub fn start(&self, server: &ServerPlan) -> io::Result<Serving> {
        let (command, name) = match server.contender {
            floor if floor.is_floor() => (self.floor_command(server, floor), "floor"),
            _ => (self.roadstead_command(server), "roadstead"),
        };
        let log = self.scratch.join(format!("{name}.log"));
        Starting::new(command, name, log)?.ready(Duration::from_secs(limits::STALL_S))
    }

    fn floor_command(&self, server: &ServerPlan, contender: Contender) -> Command {
        let mut command = Command::new(&self.floor);
        let mut backend = server.backend;
        match server.bench {
            encrypted if encrypted.is_encrypted() => {
                backend = Backend::Epoll;
                command.arg("tls").arg("--certificate").arg(&self.certificate.certificate);
                command.arg("--key").arg(&self.certificate.key)
            }
            Bench::Echo { .. } => command.arg("echo"),
            Bench::FanOut { .. } | Bench::Crossing { .. } | Bench::Shards(_) => {
                command.args(["fanout", "--message-bytes", &server.fan_out_message_bytes.to_string()]);
                command.args(["--tables", &server.bench.tables().to_string()])
            }
            _ => command.arg("handshake"),
        };
        command.args(["--backend", &backend.to_string()]);
        command.args(["--buffer", &server.floor_buffer_bytes.to_string()]);
        if contender == Contender::PolledFloor {
            command.args(["--mode", "poll"]);
        }
        command
    }

    fn roadstead_command(&self, server: &ServerPlan) -> Command {
        let tables = server.bench.tables() as u32;
        let shards = match server.bench {
            Bench::Shards(shards) => shards,
            Bench::Crossing { .. } => 2,
            // io_uring has several rings in one thread where one table does not do.
            _ if server.backend == Backend::IoUring => 1,
            _ => tables,
        };
        let mut command = roadstead(&self.roadstead, server.backend, shards);
        command.args(["--echo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        if server.bench.is_encrypted() {
            self.certificate.show(&mut command);
        }
        if tables > 1 {
            let room = tables * limits::TABLE_CONNECTIONS;
            command.args(["--set", &format!("limits.connections={room}")]);
        }
        command.env("ROADSTEAD_ADMIN_SOCKET", self.scratch.join("admin.sock"));
        command.env("ROADSTEAD_TOKEN__HMAC_SECRET", TOKEN_SECRET);
        command
    }
}

/// A program without the settings of the person who runs the bench, which must not reach the server that is measured.
pub fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.as_encoded_bytes().starts_with(b"ROADSTEAD_")) {
        command.env_remove(name);
    }
    command
}

/// `roadstead serve` in development mode.
pub fn roadstead(program: &Path, backend: Backend, shards: u32) -> Command {
    let mut command = clean(program);
    command.args(["serve", "--insecure", "--shards", &shards.to_string(), "--io", &backend.to_string()]);
    command
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

impl Starting {
    /// Starts a process on the server's core; its log goes to a file. Its name begins its ready line.
    pub fn new(mut command: Command, name: &str, log: PathBuf) -> io::Result<Self> {
        kernel::confine(&mut command, CORE);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().map_err(|e| {
            io::Error::other(format!("cannot start {}: {e}", command.get_program().display()))
        })?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout of the server"))?;
        let (sender, lines) = mpsc::channel();
        // Reads on after the ready line, so that a server that says more is never blocked.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Self { child, name: name.to_owned(), log, lines })
    }

    /// Waits for the ready line; no line for as long as `patience` is a failure.
    pub fn ready(self, patience: Duration) -> io::Result<Serving> {
        loop {
            let Ok(line) = self.lines.recv_timeout(patience) else {
                let (name, log) = (&self.name, tail(&self.log));
                return Err(io::Error::other(format!("{name} did not become ready; it said:\n{log}")));
            };
            let addresses = ready_addresses(&line, &self.name, "listen=");
            if let Some(&address) = addresses.first() {
                let admin = ready_addresses(&line, &self.name, "admin=").first().copied();
                return Ok(Serving { process: self, address, addresses, admin });
            }
        }
    }
}

impl Serving {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The end of what the server logged, to explain a failure.
    pub fn log_tail(&self) -> String {
        tail(&self.process.log)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// It takes longer than `patience`.
    pub fn stop(mut self, patience: Duration) -> io::Result<()> {
        kernel::terminate(self.pid())?;
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if self.process.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        let (name, log) = (&self.process.name, self.log_tail());
        Err(io::Error::other(format!("{name} did not end when it was asked to; it said:\n{log}")))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // A process that has already ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready_addresses(line: &str, name: &str, field: &str) -> Vec<SocketAddrV4> {
    let fields = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(" ready ")).unwrap_or_default();
    let addresses = fields.split_whitespace().find_map(|one| one.strip_prefix(field)).unwrap_or_default();
    addresses.split(',').filter_map(|address| address.parse().ok()).collect()
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
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
            assert_eq!(ready_addresses(line, name, "listen=").first().copied(), expected, "{line}");
        }
        assert_eq!(ready_addresses(table[1].1, "roadstead", "admin="), ["127.0.0.1:9".parse().unwrap()]);
        assert_eq!(ready_addresses(table[2].1, "roadstead", "admin="), []);
        let several = ready_addresses("floor ready listen=127.0.0.1:1,127.0.0.1:2", "floor", "listen=");
        assert_eq!(several.len(), 2);
    }
}
