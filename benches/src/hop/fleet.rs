//! Starts the nodes of a shape on the serving core, and waits until they agree on who is there.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::plan::Shape;
use crate::limits;
use crate::run::plan::Backend;
use crate::run::serving::{Serving, Starting, roadstead};

/// Begins every ready line of a node.
const NAME: &str = "roadstead";

/// The binaries of a run, and a directory for what nodes write.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `roadstead`.
    pub roadstead: PathBuf,
    /// `loadgen`.
    pub loadgen: PathBuf,
    /// For logs, keys and admin sockets; made and removed by the run.
    pub scratch: PathBuf,
}

/// The nodes of a shape that have been started.
pub struct StartingNodes(Vec<Starting>);

/// The nodes of a shape that serve, in the order of their addresses: 127.0.0.1, 127.0.0.2, ...
pub struct Nodes(Vec<Serving>);

impl Binaries {
    /// Starts the nodes of a shape without waiting for them.
    pub fn start(&self, shape: Shape, backend: Backend) -> io::Result<StartingNodes> {
        let weights = shape.weights();
        if weights.is_empty() {
            let command = self.node(backend, shape, 0);
            return Ok(StartingNodes(vec![Starting::new(command, NAME, self.file(shape, 0, "log"))?]));
        }
        let key_file = self.file(shape, 0, "key");
        self.make_key(&key_file)?;
        let links = (0..weights.len()).map(free_address).collect::<io::Result<Vec<_>>>()?;
        let join = links.iter().map(SocketAddrV4::to_string).collect::<Vec<_>>().join(",");
        let start = |(index, weight): (usize, &u32)| {
            let mut command = self.node(backend, shape, index);
            command.args(["--node-name", &format!("node-{}", index + 1), "--join", &join]);
            command
                .args(["--cluster-listen", &links[index].to_string(), "--cluster-key-file"])
                .arg(&key_file);
            command.args(["--set", &format!("node.weight={weight}")]);
            Starting::new(command, NAME, self.file(shape, index, "log"))
        };
        Ok(StartingNodes(weights.iter().enumerate().map(start).collect::<io::Result<_>>()?))
    }

    fn node(&self, backend: Backend, shape: Shape, index: usize) -> Command {
        let mut command = roadstead(&self.roadstead, backend, 1);
        let any_port = SocketAddrV4::new(address(index), 0).to_string();
        command.args(["--listen", &any_port, "--admin", &any_port]);
        command.arg("--admin-socket").arg(self.file(shape, index, "sock"));
        command
    }

    fn file(&self, shape: Shape, index: usize, kind: &str) -> PathBuf {
        self.scratch.join(format!("{shape:?}-{}.{kind}", index + 1))
    }

    fn make_key(&self, path: &Path) -> io::Result<()> {
        let made = Command::new(&self.roadstead).arg("cluster-key").output()?;
        if !made.status.success() {
            return Err(io::Error::other("`roadstead cluster-key` made no key"));
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&made.stdout)
    }
}

impl StartingNodes {
    /// Waits until each node says that it is ready and acts upon a fleet of as many nodes as there are.
    pub fn ready(self) -> io::Result<Nodes> {
        let patience = Duration::from_secs(limits::JOIN_S);
        let nodes = self.0.into_iter().map(|node| node.ready(patience)).collect::<io::Result<Vec<_>>>()?;
        if nodes.len() > 1 {
            let until = Instant::now() + patience;
            for node in &nodes {
                while !sees(node, nodes.len())? {
                    if Instant::now() > until {
                        let log = node.log_tail();
                        return Err(io::Error::other(format!(
                            "a node does not see the fleet; it said:\n{log}"
                        )));
                    }
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
        Ok(Nodes(nodes))
    }
}

impl Nodes {
    /// Where clients connect.
    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(|node| format!("ws://{}/connection/websocket", node.address)).collect()
    }

    /// The processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(Serving::pid)
    }

    /// The ends of what the nodes logged, to explain a failure.
    pub fn log_tails(&self) -> String {
        self.0.iter().map(Serving::log_tail).collect::<Vec<_>>().join("\n")
    }
}

/// 127.0.0.1, 127.0.0.2, ...
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + index as u32)
}

/// A port for gossip and links that nobody has now, over UDP and TCP. All nodes are told the ports of all, so the
/// kernel cannot choose them when they start.
fn free_address(index: usize) -> io::Result<SocketAddrV4> {
    let listener = TcpListener::bind((address(index), 0))?;
    let port = listener.local_addr()?.port();
    UdpSocket::bind((address(index), port))?;
    Ok(SocketAddrV4::new(address(index), port))
}

/// Whether a node is ready and acts upon a fleet of so many nodes.
fn sees(node: &Serving, nodes: usize) -> io::Result<bool> {
    let admin = node.admin.ok_or_else(|| io::Error::other("a node without an admin address"))?;
    let is_ready = get(admin, "/ready")?.starts_with("HTTP/1.1 200");
    Ok(is_ready && view_nodes(&get(admin, "/metrics")?) == Some(nodes))
}

fn view_nodes(metrics: &str) -> Option<usize> {
    metrics.lines().find_map(|line| line.strip_prefix("roadstead_fleet_view_nodes ")?.trim().parse().ok())
}

/// The body of a page that a node has on its admin address.
///
/// # Errors
/// It does not answer.
pub fn get(admin: SocketAddrV4, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(limits::STALL_S)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(limits::ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_in_turn() {
        assert_eq!([0, 2].map(address), [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 3)]);
        let free = free_address(1).unwrap();
        assert_eq!(*free.ip(), address(1));
        assert_ne!(free.port(), 0);
    }

    #[test]
    fn the_size_of_the_fleet_is_a_metric() {
        let metrics = "# TYPE roadstead_fleet_view_nodes gauge\r\nroadstead_fleet_view 7\r\nroadstead_fleet_view_nodes 3\r\n";
        assert_eq!(view_nodes(metrics), Some(3));
        assert_eq!(view_nodes("roadstead_fleet_view 7\n"), None);
    }
}
