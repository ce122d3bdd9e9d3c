//! Makes listening TCP sockets, with the options that every accepted socket inherits.
//!
//! Invariant: what a socket needs is set here, on the listener, because io_uring's accepted sockets have no descriptor
//! on which to set it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::{limits, sys};

/// A listening TCP socket that is not yet given to a back end.
#[derive(Debug)]
pub struct Listener {
    descriptor: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// The address that it really has: port 0 was replaced by a free one.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

/// What to set on a listener. The defaults serve a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted. The kernel clamps it to `net.core.somaxconn`.
    pub backlog: u32,
    /// Whether further listeners of this process may bind the same address (`SO_REUSEPORT`), among which the kernel
    /// then spreads connections. Without it a second listener is refused.
    pub reuse_port: bool,
    /// Congestion control of accepted sockets.
    pub congestion: Congestion,
    /// Idle time after which the kernel probes a silent peer, and the interval between probes; `None`: it does not.
    pub keepalive: Option<Duration>,
    /// Time after which unacknowledged data fails the socket (`TCP_USER_TIMEOUT`); `None`: the kernel's default.
    pub user_timeout: Option<Duration>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: limits::BACKLOG,
            reuse_port: true,
            congestion: Congestion::Auto,
            keepalive: None,
            user_timeout: None,
        }
    }
}

/// Which TCP congestion control sockets use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// `cubic` on loopback addresses, where the pacing of others (bbr) only costs timers; elsewhere the system's.
    #[default]
    Auto,
    /// The system's default everywhere.
    System,
    /// This one; it is an error if the kernel does not have it.
    Named(String),
}

/// Binds `address` and listens.
///
/// # Errors
/// Names the address and what is wrong: port in use, no such address on this machine, no permission, an option refused.
pub fn bind(address: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
    let explain = |error: io::Error| Refusal::explain(address, &error);
    let descriptor = sys::stream_socket(address, true).map_err(explain)?;
    configure(descriptor.as_fd(), address, options).map_err(explain)?;
    sys::bind(descriptor.as_fd(), &address.into()).map_err(explain)?;
    sys::listen(descriptor.as_fd(), options.backlog).map_err(explain)?;
    let address = sys::local_address(descriptor.as_fd()).map_err(explain)?;
    Ok(Listener { descriptor, address })
}

/// Whether [`bind`] would get `address` for itself alone: takes it for a moment, without listening, so that no connection comes.
///
/// # Errors
/// As those of [`bind`].
pub fn try_bind(address: SocketAddr) -> io::Result<()> {
    let explain = |error: io::Error| Refusal::explain(address, &error);
    let descriptor = sys::stream_socket(address, true).map_err(explain)?;
    let alone =
        ListenOptions { reuse_port: false, congestion: Congestion::System, ..ListenOptions::default() };
    configure(descriptor.as_fd(), address, &alone).map_err(explain)?;
    sys::bind(descriptor.as_fd(), &address.into()).map_err(explain)
}

fn configure(fd: BorrowedFd<'_>, address: SocketAddr, options: &ListenOptions) -> io::Result<()> {
    sys::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if options.reuse_port {
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if address.is_ipv6() {
        sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    set_no_delay(fd)?;
    match &options.congestion {
        Congestion::Auto => prefer_cubic_on_loopback(fd, address),
        Congestion::System => {}
        Congestion::Named(name) => {
            sys::set_option_bytes(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_bytes())?;
        }
    }
    if let Some(idle) = options.keepalive {
        let seconds = i32::try_from(idle.as_secs()).unwrap_or(i32::MAX).max(1);
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds)?;
        sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds)?;
    }
    if let Some(timeout) = options.user_timeout {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, timeout_ms)?;
    }
    Ok(())
}

/// A client's socket, bound to `source` if given, with the options that accepted sockets inherit from a listener.
pub(crate) fn client_socket(
    source: Option<SocketAddr>,
    peer: SocketAddr,
    nonblocking: bool,
) -> io::Result<OwnedFd> {
    let descriptor = sys::stream_socket(peer, nonblocking)?;
    set_no_delay(descriptor.as_fd())?;
    prefer_cubic_on_loopback(descriptor.as_fd(), peer);
    if let Some(source) = source {
        // The kernel picks the port when it knows the peer, so that one source port serves many peers.
        sys::set_option(descriptor.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        sys::bind(descriptor.as_fd(), &source.into())?;
    }
    Ok(descriptor)
}

/// Messages leave when they are sent: coalescing is the shard's business, once a turn.
fn set_no_delay(fd: BorrowedFd<'_>) -> io::Result<()> {
    sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

fn prefer_cubic_on_loopback(fd: BorrowedFd<'_>, address: SocketAddr) {
    if address.ip().is_loopback() {
        // A kernel without cubic keeps its default: a preference, not a need.
        let _ = sys::set_option_bytes(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, b"cubic");
    }
}

/// Why an address cannot be listened on, in words that say what to do.
#[derive(Debug)]
struct Refusal {
    address: SocketAddr,
    error: i32,
}

impl Refusal {
    fn explain(address: SocketAddr, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), Self { address, error: error.raw_os_error().unwrap_or(0) })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        match self.error {
            libc::EADDRINUSE => f.write_str("port in use by another process; stop it or choose another port"),
            libc::EADDRNOTAVAIL => f.write_str("no interface of this machine has this address"),
            libc::EACCES => f.write_str("ports below 1024 need CAP_NET_BIND_SERVICE"),
            libc::EAFNOSUPPORT => {
                f.write_str("this machine has no such address family (is IPv6 switched off?)")
            }
            libc::ENOENT => f.write_str("the kernel does not have this congestion control"),
            libc::EMFILE | libc::ENFILE => {
                f.write_str("out of descriptors; raise the limit (ulimit -n, LimitNOFILE=)")
            }
            other => write!(f, "{}", io::Error::from_raw_os_error(other)),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// A listener keeps its address, whether it would share it or not; a connection that has ended, and still keeps its port for a
    /// minute, keeps nobody from it.
    #[test]
    fn an_address_is_tried_without_listening() {
        for reuse_port in [false, true] {
            let options = ListenOptions { reuse_port, ..ListenOptions::default() };
            let listener = bind(address("127.0.0.1:0"), &options).expect("a port");
            let taken = try_bind(listener.local_addr()).expect_err("it is taken");
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let free = listener.local_addr().expect("its address");
        let client = std::net::TcpStream::connect(free).expect("a connection");
        // The side that ends first keeps the port.
        drop(listener.accept().expect("a connection"));
        drop((client, listener));
        try_bind(free).expect("it is free");
        try_bind(address("127.0.0.1:0")).expect("the kernel finds one");
        try_bind(address("192.0.2.1:1024")).expect_err("not of this machine");
    }

    #[test]
    fn refusals_name_the_address_and_the_cause() {
        let alone = ListenOptions { reuse_port: false, ..ListenOptions::default() };
        let first = bind(address("127.0.0.1:0"), &alone).expect("a free port");
        assert_ne!(first.local_addr().port(), 0);
        let strange =
            ListenOptions { congestion: Congestion::Named("carrier-pigeon".into()), ..alone.clone() };
        for (at, options, kind, word) in [
            (first.local_addr(), &alone, io::ErrorKind::AddrInUse, "port in use"),
            (address("203.0.113.77:0"), &alone, io::ErrorKind::AddrNotAvailable, "no interface"),
            (address("127.0.0.1:0"), &strange, io::ErrorKind::NotFound, "congestion control"),
        ] {
            let error = bind(at, options).expect_err("refused");
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(&at.to_string()), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn listeners_of_one_port_share_it() {
        let first = bind(address("[::1]:0"), &ListenOptions::default()).expect("a free port");
        let second = bind(first.local_addr(), &ListenOptions::default()).expect("shared");
        assert_eq!(first.local_addr(), second.local_addr());
    }
}
