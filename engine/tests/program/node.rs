//! A node that a test runs, from its start to its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use crate::surroundings::{Folder, roadstead};

/// A running node; ended hard if a test fails.
pub(crate) struct Node {
    process: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) ready: String,
}

impl Node {
    /// One shard over epoll on free ports; returns when it serves.
    pub(crate) fn start(folder: &Folder, arguments: &[&str]) -> Self {
        Self::run(Self::command(folder, "epoll", 1, arguments))
    }

    /// So many shards over a back end on free ports; returns when it serves.
    pub(crate) fn start_on(folder: &Folder, backend: &str, shards: u16, arguments: &[&str]) -> Self {
        Self::run(Self::command(folder, backend, shards, arguments))
    }

    /// The same under a limit of descriptors, which it cannot raise.
    pub(crate) fn start_with_descriptors(folder: &Folder, limit: u64, arguments: &[&str]) -> Self {
        let node = Self::command(folder, "epoll", 1, arguments);
        let mut command = Command::new("sh");
        let limited = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited]).arg(node.get_program()).args(node.get_args()).stdin(Stdio::null());
        for (name, _) in node.get_envs() {
            command.env_remove(name);
        }
        Self::run(command)
    }

    fn command(folder: &Folder, backend: &str, shards: u16, arguments: &[&str]) -> Command {
        let (socket, shards) = (folder.path("admin.sock"), shards.to_string());
        let address =
            ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--admin-socket", &socket];
        let engine = ["--shards", &shards, "--io", backend];
        roadstead(&[&address[..], &engine, arguments].concat())
    }

    fn run(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("piped"));
        let mut ready = String::new();
        stdout.read_line(&mut ready).expect("a line");
        Self { process, stdout, ready }
    }

    /// One of the addresses in its ready line; the first, where there are several of a kind.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.addresses(name)[0]
    }

    /// All addresses of a kind in its ready line.
    pub(crate) fn addresses(&self, name: &str) -> Vec<SocketAddr> {
        let field = self.ready.split_ascii_whitespace().find_map(|field| field.strip_prefix(name));
        let list = field.and_then(|field| field.strip_prefix('=')).expect("a field of this name");
        list.split(',').map(|text| text.parse().expect("an address")).collect()
    }

    /// Sets its soft limit of descriptors; the hard one stays.
    pub(crate) fn limit_descriptors(&self, limit: u64) {
        let (pid, limit) = (self.process.id().to_string(), format!("--nofile={limit}:"));
        let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit runs");
        assert!(set.success());
    }

    /// Sends it a signal by its short name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("sh runs");
        assert!(sent.success());
    }

    /// Waits for the end: exit code, what was left on stdout, the log.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).expect("UTF-8");
        self.stderr().read_to_string(&mut log).expect("UTF-8");
        (self.process.wait().expect("it ends").code(), out, log)
    }

    /// Whether the process is there.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().expect("asked").is_none()
    }

    fn stderr(&mut self) -> ChildStderr {
        self.process.stderr.take().expect("piped")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status of an admin path.
pub(crate) fn status_of(admin: SocketAddr, path: &str) -> String {
    answer_of(admin, path).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// What an admin path answers, with its head.
pub(crate) fn answer_of(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).expect("connected");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}
