//! Questions to a running node through its Unix socket.

use std::env;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Exit, Output, QueryArguments, answer};
use crate::admin::socket::{Surroundings, is_root, looked_for_at};

/// A node answers at once, or within 3 s where it must ask another one; one that needs longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer is a few kilobytes for each of at most 64 shards, or some hundred bytes for each of 1,024 nodes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

const OK: u16 = 200;

/// What a node said.
#[derive(Debug)]
pub(super) struct Said {
    /// HTTP status.
    pub(super) status: u16,
    line: String,
    path: String,
    /// Null where it was no JSON.
    pub(super) body: Value,
}

impl Said {
    /// The body of an answer; else the reason why there is none.
    pub(super) fn ok(self) -> Result<Value, String> {
        if self.status == OK {
            return Ok(self.body);
        }
        let why = self.body["error"].as_str().unwrap_or(&self.line);
        Err(format!("the node refused {}: {why}", self.path))
    }
}

/// Asks the node that the arguments or the surroundings name.
///
/// # Errors
/// Why there is no answer.
pub(super) fn ask_node(arguments: &QueryArguments, method: &str, path: &str) -> Result<Said, String> {
    connect(arguments).and_then(|stream| exchange(stream, method, path))
}

/// Prints what a node said in the form that was asked for.
pub(super) fn show(arguments: &QueryArguments, said: &Value, text: impl Fn(&Value) -> String) -> Exit {
    match arguments.output.output {
        Output::Json => answer(&said.to_string()),
        Output::Text => answer(&text(said)),
    }
}

fn connect(arguments: &QueryArguments) -> Result<UnixStream, String> {
    let places = match &arguments.admin_socket {
        Some(path) => vec![path.clone()],
        None => default_places(),
    };
    let mut reasons = String::new();
    for place in &places {
        match UnixStream::connect(place) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let _ = write!(reasons, "\n  {}: {}", place.display(), explain(place, &error));
            }
        }
    }
    Err(format!("no node answers; --admin-socket or ROADSTEAD_ADMIN_SOCKET says where it is:{reasons}"))
}

fn default_places() -> Vec<PathBuf> {
    let (runtime, xdg) = (env::var_os("RUNTIME_DIRECTORY"), env::var_os("XDG_RUNTIME_DIR"));
    looked_for_at(Surroundings {
        runtime_directory: runtime.as_deref(),
        xdg_runtime_dir: xdg.as_deref(),
        is_root: is_root(),
    })
}

fn explain(place: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".into(),
        io::ErrorKind::ConnectionRefused => "its node is gone".into(),
        io::ErrorKind::PermissionDenied => format!("only {}'s owner and group may ask", place.display()),
        _ => error.to_string(),
    }
}

fn failed(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
            "the node did not answer within {} s: its process stands still, or its machine is overloaded",
            PATIENCE.as_secs()
        ),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the node closed the connection before it answered".into()
        }
        _ => format!("the node did not answer: {error}"),
    }
}

/// HTTP/1.0, so that the answer ends with the connection.
fn exchange(mut stream: UnixStream, method: &str, path: &str) -> Result<Said, String> {
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let request = format!("{method} {path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut said = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut said).map_err(failed)?;
    let (head, body) = said.split_once("\r\n\r\n").ok_or("the node's answer is not complete")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let line = head.lines().next().unwrap_or_default().to_owned();
    let body = match serde_json::from_str(body) {
        Ok(body) => body,
        Err(error) if status == OK => return Err(format!("the node's answer is not JSON: {error}")),
        Err(_) => Value::Null,
    };
    Ok(Said { status, line, path: path.into(), body })
}
