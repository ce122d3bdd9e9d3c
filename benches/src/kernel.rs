//! The system calls of the benches as safe functions: sockets, epoll, core affinity and CPU clocks.
//!
//! Everything here is a thin name for one or two calls: no buffering, no retry but for EINTR, no policy.
//! Nothing here uses `engine/io`: a floor that shared its code would measure nothing.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::limits;

/// What one receive gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing now.
    Later,
    /// The peer closed or reset the connection.
    Closed,
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t)
    };
    checked(result).map(drop)
}

fn sockaddr(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn tcp_socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; a non-negative result is a descriptor nobody else owns.
    let socket = unsafe {
        let fd = checked(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        ))?;
        OwnedFd::from_raw_fd(fd)
    };
    let fd = socket.as_raw_fd();
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)?;
    // The system default may be bbr, which paces even loopback: every socket here uses cubic.
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, b"cubic")?;
    Ok(socket)
}

/// A listener on 127.0.0.1 and the port it got. Accepted sockets inherit TCP_NODELAY and cubic.
pub fn listen(port: u16) -> io::Result<(OwnedFd, u16)> {
    let socket = tcp_socket()?;
    let fd = socket.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32)?;
    let mut address = sockaddr(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: `address` and `length` are valid for the calls and describe each other.
    unsafe {
        checked(libc::bind(fd, std::ptr::from_ref(&address).cast(), length))?;
        checked(libc::listen(fd, limits::BACKLOG))?;
        checked(libc::getsockname(fd, std::ptr::from_mut(&mut address).cast(), &mut length))?;
    }
    Ok((socket, u16::from_be(address.sin_port)))
}

/// The next pending connection of a listener, non-blocking; `None` when there is none.
pub fn accept(listener: RawFd) -> io::Result<Option<OwnedFd>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no address is asked for; a non-negative result is a descriptor nobody else owns.
    let accepted = unsafe {
        checked(libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags))
            .map(|fd| OwnedFd::from_raw_fd(fd))
    };
    match accepted {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Starts a connection from a source address (its port is chosen by the kernel at connect, so that ports
/// are only unique per destination). The socket is writable once connected; see [`socket_error`].
pub fn connect(from: Ipv4Addr, to: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = tcp_socket()?;
    let fd = socket.as_raw_fd();
    set_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
    // Closing by reset leaves no TIME_WAIT, which would exhaust the ports over a few runs.
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let source = sockaddr(SocketAddrV4::new(from, 0));
    let target = sockaddr(to);
    // SAFETY: both addresses live through the calls and have the length given.
    let result = unsafe {
        checked(libc::bind(fd, std::ptr::from_ref(&source).cast(), length))?;
        checked(libc::connect(fd, std::ptr::from_ref(&target).cast(), length))
    };
    match result {
        Ok(_) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// The pending error of a socket (SO_ERROR), as after a non-blocking connect.
pub fn socket_error(fd: RawFd) -> io::Result<()> {
    let mut code: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointers describe `code` and `length`, which live through the call.
    unsafe {
        checked(libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            std::ptr::from_mut(&mut code).cast(),
            &mut length,
        ))?;
    }
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

fn received(result: isize) -> io::Result<Received> {
    match result {
        0 => Ok(Received::Closed),
        1.. => Ok(Received::Bytes(result as usize)),
        _ => {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(Received::Later),
                Some(libc::ECONNRESET | libc::EPIPE | libc::ETIMEDOUT) => Ok(Received::Closed),
                _ => Err(error),
            }
        }
    }
}

/// One non-blocking receive.
pub fn receive(fd: RawFd, into: &mut [u8]) -> io::Result<Received> {
    // SAFETY: pointer and length are those of `into`.
    received(unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) })
}

/// One non-blocking receive that drops up to `bytes_max` bytes without copying them (MSG_TRUNC on TCP,
/// tcp(7)): a client that only counts need not pay for the copy.
pub fn discard(fd: RawFd, bytes_max: usize) -> io::Result<Received> {
    // SAFETY: with MSG_TRUNC a stream socket's bytes are dropped, the null buffer is never written.
    received(unsafe { libc::recv(fd, std::ptr::null_mut(), bytes_max, libc::MSG_DONTWAIT | libc::MSG_TRUNC) })
}

/// One non-blocking send: bytes taken, 0 when the socket is full or gone (a receive then tells which).
pub fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of `bytes`.
    let result = unsafe {
        libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if result >= 0 {
        return Ok(result as usize);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::ECONNRESET | libc::EPIPE) => Ok(0),
        _ => Err(error),
    }
}

/// Interest of an epoll registration, level-triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read.
    Read,
    /// Room to write.
    Write,
    /// Both.
    Both,
}

impl Interest {
    fn mask(self) -> u32 {
        let bits = match self {
            Interest::Read => libc::EPOLLIN,
            Interest::Write => libc::EPOLLOUT,
            Interest::Both => libc::EPOLLIN | libc::EPOLLOUT,
        };
        bits as u32
    }
}

/// One reported event.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Event(libc::epoll_event);

impl Event {
    /// The token of the registration.
    pub fn token(&self) -> u64 {
        self.0.u64
    }

    /// Bytes, an end or an error can be read.
    pub fn is_readable(&self) -> bool {
        self.0.events & (libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0
    }

    /// There is room to write.
    pub fn is_writable(&self) -> bool {
        self.0.events & libc::EPOLLOUT as u32 != 0
    }
}

/// Where one wait reports into: room for [`limits::EVENTS`] events.
pub struct Events(Vec<Event>);

impl Events {
    /// An empty report.
    pub fn new() -> Self {
        Self(vec![Event(libc::epoll_event { events: 0, u64: 0 }); limits::EVENTS])
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

/// An epoll instance.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new, empty instance.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; a non-negative result is a descriptor nobody else owns.
        unsafe { Ok(Self(OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    fn control(&self, operation: i32, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.mask(), u64: token };
        // SAFETY: `event` lives through the call.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) }).map(drop)
    }

    /// Registers a descriptor under a token; closing the descriptor ends the registration.
    pub fn add(&self, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest, token)
    }

    /// Changes what a registered descriptor is watched for, or its token.
    pub fn modify(&self, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest, token)
    }

    /// Ends a registration; the descriptor stays open.
    pub fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, Interest::Read, 0)
    }

    /// Waits for events; `None` waits without an end. An interrupted wait reports none.
    pub fn wait<'e>(&self, events: &'e mut Events, timeout: Option<Duration>) -> io::Result<&'e [Event]> {
        let timeout_ms = timeout.map_or(-1, |t| t.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32);
        let room = &mut events.0;
        // SAFETY: `Event` is a transparent epoll_event; pointer and count are those of the buffer.
        let count = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), room.as_mut_ptr().cast(), room.len() as i32, timeout_ms)
        };
        match checked(count) {
            Ok(count) => Ok(&room[..count as usize]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

fn set_affinity(core: usize) -> io::Result<()> {
    // SAFETY: the zeroed set is a valid empty set, its size is given, and it lives through the call.
    let result = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    checked(result).map(drop)
}

/// Binds the calling thread (and what it spawns later) to one core.
pub fn pin(core: usize) -> io::Result<()> {
    set_affinity(core).map_err(|e| io::Error::other(format!("cannot pin to core {core}: {e}")))
}

/// Has a command run on one core only, and end when the thread that starts it ends, so that an
/// interrupted bench leaves nothing behind.
pub fn confine(command: &mut Command, core: usize) {
    let prepare = move || {
        set_affinity(core)?;
        // SAFETY: PR_SET_PDEATHSIG takes one integer.
        checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// Wakes another thread that waits on epoll (eventfd(2)): readable from a ring until it is silenced.
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; a non-negative result is a descriptor nobody else owns.
        unsafe {
            Ok(Self(OwnedFd::from_raw_fd(checked(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?)))
        }
    }

    /// Makes it readable.
    pub fn ring(&self) -> io::Result<()> {
        // SAFETY: takes no pointers but to a number within the C library.
        checked(unsafe { libc::eventfd_write(self.0.as_raw_fd(), 1) }).map(drop)
    }

    /// Takes all rings since the last call.
    pub fn silence(&self) -> io::Result<()> {
        let mut rings = 0;
        // SAFETY: `rings` lives through the call.
        match checked(unsafe { libc::eventfd_read(self.0.as_raw_fd(), &mut rings) }) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Gives the calling thread a descriptor table of its own, which begins as a copy of the one it had (unshare(2)): the limit
/// of descriptors is one of each table.
pub fn unshare_descriptors() -> io::Result<()> {
    // SAFETY: takes no pointers; descriptors that Rust owns are the same numbers in the copy.
    checked(unsafe { libc::unshare(libc::CLONE_FILES) }).map(drop)
}

/// Asks a process to end (SIGTERM).
pub fn terminate(pid: u32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    checked(unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) }).map(drop)
}

/// Moves the calling thread, and every process that it starts from now on, to an empty network namespace of its own, which
/// ends with the last of them. Needs CAP_SYS_ADMIN.
pub fn enter_new_network() -> io::Result<()> {
    // SAFETY: takes no pointers, and shares nothing that Rust relies on.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Brings up the loopback device of the calling thread's network namespace (netdevice(7)).
pub fn bring_up_loopback() -> io::Result<()> {
    let socket = tcp_socket()?;
    // SAFETY: the request is zeroed, has the device's name with its final zero, and lives through both calls, which read
    // and write its flags.
    unsafe {
        let mut request: libc::ifreq = zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        checked(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        checked(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request)).map(drop)
    }
}

/// Raises the soft descriptor limit to the hard one and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives through both calls.
    unsafe {
        checked(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        checked(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
    }
    Ok(limit.rlim_cur)
}

/// The CPU clock of a process: user and system time of all its threads, in nanoseconds of resolution.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of another process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut clock: libc::clockid_t = 0;
        // SAFETY: `clock` lives through the call.
        let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
        if error != 0 {
            let reason = io::Error::from_raw_os_error(error);
            return Err(io::Error::other(format!("no CPU clock of process {pid}: {reason}")));
        }
        Ok(Self(clock))
    }

    /// The clock of this process.
    pub fn own() -> Self {
        Self(libc::CLOCK_PROCESS_CPUTIME_ID)
    }

    /// CPU time used so far.
    pub fn read(&self) -> io::Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` lives through the call.
        checked(unsafe { libc::clock_gettime(self.0, &mut time) })
            .map_err(|e| io::Error::other(format!("the measured process is gone: {e}")))?;
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

/// Today's date in UTC as (year, month, day).
pub fn today() -> (i32, i32, i32) {
    // SAFETY: both pointers are valid for the calls; gmtime_r fills `parts` from `now`.
    unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = zeroed();
        libc::gmtime_r(&now, &mut parts);
        (parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday)
    }
}
