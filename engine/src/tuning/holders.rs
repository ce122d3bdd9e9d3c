//! Who holds an address that the node is to listen on, and does not get.
//!
//! Invariants: reads only; looking for a name is bounded, however many sockets and processes there are.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::judge::{Finding, Verdict};
use super::machine::Machine;

/// Rows of a socket table that are read, and descriptors of processes that are looked at: enough for any machine on which a
/// node is about to start, and done in a fraction of a second. Beyond it the holder stays unnamed.
const LOOKED_AT_MAX: usize = 65_536;

/// An address that the node is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The address. With port 0 the kernel finds one that is free.
    pub address: SocketAddr,
    /// How it is spoken at.
    pub transport: Transport,
    /// The setting that says so.
    pub setting: &'static str,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What to say of an address that is in use, perhaps by a node that runs already.
#[must_use]
pub fn taken(machine: &Machine, wanted: &Wanted) -> Finding {
    let Wanted { address, transport, setting } = wanted;
    let (name, flag) = match transport {
        Transport::Tcp => ("TCP", 't'),
        Transport::Udp => ("UDP", 'u'),
    };
    let holder = holder(machine, wanted);
    let ask = format!("ss -{flag}lnp 'sport = :{}'", address.port());
    Finding {
        name: format!("address {address} ({name})"),
        verdict: Verdict::Stops,
        is: holder.as_ref().map_or("in use".into(), |holder| format!("in use by {holder}")),
        should: "free".into(),
        why: format!("the node listens there ({setting}) and shares it with nobody"),
        cost: "the node does not start".into(),
        cure: match holder {
            Some(holder) => format!("stop {holder}, or give {setting} another address"),
            // Sockets that live in an io_uring belong to no descriptor: those of a node that runs, for one.
            None => format!(
                "stop who has it (`{ask}` as root names it; or it is a node that runs: roadstead status), or give {setting} another address"
            ),
        },
        see: ask,
        source: "bind(2)".into(),
    }
}

/// The process that has the address, with its name and number; `None` where that cannot be told.
fn holder(machine: &Machine, wanted: &Wanted) -> Option<String> {
    let inodes = inodes(machine, wanted);
    let processes: Vec<PathBuf> =
        entries(&machine.path("/proc")).filter(|path| number(path).is_some()).collect();
    let tables = |process: &PathBuf| vec![process.join("fd")];
    // Threads may have descriptors of their own, such as shards on epoll.
    let of_threads =
        |process: &PathBuf| entries(&process.join("task")).map(|thread| thread.join("fd")).collect();
    let found = find(&processes, &inodes, tables).or_else(|| find(&processes, &inodes, of_threads))?;
    let name = fs::read_to_string(found.join("comm")).unwrap_or_default();
    // A process may call itself anything, and a terminal obeys some of that.
    Some(format!("{} (pid {})", name.trim().escape_debug(), number(found)?))
}

/// The first process that has one of the sockets in one of its descriptor tables.
fn find<'p>(
    processes: &'p [PathBuf],
    inodes: &[String],
    tables: impl Fn(&PathBuf) -> Vec<PathBuf>,
) -> Option<&'p PathBuf> {
    let links = processes.iter().flat_map(|process| {
        tables(process).into_iter().flat_map(move |table| entries(&table).map(move |link| (process, link)))
    });
    let is_one = |link: &Path| {
        fs::read_link(link).is_ok_and(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str()))
    };
    links.take(LOOKED_AT_MAX).find(|(_, link)| is_one(link)).map(|(process, _)| process)
}

/// What is in a folder; nothing, if it cannot be read.
fn entries(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn number(process: &Path) -> Option<u32> {
    process.file_name()?.to_str()?.parse().ok()
}

/// The sockets that stand in the way, as links to them read.
fn inodes(machine: &Machine, wanted: &Wanted) -> Vec<String> {
    let tables = match wanted.transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    // Of TCP the kernel lists those that listen (0A) first.
    let counts = |line: &String| wanted.transport == Transport::Udp || column(line, 3) == Some("0A");
    let rows = tables.iter().filter_map(|table| File::open(machine.path(&format!("/proc/net/{table}"))).ok());
    rows.flat_map(|file| {
        let lines = BufReader::new(file).lines().map_while(Result::ok).skip(1).take(LOOKED_AT_MAX);
        lines.take_while(counts).filter_map(|line| inode_at(&line, wanted.address)).collect::<Vec<_>>()
    })
    .collect()
}

/// The socket of a row, if it keeps others from `address`.
fn inode_at(row: &str, address: SocketAddr) -> Option<String> {
    let (ip, port) = column(row, 1)?.split_once(':')?;
    let (ip, port) = (ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    // One that is on all addresses of a family may be on those of the other as well.
    let overlaps = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
    (port == address.port() && overlaps).then(|| Some(format!("socket:[{}]", column(row, 9)?)))?
}

fn column(row: &str, number: usize) -> Option<&str> {
    row.split_ascii_whitespace().nth(number)
}

/// An address as the kernel writes it: words of 32 bits in the machine's order.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_exact_mut(4).zip((0..32).step_by(8)) {
                part.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::super::machine::tests::MadeUp;
    use super::*;

    #[test]
    fn the_holder_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
        for (address, transport) in [
            (listener.local_addr().expect("its address"), Transport::Tcp),
            (datagrams.local_addr().expect("its address"), Transport::Udp),
        ] {
            let own = Wanted { address, transport, setting: "listen" };
            let everywhere = Wanted { address: ([0, 0, 0, 0], address.port()).into(), ..own };
            for wanted in [own, everywhere] {
                let found = taken(&Machine::this(), &wanted);
                let holder = format!("(pid {})", std::process::id());
                assert!(found.is.contains(&holder) && found.cure.contains(&holder), "{found:?}");
            }
        }
        // Who has it is not always to be told; what helps is.
        let nobody = MadeUp::new("nobody", &[("proc/net/tcp", "sl local_address\n")]);
        let address = listener.local_addr().expect("its address");
        let found = taken(&nobody.machine, &Wanted { address, transport: Transport::Tcp, setting: "listen" });
        assert_eq!((found.verdict, found.is.as_str()), (Verdict::Stops, "in use"));
        assert!(found.cure.contains(&format!("ss -tlnp 'sport = :{}'", address.port())));
    }

    #[test]
    fn rows_of_socket_tables_are_understood() {
        let row = |local: &str| format!("   0: {local} 00000000:0000 0A 0:0 0:0 0 0 0 777 1");
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let loopback = word([127, 0, 0, 1]);
        let loopback_6 = [word([0; 4]), word([0; 4]), word([0; 4]), word([0, 0, 0, 1])].concat();
        for (local, address, found) in [
            (format!("{loopback}:1F40"), "127.0.0.1:8000", true),
            (format!("{loopback}:1F40"), "127.0.0.1:8001", false),
            (format!("{loopback}:1F40"), "127.0.0.2:8000", false),
            (format!("{loopback}:1F40"), "0.0.0.0:8000", true),
            ("00000000:1F40".to_owned(), "127.0.0.1:8000", true),
            (format!("{loopback_6}:1F40"), "[::1]:8000", true),
            (format!("{}:1F40", "0".repeat(32)), "127.0.0.1:8000", true),
            ("no address".to_owned(), "127.0.0.1:8000", false),
            ("00:1F40".to_owned(), "127.0.0.1:8000", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(inode_at(&row(&local), address), found.then(|| "socket:[777]".to_owned()), "{local}");
        }
    }
}
